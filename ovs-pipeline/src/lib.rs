//! The pipeline: intents to flows of one Open vSwitch bridge. Pure: no Kubernetes, clock, task or socket.
//!
//! # The way of a packet
//!
//! 1. [`Table::Classifier`] tells where it came from; [`Table::SpoofGuard`] and [`Table::TunnelGuard`] that it speaks in its own name.
//! 2. [`Table::Conntrack`] finds its connection; [`Table::ConntrackState`] lets replies of admitted connections pass and stops what
//!    can not start one.
//! 3. (Reserved: a service's endpoint is chosen.)
//! 4. [`Table::SourceIdentity`] and [`Table::DestinationIdentity`] tell who sent it and who it is for.
//! 5. The egress tables say what egress policy wants; [`Table::EgressVerdict`] does it.
//! 6. [`Table::Routing`] finds the way out.
//! 7. The ingress tables say what ingress policy wants; [`Table::IngressVerdict`] does it.
//! 8. [`Table::Commit`] admits the connection, [`Table::Output`] sends the packet.
//!
//! Between 4 and 7 there is no recirculation, so one megaflow holds one version of the rules.
//!
//! Callers say what they want as [`Intent`]s and get [`Part`]s: flows, or clauses that flows of several intents share.

// Pure: what clippy.toml disallows is input and output.
#![deny(clippy::disallowed_methods)]

mod feature;
mod flow;
mod intent;
mod number;
mod ports;
pub mod register;
pub mod show;
pub mod table;

use std::net::IpAddr;

use ipnet::IpNet;

use flow::Sink;
pub use flow::{Effect, Part, Refusal};
pub use intent::*;
pub use number::{ConjunctionNumber, IdentityNumber, RuleNumber};
pub use table::{Miss, Table};

/// The link address that only routes of packets made by the node itself use.
pub const HOST_ORIGIN_MAC: [u8; 6] = [0x0a, 0xfe, 0, 0, 0, 1];
/// The link address that routes of packets the node forwards use.
pub const FORWARD_MAC: [u8; 6] = [0x0a, 0xfe, 0, 0, 0, 2];
/// The link address of packets between nodes; the receiving node routes by IP.
pub const TUNNEL_MAC: [u8; 6] = [0x0a, 0xfe, 0, 0, 0, 3];

/// The gateway's address in a pod range: its first.
pub fn gateway(range: IpNet) -> IpAddr {
    match range.network() {
        IpAddr::V4(network) => IpAddr::V4((u32::from(network) | 1).into()),
        IpAddr::V6(network) => IpAddr::V6((u128::from(network) | 1).into()),
    }
}

/// Whether policy is enforced. The other modes exist so that tests can ask whether they would notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PolicyMode {
    /// As written.
    #[default]
    Enforce,
    /// Every packet that reaches policy is allowed.
    AllowAll,
    /// Every packet that reaches policy is denied.
    DropAll,
}

/// Flows that depend on nothing but the datapath: misses, connection states, verdicts, admission.
///
/// # Errors
/// When a feature builds a flow that its table does not declare.
pub fn base_flows(datapath: Datapath, mode: PolicyMode, parts: &mut dyn FnMut(Part)) -> Result<(), Refusal> {
    let sink = &mut Sink { datapath, parts };
    for &table in Table::ALL {
        let builder = flow::Builder::new(table, 0, "nothing else matched");
        sink.put(match table.spec().miss {
            Miss::Drop => builder.end(),
            Miss::Goto(next) => builder.goto(next),
        })?;
    }
    feature::spoof_guard::base(sink)?;
    feature::conntrack::base(sink)?;
    feature::identity::base(sink)?;
    feature::posture::base(sink)?;
    feature::verdict::base(mode, sink)?;
    feature::routing::base(sink)?;
    feature::output::base(sink)
}

/// Every flow, or clause of a flow, that an intent wants.
///
/// # Errors
/// When a feature builds a flow that its table does not declare.
pub fn flows(intent: &Intent, node: &Node, parts: &mut dyn FnMut(Part)) -> Result<(), Refusal> {
    let sink = &mut Sink { datapath: node.datapath, parts };
    match intent {
        Intent::Node(node) => {
            feature::classification::node(node, sink)?;
            feature::neighbor::node(node, sink)?;
            feature::identity::node(node, sink)?;
            feature::routing::node(node, sink)
        }
        Intent::Peer(peer) => {
            feature::spoof_guard::peer(peer, sink)?;
            feature::identity::peer(peer, sink)?;
            feature::routing::peer(peer, node, sink)
        }
        Intent::Pod(pod) => {
            feature::classification::pod(pod, sink)?;
            feature::spoof_guard::pod(pod, sink)?;
            feature::identity::pod(pod, sink)?;
            feature::posture::pod(pod, sink)?;
            feature::routing::pod(pod, node, sink)
        }
        Intent::Address(address) => feature::identity::address(address, sink),
        Intent::Rule(rule) => feature::policy::rule(rule, sink),
        Intent::Isolation(isolation) => feature::posture::isolation(isolation, sink),
    }
}
