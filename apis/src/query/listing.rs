//! What both daemons tell of policies, groups and flows: lists that `antctl get` prints.
//!
//! The controller tells what it computed for the whole cluster, an agent what it was given for its node.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// `GET`, optionally `?table=&pod=&policy=`: a list of [`OvsFlow`]. At an agent.
pub const OVS_FLOWS_PATH: &str = "/v1/ovsflows";
/// `GET`: a list of [`PolicyInfo`]. At either.
pub const NETWORK_POLICIES_PATH: &str = "/v1/networkpolicies";
/// `GET`: a list of [`GroupInfo`], those that policies apply to. At either.
pub const APPLIED_TO_GROUPS_PATH: &str = "/v1/appliedtogroups";
/// `GET`: a list of [`GroupInfo`], those that rules have as peers. At either.
pub const ADDRESS_GROUPS_PATH: &str = "/v1/addressgroups";

/// A flow: wanted, in the switch, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OvsFlow {
    /// The table's name.
    pub table: String,
    /// The priority.
    pub priority: u16,
    /// How many packets the switch has counted; none when it does not have the flow.
    pub packets: Option<u64>,
    /// How many bytes.
    pub bytes: Option<u64>,
    /// What it matches, with names.
    pub matches: String,
    /// What it does, with names.
    pub actions: String,
    /// What it comes from, sorted: policy rules, isolating policies, pods, nodes, or `base` for what is always there. Empty: nothing
    /// wants it, and it is removed.
    pub from: Vec<String>,
}

/// A policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PolicyInfo {
    /// `namespace/name`.
    pub name: String,
    /// Kind, namespace and name: `NetworkPolicy/shop/web`.
    pub source: String,
    /// The groups it applies to.
    pub applied_to: Vec<String>,
    /// The directions in which it isolates.
    pub isolates: Vec<String>,
    /// What it allows.
    pub rules: Vec<RuleInfo>,
}

/// A rule of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RuleInfo {
    /// Its place in the policy: `ingress[0]`.
    pub name: String,
    /// `ingress` or `egress`.
    pub direction: String,
    /// The groups at the other end.
    pub peers: Vec<String>,
    /// The address ranges at the other end.
    pub blocks: Vec<String>,
    /// Anyone may be at the other end.
    pub anyone: bool,
    /// Protocols and ports; empty: all.
    pub services: Vec<String>,
}

/// A group of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GroupInfo {
    /// The hash of its selector, in hexadecimal.
    pub name: String,
    /// The selector; the controller knows it, agents do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Its pods; at an agent those that the agent needs to know.
    pub pods: Vec<GroupMember>,
    /// The policies that name it.
    pub policies: Vec<String>,
}

/// A pod of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GroupMember {
    /// `namespace/name`.
    pub pod: String,
    /// Its node.
    pub node: String,
    /// Its addresses, as far as they are known.
    pub addresses: Vec<IpAddr>,
}

/// How the controller is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ControllerInfo {
    /// `ferrant-controller`.
    pub program: String,
    /// Its version.
    pub release: String,
    /// The version up to which everything in the source is known.
    pub version: u64,
    /// Everything in the source is known.
    pub in_sync: bool,
    /// That has been so since it started: nothing is published before.
    pub has_been_in_sync: bool,
    /// How much is wrong with the source.
    pub errors: usize,
    /// What there is in the source, by kind.
    pub objects: std::collections::BTreeMap<String, usize>,
    /// What was planned, by kind.
    pub plan: std::collections::BTreeMap<String, usize>,
    /// Groups that policies apply to.
    pub applied_to_groups: usize,
    /// Groups at the other end of rules.
    pub address_groups: usize,
    /// The agents that have a stream.
    pub agents: std::collections::BTreeMap<String, SessionInfo>,
}

/// An agent, as the controller sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionInfo {
    /// Whether it takes its frames from this controller; otherwise it only listens.
    #[serde(default)]
    pub takes: bool,
    /// The last frame it was sent.
    pub sent_frame: u64,
    /// The last frame it acknowledged.
    pub acknowledged_frame: u64,
    /// How many objects it has yet to be told of.
    pub pending_changes: usize,
    /// The last frame its switch obeys.
    pub realised_frame: u64,
    /// The version of the source in that.
    pub realised_version: u64,
    /// How many objects it could not realise.
    pub failures: usize,
}

/// The policy that a rule's or an isolation's name speaks of, and the rule's place in it:
/// `NetworkPolicy/shop/web ingress[0]` is `NetworkPolicy/shop/web` and `ingress[0]`.
pub fn policy_and_rule(name: &str) -> (&str, Option<&str>) {
    match name.split_once(' ') {
        Some((policy, rule)) => (policy, Some(rule)),
        None => (name, None),
    }
}

/// Whether a policy's, rule's or isolation's name is of the policy `wanted`: `namespace/name`, or a name in any namespace.
pub fn is_of_policy(name: &str, wanted: &str) -> bool {
    let (policy, _) = policy_and_rule(name);
    let Some((_, policy)) = policy.split_once('/') else { return false };
    policy == wanted || (!wanted.contains('/') && policy.rsplit('/').next() == Some(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_found_by_its_name_with_and_without_namespace() {
        let rule = "NetworkPolicy/shop/web ingress[0]";
        assert_eq!(policy_and_rule(rule), ("NetworkPolicy/shop/web", Some("ingress[0]")));
        for (wanted, found) in [("shop/web", true), ("web", true), ("we", false), ("shop", false), ("bar/web", false)] {
            assert_eq!(is_of_policy(rule, wanted), found, "{wanted}");
            assert_eq!(is_of_policy("NetworkPolicy/shop/web", wanted), found, "{wanted}");
        }
        assert!(!is_of_policy("base", "base"));
    }
}
