//! Who is who: numbers for names, by first appearance, and the conventions of the sample clusters.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result};
use ipnet::IpNet;
use ovs_pipeline::show::Names;
use ovs_pipeline::{ConjunctionNumber, IdentityNumber, RuleNumber};

/// Everything the file names.
#[derive(Default)]
pub struct Book {
    identities: Vec<String>,
    rules: Vec<String>,
    conjunctions: Vec<String>,
    /// Name of the pod behind a port of a node.
    ports: BTreeMap<(String, u32), String>,
    /// Addresses of named endpoints.
    endpoints: BTreeMap<String, Endpoint>,
}

/// A pod or an address that has a name.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub addresses: Vec<IpAddr>,
    pub identity: Option<IdentityNumber>,
}

fn numbered(names: &mut Vec<String>, name: &str) -> u32 {
    let place = names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_string());
        names.len() - 1
    });
    u32::try_from(place).expect("a scenario has few names")
}

fn named(names: &[String], number: Option<u32>) -> Option<String> {
    names.get(usize::try_from(number?).ok()?).cloned()
}

impl Book {
    pub fn identity(&mut self, name: &str) -> IdentityNumber {
        match name {
            "unknown" => IdentityNumber::UNKNOWN,
            "world" => IdentityNumber::WORLD,
            "node" => IdentityNumber::NODE,
            _ => IdentityNumber(IdentityNumber::FIRST.0 + numbered(&mut self.identities, name)),
        }
    }

    pub fn rule(&mut self, name: &str) -> RuleNumber {
        RuleNumber(RuleNumber::FIRST.0 + numbered(&mut self.rules, name))
    }

    pub fn conjunction(&mut self, name: &str) -> ConjunctionNumber {
        ConjunctionNumber(1 + numbered(&mut self.conjunctions, name))
    }

    pub fn name_port(&mut self, node: &str, port: u32, name: &str) {
        self.ports.insert((node.to_string(), port), name.to_string());
    }

    pub fn name_endpoint(&mut self, name: &str, endpoint: Endpoint) {
        self.endpoints.entry(name.to_string()).or_insert(endpoint);
    }

    pub fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.endpoints.get(name)
    }

    /// The names that a node's flows are printed with.
    pub fn names<'a>(&'a self, node: &'a str) -> NodeNames<'a> {
        NodeNames { book: self, node }
    }
}

/// The book, as one node sees it: ports are the node's.
pub struct NodeNames<'a> {
    book: &'a Book,
    node: &'a str,
}

impl Names for NodeNames<'_> {
    fn identity(&self, identity: IdentityNumber) -> Option<String> {
        named(&self.book.identities, identity.0.checked_sub(IdentityNumber::FIRST.0))
    }

    fn rule(&self, rule: RuleNumber) -> Option<String> {
        named(&self.book.rules, rule.0.checked_sub(RuleNumber::FIRST.0))
    }

    fn conjunction(&self, conjunction: ConjunctionNumber) -> Option<String> {
        named(&self.book.conjunctions, conjunction.0.checked_sub(1))
    }

    fn port(&self, port: u32) -> Option<String> {
        self.book.ports.get(&(self.node.to_string(), port)).cloned()
    }
}

/// A host on the underlay that is no node.
pub const OUTSIDE: [&str; 2] = ["172.18.0.100", "fd00:18::100"];

/// The place of a node in the conventions: node-a is 1, node-b is 2.
pub fn index(node: &str) -> Result<u8> {
    let letter = node.strip_prefix("node-").and_then(|letter| letter.bytes().next());
    letter
        .filter(u8::is_ascii_lowercase)
        .map(|letter| letter - b'a' + 1)
        .with_context(|| format!("{node:?} is no node-a to node-z"))
}

/// A node's own addresses on the underlay.
pub fn node_addresses(index: u8) -> Vec<IpAddr> {
    let number = 10 + index;
    [format!("172.18.0.{number}"), format!("fd00:18::{number}")].map(|text| address(&text)).to_vec()
}

/// The ranges of a node's pods.
pub fn pod_cidrs(index: u8) -> Vec<IpNet> {
    [format!("10.10.{index}.0/24"), format!("fd00:10:0:{index}::/64")]
        .map(|text| text.parse().expect("the conventions are valid"))
        .to_vec()
}

/// A pod's addresses, after its port.
pub fn pod_addresses(index: u8, port: u32) -> Vec<IpAddr> {
    [format!("10.10.{index}.{port}"), format!("fd00:10:0:{index}::{port}")].map(|text| address(&text)).to_vec()
}

pub fn address(text: &str) -> IpAddr {
    text.parse().expect("the conventions are valid")
}
