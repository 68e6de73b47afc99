//! Instructions: what a flow tells the pipeline, of which its actions are one.
//!
//! The switch keeps at most one of each kind and runs them in one order; [`Instructions`] has that shape, so equal instructions
//! have equal bytes.

use crate::action::{Action, decode_list, encode_list};
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Put, Reader};

/// What a flow does. Nothing at all drops the packet.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Instructions {
    /// Done now, in order.
    pub apply: Vec<Action>,
    /// Empties the action set.
    pub clear: bool,
    /// Added to the action set, which is done when the packet leaves the pipeline.
    pub write: Vec<Action>,
    /// Value and mask written to the metadata field.
    pub metadata: Option<(u64, u64)>,
    /// The table where the packet goes on.
    pub goto: Option<u8>,
    /// Instructions this crate does not know, whole, as they came.
    pub raw: Vec<u8>,
}

const GOTO_TABLE: u16 = 1;
const WRITE_METADATA: u16 = 2;
const WRITE_ACTIONS: u16 = 3;
const APPLY_ACTIONS: u16 = 4;
const CLEAR_ACTIONS: u16 = 5;

impl Instructions {
    /// Whether the packet ends here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Appends the instructions in the switch's order.
    ///
    /// # Errors
    /// When an action cannot be encoded, or the list is longer than 64 KiB.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if !self.apply.is_empty() {
            actions(out, APPLY_ACTIONS, &self.apply)?;
        }
        if self.clear {
            actions(out, CLEAR_ACTIONS, &[])?;
        }
        if !self.write.is_empty() {
            actions(out, WRITE_ACTIONS, &self.write)?;
        }
        if let Some((value, mask)) = self.metadata {
            if value & !mask != 0 {
                let (value, mask) = (value.into(), mask.into());
                return Err(EncodeError::OutsideMask { field: crate::Field::Metadata, value, mask });
            }
            out.put_u16(WRITE_METADATA);
            out.put_u16(24);
            out.put_zeros(4);
            out.put_u64(value);
            out.put_u64(mask);
        }
        if let Some(table) = self.goto {
            out.put_u16(GOTO_TABLE);
            out.put_u16(8);
            out.put_u8(table);
            out.put_zeros(3);
        }
        out.put_bytes(&self.raw);
        Ok(())
    }

    /// Reads instructions until the bytes end.
    ///
    /// # Errors
    /// When lengths do not add up. Unknown instructions are kept in `raw`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, "instruction");
        let mut instructions = Self::default();
        while !reader.is_empty() {
            let kind = reader.u16()?;
            let length = reader.u16()?;
            let mut body = reader.part(length, 4, "instruction")?;
            match (kind, length) {
                (APPLY_ACTIONS, 8..) => {
                    body.skip(4)?;
                    instructions.apply.extend(decode_list(body.rest())?);
                }
                (WRITE_ACTIONS, 8..) => {
                    body.skip(4)?;
                    instructions.write.extend(decode_list(body.rest())?);
                }
                (CLEAR_ACTIONS, 8) => instructions.clear = true,
                (WRITE_METADATA, 24) => {
                    body.skip(4)?;
                    instructions.metadata = Some((body.u64()?, body.u64()?));
                }
                (GOTO_TABLE, 8) => instructions.goto = Some(body.u8()?),
                _ => {
                    instructions.raw.put_u16(kind);
                    instructions.raw.put_u16(length);
                    instructions.raw.put_bytes(body.rest());
                }
            }
        }
        Ok(instructions)
    }
}

fn actions(out: &mut Vec<u8>, kind: u16, actions: &[Action]) -> Result<(), EncodeError> {
    let start = out.len();
    out.put_u16(kind);
    out.put_u16(0);
    out.put_zeros(4);
    encode_list(actions, out)?;
    out.set_length(start, start + 2, "instruction")
}
