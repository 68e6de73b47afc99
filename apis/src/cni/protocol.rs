//! What plugin and agent say to each other: HTTP/1.1 with JSON bodies over the agent's Unix socket.
//!
//! ADD is `POST /v1/add` (the agent plans and reserves), the pod's half by the plugin, `POST /v1/confirm` (the agent does the
//! node's half and answers when the pod can talk), both on one connection: when it ends before the confirmation is answered, the
//! plugin is gone and the agent takes back what it had begun. DEL, and an ADD that failed on the way, is `POST /v1/del`. CHECK, GC
//! and STATUS are one request each. An error is any other status than 200, with a [`CniError`](super::CniError) as its body.
//!
//! A DEL that finds no agent leaves a [`DelRequest`] as JSON in a file ([`detached_file`]) of the folder [`DETACHED_FOLDER`] beside
//! the socket; the agent does at its start what it says, and removes it.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::MacAddress;

/// Where an [`AddRequest`] goes; answers a [`Plan`].
pub const ADD_PATH: &str = "/v1/add";
/// Where a [`ConfirmRequest`] goes; answers an [`AddResult`](super::AddResult).
pub const CONFIRM_PATH: &str = "/v1/confirm";
/// Where a [`DelRequest`] goes; answers `{}`.
pub const DELETE_PATH: &str = "/v1/del";
/// Where a [`CheckRequest`] goes; answers the [`Plan`] of what was made.
pub const CHECK_PATH: &str = "/v1/check";
/// Where a [`CollectRequest`] goes; answers `{}`.
pub const COLLECT_PATH: &str = "/v1/gc";
/// Where `{}` goes; answers `{}` when an ADD can be done.
pub const STATUS_PATH: &str = "/v1/status";
/// The folder of what was detached without an agent, beside the agent's socket.
pub const DETACHED_FOLDER: &str = "detached";

/// The name of the file of one detached interface; none when it would be longer than a file's name may be (255 bytes).
pub fn detached_file(container_id: &str, interface: &str) -> Option<String> {
    // Neither holds a slash, and `=` is in no container id: two attachments never have one name.
    Some(format!("{container_id}={interface}")).filter(|name| name.len() <= 250)
}

/// A pod's interface is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddRequest {
    /// The runtime's name of the sandbox; with `interface` the key of the attachment.
    pub container_id: String,
    /// The interface's name in the pod.
    pub interface: String,
    /// The file of the pod's network namespace.
    pub network_namespace: PathBuf,
    /// The name of the network in its configuration.
    #[serde(default)]
    pub network: String,
    /// The pod's namespace.
    pub pod_namespace: String,
    /// The pod's name.
    pub pod_name: String,
    /// The pod's UID, where the runtime says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// Addresses the pod would like to have; given when they are this node's and free.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requested_addresses: Vec<IpAddr>,
    /// The link-layer address the pod would like to have; given when no other pod has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_mac: Option<MacAddress>,
}

/// What the plugin has to make in the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the veth's end on the node, 1 to 15 bytes. It stays down: the agent brings it up when it is guarded.
    pub host_interface: String,
    /// Link-layer address of the pod's end.
    pub mac: MacAddress,
    /// MTU of both ends in bytes.
    pub mtu: u32,
    /// At most one a family and pod CIDR.
    pub addresses: Vec<PlannedAddress>,
    /// Routes beyond the on-link one to each gateway, which `addresses` imply.
    pub routes: Vec<PlannedRoute>,
    /// False where the datapath cannot take packets with a partial checksum (the userspace datapath's conntrack calls them
    /// invalid): then the plugin turns transmit checksum offload off on the pod's end.
    pub transmit_checksum_offload: bool,
}

/// An address for the pod, with its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedAddress {
    /// A host prefix: /32 or /128.
    pub address: IpNet,
    /// The gateway of its family: gets an on-link route and a permanent neighbour.
    pub gateway: IpAddr,
    /// The gateway's link-layer address.
    pub gateway_mac: MacAddress,
}

/// A route in the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRoute {
    /// Its destination; a default route has prefix length 0.
    pub destination: IpNet,
    /// One of the gateways.
    pub gateway: IpAddr,
}

/// The pod's half is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmRequest {
    /// As in [`AddRequest`].
    pub container_id: String,
    /// As in [`AddRequest`].
    pub interface: String,
}

/// The pod's interface is gone, or never came to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelRequest {
    /// As in [`AddRequest`].
    pub container_id: String,
    /// As in [`AddRequest`].
    pub interface: String,
}

/// Is an attachment as it was made, as far as the agent sees it?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRequest {
    /// As in [`AddRequest`].
    pub container_id: String,
    /// As in [`AddRequest`].
    pub interface: String,
}

/// Attachments of a network that are not valid any more are to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectRequest {
    /// The network's name; attachments of others are not touched.
    pub network: String,
    /// Those that are still valid; none: the runtime does not say, and nothing goes for its sake.
    pub valid: Option<Vec<AttachmentName>>,
}

/// What a runtime knows an attachment by (`cni.dev/valid-attachments`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AttachmentName {
    /// `CNI_CONTAINERID` of its ADD.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// `CNI_IFNAME` of its ADD.
    #[serde(rename = "ifname")]
    pub interface: String,
}
