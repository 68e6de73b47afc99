//! Whether a match names, with every field, what makes the field exist in a packet.

use super::Match;
use crate::error::EncodeError;
use crate::field::{Field, Prerequisite};

const ETH_IPV4: u128 = 0x0800;
const ETH_IPV6: u128 = 0x86dd;
const ETH_ARP: u128 = 0x0806;
const ETH_RARP: u128 = 0x8035;
const ND_SOLICIT: u128 = 135;
const ND_ADVERT: u128 = 136;
/// `+trk`, `+inv`, and the states that only a known connection has.
const CT_TRACKED: u128 = 0x20;
const CT_INVALID: u128 = 0x10;
const CT_KNOWN: u128 = 0xcf;

/// What the match says of the fields that others depend on.
#[derive(Default)]
struct Known {
    eth_type: Option<u128>,
    ip_proto: Option<u128>,
    icmpv6_type: Option<u128>,
    vlan: bool,
    tracked: bool,
    ct_proto: bool,
}

/// Checks each field in order. A field's prerequisites come before it, so one pass is enough.
pub(super) fn check(matches: &Match) -> Result<(), EncodeError> {
    let mut known = Known::default();
    for tlv in matches.tlvs() {
        let Some(field) = tlv.header.field() else { continue };
        known.satisfies(field.info().prerequisite).map_err(|needs| EncodeError::Prerequisite { field, needs })?;
        let number = || match tlv.parts() {
            Ok(Some((_, value, _))) => value.number(),
            _ => 0,
        };
        match field {
            Field::PacketType => known.eth_type = Some(number() & 0xffff),
            Field::EthType => known.eth_type = Some(number()),
            Field::IpProto => known.ip_proto = Some(number()),
            Field::Icmpv6Type => known.icmpv6_type = Some(number()),
            Field::VlanVid => known.vlan = number() & u128::from(super::VLAN_PRESENT) != 0,
            Field::CtState => known.tracked = is_tracked(&tlv),
            Field::CtNwProto => known.ct_proto = number() != 0,
            _ => {}
        }
    }
    Ok(())
}

/// Whether `ct_state` makes sure that there is a connection: by a state only a connection has, or by `+trk-inv`.
fn is_tracked(tlv: &crate::oxm::Tlv<'_>) -> bool {
    let Ok(Some((_, state, mask))) = tlv.parts() else { return false };
    let (state, mask) = (state.number(), mask.map_or(u128::MAX, crate::Value::number));
    state & CT_KNOWN != 0 || (state & CT_TRACKED != 0 && mask & CT_INVALID != 0 && state & CT_INVALID == 0)
}

impl Known {
    /// Nothing, or what is missing, in the words of ovs-fields(7).
    fn satisfies(&self, prerequisite: Prerequisite) -> Result<(), &'static str> {
        let ipv4 = self.eth_type == Some(ETH_IPV4);
        let ipv6 = self.eth_type == Some(ETH_IPV6);
        let protocol = |number: u128| (ipv4 || ipv6) && self.ip_proto == Some(number);
        let icmpv6 = ipv6 && self.ip_proto == Some(58);
        let (met, needs) = match prerequisite {
            Prerequisite::None | Prerequisite::Ethernet => (true, ""),
            Prerequisite::Vlan => (self.vlan, "a VLAN tag (vlan_vid with 0x1000 set)"),
            Prerequisite::Arp => (matches!(self.eth_type, Some(ETH_ARP | ETH_RARP)), "eth_type=0x806 (ARP)"),
            Prerequisite::Ipv4 => (ipv4, "eth_type=0x800 (IPv4)"),
            Prerequisite::Ipv6 => (ipv6, "eth_type=0x86dd (IPv6)"),
            Prerequisite::Ip => (ipv4 || ipv6, "eth_type=0x800 or 0x86dd (IP)"),
            Prerequisite::Tcp => (protocol(6), "eth_type of IP and nw_proto=6 (TCP)"),
            Prerequisite::Udp => (protocol(17), "eth_type of IP and nw_proto=17 (UDP)"),
            Prerequisite::Sctp => (protocol(132), "eth_type of IP and nw_proto=132 (SCTP)"),
            Prerequisite::Icmpv4 => (ipv4 && self.ip_proto == Some(1), "eth_type=0x800 and nw_proto=1 (ICMP)"),
            Prerequisite::Icmpv6 => (icmpv6, "eth_type=0x86dd and nw_proto=58 (ICMPv6)"),
            Prerequisite::Nd => (
                icmpv6 && matches!(self.icmpv6_type, Some(ND_SOLICIT | ND_ADVERT)),
                "icmpv6_type=135 or 136 (neighbor discovery)",
            ),
            Prerequisite::NdSolicit => {
                (icmpv6 && self.icmpv6_type == Some(ND_SOLICIT), "icmpv6_type=135 (neighbor solicitation)")
            }
            Prerequisite::NdAdvert => {
                (icmpv6 && self.icmpv6_type == Some(ND_ADVERT), "icmpv6_type=136 (neighbor advertisement)")
            }
            Prerequisite::Ct => {
                ((ipv4 || ipv6) && self.tracked, "eth_type of IP and ct_state with +new, +est, +rel, +rpl or +trk-inv")
            }
            Prerequisite::CtIpv4 => {
                (ipv4 && self.tracked, "eth_type=0x800 and ct_state with +new, +est, +rel, +rpl or +trk-inv")
            }
            Prerequisite::CtIpv6 => {
                (ipv6 && self.tracked, "eth_type=0x86dd and ct_state with +new, +est, +rel, +rpl or +trk-inv")
            }
            Prerequisite::CtProto => (self.ct_proto && self.tracked, "ct_nw_proto and what it needs"),
        };
        if met { Ok(()) } else { Err(needs) }
    }
}
