//! Intents that the switch does not take. They are left out and the rest goes on; the pods whose policy is not whole are
//! closed, as if nobody knew who they are.

use std::collections::BTreeMap;

use hashbrown::HashSet;
use ovs_pipeline::Direction;

use super::IntentKey;
use crate::state::{Changed, IdentityId, State};

/// Why an intent is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// What the switch, or the pipeline, said.
    pub reason: String,
}

/// What is set aside.
#[derive(Clone, Debug, Default)]
pub struct Quarantine {
    aside: BTreeMap<IntentKey, Quarantined>,
    closed: HashSet<IdentityId>,
}

impl Quarantine {
    /// Whether nothing is set aside.
    pub fn is_empty(&self) -> bool {
        self.aside.is_empty()
    }

    /// How many intents are set aside.
    pub fn len(&self) -> usize {
        self.aside.len()
    }

    /// Whether an intent is set aside.
    pub fn holds(&self, key: &IntentKey) -> bool {
        !self.aside.is_empty() && self.aside.contains_key(key)
    }

    /// Whether pods of an identity are closed.
    pub fn closes(&self, identity: IdentityId) -> bool {
        self.closed.contains(&identity)
    }

    /// The identities whose pods are closed.
    pub fn closed(&self) -> &HashSet<IdentityId> {
        &self.closed
    }

    /// What is set aside, and why.
    pub fn iter(&self) -> impl Iterator<Item = (&IntentKey, &Quarantined)> {
        self.aside.iter()
    }

    /// The isolations among it.
    pub(super) fn isolations(&self) -> impl Iterator<Item = (Direction, IdentityId)> {
        self.aside.keys().filter_map(|key| match key {
            IntentKey::Isolation(direction, identity) => Some((*direction, *identity)),
            _ => None,
        })
    }

    /// Sets an intent aside; what has to be planned again because of it.
    pub(super) fn set_aside(&mut self, key: IntentKey, reason: String, state: &State) -> Changed {
        let mut changed = Changed::default();
        touch(&key, &mut changed);
        self.aside.insert(key, Quarantined { reason });
        self.close(state, &mut changed);
        changed
    }

    /// What changed is tried again; a replaced state tries all again. What has to be planned again because of it, if anything
    /// was set aside.
    pub(super) fn release(&mut self, state: &State, changed: &Changed) -> Option<Changed> {
        if self.aside.is_empty() {
            return None;
        }
        let again = |key: &IntentKey| match key {
            IntentKey::Node => changed.ports || changed.nodes.contains(&state.node),
            IntentKey::Peer(name) => changed.nodes.contains(name),
            IntentKey::Pod(pod) => changed.pods.contains(pod),
            IntentKey::Address(address) => changed.addresses.contains(address),
            IntentKey::Rule(id, _) => !state.upstream.rules.contains_key(id),
            IntentKey::Isolation(..) => false,
        };
        let mut freed = Changed::default();
        for (key, _) in self.aside.extract_if(.., |key, _| changed.everything || again(key)) {
            touch(&key, &mut freed);
        }
        self.close(state, &mut freed);
        (!freed.is_empty()).then_some(freed)
    }

    /// Closes the pods whose policy is not whole as things are now, and no others.
    fn close(&mut self, state: &State, changed: &mut Changed) {
        let closed: HashSet<IdentityId> = self.aside.keys().flat_map(|key| protects(key, state)).collect();
        let endpoints = &state.upstream.endpoints;
        for pod in state.attached().keys() {
            let identity = endpoints.get(pod).filter(|endpoint| endpoint.local).map(|endpoint| endpoint.identity);
            if identity.is_some_and(|identity| closed.contains(&identity) != self.closed.contains(&identity)) {
                changed.pods.insert(pod.clone());
            }
        }
        self.closed = closed;
    }
}

/// The identities whose policy is not whole without the intent.
fn protects(key: &IntentKey, state: &State) -> Vec<IdentityId> {
    match key {
        IntentKey::Rule(id, _) => state
            .upstream
            .rules
            .get(id)
            .map_or_else(Vec::new, |rule| super::rules::local_members(state, rule.applied_to).into_vec()),
        IntentKey::Isolation(_, identity) => vec![*identity],
        IntentKey::Node | IntentKey::Peer(_) | IntentKey::Pod(_) | IntentKey::Address(_) => Vec::new(),
    }
}

/// Notes that an intent has to be planned again.
fn touch(key: &IntentKey, changed: &mut Changed) {
    match key {
        IntentKey::Node | IntentKey::Isolation(..) => {}
        IntentKey::Peer(name) => _ = changed.nodes.insert(name.clone()),
        IntentKey::Pod(pod) => _ = changed.pods.insert(pod.clone()),
        IntentKey::Address(address) => _ = changed.addresses.insert(*address),
        IntentKey::Rule(id, _) => _ = changed.rules.insert(*id),
    }
}
