//! Packets, drawn so that rules are hit, missed by one, and passed by.

use std::net::IpAddr;

use apis::query::{TraceRequest, TraceSource};
use policy::{Endpoint, Family, Packet, PodKey, Protocol};

use super::draw::{Drawn, NODES, NUMBERS, PROTOCOLS, Part, Port, Target};
use super::random::Random;
use super::world::World;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// A pod, by its place in the cluster.
    Pod(usize),
    /// A node itself.
    Node(&'static str),
    /// The host outside, through the destination's node.
    Outside,
}

/// Who it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// A pod, by its place in the cluster.
    Pod(usize),
    /// A node's own address.
    Node(&'static str),
    /// The host outside.
    Outside,
    /// An address of a node's pod range that no pod has.
    Nobody(&'static str),
    /// The address that an ended pod had, by its place in the cluster.
    Ended(usize),
}

/// A packet, in the oracle's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub from: From,
    pub to: To,
    pub ipv6: bool,
    pub protocol: &'static str,
    pub port: u16,
    /// In whose name a pod sends, when not in its own.
    pub spoofed: Option<IpAddr>,
}

/// The source port of every packet: rules never name it.
const SOURCE_PORT: u16 = 40000;

/// Draws a packet.
pub fn draw(random: &mut Random, drawn: &Drawn, world: &World) -> Question {
    let pods: Vec<usize> = (0..drawn.pods.len()).filter(|&index| drawn.pods[index].part == Part::Pod).collect();
    let ipv6 = random.percent(40);
    let (from, to) = ends(random, &pods, drawn);
    let spoofed = match from {
        From::Pod(own) if random.percent(26) => Some(another_address(random, own, ipv6, &pods, world)),
        _ => None,
    };
    let (protocol, port) = service(random, drawn, to);
    Question { from, to, ipv6, protocol, port, spoofed }
}

/// A protocol and port that the destination serves, or that some rule names, or one beside it.
fn service(random: &mut Random, drawn: &Drawn, to: To) -> (&'static str, u16) {
    let (protocol, port) = match (random.below(10), to) {
        (0..=2, To::Pod(index)) => {
            let port = random.pick(&drawn.pods[index].ports);
            (port.protocol, port.number)
        }
        (3..=7, _) => named_by_a_rule(random, drawn, to),
        (8, _) => ("ICMP", 0),
        _ => (random.pick(&PROTOCOLS), random.pick(&NUMBERS)),
    };
    match random.below(12) {
        0 => (protocol, port.wrapping_add(1)),
        1 => (protocol, port.wrapping_sub(1)),
        2 => (random.pick(&PROTOCOLS), port),
        _ => (protocol, port),
    }
}

/// What a port of some rule means on the destination.
fn named_by_a_rule(random: &mut Random, drawn: &Drawn, to: To) -> (&'static str, u16) {
    let rules = drawn.policies.iter().flat_map(|policy| policy.ingress.iter().chain(&policy.egress).flatten());
    let ports: Vec<Port> = rules.flat_map(|rule| rule.ports.iter().flatten()).copied().collect();
    if ports.is_empty() {
        return ("TCP", random.pick(&NUMBERS));
    }
    let port = random.pick(&ports);
    let protocol = port.protocol.unwrap_or("TCP");
    let number = match (port.port, to) {
        (Some(Target::Number(first)), _) => {
            first + u16::try_from(random.below(usize::from(port.end.unwrap_or(first) - first) + 1)).unwrap_or(0)
        }
        (Some(Target::Name(name)), To::Pod(index)) => {
            let named = drawn.pods[index].ports.iter().find(|port| port.name == Some(name));
            named.map_or(random.pick(&NUMBERS), |port| port.number)
        }
        _ => random.pick(&NUMBERS),
    };
    (protocol, number)
}

fn ends(random: &mut Random, pods: &[usize], drawn: &Drawn) -> (From, To) {
    let pod = random.pick(pods);
    match random.below(20) {
        0 => (From::Node(drawn.pods[pod].node), To::Pod(pod)),
        1 => (From::Node(random.pick(&NODES)), To::Pod(pod)),
        2..=3 => (From::Outside, To::Pod(pod)),
        4 => (From::Pod(pod), To::Outside),
        5 => (From::Pod(pod), To::Node(random.pick(&NODES))),
        6 => (From::Pod(pod), no_longer_there(random, drawn)),
        7 if random.percent(40) => (From::Pod(pod), To::Pod(pod)),
        _ => loop {
            let other = random.pick(pods);
            // Two thirds across nodes.
            if other != pod && (drawn.pods[other].node != drawn.pods[pod].node || random.percent(50)) {
                break (From::Pod(pod), To::Pod(other));
            }
        },
    }
}

fn no_longer_there(random: &mut Random, drawn: &Drawn) -> To {
    let ended: Vec<usize> = (0..drawn.pods.len()).filter(|&index| drawn.pods[index].part == Part::Ended).collect();
    if ended.is_empty() || random.percent(20) {
        To::Nobody(random.pick(&NODES))
    } else {
        To::Ended(random.pick(&ended))
    }
}

fn another_address(random: &mut Random, own: usize, ipv6: bool, pods: &[usize], world: &World) -> IpAddr {
    let others: Vec<usize> = pods.iter().copied().filter(|&other| other != own).collect();
    match random.below(3) {
        0 => world.outside(ipv6),
        1 => world.gateway(random.pick(&NODES), ipv6),
        _ => world.pod(random.pick(&others), ipv6),
    }
}

impl Question {
    /// The address it carries as its source.
    pub fn source_address(&self, world: &World) -> IpAddr {
        self.spoofed.unwrap_or_else(|| match self.from {
            From::Pod(index) => world.pod(index, self.ipv6),
            From::Node(node) => world.gateway(node, self.ipv6),
            From::Outside => world.outside(self.ipv6),
        })
    }

    /// The address it is for.
    pub fn destination_address(&self, world: &World) -> IpAddr {
        match self.to {
            To::Pod(index) => world.pod(index, self.ipv6),
            To::Node(node) => world.node(node, self.ipv6),
            To::Outside => world.outside(self.ipv6),
            To::Nobody(node) => world.nobody(node, self.ipv6),
            To::Ended(index) => world.ended(index, self.ipv6),
        }
    }

    /// The node at which it enters the pod network.
    pub fn entry(&self, drawn: &Drawn) -> &'static str {
        match (self.from, self.to) {
            (From::Pod(index), _) => drawn.pods[index].node,
            (From::Node(node), _) => node,
            (From::Outside, To::Pod(index) | To::Ended(index)) => drawn.pods[index].node,
            (From::Outside, To::Node(node) | To::Nobody(node)) => node,
            (From::Outside, To::Outside) => NODES[0],
        }
    }

    /// Whether a pod sends to itself: such a packet never leaves the pod, so only a real one can be asked about.
    pub fn is_to_itself(&self) -> bool {
        matches!((self.from, self.to), (From::Pod(from), To::Pod(to)) if from == to) && self.spoofed.is_none()
    }

    /// Whether its ends are on different nodes.
    pub fn crosses(&self, drawn: &Drawn) -> bool {
        match self.to {
            To::Pod(index) | To::Ended(index) => drawn.pods[index].node != self.entry(drawn),
            To::Node(node) | To::Nobody(node) => node != self.entry(drawn),
            To::Outside => true,
        }
    }

    /// For the evaluator.
    pub fn packet(&self, drawn: &Drawn, world: &World) -> Packet {
        let key = |index: usize| PodKey::new(drawn.pods[index].namespace, &drawn.pods[index].name);
        let source = match self.from {
            From::Pod(index) => Endpoint::Pod(key(index)),
            // By its address, which pods of the host's network have too.
            From::Node(node) => Endpoint::Address(world.node(node, self.ipv6)),
            From::Outside => Endpoint::Address(world.outside(self.ipv6)),
        };
        let destination = match self.to {
            To::Pod(index) => Endpoint::Pod(key(index)),
            _ => Endpoint::Address(self.destination_address(world)),
        };
        let (source_port, destination_port) = (SOURCE_PORT, self.port);
        let protocol = match self.protocol {
            "TCP" => Protocol::Tcp { source_port, destination_port },
            "UDP" => Protocol::Udp { source_port, destination_port },
            "SCTP" => Protocol::Sctp { source_port, destination_port },
            _ => Protocol::Icmp { kind: if self.ipv6 { 128 } else { 8 }, code: 0 },
        };
        let family = if self.ipv6 { Family::Ipv6 } else { Family::Ipv4 };
        Packet { source, destination, family, protocol, source_address: Some(self.source_address(world)) }
    }

    /// For the agent of the node where it enters.
    pub fn request(&self, drawn: &Drawn, world: &World) -> TraceRequest {
        let source = match self.from {
            From::Pod(index) => TraceSource::Pod(format!("{}/{}", drawn.pods[index].namespace, drawn.pods[index].name)),
            From::Node(_) => TraceSource::Gateway(true),
            From::Outside => TraceSource::Gateway(false),
        };
        let ports = self.protocol != "ICMP";
        TraceRequest {
            source,
            source_address: Some(self.source_address(world)),
            destination_address: self.destination_address(world),
            protocol: self.protocol.to_owned(),
            source_port: ports.then_some(SOURCE_PORT),
            destination_port: ports.then_some(self.port),
            icmp_type: (!ports).then_some(if self.ipv6 { 128 } else { 8 }),
            ct: None,
        }
    }
}
