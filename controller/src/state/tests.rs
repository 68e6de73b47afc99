use super::*;
use crate::object::Pool;

fn node_name(name: &str) -> NodeName {
    NodeName(Text::from(name))
}

fn node(name: &str, range: &str) -> SourceEvent {
    SourceEvent::Upsert(Object::Node(Node::new(node_name(name), [], [range.parse().unwrap()])))
}

fn key(name: &str) -> PodKey {
    PodKey { namespace: Text::from("shop"), name: Text::from(name) }
}

fn pod(name: &str, on: &str) -> SourceEvent {
    SourceEvent::Upsert(Object::Pod(Pod {
        key: key(name),
        node: Some(node_name(on)),
        labels: Labels::default(),
        service_account: Text::from("default"),
        named_ports: Pool::default().ports(Vec::new()),
        status_addresses: Box::new([[10, 0, 9, 9].into()]),
        networked: true,
    }))
}

fn report(sequence: u64, name: &str, last: Option<u8>) -> PodReport {
    let addresses = last.map(|last| IpAddr::from([10, 0, 0, last])).into_iter().collect();
    PodReport { sequence, pod: key(name), addresses }
}

fn state(events: Vec<SourceEvent>) -> State {
    let mut state = State::default();
    events.into_iter().for_each(|event| state.apply(event, &mut Changed::default()));
    state
}

fn addresses(state: &State, name: &str) -> Vec<String> {
    state
        .endpoint(&key(name))
        .map(|found| found.addresses.iter().map(ToString::to_string).collect())
        .unwrap_or_default()
}

#[test]
fn it_does_not_matter_whether_the_report_the_pod_or_the_node_comes_first() {
    let mut orders = Vec::new();
    for first in 0..3 {
        for second in (0..3).filter(|second| *second != first) {
            let mut state = State::default();
            let mut changed = Changed::default();
            for what in [first, second, 3 - first - second] {
                match what {
                    0 => state.apply(node("a", "10.0.0.0/24"), &mut changed),
                    1 => state.apply(pod("web", "a"), &mut changed),
                    _ => drop(state.pod_reported(&node_name("a"), report(1, "web", Some(2)), &mut changed)),
                }
            }
            assert!(changed.pods.contains(&key("web")));
            orders.push(addresses(&state, "web"));
        }
    }
    assert_eq!(orders, vec![vec!["10.0.0.2".to_owned()]; 6]);
}

#[test]
fn a_detached_pod_has_no_addresses_and_leaves_nothing_behind() {
    let mut state = state(vec![node("a", "10.0.0.0/24"), pod("web", "a")]);
    let changed = &mut Changed::default();
    state.pod_reported(&node_name("a"), report(1, "web", Some(2)), changed);
    state.pod_reported(&node_name("a"), report(2, "web", None), changed);
    assert!(addresses(&state, "web").is_empty(), "what its status says is what it had");
    state.apply(SourceEvent::Delete(ObjectKey::Pod(key("web"))), changed);
    state.pod_reported(&node_name("a"), report(3, "gone", None), changed);
    assert_eq!(state.reports.iter().count(), 0);
    assert_eq!(state.sequence_of("a"), Some(3));
}

#[test]
fn an_older_report_does_not_count() {
    let mut state = state(vec![node("a", "10.0.0.0/24"), pod("web", "a")]);
    let changed = &mut Changed::default();
    state.pod_reported(&node_name("a"), report(5, "web", Some(5)), changed);
    state.pod_reported(&node_name("a"), report(4, "web", Some(4)), changed);
    assert_eq!(addresses(&state, "web"), ["10.0.0.5"]);
    // A new boot of the agent counts anew, and its greeting replaces everything.
    state.agent_connected(
        &node_name("a"),
        bytes::Bytes::from_static(b"2"),
        1,
        vec![report(1, "web", Some(1))],
        changed,
    );
    assert_eq!(addresses(&state, "web"), ["10.0.0.1"]);
    state.agent_connected(&node_name("a"), bytes::Bytes::from_static(b"2"), 1, vec![], changed);
    assert_eq!(addresses(&state, "web"), ["10.0.9.9"], "nobody has reported it: its status counts");
}

#[test]
fn what_an_agent_can_make_the_controller_hold_is_bounded() {
    let mut state = State::default();
    let changed = &mut Changed::default();
    for number in 0..MAX_REPORTS_OF_A_NODE {
        let sequence = u64::try_from(number).unwrap();
        assert_eq!(state.pod_reported(&node_name("a"), report(sequence, &number.to_string(), Some(1)), changed), None);
    }
    let refused = state.pod_reported(&node_name("a"), report(9_999, "one-more", Some(1)), changed);
    assert_eq!(refused, Some(Refused::TooMany));
    // Its node was never there: with its stream everything goes.
    state.agent_gone(&node_name("a"), changed);
    assert_eq!((state.reports.iter().count(), state.versions_since(0).count()), (0, 0));
}

#[test]
fn what_agents_have_seen_is_awaited_until_its_node_has_said_as_much() {
    let (first, later) = (apis::boot::of(1, [7; 8]).to_vec(), apis::boot::of(2, [7; 8]).to_vec());
    let at = |boot: &[u8], sequence| NodeVersion { boot: bytes::Bytes::copy_from_slice(boot), sequence };
    let changed = &mut Changed::default();
    let mut state = state(vec![node("a", "10.0.0.0/24"), node("b", "10.0.1.0/24")]);
    let awaited = |state: &State| state.awaited().map(ToString::to_string).collect::<Vec<_>>();
    state.agent_has_seen(vec![
        (node_name("a"), at(&first, 7)),
        (node_name("a"), at(&first, 6)),
        (node_name("gone"), at(&first, 1)),
    ]);
    assert_eq!(awaited(&state), ["a"], "a node that the source does not have is not waited for");
    state.agent_connected(&node_name("a"), first.clone().into(), 6, vec![report(3, "web", Some(2))], changed);
    assert_eq!((awaited(&state), state.sequence_of("a")), (vec!["a".to_owned()], Some(6)));
    state.pod_reported(&node_name("a"), report(7, "web", Some(3)), changed);
    assert_eq!(awaited(&state).len(), 0);
    // A later life of the agent has told everything; an earlier one has not.
    state.agent_has_seen(vec![(node_name("a"), at(&later, 1))]);
    assert_eq!((awaited(&state).len(), state.latest_boot(&node_name("a"))), (1, later.clone().into()));
    state.agent_connected(&node_name("a"), later.into(), 1, vec![], changed);
    state.agent_has_seen(vec![(node_name("a"), at(&first, 99))]);
    assert_eq!(awaited(&state).len(), 0);
    state.agent_has_seen(vec![(node_name("b"), at(&first, 1))]);
    state.await_no_longer();
    assert_eq!(awaited(&state).len(), 0);
}
