//! From `client -> web tcp 80` to a packet at a port of a bridge, in the words of `ofproto/trace`.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use ovs_pipeline::{FORWARD_MAC, HOST_ORIGIN_MAC, Node, TUNNEL_MAC, register};

use crate::scenario::ask::{Ask, Carried, Connection};
use crate::scenario::book::{self, OUTSIDE};
use crate::scenario::plan::State;
use crate::scenario::{Book, Kind};

/// The number that a re-examination leaves.
pub const LOOK: u128 = 5;

/// A packet where it enters.
#[derive(Clone, Debug)]
pub struct Entering {
    pub node: String,
    pub port: u32,
    pub source_mac: [u8; 6],
    pub destination_mac: [u8; 6],
    /// Outer source and destination, from the tunnel.
    pub tunnel: Option<(IpAddr, IpAddr)>,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub ttl: u8,
}

struct Scene<'a> {
    ask: &'a Ask,
    state: &'a State,
    book: &'a Book,
}

/// Where and how the packet enters.
pub fn entering(ask: &Ask, state: &State, book: &Book) -> Result<Entering> {
    let scene = Scene { ask, state, book };
    let mut entering = match (state.pod(&ask.source), ask.packet.at.as_deref()) {
        (Some((node, pod)), at) if at.is_none_or(|at| at == node) => {
            let source = family(&pod.addresses, ask.packet.v6).or(ask.packet.source_ip);
            let source = source.with_context(|| format!("{} has no address of the family", ask.source))?;
            let destination_mac = scene.node(node)?.gateway_mac;
            scene.entering(node, pod.port, pod.mac, destination_mac, source)?
        }
        _ => scene.of_elsewhere()?,
    };
    entering.source = ask.packet.source_ip.unwrap_or(entering.source);
    entering.source_mac = ask.packet.source_mac.unwrap_or(entering.source_mac);
    entering.destination_mac = ask.packet.destination_mac.unwrap_or(entering.destination_mac);
    if let (Some(source), Some((outer, _))) = (ask.packet.tunnel_source, &mut entering.tunnel) {
        *outer = source;
    }
    Ok(entering)
}

fn family(addresses: &[IpAddr], v6: bool) -> Option<IpAddr> {
    addresses.iter().copied().find(|address| address.is_ipv6() == v6)
}

impl Scene<'_> {
    fn node(&self, name: &str) -> Result<&Node> {
        self.state.node(name).with_context(|| format!("{name} is no node now"))
    }

    fn entering(
        &self,
        node: &str,
        port: u32,
        source_mac: [u8; 6],
        destination_mac: [u8; 6],
        source: IpAddr,
    ) -> Result<Entering> {
        let destination = self.destination(node)?;
        let (node, ttl) = (node.to_string(), self.ask.packet.ttl);
        Ok(Entering { node, port, source_mac, destination_mac, tunnel: None, source, destination, ttl })
    }

    /// From a node's own stack, from another node, or from outside through a node.
    fn of_elsewhere(&self) -> Result<Entering> {
        let source = self.ask.source.as_str();
        if let Some(node) = self.state.node(source) {
            let own = family(&node.gateways, self.ask.packet.v6).context("the node has no gateway of the family")?;
            return self.entering(source, node.gateway_port, node.gateway_mac, HOST_ORIGIN_MAC, own);
        }
        let source = self.address(source)?;
        let name = self.at()?;
        let node = self.node(&name)?;
        if node.gateways.contains(&source) || node.addresses.contains(&source) {
            return self.entering(&name, node.gateway_port, node.gateway_mac, HOST_ORIGIN_MAC, source);
        }
        let Some((endpoint, own)) = self.peer(&name, node, source) else {
            return self.entering(&name, node.gateway_port, node.gateway_mac, FORWARD_MAC, source);
        };
        let mut entering = self.entering(&name, node.tunnel_port, [0x0a, 0, 0, 0, 0xff, 1], TUNNEL_MAC, source)?;
        entering.tunnel = Some((endpoint, own));
        Ok(entering)
    }

    /// The peer whose pod or address this is, and this node's end of the tunnel.
    fn peer(&self, name: &str, node: &Node, source: IpAddr) -> Option<(IpAddr, IpAddr)> {
        let peers = self.state.0.iter().filter(|(key, _)| key.node == name && key.kind == Kind::Peer);
        let peers = peers.filter_map(|(_, wanted)| match &wanted.intent {
            ovs_pipeline::Intent::Peer(peer) => Some(peer),
            _ => None,
        });
        let mut peers = peers.filter(|peer| {
            peer.addresses.contains(&source) || peer.pod_cidrs.iter().any(|range| range.contains(&source))
        });
        let endpoint = peers.next()?.tunnel_endpoint;
        Some((endpoint, family(&node.addresses, endpoint.is_ipv6())?))
    }

    /// The node where a packet from elsewhere enters: the one that is said, that has the destination, or that is alone.
    fn at(&self) -> Result<String> {
        if let Some(at) = &self.ask.packet.at {
            return Ok(at.clone());
        }
        if let Some((node, _)) = self.state.pod(&self.ask.destination) {
            return Ok(node.to_string());
        }
        match self.state.nodes().collect::<Vec<_>>().as_slice() {
            [(only, _)] => Ok((*only).to_string()),
            _ => bail!("at= is missing: there are several nodes"),
        }
    }

    fn destination(&self, node: &str) -> Result<IpAddr> {
        if self.ask.destination == "gateway" {
            let gateways = &self.node(node)?.gateways;
            return family(gateways, self.ask.packet.v6).context("the node has no gateway of the family");
        }
        self.address(&self.ask.destination)
    }

    fn address(&self, name: &str) -> Result<IpAddr> {
        if let Ok(address) = name.parse() {
            return Ok(address);
        }
        let addresses = match (name, self.state.node(name), self.state.pod(name), self.book.endpoint(name)) {
            ("outside", ..) => OUTSIDE.map(book::address).to_vec(),
            (_, Some(node), ..) => node.addresses.clone(),
            (_, _, Some((_, pod)), _) => pod.addresses.clone(),
            (.., Some(endpoint)) => endpoint.addresses.clone(),
            _ => bail!("who is {name:?}?"),
        };
        family(&addresses, self.ask.packet.v6).with_context(|| format!("{name} has no address of the family"))
    }
}

/// The packet as `ofproto/trace` takes it.
pub fn text(entering: &Entering, ask: &Ask) -> String {
    let Entering { port, source_mac, destination_mac, tunnel, source, destination, ttl, .. } = entering;
    let mut words = vec![
        format!("in_port={port}"),
        format!("eth_src={}", link(*source_mac)),
        format!("eth_dst={}", link(*destination_mac)),
    ];
    match tunnel {
        Some((IpAddr::V4(from), to)) => words.push(format!("tun_src={from},tun_dst={to}")),
        Some((from, to)) => words.push(format!("tun_ipv6_src={from},tun_ipv6_dst={to}")),
        None => {}
    }
    if let Some(vlan) = ask.packet.vlan {
        words.push(format!("dl_vlan={vlan}"));
    }
    let Connection { admitted, blocked, .. } = ask.connection;
    words.push(format!(
        "ct_mark={}",
        register::CT_ADMITTED.place(admitted.into()) | register::CT_BLOCKED.place(blocked.into())
    ));
    if ask.packet.suppressed {
        words.push(format!("reg0={:#x}", register::SUPPRESS_OUTPUT.place(1)));
        words.push(format!("metadata={:#x}", register::LOOK.place(LOOK)));
    }
    words.extend(carried(entering, ask));
    if !matches!(ask.packet.carried, Carried::Arp { .. } | Carried::Ethernet(_)) {
        words.push(match (source, destination) {
            (IpAddr::V4(source), destination) => format!("nw_src={source},nw_dst={destination},nw_ttl={ttl}"),
            (source, destination) => format!("ipv6_src={source},ipv6_dst={destination},nw_ttl={ttl}"),
        });
    }
    words.join(",")
}

fn carried(entering: &Entering, ask: &Ask) -> Vec<String> {
    let six = if entering.source.is_ipv6() { "6" } else { "" };
    let from = ask.packet.source_port;
    let text = match ask.packet.carried {
        Carried::Tcp { port, flags } => format!("tcp{six},tcp_src={from},tcp_dst={port},tcp_flags={flags:#x}"),
        Carried::Udp { port } => format!("udp{six},udp_src={from},udp_dst={port}"),
        Carried::Sctp { port } => format!("sctp{six},sctp_src={from},sctp_dst={port}"),
        Carried::Icmp { kind, code } if six.is_empty() => format!("icmp,icmp_type={kind},icmp_code={code}"),
        Carried::Icmp { kind, code } => format!("icmp6,icmpv6_type={kind},icmpv6_code={code}"),
        Carried::Other(protocol) => format!("{},nw_proto={protocol}", if six.is_empty() { "ip" } else { "ipv6" }),
        Carried::Ethernet(kind) => format!("eth_type={kind:#x}"),
        Carried::Arp { operation } => {
            let sender = ask.packet.arp_sender_mac.unwrap_or(entering.source_mac);
            let (source, destination) = (entering.source, entering.destination);
            format!("arp,arp_op={operation},arp_spa={source},arp_tpa={destination},arp_sha={}", link(sender))
        }
        Carried::Solicitation => {
            let sender = link(entering.source_mac);
            format!("icmp6,icmpv6_type=135,icmpv6_code=0,nd_target={},nd_sll={sender}", entering.destination)
        }
    };
    vec![text]
}

pub fn link(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
