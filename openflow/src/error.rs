//! What can go wrong when a value becomes bytes, and when bytes become a value.
//!
//! Not the errors that a switch reports: those are messages like any other, see [`crate::switch_error`].

use crate::field::Field;

/// A value that OpenFlow cannot carry, found while it is built or encoded.
///
/// Nothing is ever left out silently: a match, an action or a message either becomes exactly the bytes it says, or this.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EncodeError {
    /// The field's index is beyond its family, such as `Reg(16)`.
    #[error("{0}: there is no such field; use an index within the family")]
    NoSuchField(Field),
    /// A value has bits that the field does not have.
    #[error("{field}={value:#x}: the field has only {bits} bits; use a smaller value")]
    TooWide { field: Field, bits: u16, value: u128 },
    /// A mask on a field that the switch compares as a whole.
    #[error("{0}: this field cannot be masked; match all of it or not at all")]
    NotMaskable(Field),
    /// Bits of the value lie outside of its mask, so the value can never be written or met.
    #[error("{field}={value:#x}/{mask:#x}: the value has bits outside of its mask; clear them or widen the mask")]
    OutsideMask { field: Field, value: u128, mask: u128 },
    /// The same bits of one field were given two different values.
    #[error("{0}: the same bits are given two different values; no packet can match both")]
    Contradiction(Field),
    /// A field was matched without the fields that make it exist in a packet.
    #[error("{field}: needs {needs} in the same match")]
    Prerequisite { field: Field, needs: &'static str },
    /// The field cannot be written by an action.
    #[error("{0}: an action cannot write this field")]
    ReadOnly(Field),
    /// A range of bits that does not lie within its field.
    #[error("{field}[{offset}..+{bits}]: not within the field's {width} bits; name bits that exist")]
    Bits { field: Field, offset: u16, bits: u16, width: u16 },
    /// A part is longer than its length field can say.
    #[error("{what}: {length} bytes, but at most {limit} fit; split it")]
    TooLong { what: &'static str, length: usize, limit: usize },
    /// Anything else the protocol does not allow, in words.
    #[error("{what}: {problem}")]
    Invalid { what: &'static str, problem: &'static str },
}

/// Bytes that are not what they claim to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the object does.
    #[error("{what}: needs {needed} more bytes, has {left}")]
    Truncated { what: &'static str, needed: usize, left: usize },
    /// A version other than OpenFlow 1.5.
    #[error(
        "OpenFlow version {0:#04x}: only 0x06 (OpenFlow 1.5) is spoken here; set protocols=OpenFlow15 on the bridge"
    )]
    Version(u8),
    /// A length field that contradicts the bytes around it.
    #[error("{what}: its length field says {length}, which cannot be")]
    Length { what: &'static str, length: usize },
    /// A field's value that the field cannot have.
    #[error("match: {0}")]
    Match(#[from] EncodeError),
    /// Anything else, in words.
    #[error("{what}: {problem}")]
    Invalid { what: &'static str, problem: &'static str },
}
