//! Planning step by step equals planning anew, whatever the steps: the same intents, and the same flows.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use agent::apply::flows::{Flows, Key};
use agent::ledger::Ledger;
use agent::ledger::store::{Found, Store};
use agent::plan::{IntentKey, Planner, Wanted};
use agent::state::object::{
    Change, Endpoint, Group, Identity, Isolation, NamedPort, Node, Posture, Rule, RulePeers, RuleService,
    TransportProtocol,
};
use agent::state::{
    Attached, Body, Changed, Frame, GroupId, IdentityId, IsolationId, PodKey, RuleId, State, SwitchPorts, Upstream,
    Version,
};
use openflow::Instructions;
use ovs_pipeline::{Action, Datapath, Direction, Intent, IpBlock, Service};
use proptest::collection::vec;
use proptest::prelude::*;

/// Flows, merged from what the planner wants.
#[derive(Default)]
struct Merged(Flows);

impl Wanted for Merged {
    fn want(&mut self, intent: &Intent, node: &ovs_pipeline::Node) {
        ovs_pipeline::flows(intent, node, &mut |part| self.0.add(&part, false).unwrap()).unwrap();
    }

    fn withdraw(&mut self, intent: &Intent, node: &ovs_pipeline::Node) {
        ovs_pipeline::flows(intent, node, &mut |part| self.0.remove(&part)).unwrap();
    }
}

/// A step in the life of a node.
#[derive(Clone, Debug)]
enum Step {
    Say(Vec<Change>),
    /// All of what was said last, anew and without the rest.
    Replace(Vec<Change>),
    Attach(u8, Option<u32>, u8),
    Detach(u8),
    Ports(Option<u32>, Option<u32>),
    SetAside(u8),
}

fn id(number: u8) -> [u8; 16] {
    [number; 16]
}

fn address(number: u8) -> agent::state::Addresses {
    let all: [Option<std::net::IpAddr>; 2] = [
        Some(format!("10.10.{}.{}", 1 + number % 3, 10 + number / 3).parse().unwrap()),
        number.is_multiple_of(2).then(|| format!("fd00:10:0:{}::{}", 1 + number % 3, 10 + number / 3).parse().unwrap()),
    ];
    all.into_iter().flatten().collect()
}

fn node_name(number: u8) -> Box<str> {
    format!("node-{}", char::from(b'a' + number)).into()
}

fn pod(number: u8) -> PodKey {
    PodKey::new(if number.is_multiple_of(2) { "shop" } else { "bank" }, &format!("p{number}"))
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Ingress), Just(Direction::Egress)]
}

fn a_node() -> impl Strategy<Value = Change> {
    (0..3_u8, any::<bool>()).prop_map(|(number, dual)| {
        let mut pod_cidrs: Vec<ipnet::IpNet> = vec![format!("10.10.{}.0/24", number + 1).parse().unwrap()];
        pod_cidrs.extend(dual.then(|| format!("fd00:10:0:{}::/64", number + 1).parse::<ipnet::IpNet>().unwrap()));
        Change::Node(Node {
            name: node_name(number),
            addresses: vec![format!("172.18.0.1{}", number + 1).parse().unwrap()],
            pod_cidrs,
        })
    })
}

fn an_identity() -> impl Strategy<Value = Change> {
    (0..6_u8, vec(0..3_u8, 0..3)).prop_map(|(number, ports)| {
        let mut named_ports: Vec<_> = ports
            .into_iter()
            .map(|port| NamedPort {
                name: ["http", "dns"][usize::from(port) % 2].into(),
                protocol: if port == 2 { TransportProtocol::Udp } else { TransportProtocol::Tcp },
                port: 8000 + u16::from(port) + u16::from(number),
            })
            .collect();
        named_ports.sort();
        named_ports.dedup();
        Change::Identity(Identity {
            id: IdentityId(id(number)),
            namespace: "shop".into(),
            named_ports: named_ports.into(),
        })
    })
}

fn a_service() -> impl Strategy<Value = RuleService> {
    prop_oneof![
        (80..83_u16).prop_map(|port| {
            RuleService::Number(Service::Ports { protocol: ovs_pipeline::Protocol::Tcp, first: port, last: port + 2 })
        }),
        Just(RuleService::Number(Service::Protocol(ovs_pipeline::Protocol::Udp))),
        prop_oneof![Just("http"), Just("dns")]
            .prop_map(|name| RuleService::Name { protocol: TransportProtocol::Tcp, name: name.into() }),
    ]
}

fn a_rule() -> impl Strategy<Value = Change> {
    let blocks = vec(prop_oneof![Just("10.10.0.0/16"), Just("192.0.2.0/24"), Just("::/0")], 0..2);
    let peers = proptest::option::of((vec(0..4_u8, 0..3), blocks));
    (0..5_u8, direction(), 0..4_u8, peers, vec(a_service(), 0..3), 0..3_u8).prop_map(
        |(number, direction, to, peers, services, name)| {
            let peers = peers.map(|(groups, blocks)| {
                let groups: BTreeSet<_> = groups.into_iter().map(|group| GroupId(id(group))).collect();
                let block = |cidr: &str| IpBlock { cidr: cidr.parse().unwrap(), except: vec![] };
                RulePeers { groups: groups.into_iter().collect(), blocks: blocks.into_iter().map(block).collect() }
            });
            Change::Rule(Rule {
                id: RuleId(id(number)),
                direction,
                applied_to: GroupId(id(to)),
                peers,
                services: services.into(),
                action: Action::Allow,
                names: [format!("NetworkPolicy/shop/r{name}").into()].into(),
            })
        },
    )
}

fn a_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        2 => a_node(),
        1 => (0..3_u8).prop_map(|number| Change::NodeRemoved(node_name(number))),
        4 => (0..9_u8, 0..3_u8, 0..12_u8, 0..6_u8).prop_map(|(number, node, at, identity)| {
            let addresses = if at > 8 { agent::state::Addresses::default() } else { address(at) };
            Change::Endpoint(Endpoint { key: pod(number), node: node_name(node), addresses, identity: IdentityId(id(identity)) })
        }),
        2 => (0..9_u8).prop_map(|number| Change::EndpointRemoved(pod(number))),
        3 => an_identity(),
        1 => (0..6_u8).prop_map(|number| Change::IdentityRemoved(IdentityId(id(number)))),
        4 => (0..4_u8, proptest::collection::btree_set(0..6_u8, 0..5)).prop_map(|(number, members)| {
            let identities = members.into_iter().map(|member| IdentityId(id(member))).collect();
            Change::Group(Group { id: GroupId(id(number)), identities })
        }),
        1 => (0..4_u8).prop_map(|number| Change::GroupRemoved(GroupId(id(number)))),
        5 => a_rule(),
        2 => (0..5_u8).prop_map(|number| Change::RuleRemoved(RuleId(id(number)))),
        3 => (0..4_u8, direction(), 0..4_u8).prop_map(|(number, direction, to)| {
            let names = [format!("NetworkPolicy/shop/i{number}").into()].into();
            Change::Isolation(Isolation { id: IsolationId(id(number)), direction, applied_to: GroupId(id(to)), names })
        }),
        1 => (0..4_u8).prop_map(|number| Change::IsolationRemoved(IsolationId(id(number)))),
        1 => (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(shop, ingress_selectable, egress_selectable)| {
            Change::Posture((if shop { "shop" } else { "bank" }).into(), Posture { ingress_selectable, egress_selectable })
        }),
        1 => any::<bool>().prop_map(|shop| Change::PostureRemoved((if shop { "shop" } else { "bank" }).into())),
    ]
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => vec(a_change(), 1..6).prop_map(Step::Say),
        1 => vec(a_change(), 10..40).prop_map(Step::Replace),
        4 => (0..9_u8, proptest::option::weighted(0.9, 5..20_u32), 0..9_u8)
            .prop_map(|(number, port, at)| Step::Attach(number, port, at)),
        2 => (0..9_u8).prop_map(Step::Detach),
        1 => (proptest::option::weighted(0.9, 1..3_u32), proptest::option::weighted(0.9, 3..5_u32))
            .prop_map(|(tunnel, gateway)| Step::Ports(tunnel, gateway)),
        1 => any::<u8>().prop_map(Step::SetAside),
    ]
}

/// A node's life: what it knows, and what it has planned step by step.
struct Life {
    state: State,
    ledger: Ledger,
    planner: Planner,
    flows: Merged,
    frames: u64,
}

impl Life {
    fn new() -> Self {
        let mut state = State::new("node-a", Datapath::Netdev);
        state.set_ports(SwitchPorts { tunnel: Some(1), gateway: Some((2, [2; 6])) }, &mut Changed::default());
        Self { state, ledger: Ledger::new(0), planner: Planner::default(), flows: Merged::default(), frames: 0 }
    }

    fn frame(&mut self, body: Body, changed: &mut Changed) {
        self.frames += 1;
        self.state.take_frame(Frame { number: self.frames, version: Version::default(), stream: 1, body }, changed);
    }

    fn live(&mut self, step: Step) {
        let mut changed = Changed::default();
        match step {
            Step::Say(changes) => self.frame(Body::Update(changes), &mut changed),
            Step::Replace(changes) => {
                let mut upstream = Upstream::new("node-a");
                changes.into_iter().for_each(|change| upstream.apply(change, &mut Changed::default()));
                self.frame(Body::Replace(Box::new(upstream)), &mut changed);
            }
            Step::Attach(number, port, at) => {
                // What allocates addresses gives one to one pod only.
                let taken = self.state.attached().iter().any(|(key, other)| {
                    *key != pod(number) && (other.addresses == address(at) || (port.is_some() && other.port == port))
                });
                if !taken {
                    let attached = Attached {
                        interface: format!("if{number}"),
                        port,
                        mac: [number; 6],
                        addresses: address(at),
                        container: format!("c{number}"),
                    };
                    self.state.set_attached(&pod(number), Some(attached), &mut changed);
                }
            }
            Step::Detach(number) => self.state.set_attached(&pod(number), None, &mut changed),
            Step::Ports(tunnel, gateway) => {
                let ports = SwitchPorts { tunnel, gateway: gateway.map(|port| (port, [2; 6])) };
                self.state.set_ports(ports, &mut changed);
            }
            Step::SetAside(which) => {
                let keys: BTreeSet<IntentKey> = self.planner.intents().map(|(key, _)| key).collect();
                if let Some(key) = keys.iter().nth(usize::from(which) % keys.len().max(1)).cloned() {
                    self.planner.set_aside(key, "refused".into(), &self.state, &mut self.ledger, &mut self.flows);
                }
                return;
            }
        }
        self.planner.update(&self.state, &mut self.ledger, &changed, &mut self.flows);
    }

    /// What planning anew wants: intents by name, and flows.
    fn anew(&self) -> (Planner, Merged) {
        let (mut planner, mut flows, mut ledger) = (Planner::default(), Merged::default(), self.ledger.clone());
        planner.update(&self.state, &mut ledger, &Changed::everything(), &mut flows);
        for (key, entry) in self.planner.quarantine().iter() {
            planner.set_aside(key.clone(), entry.reason.clone(), &self.state, &mut ledger, &mut flows);
        }
        (planner, flows)
    }
}

/// What a switch has that obeys these flows: every flow as a dump gives it.
fn dump(flows: &Flows) -> Vec<(u8, u16, Vec<u8>, Instructions)> {
    let flow = |id| {
        let key = flows.key(id).unwrap();
        let instructions = Instructions::decode(&flows.instructions(id).unwrap()).unwrap();
        (key.table, key.priority, key.oxm.to_vec(), instructions)
    };
    flows.iter().map(flow).collect()
}

/// A new life of the agent: it has the ledger's file, what the controller said last, what CNI attached and what the switch has,
/// and nothing else. What it would change in a switch that has `found`.
fn restarted(life: &Life, folder: &Path, found: &[(u8, u16, Vec<u8>, Instructions)]) -> (Life, usize) {
    drop(Store::rewrite(&folder.join("ledger"), &life.ledger).unwrap());
    let (_, ledger, kept) = Store::open(&folder.join("ledger"), Some(life.ledger.epoch())).unwrap();
    assert_eq!(kept, Found::Whole);
    let mut after = Life::new();
    after.ledger = ledger;
    let mut changed = Changed::everything();
    after.state.set_ports(life.state.ports, &mut changed);
    for (key, attached) in life.state.attached() {
        after.state.set_attached(key, Some(attached.clone()), &mut changed);
    }
    if life.state.frame.is_some() {
        after.frame(Body::Replace(Box::new(life.state.upstream.clone())), &mut changed);
    }
    let flows = &mut after.flows.0;
    flows.begin_dump();
    for (table, priority, oxm, instructions) in found {
        flows.dumped(Key { table: *table, priority: *priority, oxm }, instructions).unwrap();
    }
    flows.end_dump();
    after.planner.update(&after.state, &mut after.ledger, &changed, &mut after.flows);
    let different = after.flows.0.differences().len();
    (after, different)
}

fn intents(planner: &Planner) -> Vec<String> {
    let mut all: Vec<_> = planner.intents().map(|(key, intent)| format!("{key:?}: {intent:?}")).collect();
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn step_by_step_equals_anew(steps in vec(a_step(), 1..40)) {
        let mut life = Life::new();
        for step in steps {
            life.live(step);
            let (planner, flows) = life.anew();
            prop_assert_eq!(intents(&life.planner), intents(&planner));
            prop_assert_eq!(life.flows.0.snapshot(), flows.0.snapshot());
        }
    }

    #[test]
    fn what_is_all_taken_back_leaves_nothing(steps in vec(a_step(), 1..30)) {
        let mut life = Life::new();
        steps.into_iter().for_each(|step| life.live(step));
        for number in 0..9 {
            life.live(Step::Detach(number));
        }
        life.live(Step::Replace(Vec::new()));
        life.live(Step::Ports(None, None));
        prop_assert_eq!(life.planner.intents().count(), 0);
        prop_assert!(life.flows.0.snapshot().is_empty());
    }
}

proptest! {
    // Each step is two restarts.
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_at_any_step_changes_nothing(steps in vec(a_step(), 1..25), torn in any::<u64>()) {
        let folder = tempfile::tempdir().unwrap();
        let mut life = Life::new();
        for (number, step) in steps.into_iter().enumerate() {
            // What the switch refused is forgotten with the agent, and refused again.
            if matches!(step, Step::SetAside(_)) {
                continue;
            }
            life.live(step);
            let whole = dump(&life.flows.0);
            let (after, different) = restarted(&life, folder.path(), &whole);
            prop_assert_eq!(different, 0, "nothing is to be changed in the switch");
            prop_assert_eq!(intents(&life.planner), intents(&after.planner));
            prop_assert_eq!(life.flows.0.snapshot(), after.flows.0.snapshot());
            // A switch that was left in the middle of a change differs by what is missing, and by nothing else.
            let half: Vec<_> = whole.iter().enumerate().filter(|(at, _)| torn >> ((at + number) % 64) & 1 == 0).collect();
            let half: Vec<_> = half.into_iter().map(|(_, flow)| flow.clone()).collect();
            let (after, different) = restarted(&life, folder.path(), &half);
            prop_assert_eq!(different, whole.len() - half.len());
            prop_assert_eq!(life.flows.0.snapshot(), after.flows.0.snapshot());
            // And life goes on from there as it would have.
            if torn >> (number % 64) & 1 == 1 {
                life = after;
            }
        }
    }
}
