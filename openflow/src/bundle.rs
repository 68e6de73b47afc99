//! Bundles: several changes that the switch does together or not at all.
//!
//! Open, add, commit; each with the same id and flags on one connection. Flow, group, packet-out and port mods can be added;
//! meter mods cannot. A message in a bundle has the xid of the message that adds it, so that an error names it.

use crate::error::{DecodeError, EncodeError};
use crate::flags::flags;
use crate::flow::{Flow, FlowCommand};
use crate::message::{self, Kind, Message};
use crate::wire::{Put, Reader};

flags! {
    /// How a bundle is committed (OFPBF_*).
    BundleFlags: u16 {
        /// No packet sees part of it.
        ATOMIC = 1 << 0, "atomic";
        /// In the order in which messages were added.
        ORDERED = 1 << 1, "ordered";
    }
}

/// A step in the life of a bundle (OFPBCT_*).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BundleStep {
    Open,
    Opened,
    Close,
    Closed,
    Commit,
    Committed,
    Discard,
    Discarded,
}

impl BundleStep {
    const ALL: [Self; 8] = [
        Self::Open,
        Self::Opened,
        Self::Close,
        Self::Closed,
        Self::Commit,
        Self::Committed,
        Self::Discard,
        Self::Discarded,
    ];

    /// The words that `ovs-ofctl` uses.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Open => "OPEN_REQUEST",
            Self::Opened => "OPEN_REPLY",
            Self::Close => "CLOSE_REQUEST",
            Self::Closed => "CLOSE_REPLY",
            Self::Commit => "COMMIT_REQUEST",
            Self::Committed => "COMMIT_REPLY",
            Self::Discard => "DISCARD_REQUEST",
            Self::Discarded => "DISCARD_REPLY",
        }
    }
}

/// Opens, closes, commits or discards a bundle, or answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BundleControl {
    pub id: u32,
    pub step: BundleStep,
    /// Those the bundle was opened with; the switch's answers have none.
    pub flags: BundleFlags,
}

impl BundleControl {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.put_u32(self.id);
        out.put_u16(self.step as u16);
        out.put_u16(self.flags.0);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let id = reader.u32()?;
        let step = BundleStep::ALL.get(usize::from(reader.u16()?)).copied();
        let step = step.ok_or(DecodeError::Invalid { what: "bundle control", problem: "unknown type" })?;
        Ok(Self { id, step, flags: BundleFlags(reader.u16()?) })
    }
}

/// Adds a message to a bundle.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct BundleAdd {
    pub id: u32,
    pub flags: BundleFlags,
    pub message: Box<Message>,
}

impl BundleAdd {
    pub(crate) fn encode(&self, xid: u32, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if matches!(*self.message, Message::BundleAdd(_) | Message::MeterMod(_)) {
            return Err(EncodeError::Invalid {
                what: "bundle",
                problem: "a bundle holds neither bundles nor meter mods",
            });
        }
        header(self.id, self.flags, out);
        self.message.encode_into(xid, out)
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let id = reader.u32()?;
        reader.skip(2)?;
        let flags = BundleFlags(reader.u16()?);
        let inner = reader.rest();
        let length = message::message_length(inner).unwrap_or(0);
        let inner = inner.get(..length).ok_or(DecodeError::Length { what: "message in a bundle", length })?;
        if inner.get(1) == Some(&(Kind::BundleAdd as u8)) {
            return Err(DecodeError::Invalid { what: "bundle", problem: "a bundle in a bundle" });
        }
        let (_, message) = Message::decode(inner)?;
        Ok(Self { id, flags, message: Box::new(message) })
    }
}

fn header(id: u32, flags: BundleFlags, out: &mut Vec<u8>) {
    out.put_u32(id);
    out.put_u16(0);
    out.put_u16(flags.0);
}

/// Appends the message that adds a flow change to a bundle, without building a [`Message`].
///
/// # Errors
/// When the flow cannot be encoded; `out` is then as it was.
pub fn encode_flow(
    id: u32,
    flags: BundleFlags,
    flow: &Flow,
    command: FlowCommand,
    xid: u32,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let result = message::framed(Kind::BundleAdd, xid, out, |out| {
        header(id, flags, out);
        flow.encode(command, xid, out)
    });
    if result.is_err() {
        out.truncate(start);
    }
    result
}
