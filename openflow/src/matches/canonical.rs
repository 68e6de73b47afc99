//! What makes the form of a match the only one: widths, full masks, and fields that are another field by another name.

use crate::error::EncodeError;
use crate::field::Field;
use crate::value::{Value, ones};

/// Whether a field would be written just so: not by another field's name, cut to its mask, and masked only where it must be.
pub(super) fn is_canonical(field: Field, value: Value, mask: Option<Value>) -> bool {
    let alias = matches!(
        field,
        Field::Reg(_) | Field::Xxreg(_) | Field::InPort16 | Field::NwTos | Field::VlanTci | Field::PacketType
    );
    let full = ones(width(field, value));
    let kept = mask.map_or(full, Value::number);
    let stated = match mask {
        None => !field.states_exact_mask(),
        Some(_) => kept != 0 && kept & !full == 0 && (kept != full || field.states_exact_mask()) && field.is_maskable(),
    };
    !alias && stated && value.number() & !kept == 0
}

/// How many bits count in a value of the field.
pub(super) fn width(field: Field, value: Value) -> u16 {
    if field.is_variable() { u16::from(value.length()) * 8 } else { field.bits() }
}

/// Value and mask at the field's width.
pub(super) fn fitted(field: Field, value: Value, mask: Option<Value>) -> Result<(Value, u128), EncodeError> {
    let bits = width(field, value);
    let length = if field.is_variable() { value.length() } else { field.bytes() };
    let number = value.number();
    let value = value.fit(bits, length).ok_or(EncodeError::TooWide { field, bits, value: number })?;
    let full = ones(bits);
    let mask = mask.map_or(full, |mask| mask.number() & full);
    if mask != full && mask != 0 && !field.is_maskable() {
        return Err(EncodeError::NotMaskable(field));
    }
    if number & !mask != 0 {
        return Err(EncodeError::OutsideMask { field, value: number, mask });
    }
    Ok((value, mask))
}

/// A 16-bit port number as a 32-bit one: reserved ports are at the end of either range.
pub(super) const fn wide_port(port: u128) -> u128 {
    if port >= 0xff00 { port | 0xffff_0000 } else { port }
}
