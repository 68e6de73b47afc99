//! What agents have reported of the pods of their nodes.
//!
//! Reports are kept as they came, for pods known or not; whether one counts is asked when it is used (`State::refusal`),
//! so it does not matter whether the pod or the report came first.

use std::net::IpAddr;

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use thiserror::Error;

use super::version::NodeVersion;
use crate::object::{NodeName, PodKey};

/// The most reports kept of one node: far above what a kubelet runs (`maxPods` is 110 by default), and a bound on what an
/// agent gone wrong can make the controller hold.
pub const MAX_REPORTS_OF_A_NODE: usize = 8192;

/// A pod of a node got these addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodReport {
    /// Orders the reports of one boot of the agent.
    pub sequence: u64,
    /// The pod.
    pub pod: PodKey,
    /// Its addresses, IPv4 before IPv6; none: it is detached, and has none, whatever its status says.
    pub addresses: Box<[IpAddr]>,
}

/// Why a report does not count.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// An agent's word counts for its own node only.
    #[error("the pod is on {}; an agent's word counts for its own node only", pod_node.as_ref().map_or("no node", |node| node.0.as_str()))]
    OtherNode {
        /// Where the pod is.
        pod_node: Option<NodeName>,
    },
    /// The address is not one this node's pods may have.
    #[error("{address} is outside the node's pod CIDRs ({pod_cidrs}); correct the node's podCIDRs or the agent's")]
    Outside {
        /// The address.
        address: IpAddr,
        /// The node's pod CIDRs.
        pod_cidrs: String,
    },
    /// A bound on what an agent can make the controller hold.
    #[error("the node has reported {MAX_REPORTS_OF_A_NODE} pods already; restart its agent, it must have lost count")]
    TooMany,
    /// No such node.
    #[error("the source has no such Node; add it, with its podCIDRs")]
    UnknownNode,
}

/// What one node has reported.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    boot: Bytes,
    sequence: u64,
    connected: bool,
    pods: HashMap<PodKey, PodReport>,
}

/// What all nodes have reported.
#[derive(Default)]
pub struct Reports {
    nodes: HashMap<NodeName, NodeFacts>,
}

impl Reports {
    /// Replaces all reports of a node; the pods whose report may have changed. `sequence` is that of its last report, which may
    /// be of a pod that is gone.
    pub fn replace(&mut self, node: &NodeName, boot: Bytes, sequence: u64, reports: Vec<PodReport>) -> HashSet<PodKey> {
        let facts = self.nodes.entry(node.clone()).or_default();
        let mut touched: HashSet<PodKey> = facts.pods.drain().map(|(pod, _)| pod).collect();
        if facts.boot != boot {
            (facts.boot, facts.sequence) = (boot, 0);
        }
        facts.sequence = facts.sequence.max(sequence);
        facts.connected = true;
        for report in reports {
            touched.extend(facts.take(report).ok().flatten());
        }
        touched
    }

    /// Takes one report; the pod whose addresses may be others now, if one's may.
    pub fn report(&mut self, node: &NodeName, report: PodReport) -> Result<Option<PodKey>, Refused> {
        self.nodes.entry(node.clone()).or_default().take(report)
    }

    /// Drops a node's word on a pod if it is that the pod is detached: with the pod gone there is nothing to say.
    pub fn forget_detached(&mut self, node: &NodeName, pod: &PodKey) {
        if let Some(facts) = self.nodes.get_mut(node)
            && facts.pods.get(pod).is_some_and(|report| report.addresses.is_empty())
        {
            facts.pods.remove(pod);
        }
    }

    /// The stream has ended; with the node gone too, nobody can vouch for its reports.
    pub fn agent_gone(&mut self, node: &NodeName, node_exists: bool) {
        match self.nodes.get_mut(node) {
            Some(facts) if node_exists => facts.connected = false,
            _ => drop(self.nodes.remove(node)),
        }
    }

    /// The node has left the source; its reports go too unless its agent is still here.
    pub fn node_deleted(&mut self, node: &NodeName) {
        if self.nodes.get(node).is_some_and(|facts| !facts.connected) {
            self.nodes.remove(node);
        }
    }

    /// What a node says of a pod.
    pub fn of(&self, node: &NodeName, pod: &PodKey) -> Option<&PodReport> {
        self.nodes.get(node)?.pods.get(pod)
    }

    /// The pods a node has reported.
    pub fn pods_of(&self, node: &NodeName) -> Vec<PodKey> {
        self.nodes.get(node).map(|facts| facts.pods.keys().cloned().collect()).unwrap_or_default()
    }

    /// Every report, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeName, &PodReport)> {
        self.nodes.iter().flat_map(|(node, facts)| facts.pods.values().map(move |report| (node, report)))
    }

    /// How far a node has reported; none where it has not.
    pub fn version_of(&self, node: &str) -> Option<NodeVersion> {
        let facts = self.nodes.get(node)?;
        Some(NodeVersion { boot: facts.boot.clone(), sequence: facts.sequence })
    }
}

impl NodeFacts {
    fn take(&mut self, report: PodReport) -> Result<Option<PodKey>, Refused> {
        let held = self.pods.get(&report.pod);
        if held.is_some_and(|held| held.sequence > report.sequence) {
            return Ok(None); // older than what is known
        }
        if held.is_none() && self.pods.len() >= MAX_REPORTS_OF_A_NODE {
            return Err(Refused::TooMany);
        }
        self.sequence = self.sequence.max(report.sequence);
        let pod = report.pod.clone();
        let changed = held.is_none_or(|held| held.addresses != report.addresses);
        self.pods.insert(pod.clone(), report);
        Ok(changed.then_some(pod))
    }
}
