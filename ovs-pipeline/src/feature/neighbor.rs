//! The gateway's link address: the switch answers for it, so pods never see the node's own ARP or neighbor cache.

use std::net::IpAddr;

use openflow::{Action, Field, PortNumber, Value};

use super::spoof_guard::{ICMPV6, NEIGHBOR_ADVERTISEMENT, NEIGHBOR_SOLICITATION};
use crate::flow::{ARP, Builder, IPV6, Refusal, Sink};
use crate::intent::{Datapath, Node};
use crate::table::Table;

pub(crate) fn node(node: &Node, sink: &mut Sink) -> Result<(), Refusal> {
    for gateway in &node.gateways {
        match gateway {
            IpAddr::V4(address) => {
                let mut builder = Builder::new(Table::NeighborResponder, 100, "ARP for the gateway (RFC 826)")
                    .field(Field::EthType, ARP)
                    .field(Field::ArpOp, 1u16)
                    .field(Field::ArpTpa, *address);
                for action in arp_reply(node.gateway_mac, (*address).into()) {
                    builder = builder.act(action);
                }
                sink.put(builder.end())?;
            }
            // The kernel datapath cannot make an advertisement of a solicitation (no set of nd_reserved and nd_options_type):
            // there pods go by the permanent neighbor that the CNI plugin gives them, and a solicitation is dropped.
            IpAddr::V6(_) if sink.datapath == Datapath::System => {}
            IpAddr::V6(address) => {
                let mut builder = icmpv6(
                    Table::NeighborResponder,
                    NEIGHBOR_SOLICITATION,
                    "neighbor solicitation for the gateway (RFC 4861)",
                )
                .field(Field::NdTarget, *address);
                for action in neighbor_advertisement(node.gateway_mac, (*address).into()) {
                    builder = builder.act(action);
                }
                sink.put(builder.goto(Table::NeighborAdvertisement))?;
            }
        }
    }
    if sink.datapath == Datapath::System {
        return Ok(());
    }
    sink.put(
        icmpv6(Table::NeighborAdvertisement, NEIGHBOR_ADVERTISEMENT, "the gateway's link address, back to who asked")
            .act(Action::set_field(Field::NdTll, node.gateway_mac))
            .act(Action::output(PortNumber::IN_PORT))
            .end(),
    )
}

fn icmpv6(table: Table, kind: u8, why: &'static str) -> Builder {
    Builder::new(table, 100, why)
        .field(Field::EthType, IPV6)
        .field(Field::IpProto, ICMPV6)
        .field(Field::Icmpv6Type, kind)
        .field(Field::Icmpv6Code, 0u8)
}

fn arp_reply(mac: [u8; 6], address: Value) -> Vec<Action> {
    vec![
        Action::copy(Field::EthSrc, Field::EthDst),
        Action::set_field(Field::EthSrc, mac),
        Action::set_field(Field::ArpOp, 2u16),
        Action::copy(Field::ArpSha, Field::ArpTha),
        Action::set_field(Field::ArpSha, mac),
        Action::copy(Field::ArpSpa, Field::ArpTpa),
        Action::set_field(Field::ArpSpa, address),
        Action::output(PortNumber::IN_PORT),
    ]
}

/// Type 136, the flags router, solicited and override; the option with the link address follows in the next table.
fn neighbor_advertisement(mac: [u8; 6], address: Value) -> Vec<Action> {
    vec![
        Action::copy(Field::EthSrc, Field::EthDst),
        Action::set_field(Field::EthSrc, mac),
        Action::copy(Field::Ipv6Src, Field::Ipv6Dst),
        Action::set_field(Field::Ipv6Src, address),
        Action::set_field(Field::NdOptionsType, 2u8),
        Action::set_field(Field::NdReserved, 0xe000_0000u32),
        Action::set_field(Field::Icmpv6Type, NEIGHBOR_ADVERTISEMENT),
    ]
}
