//! Objects of the plan as they go on the wire, each encoded once.

use std::net::IpAddr;

use apis::digest;
use apis::stream as wire;
use bytes::Bytes;
use hashbrown::HashMap;
use ipnet::IpNet;
use prost::Message;

use crate::object::{IpBlock, PortRange, Protocol, Services, Text};
use crate::plan::{ContentId, Direction, Name, Plan, Planned};
use wire::change::Change as Kind;

/// An object as it is now: the change that says it, and what digests need.
#[derive(Clone)]
pub(super) struct Encoded {
    pub change: Bytes,
    /// Its content, as digests have it.
    pub content: u64,
    /// The bucket of its name.
    pub bucket: u8,
}

/// Objects as they are now, for those that some agent needed; each is encoded once.
#[derive(Default)]
pub(super) struct Encodings(HashMap<Name, Encoded>);

impl Encodings {
    /// An object as it is now; shared by all who get it.
    pub fn of(&mut self, plan: &Plan, name: &Name) -> Option<&Encoded> {
        // Looked up first: cloning a name for each agent that needs it would cost more than it is worth.
        if !self.0.contains_key(name) {
            let change = encode(plan.object(name)?);
            let (content, bucket) = (digest::content(&change), digest::bucket(&encode_removed(name)));
            self.0.insert(name.clone(), Encoded { change, content, bucket });
        }
        self.0.get(name)
    }

    /// The change that says what an object is now.
    pub fn change(&mut self, plan: &Plan, name: &Name) -> Option<Bytes> {
        self.of(plan, name).map(|encoded| encoded.change.clone())
    }

    /// The object is not what it was, or is no more.
    pub fn forget(&mut self, name: &Name) {
        self.0.remove(name);
    }
}

/// The change that takes an object away.
pub(super) fn encode_removed(name: &Name) -> Bytes {
    finish(match name {
        Name::Node(name) => Kind::NodeRemoved(name.to_string()),
        Name::Posture(namespace) => Kind::PostureRemoved(namespace.to_string()),
        Name::Identity(id) => Kind::IdentityRemoved(bytes_of(*id)),
        Name::Endpoint(pod) => {
            Kind::EndpointRemoved(wire::PodKey { namespace: pod.namespace.to_string(), name: pod.name.to_string() })
        }
        Name::Group(id) => Kind::GroupRemoved(bytes_of(*id)),
        Name::Isolation(id) => Kind::IsolationRemoved(bytes_of(*id)),
        Name::Rule(id) => Kind::RuleRemoved(bytes_of(*id)),
    })
}

fn encode(object: Planned<'_>) -> Bytes {
    finish(match object {
        Planned::Node(node) => Kind::Node(wire::Node {
            name: node.name.to_string(),
            addresses: node.addresses.iter().map(address).collect(),
            pod_cidrs: node.pod_cidrs.iter().map(prefix).collect(),
        }),
        Planned::Posture { namespace, ingress, egress } => Kind::Posture(wire::Posture {
            namespace: namespace.to_string(),
            ingress_selectable: ingress,
            egress_selectable: egress,
        }),
        Planned::Identity(id, definition) => Kind::Identity(wire::Identity {
            id: bytes_of(id),
            namespace: definition.namespace.to_string(),
            labels: definition.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            named_ports: definition
                .named_ports
                .iter()
                .map(|port| wire::NamedPort {
                    name: port.name.to_string(),
                    protocol: protocol(port.protocol),
                    port: port.port.into(),
                })
                .collect(),
        }),
        Planned::Endpoint { pod, node, addresses, identity } => Kind::Endpoint(wire::Endpoint {
            namespace: pod.namespace.to_string(),
            name: pod.name.to_string(),
            node: node.to_string(),
            addresses: addresses.iter().map(address).collect(),
            identity: bytes_of(identity),
        }),
        Planned::Group { id, identities, .. } => {
            Kind::Group(wire::Group { id: bytes_of(id), identities: identities.into_iter().map(bytes_of).collect() })
        }
        Planned::Isolation { id, direction, applied_to, names } => Kind::Isolation(wire::Isolation {
            id: bytes_of(id),
            direction: wire_direction(direction),
            applied_to: bytes_of(applied_to),
            names: owned(names),
        }),
        Planned::Rule { id, content, names } => Kind::Rule(wire::Rule {
            id: bytes_of(id),
            direction: wire_direction(content.direction),
            applied_to: bytes_of(content.applied_to),
            peers: content.peers.iter().copied().map(bytes_of).collect(),
            blocks: content.blocks.iter().map(block).collect(),
            any_peer: content.anyone,
            services: services(&content.services),
            action: wire::RuleAction::Allow.into(),
            order: Some(wire::Order::default()),
            names: owned(names),
        }),
    })
}

fn finish(kind: Kind) -> Bytes {
    Bytes::from(wire::Change { change: Some(kind) }.encode_to_vec())
}

fn bytes_of(id: ContentId) -> Bytes {
    Bytes::copy_from_slice(&id.0)
}

fn owned(names: Vec<&Text>) -> Vec<String> {
    names.into_iter().map(ToString::to_string).collect()
}

fn address(address: &IpAddr) -> Bytes {
    match address {
        IpAddr::V4(address) => Bytes::copy_from_slice(&address.octets()),
        IpAddr::V6(address) => Bytes::copy_from_slice(&address.octets()),
    }
}

fn prefix(net: &IpNet) -> wire::Prefix {
    wire::Prefix { address: address(&net.network()), length: net.prefix_len().into() }
}

fn block(block: &IpBlock) -> wire::IpBlock {
    wire::IpBlock { cidr: Some(prefix(&block.cidr())), except: block.except().iter().map(prefix).collect() }
}

fn wire_direction(direction: Direction) -> i32 {
    match direction {
        Direction::Ingress => wire::Direction::Ingress.into(),
        Direction::Egress => wire::Direction::Egress.into(),
    }
}

fn protocol(protocol: Protocol) -> i32 {
    match protocol {
        Protocol::Tcp => wire::Protocol::Tcp.into(),
        Protocol::Udp => wire::Protocol::Udp.into(),
        Protocol::Sctp => wire::Protocol::Sctp.into(),
    }
}

fn services(services: &Services) -> Vec<wire::Service> {
    let ports = services.ports().unwrap_or_default().iter();
    ports
        .map(|port| {
            let mut service = wire::Service { protocol: protocol(port.protocol), ..wire::Service::default() };
            match &port.range {
                PortRange::All => {}
                PortRange::Numbers(first, last) => {
                    service.port = Some((*first).into());
                    service.end_port = (first != last).then_some((*last).into());
                }
                PortRange::Named(name) => service.port_name = Some(name.to_string()),
            }
            service
        })
        .collect()
}
