//! The first packet of a connection.

use std::fmt;
use std::net::IpAddr;

use crate::PodKey;

/// A connection's first packet: who sends it, to whom, and what it is. Replies follow the connection and are not asked about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// Who sends.
    pub source: Endpoint,
    /// To whom; after the choice of a Service's endpoint.
    pub destination: Endpoint,
    /// Which of the two parties' addresses are used.
    pub family: Family,
    /// What it carries.
    pub protocol: Protocol,
    /// The packet's source address where it is not the source's first one: another address of a node (its gateway's), or
    /// another's address in a packet that a pod forged.
    pub source_address: Option<IpAddr>,
}

/// One end of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Endpoint {
    /// A pod; one of the host's network stands for its node.
    Pod(PodKey),
    /// Whoever has this address: a pod, a node, or someone outside.
    Address(IpAddr),
    /// A node itself.
    Node(String),
}

/// The version of IP. The families are independent: a packet is of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv6() { Self::Ipv6 } else { Self::Ipv4 }
    }
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Protocol {
    Tcp {
        source_port: u16,
        destination_port: u16,
    },
    Udp {
        source_port: u16,
        destination_port: u16,
    },
    Sctp {
        source_port: u16,
        destination_port: u16,
    },
    /// ICMP in an IPv4 packet, ICMPv6 in an IPv6 packet.
    Icmp {
        kind: u8,
        code: u8,
    },
}

impl Protocol {
    /// The name that policies use, and the destination port; none for what has no ports.
    pub(crate) fn named(self) -> Option<(&'static str, u16)> {
        match self {
            Self::Tcp { destination_port, .. } => Some(("TCP", destination_port)),
            Self::Udp { destination_port, .. } => Some(("UDP", destination_port)),
            Self::Sctp { destination_port, .. } => Some(("SCTP", destination_port)),
            Self::Icmp { .. } => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(key) => write!(formatter, "{key}"),
            Self::Address(address) => write!(formatter, "{address}"),
            Self::Node(name) => write!(formatter, "node {name}"),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if *self == Self::Ipv6 { "IPv6" } else { "IPv4" })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.named(), self) {
            (Some((name, port)), _) => write!(formatter, "{name} {port}"),
            (None, Self::Icmp { kind, code }) => write!(formatter, "ICMP {kind}/{code}"),
            (None, _) => formatter.write_str("a protocol without ports"),
        }
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} -> {} {} {}", self.source, self.destination, self.family, self.protocol)?;
        match self.source_address {
            Some(address) => write!(formatter, " from {address}"),
            None => Ok(()),
        }
    }
}
