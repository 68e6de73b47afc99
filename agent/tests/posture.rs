//! A pod whose identity is not known: open only in the directions in which the last word of a controller says that no policy could
//! select a pod of its namespace; closed in all others, and in both while no controller has ever spoken.
#![allow(clippy::unwrap_used)]

use agent::ledger::Ledger;
use agent::plan::{Planner, Wanted};
use agent::state::object::{Change, Node, Posture as NamespacePosture};
use agent::state::{Attached, Body, Changed, Frame, PodKey, State, SwitchPorts, Upstream, Version};
use ovs_pipeline::{Datapath, Intent, Posture};

struct Nothing;

impl Wanted for Nothing {
    fn want(&mut self, _: &Intent, _: &ovs_pipeline::Node) {}
    fn withdraw(&mut self, _: &Intent, _: &ovs_pipeline::Node) {}
}

/// Whether a policy could select a pod for ingress and for egress, as the controller says it of a namespace; `None`: it has not
/// spoken of it.
type Selectable = Option<(bool, bool)>;

fn own_node() -> Change {
    Change::Node(Node {
        name: "node-a".into(),
        addresses: vec!["172.18.0.11".parse().unwrap()],
        pod_cidrs: vec!["10.10.1.0/24".parse().unwrap()],
    })
}

fn upstream(selectable: Selectable) -> Upstream {
    let mut upstream = Upstream::new("node-a");
    let posture = selectable.map(|(ingress_selectable, egress_selectable)| {
        Change::Posture("shop".into(), NamespacePosture { ingress_selectable, egress_selectable })
    });
    for change in [own_node()].into_iter().chain(posture) {
        upstream.apply(change, &mut Changed::default());
    }
    upstream
}

/// Ingress and egress of a pod of `shop` that no controller has named.
fn unnamed(frames: &[Selectable]) -> Option<(Posture, Posture)> {
    let mut state = State::new("node-a", Datapath::Netdev);
    let mut changed = Changed::everything();
    state.set_ports(SwitchPorts { tunnel: Some(1), gateway: Some((2, [2; 6])) }, &mut changed);
    let key = PodKey::new("shop", "web");
    let attached = Attached {
        interface: "web-1".into(),
        port: Some(7),
        mac: [7; 6],
        addresses: ["10.10.1.7".parse().unwrap()].into_iter().collect(),
        container: "c1".into(),
    };
    state.set_attached(&key, Some(attached), &mut changed);
    let (mut planner, mut ledger) = (Planner::default(), Ledger::new(0));
    planner.update(&state, &mut ledger, &changed, &mut Nothing);
    for (number, selectable) in (1..).zip(frames) {
        let mut changed = Changed::default();
        let body = Body::Replace(Box::new(upstream(*selectable)));
        state.take_frame(Frame { number, version: Version::default(), stream: 1, body }, &mut changed);
        planner.update(&state, &mut ledger, &changed, &mut Nothing);
    }
    planner.pods().get(&key).map(|pod| (pod.ingress, pod.egress))
}

#[test]
fn a_pod_without_an_identity_is_open_only_where_no_policy_could_select_it() {
    let posture = |selectable| if selectable { Posture::Closed } else { Posture::Open };
    for ingress in [false, true] {
        for egress in [false, true] {
            let expected = (posture(ingress), posture(egress));
            assert_eq!(unnamed(&[Some((ingress, egress))]), Some(expected), "selectable: {ingress}, {egress}");
            // What was said before does not matter.
            assert_eq!(unnamed(&[Some((!ingress, !egress)), Some((ingress, egress))]), Some(expected));
        }
    }
}

#[test]
fn a_namespace_that_nobody_spoke_of_is_closed() {
    assert_eq!(unnamed(&[None]), Some((Posture::Closed, Posture::Closed)));
    assert_eq!(unnamed(&[Some((false, false)), None]), Some((Posture::Closed, Posture::Closed)));
}

#[test]
fn without_a_word_of_any_controller_everything_is_closed() {
    // Not planned at all before the node is described, or closed: never open.
    let planned = unnamed(&[]);
    assert!(planned.is_none_or(|postures| postures == (Posture::Closed, Posture::Closed)), "{planned:?}");
}
