//! Which identities rules here name as the other end, and in which direction: only their addresses cost flows.
//!
//! Counted by list (a group, or what a rule's port names resolve to), so that a hundred rules that name one group walk
//! through its members once.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use ovs_pipeline::Direction;

use crate::state::{GroupId, IdentityId, RuleId};

/// A list of identities that rules name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// A group of peers.
    Group(GroupId),
    /// The destinations that an egress rule's port names resolve on.
    Named(RuleId),
}

/// The directions in which an identity has to be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// As the source: an ingress rule names it.
    pub source: bool,
    /// As the destination: an egress rule names it.
    pub destination: bool,
}

#[derive(Debug)]
struct Used {
    count: u32,
    identities: Arc<[IdentityId]>,
}

/// Who is needed.
#[derive(Debug, Default)]
pub struct Needs {
    lists: HashMap<(Direction, List), Used>,
    /// How many lists name an identity, for ingress and for egress.
    identities: HashMap<IdentityId, [u32; 2]>,
    /// Identities whose need is not what it was.
    flipped: HashSet<IdentityId>,
}

impl Needs {
    /// One more rule of this direction uses the list.
    pub fn retain(&mut self, direction: Direction, list: List, identities: &Arc<[IdentityId]>) {
        if let Some(used) = self.lists.get_mut(&(direction, list)) {
            used.count += 1;
            self.refresh(direction, list, identities);
            return;
        }
        for identity in identities.iter() {
            self.add(direction, *identity);
        }
        self.lists.insert((direction, list), Used { count: 1, identities: identities.clone() });
    }

    /// One rule less uses it.
    pub fn release(&mut self, direction: Direction, list: List) {
        let Some(used) = self.lists.get_mut(&(direction, list)) else {
            return;
        };
        used.count -= 1;
        if used.count == 0
            && let Some(used) = self.lists.remove(&(direction, list))
        {
            for identity in used.identities.iter() {
                self.remove(direction, *identity);
            }
        }
    }

    /// The list has these members now.
    pub fn refresh(&mut self, direction: Direction, list: List, identities: &Arc<[IdentityId]>) {
        let Some(used) = self.lists.get_mut(&(direction, list)) else {
            return;
        };
        if Arc::ptr_eq(&used.identities, identities) || used.identities == *identities {
            return;
        }
        let old = std::mem::replace(&mut used.identities, identities.clone());
        for identity in identities.iter() {
            self.add(direction, *identity);
        }
        for identity in old.iter() {
            self.remove(direction, *identity);
        }
    }

    /// What is needed of an identity.
    pub fn of(&self, identity: IdentityId) -> Need {
        self.identities.get(&identity).map_or_else(Need::default, |[source, destination]| Need {
            source: *source > 0,
            destination: *destination > 0,
        })
    }

    /// The identities whose need may have changed since the last call.
    pub fn take_flipped(&mut self) -> HashSet<IdentityId> {
        std::mem::take(&mut self.flipped)
    }

    fn add(&mut self, direction: Direction, identity: IdentityId) {
        let count = &mut self.identities.entry(identity).or_default()[side(direction)];
        *count += 1;
        if *count == 1 {
            self.flipped.insert(identity);
        }
    }

    fn remove(&mut self, direction: Direction, identity: IdentityId) {
        let Some(counts) = self.identities.get_mut(&identity) else {
            return;
        };
        let count = &mut counts[side(direction)];
        *count -= 1;
        if *count == 0 {
            self.flipped.insert(identity);
        }
        if *counts == [0, 0] {
            self.identities.remove(&identity);
        }
    }
}

fn side(direction: Direction) -> usize {
    match direction {
        Direction::Ingress => 0,
        Direction::Egress => 1,
    }
}
