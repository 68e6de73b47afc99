//! What the controller says, as of the last complete frame.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use super::changed::Changed;
use super::endpoints::Endpoints;
use super::name::{GroupId, IdentityId, IsolationId, RuleId};
use super::object::{Change, Identity, Isolation, Node, Posture, Rule};

/// Everything the controller has said and not taken back.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// All nodes of the cluster, this one included.
    pub nodes: BTreeMap<Box<str>, Node>,
    /// The pods that this node needs to know.
    pub endpoints: Endpoints,
    /// Their identities.
    pub identities: HashMap<IdentityId, Identity>,
    /// The groups that rules and isolations name.
    pub groups: HashMap<GroupId, Arc<[IdentityId]>>,
    /// The rules that apply to pods here.
    pub rules: HashMap<RuleId, Rule>,
    /// The isolations that apply to pods here.
    pub isolations: HashMap<IsolationId, Isolation>,
    /// Namespaces.
    pub postures: BTreeMap<Box<str>, Posture>,
}

impl Upstream {
    /// Nothing said yet; `own` is the name of this agent's node.
    pub fn new(own: &str) -> Self {
        Self {
            nodes: BTreeMap::new(),
            endpoints: Endpoints::new(own),
            identities: HashMap::new(),
            groups: HashMap::new(),
            rules: HashMap::new(),
            isolations: HashMap::new(),
            postures: BTreeMap::new(),
        }
    }

    /// Takes one change, and notes in `changed` what it changed.
    pub fn apply(&mut self, change: Change, changed: &mut Changed) {
        match change {
            Change::Node(node) => {
                let name = node.name.clone();
                if self.nodes.get(&name) != Some(&node) {
                    self.nodes.insert(name.clone(), node);
                    changed.nodes.insert(name);
                }
            }
            Change::NodeRemoved(name) => {
                if self.nodes.remove(&name).is_some() {
                    changed.nodes.insert(name);
                }
            }
            Change::Endpoint(endpoint) => self.endpoints.insert(endpoint, changed),
            Change::EndpointRemoved(key) => self.endpoints.remove(&key, changed),
            Change::Posture(namespace, posture) => {
                if self.postures.insert(namespace.clone(), posture) != Some(posture) {
                    changed.namespaces.insert(namespace);
                }
            }
            Change::PostureRemoved(namespace) => {
                if self.postures.remove(&namespace).is_some() {
                    changed.namespaces.insert(namespace);
                }
            }
            policy => self.apply_policy(policy, changed),
        }
    }

    fn apply_policy(&mut self, change: Change, changed: &mut Changed) {
        match change {
            Change::Identity(identity) => {
                let id = identity.id;
                if self.identities.get(&id) != Some(&identity) {
                    self.identities.insert(id, identity);
                    changed.identities.insert(id);
                }
            }
            Change::IdentityRemoved(id) => {
                if self.identities.remove(&id).is_some() {
                    changed.identities.insert(id);
                }
            }
            Change::Group(group) => {
                if self.groups.get(&group.id) != Some(&group.identities) {
                    self.groups.insert(group.id, group.identities);
                    changed.groups.insert(group.id);
                }
            }
            Change::GroupRemoved(id) => {
                if self.groups.remove(&id).is_some() {
                    changed.groups.insert(id);
                }
            }
            Change::Rule(rule) => {
                let id = rule.id;
                if self.rules.get(&id) != Some(&rule) {
                    self.rules.insert(id, rule);
                    changed.rules.insert(id);
                }
            }
            Change::RuleRemoved(id) => {
                if self.rules.remove(&id).is_some() {
                    changed.rules.insert(id);
                }
            }
            Change::Isolation(isolation) => {
                let id = isolation.id;
                if self.isolations.get(&id) != Some(&isolation) {
                    self.isolations.insert(id, isolation);
                    changed.isolations.insert(id);
                }
            }
            Change::IsolationRemoved(id) => {
                if self.isolations.remove(&id).is_some() {
                    changed.isolations.insert(id);
                }
            }
            Change::Node(_)
            | Change::NodeRemoved(_)
            | Change::Endpoint(_)
            | Change::EndpointRemoved(_)
            | Change::Posture(..)
            | Change::PostureRemoved(_) => {}
        }
    }
}
