//! Kubernetes objects as cluster manifests write them, cut down to what a network needs.
//!
//! These are raw objects: every field keeps the meaning it has in the manifest, nothing is resolved. Unknown fields are
//! ignored, as the API server's own readers do. Where a missing and an empty field mean different things (the selectors of a
//! NetworkPolicy peer) the field is an `Option`; where the API gives both the same meaning (lists, label maps) it is not.
//!
//! Text becomes an [`Object`] in [`crate::yaml`]; [`validate`] then says what the API server would refuse. Both
//! are pure.
//!
//! Source: the Kubernetes API reference, `v1` and `networking.k8s.io/v1`.

mod defaults;
mod meta;
mod namespace;
mod network_policy;
mod node;
mod object;
mod pod;
pub mod validate;

pub use meta::{IntOrString, LabelSelector, LabelSelectorRequirement, ObjectMeta};
pub use namespace::Namespace;
pub use network_policy::{
    IpBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
pub use node::{Node, NodeAddress, NodeSpec, NodeStatus};
pub use object::Object;
pub use pod::{Container, ContainerPort, Pod, PodIp, PodPhase, PodSpec, PodStatus};
