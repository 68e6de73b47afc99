//! Agents, some slow, that are told by frames alone know what they need: at every frame's end, of one moment.

use std::collections::BTreeMap;

use super::*;
use crate::drawn::{Happening, NODES, happenings};
use crate::object::Text;
use crate::state::Changed;
use crate::watch::SourceEvent;
use apis::stream::{FromController, change::Change as Kind, from_controller};
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

/// Objects, by what kind they are and how they are named.
type Objects = BTreeMap<(u8, Vec<u8>), Kind>;

struct Agent {
    id: SessionId,
    node: NodeName,
    frames: Drain,
    last: u64,
    told: Objects,
}

impl Agent {
    fn connect(number: u64, node: &str, publish: &mut Publish) -> Self {
        let (outbox, frames) = outbox();
        let (id, node) = (SessionId(number), NodeName(Text::from(node)));
        let (boot, seen, pods) = (Bytes::new(), vec![], vec![]);
        let connected = Connected { node: node.clone(), protocol: 1, boot, sequence: 0, last: 0, seen, pods, outbox };
        publish.connect(id, connected, Bytes::new());
        Self { id, node, frames, last: 0, told: BTreeMap::new() }
    }

    /// Reads what has been sent; at most one frame, since none was acknowledged in between.
    fn read(&mut self) {
        let before = self.last;
        while let Some(Ok(next)) = self.frames.try_next() {
            let Outgoing::Part(part) = next else { continue };
            let mut bytes = Vec::new();
            part.write(&mut bytes);
            let message = FromController::decode(bytes.as_slice()).unwrap().message;
            let Some(from_controller::Message::Frame(frame)) = message else { panic!("not a frame") };
            assert_eq!(frame.number, before + 1, "a frame was sent before the one before was acknowledged");
            if frame.replace {
                self.told.clear();
            }
            for change in frame.changes {
                self.take(change.change.unwrap());
            }
            self.last = frame.number;
        }
    }

    fn take(&mut self, change: Kind) {
        let (key, is_there) = match &change {
            Kind::Node(node) => ((0, node.name.clone().into_bytes()), true),
            Kind::NodeRemoved(name) => ((0, name.clone().into_bytes()), false),
            Kind::Posture(posture) => ((1, posture.namespace.clone().into_bytes()), true),
            Kind::PostureRemoved(name) => ((1, name.clone().into_bytes()), false),
            Kind::Identity(identity) => ((2, identity.id.to_vec()), true),
            Kind::IdentityRemoved(id) => ((2, id.to_vec()), false),
            Kind::Endpoint(pod) => ((3, format!("{}/{}", pod.namespace, pod.name).into_bytes()), true),
            Kind::EndpointRemoved(pod) => ((3, format!("{}/{}", pod.namespace, pod.name).into_bytes()), false),
            Kind::Group(group) => ((4, group.id.to_vec()), true),
            Kind::GroupRemoved(id) => ((4, id.to_vec()), false),
            Kind::Isolation(isolation) => ((5, isolation.id.to_vec()), true),
            Kind::IsolationRemoved(id) => ((5, id.to_vec()), false),
            Kind::Rule(rule) => ((6, rule.id.to_vec()), true),
            Kind::RuleRemoved(id) => ((6, id.to_vec()), false),
        };
        if is_there {
            self.told.insert(key, change);
        } else {
            assert!(self.told.remove(&key).is_some(), "{key:?} is removed but was never told");
        }
    }

    fn acknowledge(&self, publish: &mut Publish) {
        publish.acknowledged(self.id, self.last, 0);
    }
}

/// What an agent would be told that connects now.
fn anew(state: &State, plan: &Plan, node: &str) -> Objects {
    let mut publish = Publish::default();
    let mut agent = Agent::connect(0, node, &mut publish);
    publish.send(state, plan, false);
    agent.read();
    agent.told
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_slow_agent_ends_where_a_new_one_begins(
        drawn in prop::collection::vec((happenings(4), 0..8u8), 1..25),
    ) {
        let mut state = State::default();
        state.apply(SourceEvent::InSync(true), &mut Changed::default());
        let mut plan = Plan::of(&state);
        let mut publish = Publish::default();
        let mut agents: Vec<Agent> =
            (0u64..).zip(NODES).map(|(number, node)| Agent::connect(number, node, &mut publish)).collect();
        for (sequence, (some, ready)) in (0u64..).zip(drawn) {
            let mut changed = Changed::default();
            for happening in some {
                Happening::apply(happening, &mut state, sequence, &mut changed);
            }
            let deltas = plan.update(&state, &changed);
            publish.plan_changed(&plan, &deltas);
            publish.send(&state, &plan, false);
            for (number, agent) in agents.iter_mut().enumerate() {
                agent.read();
                // Each agent is as slow as was drawn for this step.
                if ready & (1 << number) != 0 {
                    agent.acknowledge(&mut publish);
                }
            }
        }
        // Once all have acknowledged what they have, one more frame brings them up to date.
        for agent in &mut agents {
            agent.acknowledge(&mut publish);
            publish.send(&state, &plan, false);
            agent.read();
            let node = agent.node.to_string();
            prop_assert_eq!(&agent.told, &anew(&state, &plan, &node), "{}", node);
        }
    }
}

#[test]
fn what_a_silent_agent_costs_is_bounded_by_objects_not_by_changes() {
    use crate::object::{
        LabelSelector, Labels, NetworkPolicy, Object, Peers, Pod, PodKey, PolicyKey, PolicyRule, Pool, Port,
    };
    use crate::object::{PortRange, Protocol, Services};
    let (namespace, name) = (Text::from("a"), Text::from("p"));
    let key = PodKey { namespace: namespace.clone(), name: name.clone() };
    let node = Some(NodeName(Text::from("n1")));
    let (labels, service_account) = (Labels::default(), Text::from("default"));
    let named_ports = Pool::default().ports(Vec::new());
    let pod = Pod { key, node, labels, service_account, named_ports, status_addresses: Box::new([]), networked: true };
    let policy = |port: u16| {
        let services = Services::new([Port { protocol: Protocol::Tcp, range: PortRange::Numbers(port, port) }]);
        let key = PolicyKey { namespace: namespace.clone(), name: name.clone() };
        let ingress = Some(vec![PolicyRule { peers: Peers::Anyone, services }]);
        SourceEvent::Upsert(Object::NetworkPolicy(NetworkPolicy {
            key,
            pods: LabelSelector::default(),
            ingress,
            egress: None,
        }))
    };
    let mut state = State::default();
    state.apply(SourceEvent::InSync(true), &mut Changed::default());
    state.apply(SourceEvent::Upsert(Object::Pod(pod)), &mut Changed::default());
    let (mut plan, mut publish) = (Plan::of(&state), Publish::default());
    let mut agent = Agent::connect(0, "n1", &mut publish);
    publish.send(&state, &plan, false);
    for change in 1..1000 {
        let mut changed = Changed::default();
        state.apply(policy(change % 3 + 1), &mut changed);
        let deltas = plan.update(&state, &changed);
        publish.plan_changed(&plan, &deltas);
        publish.send(&state, &plan, false);
    }
    agent.read();
    assert_eq!(agent.last, 1, "nothing is sent before the first frame is acknowledged");
    let session = &publish.sessions()[&agent.node].pending();
    assert!(*session <= 6, "{session} objects wait: a posture, a group, an isolation, and three rules");
}

/// An agent connects that is told how new the controller is.
fn listening(id: SessionId, publish: &mut Publish) -> Drain {
    let (outbox, frames) = outbox();
    let (node, boot, seen, pods) = (NodeName(Text::from("n1")), Bytes::new(), vec![], vec![]);
    let connected = Connected { node, protocol: 2, boot, sequence: 0, last: 0, seen, pods, outbox };
    publish.connect(id, connected, Bytes::new());
    frames
}

/// A source that is in sync and says nothing, and nobody who listens yet.
fn in_sync() -> (State, Plan, Publish) {
    let mut state = State::default();
    state.apply(SourceEvent::InSync(true), &mut Changed::default());
    let plan = Plan::of(&state);
    (state, plan, Publish::default())
}

/// What the Heads that wait in a stream say.
fn heads<T>(frames: &mut Drain, say: impl Fn(&outbox::Head) -> T) -> Vec<T> {
    let mut heads = Vec::new();
    while let Some(Ok(next)) = frames.try_next() {
        if let Outgoing::Head(head) = next {
            heads.push(say(&head));
        }
    }
    heads
}

#[test]
fn what_a_dropped_frame_has_told_is_told_again() {
    let id = SessionId(1);
    let (mut state, plan, mut publish) = in_sync();
    let mut frames = listening(id, &mut publish);
    let mut said = |publish: &mut Publish, state: &State| {
        publish.send(state, &plan, true);
        heads(&mut frames, |head| (head.since, head.number))
    };
    let first = state.change();
    assert_eq!(said(&mut publish, &state), [(None, first)]);
    publish.take(id, 1, None);
    assert_eq!(said(&mut publish, &state), [], "a frame is sent");
    publish.acknowledged(id, 1, 0);
    state.apply(SourceEvent::Version(2), &mut Changed::default());
    let second = state.change();
    assert_eq!(said(&mut publish, &state), [], "the next frame tells it");
    // It is on its way when the agent turns to another controller, and passes it over.
    publish.listen(id);
    assert_eq!(said(&mut publish, &state), [(Some(first), second)]);
    publish.take(id, 2, None);
    state.apply(SourceEvent::Version(3), &mut Changed::default());
    assert_eq!(said(&mut publish, &state), []);
    publish.acknowledged(id, 3, 0);
    publish.listen(id);
    assert_eq!(said(&mut publish, &state), [], "a frame that has arrived has told it");
}

/// An agent takes a Head for all that there is only where it says so.
#[test]
fn a_head_that_came_while_a_frame_was_on_its_way_is_said_again_once_that_was_all() {
    let id = SessionId(1);
    let (mut state, plan, mut publish) = in_sync();
    let mut frames = listening(id, &mut publish);
    let mut said = |publish: &mut Publish, state: &State| {
        publish.send(state, &plan, true);
        heads(&mut frames, |head| (head.number, head.complete))
    };
    assert_eq!(said(&mut publish, &state), [(state.change(), false)]);
    publish.take(id, 1, None);
    assert_eq!(said(&mut publish, &state), [], "a frame is sent");
    // What another node reports, of which this one needs nothing, while the frame is on its way.
    let other = NodeName(Text::from("n2"));
    state.agent_connected(&other, Bytes::from_static(b"boot"), 1, vec![], &mut Changed::default());
    let (frame, now) = (1, state.change());
    let heads = said(&mut publish, &state);
    publish.acknowledged(id, frame, 0);
    let heads: Vec<_> = heads.into_iter().chain(said(&mut publish, &state)).collect();
    assert_eq!(heads, [(now, false), (now, true)]);
    assert_eq!(said(&mut publish, &state), [], "once");
}
