//! A match: which packets a flow is for.
//!
//! A [`Match`] *is* its OXM bytes, in canonical form: fields in table order, values cut by their masks, full masks left out,
//! registers paired as the switch pairs them. So equal matches have equal bytes, whatever order and words built them, and a
//! match read from a dump equals the one that was sent. Unknown fields are kept as they came, behind the known ones.
//!
//! What several calls say about one field is joined (`reg0` bits 0..4 and bits 5..8, `+trk` and `-new`); a contradiction is an error.

mod canonical;
mod prerequisites;

use std::net::IpAddr;

use canonical::{fitted, is_canonical, wide_port, width};

use crate::error::{DecodeError, EncodeError};
use crate::field::{Field, Format, Subfield};
use crate::oxm::{self, Tlv};
use crate::value::{Value, ones};
use crate::wire::{Put, Reader};

/// VLAN tag present, in `vlan_vid` and `vlan_tci` (OFPVID_PRESENT, the CFI bit).
pub const VLAN_PRESENT: u16 = 0x1000;

/// What a match says of one field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Term {
    pub field: Field,
    pub value: Value,
    /// Which bits count; `None` for all.
    pub mask: Option<Value>,
}

/// A packet match in canonical form.
///
/// ```
/// use openflow::{Field, Match};
/// let matches = Match::new().with(Field::TcpDst, 80u16).with(Field::IpProto, 6u8).with(Field::EthType, 0x800u16);
/// assert_eq!(matches.to_string(), "tcp,tp_dst=80");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Match {
    oxm: Vec<u8>,
    /// The first thing said that cannot be encoded: it makes every encoding of this match fail.
    broken: Option<Box<Broken>>,
}

/// A remembered error. All broken matches are equal: none of them can be sent.
#[derive(Clone, Debug)]
struct Broken(EncodeError);

impl PartialEq for Broken {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Broken {}
impl PartialOrd for Broken {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Broken {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}
impl std::hash::Hash for Broken {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

impl Match {
    /// The match of every packet.
    #[must_use]
    pub const fn new() -> Self {
        Self { oxm: Vec::new(), broken: None }
    }

    /// Also requires `field` to have `value`. What cannot be encoded is reported by [`Match::validate`] and by every encoding.
    #[must_use]
    pub fn with(mut self, field: Field, value: impl Into<Value>) -> Self {
        let result = self.insert(field, value.into(), None);
        self.remember(result);
        self
    }

    /// Also requires the bits of `field` that `mask` has to be as in `value`.
    #[must_use]
    pub fn masked(mut self, field: Field, value: impl Into<Value>, mask: impl Into<Value>) -> Self {
        let result = self.insert(field, value.into(), Some(mask.into()));
        self.remember(result);
        self
    }

    /// Also requires the first `length` bits of an address. A length of 0 requires nothing.
    #[must_use]
    pub fn prefix(mut self, field: Field, address: IpAddr, length: u8) -> Self {
        let result = self.insert_prefix(field, address, length);
        self.remember(result);
        self
    }

    fn insert_prefix(&mut self, field: Field, address: IpAddr, length: u8) -> Result<(), EncodeError> {
        let bits = field.bits();
        let family =
            matches!((field.info().format, address), (Format::Ipv4, IpAddr::V4(_)) | (Format::Ipv6, IpAddr::V6(_)));
        if !family || u16::from(length) > bits {
            let problem = "the address is of another family, or the prefix longer than the address";
            return Err(EncodeError::Invalid { what: field.info().name, problem });
        }
        let mask = ones(bits) & !ones(bits - u16::from(length));
        let value = Value::from(address);
        self.insert(field, Value::new(value.number() & mask, value.length()), Some(Value::new(mask, field.bytes())))
    }

    /// Also requires these bits of a field, such as a named part of a register, to be `value`.
    #[must_use]
    pub fn bits(mut self, bits: impl Into<Subfield>, value: u128) -> Self {
        let bits = bits.into();
        let result = oxm::within(bits).and_then(|bits| {
            let too_wide = EncodeError::TooWide { field: bits.field, bits: bits.bits, value };
            Value::from(value).fit(bits.bits, 16).ok_or(too_wide)?;
            let width = bits.field.bytes();
            self.insert(bits.field, Value::new(value << bits.offset, width), Some(Value::new(bits.mask(), width)))
        });
        self.remember(result);
        self
    }

    fn remember(&mut self, result: Result<(), EncodeError>) {
        if let (Err(error), None) = (result, &self.broken) {
            self.broken = Some(Box::new(Broken(error)));
        }
    }

    /// Also requires `field` to be as `value` and `mask` say.
    ///
    /// # Errors
    /// When the value or the mask does not fit the field, or contradicts what was said before; the match is then unchanged.
    pub fn insert(&mut self, field: Field, value: Value, mask: Option<Value>) -> Result<(), EncodeError> {
        let (value, mask) = fitted(oxm::existing(field)?, value, mask)?;
        match field {
            Field::PacketType if value.number() == 0 => Ok(()),
            Field::InPort16 => self.join(Field::InPort, Value::new(wide_port(value.number()), 4), ones(32)),
            Field::NwTos if value.number() & 3 != 0 => {
                Err(EncodeError::OutsideMask { field, value: value.number(), mask: 0xfc })
            }
            Field::NwTos => self.join(Field::IpDscp, Value::new(value.number() >> 2, 1), ones(6)),
            Field::VlanTci => self.insert_tci(value.number(), mask),
            Field::Reg(index) => {
                let shift = if index % 2 == 0 { 32 } else { 0 };
                self.join(Field::Xreg(index / 2), Value::new(value.number() << shift, 8), mask << shift)
            }
            Field::Xxreg(index) => {
                self.join(Field::Xreg(index * 2), Value::new(value.number() >> 64, 8), mask >> 64)?;
                self.join(Field::Xreg(index * 2 + 1), Value::new(value.number(), 8), mask & ones(64))
            }
            _ => self.join(field, value, mask),
        }
    }

    /// A match on the whole VLAN tag is two in OXM. The priority's bits are one field that cannot be masked.
    fn insert_tci(&mut self, value: u128, mask: u128) -> Result<(), EncodeError> {
        let present = value & u128::from(VLAN_PRESENT) != 0;
        let priority = mask >> 13;
        if priority != 0 && priority != 7 {
            return Err(EncodeError::NotMaskable(Field::VlanPcp));
        }
        let vid_mask = mask & ones(13);
        self.join(Field::VlanVid, Value::new(value & ones(13), 2), vid_mask)?;
        // a packet without a tag has no priority to match
        if priority == 7 && (present || vid_mask == 0) {
            self.join(Field::VlanPcp, Value::new(value >> 13, 1), ones(3))?;
        }
        Ok(())
    }

    /// Joins a fitted value with what the match already says of the field.
    fn join(&mut self, field: Field, value: Value, mask: u128) -> Result<(), EncodeError> {
        if mask == 0 {
            return Ok(());
        }
        if self.oxm.capacity() == 0 {
            self.oxm.reserve(48); // most matches fit, so one allocation is enough
        }
        let (start, end) = self.place(field);
        let mut value = value;
        let mut mask = mask;
        if start < end {
            let (old, old_mask) = self.stored(start, field);
            if (old.number() ^ value.number()) & old_mask & mask != 0 || old.length() != value.length() {
                return Err(EncodeError::Contradiction(field));
            }
            value = Value::new(old.number() | value.number(), value.length());
            mask |= old_mask;
        }
        let full = ones(width(field, value));
        let written = (mask != full || field.states_exact_mask()).then(|| Value::new(mask, value.length()));
        if start == self.oxm.len() {
            oxm::put_value(&mut self.oxm, field, &value, written.as_ref());
        } else {
            let mut bytes = Vec::with_capacity(40);
            oxm::put_value(&mut bytes, field, &value, written.as_ref());
            self.oxm.splice(start..end, bytes);
        }
        Ok(())
    }

    /// Where a field is, or would be inserted (an empty range).
    fn place(&self, field: Field) -> (usize, usize) {
        let mut start = 0;
        for tlv in self.tlvs() {
            let end = start + tlv.bytes.len();
            match tlv.header.field() {
                Some(here) if here == field => return (start, end),
                Some(here) if here.order() < field.order() => start = end,
                _ => break,
            }
        }
        (start, start)
    }

    fn stored(&self, start: usize, field: Field) -> (Value, u128) {
        let tlv = Tlv::read(&self.oxm[start..]).expect("a match holds only OXM it wrote or checked itself");
        let parts = tlv.parts().expect("a match holds only OXM it wrote or checked itself");
        let (_, value, mask) = parts.expect("known short fields have a value");
        (value, mask.map_or(ones(width(field, value)), Value::number))
    }

    fn tlvs(&self) -> impl Iterator<Item = Tlv<'_>> {
        let mut rest = &self.oxm[..];
        std::iter::from_fn(move || {
            let tlv = Tlv::read(rest).ok()?;
            rest = &rest[tlv.bytes.len()..];
            Some(tlv)
        })
    }

    /// What is required of `field`, if anything.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<Term> {
        match field {
            Field::Xreg(index) => self.joined_registers(field, index * 2, 2),
            Field::Xxreg(index) => self.joined_registers(field, index * 4, 4),
            _ => self.terms().find(|term| term.field == field),
        }
    }

    fn joined_registers(&self, field: Field, first: u8, count: u8) -> Option<Term> {
        let mut value = 0;
        let mut mask = 0;
        for index in first..first + count {
            let term = self.get(Field::Reg(index));
            value = value << 32 | term.map_or(0, |term| term.value.number());
            mask = mask << 32 | term.map_or(0, |term| term.mask.map_or(ones(32), Value::number));
        }
        let length = field.bytes();
        let partial = (mask != ones(field.bits())).then(|| Value::new(mask, length));
        (mask != 0).then(|| Term { field, value: Value::new(value, length), mask: partial })
    }

    /// All that is required, in canonical order, registers as `reg0` to `reg15`. Unknown fields are not among them.
    pub fn terms(&self) -> impl Iterator<Item = Term> {
        self.tlvs()
            .filter_map(|tlv| tlv.parts().ok().flatten())
            .flat_map(|(field, value, mask)| {
                let bits = mask.map_or(ones(width(field, value)), Value::number);
                match field {
                    Field::Xreg(index) => {
                        let half = |register: u8, shift: u32| {
                            let mask = bits >> shift & ones(32);
                            (mask != 0).then(|| Term {
                                field: Field::Reg(index * 2 + register),
                                value: Value::new(value.number() >> shift, 4),
                                mask: (mask != ones(32)).then(|| Value::new(mask, 4)),
                            })
                        };
                        [half(0, 32), half(1, 0)]
                    }
                    _ => {
                        let partial = (bits != ones(width(field, value))).then(|| Value::new(bits, value.length()));
                        [Some(Term { field, value, mask: partial }), None]
                    }
                }
            })
            .flatten()
    }

    /// The fields this crate does not know, or whose value is longer than a [`Value`], each as its OXM bytes.
    pub fn raw(&self) -> impl Iterator<Item = &[u8]> {
        self.tlvs().filter(|tlv| !matches!(tlv.parts(), Ok(Some(_)))).map(|tlv| tlv.bytes)
    }

    /// Whether every packet matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.oxm.is_empty() && self.broken.is_none()
    }

    /// The canonical OXM bytes, without the structure around them: a key for comparing flows.
    #[must_use]
    pub fn oxm(&self) -> &[u8] {
        &self.oxm
    }

    /// Whether the match can be encoded and the switch would take it: values fit, and each field comes with those it needs.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), EncodeError> {
        match &self.broken {
            Some(broken) => Err(broken.0.clone()),
            None => prerequisites::check(self),
        }
    }

    /// Appends the `ofp_match` structure, padded to eight bytes.
    ///
    /// # Errors
    /// What [`Match::validate`] finds.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.validate()?;
        Self::put_structure(&self.oxm, out)
    }

    /// Appends the structure around canonical OXM bytes.
    pub(crate) fn put_structure(oxm: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u16(1); // OFPMT_OXM
        out.put_u16(0);
        out.put_bytes(oxm);
        out.set_length(start, start + 2, "match")?;
        out.pad_since(start);
        Ok(())
    }

    /// Reads an `ofp_match` structure and its padding.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.u16()? != 1 {
            return Err(DecodeError::Invalid { what: "match", problem: "not an OXM match" });
        }
        let length = reader.u16()?;
        let Some(body) = usize::from(length).checked_sub(4) else {
            return Err(DecodeError::Length { what: "match", length: length.into() });
        };
        let oxm = reader.take(body)?;
        reader.skip(crate::wire::padding(length.into()).min(reader.left()))?;
        Self::from_oxm(oxm)
    }

    /// The match of a bare OXM list, in whatever order and form it is.
    ///
    /// # Errors
    /// When the list is cut short, a known field has a wrong length, or two fields contradict each other.
    pub fn from_oxm(mut oxm: &[u8]) -> Result<Self, DecodeError> {
        let mut matches = Self { oxm: Vec::with_capacity(oxm.len()), broken: None };
        let mut unknown = Vec::new();
        let mut last = None;
        while !oxm.is_empty() {
            let tlv = Tlv::read(oxm)?;
            oxm = &oxm[tlv.bytes.len()..];
            match tlv.parts()? {
                // what the switch sends is in our form already
                Some((field, value, mask)) if last < Some(field.order()) && is_canonical(field, value, mask) => {
                    matches.oxm.put_bytes(tlv.bytes);
                    last = Some(field.order());
                }
                Some((field, value, mask)) => {
                    // the switch may state bits that its own mask hides
                    let value = mask.map_or(value, |mask| Value::new(value.number() & mask.number(), value.length()));
                    matches.insert(field, value, mask)?;
                    last = Some(u16::MAX);
                }
                None => unknown.push(tlv.bytes),
            }
        }
        unknown.sort_unstable();
        for tlv in unknown {
            matches.oxm.put_bytes(tlv);
        }
        Ok(matches)
    }
}

impl std::fmt::Debug for Match {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Match({self}")?;
        if let Some(broken) = &self.broken {
            write!(f, " broken: {}", broken.0)?;
        }
        f.write_str(")")
    }
}
