//! Whether the other end of a packet is a peer that a rule names.

use apis::kubernetes::{IpBlock, LabelSelector, NetworkPolicyPeer};
use ipnet::IpNet;

use crate::party::{Party, Who};
use crate::{Construct, Reading};

impl<'a> Reading<'a> {
    /// Fields of one peer are ANDed, peers of a list are ORed (concept, *Behavior of `to` and `from` selectors*).
    pub(crate) fn peer_is(self, policy_namespace: &str, peer: &NetworkPolicyPeer, party: &Party<'a>) -> bool {
        if let Some(block) = &peer.ip_block {
            return self.block_holds(block, party);
        }
        let Who::Pod(pod) = party.who else { return false };
        let pod_selector = peer.pod_selector.as_ref().filter(|_| self.knows(Construct::PodSelector));
        let namespace_selector = peer.namespace_selector.as_ref().filter(|_| self.knows(Construct::NamespaceSelector));
        let pod_namespace = pod.metadata.namespace.as_deref().unwrap_or("default");

        let namespace_fits =
            |selector: &LabelSelector| self.selector_matches(selector, &self.cluster.namespace_labels(pod_namespace));
        let pod_fits = |selector: &LabelSelector| self.selector_matches(selector, &pod.metadata.labels);
        match (pod_selector, namespace_selector) {
            (None, None) => false,
            // Alone: pods of the policy's own namespace.
            (Some(pods), None) => {
                (pod_namespace == policy_namespace || !self.knows(Construct::MissingSelector)) && pod_fits(pods)
            }
            // Alone: all pods of these namespaces.
            (None, Some(namespaces)) => namespace_fits(namespaces),
            // Both: these pods of these namespaces.
            (Some(pods), Some(namespaces)) => namespace_fits(namespaces) && pod_fits(pods),
        }
    }

    /// A range of addresses less its exceptions. The text advises ranges outside the cluster, but it does not take pods'
    /// addresses out of them: a range that contains a pod's address matches that pod too (API, `ipBlock`).
    fn block_holds(self, block: &IpBlock, party: &Party<'a>) -> bool {
        let holds = |range: &str| range.parse::<IpNet>().is_ok_and(|range| range.contains(&party.address));
        let left_out = self.knows(Construct::Except) && block.except.iter().any(|range| holds(range));
        let pod_counts = self.knows(Construct::IpBlockOfPod) || !matches!(party.who, Who::Pod(_));
        self.knows(Construct::IpBlock) && pod_counts && holds(&block.cidr) && !left_out
    }
}
