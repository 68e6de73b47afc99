//! A flow that is bytes already: for whoever keeps many of them.

use super::{ALL_TABLES, Filter, Flow, FlowCommand, FlowFlags, put_fixed};
use crate::error::{DecodeError, EncodeError};
use crate::instruction::Instructions;
use crate::matches::Match;
use crate::message::{self, Kind};
use crate::wire::Put;

/// A flow whose match and instructions are the bytes that [`Match::oxm`] and [`Instructions::encode`] gave.
///
/// A [`Flow`] takes some 500 bytes in several allocations; kept like this it takes what it takes on the wire, and comparing is
/// comparing bytes. Nothing is checked again, so only bytes of this crate's making belong here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EncodedFlow<'a> {
    pub table: u8,
    pub priority: u16,
    pub cookie: u64,
    pub idle_timeout: u16,
    pub hard_timeout: u16,
    pub importance: u16,
    pub flags: FlowFlags,
    /// The match in canonical OXM.
    pub oxm: &'a [u8],
    /// The instructions; of no meaning in a delete.
    pub instructions: &'a [u8],
}

impl<'a> EncodedFlow<'a> {
    /// A flow without timeouts, flags and cookie.
    #[must_use]
    pub const fn new(table: u8, priority: u16, oxm: &'a [u8], instructions: &'a [u8]) -> Self {
        Self {
            table,
            priority,
            cookie: 0,
            idle_timeout: 0,
            hard_timeout: 0,
            importance: 0,
            flags: FlowFlags::NONE,
            oxm,
            instructions,
        }
    }

    /// Appends the whole message that does `command` with this flow, as [`Flow::encode`] would.
    ///
    /// # Errors
    /// When the message would be longer than 64 KiB, or adds to all tables; `out` is then as it was.
    pub fn encode(&self, command: FlowCommand, xid: u32, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let result = message::framed(Kind::FlowMod, xid, out, |out| {
            if self.table == ALL_TABLES && !command.deletes() {
                return Err(super::not_all_tables());
            }
            put_fixed(self, command, &Filter::NONE, out);
            Match::put_structure(self.oxm, out)?;
            if !command.deletes() {
                out.put_bytes(self.instructions);
            }
            Ok(())
        });
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    /// The flow as values.
    ///
    /// # Errors
    /// When the bytes are not those of a match and of instructions.
    pub fn decode(&self) -> Result<Flow, DecodeError> {
        let Self { table, priority, cookie, idle_timeout, hard_timeout, importance, flags, .. } = *self;
        let matches = Match::from_oxm(self.oxm)?;
        let instructions = Instructions::decode(self.instructions)?;
        Ok(Flow { table, priority, cookie, idle_timeout, hard_timeout, importance, flags, matches, instructions })
    }
}
