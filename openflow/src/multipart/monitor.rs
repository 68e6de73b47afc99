//! Flow monitors: being told of every change of some flows.

use super::request::FlowFilter;
use crate::error::{DecodeError, EncodeError};
use crate::flags::flags;
use crate::flow::FlowRemovedReason;
use crate::instruction::Instructions;
use crate::matches::Match;
use crate::port::PortNumber;
use crate::wire::{Put, Reader};

flags! {
    /// What to be told of (OFPFMF_*).
    FlowMonitorFlags: u16 {
        INITIAL = 1 << 0, "initial";
        ADD = 1 << 1, "add";
        REMOVED = 1 << 2, "delete";
        MODIFY = 1 << 3, "modify";
        /// With what the flows do.
        INSTRUCTIONS = 1 << 4, "actions";
        /// Our own changes in full, not just their xid.
        NO_ABBREVIATION = 1 << 5, "own";
        ONLY_OWN = 1 << 6, "only-own";
    }
}

/// Whether to begin, change or end a monitor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum FlowMonitorCommand {
    #[default]
    Add,
    Modify,
    Delete,
}

/// Begins, changes or ends a flow monitor. The filter's cookie does not count.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct FlowMonitorRequest {
    pub id: u32,
    pub command: FlowMonitorCommand,
    pub flags: FlowMonitorFlags,
    pub filter: FlowFilter,
}

impl FlowMonitorRequest {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u32(self.id);
        out.put_u32(self.filter.out_port.0);
        out.put_u32(self.filter.out_group);
        out.put_u16(self.flags.0);
        out.put_u8(self.filter.table);
        out.put_u8(self.command as u8);
        self.filter.matches.encode(out)
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let id = reader.u32()?;
        let out_port = PortNumber(reader.u32()?);
        let out_group = reader.u32()?;
        let flags = FlowMonitorFlags(reader.u16()?);
        let table = reader.u8()?;
        let command = match reader.u8()? {
            0 => FlowMonitorCommand::Add,
            1 => FlowMonitorCommand::Modify,
            2 => FlowMonitorCommand::Delete,
            _ => return Err(DecodeError::Invalid { what: "flow monitor", problem: "unknown command" }),
        };
        let matches = Match::decode(reader)?;
        Ok(Self {
            id,
            command,
            flags,
            filter: FlowFilter { table, out_port, out_group, matches, ..FlowFilter::default() },
        })
    }
}

/// What happened to a flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FlowUpdateEvent {
    /// It was there when the monitor began.
    Initial,
    Added,
    Removed(FlowRemovedReason),
    Modified,
}

/// One thing a flow monitor tells.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum FlowUpdate {
    Full {
        event: FlowUpdateEvent,
        table: u8,
        priority: u16,
        idle_timeout: u16,
        hard_timeout: u16,
        cookie: u64,
        matches: Match,
        instructions: Instructions,
    },
    /// What the flow mod with this xid, one of our own, was to change.
    Abbreviated { xid: u32 },
    /// Too much changes; what is told from here on has gaps.
    Paused,
    /// What is told is whole again.
    Resumed,
}

impl FlowUpdate {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u16(0);
        match self {
            Self::Full { event, table, priority, idle_timeout, hard_timeout, cookie, matches, instructions } => {
                let (number, reason) = match event {
                    FlowUpdateEvent::Initial => (0, 0),
                    FlowUpdateEvent::Added => (1, 0),
                    FlowUpdateEvent::Removed(reason) => (2, (*reason).into()),
                    FlowUpdateEvent::Modified => (3, 0),
                };
                out.put_u16(number);
                out.put_u8(*table);
                out.put_u8(reason);
                out.put_u16(*idle_timeout);
                out.put_u16(*hard_timeout);
                out.put_u16(*priority);
                out.put_zeros(4);
                out.put_u64(*cookie);
                matches.encode(out)?;
                instructions.encode(out)?;
            }
            Self::Abbreviated { xid } => {
                out.put_u16(4);
                out.put_u32(*xid);
            }
            Self::Paused => out.put_bytes(&[0, 5, 0, 0, 0, 0]),
            Self::Resumed => out.put_bytes(&[0, 6, 0, 0, 0, 0]),
        }
        out.set_length(start, start, "flow update")
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.u16()?;
        let mut body = reader.part(length, 2, "flow update")?;
        let number = body.u16()?;
        match number {
            4 => return Ok(Self::Abbreviated { xid: body.u32()? }),
            5 => return Ok(Self::Paused),
            6 => return Ok(Self::Resumed),
            _ => {}
        }
        let table = body.u8()?;
        let reason = body.u8()?;
        let event = match number {
            0 => FlowUpdateEvent::Initial,
            1 => FlowUpdateEvent::Added,
            2 => FlowUpdateEvent::Removed(reason.into()),
            3 => FlowUpdateEvent::Modified,
            _ => return Err(DecodeError::Invalid { what: "flow update", problem: "unknown event" }),
        };
        let idle_timeout = body.u16()?;
        let hard_timeout = body.u16()?;
        let priority = body.u16()?;
        body.skip(4)?;
        let cookie = body.u64()?;
        let matches = Match::decode(&mut body)?;
        let instructions = Instructions::decode(body.rest())?;
        Ok(Self::Full { event, table, priority, idle_timeout, hard_timeout, cookie, matches, instructions })
    }
}
