//! Who a packet is from and for: one flow an address and a direction that rules need.
//!
//! An address inside the cluster's pod ranges that is not mapped here is unknown, which no selector matches; addresses of nodes
//! and gateways are the node's; everything else is the world.

use openflow::Field;

use crate::flow::{Builder, Refusal, Side, Sink, identity_of};
use crate::intent::{Address, Node, Peer, Pod};
use crate::number::IdentityNumber;
use crate::register::{self, Source};
use crate::table::Table;

const BOTH: [Side; 2] = [Side::Source, Side::Destination];

fn table(side: Side) -> (Table, Table) {
    match side {
        Side::Source => (Table::SourceIdentity, Table::DestinationIdentity),
        Side::Destination => (Table::DestinationIdentity, Table::EgressTierRule),
    }
}

/// Longer ranges win over shorter ones, mapped addresses over ranges.
fn priority(net: ipnet::IpNet) -> u16 {
    100 + u16::from(net.prefix_len())
}
const MAPPED: u16 = 300;

pub(crate) fn base(sink: &mut Sink) -> Result<(), Refusal> {
    sink.put(
        Builder::new(
            Table::SourceIdentity,
            390,
            "a pod that was known when the packet was tracked and is not any more",
        )
        .is(&register::SOURCE, Source::Pod as u128)
        .end(),
    )?;
    for side in BOTH {
        let (table, next) = table(side);
        sink.put(
            Builder::new(table, 10, "an address outside every pod range is the world")
                .set(identity_of(side), IdentityNumber::WORLD.0.into())
                .goto(next),
        )?;
    }
    Ok(())
}

pub(crate) fn node(node: &Node, sink: &mut Sink) -> Result<(), Refusal> {
    for side in BOTH {
        let (table, next) = table(side);
        for &range in &node.cluster_pod_cidrs {
            sink.put(
                Builder::new(
                    table,
                    priority(range),
                    "an address in a pod range that is not mapped here is unknown, not the world",
                )
                .net(side, range)
                .set(identity_of(side), IdentityNumber::UNKNOWN.0.into())
                .goto(next),
            )?;
        }
    }
    own(node.gateways.iter().chain(&node.addresses).copied(), sink)
}

pub(crate) fn peer(peer: &Peer, sink: &mut Sink) -> Result<(), Refusal> {
    let gateways = peer.pod_cidrs.iter().map(|&cidr| crate::gateway(cidr));
    own(peer.addresses.iter().copied().chain(gateways), sink)
}

/// Addresses of nodes and their gateways, which no selector matches.
fn own(addresses: impl Iterator<Item = std::net::IpAddr>, sink: &mut Sink) -> Result<(), Refusal> {
    for address in addresses {
        for side in BOTH {
            let (table, next) = table(side);
            sink.put(
                Builder::new(table, 290, "a node's or gateway's address: no selector matches it")
                    .address(side, address)
                    .set(identity_of(side), IdentityNumber::NODE.0.into())
                    .goto(next),
            )?;
        }
    }
    Ok(())
}

pub(crate) fn pod(pod: &Pod, sink: &mut Sink) -> Result<(), Refusal> {
    let identity = pod.identity.unwrap_or(IdentityNumber::UNKNOWN);
    // Not where the packet enters: between there and policy it is tracked, and what was written before might be of other rules.
    sink.put(
        Builder::new(Table::SourceIdentity, 400, "a pod of this node is known by its port")
            .field(Field::InPort, pod.port)
            .set(&register::EGRESS_PORT_RULES, pod.egress_port_rules.into())
            .set(&register::SOURCE_IDENTITY, identity.0.into())
            .goto(Table::DestinationIdentity),
    )?;
    for &address in &pod.addresses {
        map(Side::Destination, address, identity, "a pod of this node", sink)?;
    }
    Ok(())
}

pub(crate) fn address(wanted: &Address, sink: &mut Sink) -> Result<(), Refusal> {
    if wanted.source {
        map(Side::Source, wanted.address, wanted.identity, "an endpoint elsewhere that ingress rules here name", sink)?;
    }
    if wanted.destination {
        map(
            Side::Destination,
            wanted.address,
            wanted.identity,
            "an endpoint elsewhere that egress rules here name",
            sink,
        )?;
    }
    Ok(())
}

fn map(
    side: Side,
    address: std::net::IpAddr,
    identity: IdentityNumber,
    why: &'static str,
    sink: &mut Sink,
) -> Result<(), Refusal> {
    let (table, next) = table(side);
    sink.put(
        Builder::new(table, MAPPED, why).address(side, address).set(identity_of(side), identity.0.into()).goto(next),
    )
}
