//! The words Ferrant's components share: Kubernetes objects as they are read, the controller-agent protocol, what the CNI
//! plugin and antctl say to the daemons. Plain data: no I/O, no decisions.

pub mod boot;
pub mod cni;
pub mod digest;
pub mod kubernetes;
#[cfg(fuzzing)]
pub mod planted;
pub mod query;
pub mod yaml;

/// The controller-agent protocol, generated from `proto/stream.proto`.
#[allow(missing_docs, clippy::all, clippy::unwrap_used, clippy::too_many_lines)]
pub mod stream {
    tonic::include_proto!("ferrant.v1");
}
