//! A packet's way through the switch: the question as `ofproto/trace` takes it (ovs-vswitchd(8)), and its answer read.
//!
//! What decided comes from the registers that the packet has at its end, so a trace names what the packet met and not what
//! should have been there.

use std::collections::BTreeMap;
use std::net::IpAddr;

use apis::cni::MacAddress;
use apis::query::{Names, TraceAnswer, TraceRequest, TraceSource};
use ovs_pipeline::register::{self, Destination, Register};
use ovs_pipeline::{FORWARD_MAC, HOST_ORIGIN_MAC, Node, TUNNEL_MAC, Table};
use serde::{Deserialize, Serialize};

use crate::plan::Planner;
use crate::plan::tunnel_endpoint;
use crate::state::{PodKey, State};

/// A question that makes no packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// Too early.
    #[error("the switch is not set up: the controller has not described this node yet, or a port is missing")]
    NotReady,
    /// No such pod.
    #[error("pod {0} is not attached here; write namespace/name of a pod of this node (GET /v1/pods)")]
    NoPod(String),
    /// No such node.
    #[error("there is no other node {0}; write the name of one, as in `kubectl get nodes`")]
    NoPeer(String),
    /// It has no address of the destination's family.
    #[error("{0} has no address of the destination's family; write \"source_address\"")]
    NoAddress(String),
    /// Families differ.
    #[error("source {0} and destination {1} are not of one family")]
    Families(IpAddr, IpAddr),
    /// Not a protocol.
    #[error("{0} is no protocol that is traced; write TCP, UDP, SCTP or ICMP")]
    Protocol(String),
    /// Ports are missing.
    #[error("{0} needs \"destination_port\"")]
    NoPort(String),
    /// Not a state.
    #[error("{0} is no state of a connection; write new, est or rpl")]
    State(String),
    /// The switch's words were not understood.
    #[error("the switch's answer cannot be read: {0}")]
    Unreadable(String),
}

/// A packet as `ofproto/trace` takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// Its fields.
    pub flow: String,
    /// What connection tracking says of it, for `--ct-next`.
    pub connection: String,
}

/// Where a packet enters, and in whose name.
struct Entry {
    port: u32,
    source_mac: [u8; 6],
    destination_mac: [u8; 6],
    tunnel: Option<(IpAddr, IpAddr)>,
    source: IpAddr,
}

/// The packet that a request describes.
///
/// # Errors
/// What of it makes no sense, and what to write.
pub fn packet(request: &TraceRequest, state: &State, planner: &Planner) -> Result<Packet, TraceError> {
    let node = planner.node().ok_or(TraceError::NotReady)?;
    let entry = entry(request, state, planner, node)?;
    let (source, destination) = (entry.source, request.destination_address);
    if source.is_ipv6() != destination.is_ipv6() {
        return Err(TraceError::Families(source, destination));
    }
    let (connection, admitted) = match request.ct.as_deref() {
        None | Some("new") => ("trk,new", false),
        Some("est") => ("trk,est", true),
        Some("rpl") => ("trk,est,rpl", true),
        Some(other) => return Err(TraceError::State(other.to_owned())),
    };
    let mut words = vec![
        format!("in_port={}", entry.port),
        format!("eth_src={}", MacAddress(entry.source_mac)),
        format!("eth_dst={}", MacAddress(entry.destination_mac)),
    ];
    match entry.tunnel {
        Some((IpAddr::V4(from), to)) => words.push(format!("tun_src={from},tun_dst={to}")),
        Some((from, to)) => words.push(format!("tun_ipv6_src={from},tun_ipv6_dst={to}")),
        None => {}
    }
    words.push(format!("ct_mark={}", register::CT_ADMITTED.place(admitted.into())));
    words.push(carried(request, destination.is_ipv6(), admitted)?);
    words.push(if source.is_ipv6() {
        format!("ipv6_src={source},ipv6_dst={destination},nw_ttl=64")
    } else {
        format!("nw_src={source},nw_dst={destination},nw_ttl=64")
    });
    Ok(Packet { flow: words.join(","), connection: connection.to_owned() })
}

fn entry(request: &TraceRequest, state: &State, planner: &Planner, node: &Node) -> Result<Entry, TraceError> {
    let v6 = request.destination_address.is_ipv6();
    let family = |addresses: &[IpAddr]| addresses.iter().copied().find(|address| address.is_ipv6() == v6);
    let own = || family(&node.gateways).or_else(|| family(&node.addresses));
    let chosen = |default: Option<IpAddr>, who: &str| {
        request.source_address.or(default).ok_or_else(|| TraceError::NoAddress(who.to_owned()))
    };
    Ok(match &request.source {
        TraceSource::Pod(name) => {
            let key = PodKey::parse(name).ok_or_else(|| TraceError::NoPod(name.clone()))?;
            let pod = planner.pods().get(&key).ok_or_else(|| TraceError::NoPod(name.clone()))?;
            Entry {
                port: pod.port,
                source_mac: pod.mac,
                destination_mac: node.gateway_mac,
                tunnel: None,
                source: chosen(family(&pod.addresses), name)?,
            }
        }
        TraceSource::Gateway(own_packet) => Entry {
            port: node.gateway_port,
            source_mac: node.gateway_mac,
            destination_mac: if *own_packet { HOST_ORIGIN_MAC } else { FORWARD_MAC },
            tunnel: None,
            source: chosen(own(), "the node")?,
        },
        TraceSource::Tunnel(name) => {
            let peer = state.upstream.nodes.get(name.as_str()).filter(|_| *name != *state.node);
            let (peer, mine) = peer.zip(state.own()).ok_or_else(|| TraceError::NoPeer(name.clone()))?;
            let from = tunnel_endpoint(mine, peer).ok_or_else(|| TraceError::NoAddress(name.clone()))?;
            let to = tunnel_endpoint(peer, mine).ok_or_else(|| TraceError::NoAddress(name.clone()))?;
            let gateways: Vec<_> = peer.pod_cidrs.iter().map(|range| ovs_pipeline::gateway(*range)).collect();
            Entry {
                port: node.tunnel_port,
                source_mac: TUNNEL_MAC,
                destination_mac: TUNNEL_MAC,
                tunnel: Some((from, to)),
                source: chosen(family(&gateways), name)?,
            }
        }
    })
}

/// The transport's fields. A new TCP connection starts with a SYN (2), all else is an ACK (16).
fn carried(request: &TraceRequest, v6: bool, established: bool) -> Result<String, TraceError> {
    let six = if v6 { "6" } else { "" };
    let from = request.source_port.unwrap_or(40000);
    let name = request.protocol.to_ascii_lowercase();
    if name == "icmp" || name == "icmpv6" {
        let echo = if v6 { 128 } else { 8 };
        let kind = request.icmp_type.unwrap_or(echo);
        return Ok(if v6 {
            format!("icmp6,icmpv6_type={kind},icmpv6_code=0")
        } else {
            format!("icmp,icmp_type={kind},icmp_code=0")
        });
    }
    if !["tcp", "udp", "sctp"].contains(&name.as_str()) {
        return Err(TraceError::Protocol(request.protocol.clone()));
    }
    let port = request.destination_port.ok_or_else(|| TraceError::NoPort(request.protocol.clone()))?;
    let flags = match (name.as_str(), established) {
        ("tcp", false) => ",tcp_flags=0x2",
        ("tcp", true) => ",tcp_flags=0x10",
        _ => "",
    };
    Ok(format!("{name}{six},{name}_src={from},{name}_dst={port}{flags}"))
}

/// What the switch said became of the packet: rule numbers are still to be named, ports still to be told apart.
///
/// # Errors
/// When the text is not that of `ofproto/trace`.
pub fn read(text: &str) -> Result<TraceAnswer, TraceError> {
    let pass = text.rsplit("\nrecirc(").next().unwrap_or(text);
    let (mut tables, mut start, mut end, mut did) = (Vec::new(), BTreeMap::new(), BTreeMap::new(), String::new());
    let mut bridges = 0;
    for line in pass.lines() {
        if line.starts_with("bridge(") {
            bridges += 1;
        } else if bridges > 1 && !line.starts_with("Final flow: ") {
            // A native tunnel leaves through another bridge, whose tables are not ours.
        } else if let Some(flow) = line.strip_prefix("Flow: ") {
            start = fields(flow);
        } else if let Some(flow) = line.strip_prefix("Final flow: ") {
            end = if flow == "unchanged" { start.clone() } else { fields(flow) };
        } else if let Some(id) = table_of(line) {
            tables.push(Table::from_id(id).ok_or_else(|| TraceError::Unreadable(line.to_owned()))?);
            did.clear();
        } else if line.starts_with("    ") {
            did.push_str(line);
            did.push('\n');
        }
    }
    let last = *tables.last().ok_or_else(|| TraceError::Unreadable("no table was met".to_owned()))?;
    let at_end = |register: &Register| value(&end, register);
    let mut answer = TraceAnswer {
        egress: Names { number: at_end(&register::EGRESS_RULE), names: Vec::new() },
        ingress: Names { number: at_end(&register::INGRESS_RULE), names: Vec::new() },
        text: text.to_owned(),
        ..TraceAnswer::default()
    };
    let decided = match last {
        Table::EgressVerdict if at_end(&register::EGRESS_VERDICT) != 0 => tables.iter().rev().nth(1).copied(),
        Table::IngressVerdict if at_end(&register::INGRESS_VERDICT) != 0 => tables.iter().rev().nth(1).copied(),
        _ => None,
    };
    answer.table = decided.unwrap_or(last).name().to_owned();
    answer.outcome = "Dropped".to_owned();
    if last == Table::Output && did.contains("output") && !did.contains("skipping output") {
        answer.port = Some(at_end(&register::OUTPUT_PORT));
        let destination = at_end(&register::DESTINATION);
        answer.outcome = match destination {
            found if found == Destination::Pod as u32 => "Delivered",
            found if found == Destination::Tunnel as u32 => "ToTunnel",
            _ => "ToGateway",
        }
        .to_owned();
        #[cfg(fuzzing)]
        apis::planted::planted("unixctl", answer.port.is_some_and(|port| (3..16).contains(&port)));
        if destination == Destination::Tunnel as u32 {
            let endpoint = end.get("tun_dst").or_else(|| end.get("tun_ipv6_dst"));
            answer.tunnel_destination = endpoint.and_then(|text| text.parse().ok());
        }
    }
    Ok(answer)
}

/// The table of a line such as ` 0. in_port=3, priority 100`.
fn table_of(line: &str) -> Option<u8> {
    line.split_once(". ")?.0.trim_start().parse().ok()
}

fn fields(text: &str) -> BTreeMap<String, String> {
    text.split(',')
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A register at the end; fields that the trace leaves out are zero.
fn value(end: &BTreeMap<String, String>, register: &Register) -> u32 {
    let text = end.get(&register.field.to_string()).map_or("0", String::as_str);
    let whole = match text.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let bits = register.read(whole.unwrap_or(0));
    u32::try_from(bits).unwrap_or(u32::MAX)
}
