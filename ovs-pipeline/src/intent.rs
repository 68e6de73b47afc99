//! What callers may want, in network words. The agent plans these; [`crate::flows`] turns each into flows.
//!
//! An intent says everything its flows depend on, so that an intent that did not change has flows that did not change.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::number::{ConjunctionNumber, IdentityNumber, RuleNumber};

/// One thing that is wanted of the switch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Intent {
    /// The node itself.
    Node(Node),
    /// Another node.
    Peer(Peer),
    /// A pod of this node.
    Pod(Pod),
    /// An endpoint elsewhere that rules here name.
    Address(Address),
    /// A policy rule.
    Rule(Rule),
    /// An identity that some policy isolates.
    Isolation(Isolation),
}

/// Which datapath the bridge has (`datapath_type`, ovs-vswitchd.conf.db(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Datapath {
    /// The kernel's.
    System,
    /// The userspace one.
    Netdev,
}

/// This node: what every pod's flows refer to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// The bridge's datapath.
    pub datapath: Datapath,
    /// OpenFlow port of the tunnel interface.
    pub tunnel_port: u32,
    /// OpenFlow port of the gateway interface.
    pub gateway_port: u32,
    /// The gateway interface's link address.
    pub gateway_mac: [u8; 6],
    /// The gateway's addresses, one a pod CIDR: what pods have as their default route.
    pub gateways: Vec<IpAddr>,
    /// The node's own addresses on the underlay.
    pub addresses: Vec<IpAddr>,
    /// The ranges this node's pods have their addresses from.
    pub pod_cidrs: Vec<IpNet>,
    /// The ranges of all nodes' pods.
    pub cluster_pod_cidrs: Vec<IpNet>,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Where its tunnel ends.
    pub tunnel_endpoint: IpAddr,
    /// The ranges its pods have their addresses from.
    pub pod_cidrs: Vec<IpNet>,
    /// Its own addresses on the underlay.
    pub addresses: Vec<IpAddr>,
}

/// A pod of this node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    /// Its OpenFlow port.
    pub port: u32,
    /// The link address of its interface.
    pub mac: [u8; 6],
    /// Its addresses, at most one a family.
    pub addresses: Vec<IpAddr>,
    /// Who it is; `None` until the controller has said.
    pub identity: Option<IdentityNumber>,
    /// What holds when no rule and no isolation decides what it sends.
    pub egress: Posture,
    /// The same for what it receives.
    pub ingress: Posture,
    /// Some egress rule of its identity names ports.
    pub egress_port_rules: bool,
    /// Some ingress rule of its identity names ports.
    pub ingress_port_rules: bool,
}

/// What holds for a pod in one direction when neither a rule nor an isolation decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Posture {
    /// Its identity is known: no isolation means open.
    Policed,
    /// Its identity is not known, but no policy could select it: open.
    Open,
    /// Its identity is not known and a policy could select it: closed.
    Closed,
}

/// An endpoint elsewhere, and the directions in which rules here need to know it.
///
/// On `netdev` a rule that allows SCTP (or names no services) needs its peers in both: its mirror lets their answers pass.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Its address.
    pub address: IpAddr,
    /// Who it is.
    pub identity: IdentityNumber,
    /// Some ingress rule here names its identity as a peer.
    pub source: bool,
    /// Some egress rule here names its identity as a peer or destination.
    pub destination: bool,
}

/// From which side of a pod a rule looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// What the pod receives.
    Ingress,
    /// What the pod sends.
    Egress,
}

impl Direction {
    /// The other one.
    pub const fn opposite(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }
}

/// A policy rule whose services are numbers: one of the parts into which named ports split it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What counters, logs and `ct_label` name.
    pub rule: RuleNumber,
    /// The id of its conjunction; a part of a rule each has its own.
    pub conjunction: ConjunctionNumber,
    /// The direction it applies in.
    pub direction: Direction,
    /// The identities it applies to.
    pub applied_to: Vec<IdentityNumber>,
    /// Who is at the other end; `None`: anyone.
    pub peers: Option<Peers>,
    /// For egress rules with named ports to address blocks: only these destinations.
    pub destinations: Option<Vec<IdentityNumber>>,
    /// Which packets; `None`: all.
    pub services: Option<Vec<Service>>,
    /// What it says.
    pub action: Action,
}

/// The other end of a rule: any of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Peers {
    /// Endpoints by identity.
    pub identities: Vec<IdentityNumber>,
    /// Ranges of addresses.
    pub blocks: Vec<IpBlock>,
}

/// A range of addresses with holes (NetworkPolicy `ipBlock`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IpBlock {
    /// The range.
    pub cidr: IpNet,
    /// The holes in it.
    pub except: Vec<IpNet>,
}

/// A transport protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 9260.
    Sctp,
}

/// Which packets a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Every packet of a protocol.
    Protocol(Protocol),
    /// A range of destination ports, both ends included.
    Ports {
        /// The protocol.
        protocol: Protocol,
        /// The first port.
        first: u16,
        /// The last port.
        last: u16,
    },
    /// ICMP (RFC 792) or ICMPv6 (RFC 4443).
    Icmp {
        /// ICMPv6.
        v6: bool,
        /// The type; `None`: any.
        kind: Option<u8>,
        /// The code; `None`: any.
        code: Option<u8>,
    },
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The packet goes on.
    Allow,
    /// The packet stops here.
    Drop,
}

/// An identity that some policy isolates in a direction: what no rule allows is dropped in this isolation's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Isolation {
    /// The direction.
    pub direction: Direction,
    /// The isolated identity.
    pub identity: IdentityNumber,
    /// What counters, logs and traces name.
    pub rule: RuleNumber,
}
