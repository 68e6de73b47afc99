//! Actions to bytes.

use super::{Action, NICIRA, nicira};
use crate::error::EncodeError;
use crate::field::{Field, Subfield};
use crate::oxm;
use crate::port::PortNumber;
use crate::value::{Value, ones};
use crate::wire::Put;

/// Appends a list of actions.
pub(crate) fn encode_list(actions: &[Action], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    actions.iter().try_for_each(|action| action.encode(out))
}

/// Appends a standard action: its type, its length, its body, its padding.
fn standard(
    out: &mut Vec<u8>,
    kind: u16,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.put_u16(kind);
    out.put_u16(0);
    body(out)?;
    out.pad_since(start);
    out.set_length(start, start + 2, "action")
}

/// Appends one of Nicira's actions.
fn vendor(
    out: &mut Vec<u8>,
    subtype: u16,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    standard(out, 0xffff, |out| {
        out.put_u32(NICIRA);
        out.put_u16(subtype);
        body(out)
    })
}

/// Appends one of Nicira's actions that are 24 bytes whatever the length of the field's header in them.
fn vendor24(
    out: &mut Vec<u8>,
    subtype: u16,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    vendor(out, subtype, |out| {
        let start = out.len();
        body(out)?;
        let written = out.len() - start;
        out.put_zeros(14usize.saturating_sub(written));
        Ok(())
    })
}

fn number32(out: &mut Vec<u8>, kind: u16, number: u32) -> Result<(), EncodeError> {
    standard(out, kind, |out| {
        out.put_u32(number);
        Ok(())
    })
}

impl Action {
    /// Appends the action.
    ///
    /// # Errors
    /// When it says something that the protocol cannot carry.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Output { port, max_len } => standard(out, 0, |out| {
                out.put_u32(port.0);
                out.put_u16(*max_len);
                out.put_zeros(6);
                Ok(())
            }),
            Self::Group(id) => number32(out, 22, *id),
            Self::Meter(id) => number32(out, 29, *id),
            Self::SetQueue(id) => number32(out, 21, *id),
            Self::SetField { field, value, mask } => set_field(out, *field, *value, *mask),
            Self::CopyField { source, destination } => copy_field(out, *source, *destination),
            Self::PushVlan(ethertype) => standard(out, 17, |out| {
                out.put_u16(*ethertype);
                Ok(())
            }),
            Self::PopVlan => number32(out, 18, 0),
            Self::SetIpTtl(ttl) => standard(out, 23, |out| {
                out.put_u8(*ttl);
                Ok(())
            }),
            Self::DecTtl => number32(out, 24, 0),
            Self::Raw(bytes) => raw(out, bytes),
            _ => self.encode_vendor(out),
        }
    }

    fn encode_vendor(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::OutputTruncated { port, max_len } => vendor(out, nicira::OUTPUT_TRUNC, |out| {
                out.put_u16(port.narrow()?);
                out.put_u32(*max_len);
                Ok(())
            }),
            Self::OutputReg { source, max_len } => output_reg(out, *source, *max_len),
            Self::Controller(controller) if controller.is_plain() => vendor(out, nicira::CONTROLLER, |out| {
                controller.encode_plain(out);
                Ok(())
            }),
            Self::Controller(controller) => vendor(out, nicira::CONTROLLER2, |out| controller.encode_properties(out)),
            Self::StackPush(bits) => vendor24(out, nicira::STACK_PUSH, |out| stack(out, oxm::within(*bits)?)),
            Self::StackPop(bits) => vendor24(out, nicira::STACK_POP, |out| stack(out, oxm::writable(*bits)?)),
            Self::DeleteField(field) => vendor24(out, nicira::DELETE_FIELD, |out| oxm::put_old_header(out, *field)),
            Self::DecTtlControllers(ids) => vendor(out, nicira::DEC_TTL_CNT_IDS, |out| controllers(out, ids)),
            Self::Ct(ct) => vendor(out, nicira::CT, |out| ct.encode(out)),
            Self::Nat(nat) => vendor(out, nicira::NAT, |out| nat.encode(out)),
            Self::Learn(learn) => vendor(out, learn.subtype(), |out| learn.encode(out)),
            Self::Conjunction { id, clause, clauses } => conjunction(out, *id, *clause, *clauses),
            Self::Resubmit { port, table, ct } => resubmit(out, *port, *table, *ct),
            Self::Clone(actions) => vendor(out, nicira::CLONE, |out| {
                out.put_zeros(6);
                encode_list(actions, out)
            }),
            Self::Note(bytes) => vendor(out, nicira::NOTE, |out| {
                out.put_bytes(bytes);
                out.put_zeros(6usize.saturating_sub(bytes.len()));
                Ok(())
            }),
            Self::CheckPktLarger { length, destination } => {
                vendor24(out, nicira::CHECK_PKT_LARGER, |out| larger(out, *length, *destination))
            }
            Self::Sample(sample) => vendor(out, sample.subtype(), |out| sample.encode(out)),
            Self::Multipath(multipath) => vendor(out, nicira::MULTIPATH, |out| multipath.encode(out)),
            Self::Bundle(bundle) => {
                let subtype = if bundle.destination.is_some() { nicira::BUNDLE_LOAD } else { nicira::BUNDLE };
                vendor(out, subtype, |out| bundle.encode(out))
            }
            Self::FinTimeout { idle, hard } => vendor(out, nicira::FIN_TIMEOUT, |out| {
                out.put_u16(*idle);
                out.put_u16(*hard);
                Ok(())
            }),
            Self::Encap(packet_type) => vendor(out, nicira::ENCAP, |out| {
                out.put_u16(0);
                out.put_u32(*packet_type);
                Ok(())
            }),
            Self::Decap(packet_type) => vendor(out, nicira::DECAP, |out| {
                out.put_u16(0);
                out.put_u32(packet_type.unwrap_or(super::decode::NEXT_PROTOCOL));
                Ok(())
            }),
            Self::PopQueue => vendor(out, nicira::POP_QUEUE, |_| Ok(())),
            Self::CtClear => vendor(out, nicira::CT_CLEAR, |_| Ok(())),
            Self::Exit => vendor(out, nicira::EXIT, |_| Ok(())),
            _ => Err(EncodeError::Invalid { what: "action", problem: "not one of Nicira's" }),
        }
    }
}

fn set_field(out: &mut Vec<u8>, field: Field, value: Value, mask: Option<Value>) -> Result<(), EncodeError> {
    if !oxm::existing(field)?.is_writable() {
        return Err(EncodeError::ReadOnly(field));
    }
    if field == Field::InPort {
        let problem = "OpenFlow 1.5 forbids it; write InPort16, or copy the number from a register";
        return Err(EncodeError::Invalid { what: "set_field of in_port_oxm", problem });
    }
    let (bits, length) = if field.is_variable() {
        (u16::from(value.length()) * 8, value.length())
    } else {
        (field.bits(), field.bytes())
    };
    let number = value.number();
    let full = ones(bits);
    let mask = mask.map_or(full, Value::number);
    if mask & !full != 0 || mask == 0 {
        return Err(EncodeError::TooWide { field, bits, value: mask });
    }
    if number & !mask != 0 {
        return Err(EncodeError::OutsideMask { field, value: number, mask });
    }
    // the switch drops the leading zeros of values without a fixed length, so that is what a dump will show
    let length = if field.is_variable() {
        let used = if mask == full { number } else { number | mask };
        u8::try_from((128 - used.leading_zeros()).div_ceil(8).max(1)).expect("a number of 128 bits has 16 bytes")
    } else {
        length
    };
    let mask = (mask != full).then(|| Value::new(mask, length));
    standard(out, 25, |out| {
        oxm::put_value(out, field, &Value::new(number, length), mask.as_ref());
        Ok(())
    })
}

fn copy_field(out: &mut Vec<u8>, source: Subfield, destination: Subfield) -> Result<(), EncodeError> {
    let bits = oxm::within(source)?.bits;
    if oxm::writable(destination)?.bits != bits {
        return Err(EncodeError::Invalid {
            what: "copy_field",
            problem: "source and destination have different numbers of bits",
        });
    }
    standard(out, 28, |out| {
        out.put_u16(bits);
        out.put_u16(source.offset);
        out.put_u16(destination.offset);
        out.put_u16(0);
        oxm::put_header(out, source.field)?;
        oxm::put_header(out, destination.field)
    })
}

fn raw(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EncodeError> {
    let stated = bytes.get(2..4).map(|length| usize::from(u16::from_be_bytes([length[0], length[1]])));
    if stated != Some(bytes.len()) || !bytes.len().is_multiple_of(8) {
        return Err(EncodeError::Invalid {
            what: "raw action",
            problem: "its length field does not say its length, a multiple of 8",
        });
    }
    out.put_bytes(bytes);
    Ok(())
}

fn output_reg(out: &mut Vec<u8>, source: Subfield, max_len: u16) -> Result<(), EncodeError> {
    let bits = super::conntrack::packed(oxm::within(source)?)?;
    if source.field.old_number().class.numbers().0 == 0xffff {
        return vendor24(out, nicira::OUTPUT_REG2, |out| {
            out.put_u16(bits);
            out.put_u16(max_len);
            oxm::put_old_header(out, source.field)
        });
    }
    vendor24(out, nicira::OUTPUT_REG, |out| {
        out.put_u16(bits);
        oxm::put_old_header(out, source.field)?;
        out.put_u16(max_len);
        Ok(())
    })
}

fn stack(out: &mut Vec<u8>, bits: Subfield) -> Result<(), EncodeError> {
    out.put_u16(bits.offset);
    oxm::put_old_header(out, bits.field)?;
    out.put_u16(bits.bits);
    Ok(())
}

fn controllers(out: &mut Vec<u8>, ids: &[u16]) -> Result<(), EncodeError> {
    let count = u16::try_from(ids.len()).ok().filter(|count| *count > 0);
    out.put_u16(
        count
            .ok_or(EncodeError::Invalid { what: "dec_ttl", problem: "at least one and at most 65,535 controllers" })?,
    );
    out.put_zeros(4);
    for id in ids {
        out.put_u16(*id);
    }
    Ok(())
}

fn conjunction(out: &mut Vec<u8>, id: u32, clause: u8, clauses: u8) -> Result<(), EncodeError> {
    if clause == 0 || clause > clauses || !(2..=64).contains(&clauses) {
        return Err(EncodeError::Invalid {
            what: "conjunction",
            problem: "clauses are counted from 1, and there are 2 to 64 of them",
        });
    }
    vendor(out, nicira::CONJUNCTION, |out| {
        out.put_u8(clause - 1);
        out.put_u8(clauses);
        out.put_u32(id);
        Ok(())
    })
}

fn resubmit(out: &mut Vec<u8>, port: Option<PortNumber>, table: Option<u8>, ct: bool) -> Result<(), EncodeError> {
    let port = port.unwrap_or(PortNumber::IN_PORT).narrow()?;
    let subtype = if ct { nicira::RESUBMIT_TABLE_CT } else { nicira::RESUBMIT_TABLE };
    vendor(out, subtype, |out| {
        out.put_u16(port);
        out.put_u8(table.unwrap_or(super::SAME_TABLE));
        Ok(())
    })
}

fn larger(out: &mut Vec<u8>, length: u16, destination: Subfield) -> Result<(), EncodeError> {
    if oxm::writable(destination)?.bits != 1 {
        return Err(EncodeError::Invalid { what: "check_pkt_larger", problem: "the result is one bit" });
    }
    out.put_u16(length);
    out.put_u16(destination.offset);
    oxm::put_old_header(out, destination.field)
}
