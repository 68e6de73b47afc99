//! Flows, the messages that change them, and the message that says one went.

mod encoded;
mod stats;

pub use encoded::EncodedFlow;
pub use stats::{FlowStats, Seconds};

use crate::action::Action;
use crate::error::{DecodeError, EncodeError};
use crate::flags::flags;
use crate::instruction::Instructions;
use crate::matches::Match;
use crate::message::{self, Kind};
use crate::port::PortNumber;
use crate::wire::{Put, Reader};

flags! {
    /// How the switch treats a flow (OFPFF_*).
    FlowFlags: u16 {
        /// A flow-removed message when the flow goes.
        SEND_FLOW_REMOVED = 1 << 0, "send_flow_rem";
        /// Refused if it overlaps a flow of the same priority.
        CHECK_OVERLAP = 1 << 1, "check_overlap";
        /// Resets the counters when it replaces a flow.
        RESET_COUNTS = 1 << 2, "reset_counts";
        NO_PACKET_COUNTS = 1 << 3, "no_packet_counts";
        NO_BYTE_COUNTS = 1 << 4, "no_byte_counts";
    }
}

/// A flow: in a table, for packets that match, at a priority, with what it does to them.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Flow {
    pub table: u8,
    /// Higher wins.
    pub priority: u16,
    /// A number of our own that the switch keeps and shows.
    pub cookie: u64,
    /// Seconds without packets until the flow goes; 0 for never.
    pub idle_timeout: u16,
    /// Seconds until the flow goes; 0 for never.
    pub hard_timeout: u16,
    /// Which flows to evict last when the table is full.
    pub importance: u16,
    pub flags: FlowFlags,
    pub matches: Match,
    pub instructions: Instructions,
}

impl Flow {
    /// A flow that drops what it matches.
    #[must_use]
    pub fn new(table: u8, priority: u16, matches: Match) -> Self {
        Self { table, priority, matches, ..Self::default() }
    }

    /// The same with a cookie.
    #[must_use]
    pub fn cookie(mut self, cookie: u64) -> Self {
        self.cookie = cookie;
        self
    }

    /// The same with these actions after those it has.
    #[must_use]
    pub fn apply(mut self, actions: impl IntoIterator<Item = Action>) -> Self {
        self.instructions.apply.extend(actions);
        self
    }

    /// The same, going on in a table.
    #[must_use]
    pub fn goto(mut self, table: u8) -> Self {
        self.instructions.goto = Some(table);
        self
    }

    /// Appends the whole message that does `command` with this flow; see [`FlowMod`] for commands with filters.
    ///
    /// # Errors
    /// When the flow cannot be encoded; `out` is then as it was.
    pub fn encode(&self, command: FlowCommand, xid: u32, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let result = message::framed(Kind::FlowMod, xid, out, |out| encode_body(self, command, &Filter::NONE, out));
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    /// What the switch takes as the identity of a flow: table, priority and match, as bytes. Deleting one needs no more.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(3 + self.matches.oxm().len());
        key.put_u8(self.table);
        key.put_u16(self.priority);
        key.put_bytes(self.matches.oxm());
        key
    }
}

/// What to do with flows (OFPFC_*).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum FlowCommand {
    /// Adds the flow, or replaces the one with the same match and priority.
    #[default]
    Add,
    /// Changes what all flows do that the match covers.
    Modify,
    /// Changes what the one flow does that has exactly this match and priority.
    ModifyStrict,
    /// Deletes all flows that the match covers.
    Delete,
    /// Deletes the one flow that has exactly this match and priority.
    DeleteStrict,
}

impl FlowCommand {
    const ALL: [Self; 5] = [Self::Add, Self::Modify, Self::ModifyStrict, Self::Delete, Self::DeleteStrict];

    const fn deletes(self) -> bool {
        matches!(self, Self::Delete | Self::DeleteStrict)
    }
}

/// Every table, in a delete.
pub const ALL_TABLES: u8 = 0xff;
/// No restriction to a group, or no group.
pub const ANY_GROUP: u32 = 0xffff_ffff;
/// Every group, in a group delete.
pub const ALL_GROUPS: u32 = 0xffff_fffc;
/// No buffered packet.
pub const NO_BUFFER: u32 = 0xffff_ffff;

/// A change of flows.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FlowMod {
    pub command: FlowCommand,
    pub flow: Flow,
    /// In a modify or delete: which bits of the cookie must agree; 0 for none.
    pub cookie_mask: u64,
    /// In a delete: only flows that output to this port.
    pub out_port: PortNumber,
    /// In a delete: only flows that use this group.
    pub out_group: u32,
    /// A buffered packet that goes through the new flow.
    pub buffer_id: u32,
}

impl FlowMod {
    /// A change without filters.
    #[must_use]
    pub const fn new(command: FlowCommand, flow: Flow) -> Self {
        Self { command, flow, cookie_mask: 0, out_port: PortNumber::ANY, out_group: ANY_GROUP, buffer_id: NO_BUFFER }
    }

    /// Deletes all flows of a table that the match covers, or of all tables.
    #[must_use]
    pub fn delete(table: u8, matches: Match) -> Self {
        Self::new(FlowCommand::Delete, Flow::new(table, 0, matches))
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let Self { cookie_mask, out_port, out_group, buffer_id, .. } = *self;
        encode_body(&self.flow, self.command, &Filter { cookie_mask, out_port, out_group, buffer_id }, out)
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let cookie = reader.u64()?;
        let cookie_mask = reader.u64()?;
        let table = reader.u8()?;
        let command = FlowCommand::ALL.get(usize::from(reader.u8()?)).copied();
        let command = command.ok_or(DecodeError::Invalid { what: "flow mod", problem: "unknown command" })?;
        let idle_timeout = reader.u16()?;
        let hard_timeout = reader.u16()?;
        let priority = reader.u16()?;
        let buffer_id = reader.u32()?;
        let out_port = PortNumber(reader.u32()?);
        let out_group = reader.u32()?;
        let flags = FlowFlags(reader.u16()?);
        let importance = reader.u16()?;
        let matches = Match::decode(reader)?;
        let instructions = Instructions::decode(reader.rest())?;
        // a delete says which flows, not what they do
        let instructions = if command.deletes() { Instructions::default() } else { instructions };
        let flow =
            Flow { table, priority, cookie, idle_timeout, hard_timeout, importance, flags, matches, instructions };
        Ok(Self { command, flow, cookie_mask, out_port, out_group, buffer_id })
    }
}

/// The parts of a flow mod that are not the flow.
struct Filter {
    cookie_mask: u64,
    out_port: PortNumber,
    out_group: u32,
    buffer_id: u32,
}

impl Filter {
    const NONE: Self = Self { cookie_mask: 0, out_port: PortNumber::ANY, out_group: ANY_GROUP, buffer_id: NO_BUFFER };
}

fn not_all_tables() -> EncodeError {
    EncodeError::Invalid { what: "flow", problem: "table 255 means all tables, which only a delete can name" }
}

fn encode_body(flow: &Flow, command: FlowCommand, filter: &Filter, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if flow.table == ALL_TABLES && !command.deletes() {
        return Err(not_all_tables());
    }
    let Flow { table, priority, cookie, idle_timeout, hard_timeout, importance, flags, .. } = *flow;
    let fixed = EncodedFlow {
        cookie,
        idle_timeout,
        hard_timeout,
        importance,
        flags,
        ..EncodedFlow::new(table, priority, &[], &[])
    };
    put_fixed(&fixed, command, filter, out);
    flow.matches.encode(out)?;
    // a delete says which flows, not what they do
    if command.deletes() { Ok(()) } else { flow.instructions.encode(out) }
}

/// The part of a flow mod that has always the same length.
fn put_fixed(flow: &EncodedFlow<'_>, command: FlowCommand, filter: &Filter, out: &mut Vec<u8>) {
    out.put_u64(flow.cookie);
    out.put_u64(filter.cookie_mask);
    out.put_u8(flow.table);
    out.put_u8(command as u8);
    out.put_u16(flow.idle_timeout);
    out.put_u16(flow.hard_timeout);
    out.put_u16(flow.priority);
    out.put_u32(filter.buffer_id);
    out.put_u32(filter.out_port.0);
    out.put_u32(filter.out_group);
    out.put_u16(flow.flags.0);
    out.put_u16(flow.importance);
}

/// Why a flow went (OFPRR_*).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FlowRemovedReason {
    IdleTimeout,
    HardTimeout,
    Delete,
    GroupDelete,
    MeterDelete,
    Eviction,
    Other(u8),
}

impl From<u8> for FlowRemovedReason {
    fn from(reason: u8) -> Self {
        match reason {
            0 => Self::IdleTimeout,
            1 => Self::HardTimeout,
            2 => Self::Delete,
            3 => Self::GroupDelete,
            4 => Self::MeterDelete,
            5 => Self::Eviction,
            other => Self::Other(other),
        }
    }
}

impl From<FlowRemovedReason> for u8 {
    fn from(reason: FlowRemovedReason) -> Self {
        match reason {
            FlowRemovedReason::IdleTimeout => 0,
            FlowRemovedReason::HardTimeout => 1,
            FlowRemovedReason::Delete => 2,
            FlowRemovedReason::GroupDelete => 3,
            FlowRemovedReason::MeterDelete => 4,
            FlowRemovedReason::Eviction => 5,
            FlowRemovedReason::Other(other) => other,
        }
    }
}

/// A flow went.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FlowRemoved {
    pub table: u8,
    pub reason: FlowRemovedReason,
    pub priority: u16,
    pub idle_timeout: u16,
    pub hard_timeout: u16,
    pub cookie: u64,
    pub matches: Match,
    pub stats: FlowStats,
}

impl FlowRemoved {
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            table: reader.u8()?,
            reason: reader.u8()?.into(),
            priority: reader.u16()?,
            idle_timeout: reader.u16()?,
            hard_timeout: reader.u16()?,
            cookie: reader.u64()?,
            matches: Match::decode(reader)?,
            stats: FlowStats::decode(reader)?,
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u8(self.table);
        out.put_u8(self.reason.into());
        out.put_u16(self.priority);
        out.put_u16(self.idle_timeout);
        out.put_u16(self.hard_timeout);
        out.put_u64(self.cookie);
        self.matches.encode(out)?;
        self.stats.encode(out)
    }
}
