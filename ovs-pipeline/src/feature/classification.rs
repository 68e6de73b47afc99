//! Where a packet came from: told by the port it entered, and for the node's own packets by a link address that only the
//! node's own routes use.
//!
//! A pod can write any link address, so host origin needs the gateway's port as well.

use openflow::Field;

use crate::HOST_ORIGIN_MAC;
use crate::flow::{Builder, Refusal, Sink};
use crate::intent::{Node, Pod};
use crate::register::{self, Source};
use crate::table::Table;

pub(crate) fn node(node: &Node, sink: &mut Sink) -> Result<(), Refusal> {
    sink.put(
        Builder::new(Table::Classifier, 100, "what other nodes send comes through the tunnel")
            .field(Field::InPort, node.tunnel_port)
            .set(&register::SOURCE, Source::Tunnel as u128)
            .goto(Table::TunnelGuard),
    )?;
    sink.put(
        Builder::new(
            Table::Classifier,
            110,
            "what the node itself sends, told by a link address that only its own routes use",
        )
        .field(Field::InPort, node.gateway_port)
        .field(Field::EthDst, HOST_ORIGIN_MAC)
        .set(&register::SOURCE, Source::Gateway as u128)
        .set(&register::HOST_ORIGIN, 1)
        .goto(Table::Conntrack),
    )?;
    sink.put(
        Builder::new(Table::Classifier, 100, "what the node forwards into the pod network")
            .field(Field::InPort, node.gateway_port)
            .set(&register::SOURCE, Source::Gateway as u128)
            .goto(Table::Conntrack),
    )
}

pub(crate) fn pod(pod: &Pod, sink: &mut Sink) -> Result<(), Refusal> {
    sink.put(
        Builder::new(
            Table::Classifier,
            100,
            "a pod of this node; who it is, is told after tracking, in one pass with policy",
        )
        .field(Field::InPort, pod.port)
        .set(&register::SOURCE, Source::Pod as u128)
        .goto(Table::SpoofGuard),
    )
}
