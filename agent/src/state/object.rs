//! What the controller says, as values that are valid: addresses are addresses, ports are in range, lists are sorted.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ovs_pipeline::{Direction, Protocol};

use super::name::{GroupId, IdentityId, IsolationId, PodKey, RuleId};

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name in the cluster.
    pub name: Box<str>,
    /// Where its tunnel ends, IPv4 before IPv6.
    pub addresses: Vec<IpAddr>,
    /// What its pods' addresses are taken from.
    pub pod_cidrs: Vec<IpNet>,
}

/// A pod that this node needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Which pod.
    pub key: PodKey,
    /// Where it runs.
    pub node: Box<str>,
    /// Its addresses, at most one a family; none while its node has not reported them.
    pub addresses: Addresses,
    /// Who it is to policies.
    pub identity: IdentityId,
}

/// At most one address a family: what a pod has (Kubernetes, `status.podIPs`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Addresses {
    /// The IPv4 address.
    pub v4: Option<std::net::Ipv4Addr>,
    /// The IPv6 address.
    pub v6: Option<std::net::Ipv6Addr>,
}

impl Addresses {
    /// IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4 == Some(address),
            IpAddr::V6(address) => self.v6 == Some(address),
        }
    }
}

impl FromIterator<IpAddr> for Addresses {
    /// The first of each family counts.
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        let mut found = Self::default();
        for address in addresses {
            match address {
                IpAddr::V4(address) => _ = found.v4.get_or_insert(address),
                IpAddr::V6(address) => _ = found.v6.get_or_insert(address),
            }
        }
        found
    }
}

/// What an identity says about its endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub id: IdentityId,
    /// The namespace of its endpoints.
    pub namespace: Box<str>,
    /// Ports that its containers name, sorted.
    pub named_ports: Box<[NamedPort]>,
}

/// A port that a container names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedPort {
    /// The name policies use.
    pub name: Box<str>,
    /// The protocol; a name may stand for one port a protocol.
    pub protocol: TransportProtocol,
    /// The port.
    pub port: u16,
}

/// A transport protocol, ordered by its number (IANA).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransportProtocol {
    /// 6.
    Tcp,
    /// 17.
    Udp,
    /// 132.
    Sctp,
}

impl From<TransportProtocol> for Protocol {
    fn from(protocol: TransportProtocol) -> Self {
        match protocol {
            TransportProtocol::Tcp => Protocol::Tcp,
            TransportProtocol::Udp => Protocol::Udp,
            TransportProtocol::Sctp => Protocol::Sctp,
        }
    }
}

/// Identities that a selector selects. The list is shared with what `plan` remembers of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub id: GroupId,
    /// Sorted, without duplicates.
    pub identities: Arc<[IdentityId]>,
}

/// A rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, a hash of all that follows but `names`.
    pub id: RuleId,
    /// The direction it applies in.
    pub direction: Direction,
    /// The group of pods it applies to.
    pub applied_to: GroupId,
    /// The other end; `None`: anyone.
    pub peers: Option<RulePeers>,
    /// Which packets; empty: all.
    pub services: Box<[RuleService]>,
    /// What it says.
    pub action: ovs_pipeline::Action,
    /// The policy rules that say this, sorted.
    pub names: Box<[Box<str>]>,
}

/// The other end of a rule: any of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePeers {
    /// Groups of pods, sorted.
    pub groups: Box<[GroupId]>,
    /// Ranges of addresses.
    pub blocks: Box<[ovs_pipeline::IpBlock]>,
}

/// A service of a rule, as a number or by the name that the destination's containers give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleService {
    /// Known without asking who the destination is.
    Number(ovs_pipeline::Service),
    /// What the destination calls so.
    Name {
        /// The protocol.
        protocol: TransportProtocol,
        /// The container port's name.
        name: Box<str>,
    },
}

/// A group whose pods accept in one direction only what rules allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// Its name.
    pub id: IsolationId,
    /// The direction.
    pub direction: Direction,
    /// The group.
    pub applied_to: GroupId,
    /// The policies that isolate, sorted.
    pub names: Box<[Box<str>]>,
}

/// Whether any policy could select a pod of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posture {
    /// A policy for ingress could.
    pub ingress_selectable: bool,
    /// A policy for egress could.
    pub egress_selectable: bool,
}

/// One change of what the controller says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is a node.
    Node(Node),
    /// There is no such node.
    NodeRemoved(Box<str>),
    /// There is a pod.
    Endpoint(Endpoint),
    /// There is no such pod, or this node does not need it.
    EndpointRemoved(PodKey),
    /// There is an identity.
    Identity(Identity),
    /// This node does not need it.
    IdentityRemoved(IdentityId),
    /// A group has these members.
    Group(Group),
    /// This node does not need it.
    GroupRemoved(GroupId),
    /// There is a rule.
    Rule(Rule),
    /// There is no such rule, or this node does not need it.
    RuleRemoved(RuleId),
    /// There is an isolation.
    Isolation(Isolation),
    /// There is no such isolation, or this node does not need it.
    IsolationRemoved(IsolationId),
    /// What policies could do in a namespace.
    Posture(Box<str>, Posture),
    /// There is no such namespace.
    PostureRemoved(Box<str>),
}
