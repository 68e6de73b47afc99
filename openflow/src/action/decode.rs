//! Bytes to actions.
//!
//! A list whose lengths add up always decodes: an action with an unknown type, field or property becomes [`Action::Raw`].

use super::conntrack::unpacked;
use super::{Action, Controller, Ct, Learn, MemberBundle, Multipath, NICIRA, Nat, Sample, nicira};
use crate::error::DecodeError;
use crate::field::Field;
use crate::oxm::{self, Tlv};
use crate::port::PortNumber;
use crate::wire::Reader;

/// The packet type that says "whatever the removed header names" (OFPHTN_ONF, 0xfffe).
pub(super) const NEXT_PROTOCOL: u32 = 0xfffe;

/// How deep `clone` and `ct` may nest; what is deeper stays raw, so that no message can exhaust the stack.
const MAX_DEPTH: u8 = 16;

/// Reads actions until the bytes end.
pub(crate) fn decode_list(bytes: &[u8]) -> Result<Vec<Action>, DecodeError> {
    decode_nested(bytes, 0)
}

/// Reads the actions within an action that is itself `depth` deep.
pub(super) fn decode_nested(mut bytes: &[u8], depth: u8) -> Result<Vec<Action>, DecodeError> {
    if depth > MAX_DEPTH {
        return Err(DecodeError::Invalid { what: "action", problem: "nested too deep" });
    }
    let mut actions = Vec::new();
    while !bytes.is_empty() {
        let length = match bytes {
            [_, _, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => return Err(DecodeError::Truncated { what: "action", needed: 8, left: bytes.len() }),
        };
        if length < 8 || !length.is_multiple_of(8) || length > bytes.len() {
            return Err(DecodeError::Length { what: "action", length });
        }
        let (action, rest) = bytes.split_at(length);
        bytes = rest;
        actions.push(known(action, depth).unwrap_or_else(|_| Action::Raw(action.into())));
    }
    Ok(actions)
}

fn unknown() -> DecodeError {
    DecodeError::Invalid { what: "action", problem: "unknown" }
}

/// An action this crate knows, or an error that says why it does not.
fn known(bytes: &[u8], depth: u8) -> Result<Action, DecodeError> {
    let mut body = Reader::new(bytes, "action");
    let kind = body.u16()?;
    body.skip(2)?;
    Ok(match kind {
        0 => Action::Output { port: PortNumber(body.u32()?), max_len: body.u16()? },
        17 => Action::PushVlan(body.u16()?),
        18 => Action::PopVlan,
        21 => Action::SetQueue(body.u32()?),
        22 => Action::Group(body.u32()?),
        23 => Action::SetIpTtl(body.u8()?),
        24 => Action::DecTtl,
        25 => set_field(body.rest())?,
        28 => copy_field(&mut body)?,
        29 => Action::Meter(body.u32()?),
        0xffff if body.u32()? == NICIRA => vendor(body.u16()?, &mut body, depth)?,
        _ => return Err(unknown()),
    })
}

fn set_field(bytes: &[u8]) -> Result<Action, DecodeError> {
    let (field, value, mask) = Tlv::read(bytes)?.parts()?.ok_or_else(unknown)?;
    let full = |mask: &crate::Value| mask.number() == crate::value::ones(u16::from(mask.length()) * 8);
    Ok(Action::SetField { field, value, mask: mask.filter(|mask| !full(mask)) })
}

fn copy_field(body: &mut Reader<'_>) -> Result<Action, DecodeError> {
    let bits = body.u16()?;
    let source = body.u16()?;
    let destination = body.u16()?;
    body.skip(2)?;
    let source = oxm::read_field(body)?.slice(source, bits);
    let destination = oxm::read_field(body)?.slice(destination, bits);
    Ok(Action::CopyField { source, destination })
}

fn vendor(subtype: u16, body: &mut Reader<'_>, depth: u8) -> Result<Action, DecodeError> {
    Ok(match subtype {
        nicira::OUTPUT_TRUNC => Action::OutputTruncated { port: PortNumber::widen(body.u16()?), max_len: body.u32()? },
        nicira::OUTPUT_REG => {
            let bits = body.u16()?;
            let source = unpacked(oxm::read_field(body)?, bits);
            Action::OutputReg { source, max_len: body.u16()? }
        }
        nicira::OUTPUT_REG2 => {
            let bits = body.u16()?;
            let max_len = body.u16()?;
            Action::OutputReg { source: unpacked(oxm::read_field(body)?, bits), max_len }
        }
        nicira::CONTROLLER => Action::Controller(Box::new(Controller::decode_plain(body)?)),
        nicira::CONTROLLER2 => Action::Controller(Box::new(Controller::decode_properties(body)?)),
        nicira::POP_QUEUE => Action::PopQueue,
        nicira::STACK_PUSH => Action::StackPush(stack(body)?),
        nicira::STACK_POP => Action::StackPop(stack(body)?),
        nicira::DELETE_FIELD => Action::DeleteField(oxm::read_field(body)?),
        nicira::DEC_TTL_CNT_IDS => {
            let count = body.u16()?;
            body.skip(4)?;
            Action::DecTtlControllers((0..count).map(|_| body.u16()).collect::<Result<_, _>>()?)
        }
        nicira::CT => Action::Ct(Box::new(Ct::decode(body, depth + 1)?)),
        nicira::CT_CLEAR => Action::CtClear,
        nicira::NAT => Action::Nat(Nat::decode(body)?),
        nicira::LEARN => Action::Learn(Box::new(Learn::decode(body, false)?)),
        nicira::LEARN2 => Action::Learn(Box::new(Learn::decode(body, true)?)),
        nicira::CONJUNCTION => conjunction(body)?,
        nicira::RESUBMIT | nicira::RESUBMIT_TABLE | nicira::RESUBMIT_TABLE_CT => resubmit(body, subtype)?,
        nicira::CLONE => {
            body.skip(6)?;
            Action::Clone(decode_nested(body.rest(), depth + 1)?)
        }
        nicira::NOTE => Action::Note(body.rest().to_vec()),
        nicira::CHECK_PKT_LARGER => {
            let length = body.u16()?;
            let offset = body.u16()?;
            Action::CheckPktLarger { length, destination: oxm::read_field(body)?.slice(offset, 1) }
        }
        nicira::SAMPLE | nicira::SAMPLE2 | nicira::SAMPLE3 => Action::Sample(Sample::decode(body, subtype)?),
        nicira::MULTIPATH => Action::Multipath(Box::new(Multipath::decode(body)?)),
        nicira::BUNDLE => Action::Bundle(Box::new(MemberBundle::decode(body, false)?)),
        nicira::BUNDLE_LOAD => Action::Bundle(Box::new(MemberBundle::decode(body, true)?)),
        nicira::FIN_TIMEOUT => Action::FinTimeout { idle: body.u16()?, hard: body.u16()? },
        nicira::EXIT => Action::Exit,
        nicira::ENCAP => encap(body)?,
        nicira::DECAP => {
            body.skip(2)?;
            let packet_type = body.u32()?;
            Action::Decap((packet_type != NEXT_PROTOCOL).then_some(packet_type))
        }
        _ => return Err(unknown()),
    })
}

fn stack(body: &mut Reader<'_>) -> Result<crate::Subfield, DecodeError> {
    let offset = body.u16()?;
    let field: Field = oxm::read_field(body)?;
    Ok(field.slice(offset, body.u16()?))
}

fn conjunction(body: &mut Reader<'_>) -> Result<Action, DecodeError> {
    let clause = body.u8()?.checked_add(1).ok_or_else(unknown)?;
    let clauses = body.u8()?;
    Ok(Action::Conjunction { id: body.u32()?, clause, clauses })
}

fn resubmit(body: &mut Reader<'_>, subtype: u16) -> Result<Action, DecodeError> {
    let port = PortNumber::widen(body.u16()?);
    let table = body.u8()?;
    Ok(Action::Resubmit {
        port: (port != PortNumber::IN_PORT).then_some(port),
        table: (subtype != nicira::RESUBMIT && table != super::SAME_TABLE).then_some(table),
        ct: subtype == nicira::RESUBMIT_TABLE_CT,
    })
}

/// Only headers without properties: those have them that this project excludes (NSH).
fn encap(body: &mut Reader<'_>) -> Result<Action, DecodeError> {
    if body.u16()? != 0 || body.left() != 4 {
        return Err(unknown());
    }
    Ok(Action::Encap(body.u32()?))
}
