//! What is known: the source's objects and what agents have reported, each as last told.
//!
//! One loop owns it and changes it one event at a time; [`State::apply`] says by name what an event has changed. Nothing is
//! derived here beyond the addresses a pod has: that is `plan`, which is a function of this state and of nothing else, so
//! the order in which facts came in leaves no trace.

mod report;

use std::collections::BTreeSet;
use std::net::IpAddr;

use hashbrown::HashMap;

use crate::object::{Labels, NetworkPolicy, Node, NodeName, Object, ObjectKey, Pod, PodKey, PolicyKey, Text};
use crate::watch::{SourceError, SourceEvent};
pub use report::{MAX_REPORTS_OF_A_NODE, NodeFacts, PodReport, Refused, Reports};

/// Everything that is known.
#[derive(Default)]
pub struct State {
    namespaces: HashMap<Text, Labels>,
    nodes: HashMap<NodeName, Node>,
    pods: HashMap<PodKey, Pod>,
    policies: HashMap<PolicyKey, NetworkPolicy>,
    reports: Reports,
    source: SourceState,
}

/// How far the source has told what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// The version up to which everything is known.
    pub version: u64,
    /// Whether it says so now.
    pub in_sync: bool,
    /// Whether it has said so since the start: nothing is published before.
    pub has_been_in_sync: bool,
    /// What is wrong with it now.
    pub errors: Vec<SourceError>,
}

/// What has changed, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Namespaces.
    pub namespaces: BTreeSet<Text>,
    /// Nodes.
    pub nodes: BTreeSet<NodeName>,
    /// Pods, or the addresses they have.
    pub pods: BTreeSet<PodKey>,
    /// NetworkPolicies.
    pub policies: BTreeSet<PolicyKey>,
}

/// A pod that is an endpoint: scheduled, with a network of its own, not ended.
pub struct Endpoint<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its node.
    pub node: &'a NodeName,
    /// Its addresses, IPv4 before IPv6; empty until someone knows them.
    pub addresses: &'a [IpAddr],
}

impl Changed {
    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty() && self.nodes.is_empty() && self.pods.is_empty() && self.policies.is_empty()
    }
}

impl State {
    /// Takes in what a source says.
    pub fn apply(&mut self, event: SourceEvent, changed: &mut Changed) {
        match event {
            SourceEvent::Upsert(object) => self.upsert(object, changed),
            SourceEvent::Delete(key) => self.delete(key, changed),
            SourceEvent::Version(version) => self.source.version = self.source.version.max(version),
            SourceEvent::InSync(in_sync) => {
                self.source.in_sync = in_sync;
                self.source.has_been_in_sync |= in_sync;
            }
            SourceEvent::Errors(errors) => self.source.errors = errors,
        }
    }

    fn upsert(&mut self, object: Object, changed: &mut Changed) {
        match object {
            Object::Namespace(namespace) => {
                if self.namespaces.get(&namespace.name) != Some(&namespace.labels) {
                    changed.namespaces.insert(namespace.name.clone());
                    self.namespaces.insert(namespace.name, namespace.labels);
                }
            }
            Object::Node(node) => {
                let held = self.nodes.get(&node.name);
                if held.is_none_or(|held| held.pod_cidrs != node.pod_cidrs) {
                    changed.pods.extend(self.reports.pods_of(&node.name));
                }
                if held != Some(&node) {
                    changed.nodes.insert(node.name.clone());
                    self.nodes.insert(node.name.clone(), node);
                }
            }
            Object::Pod(pod) => {
                let held = self.pods.get(&pod.key);
                if held != Some(&pod) {
                    if let Some(node) =
                        held.and_then(|held| held.node.as_ref()).filter(|node| Some(*node) != pod.node.as_ref())
                    {
                        self.reports.forget_detached(node, &pod.key);
                    }
                    changed.pods.insert(pod.key.clone());
                    self.pods.insert(pod.key.clone(), pod);
                }
            }
            Object::NetworkPolicy(policy) => {
                if self.policies.get(&policy.key) != Some(&policy) {
                    changed.policies.insert(policy.key.clone());
                    self.policies.insert(policy.key.clone(), policy);
                }
            }
        }
    }

    fn delete(&mut self, key: ObjectKey, changed: &mut Changed) {
        match key {
            ObjectKey::Namespace(name) => {
                if self.namespaces.remove(&name).is_some() {
                    changed.namespaces.insert(name);
                }
            }
            ObjectKey::Node(name) => {
                if self.nodes.remove(&name).is_some() {
                    changed.pods.extend(self.reports.pods_of(&name));
                    self.reports.node_deleted(&name);
                    changed.nodes.insert(name);
                }
            }
            ObjectKey::Pod(key) => {
                if let Some(pod) = self.pods.remove(&key) {
                    if let Some(node) = &pod.node {
                        self.reports.forget_detached(node, &key);
                    }
                    changed.pods.insert(key);
                }
            }
            ObjectKey::NetworkPolicy(key) => {
                if self.policies.remove(&key).is_some() {
                    changed.policies.insert(key);
                }
            }
        }
    }

    /// An agent has said hello: what its node reported before is replaced.
    pub fn agent_connected(
        &mut self,
        node: &NodeName,
        boot: bytes::Bytes,
        pods: Vec<PodReport>,
        changed: &mut Changed,
    ) {
        changed.pods.extend(self.reports.replace(node, boot, pods));
    }

    /// An agent has said what it saw of other nodes in earlier frames.
    pub fn agent_has_seen(&mut self, seen: Vec<(NodeName, bytes::Bytes, u64)>) {
        self.reports.seen(seen);
    }

    /// The sequence up to which a node's reports are known; None where it has reported nothing.
    pub fn sequence_of(&self, node: &str) -> Option<u64> {
        self.reports.sequence_of(node)
    }

    /// An agent's stream has ended. What it reported stays; it is forgotten only with its node.
    pub fn agent_gone(&mut self, node: &NodeName, changed: &mut Changed) {
        if !self.nodes.contains_key(node) {
            changed.pods.extend(self.reports.pods_of(node));
        }
        self.reports.agent_gone(node, self.nodes.contains_key(node));
    }

    /// An agent has reported one pod of its node. It is kept even where it does not count (see [`State::refusal`]), because it
    /// may count later; the reason where it is not.
    pub fn pod_reported(&mut self, node: &NodeName, report: PodReport, changed: &mut Changed) -> Option<Refused> {
        let (detached, pod) = (report.addresses.is_empty(), report.pod.clone());
        match self.reports.report(node, report) {
            Ok(touched) => changed.pods.extend(touched),
            Err(refused) => return Some(refused),
        }
        if detached && !self.pods.contains_key(&pod) {
            self.reports.forget_detached(node, &pod);
        }
        None
    }

    /// A pod as an endpoint; None where it is unknown, not scheduled, on the host's network, or has ended.
    pub fn endpoint(&self, key: &PodKey) -> Option<Endpoint<'_>> {
        let pod = self.pods.get(key).filter(|pod| pod.networked)?;
        let node = pod.node.as_ref()?;
        let reported = self.reports.of(node, key).filter(|report| self.refusal(node, report).is_none());
        Some(Endpoint { pod, node, addresses: reported.map_or(&pod.status_addresses, |report| &report.addresses) })
    }

    /// Why an agent's word on a pod does not count, if it does not. That a pod is detached always counts.
    pub fn refusal(&self, node: &NodeName, report: &PodReport) -> Option<Refused> {
        if report.addresses.is_empty() {
            return None;
        }
        if let Some(pod) = self.pods.get(&report.pod)
            && pod.node.as_ref() != Some(node)
        {
            return Some(Refused::OtherNode { pod_node: pod.node.clone() });
        }
        let Some(held) = self.nodes.get(node) else { return Some(Refused::UnknownNode) };
        let outside = report.addresses.iter().find(|address| !held.pod_cidrs.contain(**address));
        outside.map(|address| Refused::Outside { address: *address, pod_cidrs: held.pod_cidrs.to_string() })
    }

    /// Every report that does not count now, sorted, with the reason.
    pub fn refused_reports(&self) -> Vec<(NodeName, PodKey, Refused)> {
        let all = self.reports.iter();
        let refused = all.filter_map(|(node, report)| {
            self.refusal(node, report).map(|refused| (node.clone(), report.pod.clone(), refused))
        });
        let mut refused: Vec<_> = refused.collect();
        refused.sort_by(|one, two| (&one.0, &one.1).cmp(&(&two.0, &two.1)));
        refused
    }

    /// The labels of a namespace; None where the source has no such object.
    pub fn namespace(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name)
    }

    /// A node.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// A policy.
    pub fn policy(&self, key: &PolicyKey) -> Option<&NetworkPolicy> {
        self.policies.get(key)
    }

    /// All pods, endpoints or not, in no order.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// The (boot, sequence) of every node that has reported, sorted by name.
    pub fn node_versions(&self) -> Vec<(NodeName, bytes::Bytes, u64)> {
        self.reports.versions()
    }

    /// How far the source has told what it has.
    pub fn source(&self) -> &SourceState {
        &self.source
    }

    /// How many namespaces, nodes, pods and policies there are.
    pub fn counts(&self) -> [(&'static str, usize); 4] {
        [
            ("Namespace", self.namespaces.len()),
            ("Node", self.nodes.len()),
            ("Pod", self.pods.len()),
            ("NetworkPolicy", self.policies.len()),
        ]
    }

    /// The names of everything there is.
    pub fn everything(&self) -> Changed {
        Changed {
            namespaces: self.namespaces.keys().cloned().collect(),
            nodes: self.nodes.keys().cloned().collect(),
            pods: self.pods.keys().cloned().collect(),
            policies: self.policies.keys().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests;
