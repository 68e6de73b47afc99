//! Everything that can wake the agent. Nothing else does.

use std::time::Instant;

use apis::query::TraceRequest;
use openflow::PortStatus;
use openflow::multipart::FlowUpdate;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::apply::ports::PortOutcome;
use crate::ovs::openflow::Connection;
use crate::serve::cni::CniRequest;
use crate::state::Frame;
use crate::watch::ovs::{Drifted, Facts};

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// State is taken from another controller, or from none any more.
    Controller {
        /// Which, as it was configured.
        taken_from: Option<String>,
    },
    /// The controller said this.
    Frame(Box<Frame>, Decoded),
    /// Every node that maps pods of this node has acknowledged this node's reports up to this one: addresses that they freed
    /// may be used again.
    Released {
        /// The last report's sequence.
        sequence: u64,
    },
    /// The database says this of the bridge now.
    Facts(Facts),
    /// Somebody else changed this; it is made as it was.
    Drift(Drifted, Vec<String>),
    /// Somebody changed something of the host's links, addresses, routes, rules or nft; it may have been the agent itself.
    HostTouched,
    /// The OpenFlow connection: a new one each time, with nothing known of what the switch has.
    Switch(SwitchEvent),
    /// The CNI plugin asks.
    Cni(CniRequest),
    /// What became of work on ports.
    Ports(PortOutcome),
    /// The host's links, routes and NAT are as planned, with this MTU for pods; or why not.
    Host(Result<u32, String>),
    /// Somebody asks; the answer is JSON.
    Query(Query, oneshot::Sender<Value>),
    /// It is time to look again at what waits and at what failed.
    Tick,
}

/// When a frame came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Its first part was here.
    pub first: Instant,
    /// Its last object had been decoded.
    pub last: Instant,
}

/// The OpenFlow connection came or went.
#[derive(Debug)]
pub enum SwitchEvent {
    /// It stands.
    Connected(Connection),
    /// It is gone.
    Disconnected,
    /// A port came, went or changed.
    Port(PortStatus),
    /// Flows changed, and not by this connection.
    Flows(Vec<FlowUpdate>),
    /// More happened than was told: what the switch has is to be read again.
    Missed,
}

/// A question over the agent's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Who and how far.
    Info,
    /// What the switch obeys.
    Realised,
    /// The attached pods.
    Pods,
    /// The wanted flows, narrowed down.
    Flows {
        /// To a table, by name.
        table: Option<String>,
        /// To flows of a pod's own intent, `namespace/name`.
        pod: Option<String>,
        /// To flows of rules and isolations of a policy, by a part of its name.
        policy: Option<String>,
    },
    /// The wanted flows with what the switch has counted, narrowed down.
    OvsFlows(Narrowed),
    /// Policies that select a pod here.
    Policies,
    /// The groups that they apply to.
    AppliedToGroups,
    /// The groups at the other end of their rules.
    AddressGroups,
    /// The wanted flows as `ovs-ofctl` writes them.
    OpenFlow,
    /// What a rule's number stands for.
    Names(u32),
    /// How a packet would enter the switch.
    Packet(TraceRequest),
    /// Plans all anew and compares.
    Recompute,
    /// Fills in the gauges of the metrics; there is no answer.
    Measure,
}

/// Which flows are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowed {
    /// Those of a table, by name.
    pub table: Option<String>,
    /// Those about a pod, `namespace/name`.
    pub pod: Option<String>,
    /// Those of a policy, `namespace/name` or a name in any namespace.
    pub policy: Option<String>,
}

impl From<CniRequest> for Event {
    fn from(request: CniRequest) -> Self {
        Self::Cni(request)
    }
}
