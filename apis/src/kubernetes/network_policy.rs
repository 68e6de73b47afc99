//! `networking.k8s.io/v1` NetworkPolicy.

use serde::{Deserialize, Serialize};

use super::{IntOrString, LabelSelector, ObjectMeta};

/// Which traffic is allowed to and from a set of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicy {
    /// Name and namespace; the policy selects pods of its own namespace only.
    pub metadata: ObjectMeta,
    /// What it says.
    pub spec: NetworkPolicySpec,
}

/// What a policy says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicySpec {
    /// The pods of the policy's namespace that it isolates. Missing means empty: all of them.
    pub pod_selector: Option<LabelSelector>,
    /// Each allows more; none allows nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<NetworkPolicyIngressRule>,
    /// Each allows more; none allows nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<NetworkPolicyEgressRule>,
    /// `Ingress`, `Egress`. Empty or missing means `Ingress`, and `Egress` too where `egress` has a rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy_types: Vec<String>,
}

/// Traffic to the selected pods that is allowed: from any of `from`, to any of `ports`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicyIngressRule {
    /// Empty or missing: all protocols and ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<NetworkPolicyPort>,
    /// Empty or missing: all sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<NetworkPolicyPeer>,
}

/// Traffic from the selected pods that is allowed: to any of `to`, to any of `ports`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicyEgressRule {
    /// Empty or missing: all protocols and ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<NetworkPolicyPort>,
    /// Empty or missing: all destinations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<NetworkPolicyPeer>,
}

/// A protocol with all ports, one port, a range, or a named port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicyPort {
    /// `TCP`, `UDP` or `SCTP`; missing means TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Missing means all ports of the protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<IntOrString>,
    /// The last port of a range that starts at a numeric `port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_port: Option<i32>,
}

/// Who may be talked to: either `ipBlock`, or one or both selectors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicyPeer {
    /// Pods: of the policy's namespace when alone, else of the namespaces that `namespace_selector` selects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// All pods of these namespaces when alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// A range of addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_block: Option<IpBlock>,
}

/// A range of addresses less some parts of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IpBlock {
    /// `192.0.2.0/24` or `2001:db8::/64`.
    pub cidr: String,
    /// Parts of `cidr` that are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}
