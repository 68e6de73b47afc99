//! What differs, cut into slices, against a switch in memory that takes whole slices or nothing and is asked after each what it
//! would let through.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use agent::apply::delta::{Queue, SLICE, Scope};
use agent::apply::flows::{Flows, Key};
use agent::apply::order;
use openflow::{Action, Field, Flow, FlowCommand, Match, Message};
use ovs_pipeline::{ConjunctionNumber, Effect, Part, Table};

type Name = (u8, u16, Vec<u8>);

/// A switch that remembers flows.
#[derive(Default)]
struct Switch {
    flows: BTreeMap<Name, Flow>,
    queue: Queue,
    slices: Vec<usize>,
}

fn name(flow: &Flow) -> Name {
    (flow.table, flow.priority, flow.matches.oxm().to_vec())
}

impl Switch {
    /// Sends the next slice; `false` when nothing differs. Whether the slice said that it opens.
    fn step(&mut self, flows: &mut Flows, scope: Scope) -> Option<bool> {
        let slice = self.queue.next(flows, scope, self.flows.is_empty())?;
        self.slices.push(slice.changes.len());
        for change in &slice.changes {
            // As the switch would read it.
            let mut bytes = Vec::new();
            order::message(flows, *change, &mut bytes).unwrap();
            let (_, Message::FlowMod(message)) = Message::decode(&bytes).unwrap() else { panic!("a flow mod") };
            if message.command == FlowCommand::DeleteStrict {
                self.flows.remove(&name(&message.flow)).expect("only what is there is deleted");
                flows.uninstalled(change.flow());
            } else {
                self.flows.insert(name(&message.flow), message.flow);
                flows.installed(change.flow());
            }
        }
        Some(slice.opens)
    }

    fn settle(&mut self, flows: &mut Flows) {
        while self.step(flows, Scope::All).is_some() {}
    }

    /// Compares as a restarted agent does.
    fn dump_into(&self, flows: &mut Flows) {
        flows.begin_dump();
        for flow in self.flows.values() {
            let key = Key { table: flow.table, priority: flow.priority, oxm: flow.matches.oxm() };
            flows.dumped(key, &flow.instructions).unwrap();
        }
        flows.end_dump();
    }

    fn names(&self, table: Table) -> Vec<Name> {
        self.flows.keys().filter(|(id, ..)| *id == table.id()).cloned().collect()
    }
}

fn part(table: Table, priority: u16, value: u32, effect: Effect) -> Part {
    Part { table, priority, matches: Match::new().with(Field::Reg(2), value), effect, why: "a test" }
}

fn apply(value: u32) -> Effect {
    Effect::Apply { actions: vec![Action::set_field(Field::Reg(4), value)], next: Some(Table::EgressVerdict) }
}

fn clause(conjunction: u32, clause: u8) -> Effect {
    Effect::Clause { conjunction: ConjunctionNumber(conjunction), clause, of: 2 }
}

/// Allows of rules, drops of isolations and who is who, for a policy of a number.
fn policy(number: u32, size: u32) -> Vec<Part> {
    let mut parts = Vec::new();
    for value in 0..size {
        parts.push(part(Table::IngressRule, 100, number * 100_000 + value, apply(number)));
    }
    parts.push(part(Table::IngressDefault, 100, number, apply(number)));
    parts
}

fn wanted(parts: &[Part]) -> Flows {
    let mut flows = Flows::default();
    parts.iter().for_each(|part| flows.add(part, false).unwrap());
    flows
}

#[test]
fn a_small_change_is_one_slice_and_nothing_follows() {
    let mut flows = wanted(&policy(1, 50));
    let mut switch = Switch::default();
    switch.settle(&mut flows);
    assert_eq!(switch.slices, [51]);
    // A restart finds what it wants.
    let mut again = wanted(&policy(1, 50));
    switch.dump_into(&mut again);
    assert_eq!(Queue::default().next(&mut again, Scope::All, false), None);
    // One flow more, one other and one less are three changes.
    again.add(&part(Table::IngressRule, 100, 77, apply(1)), false).unwrap();
    again.remove(&part(Table::IngressRule, 100, 100_001, apply(1)));
    again.remove(&part(Table::IngressRule, 100, 100_002, apply(1)));
    again.add(&part(Table::IngressRule, 100, 100_002, apply(9)), false).unwrap();
    switch.settle(&mut again);
    assert_eq!(switch.slices, [51, 3]);
}

#[test]
fn a_fill_from_empty_brings_base_first_and_doors_last() {
    let mut flows = Flows::default();
    flows.add(&part(Table::Commit, 0, 1, apply(1)), true).unwrap();
    for part in policy(1, 25_000) {
        flows.add(&part, false).unwrap();
    }
    for value in 0..4000 {
        flows.add(&part(Table::DestinationIdentity, 300, value, apply(value)), false).unwrap();
        flows.add(&part(Table::Classifier, 100, value, apply(value)), false).unwrap();
    }
    let mut switch = Switch::default();
    while let Some(_opens) = switch.step(&mut flows, Scope::All) {
        assert!(switch.names(Table::Commit).len() == 1, "nothing is there without the base");
        if !switch.names(Table::Classifier).is_empty() {
            assert_eq!(switch.names(Table::IngressRule).len(), 25_000, "no pod gets in before the policies are there");
            assert_eq!(switch.names(Table::IngressDefault).len(), 1);
            assert_eq!(switch.names(Table::DestinationIdentity).len(), 4000);
        }
    }
    assert_eq!(switch.flows.len(), 33_002);
    assert_eq!(switch.slices[0], 252, "the base, the isolation and what opens first come at once");
    assert!(switch.slices.iter().all(|slice| *slice <= SLICE), "{:?}", switch.slices);
}

#[test]
fn a_switch_that_came_back_empty_is_sent_what_was_worked_out_while_it_was_gone() {
    let mut flows = wanted(&policy(1, 25_000));
    let mut switch = Switch::default();
    switch.settle(&mut flows);
    // One flow of somebody else's, which goes with the switch.
    flows.observed(Key { table: 0, priority: 7, oxm: &[] }, Some(&openflow::Instructions::default())).unwrap();
    flows.gone();
    let known = flows.revision();
    assert_eq!((flows.held(), flows.differences().len()), (0, 25_001));
    Switch::default().dump_into(&mut flows);
    assert_eq!(flows.revision(), known, "an empty switch is what was expected");
    // It was not gone, only its connection was.
    switch.dump_into(&mut flows);
    assert_ne!(flows.revision(), known);
    assert_eq!(flows.differences().len(), 0);
}

#[test]
fn what_is_left_of_a_large_change_is_what_it_would_be_if_worked_out_anew() {
    let fill = || {
        let mut flows = wanted(&policy(1, 40_000));
        flows.gone();
        (flows, Switch::default())
    };
    let ((mut one, mut kept), (mut two, mut anew)) = (fill(), fill());
    let mut random = 7_u32;
    for step in 0..24 {
        for _ in 0..step * 3 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Of those that are in, of those that are not yet, of none at all; of all kinds of stage.
            let value = 100_000 + (random >> 8) % 50_000;
            let part = match random >> 28 & 3 {
                0 => part(Table::IngressDefault, 100, value, apply(1)),
                1 => part(Table::Classifier, (value % 7) as u16, value, apply(value)),
                2 => part(Table::IngressRule, 90, value, clause(value % 5, 1 + (random >> 26 & 1) as u8)),
                _ => part(Table::IngressRule, 100, value, apply(1)),
            };
            for flows in [&mut one, &mut two] {
                if random >> 31 == 0 {
                    flows.add(&part, false).unwrap();
                } else {
                    flows.remove(&part);
                }
            }
        }
        anew.queue.forget();
        assert_eq!(kept.step(&mut one, Scope::All), anew.step(&mut two, Scope::All));
        assert!(kept.flows == anew.flows, "step {step}");
    }
    kept.settle(&mut one);
    anew.settle(&mut two);
    assert_eq!(kept.slices, anew.slices);
    assert!(kept.flows == anew.flows && kept.flows.len() > 39_000, "{}", kept.flows.len());
}

#[test]
fn a_large_change_closes_before_it_opens() {
    let (old, new) = (policy(1, 15_000), policy(2, 15_000));
    let mut flows = wanted(&old);
    let mut switch = Switch::default();
    switch.settle(&mut flows);
    old.iter().for_each(|part| flows.remove(part));
    new.iter().for_each(|part| flows.add(part, false).unwrap());
    let mut opened = false;
    while let Some(opens) = switch.step(&mut flows, Scope::All) {
        let rules = switch.names(Table::IngressRule);
        let of = |number: u16| {
            let flow = |name: &&Name| {
                switch.flows[*name].instructions.apply[0] == Action::set_field(Field::Reg(4), u32::from(number))
            };
            rules.iter().filter(flow).count()
        };
        let (old_allows, new_allows) = (of(1), of(2));
        assert!(old_allows == 0 || new_allows == 0, "{old_allows} old and {new_allows} new allows at once");
        opened |= opens;
        if new_allows > 0 {
            assert!(opened, "what opens says so");
            let isolation = name(&Flow::new(Table::IngressDefault.id(), 100, Match::new().with(Field::Reg(2), 2_u32)));
            assert!(switch.flows.contains_key(&isolation), "new isolations come before new allows");
        }
    }
    assert_eq!(switch.names(Table::IngressRule).len(), 15_000);
    assert_eq!(switch.names(Table::IngressDefault).len(), 1, "the old isolation is gone in the end");
}

#[test]
fn flows_that_only_gain_clauses_stay_while_a_large_change_goes_on() {
    let shared = |conjunction| part(Table::IngressRule, 100, 5, clause(conjunction, 1));
    let mut flows = wanted(&[shared(1)]);
    let mut switch = Switch::default();
    switch.settle(&mut flows);
    let added = policy(3, 15_000);
    added.iter().for_each(|part| flows.add(part, false).unwrap());
    flows.add(&shared(2), false).unwrap();
    let key = name(&Flow::new(Table::IngressRule.id(), 100, Match::new().with(Field::Reg(2), 5_u32)));
    while switch.step(&mut flows, Scope::All).is_some() {
        assert!(switch.flows.contains_key(&key), "what both policies allow stays allowed");
    }
    assert_eq!(switch.flows[&key].instructions.apply.len(), 2);
    // Losing one is a change of its own, and the other stays.
    flows.remove(&shared(1));
    switch.settle(&mut flows);
    assert_eq!(switch.flows[&key].instructions.apply, [Action::Conjunction { id: 2, clause: 1, clauses: 2 }]);
}

#[test]
fn before_the_controller_has_spoken_only_what_is_missing_comes() {
    let mut flows = wanted(&policy(1, 5));
    let mut switch = Switch::default();
    switch.settle(&mut flows);
    let mut started = wanted(&[part(Table::Commit, 0, 1, apply(1)), part(Table::IngressDefault, 100, 1, apply(8))]);
    switch.dump_into(&mut started);
    while switch.step(&mut started, Scope::Missing).is_some() {}
    assert_eq!(switch.flows.len(), 7, "what is there stays, and as it is");
    switch.settle(&mut started);
    assert_eq!(switch.flows.len(), 2);
}

#[test]
fn the_order_of_wanting_does_not_show() {
    let parts = [
        part(Table::IngressRule, 100, 5, clause(2, 1)),
        part(Table::IngressRule, 100, 5, clause(1, 2)),
        part(Table::IngressRule, 100, 5, clause(2, 1)),
        part(Table::Routing, 100, 6, apply(2)),
        part(Table::Routing, 100, 6, apply(1)),
        part(Table::Routing, 100, 6, apply(1)),
    ];
    let forward = wanted(&parts);
    let mut backward = Flows::default();
    parts.iter().rev().for_each(|part| backward.add(part, false).unwrap());
    assert_eq!(forward.snapshot(), backward.snapshot());
    // Each is taken back as often as it was wanted.
    for (count, part) in parts.iter().enumerate() {
        assert!(backward.wanted() > 0, "{count}");
        backward.remove(part);
    }
    assert_eq!(backward.wanted(), 0);
}

#[test]
fn a_refused_flow_does_not_hold_up_the_rest_and_is_tried_again_when_it_changes() {
    let mut flows = wanted(&policy(1, 3));
    let (refused, _) = flows.differences()[0];
    flows.refuse(refused);
    let mut switch = Switch::default();
    switch.settle(&mut flows);
    assert_eq!(switch.flows.len(), 3);
    let again = flows.read(refused).unwrap();
    let effect = Effect::Apply { actions: again.actions, next: again.next };
    flows
        .add(
            &Part { table: again.table, priority: again.priority, matches: again.matches, effect, why: "a test" },
            false,
        )
        .unwrap();
    switch.settle(&mut flows);
    assert_eq!(switch.flows.len(), 4);
}

/// The rules about a pod, and the pod's own flow.
fn pod(number: u32, rules: u32) -> Vec<Part> {
    let mut parts: Vec<Part> =
        (0..rules).map(|rule| part(Table::IngressRule, 100, number * 100_000 + rule, apply(number))).collect();
    parts.push(part(Table::DestinationIdentity, 300, number, apply(number)));
    parts.push(part(Table::Classifier, 100, number, apply(number)));
    parts
}

#[test]
fn an_empty_switch_is_filled_pod_by_pod_and_a_new_pod_overtakes() {
    let pods = [pod(1, 20), pod(2, 9_000), pod(3, 15_000)];
    let mut flows = wanted(&pods.concat());
    assert!(flows.is_ranking_old(), "there was none");
    flows.begin_ranking();
    assert!(!flows.is_ranking_old());
    for (rank, parts) in (1..).zip(&pods) {
        for part in parts {
            let key = Key { table: part.table.id(), priority: part.priority, oxm: part.matches.oxm() };
            flows.put_rank(key, rank);
        }
    }
    let mut switch = Switch::default();
    let doors = |switch: &Switch| switch.names(Table::Classifier).len();
    let rules = |switch: &Switch| switch.names(Table::IngressRule).len();
    assert_eq!(switch.step(&mut flows, Scope::All), Some(true));
    assert_eq!(doors(&switch), 1, "the first pod is in with the first slice, {:?}", switch.slices);
    assert!(switch.slices[0] <= 1000);
    let door = |switch: &Switch, number: u32| {
        let matches = Match::new().with(Field::Reg(2), number);
        switch.flows.contains_key(&name(&Flow::new(Table::Classifier.id(), 100, matches)))
    };
    pod(4, 5).iter().for_each(|part| flows.add(part, false).unwrap());
    assert_eq!((flows.unranked(), flows.is_ranking_old()), (7, false), "few are new");
    switch.step(&mut flows, Scope::All).unwrap();
    assert!(door(&switch, 4) && !door(&switch, 2), "what came to be wanted meanwhile is first");
    while switch.step(&mut flows, Scope::All).is_some() {
        let rules = rules(&switch);
        assert!(!door(&switch, 2) || rules >= 9_025, "the second pod's rules are there before it");
        assert!(!door(&switch, 3) || rules >= 24_025, "the third pod's rules are there before it");
        assert!(!door(&switch, 3) || door(&switch, 2), "the third pod needs more than the second");
    }
    assert_eq!(switch.flows.len(), 24_020 + 5 + 2 * 4);
}
