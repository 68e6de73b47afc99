//! Nobody speaks in another's name: pods only with their own addresses, nodes only for their own pods.
//!
//! Neighbor discovery messages that a pod has no business sending (advertisements, router messages, redirects) stop here, so
//! that neither the node nor another pod learns a neighbor from them (RFC 4861).

use std::net::IpAddr;

use openflow::{Field, VLAN_PRESENT};

use crate::flow::{ARP, Builder, IPV6, Refusal, Side, Sink};
use crate::intent::{Peer, Pod};
use crate::table::Table;

/// ICMPv6 types that only routers and neighbors other than pods send: RFC 4861.
const FORBIDDEN_ICMPV6: [(u8, &str); 4] = [
    (134, "pods send no router advertisements"),
    (NEIGHBOR_ADVERTISEMENT, "pods send no neighbor advertisements: nobody asks them"),
    (137, "pods send no redirects"),
    (133, "pods send no router solicitations"),
];
pub(crate) const NEIGHBOR_SOLICITATION: u8 = 135;
pub(crate) const NEIGHBOR_ADVERTISEMENT: u8 = 136;
pub(crate) const ICMPV6: u8 = 58;

pub(crate) fn base(sink: &mut Sink) -> Result<(), Refusal> {
    for (kind, why) in FORBIDDEN_ICMPV6 {
        sink.put(
            Builder::new(Table::SpoofGuard, 200, why)
                .field(Field::EthType, IPV6)
                .field(Field::IpProto, ICMPV6)
                .field(Field::Icmpv6Type, kind)
                .end(),
        )?;
    }
    sink.put(
        Builder::new(Table::SpoofGuard, 140, "a neighbor solicitation in another's name, or malformed")
            .field(Field::EthType, IPV6)
            .field(Field::IpProto, ICMPV6)
            .field(Field::Icmpv6Type, NEIGHBOR_SOLICITATION)
            .end(),
    )?;
    sink.put(
        Builder::new(Table::SpoofGuard, 210, "pods send no VLAN tags")
            .masked(Field::VlanVid, VLAN_PRESENT, VLAN_PRESENT)
            .end(),
    )
}

pub(crate) fn pod(pod: &Pod, sink: &mut Sink) -> Result<(), Refusal> {
    for &address in &pod.addresses {
        sink.put(
            Builder::new(Table::SpoofGuard, 100, "the pod's own link and IP address")
                .field(Field::InPort, pod.port)
                .field(Field::EthSrc, pod.mac)
                .address(Side::Source, address)
                .goto(Table::Conntrack),
        )?;
        match address {
            IpAddr::V4(address) => sink.put(
                Builder::new(Table::SpoofGuard, 100, "ARP requests in the pod's own name")
                    .field(Field::InPort, pod.port)
                    .field(Field::EthSrc, pod.mac)
                    .field(Field::EthType, ARP)
                    .field(Field::ArpOp, 1u16)
                    .field(Field::ArpSpa, address)
                    .field(Field::ArpSha, pod.mac)
                    .goto(Table::NeighborResponder),
            )?,
            IpAddr::V6(_) => {
                for source in [address, link_local(pod.mac)] {
                    sink.put(
                        Builder::new(Table::SpoofGuard, 150, "neighbor solicitations in the pod's own name")
                            .field(Field::InPort, pod.port)
                            .field(Field::EthSrc, pod.mac)
                            .address(Side::Source, source)
                            .field(Field::IpProto, ICMPV6)
                            .field(Field::Icmpv6Type, NEIGHBOR_SOLICITATION)
                            .field(Field::Icmpv6Code, 0u8)
                            .goto(Table::NeighborResponder),
                    )?;
                }
            }
        }
    }
    Ok(())
}

/// The link-local address an interface gives itself: RFC 4291, appendix A.
fn link_local(mac: [u8; 6]) -> IpAddr {
    let [a, b, c, d, e, f] = mac;
    IpAddr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

pub(crate) fn peer(peer: &Peer, sink: &mut Sink) -> Result<(), Refusal> {
    let own = peer.addresses.iter().map(|&address| address.into());
    for source in peer.pod_cidrs.iter().copied().chain(own) {
        let builder = Builder::new(Table::TunnelGuard, 100, "an inner source that belongs to the node that sent it");
        let builder = match peer.tunnel_endpoint {
            IpAddr::V4(endpoint) => builder.field(Field::TunSrc, endpoint),
            IpAddr::V6(endpoint) => builder.field(Field::TunIpv6Src, endpoint),
        };
        sink.put(builder.net(Side::Source, source).goto(Table::Conntrack))?;
    }
    Ok(())
}
