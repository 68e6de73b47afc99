//! What a flow matches, in words.

use openflow::{Field, Format, Match, Term, VLAN_PRESENT, Value};

use super::naming::Naming;
use crate::flow::{ARP, IPV4, IPV6};
use crate::register::{REGISTERS, RESERVED, Register};

/// Every condition: what kind of packet, then registers and fields in the order of the match.
pub(super) fn words(matches: &Match, naming: &mut Naming<'_>) -> Vec<String> {
    let mut words: Vec<String> = kind(matches).into_iter().collect();
    for term in matches.terms() {
        match term.field {
            Field::EthType | Field::IpProto => {}
            Field::InPort | Field::InPort16 => {
                let port = u32::try_from(term.value.number()).unwrap_or(u32::MAX);
                words.push(format!("in_port={}", naming.port(port)));
            }
            Field::ConjId => {
                let id = u32::try_from(term.value.number()).unwrap_or(u32::MAX);
                words.push(format!("conj_id={}", naming.conjunction(crate::ConjunctionNumber(id))));
            }
            field => match bits(field, term.value.number(), mask(&term)) {
                Some(parts) => words.extend(parts.into_iter().map(|part| part.text(naming))),
                None => words.push(field_word(&term)),
            },
        }
    }
    words.extend(matches.raw().map(|bytes| format!("oxm={}", hexadecimal(bytes))));
    words
}

/// The packet's kind from Ethernet type and protocol: `tcp6`, `arp`, `ip`.
fn kind(matches: &Match) -> Option<String> {
    let number = |field| matches.get(field).map(|term: Term| term.value.number());
    let family = number(Field::EthType)?;
    let family = if family == u128::from(IPV4) {
        "ip"
    } else if family == u128::from(IPV6) {
        "ipv6"
    } else if family == u128::from(ARP) {
        "arp"
    } else {
        return Some(format!("eth_type={family:#06x}"));
    };
    let six = if family == "ipv6" { "6" } else { "" };
    Some(match (number(Field::IpProto), family) {
        (None, _) => family.to_string(),
        (Some(1), "ip") => "icmp".to_string(),
        (Some(58), "ipv6") => "icmp6".to_string(),
        (Some(6), _) => format!("tcp{six}"),
        (Some(17), _) => format!("udp{six}"),
        (Some(132), _) => format!("sctp{six}"),
        (Some(protocol), _) => format!("{family}, nw_proto={protocol}"),
    })
}

fn mask(term: &Term) -> u128 {
    term.mask.map_or_else(|| mask_of(term.field), Value::number)
}

/// All bits of a field.
pub(super) fn mask_of(field: Field) -> u128 {
    u128::MAX >> (128 - u32::from(field.bits().min(128)))
}

/// Some bits of a field that a register of ours names, or that none does.
pub(super) enum Bits {
    Named(&'static Register, u128),
    Nameless(Field, u128, u128),
}

impl Bits {
    pub(super) fn text(&self, naming: &mut Naming<'_>) -> String {
        match self {
            Self::Named(register, value) => format!("{}={}", register.name, naming.value(register, *value)),
            Self::Nameless(field, value, mask) => format!("{field}={value:#x}/{mask:#x}"),
        }
    }
}

/// The registers that bits of a field are; nothing if the field holds none.
pub(super) fn bits(field: Field, value: u128, mask: u128) -> Option<Vec<Bits>> {
    let here = || REGISTERS.iter().chain(RESERVED).filter(move |register| register.field == field);
    here().next()?;
    let mut left = mask;
    let mut parts = Vec::new();
    for register in here().filter(|register| register.mask() & !mask == 0) {
        left &= !register.mask();
        parts.push(Bits::Named(register, register.read(value)));
    }
    if left != 0 {
        parts.push(Bits::Nameless(field, value & left, left));
    }
    Some(parts)
}

/// A field by the name that ovs-fields(7) gives it.
fn field_word(term: &Term) -> String {
    let number = term.value.number();
    match term.field.info().format {
        Format::CtStates => return format!("ct_state={}", flags(&CT_STATE, number, mask(term))),
        Format::TcpFlags => return format!("tcp_flags={}", flags(&TCP_FLAGS, number, mask(term))),
        _ => {}
    }
    if term.field == Field::VlanVid && mask(term) == u128::from(VLAN_PRESENT) {
        return format!("vlan={}", if number == 0 { "none" } else { "any" });
    }
    let value = value(term.field, term.value);
    let Some(mask) = term.mask.map(Value::number) else { return format!("{}={value}", term.field) };
    match (term.field.info().format, leading(term.field, mask)) {
        (Format::Ipv4 | Format::Ipv6, Some(length)) => format!("{}={value}/{length}", term.field),
        (Format::Decimal, Some(_)) => format!("{}={value}-{}", term.field, number | !mask & mask_of(term.field)),
        _ => format!("{}={value}/{mask:#x}", term.field),
    }
}

/// How many bits a mask has, if they are the field's highest: a prefix of addresses, a run of ports.
fn leading(field: Field, mask: u128) -> Option<u32> {
    let ones = mask.count_ones();
    (ones + mask.trailing_zeros() == u32::from(field.bits())).then_some(ones)
}

/// A value as ovs-fields(7) shows those of its field.
pub(super) fn value(field: Field, value: Value) -> String {
    match field.info().format {
        Format::Ethernet => value.mac().map(|byte| format!("{byte:02x}")).join(":"),
        Format::Ipv4 => value.ipv4().to_string(),
        Format::Ipv6 => value.ipv6().to_string(),
        Format::Decimal => value.number().to_string(),
        _ => format!("{:#x}", value.number()),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const CT_STATE: [(u8, &str); 8] =
    [(0, "new"), (1, "est"), (2, "rel"), (3, "rpl"), (4, "inv"), (5, "trk"), (6, "snat"), (7, "dnat")];
const TCP_FLAGS: [(u8, &str); 9] =
    [(0, "fin"), (1, "syn"), (2, "rst"), (3, "psh"), (4, "ack"), (5, "urg"), (6, "ece"), (7, "cwr"), (8, "ns")];

/// `+rpl+trk-inv`.
fn flags(names: &[(u8, &str)], value: u128, mask: u128) -> String {
    let sign = |bit: &u8| if value >> bit & 1 == 1 { '+' } else { '-' };
    names.iter().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(bit, name)| format!("{}{name}", sign(bit))).collect()
}
