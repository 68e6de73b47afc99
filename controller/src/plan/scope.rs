//! Namespaces as the plan sees them: their labels, and whether any policy could select a pod there.
//!
//! A namespace without an object of its own (a directory need not have one) has the one label that every namespace has: its
//! name.

use super::Plan;
use super::delta::{Name, Span, Work, look_at};
use super::group::{Namespaces, Selector};
use crate::object::{Labels, Pool, Text};
use crate::state::{Changed, State};
use apis::kubernetes::Namespace;

/// A namespace that someone speaks of.
#[derive(Default)]
pub(super) struct Scope {
    pub labels: Labels,
    declared: bool,
    endpoints: usize,
    /// How many policies isolate in each direction.
    pub ingress: usize,
    pub egress: usize,
}

impl Scope {
    fn is_unknown(&self) -> bool {
        !self.declared && self.endpoints == 0 && self.ingress == 0 && self.egress == 0
    }
}

impl Plan {
    /// The labels of a namespace that has endpoints.
    pub(super) fn labels_of(&self, namespace: &Text) -> &Labels {
        &self.scopes.get(namespace).expect("a namespace with endpoints has a scope").labels
    }

    pub(super) fn change_namespaces(&mut self, state: &State, changed: &Changed, work: &mut Work) {
        for name in &changed.namespaces {
            let declared = state.namespace(name).is_some();
            let (labels, old) = self.change_scope(state, name, work, |scope| {
                scope.declared = declared;
                let labels = effective_labels(state, name);
                let old = std::mem::replace(&mut scope.labels, labels.clone());
                (labels, old)
            });
            if labels != old {
                self.move_identities(name, &old, &labels, work);
            }
        }
    }

    /// Counts an endpoint of a namespace in or out.
    pub(super) fn count_endpoint(&mut self, state: &State, namespace: &Text, arrived: bool, work: &mut Work) {
        self.change_scope(state, namespace, work, |scope| {
            scope.endpoints = if arrived { scope.endpoints + 1 } else { scope.endpoints - 1 };
        });
    }

    /// Counts a policy's directions: what it isolated in, what it isolates in now.
    pub(super) fn change_selectable(
        &mut self,
        state: &State,
        namespace: &Text,
        (ingress_before, egress_before): (bool, bool),
        (ingress, egress): (bool, bool),
        work: &mut Work,
    ) {
        self.change_scope(state, namespace, work, |scope| {
            scope.ingress = scope.ingress + usize::from(ingress) - usize::from(ingress_before);
            scope.egress = scope.egress + usize::from(egress) - usize::from(egress_before);
        });
    }

    fn change_scope<T>(
        &mut self,
        state: &State,
        name: &Text,
        work: &mut Work,
        change: impl FnOnce(&mut Scope) -> T,
    ) -> T {
        let known = self.scopes.contains_key(name);
        let scope = self
            .scopes
            .entry(name.clone())
            .or_insert_with(|| Scope { labels: effective_labels(state, name), ..Scope::default() });
        let said = (scope.ingress > 0, scope.egress > 0);
        let result = change(scope);
        let says = (scope.ingress > 0, scope.egress > 0);
        let gone = scope.is_unknown();
        if gone {
            self.scopes.remove(name);
        }
        let posture = || Name::Posture(name.clone());
        if known == gone || said != says {
            work.touch(posture(), || known.then(Span::everywhere));
            work.content_changed(&posture());
        }
        result
    }

    /// A namespace's labels have changed: groups that ask for them gain or lose its identities.
    fn move_identities(&mut self, namespace: &Text, old: &Labels, new: &Labels, work: &mut Work) {
        let identities = self.identities.in_namespace(namespace);
        let groups: Vec<u32> = self.groups.of_labelled_namespaces().collect();
        for number in groups {
            let Selector::Pods { namespaces: Namespaces::Matching(labels), .. } = &self.groups.get(number).selector
            else {
                continue;
            };
            let (selected, selects) = (labels.matches(old), labels.matches(new));
            if selected == selects {
                continue;
            }
            for identity in &identities {
                let group = self.groups.get(number);
                let definition = &self.identities.get(identity).definition;
                if selects && group.selector.matches(definition, new) {
                    self.add_member(number, identity, work);
                } else if selected && group.members.contains(identity) {
                    self.remove_member(number, identity, work);
                }
            }
        }
    }

    /// An identity joins a group.
    pub(super) fn add_member(&mut self, number: u32, identity: u32, work: &mut Work) {
        self.touch_group(number, work, || Some(Span::of(&self.groups.get(number).span)));
        let group = self.groups.get_mut(number);
        group.members.insert(identity);
        let member = self.identities.get_mut(identity);
        member.groups.insert(number);
        look_at(&mut work.homes, number, &member.homes());
        look_at(&mut work.identities, identity, &(&group.span | &group.reach));
    }

    /// An identity leaves a group.
    pub(super) fn remove_member(&mut self, number: u32, identity: u32, work: &mut Work) {
        self.touch_group(number, work, || Some(Span::of(&self.groups.get(number).span)));
        let group = self.groups.get_mut(number);
        group.members.remove(identity);
        let member = self.identities.get_mut(identity);
        member.groups.remove(number);
        look_at(&mut work.homes, number, &member.homes());
        look_at(&mut work.identities, identity, &(&group.span | &group.reach));
    }
}

fn effective_labels(state: &State, name: &Text) -> Labels {
    match state.namespace(name) {
        Some(labels) => labels.clone(),
        None => Labels::new([(Namespace::NAME_LABEL, name.as_str())], &mut Pool::default()),
    }
}
