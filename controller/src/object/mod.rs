//! What the controller thinks in: cluster objects that are known to be valid, in canonical form.
//!
//! `watch` makes them of whatever its source has; nothing behind it sees an outside type again. Two objects that mean the same
//! are equal here (selectors reduced to one test a key, ports sorted and merged, ranges of addresses without host bits), so
//! that equality, ordering and hashes can be relied on. No lookups and no decisions: that is `plan`.

mod block;
mod labels;
mod name;
mod network_policy;
mod node;
mod pod;
mod selector;
mod service;
mod text;

pub use block::IpBlock;
pub use labels::Labels;
pub use name::{NodeName, ObjectKey, PodKey, PolicyKey};
pub use network_policy::{NetworkPolicy, PeerSelector, Peers, PolicyRule};
pub use node::{Node, Prefixes};
pub use pod::{NamedPort, Pod};
pub use selector::{LabelSelector, LabelTest, Operator};
pub use service::{Port, PortRange, Protocol, Services};
pub use text::{Pool, Text};

/// A namespace by its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: Text,
    /// Its labels, `kubernetes.io/metadata.name` included.
    pub labels: Labels,
}

/// Any object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A Namespace.
    Namespace(Namespace),
    /// A Node.
    Node(Node),
    /// A Pod.
    Pod(Pod),
    /// A NetworkPolicy.
    NetworkPolicy(NetworkPolicy),
}

impl Object {
    /// Its kind and name.
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Namespace(namespace) => ObjectKey::Namespace(namespace.name.clone()),
            Self::Node(node) => ObjectKey::Node(node.name.clone()),
            Self::Pod(pod) => ObjectKey::Pod(pod.key.clone()),
            Self::NetworkPolicy(policy) => ObjectKey::NetworkPolicy(policy.key.clone()),
        }
    }
}
