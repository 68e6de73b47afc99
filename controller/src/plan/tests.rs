//! Incremental equals recompute, and the deltas of an update lead every node from its old needs to its new ones.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::drawn::{Happening, NODES, happenings};
use crate::object::ObjectKey;

/// What an agent knows that was told by deltas alone.
#[derive(Default)]
struct Told(BTreeMap<Name, String>);

impl Told {
    /// Takes in what concerns the node; an object told for no reason is a defect.
    fn take(&mut self, plan: &Plan, node: &NodeName, deltas: &[Delta]) {
        let index = plan.index_of(node);
        for delta in deltas {
            let (needed, needs) = (delta.before.contains(index), delta.after.contains(index));
            assert_eq!(
                needed,
                self.0.contains_key(&delta.name),
                "{node} is wrongly said to have needed {:?}",
                delta.name
            );
            if needs && (!needed || delta.content_changed) {
                let now = plan.show_object(&delta.name).expect("what a node needs is there");
                self.0.insert(delta.name.clone(), now);
            } else if needed && !needs {
                self.0.remove(&delta.name);
            }
        }
    }
}

fn needs(plan: &Plan, node: &NodeName) -> BTreeMap<Name, String> {
    let names = plan.needed_by(node).into_iter();
    names.map(|name| (name.clone(), plan.show_object(&name).expect("what a node needs is there"))).collect()
}

fn live(happenings: Vec<Happening>, batch: usize) -> State {
    let mut state = State::default();
    let mut plan = Plan::of(&state);
    let nodes: Vec<NodeName> = NODES.iter().map(|name| NodeName(Text::from(*name))).collect();
    let mut told: Vec<Told> = nodes.iter().map(|_| Told::default()).collect();
    for (sequence, some) in (0u64..).zip(happenings.chunks(batch)) {
        let mut changed = Changed::default();
        for happening in some {
            happening.clone().apply(&mut state, sequence, &mut changed);
        }
        let deltas = plan.update(&state, &changed);
        assert!(deltas.is_sorted_by_key(|delta| &delta.name), "deltas are sorted");
        if let Err(difference) = plan.check(&state) {
            panic!("after {some:#?}\n{difference}");
        }
        for (node, told) in nodes.iter().zip(&mut told) {
            told.take(&plan, node, &deltas);
            assert_eq!(told.0, needs(&plan, node), "what {node} was told after {some:#?}");
        }
        assert_eq!(plan.update(&state, &changed), [], "an update that changes nothing says nothing");
    }
    state
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn incremental_equals_recompute_one_by_one(happenings in happenings(40)) {
        live(happenings, 1);
    }

    #[test]
    fn incremental_equals_recompute_in_batches(happenings in happenings(40), batch in 2..20usize) {
        live(happenings, batch);
    }

    #[test]
    fn nothing_is_left_when_everything_is_deleted(happenings in happenings(40), order in any::<u64>()) {
        let mut state = live(happenings, 7);
        let mut plan = Plan::of(&state);
        let everything = state.everything();
        let mut keys: Vec<ObjectKey> = everything.namespaces.into_iter().map(ObjectKey::Namespace).collect();
        keys.extend(everything.nodes.into_iter().map(ObjectKey::Node));
        keys.extend(everything.pods.into_iter().map(ObjectKey::Pod));
        keys.extend(everything.policies.into_iter().map(ObjectKey::NetworkPolicy));
        keys.sort_by_key(|key| {
            use std::hash::{DefaultHasher, Hash, Hasher};
            let mut hasher = DefaultHasher::new();
            (key, order).hash(&mut hasher);
            hasher.finish()
        });
        for key in keys {
            let mut changed = Changed::default();
            state.apply(crate::watch::SourceEvent::Delete(key), &mut changed);
            plan.update(&state, &changed);
            prop_assert_eq!(plan.check(&state), Ok(()));
        }
        prop_assert!(plan.counts().iter().all(|(_, count)| *count == 0), "{:?}", plan.counts());
        prop_assert!(plan.scopes.is_empty() && plan.nodes.is_empty() && plan.policies.is_empty());
        plan.homes.release();
        prop_assert_eq!(plan.homes.names().count(), 0);
    }
}
