//! Which flows an empty switch gets first: a pod that needs few, with the nodes that its rules let it talk to, before hundreds of
//! other nodes, and those before a pod that needs thousands.
#![allow(clippy::unwrap_used)]

use agent::plan::IntentKey;
use agent::plan::rank::{LAST, Ranks};
use agent::state::object::{Change, Endpoint, Group, Identity, Node, Rule, RulePeers};
use agent::state::{Body, Changed, Frame, GroupId, IdentityId, PodKey, RuleId, State, Upstream, Version};
use ovs_pipeline::{Action, Datapath, Direction};

fn id(number: u16) -> [u8; 16] {
    u128::from(number).to_be_bytes()
}

fn pod(number: u16, node: &str) -> [Change; 2] {
    let identity = IdentityId(id(number));
    let addresses = [std::net::IpAddr::from([10, 10, (number >> 8) as u8, number as u8])].into_iter().collect();
    let key = PodKey::new("shop", &format!("pod-{number}"));
    [
        Change::Identity(Identity { id: identity, namespace: "shop".into(), named_ports: Box::default() }),
        Change::Endpoint(Endpoint { key, node: node.into(), addresses, identity }),
    ]
}

fn group(number: u16, members: impl Iterator<Item = u16>) -> Change {
    Change::Group(Group { id: GroupId(id(number)), identities: members.map(|member| IdentityId(id(member))).collect() })
}

fn rule(number: u16, applied_to: u16, from: u16) -> Change {
    Change::Rule(Rule {
        id: RuleId(id(number)),
        direction: Direction::Ingress,
        applied_to: GroupId(id(applied_to)),
        peers: Some(RulePeers { groups: [GroupId(id(from))].into(), blocks: Box::default() }),
        services: Box::default(),
        action: Action::Allow,
        names: ["NetworkPolicy/shop/test".into()].into(),
    })
}

#[test]
fn few_flows_come_first_and_bring_the_nodes_that_they_lead_to() {
    let mut upstream = Upstream::new("node-a");
    let node = |number: u16| Node {
        name: format!("node-{number}").into(),
        addresses: vec![std::net::IpAddr::from([172, 18, 0, number as u8])],
        pod_cidrs: vec![format!("10.20.{number}.0/24").parse().unwrap()],
    };
    // Pod 1 is talked to by pod 3 alone; pod 2 by two thousand on node 7.
    let changes = (1..=100)
        .map(|number| Change::Node(node(number)))
        .chain(pod(1, "node-a"))
        .chain(pod(2, "node-a"))
        .chain(pod(3, "node-42"))
        .chain((10..2010).flat_map(|number| pod(number, "node-7")))
        .chain([group(1, 1..2), group(2, 2..3), group(3, 3..4), group(4, 10..2010), rule(1, 1, 3), rule(2, 2, 4)]);
    changes.for_each(|change| upstream.apply(change, &mut Changed::default()));
    let mut state = State::new("node-a", Datapath::Netdev);
    let body = Body::Replace(Box::new(upstream));
    state.take_frame(Frame { number: 1, version: Version::default(), stream: 1, body }, &mut Changed::default());

    let ranks = Ranks::of(&state);
    let rank = |key: IntentKey| ranks.rank(&key, &state);
    let pod = |number: u16| rank(IntentKey::Pod(PodKey::new("shop", &format!("pod-{number}"))));
    let peer = |name: &str| rank(IntentKey::Peer(name.into()));
    let rule = |number: u16| rank(IntentKey::Rule(RuleId(id(number)), Box::default()));
    let address = |number: u16| rank(IntentKey::Address([10, 10, (number >> 8) as u8, number as u8].into()));
    let of_light = [pod(1), rule(1), address(3), peer("node-42")];
    let of_heavy = [pod(2), rule(2), address(10), address(2009)];
    let others = [peer("node-1"), peer("node-7"), peer("node-100")];
    assert!(of_light.iter().all(|rank| *rank == of_light[0]), "{of_light:?}");
    assert!(of_heavy.iter().all(|rank| *rank == of_heavy[0] && *rank < LAST), "{of_heavy:?}");
    assert!(
        others.iter().all(|rank| of_light[0] < *rank && *rank < of_heavy[0]),
        "{of_light:?} {others:?} {of_heavy:?}"
    );
}
