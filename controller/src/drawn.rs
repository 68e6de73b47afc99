//! Small clusters and what can happen to them, drawn at random for tests: few names, so that things meet often.

use proptest::prelude::*;
use proptest::sample::select;

use crate::object::{
    IpBlock, LabelSelector, LabelTest, Labels, NamedPort, Namespace, NetworkPolicy, Node, NodeName, Object, ObjectKey,
    Operator, PeerSelector, Peers, Pod, PodKey, PolicyKey, PolicyRule, Pool, Port, PortRange, Protocol, Services, Text,
};
use crate::state::{Changed, PodReport, State};
use crate::watch::SourceEvent;

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Happening {
    Upsert(Object),
    Delete(ObjectKey),
    Report { node: NodeName, pod: PodKey, addresses: Vec<u8> },
    AgentGone(NodeName),
}

pub const NODES: [&str; 3] = ["n1", "n2", "n3"];
const NAMESPACES: [&str; 2] = ["a", "b"];

impl Happening {
    /// It happens; `sequence` orders reports.
    pub fn apply(self, state: &mut State, sequence: u64, changed: &mut Changed) {
        match self {
            Self::Upsert(object) => state.apply(SourceEvent::Upsert(object), changed),
            Self::Delete(key) => state.apply(SourceEvent::Delete(key), changed),
            Self::Report { node, pod, addresses } => {
                let addresses = addresses.into_iter().map(|last| [10, 0, 0, last].into()).collect();
                state.pod_reported(&node, PodReport { sequence, pod, addresses }, changed);
            }
            Self::AgentGone(node) => state.agent_gone(&node, changed),
        }
    }
}

/// Everything that can happen, in no order that makes sense.
pub fn happenings(length: usize) -> impl Strategy<Value = Vec<Happening>> {
    let happening = prop_oneof![
        6 => pod().prop_map(|pod| Happening::Upsert(Object::Pod(pod))),
        4 => policy().prop_map(|policy| Happening::Upsert(Object::NetworkPolicy(policy))),
        4 => namespace().prop_map(|namespace| Happening::Upsert(Object::Namespace(namespace))),
        1 => node().prop_map(|node| Happening::Upsert(Object::Node(node))),
        4 => key().prop_map(Happening::Delete),
        2 => (node_name(), pod_key(), prop::collection::vec(1..5u8, 0..2))
            .prop_map(|(node, pod, addresses)| Happening::Report { node, pod, addresses }),
        1 => node_name().prop_map(Happening::AgentGone),
    ];
    prop::collection::vec(happening, 1..length)
}

fn text(names: &'static [&'static str]) -> impl Strategy<Value = Text> + Clone {
    select(names).prop_map(Text::from)
}

fn node_name() -> impl Strategy<Value = NodeName> {
    text(&NODES).prop_map(NodeName)
}

fn pod_key() -> impl Strategy<Value = PodKey> {
    (text(&NAMESPACES), text(&["p1", "p2", "p3"])).prop_map(|(namespace, name)| PodKey { namespace, name })
}

fn policy_key() -> impl Strategy<Value = PolicyKey> {
    (text(&NAMESPACES), text(&["x", "y"])).prop_map(|(namespace, name)| PolicyKey { namespace, name })
}

fn key() -> impl Strategy<Value = ObjectKey> {
    prop_oneof![
        text(&NAMESPACES).prop_map(ObjectKey::Namespace),
        node_name().prop_map(ObjectKey::Node),
        pod_key().prop_map(ObjectKey::Pod),
        policy_key().prop_map(ObjectKey::NetworkPolicy),
    ]
}

/// One of the keys is a rollout label: it counts only while a selector names it.
fn labels() -> impl Strategy<Value = Labels> {
    let pair = (select(&["app", "tier", "pod-template-hash"][..]), select(&["1", "2"][..]));
    prop::collection::vec(pair, 0..3).prop_map(|pairs| Labels::new(pairs, &mut Pool::default()))
}

fn namespace() -> impl Strategy<Value = Namespace> {
    (text(&NAMESPACES), labels()).prop_map(|(name, labels)| Namespace { name, labels })
}

fn node() -> impl Strategy<Value = Node> {
    let ranges = select(&["10.0.0.0/29", "10.0.0.0/30", "10.9.0.0/24"][..]);
    (node_name(), ranges, 1..3u8).prop_map(|(name, range, last)| {
        Node::new(name, [[172, 18, 0, last].into()], [range.parse().expect("the ranges above are ranges")])
    })
}

fn pod() -> impl Strategy<Value = Pod> {
    let ports = prop::collection::vec((text(&["web", "dns"]), select(&[80u16, 81][..])), 0..2);
    let status = prop::collection::vec(100..103u8, 0..2);
    let node = prop::option::weighted(0.9, node_name());
    (pod_key(), node, labels(), text(&["default", "robot"]), ports, status, prop::bool::weighted(0.9)).prop_map(
        |(key, node, labels, service_account, ports, status, networked)| {
            let mut named_ports: Vec<NamedPort> =
                ports.into_iter().map(|(name, port)| NamedPort { name, protocol: Protocol::Tcp, port }).collect();
            named_ports.sort();
            named_ports.dedup();
            let status_addresses = status.into_iter().map(|last| [10, 0, 0, last].into()).collect();
            Pod { key, node, labels, service_account, named_ports: named_ports.into(), status_addresses, networked }
        },
    )
}

fn selector() -> impl Strategy<Value = LabelSelector> {
    let values = prop::collection::btree_set(text(&["1", "2"]), 1..3);
    let values = values.prop_map(|values| values.into_iter().collect::<Box<[Text]>>());
    let operator = prop_oneof![
        4 => values.clone().prop_map(Operator::In),
        1 => values.prop_map(Operator::NotIn),
        1 => Just(Operator::Exists),
        1 => Just(Operator::DoesNotExist),
    ];
    let test =
        (text(&["app", "tier", "pod-template-hash"]), operator).prop_map(|(key, operator)| LabelTest { key, operator });
    prop::collection::vec(test, 0..3).prop_map(LabelSelector::new)
}

fn peers() -> impl Strategy<Value = Peers> {
    let peer =
        (prop::option::of(selector()), selector()).prop_map(|(namespaces, pods)| PeerSelector { namespaces, pods });
    let block = select(&["10.0.0.0/8", "10.0.0.0/30", "192.0.2.0/24"][..])
        .prop_map(|range| IpBlock::new(range.parse().expect("the ranges above are ranges"), []));
    let these = (prop::collection::vec(peer, 0..3), prop::collection::vec(block, 0..2));
    prop_oneof![
        1 => Just(Peers::Anyone),
        3 => these.prop_map(|(selectors, blocks)| Peers::these(selectors, blocks.into_iter().flatten())),
    ]
}

fn rules() -> impl Strategy<Value = Option<Vec<PolicyRule>>> {
    let range = prop_oneof![
        Just(PortRange::All),
        (80..83u16, 0..2u16).prop_map(|(first, more)| PortRange::Numbers(first, first + more)),
        text(&["web", "dns"]).prop_map(PortRange::Named),
    ];
    let port = range.prop_map(|range| Port { protocol: Protocol::Tcp, range });
    let services = prop::collection::vec(port, 0..3).prop_map(Services::new);
    let rule = (peers(), services).prop_map(|(peers, services)| PolicyRule { peers, services });
    prop::option::weighted(0.7, prop::collection::vec(rule, 0..3))
}

fn policy() -> impl Strategy<Value = NetworkPolicy> {
    (policy_key(), selector(), rules(), rules()).prop_map(|(key, pods, ingress, egress)| NetworkPolicy {
        key,
        pods,
        ingress,
        egress,
    })
}
