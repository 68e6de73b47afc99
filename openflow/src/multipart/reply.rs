//! Answers.

use super::Part;
use super::monitor::FlowUpdate;
use super::stats::{
    GroupFeatures, GroupStats, MeterFeatures, MeterStats, PortStats, QueueDesc, QueueStats, SwitchDescription,
};
use crate::error::{DecodeError, EncodeError};
use crate::flow::{Flow, FlowFlags, FlowStats};
use crate::group::Group;
use crate::instruction::Instructions;
use crate::matches::Match;
use crate::meter::Meter;
use crate::port::Port;
use crate::table::{TableConfig, TableFeatures, TableStats};
use crate::wire::{Put, Reader};

/// One message of an answer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MultipartReply {
    /// Whether another message of this answer follows.
    pub more: bool,
    pub reply: Reply,
}

/// A flow in the switch, and what it has seen.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FlowEntry {
    pub flow: Flow,
    pub stats: FlowStats,
}

impl FlowEntry {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.u16()?;
        let mut body = reader.part(length, 2, "flow description")?;
        body.skip(2)?;
        let table = body.u8()?;
        body.skip(1)?;
        let priority = body.u16()?;
        let idle_timeout = body.u16()?;
        let hard_timeout = body.u16()?;
        let flags = FlowFlags(body.u16()?);
        let importance = body.u16()?;
        let cookie = body.u64()?;
        let matches = Match::decode(&mut body)?;
        let stats = FlowStats::decode(&mut body)?;
        let instructions = Instructions::decode(body.rest())?;
        let flow =
            Flow { table, priority, cookie, idle_timeout, hard_timeout, importance, flags, matches, instructions };
        Ok(Self { flow, stats })
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let Flow { table, priority, cookie, idle_timeout, hard_timeout, importance, flags, .. } = self.flow;
        let start = out.len();
        out.put_zeros(4);
        out.put_u8(table);
        out.put_u8(0);
        out.put_u16(priority);
        out.put_u16(idle_timeout);
        out.put_u16(hard_timeout);
        out.put_u16(flags.0);
        out.put_u16(importance);
        out.put_u64(cookie);
        self.flow.matches.encode(out)?;
        self.stats.encode(out)?;
        self.flow.instructions.encode(out)?;
        out.set_length(start, start, "flow description")
    }
}

/// What was answered.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Reply {
    Desc(SwitchDescription),
    FlowDesc(Vec<FlowEntry>),
    Aggregate(FlowStats),
    TableStats(Vec<TableStats>),
    PortStats(Vec<PortStats>),
    QueueStats(Vec<QueueStats>),
    GroupStats(Vec<GroupStats>),
    GroupDesc(Vec<Group>),
    GroupFeatures(GroupFeatures),
    MeterStats(Vec<MeterStats>),
    MeterConfig(Vec<Meter>),
    MeterFeatures(MeterFeatures),
    TableFeatures(Vec<TableFeatures>),
    PortDesc(Vec<Port>),
    TableDesc(Vec<TableConfig>),
    QueueDesc(Vec<QueueDesc>),
    FlowMonitor(Vec<FlowUpdate>),
    /// An answer this crate does not know.
    Raw {
        part: u16,
        body: Vec<u8>,
    },
}

/// Reads objects until the bytes end.
pub(super) fn all<'a, T>(
    reader: &mut Reader<'a>,
    decode: impl Fn(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut objects = Vec::new();
    while !reader.is_empty() {
        objects.push(decode(reader)?);
    }
    Ok(objects)
}

impl Reply {
    fn part(&self) -> u16 {
        let part = match self {
            Self::Desc(_) => Part::Desc,
            Self::FlowDesc(_) => Part::FlowDesc,
            Self::Aggregate(_) => Part::Aggregate,
            Self::TableStats(_) => Part::TableStats,
            Self::PortStats(_) => Part::PortStats,
            Self::QueueStats(_) => Part::QueueStats,
            Self::GroupStats(_) => Part::GroupStats,
            Self::GroupDesc(_) => Part::GroupDesc,
            Self::GroupFeatures(_) => Part::GroupFeatures,
            Self::MeterStats(_) => Part::MeterStats,
            Self::MeterConfig(_) => Part::MeterConfig,
            Self::MeterFeatures(_) => Part::MeterFeatures,
            Self::TableFeatures(_) => Part::TableFeatures,
            Self::PortDesc(_) => Part::PortDesc,
            Self::TableDesc(_) => Part::TableDesc,
            Self::QueueDesc(_) => Part::QueueDesc,
            Self::FlowMonitor(_) => Part::FlowMonitor,
            Self::Raw { part, .. } => return *part,
        };
        part as u16
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Desc(description) => description.encode(out),
            Self::FlowDesc(flows) => return flows.iter().try_for_each(|flow| flow.encode(out)),
            Self::Aggregate(stats) => return stats.encode(out),
            Self::TableStats(tables) => tables.iter().for_each(|table| table.encode(out)),
            Self::PortStats(ports) => return ports.iter().try_for_each(|port| port.encode(out)),
            Self::QueueStats(queues) => return queues.iter().try_for_each(|queue| queue.encode(out)),
            Self::GroupStats(groups) => return groups.iter().try_for_each(|group| group.encode(out)),
            Self::GroupDesc(groups) => return groups.iter().try_for_each(|group| group.encode_entry(out)),
            Self::GroupFeatures(features) => features.encode(out),
            Self::MeterStats(meters) => return meters.iter().try_for_each(|meter| meter.encode(out)),
            Self::MeterConfig(meters) => return meters.iter().try_for_each(|meter| meter.encode_entry(out)),
            Self::MeterFeatures(features) => features.encode(out),
            Self::TableFeatures(tables) => return tables.iter().try_for_each(|table| table.encode(out)),
            Self::PortDesc(ports) => return ports.iter().try_for_each(|port| port.encode(out)),
            Self::TableDesc(tables) => return tables.iter().try_for_each(|table| table.encode_entry(out)),
            Self::QueueDesc(queues) => return queues.iter().try_for_each(|queue| queue.encode(out)),
            Self::FlowMonitor(updates) => return updates.iter().try_for_each(|update| update.encode(out)),
            Self::Raw { body, .. } => out.put_bytes(body),
        }
        Ok(())
    }

    fn decode(part: Part, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match part {
            Part::Desc => Self::Desc(SwitchDescription::decode(reader)?),
            Part::FlowDesc => Self::FlowDesc(all(reader, FlowEntry::decode)?),
            Part::Aggregate => Self::Aggregate(FlowStats::decode(reader)?),
            Part::TableStats => Self::TableStats(all(reader, TableStats::decode)?),
            Part::PortStats => Self::PortStats(all(reader, PortStats::decode)?),
            Part::QueueStats => Self::QueueStats(all(reader, QueueStats::decode)?),
            Part::GroupStats => Self::GroupStats(all(reader, GroupStats::decode)?),
            Part::GroupDesc => Self::GroupDesc(all(reader, Group::decode_entry)?),
            Part::GroupFeatures => Self::GroupFeatures(GroupFeatures::decode(reader)?),
            Part::MeterStats => Self::MeterStats(all(reader, MeterStats::decode)?),
            Part::MeterConfig => Self::MeterConfig(all(reader, Meter::decode_entry)?),
            Part::MeterFeatures => Self::MeterFeatures(MeterFeatures::decode(reader)?),
            Part::TableFeatures => Self::TableFeatures(all(reader, TableFeatures::decode)?),
            Part::PortDesc => Self::PortDesc(all(reader, Port::decode)?),
            Part::TableDesc => Self::TableDesc(all(reader, TableConfig::decode_entry)?),
            Part::QueueDesc => Self::QueueDesc(all(reader, QueueDesc::decode)?),
            Part::FlowMonitor => Self::FlowMonitor(all(reader, FlowUpdate::decode)?),
        })
    }
}

impl MultipartReply {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u16(self.reply.part());
        out.put_u16(self.more.into());
        out.put_zeros(4);
        self.reply.encode(out)
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = reader.u16()?;
        let more = reader.u16()? & 1 == 1;
        reader.skip(4)?;
        let reply = match Part::of(number) {
            Some(part) => Reply::decode(part, reader)?,
            None => Reply::Raw { part: number, body: reader.rest().to_vec() },
        };
        Ok(Self { more, reply })
    }
}
