//! One field's value and mask.

use std::fmt::{Display, Formatter, Result};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Shown, hex, joined};
use crate::field::{Field, Format};
use crate::port::PortNumber;
use crate::value::{Value, ones};

/// How a `set_field` or `learn` shows a value, with its mask unless it is exact.
pub(super) fn value(field: Field, value: Value, mask: Option<Value>) -> impl Display {
    Shown(move |f: &mut Formatter<'_>| {
        let number = value.number();
        let bits = mask.map(Value::number);
        match (field.info().format, bits) {
            (Format::Ethernet, _) => ethernet(f, value, mask),
            (Format::Ipv4, _) => ipv4(f, value, mask),
            (Format::Ipv6, _) => ipv6(f, value, mask),
            (Format::Port16, None) => write!(f, "{}", PortNumber::widen(u16::try_from(number).unwrap_or(u16::MAX))),
            (Format::Port32, None) => write!(f, "{}", PortNumber(u32::try_from(number).unwrap_or(u32::MAX))),
            (Format::PacketTypes, _) => packet_type(f, number),
            (Format::CtStates, _) => flags(f, CT_STATES, number, bits.unwrap_or(0xffff_ffff), 0xffff),
            (Format::TcpFlags, _) => flags(f, TCP_FLAGS, number, bits.unwrap_or(0xfff) & 0xfff, 0xfff),
            (Format::TunnelFlags, _) => flags(f, TUNNEL_FLAGS, number, bits.unwrap_or(1) & 1, 1),
            (Format::Frag, _) => f.write_str(frag(number, bits.unwrap_or(3))),
            (Format::Decimal, None) => write!(f, "{number}"),
            (Format::Decimal, Some(bits)) => write!(f, "{number}/{bits:#x}"),
            (_, None) => f.write_str(&hex(number)),
            (_, Some(bits)) => write!(f, "{}/{bits:#x}", hex(number)),
        }
    })
}

pub(super) fn ethernet(f: &mut Formatter<'_>, value: Value, mask: Option<Value>) -> Result {
    mac(f, value.mac())?;
    match mask {
        Some(mask) if mask.number() != ones(48) => {
            f.write_str("/")?;
            mac(f, mask.mac())
        }
        _ => Ok(()),
    }
}

pub(super) fn mac(f: &mut Formatter<'_>, mac: [u8; 6]) -> Result {
    joined(f, mac.iter().map(|byte| format!("{byte:02x}")), ":")
}

/// The length of a prefix mask.
fn prefix(mask: u128, bits: u32) -> Option<u32> {
    let hole = !mask & ones(u16::try_from(bits).unwrap_or(128));
    (hole & hole.wrapping_add(1) == 0).then(|| bits - hole.count_ones())
}

pub(super) fn ipv4(f: &mut Formatter<'_>, value: Value, mask: Option<Value>) -> Result {
    write!(f, "{}", value.ipv4())?;
    match mask.map(Value::number) {
        None | Some(0xffff_ffff) => Ok(()),
        Some(mask) => match prefix(mask, 32) {
            Some(length) => write!(f, "/{length}"),
            None => write!(f, "/{}", Ipv4Addr::from_bits(u32::try_from(mask).unwrap_or(u32::MAX))),
        },
    }
}

pub(super) fn ipv6(f: &mut Formatter<'_>, value: Value, mask: Option<Value>) -> Result {
    write!(f, "{}", value.ipv6())?;
    match mask.map(Value::number) {
        None | Some(u128::MAX) => Ok(()),
        Some(mask) => match prefix(mask, 128) {
            Some(length) => write!(f, "/{length}"),
            None => write!(f, "/{}", Ipv6Addr::from_bits(mask)),
        },
    }
}

pub(super) fn packet_type(f: &mut Formatter<'_>, number: u128) -> Result {
    if number == 0 {
        return f.write_str("eth");
    }
    let short = |number: u128| if number > 9 { format!("{number:#x}") } else { number.to_string() };
    write!(f, "packet_type=({},{})", short(number >> 16), short(number & 0xffff))
}

pub(super) const CT_STATES: &[(u128, &str)] = &[
    (0x01, "new"),
    (0x02, "est"),
    (0x04, "rel"),
    (0x08, "rpl"),
    (0x10, "inv"),
    (0x20, "trk"),
    (0x40, "snat"),
    (0x80, "dnat"),
];
pub(super) const TCP_FLAGS: &[(u128, &str)] = &[
    (0x001, "fin"),
    (0x002, "syn"),
    (0x004, "rst"),
    (0x008, "psh"),
    (0x010, "ack"),
    (0x020, "urg"),
    (0x040, "ece"),
    (0x080, "cwr"),
    (0x100, "ns"),
    (0x200, "[200]"),
    (0x400, "[400]"),
    (0x800, "[800]"),
];
pub(super) const TUNNEL_FLAGS: &[(u128, &str)] = &[(0x1, "oam")];

/// Flags: `+syn-ack` with a mask, `syn|ack` without.
pub(super) fn flags(f: &mut Formatter<'_>, names: &[(u128, &str)], value: u128, mask: u128, full: u128) -> Result {
    let name = |bit: u128| names.iter().find(|(known, _)| *known == bit).map(|(_, name)| *name);
    if mask == full {
        let set: Vec<_> = names.iter().filter(|(bit, _)| value & bit != 0).map(|(_, name)| *name).collect();
        return if value == 0 { f.write_str("0") } else { f.write_str(&set.join("|")) };
    }
    if mask == 0 {
        return f.write_str("0/0");
    }
    for bit in (0..128).map(|shift| 1u128 << shift).filter(|bit| mask & bit != 0) {
        write!(f, "{}{}", if value & bit != 0 { "+" } else { "-" }, name(bit).unwrap_or("[Unknown]"))?;
    }
    Ok(())
}

/// The words of `ip_frag`: bit 0 is "a fragment", bit 1 "not the first".
pub(super) const fn frag(value: u128, mask: u128) -> &'static str {
    match (mask & 3, value & mask & 3) {
        (3, 0) | (1, 0) => "no",
        (3, 1) => "first",
        (3, 3) | (2, 2) => "later",
        (1, 1) => "yes",
        (2, 0) => "not_later",
        _ => "<error>",
    }
}
