//! One direction of one packet: which policies isolate the pod, and which of their rules allow.
//!
//! Policies are additive: a pod that any policy isolates in a direction may do what the rules of any of these policies allow,
//! and nothing else; their order means nothing (concept, *The two sorts of pod isolation*).

use std::collections::BTreeSet;

use apis::kubernetes::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, Pod};

use crate::party::{Party, Who};
use crate::{Construct, Decision, Packet, Reading};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

/// A rule of either direction: its peers and its ports.
type Rule<'a> = (&'a [NetworkPolicyPeer], &'a [NetworkPolicyPort]);

impl Direction {
    /// As `policyTypes` has it.
    fn policy_type(self) -> &'static str {
        match self {
            Self::Ingress => "Ingress",
            Self::Egress => "Egress",
        }
    }

    /// As a rule's name has it.
    fn field(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    fn rules(self, policy: &NetworkPolicy) -> Vec<Rule<'_>> {
        match self {
            Self::Ingress => policy.spec.ingress.iter().map(|rule| (&*rule.from, &*rule.ports)).collect(),
            Self::Egress => policy.spec.egress.iter().map(|rule| (&*rule.to, &*rule.ports)).collect(),
        }
    }
}

impl<'a> Reading<'a> {
    pub(crate) fn egress(self, source: &Party<'a>, destination: &Party<'a>, packet: &Packet) -> Decision {
        let Who::Pod(pod) = source.who else { return Decision::NotApplicable };
        if matches!(destination.who, Who::Node(node) if pod.spec.node_name.as_deref() == Some(node))
            && !self.knows(Construct::EgressToOwnNode)
        {
            return Decision::NotApplicable;
        }
        self.decide(
            Direction::Egress,
            pod,
            |namespace, peer| self.peer_is(namespace, peer, destination),
            |ports| self.ports_match(ports, packet.protocol, destination),
        )
    }

    pub(crate) fn ingress(self, source: &Party<'a>, destination: &Party<'a>, packet: &Packet) -> Decision {
        let Who::Pod(pod) = destination.who else { return Decision::NotApplicable };
        self.decide(
            Direction::Ingress,
            pod,
            |namespace, peer| self.peer_is(namespace, peer, source),
            |ports| self.ports_match(ports, packet.protocol, destination),
        )
    }

    fn decide(
        self,
        direction: Direction,
        pod: &Pod,
        peer_is: impl Fn(&str, &NetworkPolicyPeer) -> bool,
        ports_match: impl Fn(&[NetworkPolicyPort]) -> bool,
    ) -> Decision {
        let isolates = |policy: &&NetworkPolicy| self.has_type(policy, direction) && self.selects(policy, pod);
        let isolating: Vec<&NetworkPolicy> = self.cluster.network_policies.iter().filter(isolates).collect();
        if isolating.is_empty() {
            return Decision::AllowedNoIsolation;
        }
        let mut allowing = BTreeSet::new();
        for policy in &isolating {
            for (index, (peers, ports)) in direction.rules(policy).into_iter().enumerate() {
                // An empty or missing list of peers means everyone (API, `from` and `to`).
                let anyone = peers.is_empty() && self.knows(Construct::EmptyPeerList);
                if (anyone || peers.iter().any(|peer| peer_is(namespace(policy), peer))) && ports_match(ports) {
                    allowing.insert(format!("{} {}[{index}]", title(policy), direction.field()));
                }
            }
        }
        match allowing.is_empty() {
            true => Decision::DeniedByIsolation(isolating.into_iter().map(title).collect()),
            false => Decision::AllowedByRules(allowing),
        }
    }

    /// Without `policyTypes` a policy isolates for ingress, whether or not it has ingress rules, and for egress if it has an
    /// egress rule (API, `policyTypes`). The API server's defaulting takes an empty list for a missing one.
    fn has_type(self, policy: &NetworkPolicy, direction: Direction) -> bool {
        let types = &policy.spec.policy_types;
        if !types.is_empty() && self.knows(Construct::PolicyTypes) {
            return types.iter().any(|policy_type| policy_type == direction.policy_type());
        }
        if types.is_empty() && !self.knows(Construct::PolicyTypesDefaulting) {
            return false;
        }
        direction == Direction::Ingress || !policy.spec.egress.is_empty()
    }

    /// A policy applies to the pods of its own namespace that `podSelector` selects; an empty one selects all of them
    /// (concept, *The NetworkPolicy resource*).
    fn selects(self, policy: &NetworkPolicy, pod: &Pod) -> bool {
        let same_namespace = pod.metadata.namespace.as_deref().unwrap_or("default") == namespace(policy);
        let selector = policy.spec.pod_selector.clone().unwrap_or_default();
        (same_namespace || !self.knows(Construct::NamespaceScope))
            && (!self.knows(Construct::TargetSelector) || self.selector_matches(&selector, &pod.metadata.labels))
    }
}

fn namespace(policy: &NetworkPolicy) -> &str {
    policy.metadata.namespace.as_deref().unwrap_or("default")
}

fn title(policy: &NetworkPolicy) -> String {
    format!("NetworkPolicy/{}/{}", namespace(policy), policy.metadata.name)
}
