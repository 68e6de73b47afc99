//! What comes over the wire: whole frames are taken, what is not valid is refused by name, and nothing that can be sent panics.
#![allow(clippy::unwrap_used)]

mod node {
    pub mod frames;
}

use agent::state::object::{Change, RuleService};
use agent::state::{Body, Upstream};
use agent::watch::stream::Gathering;
use apis::stream::change::Change as Kind;
use apis::stream::{self as wire, Direction};
use node::frames::{change, endpoint, group, hash, identity, named, node as a_node, posture, rule, tcp};
use proptest::prelude::*;

fn part(number: u64, replace: bool, last: bool, changes: Vec<wire::Change>) -> wire::Frame {
    wire::Frame { number, replace, changes, last, version: last.then(wire::Version::default), take: 1 }
}

#[test]
fn a_frame_is_gathered_until_its_last_part() {
    let mut gathering = Gathering::new("node-a");
    assert!(gathering.take(part(1, true, false, vec![a_node(1), a_node(2)])).unwrap().is_none());
    let frame = gathering.take(part(1, false, true, vec![endpoint("web", "node-a", "web", &[])])).unwrap().unwrap();
    let Body::Replace(upstream) = frame.body else { panic!("it replaces") };
    assert_eq!((upstream.nodes.len(), upstream.endpoints.len()), (2, 1));
    let frame = gathering.take(part(2, false, true, vec![posture("shop", true, true)])).unwrap().unwrap();
    assert!(matches!(frame.body, Body::Update(changes) if changes.len() == 1));
}

#[test]
fn a_frame_that_another_interrupts_is_refused() {
    let mut gathering = Gathering::new("node-a");
    assert!(gathering.take(part(1, true, false, vec![a_node(1)])).unwrap().is_none());
    let error = gathering.take(part(2, false, true, vec![])).unwrap_err();
    assert_eq!(error.what, "a part of frame 2 before the end of frame 1");
}

fn refusal(kind: Kind) -> String {
    let error = Change::try_from(change(kind)).unwrap_err();
    format!("{}: {}", error.object, error.what)
}

#[test]
fn what_is_not_valid_is_refused_by_name() {
    let of = |change: wire::Change| change.change.unwrap();
    let Kind::Endpoint(mut web) = of(endpoint("web", "node-a", "web", &[])) else { unreachable!() };
    web.identity = vec![1, 2].into();
    assert_eq!(refusal(Kind::Endpoint(web.clone())), "Pod/shop/web: a hash of 2 bytes");
    web.identity = hash("web").into();
    web.addresses = vec![vec![1, 2, 3].into()];
    assert_eq!(refusal(Kind::Endpoint(web)), "Pod/shop/web: an address of 3 bytes");
    let Kind::Rule(mut more) = of(rule("more", Direction::Ingress, "webs", &[], vec![tcp(70_000)])) else {
        unreachable!()
    };
    assert_eq!(refusal(Kind::Rule(more.clone())), "NetworkPolicy/shop/more rule[0]: port 70000");
    more.services = vec![wire::Service { end_port: Some(79), ..tcp(80) }];
    assert_eq!(refusal(Kind::Rule(more.clone())), "NetworkPolicy/shop/more rule[0]: the port range 80-79");
    more.services.clear();
    more.direction = 7;
    assert_eq!(refusal(Kind::Rule(more.clone())), "NetworkPolicy/shop/more rule[0]: direction 7");
    more.direction = Direction::Egress.into();
    more.action = wire::RuleAction::Pass.into();
    assert_eq!(refusal(Kind::Rule(more)), "NetworkPolicy/shop/more rule[0]: action 4");
    let mut long = node::frames::prefix("10.0.0.0/8");
    long.length = 33;
    let far = wire::Node { name: "node-x".into(), addresses: vec![], pod_cidrs: vec![long] };
    assert_eq!(refusal(Kind::Node(far)), "Node/node-x: a prefix length of 33");
}

#[test]
fn a_rule_is_read_as_it_is_meant() {
    let Change::Rule(any) = Change::try_from(rule("r", Direction::Egress, "webs", &[], vec![named("http")])).unwrap()
    else {
        panic!("a rule")
    };
    assert!(any.peers.as_ref().is_some_and(|peers| peers.groups.is_empty() && peers.blocks.is_empty()), "nobody");
    assert!(matches!(&any.services[0], RuleService::Name { name, .. } if &**name == "http"));
    let Some(Kind::Rule(mut everyone)) = rule("r", Direction::Egress, "webs", &[], vec![]).change else {
        unreachable!()
    };
    everyone.any_peer = true;
    let Change::Rule(everyone) = Change::try_from(change(Kind::Rule(everyone))).unwrap() else { panic!("a rule") };
    assert!(everyone.peers.is_none() && everyone.services.is_empty());
}

/// Changes whose bytes are drawn, so that every field may hold anything that its type can.
fn drawn() -> impl Strategy<Value = Vec<u8>> {
    let valid = prop_oneof![
        Just(a_node(1)),
        Just(endpoint("web", "node-a", "web", &["10.0.0.1", "fd00::1"])),
        Just(identity("web", &[("http", 80)])),
        Just(group("g", &["web", "free"])),
        Just(rule("r", Direction::Ingress, "g", &["g"], vec![tcp(80), named("http")])),
        Just(posture("shop", true, false)),
    ];
    (valid, proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6)).prop_map(|(change, flips)| {
        let mut bytes = prost::Message::encode_to_vec(&change);
        for (index, value) in flips {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_can_be_sent_panics(bytes in drawn()) {
        if let Ok(change) = <wire::Change as prost::Message>::decode(bytes.as_slice())
            && let Ok(change) = Change::try_from(change)
        {
            Upstream::new("node-a").apply(change, &mut agent::state::Changed::default());
        }
    }
}
