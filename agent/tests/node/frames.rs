//! What a controller says, in short words.
#![allow(dead_code, clippy::unwrap_used)] // every test file uses its own part of this

use apis::stream::change::Change as Kind;
use apis::stream::{self as wire};

pub fn change(kind: Kind) -> wire::Change {
    wire::Change { change: Some(kind) }
}

/// A 16-byte hash that stands for a word.
pub fn hash(word: &str) -> Vec<u8> {
    let mut bytes = word.as_bytes().to_vec();
    bytes.resize(16, b'.');
    bytes
}

pub fn address(text: &str) -> Vec<u8> {
    match text.parse().unwrap() {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    }
}

pub fn prefix(text: &str) -> wire::Prefix {
    let (network, length) = text.split_once('/').unwrap();
    wire::Prefix { address: address(network).into(), length: length.parse().unwrap() }
}

/// A node of the sample clusters: 1 is node-a, 2 node-b, 3 node-c.
pub fn node(number: u8) -> wire::Change {
    let name = format!("node-{}", char::from(b'a' + number - 1));
    change(Kind::Node(wire::Node {
        name,
        addresses: vec![address(&format!("172.18.0.1{number}")).into(), address(&format!("fd00:18::1{number}")).into()],
        pod_cidrs: vec![prefix(&format!("10.10.{number}.0/24")), prefix(&format!("fd00:10:0:{number}::/64"))],
    }))
}

pub fn posture(namespace: &str, ingress: bool, egress: bool) -> wire::Change {
    change(Kind::Posture(wire::Posture {
        namespace: namespace.into(),
        ingress_selectable: ingress,
        egress_selectable: egress,
    }))
}

pub fn identity(word: &str, ports: &[(&str, u32)]) -> wire::Change {
    change(Kind::Identity(wire::Identity {
        id: hash(word).into(),
        namespace: "shop".into(),
        labels: [].into(),
        named_ports: ports
            .iter()
            .map(|(name, port)| wire::NamedPort {
                name: (*name).into(),
                protocol: wire::Protocol::Tcp.into(),
                port: *port,
            })
            .collect(),
    }))
}

pub fn endpoint(name: &str, node: &str, identity: &str, addresses: &[&str]) -> wire::Change {
    change(Kind::Endpoint(wire::Endpoint {
        namespace: "shop".into(),
        name: name.into(),
        node: node.into(),
        addresses: addresses.iter().map(|text| address(text).into()).collect(),
        identity: hash(identity).into(),
    }))
}

pub fn group(word: &str, identities: &[&str]) -> wire::Change {
    change(Kind::Group(wire::Group {
        id: hash(word).into(),
        identities: identities.iter().map(|identity| hash(identity).into()).collect(),
    }))
}

pub fn isolation(word: &str, direction: wire::Direction, group: &str) -> wire::Change {
    change(Kind::Isolation(wire::Isolation {
        id: hash(word).into(),
        direction: direction.into(),
        applied_to: hash(group).into(),
        names: vec![format!("NetworkPolicy/shop/{word}")],
    }))
}

pub fn tcp(port: u32) -> wire::Service {
    wire::Service { protocol: wire::Protocol::Tcp.into(), port: Some(port), ..wire::Service::default() }
}

pub fn named(name: &str) -> wire::Service {
    wire::Service { protocol: wire::Protocol::Tcp.into(), port_name: Some(name.into()), ..wire::Service::default() }
}

pub fn rule(
    word: &str,
    direction: wire::Direction,
    to: &str,
    peers: &[&str],
    services: Vec<wire::Service>,
) -> wire::Change {
    change(Kind::Rule(wire::Rule {
        id: hash(word).into(),
        direction: direction.into(),
        applied_to: hash(to).into(),
        peers: peers.iter().map(|group| hash(group).into()).collect(),
        blocks: Vec::new(),
        any_peer: false,
        services,
        action: wire::RuleAction::Allow.into(),
        order: None,
        names: vec![format!("NetworkPolicy/shop/{word} rule[0]")],
    }))
}

pub fn rule_removed(word: &str) -> wire::Change {
    change(Kind::RuleRemoved(hash(word).into()))
}
