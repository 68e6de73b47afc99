//! What an event changed, by name: `plan` looks at these and at what hangs on them, and at nothing else.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hashbrown::HashSet;

use super::name::{GroupId, IdentityId, IsolationId, PodKey, RuleId};

/// Names of what changed since the last plan. Gathered over any number of events; bounded by the number of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Look at everything: the controller's whole state was replaced.
    pub everything: bool,
    /// The switch's tunnel or gateway port, or the node's own facts.
    pub ports: bool,
    /// Nodes.
    pub nodes: BTreeSet<Box<str>>,
    /// Pods of this node: attached, detached, or their endpoint.
    pub pods: BTreeSet<PodKey>,
    /// Addresses that pods got or lost.
    pub addresses: HashSet<IpAddr>,
    /// Identities that this node got to know or lost.
    pub identities: HashSet<IdentityId>,
    /// Identities that this node's own endpoints got or lost.
    pub local_identities: HashSet<IdentityId>,
    /// Groups.
    pub groups: HashSet<GroupId>,
    /// Rules.
    pub rules: HashSet<RuleId>,
    /// Isolations.
    pub isolations: HashSet<IsolationId>,
    /// Namespaces whose posture changed.
    pub namespaces: BTreeSet<Box<str>>,
}

impl Changed {
    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Everything is to be looked at.
    pub fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// Both together.
    pub fn joined(mut self, other: &Self) -> Self {
        self.everything |= other.everything;
        self.ports |= other.ports;
        self.nodes.extend(other.nodes.iter().cloned());
        self.pods.extend(other.pods.iter().cloned());
        self.addresses.extend(&other.addresses);
        self.identities.extend(&other.identities);
        self.local_identities.extend(&other.local_identities);
        self.groups.extend(&other.groups);
        self.rules.extend(&other.rules);
        self.isolations.extend(&other.isolations);
        self.namespaces.extend(other.namespaces.iter().cloned());
        self
    }
}
