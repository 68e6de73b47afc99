//! What people and tools ask the agent over its socket (`agent.sock`, HTTP/1.1, JSON), and what it answers.
//!
//! Names, never numbers, with one exception: the number of a rule in `ct_label` and registers is this node's own, and
//! [`NAMES_PATH`] turns it into names.

mod listing;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use listing::{
    ADDRESS_GROUPS_PATH, APPLIED_TO_GROUPS_PATH, ControllerInfo, GroupInfo, GroupMember, NETWORK_POLICIES_PATH,
    OVS_FLOWS_PATH, OvsFlow, PolicyInfo, RuleInfo, SessionInfo, is_of_policy, policy_and_rule,
};

/// `GET`: [`AgentInfo`].
pub const INFO_PATH: &str = "/v1/info";
/// `GET`: [`AgentRealised`].
pub const REALISED_PATH: &str = "/v1/realised";
/// `GET`: a list of [`PodInfo`].
pub const PODS_PATH: &str = "/v1/pods";
/// `GET`, optionally `?table=&pod=&policy=`: the flows that are wanted, a line each, with names.
pub const FLOWS_PATH: &str = "/v1/flows";
/// `GET`: the flows that are wanted, a line each, as `ovs-ofctl add-flow` takes them; with numbers.
pub const OPENFLOW_PATH: &str = "/v1/flows/openflow";
/// `GET ?rule=N`: [`Names`].
pub const NAMES_PATH: &str = "/v1/names";
/// `POST` a [`TraceRequest`]: [`TraceAnswer`].
pub const TRACE_PATH: &str = "/v1/trace";
/// `POST`: plans all anew and answers [`Differences`].
pub const RECOMPUTE_PATH: &str = "/v1/recompute";

/// Who the agent is and how far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentInfo {
    /// `ferrant-agent`.
    pub program: String,
    /// Its node.
    pub node: String,
    /// Its version.
    pub version: String,
    /// Drawn anew at each start, in hexadecimal; orders what the node reports, with `sequence`.
    pub boot: String,
    /// The sequence of the last pod report it sent.
    pub sequence: u64,
    /// The controller it takes state from answers.
    pub controller_connected: bool,
    /// Which that is, as the agent was told it (`--controller`).
    pub controller: Option<String>,
    /// The last complete frame, if any.
    pub frame: Option<u64>,
    /// The OpenFlow connection is there.
    pub switch_connected: bool,
    /// Counts the OpenFlow connections since the agent started.
    #[serde(default)]
    pub switch_connection: u64,
    /// The switch has, and obeys, all that is wanted.
    #[serde(default)]
    pub switch_settled: bool,
    /// The bridge.
    pub bridge: String,
    /// `system` or `netdev`.
    pub datapath: String,
    /// Flows that are wanted.
    pub flows: usize,
    /// Those among them that are clauses of conjunctions.
    pub conjunctive_flows: usize,
    /// Attached pods.
    pub pods: usize,
    /// What the node's pods' addresses are taken from.
    pub node_subnets: Vec<IpNet>,
    /// Policies that select a pod here.
    pub network_policies: usize,
    /// Groups that they apply to.
    pub applied_to_groups: usize,
    /// Groups at the other end of their rules.
    pub address_groups: usize,
    /// Addresses that pods have, or that are kept for pods whose interface is being made.
    #[serde(default)]
    pub addresses: usize,
    /// The ledger's epoch.
    pub epoch: u8,
    /// What somebody else changed of the switch or the host and was made as it was: how much of what kind (flow, group, meter,
    /// port, bridge, host) since the agent started.
    #[serde(default)]
    pub drift: BTreeMap<String, u64>,
    /// The most memory the process ever had resident, in KiB (`VmHWM`, proc(5)).
    pub peak_memory_kib: u64,
}

/// What the switch obeys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentRealised {
    /// The frame; none while no frame has been realised.
    pub frame: Option<u64>,
    /// The version of each kind in the source that the frame was computed from.
    pub version: BTreeMap<String, u64>,
    /// What could not be realised.
    pub failures: Vec<Failure>,
    /// How long the last change took.
    pub timing: Timing,
}

/// How long the last frame took that changed something, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// From the arrival of the frame's first part to its last object being decoded.
    #[serde(default)]
    pub decode: f64,
    /// From the last decoded object to the plan being done.
    pub plan: f64,
    /// From the last decoded object to the last bundle being committed.
    pub committed: f64,
    /// From the last decoded object to the switch obeying.
    pub realised: f64,
    /// How many flows changed.
    pub changes: usize,
}

/// Something that could not be realised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// By the name the source gave it.
    pub object: String,
    /// Why, and what to do.
    pub reason: String,
}

/// An attached pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodInfo {
    /// `namespace/name`.
    pub pod: String,
    /// The host end of its interface.
    pub interface: String,
    /// Its OpenFlow port; none until the switch has given one.
    pub port: Option<u32>,
    /// Its link address.
    pub mac: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The container runtime's id of its sandbox.
    pub container: String,
    /// The identity the controller gave it, in hexadecimal.
    pub identity: Option<String>,
    /// What holds for what it sends: `policed`, `open` or `closed`; none while it is not in the switch.
    pub egress: Option<String>,
    /// What holds for what it receives.
    pub ingress: Option<String>,
    /// Something that whoever looks at the pod should know: it was attached before the controller had said who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// What a rule's number stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// The number asked for.
    pub number: u32,
    /// The policy rules, the policies that isolate, or a fixed meaning such as `no isolation`; sorted.
    pub names: Vec<String>,
}

/// A packet to follow through the switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRequest {
    /// Where it enters.
    pub source: TraceSource,
    /// Its source address; a pod's own when none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<IpAddr>,
    /// Its destination address.
    pub destination_address: IpAddr,
    /// `TCP`, `UDP`, `SCTP` or `ICMP`.
    pub protocol: String,
    /// 40000 when none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// For protocols with ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
    /// For ICMP; echo request when none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// What connection tracking says of it: `new` (when none is given), `est` or `rpl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ct: Option<String>,
}

/// Where a traced packet enters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceSource {
    /// From a pod here, `namespace/name`.
    Pod(String),
    /// From the node itself (its own packet, not a forwarded one) when `true`; forwarded by the node when `false`.
    Gateway(bool),
    /// From another node through the tunnel, by its name.
    Tunnel(String),
}

/// What became of a traced packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceAnswer {
    /// `Delivered` (to a pod here), `ToTunnel`, `ToGateway` or `Dropped`.
    pub outcome: String,
    /// The table that dropped it, or that it left from.
    pub table: String,
    /// The OpenFlow port it left by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    /// The pod it was delivered to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Where the tunnel ends that it left by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_destination: Option<IpAddr>,
    /// What decided in egress.
    pub egress: Names,
    /// What decided in ingress.
    pub ingress: Names,
    /// What the switch said, as it said it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// What a full recompute found to be different from what was planned step by step; always empty unless there is a bug.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differences {
    /// A line each.
    pub differences: Vec<String>,
}

/// A request that was not understood or could not be answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryError {
    /// What is wrong and what to do.
    pub error: String,
}
