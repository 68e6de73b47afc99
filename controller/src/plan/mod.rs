//! What each node needs, as a function of what is known.
//!
//! ```text
//!            policies ──► rules, isolations ──► groups ◄── namespaces (labels)
//!  State ─►                                       ▲
//!            pods ──────► identities ─────────────┘
//!                             │                   │
//!                         endpoints ◄── spread ───┘   (which node needs what)
//! ```
//!
//! [`Plan::update`] takes the names that changed and says what changed for whom; the plan it leaves is the one that
//! [`Plan::of`] computes anew from the same state, always. Nothing here waits, reads a clock or draws a number.
//!
//! - An **identity** is a set of endpoints that no policy can tell apart (`identity`).
//! - A **group** is a selector and the identities it selects (`group`).
//! - A **rule** is what policies allow, by content: policies that say the same share it (`rule`).
//! - A node needs the rules and isolations whose applied-to group has a pod there, the groups they name, the identities of
//!   those groups, and the endpoints of those that are peers (`spread`).

mod content;
mod delta;
mod group;
mod home;
mod identity;
mod listing;
mod object;
mod pods;
mod policies;
mod rule;
mod scope;
pub mod show;
mod slab;
mod spread;

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use crate::object::{Node, NodeName, PodKey, PolicyKey, Text};
use crate::state::{Changed, State};
pub use content::ContentId;
pub use delta::{Delta, Name, Span};
pub use group::{Namespaces, Selector};
pub use identity::{Definition, ROLLOUT_LABELS};
pub use object::Planned;
pub use rule::{Direction, RuleContent};

use delta::Work;
use group::Groups;
use home::Homes;
use identity::Identities;
use pods::Endpoints;
use policies::Compiled;
use rule::Rules;
use scope::Scope;

/// What every node needs.
#[derive(Default)]
pub struct Plan {
    nodes: BTreeMap<NodeName, Node>,
    scopes: HashMap<Text, Scope>,
    homes: Homes,
    identities: Identities,
    endpoints: Endpoints,
    groups: Groups,
    rules: Rules,
    policies: HashMap<PolicyKey, Compiled>,
}

impl Plan {
    /// The plan of a state, computed from nothing.
    pub fn of(state: &State) -> Self {
        let mut plan = Self::default();
        plan.change(state, &state.everything(), &mut Work::untracked());
        plan
    }

    /// Brings the plan to the state; says what changed for which nodes, sorted by name.
    ///
    /// Spans in the answer speak of nodes by the index they have until the next update.
    pub fn update(&mut self, state: &State, changed: &Changed) -> Vec<Delta> {
        let mut work = Work::tracked();
        self.change(state, changed, &mut work);
        self.deltas(work)
    }

    fn change(&mut self, state: &State, changed: &Changed, work: &mut Work) {
        self.homes.release();
        self.change_nodes(state, changed, work);
        let mut pods: Vec<PodKey> = changed.pods.iter().cloned().collect();
        pods.extend(self.change_policies(state, changed, work));
        self.change_namespaces(state, changed, work);
        self.change_pods(state, &pods, work);
        self.spread(work);
    }

    fn change_nodes(&mut self, state: &State, changed: &Changed, work: &mut Work) {
        for name in &changed.nodes {
            let now = state.node(name);
            let held = self.nodes.get(name);
            if held == now {
                continue;
            }
            work.touch(Name::Node(name.clone()), || held.map(|_| Span::everywhere()));
            work.content_changed(&Name::Node(name.clone()));
            match now {
                Some(node) => drop(self.nodes.insert(name.clone(), node.clone())),
                None => drop(self.nodes.remove(name)),
            }
        }
    }

    /// The index that spans use for a node; None for a node without endpoints, which needs only what all need.
    pub fn index_of(&self, node: &NodeName) -> Option<u32> {
        self.homes.index_of(node)
    }

    /// Compares the plan with the one computed from nothing; the first difference as text.
    pub fn check(&self, state: &State) -> Result<(), String> {
        let anew = Self::of(state);
        let mut nodes: Vec<NodeName> = self.nodes.keys().chain(anew.nodes.keys()).cloned().collect();
        nodes.extend(self.homes.names().chain(anew.homes.names()).cloned());
        nodes.sort_unstable();
        nodes.dedup();
        let mut seen = BTreeSet::new();
        for node in nodes {
            let (mine, theirs) = (self.needed_by(&node), anew.needed_by(&node));
            if mine != theirs {
                let (mine, theirs) = (self.show(&node), anew.show(&node));
                return Err(format!("{node} needs\n{mine}but computed anew\n{theirs}"));
            }
            seen.extend(mine);
        }
        for name in seen {
            let (mine, theirs) = (self.show_object(&name), anew.show_object(&name));
            if mine != theirs {
                return Err(format!("{name:?} is {mine:?}, but computed anew {theirs:?}"));
            }
        }
        if self.counts() != anew.counts() {
            return Err(format!("there are {:?}, but computed anew {:?}", self.counts(), anew.counts()));
        }
        Ok(())
    }

    /// How many identities, endpoints, groups and rules there are.
    pub fn counts(&self) -> [(&'static str, usize); 4] {
        [
            ("identities", self.identities.len()),
            ("endpoints", self.endpoints.len()),
            ("groups", self.groups.len()),
            ("rules", self.rules.len()),
        ]
    }
}

#[cfg(test)]
mod tests;
