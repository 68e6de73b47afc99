//! Connections that were admitted before policy changed, looked at again.
//!
//! A packet in the original direction meets policy every time, so most connections need nothing. Where only replies flow, none
//! comes: for every admitted connection that a change may have touched, a packet with its original addresses and ports goes
//! through the tables by packet-out, with the bit set that keeps it from leaving. Policy then marks the connection blocked, or
//! leaves the look's number on it, as it would let the real packet pass ([`look`]).
//!
//! Beside the loop, after the switch obeys the change. What it learns from `dpctl/dump-conntrack` it judges not at all.

mod connection;
mod look;
mod packet;

use std::collections::BTreeMap;
use std::net::IpAddr;

use hashbrown::HashSet;
use ipnet::IpNet;
use openflow::{Action, Field, Message, PacketOut};
use ovs_pipeline::{Datapath, FORWARD_MAC, HOST_ORIGIN_MAC, IdentityNumber, Intent, TUNNEL_MAC, register};

use crate::ovs::openflow::Connection;
use crate::plan::Planner;
use connection::{Protocol, Tracked};
pub use look::follow;

/// More addresses than these are as good as all.
const ADDRESSES: usize = 4096;

/// Whose connections a change may have touched.
#[derive(Debug, Default, Clone)]
pub struct Affected {
    identities: HashSet<IdentityNumber>,
    addresses: HashSet<IpAddr>,
    /// Everyone's.
    all: bool,
}

/// Addresses whose connections are looked at.
#[derive(Clone, Debug)]
pub enum Touched {
    /// All there are.
    All,
    /// These.
    Some(HashSet<IpAddr>),
}

impl Touched {
    fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::Some(addresses) => addresses.contains(&address),
        }
    }

    fn join(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Some(addresses), Self::Some(others)) => addresses.extend(others),
            (_, _) => *self = Self::All,
        }
    }

    /// Nobody is.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Some(addresses) if addresses.is_empty())
    }
}

impl Affected {
    /// An intent came or went.
    pub fn note(&mut self, intent: &Intent) {
        match intent {
            Intent::Rule(rule) => self.identities.extend(&rule.applied_to),
            Intent::Isolation(isolation) => _ = self.identities.insert(isolation.identity),
            Intent::Address(address) => _ = self.addresses.insert(address.address),
            Intent::Pod(pod) => self.addresses.extend(&pod.addresses),
            Intent::Node(_) | Intent::Peer(_) => {}
        }
        if self.addresses.len() > ADDRESSES {
            (self.all, self.addresses) = (true, HashSet::new());
        }
    }

    /// Nothing was touched.
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty() && self.addresses.is_empty() && !self.all
    }
}

/// A change is realised: these connections may have lost what admitted them.
#[derive(Debug)]
pub struct Request {
    /// To the switch.
    pub connection: Connection,
    /// Whose connections are looked at.
    pub touched: Touched,
    /// How a packet of an address would enter.
    pub ways: Ways,
}

impl Request {
    /// The same, with what an earlier one was to look at.
    fn after(mut self, earlier: Self) -> Self {
        self.touched.join(earlier.touched);
        self
    }
}

/// Where packets enter the switch.
#[derive(Clone, Debug, Default)]
pub struct Ways {
    /// Pods here: address to port and link address.
    pods: BTreeMap<IpAddr, (u32, [u8; 6])>,
    /// Other nodes: pod ranges and own addresses, to the tunnel's end there.
    peers: Vec<(IpNet, IpAddr)>,
    tunnel: u32,
    gateway: (u32, [u8; 6]),
    /// The node's own addresses: what comes from them is its own.
    own: Vec<IpAddr>,
    /// A TCP connection can be looked at: the kernel's conntrack takes a SYN for one of an established connection, whatever its
    /// sequence number. The one of netdev calls every segment invalid that is not in the window. What only the server sends
    /// over TCP is acknowledged, so the connection meets policy soon all the same.
    tcp: bool,
}

/// How a packet enters.
struct Way {
    port: u32,
    source_mac: [u8; 6],
    destination_mac: [u8; 6],
    tunnel: Option<IpAddr>,
}

impl Ways {
    /// As the plan has them; none while the node is not planned.
    pub fn of(planner: &Planner) -> Option<Self> {
        let node = planner.node()?;
        let pods = planner
            .pods()
            .values()
            .flat_map(|pod| pod.addresses.iter().map(|address| (*address, (pod.port, pod.mac))))
            .collect();
        let peers = planner
            .peers()
            .flat_map(|peer| {
                let own = peer.addresses.iter().map(|address| IpNet::from(*address));
                own.chain(peer.pod_cidrs.iter().copied()).map(|range| (range, peer.tunnel_endpoint))
            })
            .collect();
        let own = node.gateways.iter().chain(&node.addresses).copied().collect();
        let tcp = node.datapath == Datapath::System;
        Some(Self { pods, peers, tunnel: node.tunnel_port, gateway: (node.gateway_port, node.gateway_mac), own, tcp })
    }

    fn way(&self, source: IpAddr) -> Way {
        let (gateway, gateway_mac) = self.gateway;
        if let Some((port, mac)) = self.pods.get(&source) {
            return Way { port: *port, source_mac: *mac, destination_mac: gateway_mac, tunnel: None };
        }
        if self.own.contains(&source) {
            return Way { port: gateway, source_mac: gateway_mac, destination_mac: HOST_ORIGIN_MAC, tunnel: None };
        }
        match self.peers.iter().find(|(range, _)| range.contains(&source)) {
            Some((_, endpoint)) => {
                Way { port: self.tunnel, source_mac: TUNNEL_MAC, destination_mac: TUNNEL_MAC, tunnel: Some(*endpoint) }
            }
            None => Way { port: gateway, source_mac: gateway_mac, destination_mac: FORWARD_MAC, tunnel: None },
        }
    }

    /// The message that sends a connection's original packet through the tables, with the number that is to be left on it; `None`
    /// for what cannot be looked at, or need not be.
    fn packet_out(&self, found: &Tracked) -> Option<Vec<u8>> {
        if matches!(found.protocol, Protocol::Tcp(..)) && !(found.is_established && self.tcp) {
            return None;
        }
        let way = self.way(found.source);
        let bytes = packet::original(found, way.source_mac, way.destination_mac)?;
        let suppress = u32::try_from(register::SUPPRESS_OUTPUT.place(1)).ok()?;
        let look = u64::try_from(register::LOOK.place(found.next_look().into())).ok()?;
        let message = PacketOut::new(way.port, bytes, vec![Action::resubmit(0)])
            .with(Field::Reg(0), suppress)
            .with(register::LOOK.field, look);
        let message = match way.tunnel {
            Some(IpAddr::V4(address)) => message.with(Field::TunSrc, address),
            Some(IpAddr::V6(address)) => message.with(Field::TunIpv6Src, address),
            None => message,
        };
        Message::PacketOut(message).encode(0).ok()
    }

    /// The local addresses of pods that are touched, and the touched addresses themselves.
    pub fn touched(affected: &Affected, planner: &Planner) -> Touched {
        if affected.all {
            return Touched::All;
        }
        let pods = planner.pods().values();
        let local = pods.filter(|pod| pod.identity.is_some_and(|identity| affected.identities.contains(&identity)));
        let local = local.flat_map(|pod| pod.addresses.iter().copied());
        Touched::Some(local.chain(affected.addresses.iter().copied()).collect())
    }
}

/// A line of a control socket's answer, for the fuzzer.
#[cfg(fuzzing)]
pub mod fuzzing {
    /// Reads it, and makes the packet that looks at the connection again.
    pub fn look_at(line: &str) {
        if let Some(found) = super::connection::parse(line) {
            let _ = super::Ways { tcp: true, ..super::Ways::default() }.packet_out(&found);
            let _ = found.tuple().to_string();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_is_looked_at_where_its_packet_can_be_tracked() {
        let packet = |tcp: bool, line: &str| {
            let found = connection::parse(line).unwrap();
            Ways { tcp, ..Ways::default() }.packet_out(&found).map(|message| Message::decode(&message).unwrap().1)
        };
        let of = |protocol: &str, state: &str| {
            format!(
                "{protocol},orig=(src=10.10.1.2,dst=10.10.2.3,sport=40000,dport=80),reply=(src=10.10.2.3,dst=10.10.1.2,sport=80,dport=40000),zone=65520,mark=0x2000001{state}"
            )
        };
        let open = of("tcp", ",protoinfo=(state=ESTABLISHED)");
        assert!(packet(false, &open).is_none(), "netdev's conntrack takes no segment outside the window");
        for state in ["SYN_SENT", "SYN_RECV", "TIME_WAIT"] {
            let other = of("tcp", &format!(",protoinfo=(state={state})"));
            assert!(packet(true, &other).is_none(), "a SYN means something else in {state}");
        }
        for (tcp, line) in [(true, open), (false, of("udp", ""))] {
            let Some(Message::PacketOut(sent)) = packet(tcp, &line) else { panic!("{line} is not looked at") };
            assert_eq!(sent.metadata.get(register::LOOK.field).unwrap().value, 3_u64.into(), "{line}");
        }
    }
}
