//! The node itself and the other nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ovs_pipeline::{Intent, Node, Peer};

use super::{Emit, IntentKey, Quarantine};
use crate::state::{Changed, State, object};

/// This node, once the controller has described it and the switch has its ports.
pub fn plan(state: &State) -> Option<Node> {
    let own = state.own()?;
    let tunnel_port = state.ports.tunnel?;
    let (gateway_port, gateway_mac) = state.ports.gateway?;
    let mut cluster_pod_cidrs: Vec<_> =
        state.upstream.nodes.values().flat_map(|node| node.pod_cidrs.iter().copied()).collect();
    cluster_pod_cidrs.sort_unstable();
    cluster_pod_cidrs.dedup();
    Some(Node {
        datapath: state.datapath,
        tunnel_port,
        gateway_port,
        gateway_mac,
        gateways: own.pod_cidrs.iter().map(|range| ovs_pipeline::gateway(*range)).collect(),
        addresses: own.addresses.clone(),
        pod_cidrs: own.pod_cidrs.clone(),
        cluster_pod_cidrs,
    })
}

/// Another node, when the two have an address family in common.
fn peer(own: &object::Node, node: &object::Node) -> Option<Peer> {
    Some(Peer {
        tunnel_endpoint: tunnel_endpoint(own, node)?,
        pod_cidrs: node.pod_cidrs.clone(),
        addresses: node.addresses.clone(),
    })
}

/// Where packets for `node` are sent: its first address of the first family that both have, in this node's order.
pub fn tunnel_endpoint(own: &object::Node, node: &object::Node) -> Option<IpAddr> {
    own.addresses
        .iter()
        .find_map(|mine| node.addresses.iter().find(|theirs| theirs.is_ipv4() == mine.is_ipv4()).copied())
}

/// Where packets for the other nodes are sent.
pub fn tunnel_endpoints(state: &State) -> BTreeSet<IpAddr> {
    let others = state.upstream.nodes.values().filter(|node| node.name != state.node);
    state.own().map(|own| others.filter_map(|node| tunnel_endpoint(own, node)).collect()).unwrap_or_default()
}

/// Other nodes that came, went or changed.
pub(super) fn update_peers(
    peers: &mut BTreeMap<Box<str>, Peer>,
    state: &State,
    changed: &Changed,
    quarantine: &Quarantine,
    emit: &mut Emit<'_>,
) {
    let all = changed.everything || changed.nodes.contains(&state.node);
    let names: Vec<Box<str>> = if all {
        let known = peers.keys().chain(state.upstream.nodes.keys());
        known.cloned().collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    } else {
        changed.nodes.iter().cloned().collect()
    };
    for name in names.into_iter().filter(|name| *name != state.node) {
        let new = match (state.own(), state.upstream.nodes.get(&name)) {
            (Some(own), Some(node)) if !quarantine.holds(&IntentKey::Peer(name.clone())) => peer(own, node),
            _ => None,
        };
        let old = match &new {
            Some(new) => peers.insert(name, new.clone()),
            None => peers.remove(&name),
        };
        emit.replace(old.map(Intent::Peer), new.map(Intent::Peer));
    }
}
