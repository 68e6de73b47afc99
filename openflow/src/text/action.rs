//! Actions and instructions.

use std::fmt::{Display, Formatter, Result};

use super::{Shown, commas, dotted, hex, value};
use crate::action::{
    Action, Controller, Ct, CtZone, MemberBundle, Multipath, Nat, NatFlags, NatRange, Sample, SampleDirection,
};
use crate::field::Subfield;
use crate::instruction::Instructions;
use crate::packet::PacketInReason;
use crate::port::PortNumber;

impl Display for Subfield {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(&self.field.wire_name())?;
        match (self.offset, self.bits) {
            (0, bits) if bits == self.field.bits() => f.write_str("[]"),
            (offset, 1) => write!(f, "[{offset}]"),
            (offset, bits) => write!(f, "[{offset}..{}]", u32::from(offset) + u32::from(bits) - 1),
        }
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Output { port: PortNumber::CONTROLLER, max_len } => write!(f, "CONTROLLER:{max_len}"),
            Self::Output { port, .. } if port.name().is_some() => write!(f, "{port}"),
            Self::Output { port, .. } => write!(f, "output:{port}"),
            Self::OutputTruncated { port, max_len } => write!(f, "output(port={port},max_len={max_len})"),
            Self::OutputReg { source, .. } => write!(f, "output:{source}"),
            Self::Controller(controller) => write!(f, "{controller}"),
            Self::Group(id) => write!(f, "group:{id}"),
            Self::Meter(id) => write!(f, "meter:{id}"),
            Self::SetQueue(id) => write!(f, "set_queue:{id}"),
            Self::PopQueue => f.write_str("pop_queue"),
            Self::SetField { field, value, mask } => {
                write!(f, "set_field:{}->{field}", value::value(*field, *value, *mask))
            }
            Self::CopyField { source, destination } => write!(f, "move:{source}->{destination}"),
            Self::StackPush(bits) => write!(f, "push:{bits}"),
            Self::StackPop(bits) => write!(f, "pop:{bits}"),
            Self::DeleteField(field) => write!(f, "delete_field:{field}"),
            Self::PushVlan(ethertype) => write!(f, "push_vlan:{ethertype:#x}"),
            Self::PopVlan => f.write_str("pop_vlan"),
            Self::SetIpTtl(ttl) => write!(f, "mod_nw_ttl:{ttl}"),
            Self::DecTtl => f.write_str("dec_ttl"),
            Self::DecTtlControllers(ids) => {
                f.write_str("dec_ttl(")?;
                commas(f, ids)?;
                f.write_str(")")
            }
            Self::Ct(ct) => write!(f, "{ct}"),
            Self::CtClear => f.write_str("ct_clear"),
            Self::Nat(nat) => write!(f, "{nat}"),
            Self::Learn(learn) => write!(f, "{learn}"),
            Self::Conjunction { id, clause, clauses } => write!(f, "conjunction({id},{clause}/{clauses})"),
            Self::Resubmit { port, table, ct } => resubmit(f, *port, *table, *ct),
            Self::Clone(actions) => {
                f.write_str("clone(")?;
                list(f, actions)?;
                f.write_str(")")
            }
            Self::Note(bytes) => {
                f.write_str("note:")?;
                dotted(f, bytes)
            }
            Self::CheckPktLarger { length, destination } => write!(f, "check_pkt_larger({length})->{destination}"),
            Self::Sample(sample) => write!(f, "{sample}"),
            Self::Multipath(multipath) => write!(f, "{multipath}"),
            Self::Bundle(bundle) => write!(f, "{bundle}"),
            Self::FinTimeout { idle, hard } => fin_timeout(f, *idle, *hard),
            Self::Exit => f.write_str("exit"),
            Self::Encap(0) => f.write_str("encap(ethernet)"),
            Self::Encap(_) => f.write_str("encap(UNKNOWN)"),
            Self::Decap(None) => f.write_str("decap()"),
            Self::Decap(Some(kind)) => write!(f, "decap(packet_type(ns={},type={}))", kind >> 16, hex(kind & 0xffff)),
            Self::Raw(bytes) => {
                f.write_str("raw(")?;
                dotted(f, bytes)?;
                f.write_str(")")
            }
        }
    }
}

/// A list of actions; an empty one drops.
pub(super) fn list(f: &mut Formatter<'_>, actions: &[Action]) -> Result {
    if actions.is_empty() { f.write_str("drop") } else { commas(f, actions) }
}

fn resubmit(f: &mut Formatter<'_>, port: Option<PortNumber>, table: Option<u8>, ct: bool) -> Result {
    if let (Some(port), None) = (port, table) {
        return write!(f, "resubmit:{port}");
    }
    let port = port.map(|port| port.to_string()).unwrap_or_default();
    let table = table.map(|table| table.to_string()).unwrap_or_default();
    write!(f, "resubmit({port},{table}{})", if ct { ",ct" } else { "" })
}

fn fin_timeout(f: &mut Formatter<'_>, idle: u16, hard: u16) -> Result {
    let parts = [("idle_timeout", idle), ("hard_timeout", hard)];
    f.write_str("fin_timeout(")?;
    commas(f, parts.iter().filter(|(_, seconds)| *seconds != 0).map(|(name, seconds)| format!("{name}={seconds}")))?;
    f.write_str(")")
}

impl Display for PacketInReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::NoMatch => "no_match",
            Self::Action => "action",
            Self::InvalidTtl => "invalid_ttl",
            Self::ActionSet => "action_set",
            Self::Group => "group",
            Self::PacketOut => "packet_out",
            Self::Other(number) => return write!(f, "{number}"),
        })
    }
}

impl Display for Controller {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let plain = Self { max_len: self.max_len, ..Self::default() };
        if *self == plain {
            return write!(f, "CONTROLLER:{}", self.max_len);
        }
        let mut parts = Vec::new();
        if self.reason != PacketInReason::Action {
            parts.push(format!("reason={}", self.reason));
        }
        if self.max_len != u16::MAX {
            parts.push(format!("max_len={}", self.max_len));
        }
        if self.id != 0 {
            parts.push(format!("id={}", self.id));
        }
        if !self.userdata.is_empty() {
            parts.push(format!("userdata={}", Shown(|f: &mut Formatter<'_>| dotted(f, &self.userdata))));
        }
        if self.pause {
            parts.push("pause".to_owned());
        }
        if let Some(meter) = self.meter {
            parts.push(format!("meter_id={meter}"));
        }
        write!(f, "controller({})", parts.join(","))
    }
}

impl Display for Ct {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let mut parts: Vec<String> = self.flags.names().map(str::to_owned).collect();
        if let Some(table) = self.table {
            parts.push(format!("table={table}"));
        }
        match self.zone {
            CtZone::Number(0) => {}
            CtZone::Number(zone) => parts.push(format!("zone={zone}")),
            CtZone::Field(field) => parts.push(format!("zone={field}")),
        }
        if let Some(nat) = &self.nat {
            parts.push(nat.to_string());
        }
        if !self.exec.is_empty() {
            parts.push(format!("exec({})", Shown(|f: &mut Formatter<'_>| list(f, &self.exec))));
        }
        match self.alg {
            0 => {}
            21 => parts.push("alg=ftp".to_owned()),
            69 => parts.push("alg=tftp".to_owned()),
            port => parts.push(format!("alg={port}")),
        }
        write!(f, "ct({})", parts.join(","))
    }
}

impl Display for Nat {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let source = self.flags.contains(NatFlags::SRC);
        if !source && !self.flags.contains(NatFlags::DST) {
            return f.write_str("nat");
        }
        write!(f, "nat({}", if source { "src" } else { "dst" })?;
        if let Some(NatRange { first, last, ports }) = &self.range {
            let address = |address: &std::net::IpAddr| match ports {
                Some(_) if address.is_ipv6() => format!("[{address}]"),
                _ => address.to_string(),
            };
            write!(f, "={}", address(first))?;
            if let Some(last) = last.filter(|last| last != first) {
                write!(f, "-{}", address(&last))?;
            }
            if let Some((low, high)) = ports {
                write!(f, ":{low}")?;
                if high != low {
                    write!(f, "-{high}")?;
                }
            }
            for (flag, word) in
                [(NatFlags::PERSISTENT, "persistent"), (NatFlags::HASH, "hash"), (NatFlags::RANDOM, "random")]
            {
                if self.flags.contains(flag) {
                    write!(f, ",{word}")?;
                }
            }
        }
        f.write_str(")")
    }
}

impl Display for Sample {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { probability, collector_set_id, observation_domain, observation_point, .. } = self;
        write!(f, "sample(probability={probability},collector_set_id={collector_set_id}")?;
        write!(f, ",obs_domain_id={observation_domain},obs_point_id={observation_point}")?;
        if let Some(port) = self.port {
            write!(f, ",sampling_port={port}")?;
        }
        f.write_str(match self.direction {
            SampleDirection::Default => ")",
            SampleDirection::Ingress => ",ingress)",
            SampleDirection::Egress => ",egress)",
        })
    }
}

impl Display for Multipath {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { fields, basis, algorithm, links, argument, destination } = self;
        write!(f, "multipath({},{basis},{},{links},{argument},{destination})", fields.text(), algorithm.text())
    }
}

impl Display for MemberBundle {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { fields, basis, algorithm, members, destination } = self;
        let name = if destination.is_some() { "bundle_load" } else { "bundle" };
        write!(f, "{name}({},{basis},{},ofport,", fields.text(), algorithm.text())?;
        if let Some(destination) = destination {
            write!(f, "{destination},")?;
        }
        f.write_str("members:")?;
        commas(f, members)?;
        f.write_str(")")
    }
}

impl Display for Instructions {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let mut parts: Vec<String> = self.apply.iter().map(Action::to_string).collect();
        if self.clear {
            parts.push("clear_actions".to_owned());
        }
        if !self.write.is_empty() {
            parts.push(format!("write_actions({})", Shown(|f: &mut Formatter<'_>| list(f, &self.write))));
        }
        if let Some((value, mask)) = self.metadata {
            let mask = if mask == u64::MAX { String::new() } else { format!("/{}", hex(mask)) };
            parts.push(format!("write_metadata:{}{mask}", hex(value)));
        }
        if let Some(table) = self.goto {
            parts.push(format!("goto_table:{table}"));
        }
        if !self.raw.is_empty() {
            parts.push(format!("raw({})", Shown(|f: &mut Formatter<'_>| dotted(f, &self.raw))));
        }
        if parts.is_empty() { f.write_str("drop") } else { f.write_str(&parts.join(",")) }
    }
}
