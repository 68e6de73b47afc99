//! The way out: everything is routed, also between two pods of one node.
//!
//! Longer prefixes win by priority. A packet from the tunnel never goes back into it: the switch sends nothing out of the port
//! that it came in by.

use std::net::IpAddr;

use ipnet::IpNet;
use openflow::{Action, Field};

use crate::TUNNEL_MAC;
use crate::flow::{Builder, IP_FAMILIES, Refusal, Side, Sink};
use crate::intent::{Node, Peer, Pod};
use crate::register::{self, Destination, Source};
use crate::table::Table;

/// Priorities: nowhere (multicast), then routes by prefix length, then pod ranges without a route, then the default.
const NOWHERE: u16 = 2000;
const ROUTE: u16 = 1000;
const RANGE: u16 = 500;
const DEFAULT: u16 = 10;

fn route(net: IpNet) -> u16 {
    ROUTE + u16::from(net.prefix_len())
}

pub(crate) fn base(sink: &mut Sink) -> Result<(), Refusal> {
    let nowhere = [
        ("224.0.0.0/4", "multicast is not routed"),
        ("255.255.255.255/32", "broadcast is not routed"),
        ("ff00::/8", "multicast is not routed"),
        ("fe80::/10", "link-local addresses are not routed"),
    ];
    for (net, why) in nowhere {
        let net = net.parse().expect("the ranges above are valid");
        sink.put(Builder::new(Table::Routing, NOWHERE, why).net(Side::Destination, net).end())?;
    }
    Ok(())
}

pub(crate) fn node(node: &Node, sink: &mut Sink) -> Result<(), Refusal> {
    for &range in &node.cluster_pod_cidrs {
        sink.put(
            Builder::new(
                Table::Routing,
                RANGE + u16::from(range.prefix_len()),
                "a pod range, but no pod and no node to send to",
            )
            .net(Side::Destination, range)
            .end(),
        )?;
    }
    for &address in node.gateways.iter().chain(&node.addresses) {
        let builder =
            Builder::new(Table::Routing, route(address.into()), "the node itself").address(Side::Destination, address);
        sink.put(to_gateway(node, builder))?;
    }
    for family in IP_FAMILIES {
        let builder = Builder::new(Table::Routing, DEFAULT, "out of the cluster, through the node")
            .field(Field::EthType, family)
            .is(&register::SOURCE, Source::Pod as u128);
        sink.put(to_gateway(node, builder))?;
    }
    Ok(())
}

fn to_gateway(node: &Node, builder: Builder) -> Result<crate::flow::Part, Refusal> {
    builder
        .set(&register::DESTINATION, Destination::Gateway as u128)
        .set(&register::OUTPUT_PORT, node.gateway_port.into())
        .act(Action::set_field(Field::EthDst, node.gateway_mac))
        .goto(Table::EgressAddress)
}

pub(crate) fn peer(peer: &Peer, node: &Node, sink: &mut Sink) -> Result<(), Refusal> {
    for &range in &peer.pod_cidrs {
        let tunnel = match peer.tunnel_endpoint {
            IpAddr::V4(endpoint) => Action::set_field(Field::TunDst, endpoint),
            IpAddr::V6(endpoint) => Action::set_field(Field::TunIpv6Dst, endpoint),
        };
        sink.put(
            Builder::new(Table::Routing, route(range), "pods of another node, through the tunnel")
                .net(Side::Destination, range)
                .set(&register::DESTINATION, Destination::Tunnel as u128)
                .set(&register::OUTPUT_PORT, node.tunnel_port.into())
                .act(Action::set_field(Field::EthSrc, node.gateway_mac))
                .act(Action::set_field(Field::EthDst, TUNNEL_MAC))
                .act(tunnel)
                .act(Action::DecTtl)
                .goto(Table::EgressAddress),
        )?;
    }
    Ok(())
}

pub(crate) fn pod(pod: &Pod, node: &Node, sink: &mut Sink) -> Result<(), Refusal> {
    for &address in &pod.addresses {
        sink.put(
            Builder::new(Table::Routing, route(address.into()), "a pod of this node")
                .address(Side::Destination, address)
                .set(&register::DESTINATION, Destination::Pod as u128)
                .set(&register::INGRESS_PORT_RULES, pod.ingress_port_rules.into())
                .set(&register::OUTPUT_PORT, pod.port.into())
                .act(Action::set_field(Field::EthSrc, node.gateway_mac))
                .act(Action::set_field(Field::EthDst, pod.mac))
                .act(Action::DecTtl)
                .goto(Table::EgressAddress),
        )?;
    }
    Ok(())
}
