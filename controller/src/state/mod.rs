//! What is known: the source's objects and what agents have reported, each as last told.
//!
//! One loop owns it and changes it one event at a time; [`State::apply`] says by name what an event has changed. Nothing is
//! derived here beyond the addresses a pod has: that is `plan`, which is a function of this state and of nothing else, so
//! the order in which facts came in leaves no trace.

mod report;
mod version;

use std::collections::BTreeSet;
use std::net::IpAddr;

use hashbrown::HashMap;

use crate::object::{Labels, NetworkPolicy, Node, NodeName, Object, ObjectKey, Pod, PodKey, PolicyKey, Text};
use crate::watch::{SourceError, SourceEvent};
pub use report::{MAX_REPORTS_OF_A_NODE, NodeFacts, PodReport, Refused, Reports};
use version::Versions;
pub use version::{NodeVersion, Since};

/// Everything that is known.
#[derive(Default)]
pub struct State {
    namespaces: HashMap<Text, Labels>,
    nodes: HashMap<NodeName, Node>,
    pods: HashMap<PodKey, Pod>,
    policies: HashMap<PolicyKey, NetworkPolicy>,
    reports: Reports,
    source: SourceState,
    versions: Versions,
    /// What agents have seen of nodes that have not reported as much here.
    awaited: HashMap<NodeName, NodeVersion>,
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
            SourceEvent::Version(version) => {
                if version > self.source.version {
                    self.source.version = version;
                    self.versions.source_changed();
                }
            }
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
                    self.note_version(&name);
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

    /// An agent has said hello: what its node reported before is replaced. `sequence` is that of its last report.
    pub fn agent_connected(
        &mut self,
        node: &NodeName,
        boot: bytes::Bytes,
        sequence: u64,
        pods: Vec<PodReport>,
        changed: &mut Changed,
    ) {
        changed.pods.extend(self.reports.replace(node, boot, sequence, pods));
        self.note_version(node);
    }

    /// An agent has said what it saw of other nodes in earlier frames. Until they have reported as much here, what would be
    /// published is older than what that agent has.
    pub fn agent_has_seen(&mut self, seen: Vec<(NodeName, NodeVersion)>) {
        for (node, version) in seen {
            let told = self.versions.of(node.0.as_str());
            let known = told.or(self.awaited.get(&node)).is_some_and(|known| is_as_new(known, &version));
            if !known {
                self.awaited.insert(node, version);
            }
        }
    }

    /// The nodes of the source whose reports agents have seen further than they are known here, in no order.
    pub fn awaited(&self) -> impl Iterator<Item = &NodeName> {
        self.awaited.keys().filter(|node| self.nodes.contains_key(*node))
    }

    /// They have been waited for long enough.
    pub fn await_no_longer(&mut self) {
        self.awaited.clear();
    }

    /// The latest boot of a node's agent that anyone has told of.
    pub fn latest_boot(&self, node: &NodeName) -> bytes::Bytes {
        let told = self.versions.of(node.0.as_str()).map(|version| &version.boot);
        let seen = self.awaited.get(node).map(|version| &version.boot);
        match (told, seen) {
            (Some(told), Some(seen)) if apis::boot::is_earlier(told, seen) => seen.clone(),
            (told, seen) => told.or(seen).cloned().unwrap_or_default(),
        }
    }

    fn note_version(&mut self, node: &NodeName) {
        let Some(version) = self.reports.version_of(node.0.as_str()) else {
            self.versions.forget(node);
            return;
        };
        if self.awaited.get(node).is_some_and(|awaited| is_as_new(&version, awaited)) {
            self.awaited.remove(node);
        }
        self.versions.set(node, version);
    }

    /// The sequence up to which a node's reports are known; None where it has reported nothing.
    pub fn sequence_of(&self, node: &str) -> Option<u64> {
        self.versions.of(node).map(|version| version.sequence)
    }

    /// An agent's stream has ended. What it reported stays; it is forgotten only with its node.
    pub fn agent_gone(&mut self, node: &NodeName, changed: &mut Changed) {
        if !self.nodes.contains_key(node) {
            changed.pods.extend(self.reports.pods_of(node));
        }
        self.reports.agent_gone(node, self.nodes.contains_key(node));
        self.note_version(node);
    }

    /// An agent has reported one pod of its node. It is kept even where it does not count (see [`State::refusal`]), because it
    /// may count later; the reason where it is not.
    pub fn pod_reported(&mut self, node: &NodeName, report: PodReport, changed: &mut Changed) -> Option<Refused> {
        let (detached, pod) = (report.addresses.is_empty(), report.pod.clone());
        match self.reports.report(node, report) {
            Ok(touched) => changed.pods.extend(touched),
            Err(refused) => return Some(refused),
        }
        self.note_version(node);
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

    /// The number of the last change of the version vector; numbers mean nothing to another process.
    pub fn change(&self) -> u64 {
        self.versions.change()
    }

    /// The nodes that have reported more since a change; since 0 it is all of them.
    pub fn versions_since(&self, change: u64) -> impl Iterator<Item = Since<'_>> {
        self.versions.since(change)
    }

    /// The names of the source's nodes, in no order.
    pub fn node_names(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes.keys()
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

/// Whether what is known of a node is at least as new as what was seen of it. A later boot has told all its pods anew.
fn is_as_new(known: &NodeVersion, seen: &NodeVersion) -> bool {
    if known.boot == seen.boot {
        known.sequence >= seen.sequence
    } else {
        !apis::boot::is_earlier(&known.boot, &seen.boot)
    }
}

#[cfg(test)]
mod tests;
