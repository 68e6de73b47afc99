//! OXM type-length-values: how a field and its value are written, in a match, in `set_field` and as a bare header.
//!
//! A header is a class (16 bits), a number (7 bits), whether a mask follows (1 bit) and a length (8 bits); class 0xffff is
//! followed by an experimenter id, which the length counts (OpenFlow 1.5.1, 7.2.3.2).

use crate::error::{DecodeError, EncodeError};
use crate::field::{Class, Field, Number, Subfield};
use crate::value::Value;
use crate::wire::{Put, Reader};

/// The experimenter class.
const EXPERIMENTER: u16 = 0xffff;

/// A header as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) class: u16,
    pub(crate) number: u8,
    pub(crate) masked: bool,
    /// Bytes of value and mask, without the experimenter id.
    pub(crate) length: u8,
    pub(crate) experimenter: u32,
}

impl Header {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let class = reader.u16()?;
        let number = reader.u8()?;
        let mut length = reader.u8()?;
        let mut experimenter = 0;
        if class == EXPERIMENTER {
            experimenter = reader.u32()?;
            length = length
                .checked_sub(4)
                .ok_or(DecodeError::Length { what: "OXM experimenter field", length: length.into() })?;
        }
        Ok(Self { class, number: number >> 1, masked: number & 1 == 1, length, experimenter })
    }

    pub(crate) fn field(&self) -> Option<Field> {
        Field::of_number(Class::of(self.class, self.experimenter)?, self.number)
    }
}

/// One type-length-value of an OXM list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tlv<'a> {
    pub(crate) header: Header,
    /// Value and mask, if there is one.
    pub(crate) payload: &'a [u8],
    /// Header and payload.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Tlv<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, "OXM field");
        let header = Header::read(&mut reader)?;
        let payload = reader.take(header.length.into())?;
        let length = bytes.len() - reader.left();
        Ok(Self { header, payload, bytes: &bytes[..length] })
    }

    /// Field, value and mask, unless the field is unknown, or longer than a [`Value`] or empty as only tunnel options can be.
    pub(crate) fn parts(&self) -> Result<Option<(Field, Value, Option<Value>)>, DecodeError> {
        let Some(field) = self.header.field() else { return Ok(None) };
        let half = if self.header.masked { self.payload.len() / 2 } else { self.payload.len() };
        if field.is_variable() && half == 0 {
            return Ok(None);
        }
        let right = field.is_variable() || half == usize::from(field.bytes());
        if !right || (self.header.masked && self.payload.len() != 2 * half) {
            return Err(DecodeError::Length { what: field.info().name, length: self.payload.len() });
        }
        let (value, mask) = self.payload.split_at(half);
        let Some(value) = Value::from_bytes(value) else { return Ok(None) };
        let mask = if self.header.masked { Value::from_bytes(mask) } else { None };
        Ok(Some((field, value, mask)))
    }
}

fn put_number(out: &mut Vec<u8>, field: Field, number: &Number, masked: bool, length: u8) {
    let (class, experimenter) = number.class.numbers();
    out.put_u16(class);
    out.put_u8((number.number + field.index()) << 1 | u8::from(masked));
    if class == EXPERIMENTER {
        out.put_u8(length + 4);
        out.put_u32(experimenter);
    } else {
        out.put_u8(length);
    }
}

/// The length a header states for an unmasked value. Variable fields state their most.
fn stated_length(field: Field) -> u8 {
    field.bytes()
}

/// A header alone, in the form of matches: what `copy_field` carries.
pub(crate) fn put_header(out: &mut Vec<u8>, field: Field) -> Result<(), EncodeError> {
    existing(field)?;
    put_number(out, field, field.number(), false, stated_length(field));
    Ok(())
}

/// A header alone, in its oldest form: what Nicira's actions carry.
pub(crate) fn put_old_header(out: &mut Vec<u8>, field: Field) -> Result<(), EncodeError> {
    existing(field)?;
    put_number(out, field, field.old_number(), false, stated_length(field));
    Ok(())
}

/// The oldest form in exactly four bytes, for actions that have no room for an experimenter id.
pub(crate) fn put_short_header(out: &mut Vec<u8>, field: Field) -> Result<(), EncodeError> {
    if field.old_number().class.numbers().0 == EXPERIMENTER {
        return Err(EncodeError::Invalid {
            what: field.info().name,
            problem: "this action has no room for the field's long number; copy it to a register first",
        });
    }
    put_old_header(out, field)
}

/// Header, value and mask. The value must have the field's length.
pub(crate) fn put_value(out: &mut Vec<u8>, field: Field, value: &Value, mask: Option<&Value>) {
    let length = value.length() + mask.map_or(0, |mask| mask.length());
    put_number(out, field, field.number(), mask.is_some(), length);
    out.put_bytes(value.bytes());
    if let Some(mask) = mask {
        out.put_bytes(mask.bytes());
    }
}

/// Reads a header that names a field and carries no value.
pub(crate) fn read_field(reader: &mut Reader<'_>) -> Result<Field, DecodeError> {
    let header = Header::read(reader)?;
    header.field().ok_or(DecodeError::Invalid { what: "OXM header", problem: "unknown field" })
}

/// The field, if its index is within its family.
pub(crate) fn existing(field: Field) -> Result<Field, EncodeError> {
    if field.exists() { Ok(field) } else { Err(EncodeError::NoSuchField(field)) }
}

/// The subfield, if its bits are within its field.
pub(crate) fn within(subfield: Subfield) -> Result<Subfield, EncodeError> {
    let Subfield { field, offset, bits } = subfield;
    let width = existing(field)?.bits();
    if bits == 0 || offset.checked_add(bits).is_none_or(|end| end > width) {
        return Err(EncodeError::Bits { field, offset, bits, width });
    }
    Ok(subfield)
}

/// The subfield, if it can be written.
pub(crate) fn writable(subfield: Subfield) -> Result<Subfield, EncodeError> {
    within(subfield)?;
    if subfield.field.is_writable() { Ok(subfield) } else { Err(EncodeError::ReadOnly(subfield.field)) }
}
