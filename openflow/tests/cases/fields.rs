//! Cases for fields: matched exactly and under masks, and written.

use openflow::{Access, Action, Ct, Field, Format, Match, Prerequisite, VLAN_PRESENT, Value};

use crate::exclusions;
use crate::flows::Case;
use crate::ofctl::Features;
use crate::report::{Random, Report};

/// Cases for every field the switch names.
pub fn cases(report: &mut Report, features: &Features) -> Vec<Case> {
    let mut cases = Vec::new();
    for name in &features.matched {
        let Some(field) = Field::named(name) else {
            if !exclusions::field(name) {
                report.without_case(&format!("field {name}"));
            }
            continue;
        };
        report.fields += 1;
        cases.extend(matched(field, &mut report.random));
        let writable = features.written.contains(name);
        if writable != (field.info().access == Access::ReadWrite) {
            let (ours, theirs) = (format!("{:?}", field.info().access), format!("writable: {writable}"));
            report.difference(name, "table features", &ours, &theirs);
        }
        if writable {
            cases.extend(written(field, &mut report.random));
        }
    }
    for field in Field::all() {
        if !features.matched.contains(&field.to_string()) {
            report.without_case(&format!("field {field}, which the switch does not name"));
        }
    }
    cases
}

/// A match of everything that makes the field exist.
pub fn companions(field: Field) -> Match {
    let ip = |number: u16| Match::new().with(Field::EthType, number);
    let tracked = |matches: Match| matches.masked(Field::CtState, 0x22u32, 0x22u32);
    let icmpv6 = || ip(0x86dd).with(Field::IpProto, 58u8);
    match (field, field.info().prerequisite) {
        // under a mask that equals the value, for the switch takes one for the other
        (Field::TunErspanIdx, _) => Match::new().masked(Field::TunErspanVer, 1u8, 1u8),
        (Field::TunErspanDir | Field::TunErspanHwid, _) => Match::new().masked(Field::TunErspanVer, 2u8, 2u8),
        (_, Prerequisite::None | Prerequisite::Ethernet) => Match::new(),
        (_, Prerequisite::Vlan) => Match::new().with(Field::VlanVid, VLAN_PRESENT | 5),
        (_, Prerequisite::Arp) => ip(0x0806),
        (_, Prerequisite::Ipv4 | Prerequisite::Ip) => ip(0x0800),
        (_, Prerequisite::Ipv6) => ip(0x86dd),
        (_, Prerequisite::Tcp) => ip(0x0800).with(Field::IpProto, 6u8),
        (_, Prerequisite::Udp) => ip(0x86dd).with(Field::IpProto, 17u8),
        (_, Prerequisite::Sctp) => ip(0x0800).with(Field::IpProto, 132u8),
        (_, Prerequisite::Icmpv4) => ip(0x0800).with(Field::IpProto, 1u8),
        (_, Prerequisite::Icmpv6) => icmpv6(),
        (_, Prerequisite::Nd | Prerequisite::NdSolicit) => icmpv6().with(Field::Icmpv6Type, 135u8),
        (_, Prerequisite::NdAdvert) => icmpv6().with(Field::Icmpv6Type, 136u8),
        (_, Prerequisite::Ct | Prerequisite::CtIpv4) => tracked(ip(0x0800)),
        (_, Prerequisite::CtIpv6) => tracked(ip(0x86dd)),
        (_, Prerequisite::CtProto) => tracked(ip(0x0800)).with(Field::CtNwProto, 6u8),
    }
}

/// How wide the field's values are here: tunnel options are mapped to four bytes.
fn width(field: Field) -> (u16, u8) {
    if field.is_variable() { (32, 4) } else { (field.bits(), field.bytes()) }
}

/// Values that mean something for fields that do not take any number.
fn meaningful(field: Field) -> Option<&'static [u128]> {
    Some(match field {
        Field::PacketType => &[0x0001_0800],
        Field::InPort => &[1, 0xffff_fffe],
        Field::InPort16 => &[2, 0xfffe],
        Field::ActsetOutput => &[1],
        Field::VlanVid => &[0, 0x1005, 0x1fff],
        Field::VlanTci => &[0x1005, 0x7005],
        Field::NwFrag => &[0, 1, 3],
        Field::NwTos => &[0, 0x20, 0xfc],
        Field::ArpOp => &[1, 2, 255],
        Field::CtState => &[0x21, 0x22, 0x2a, 0xff],
        Field::CtNwProto => &[1, 6],
        Field::EthType => &[0x0800, 0x86dd, 0x0806, 0x8035, 0x88cc],
        Field::IpProto => &[1, 6, 17, 47, 132],
        Field::Icmpv6Type => &[128, 135, 136],
        _ => return None,
    })
}

fn masks(field: Field, random: &mut Random) -> Vec<u128> {
    match field {
        Field::VlanVid => vec![0x1000, 0x1003, 0x0fff],
        Field::VlanTci => vec![0x1000, 0x1fff, 0xf000, 0xe000 | 0x1fff],
        Field::NwFrag => vec![1, 2],
        Field::CtState => vec![0x21, 0x37, 0xfe],
        _ if field.info().format == Format::Ipv4 => vec![0xffff_ff00, 0x8000_0000, 0xff00_ff00],
        _ if field.info().format == Format::Ipv6 => vec![!0 << 64, !0 << 1, 0xff << 8 | 1],
        _ => {
            let full = Value::ones(width(field).0, 16).number();
            vec![1, random.wide() & full | 1, full & !1]
        }
    }
}

/// Whether `dump-flows` shows the field without its mask, so that its text does not say all.
fn text_hides_mask(field: Field) -> bool {
    // of fragments "no" is said whether or not it is asked which fragment
    matches!(field, Field::TunGbpFlags | Field::NwFrag) || exclusions::value_taken_for_mask(field.info().name)
}

fn matched(field: Field, random: &mut Random) -> Vec<Case> {
    let (bits, bytes) = width(field);
    let full = Value::ones(bits, 16).number();
    let narrow = exclusions::value_taken_for_mask(field.info().name);
    let fill = |random: &mut Random| if narrow { vec![full] } else { vec![random.wide() & full, full, 0] };
    let values = meaningful(field).map_or_else(|| fill(random), <[u128]>::to_vec);
    let mut cases: Vec<_> = values
        .iter()
        .map(|value| {
            let matches = companions(field).with(field, Value::new(*value, bytes));
            let mut case = Case::matching(format!("match {field}={value:#x}"), matches);
            case.text_says_all = !narrow;
            case
        })
        .collect();
    if field.is_maskable() && !narrow {
        for mask in masks(field, random) {
            let value = values[0] & mask;
            let name = format!("match {field}={value:#x}/{mask:#x}");
            let matches = companions(field).masked(field, Value::new(value, bytes), Value::new(mask, bytes));
            let mut case = Case::matching(name, matches);
            case.text_says_all = !text_hides_mask(field);
            cases.push(case);
        }
    }
    cases
}

fn written(field: Field, random: &mut Random) -> Vec<Case> {
    if field == Field::InPort {
        // set_field of it is forbidden, so it is written the other way
        return vec![Case::doing(format!("copy to {field}"), Match::new(), Action::copy(Field::Reg(1), field))];
    }
    let (bits, bytes) = width(field);
    let full = Value::ones(bits, 16).number();
    let mut values = meaningful(field).map_or_else(|| vec![random.wide() & full, full], <[u128]>::to_vec);
    // a value that is not a port, a tag or a frame type is refused when written
    values.retain(|value| field != Field::VlanVid || value & u128::from(VLAN_PRESENT) != 0);
    let mut cases = Vec::new();
    // leading zeros of a tunnel option are dropped, so it begins with a one
    for value in &values {
        let value = if field.is_variable() { value | 1 << 31 } else { *value };
        let action = Action::set_field(field, Value::new(value, bytes));
        cases.push(writing(format!("set_field {field}={value:#x}"), field, action));
    }
    if field.is_maskable() && meaningful(field).is_none() && bits > 1 {
        // the highest bits keep a tunnel option at its length, for leading zeros are dropped, and an IPv6 mask from starting
        // with a digit, which `ovs-ofctl` reads as a prefix length
        let high = full & !(full >> 4);
        let mask = (random.wide() & full | 1 | high) & !2;
        let value = random.wide() & mask;
        let action = Action::SetField { field, value: Value::new(value, bytes), mask: Some(Value::new(mask, bytes)) };
        cases.push(writing(format!("set_field {field}={value:#x}/{mask:#x}"), field, action));
    }
    cases
}

/// A case that writes a field where it may be written.
fn writing(name: String, field: Field, action: Action) -> Case {
    let action = match field {
        Field::CtMark | Field::CtLabel => Action::Ct(Box::new(Ct { exec: vec![action], ..Ct::commit(1) })),
        _ => action,
    };
    let matches = match field {
        Field::VlanVid => Match::new().with(Field::VlanVid, VLAN_PRESENT | 5),
        Field::CtMark | Field::CtLabel => Match::new().with(Field::EthType, 0x0800u16),
        _ => companions(field),
    };
    let mut case = Case::doing(name, matches, action);
    case.text_says_all = !exclusions::value_taken_for_mask(field.info().name);
    case
}
