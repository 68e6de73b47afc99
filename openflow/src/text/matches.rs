//! Matches, as `ovs-ofctl dump-flows` shows them: protocol words first, then fields in its own order, not the wire's.

use std::fmt::{Display, Formatter, Result, Write};

use super::{hex, value};
use crate::field::{Field, Format};
use crate::matches::{Match, Term, VLAN_PRESENT};
use crate::oxm::Tlv;
use crate::port::PortNumber;
use crate::value::Value;

impl Display for Match {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let mut shown = Shown { f, first: true, terms: self.terms().collect() };
        shown.before_protocol()?;
        let (type_said, proto_said) = shown.protocol()?;
        shown.after_protocol()?;
        shown.vlan()?;
        shown.named("dl_src", Field::EthSrc)?;
        shown.named("dl_dst", Field::EthDst)?;
        shown.network(type_said, proto_said)?;
        shown.transport()?;
        for raw in self.raw() {
            shown.raw(raw)?;
        }
        Ok(())
    }
}

struct Shown<'a, 'b> {
    f: &'a mut Formatter<'b>,
    first: bool,
    terms: Vec<Term>,
}

impl Shown<'_, '_> {
    fn get(&self, field: Field) -> Option<Term> {
        self.terms.iter().find(|term| term.field == field).copied()
    }

    fn number(&self, field: Field) -> Option<u128> {
        self.get(field).map(|term| term.value.number())
    }

    /// A comma, if something stands before.
    fn next(&mut self) -> Result {
        if std::mem::take(&mut self.first) { Ok(()) } else { self.f.write_char(',') }
    }

    fn word(&mut self, word: impl Display) -> Result {
        self.next()?;
        write!(self.f, "{word}")
    }

    /// A field under a name, in the field's own format.
    fn named(&mut self, name: &str, field: Field) -> Result {
        let Some(term) = self.get(field) else { return Ok(()) };
        self.next()?;
        write!(self.f, "{name}=")?;
        self.term(term)
    }

    fn plain(&mut self, field: Field) -> Result {
        self.named(&field.to_string(), field)
    }

    fn term(&mut self, term: Term) -> Result {
        let Term { field, value: number, mask } = term;
        match (field.info().format, mask) {
            (Format::CtStates, None) => value::flags(self.f, value::CT_STATES, number.number(), 0xff, 0xff),
            (Format::CtStates, Some(mask)) => {
                value::flags(self.f, value::CT_STATES, number.number(), mask.number(), 0xff)
            }
            // numbers under a mask are hexadecimal here, unlike in actions
            (Format::Decimal, Some(mask)) => write!(self.f, "{:#x}/{:#x}", number.number(), mask.number()),
            _ => write!(self.f, "{}", value::value(field, number, mask)),
        }
    }

    fn before_protocol(&mut self) -> Result {
        self.plain(Field::PktMark)?;
        self.hexadecimal(Field::RecircId)?;
        self.plain(Field::DpHash)?;
        self.plain(Field::ConjId)?;
        self.plain(Field::ActsetOutput)?;
        self.plain(Field::CtState)?;
        if let Some(zone) = self.number(Field::CtZone) {
            self.word(format_args!("ct_zone={zone}"))?;
        }
        for field in [
            Field::CtMark,
            Field::CtLabel,
            Field::CtNwSrc,
            Field::CtIpv6Src,
            Field::CtNwDst,
            Field::CtIpv6Dst,
            Field::CtNwProto,
            Field::CtTpSrc,
            Field::CtTpDst,
        ] {
            self.plain(field)?;
        }
        if let Some(number) = self.number(Field::PacketType) {
            self.next()?;
            value::packet_type(self.f, number)?;
        }
        Ok(())
    }

    fn hexadecimal(&mut self, field: Field) -> Result {
        match self.number(field) {
            Some(number) => self.word(format_args!("{field}={}", hex(number))),
            None => Ok(()),
        }
    }

    /// Words for the Ethernet type and IP protocol, and which of them they said.
    fn protocol(&mut self) -> std::result::Result<(bool, bool), std::fmt::Error> {
        let (word, proto) = match (self.number(Field::EthType), self.number(Field::IpProto)) {
            (Some(0x0800), Some(1)) => ("icmp", true),
            (Some(0x0800), Some(6)) => ("tcp", true),
            (Some(0x0800), Some(17)) => ("udp", true),
            (Some(0x0800), Some(132)) => ("sctp", true),
            (Some(0x0800), _) => ("ip", false),
            (Some(0x86dd), Some(58)) => ("icmp6", true),
            (Some(0x86dd), Some(6)) => ("tcp6", true),
            (Some(0x86dd), Some(17)) => ("udp6", true),
            (Some(0x86dd), Some(132)) => ("sctp6", true),
            (Some(0x86dd), _) => ("ipv6", false),
            (Some(0x0806), _) => ("arp", false),
            (Some(0x8035), _) => ("rarp", false),
            (Some(0x8847), _) => ("mpls", false),
            (Some(0x8848), _) => ("mplsm", false),
            _ => return Ok((false, false)),
        };
        self.word(word)?;
        Ok((true, proto))
    }

    fn after_protocol(&mut self) -> Result {
        for index in 0..16 {
            self.plain(Field::Reg(index))?;
        }
        for field in [Field::TunId, Field::TunSrc, Field::TunDst, Field::TunIpv6Src, Field::TunIpv6Dst, Field::TunGbpId]
        {
            self.plain(field)?;
        }
        self.hexadecimal(Field::TunGbpFlags)?;
        self.erspan()?;
        if let Some(flags) = self.number(Field::TunGtpuFlags) {
            self.word(format_args!("gtpu_flags={}", hex(flags)))?;
        }
        if let Some(kind) = self.number(Field::TunGtpuMsgtype) {
            self.word(format_args!("gtpu_msgtype={kind}"))?;
        }
        if let Some(term) = self.get(Field::TunFlags) {
            // the switch's own flags are more than the one that can be matched, so the sign is always shown
            self.word(format_args!("tun_flags={}oam", if term.value.number() == 1 { '+' } else { '-' }))?;
        }
        for index in 0..64 {
            self.plain(Field::TunMetadata(index))?;
        }
        self.plain(Field::Metadata)?;
        match self.number(Field::InPort) {
            Some(port) => self.word(format_args!("in_port={}", PortNumber(u32::try_from(port).unwrap_or(u32::MAX)))),
            None => Ok(()),
        }
    }

    /// ERSPAN fields are shown without masks, and those of a version only with the version.
    fn erspan(&mut self) -> Result {
        let version = self.number(Field::TunErspanVer);
        if let Some(version) = version {
            self.word(format_args!("tun_erspan_ver={version}"))?;
        }
        if version == Some(1) {
            self.hexadecimal(Field::TunErspanIdx)?;
        }
        if version == Some(2) {
            if let Some(direction) = self.number(Field::TunErspanDir) {
                self.word(format_args!("tun_erspan_dir={direction}"))?;
            }
            self.hexadecimal(Field::TunErspanHwid)?;
        }
        Ok(())
    }

    /// VLAN fields together, as one tag.
    fn vlan(&mut self) -> Result {
        let (vid, vid_mask) = match self.get(Field::VlanVid) {
            Some(term) => (term.value.number(), term.mask.map_or(0x1fff, Value::number)),
            None => (0, 0),
        };
        let (priority, priority_mask) = self.number(Field::VlanPcp).map_or((0, 0), |priority| (priority, 7));
        let (tag, mask) = (vid | priority << 13, vid_mask | priority_mask << 13);
        let present = vid & vid_mask & u128::from(VLAN_PRESENT) != 0;
        let whole = matches!(mask & 0xfff, 0 | 0xfff) && mask & 0xefff != 0;
        if mask == 0 {
            return Ok(());
        }
        if present && whole {
            if mask & 0xfff != 0 {
                self.word(format_args!("dl_vlan={}", tag & 0xfff))?;
            }
            if priority_mask != 0 {
                self.word(format_args!("dl_vlan_pcp={priority}"))?;
            }
            return Ok(());
        }
        if mask == 0xffff {
            self.word(format_args!("vlan_tci={tag:#06x}"))
        } else {
            self.word(format_args!("vlan_tci={tag:#06x}/{mask:#06x}"))
        }
    }

    fn network(&mut self, type_said: bool, proto_said: bool) -> Result {
        if let (Some(number), false) = (self.number(Field::EthType), type_said) {
            self.word(format_args!("dl_type={number:#06x}"))?;
        }
        self.plain(Field::Ipv6Src)?;
        self.plain(Field::Ipv6Dst)?;
        if let Some(Term { value, mask, .. }) = self.get(Field::Ipv6Label) {
            self.word(format_args!("ipv6_label={:#07x}", value.number()))?;
            if let Some(mask) = mask {
                write!(self.f, "/{:#07x}", mask.number())?;
            }
        }
        self.plain(Field::ArpSpa)?;
        self.plain(Field::ArpTpa)?;
        self.named("nw_src", Field::Ipv4Src)?;
        self.named("nw_dst", Field::Ipv4Dst)?;
        if !proto_said {
            self.plain(Field::IpProto)?;
        }
        self.plain(Field::ArpOp)?;
        self.plain(Field::ArpSha)?;
        self.plain(Field::ArpTha)?;
        if let Some(dscp) = self.number(Field::IpDscp) {
            self.word(format_args!("nw_tos={}", dscp << 2))?;
        }
        self.plain(Field::IpEcn)?;
        self.plain(Field::NwTtl)?;
        self.named("nw_frag", Field::NwFrag)
    }

    fn transport(&mut self) -> Result {
        for (name, field) in [
            ("icmp_type", Field::Icmpv4Type),
            ("icmp_code", Field::Icmpv4Code),
            ("icmp_type", Field::Icmpv6Type),
            ("icmp_code", Field::Icmpv6Code),
            ("nd_target", Field::NdTarget),
            ("nd_sll", Field::NdSll),
            ("nd_tll", Field::NdTll),
            ("nd_reserved", Field::NdReserved),
            ("nd_options_type", Field::NdOptionsType),
            ("tp_src", Field::TcpSrc),
            ("tp_dst", Field::TcpDst),
            ("tp_src", Field::UdpSrc),
            ("tp_dst", Field::UdpDst),
            ("tp_src", Field::SctpSrc),
            ("tp_dst", Field::SctpDst),
        ] {
            self.named(name, field)?;
        }
        self.plain(Field::TcpFlags)
    }

    /// A field without a name here, or one too long for a value.
    fn raw(&mut self, bytes: &[u8]) -> Result {
        let Ok(tlv) = Tlv::read(bytes) else { return Ok(()) };
        let header = tlv.header;
        match header.field() {
            Some(field) => self.word(field)?,
            None => self.word(format_args!("oxm({:#06x}:{})", header.class, header.number))?,
        }
        let half = if header.masked { tlv.payload.len() / 2 } else { tlv.payload.len() };
        let (value, mask) = tlv.payload.split_at(half);
        for (sign, bytes) in [("=0x", value), ("/0x", mask)] {
            if !bytes.is_empty() {
                self.f.write_str(sign)?;
                bytes.iter().try_for_each(|byte| write!(self.f, "{byte:02x}"))?;
            }
        }
        Ok(())
    }
}
