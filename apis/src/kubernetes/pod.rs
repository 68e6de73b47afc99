//! `v1` Pod.

use serde::{Deserialize, Serialize};

use super::ObjectMeta;

/// A pod: what it may be selected by, where it runs, which ports it names and which addresses it has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// Name, namespace and labels.
    pub metadata: ObjectMeta,
    /// What the pod is to be.
    pub spec: PodSpec,
    /// What has become of it.
    pub status: PodStatus,
}

/// The part of a pod's `spec` that a network needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The node it runs on; none while it is not scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// It has no network of its own: its addresses are its node's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub host_network: bool,
    /// None means `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Containers that run for the pod's whole life.
    pub containers: Vec<Container>,
    /// Containers that run before those; with `restartPolicy: Always` one is a sidecar and stays.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub init_containers: Vec<Container>,
}

/// A container, of which a network needs the ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Unique in the pod.
    pub name: String,
    /// Ports that it declares; a port that is not declared is open all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ContainerPort>,
    /// `Always` in an init container makes it a sidecar (KEP-753).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<String>,
}

/// A declared port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// The name that policies and services may use; unique within its container only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The port on the pod's address, 1–65535 when valid.
    pub container_port: i32,
    /// The port on the node's address, 1–65535 when valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_port: Option<i32>,
    /// The node's address that `host_port` is bound to; none means all.
    #[serde(rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
    /// `TCP`, `UDP` or `SCTP`; none means TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

/// What has become of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// None in a manifest that a person wrote: read as pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<PodPhase>,
    /// The first of `pod_ips`, from before dual stack.
    #[serde(rename = "podIP", skip_serializing_if = "Option::is_none")]
    pub pod_ip: Option<String>,
    /// At most one address a family.
    #[serde(rename = "podIPs", skip_serializing_if = "Vec::is_empty")]
    pub pod_ips: Vec<PodIp>,
}

/// One address of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodIp {
    /// An IPv4 or IPv6 address.
    pub ip: String,
}

/// The phase of a pod's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub enum PodPhase {
    /// Accepted, not yet running.
    Pending,
    /// At least one container runs.
    Running,
    /// Every container ended well; the pod is terminated.
    Succeeded,
    /// Every container ended, one of them badly; the pod is terminated.
    Failed,
    /// Its node does not answer; also every phase that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Pod {
    /// Its addresses as written: `podIPs`, or `podIP` where only that is set.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let single = self.status.pod_ip.as_deref().filter(|ip| !ip.is_empty() && self.status.pod_ips.is_empty());
        self.status.pod_ips.iter().map(|entry| entry.ip.as_str()).chain(single)
    }

    /// The containers whose ports are open while the pod runs: all of `containers`, and sidecars among `initContainers`.
    pub fn serving_containers(&self) -> impl Iterator<Item = &Container> {
        let sidecars =
            self.spec.init_containers.iter().filter(|container| container.restart_policy.as_deref() == Some("Always"));
        self.spec.containers.iter().chain(sidecars)
    }

    /// Whether it has ended for good: it sends and receives nothing, and its address may be given to another.
    pub fn is_terminated(&self) -> bool {
        matches!(self.status.phase, Some(PodPhase::Succeeded | PodPhase::Failed))
    }
}
