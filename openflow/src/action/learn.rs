//! `learn(…)`: a flow that adds flows (NXAST_LEARN, NXAST_LEARN2).

use crate::error::{DecodeError, EncodeError};
use crate::field::Subfield;
use crate::flags::flags;
use crate::oxm;
use crate::value::Value;
use crate::wire::{Put, Reader};

flags! {
    /// How learned flows behave. Whether the result is written is said by [`Learn::result`].
    LearnFlags: u16 {
        /// A flow-removed message when a learned flow goes.
        SEND_FLOW_REMOVED = 1 << 0, "send_flow_rem";
        /// Learned flows go when this flow goes.
        DELETE_LEARNED = 1 << 1, "delete_learned";
    }
}

const WRITE_RESULT: u16 = 1 << 2;

/// Adds or changes a flow after the packet's example.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Learn {
    pub table: u8,
    pub priority: u16,
    pub cookie: u64,
    /// Seconds; 0 for none. The same for the others.
    pub idle_timeout: u16,
    pub hard_timeout: u16,
    /// Timeouts once a TCP connection has ended.
    pub fin_idle_timeout: u16,
    pub fin_hard_timeout: u16,
    pub flags: LearnFlags,
    /// At most this many learned flows in the table; 0 for no limit.
    pub limit: u32,
    /// A bit that says whether the flow could be learned.
    pub result: Option<Subfield>,
    /// What the learned flow matches and does.
    pub specs: Vec<LearnSpec>,
}

/// One thing about the learned flow: where bits come from and where they go, equally many.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LearnSpec {
    pub source: LearnSource,
    pub target: LearnTarget,
}

/// Where the bits come from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LearnSource {
    /// The packet that is being looked at.
    Field(Subfield),
    /// A constant.
    Immediate(Value),
}

/// Where the bits go in the learned flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LearnTarget {
    /// Its match.
    Match(Subfield),
    /// A field it writes.
    Load(Subfield),
    /// The port it outputs to.
    Output,
}

const SOURCE_IMMEDIATE: u16 = 1 << 13;
const TARGET_LOAD: u16 = 1 << 11;
const TARGET_OUTPUT: u16 = 2 << 11;
const TARGET_MASK: u16 = 3 << 11;
const BITS_MASK: u16 = 0x3ff;

impl LearnSpec {
    /// Matches what the same field has in the packet.
    #[must_use]
    pub fn same(field: impl Into<Subfield>) -> Self {
        let bits = field.into();
        Self { source: LearnSource::Field(bits), target: LearnTarget::Match(bits) }
    }

    /// How many bits are copied.
    pub(crate) fn bits(&self) -> Result<u16, EncodeError> {
        let source = match self.source {
            LearnSource::Field(source) => Some(oxm::within(source)?.bits),
            LearnSource::Immediate(_) => None,
        };
        let target = match self.target {
            LearnTarget::Match(target) => Some(oxm::within(target)?.bits),
            LearnTarget::Load(target) => Some(oxm::writable(target)?.bits),
            LearnTarget::Output => None,
        };
        match (source, target) {
            (Some(source), Some(target)) if source != target => {
                Err(EncodeError::Invalid { what: "learn", problem: "source and target have different numbers of bits" })
            }
            (Some(bits), _) | (None, Some(bits)) => Ok(bits),
            (None, None) => Err(EncodeError::Invalid {
                what: "learn",
                problem: "output to a constant port is not learned; write it as a load",
            }),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let bits = self.bits()?;
        let source = if matches!(self.source, LearnSource::Immediate(_)) { SOURCE_IMMEDIATE } else { 0 };
        let target = match self.target {
            LearnTarget::Match(_) => 0,
            LearnTarget::Load(_) => TARGET_LOAD,
            LearnTarget::Output => TARGET_OUTPUT,
        };
        out.put_u16(bits | source | target);
        match self.source {
            LearnSource::Field(source) => put_subfield(out, source)?,
            LearnSource::Immediate(value) => put_immediate(out, value, bits)?,
        }
        match self.target {
            LearnTarget::Match(target) | LearnTarget::Load(target) => put_subfield(out, target),
            LearnTarget::Output => Ok(()),
        }
    }

    fn decode(header: u16, body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bits = header & BITS_MASK;
        let source = if header & SOURCE_IMMEDIATE == 0 {
            LearnSource::Field(read_subfield(body, bits)?)
        } else {
            let bytes = body.take(usize::from(bits.div_ceil(16)) * 2)?;
            let used = &bytes[bytes.len() - usize::from(bits.div_ceil(8))..];
            let value = Value::from_bytes(used)
                .ok_or(DecodeError::Invalid { what: "learn", problem: "a constant of more than 128 bits" })?;
            LearnSource::Immediate(value)
        };
        let target = match header & TARGET_MASK {
            0 => LearnTarget::Match(read_subfield(body, bits)?),
            TARGET_LOAD => LearnTarget::Load(read_subfield(body, bits)?),
            TARGET_OUTPUT => LearnTarget::Output,
            _ => return Err(DecodeError::Invalid { what: "learn", problem: "unknown target" }),
        };
        Ok(Self { source, target })
    }
}

fn put_subfield(out: &mut Vec<u8>, subfield: Subfield) -> Result<(), EncodeError> {
    oxm::put_short_header(out, subfield.field)?;
    out.put_u16(subfield.offset);
    Ok(())
}

fn read_subfield(body: &mut Reader<'_>, bits: u16) -> Result<Subfield, DecodeError> {
    let field = oxm::read_field(body)?;
    Ok(field.slice(body.u16()?, bits))
}

/// A constant in whole 16-bit words, right-aligned.
fn put_immediate(out: &mut Vec<u8>, value: Value, bits: u16) -> Result<(), EncodeError> {
    let too_wide = EncodeError::Invalid { what: "learn", problem: "the constant has more bits than its target" };
    if bits > 128 {
        return Err(too_wide);
    }
    let value = value.fit(bits, 16).ok_or(too_wide)?;
    let bytes = usize::from(bits.div_ceil(16)) * 2;
    out.put_bytes(&value.bytes()[16 - bytes..]);
    Ok(())
}

impl Learn {
    /// Whether the old form has no room for all of it.
    fn needs_second_form(&self) -> bool {
        self.limit != 0 || self.result.is_some()
    }

    /// The whole action, since its subtype depends on what it says.
    pub(super) fn subtype(&self) -> u16 {
        if self.needs_second_form() { super::nicira::LEARN2 } else { super::nicira::LEARN }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u16(self.idle_timeout);
        out.put_u16(self.hard_timeout);
        out.put_u16(self.priority);
        out.put_u64(self.cookie);
        out.put_u16(self.flags.0 | if self.result.is_some() { WRITE_RESULT } else { 0 });
        out.put_u8(self.table);
        out.put_u8(0);
        out.put_u16(self.fin_idle_timeout);
        out.put_u16(self.fin_hard_timeout);
        if self.needs_second_form() {
            out.put_u32(self.limit);
            out.put_u16(self.result.map_or(0, |result| result.offset));
            out.put_u16(0);
            if let Some(result) = self.result {
                if oxm::writable(result)?.bits != 1 {
                    return Err(EncodeError::Invalid { what: "learn", problem: "the result is one bit" });
                }
                oxm::put_old_header(out, result.field)?;
            }
        }
        self.specs.iter().try_for_each(|spec| spec.encode(out))
    }

    pub(super) fn decode(body: &mut Reader<'_>, second_form: bool) -> Result<Self, DecodeError> {
        let mut learn = Self {
            idle_timeout: body.u16()?,
            hard_timeout: body.u16()?,
            priority: body.u16()?,
            cookie: body.u64()?,
            ..Self::default()
        };
        let flags = body.u16()?;
        learn.flags = LearnFlags(flags & !WRITE_RESULT);
        learn.table = body.u8()?;
        body.skip(1)?;
        learn.fin_idle_timeout = body.u16()?;
        learn.fin_hard_timeout = body.u16()?;
        if second_form {
            learn.limit = body.u32()?;
            let offset = body.u16()?;
            body.skip(2)?;
            if flags & WRITE_RESULT != 0 {
                learn.result = Some(oxm::read_field(body)?.slice(offset, 1));
            }
        }
        while body.left() >= 2 {
            let header = body.u16()?;
            if header == 0 {
                break; // padding
            }
            learn.specs.push(LearnSpec::decode(header, body)?);
        }
        Ok(learn)
    }
}
