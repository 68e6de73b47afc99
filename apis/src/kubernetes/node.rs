//! `v1` Node.

use serde::{Deserialize, Serialize};

use super::ObjectMeta;

/// A node: where pods run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// The addresses its pods may have.
    pub spec: NodeSpec,
    /// The addresses it has itself.
    pub status: NodeStatus,
}

/// The ranges from which a node's pods take their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// The first of `pod_cidrs`, from before dual stack.
    #[serde(rename = "podCIDR", skip_serializing_if = "Option::is_none")]
    pub pod_cidr: Option<String>,
    /// At most one range a family. When set, its first entry equals `pod_cidr`.
    #[serde(rename = "podCIDRs", skip_serializing_if = "Vec::is_empty")]
    pub pod_cidrs: Vec<String>,
}

/// What a node reports of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// Addresses of all types, in the order of the manifest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<NodeAddress>,
}

/// One address of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeAddress {
    /// `InternalIP`, `ExternalIP`, `Hostname`, `InternalDNS` or `ExternalDNS`.
    #[serde(rename = "type")]
    pub kind: String,
    /// An IP address or a name, as `kind` says.
    pub address: String,
}

impl Node {
    /// Its pod ranges as written: `podCIDRs`, or `podCIDR` where only that is set.
    pub fn pod_cidrs(&self) -> impl Iterator<Item = &str> {
        let single = self.spec.pod_cidr.as_deref().filter(|cidr| !cidr.is_empty() && self.spec.pod_cidrs.is_empty());
        self.spec.pod_cidrs.iter().map(String::as_str).chain(single)
    }

    /// Its addresses of one type (`InternalIP`, …) as written.
    pub fn addresses_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        self.status.addresses.iter().filter(move |address| address.kind == kind).map(|address| address.address.as_str())
    }
}
