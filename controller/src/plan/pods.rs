//! Pods to endpoints and the identities they have.

use std::net::IpAddr;

use hashbrown::HashMap;

use super::Plan;
use super::delta::{Name, Span, Work, look_at_one};
use super::identity::Definition;
use super::slab::Slab;
use crate::object::{NodeName, PodKey};
use crate::state::State;

/// A pod that can be talked to.
pub(super) struct Endpoint {
    pub key: PodKey,
    /// The number of its node.
    pub home: u32,
    /// The number of its identity.
    pub identity: u32,
    pub addresses: Box<[IpAddr]>,
}

/// All endpoints.
#[derive(Default)]
pub(super) struct Endpoints {
    numbers: HashMap<PodKey, u32>,
    endpoints: Slab<Endpoint>,
}

impl Endpoints {
    pub fn number_of(&self, key: &PodKey) -> Option<u32> {
        self.numbers.get(key).copied()
    }

    pub fn get(&self, number: u32) -> &Endpoint {
        &self.endpoints[number]
    }

    pub fn len(&self) -> usize {
        self.endpoints.len()
    }
}

impl Plan {
    pub(super) fn change_pods(&mut self, state: &State, pods: &[PodKey], work: &mut Work) {
        let named = self.named_rollout_labels();
        for key in pods {
            let held = self.endpoints.number_of(key);
            let Some(now) = state.endpoint(key) else {
                if let Some(number) = held {
                    self.touch_endpoint(number, work);
                    self.remove_endpoint(number, work);
                    self.count_endpoint(state, &key.namespace, false, work);
                }
                continue;
            };
            let definition = Definition::of(now.pod, |key| named.contains(key));
            let Some(number) = held else {
                work.touch(Name::Endpoint(key.clone()), || None);
                self.count_endpoint(state, &key.namespace, true, work);
                self.insert_endpoint(key, now.node, now.addresses.into(), definition, work);
                continue;
            };
            let endpoint = self.endpoints.get(number);
            let stays = self.identities.get(endpoint.identity).definition == definition
                && self.homes.name_of(endpoint.home) == now.node;
            if stays && *endpoint.addresses == *now.addresses {
                continue;
            }
            self.touch_endpoint(number, work);
            if stays {
                self.endpoints.endpoints[number].addresses = now.addresses.into();
            } else {
                self.remove_endpoint(number, work);
                self.insert_endpoint(key, now.node, now.addresses.into(), definition, work);
            }
        }
    }

    fn touch_endpoint(&self, number: u32, work: &mut Work) {
        let name = Name::Endpoint(self.endpoints.get(number).key.clone());
        work.touch(name.clone(), || self.span(&name));
        work.content_changed(&name);
    }

    fn insert_endpoint(
        &mut self,
        key: &PodKey,
        node: &NodeName,
        addresses: Box<[IpAddr]>,
        definition: Definition,
        work: &mut Work,
    ) {
        let id = definition.id();
        let identity = match self.identities.number_of(&id) {
            Some(identity) => identity,
            None => {
                work.touch(Name::Identity(id), || None);
                let selecting = self.groups.selecting(&definition, self.labels_of(&key.namespace));
                let identity = self.identities.insert(id, definition);
                selecting.iter().for_each(|group| self.add_member(group, identity, work));
                identity
            }
        };
        let home = self.homes.enter(node);
        let number = self.endpoints.endpoints.insert(Endpoint { key: key.clone(), home, identity, addresses });
        self.endpoints.numbers.insert(key.clone(), number);
        let member = self.identities.get_mut(identity);
        member.endpoints.insert(number);
        if member.arrived(home) {
            self.homes.identity_arrived(home, identity);
            look_at_one(&mut work.identities, identity, home);
            member.groups.iter().for_each(|group| look_at_one(&mut work.homes, group, home));
        }
    }

    fn remove_endpoint(&mut self, number: u32, work: &mut Work) {
        let Some(Endpoint { key, home, identity, .. }) = self.endpoints.endpoints.remove(number) else { return };
        self.endpoints.numbers.remove(&key);
        self.homes.leave(home);
        let member = self.identities.get_mut(identity);
        member.endpoints.remove(number);
        if member.left(home) {
            self.homes.identity_left(home, identity);
            look_at_one(&mut work.identities, identity, home);
            member.groups.iter().for_each(|group| look_at_one(&mut work.homes, group, home));
        }
        if self.identities.get(identity).endpoints.is_empty() {
            self.remove_identity(identity, work);
        }
    }

    fn remove_identity(&mut self, number: u32, work: &mut Work) {
        let identity = self.identities.get(number);
        work.touch(Name::Identity(identity.id), || Some(Span::nodes(identity.span.clone())));
        let groups = identity.groups.clone();
        groups.iter().for_each(|group| self.remove_member(group, number, work));
        self.identities.remove(number);
    }
}
