//! Clusters and policies, drawn so that every construct of NetworkPolicy decides something.
//!
//! What is drawn is plain data of the oracle's own; [`super::yaml`] writes it as text for the system, [`super::objects`] as raw
//! objects for the evaluator.

use std::collections::BTreeMap;

use super::random::Random;

/// Labels.
pub type Labels = BTreeMap<&'static str, &'static str>;

/// A drawn cluster.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// Its namespaces.
    pub namespaces: Vec<Namespace>,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// Its policies.
    pub policies: Vec<Policy>,
}

/// A namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    pub name: &'static str,
    pub labels: Labels,
}

/// How a pod takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Attached to the pod network.
    Pod,
    /// Uses its node's network: no endpoint.
    HostNetwork,
    /// Has ended (`Succeeded`): no endpoint any more.
    Ended,
}

/// A pod.
#[derive(Clone, Debug)]
pub struct Pod {
    pub namespace: &'static str,
    pub name: String,
    pub node: &'static str,
    pub labels: Labels,
    pub ports: Vec<ContainerPort>,
    pub part: Part,
}

/// A port that a container declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerPort {
    pub name: Option<&'static str>,
    pub protocol: &'static str,
    pub number: u16,
    /// Declared by a sidecar: an init container that is always restarted.
    pub sidecar: bool,
}

/// A NetworkPolicy.
#[derive(Clone, Debug)]
pub struct Policy {
    pub namespace: &'static str,
    pub name: String,
    pub pods: Selector,
    pub types: Option<Vec<&'static str>>,
    pub ingress: Option<Vec<Rule>>,
    pub egress: Option<Vec<Rule>>,
}

/// A rule; `None` is a field that is not written.
#[derive(Clone, Debug)]
pub struct Rule {
    pub peers: Option<Vec<Peer>>,
    pub ports: Option<Vec<Port>>,
}

/// A peer.
#[derive(Clone, Debug)]
pub enum Peer {
    Block { cidr: String, except: Vec<String> },
    Pods { namespaces: Option<Selector>, pods: Option<Selector> },
}

/// A label selector.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    pub labels: Labels,
    pub expressions: Vec<Expression>,
}

/// A requirement of a selector.
#[derive(Clone, Debug)]
pub struct Expression {
    pub key: &'static str,
    pub operator: &'static str,
    pub values: Vec<&'static str>,
}

/// A port of a rule.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    pub protocol: Option<&'static str>,
    pub port: Option<Target>,
    pub end: Option<u16>,
}

/// A port by number or by name.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    Number(u16),
    Name(&'static str),
}

pub const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];
const NAMESPACES: [&str; 4] = ["shop", "bank", "lab", "ops"];
/// Keys and values: few, so that selectors match something.
const POD_LABELS: [(&str, [&str; 3]); 3] =
    [("app", ["web", "db", "api"]), ("tier", ["front", "back", "edge"]), ("track", ["stable", "canary", "next"])];
const NAMESPACE_LABELS: [(&str, [&str; 3]); 2] = [("team", ["red", "blue", "green"]), ("env", ["prod", "test", "dev"])];
/// Numbers that pods serve and rules name.
pub const NUMBERS: [u16; 5] = [80, 443, 5432, 8080, 9090];
pub const NAMES: [&str; 3] = ["http", "sql", "metrics"];
pub const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// A cluster without policies.
pub fn cluster(random: &mut Random, pods: usize) -> Drawn {
    let namespaces: Vec<Namespace> = NAMESPACES[..random.between(2, 4)]
        .iter()
        .map(|&name| Namespace { name, labels: labels(random, &NAMESPACE_LABELS) })
        .collect();
    let pods = (0..pods).map(|index| pod(random, &namespaces, index)).collect();
    Drawn { namespaces, pods, policies: Vec::new() }
}

fn pod(random: &mut Random, namespaces: &[Namespace], index: usize) -> Pod {
    let part = match random.below(20) {
        0 => Part::HostNetwork,
        1 => Part::Ended,
        _ => Part::Pod,
    };
    Pod {
        namespace: namespaces[random.below(namespaces.len())].name,
        name: format!("pod-{index}"),
        node: NODES[index % NODES.len()],
        labels: labels(random, &POD_LABELS),
        ports: container_ports(random),
        part,
    }
}

fn labels<const N: usize>(random: &mut Random, from: &[(&'static str, [&'static str; 3]); N]) -> Labels {
    let kept: Vec<_> = from.iter().filter(|_| random.percent(80)).collect();
    kept.into_iter().map(|(key, values)| (*key, random.pick(values))).collect()
}

/// The same name may mean another number on another pod, or another protocol.
fn container_ports(random: &mut Random) -> Vec<ContainerPort> {
    let mut ports: Vec<ContainerPort> = Vec::new();
    for _ in 0..random.between(1, 4) {
        let name = random.percent(70).then(|| random.pick(&NAMES));
        let protocol = if random.percent(60) { "TCP" } else { random.pick(&PROTOCOLS) };
        let number = random.pick(&NUMBERS);
        let taken = ports
            .iter()
            .any(|port| (port.number == number && port.protocol == protocol) || (name.is_some() && port.name == name));
        if !taken {
            ports.push(ContainerPort { name, protocol, number, sidecar: random.percent(50) });
        }
    }
    ports
}

/// Policies for a cluster.
pub fn policies(random: &mut Random, cluster: &Drawn, count: usize) -> Vec<Policy> {
    (0..count).map(|index| policy(random, cluster, index)).collect()
}

fn policy(random: &mut Random, cluster: &Drawn, index: usize) -> Policy {
    let (mut ingress, mut egress) = (None, None);
    if random.percent(75) {
        ingress = Some(rules(random));
    }
    if random.percent(45) {
        egress = Some(rules(random));
    }
    let types = match random.below(10) {
        0..=4 => None,
        5..=6 => Some(vec!["Ingress"]),
        7..=8 => Some(vec!["Ingress", "Egress"]),
        _ => Some(vec!["Egress"]),
    };
    Policy {
        namespace: cluster.namespaces[random.below(cluster.namespaces.len())].name,
        name: format!("policy-{index}"),
        pods: selector(random, &POD_LABELS, 25),
        types,
        ingress,
        egress,
    }
}

fn rules(random: &mut Random) -> Vec<Rule> {
    (0..random.below(4)).map(|_| rule(random)).collect()
}

fn rule(random: &mut Random) -> Rule {
    let peers = match random.below(10) {
        0 => None,
        1 => Some(Vec::new()),
        _ => Some((0..random.between(1, 3)).map(|_| peer(random)).collect()),
    };
    let ports = match random.below(10) {
        0..=2 => None,
        3 => Some(Vec::new()),
        _ => Some((0..random.between(1, 3)).map(|_| port(random)).collect()),
    };
    Rule { peers, ports }
}

fn peer(random: &mut Random) -> Peer {
    match random.below(10) {
        0..=2 => block(random),
        3..=4 => Peer::Pods { namespaces: None, pods: Some(selector(random, &POD_LABELS, 30)) },
        5..=6 => Peer::Pods { namespaces: Some(selector(random, &NAMESPACE_LABELS, 20)), pods: None },
        _ => Peer::Pods {
            namespaces: Some(selector(random, &NAMESPACE_LABELS, 30)),
            pods: Some(selector(random, &POD_LABELS, 15)),
        },
    }
}

/// Ranges around what the lab's pods, nodes and outside host have, with holes that pods fall into.
fn block(random: &mut Random) -> Peer {
    let node = random.between(1, 3);
    let v6 = random.percent(45);
    let cidr = match (v6, random.below(5)) {
        (false, 0) => "0.0.0.0/0".to_string(),
        (false, 1) => "10.10.0.0/16".to_string(),
        (false, 2) => "172.18.0.0/24".to_string(),
        (false, _) => format!("10.10.{node}.0/24"),
        (true, 0) => "::/0".to_string(),
        (true, 1) => "fd00:10::/32".to_string(),
        (true, 2) => "fd00:18::/64".to_string(),
        (true, _) => format!("fd00:10:0:{node}::/64"),
    };
    let mut except = Vec::new();
    for _ in 0..random.below(3) {
        let hole = match (v6, random.below(4)) {
            (false, 0) => format!("10.10.{node}.0/30"),
            (false, 1) => format!("10.10.{node}.4/30"),
            (false, 2) => format!("10.10.{node}.0/29"),
            (false, _) => format!("10.10.{}.0/24", random.between(1, 3)),
            (true, 0) => format!("fd00:10:0:{node}::/126"),
            (true, 1) => format!("fd00:10:0:{node}::4/126"),
            (true, 2) => format!("fd00:10:0:{node}::/125"),
            (true, _) => format!("fd00:10:0:{}::/64", random.between(1, 3)),
        };
        if inside(&cidr, &hole) {
            except.push(hole);
        }
    }
    Peer::Block { cidr, except }
}

/// The API server refuses an exception that is not strictly inside its range.
fn inside(cidr: &str, hole: &str) -> bool {
    match (cidr.parse::<ipnet::IpNet>(), hole.parse::<ipnet::IpNet>()) {
        (Ok(cidr), Ok(hole)) => cidr.contains(&hole) && cidr != hole,
        _ => false,
    }
}

fn selector<const N: usize>(
    random: &mut Random,
    keys: &[(&'static str, [&'static str; 3]); N],
    empty: usize,
) -> Selector {
    if random.percent(empty) {
        return Selector::default();
    }
    let mut selector = Selector::default();
    if random.percent(70) {
        let (key, values) = random.pick(keys);
        selector.labels.insert(key, random.pick(&values));
    }
    if random.percent(45) || selector.labels.is_empty() {
        let (key, values) = random.pick(keys);
        let operator = random.pick(&["In", "NotIn", "Exists", "DoesNotExist"]);
        let values = match operator {
            "In" | "NotIn" => values[..random.between(1, 2)].to_vec(),
            _ => Vec::new(),
        };
        selector.expressions.push(Expression { key, operator, values });
    }
    selector
}

fn port(random: &mut Random) -> Port {
    let protocol = match random.below(10) {
        0..=2 => None,
        3..=5 => Some("TCP"),
        6..=7 => Some("UDP"),
        _ => Some("SCTP"),
    };
    match random.below(10) {
        0 => Port { protocol, port: None, end: None },
        1..=3 => Port { protocol, port: Some(Target::Name(random.pick(&NAMES))), end: None },
        4..=5 => {
            let first = random.pick(&[79, 80, 400, 5000, 8000]);
            Port { protocol, port: Some(Target::Number(first)), end: Some(first + random.pick(&[0, 1, 43, 432, 1090])) }
        }
        _ => Port { protocol, port: Some(Target::Number(random.pick(&NUMBERS))), end: None },
    }
}
