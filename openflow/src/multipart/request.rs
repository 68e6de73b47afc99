//! Questions.

use super::Part;
use super::monitor::FlowMonitorRequest;
use crate::error::{DecodeError, EncodeError};
use crate::flow::{ALL_TABLES, ANY_GROUP};
use crate::matches::Match;
use crate::port::PortNumber;
use crate::table::TableFeatures;
use crate::wire::{Put, Reader};

/// A question.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MultipartRequest {
    /// Whether the question goes on in another message.
    pub more: bool,
    pub request: Request,
}

impl From<Request> for MultipartRequest {
    fn from(request: Request) -> Self {
        Self { more: false, request }
    }
}

/// Which flows a question is about.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FlowFilter {
    /// [`ALL_TABLES`] for all.
    pub table: u8,
    pub out_port: PortNumber,
    pub out_group: u32,
    pub cookie: u64,
    /// Which bits of the cookie must agree.
    pub cookie_mask: u64,
    /// Flows that this covers.
    pub matches: Match,
}

impl Default for FlowFilter {
    fn default() -> Self {
        Self {
            table: ALL_TABLES,
            out_port: PortNumber::ANY,
            out_group: ANY_GROUP,
            cookie: 0,
            cookie_mask: 0,
            matches: Match::new(),
        }
    }
}

impl FlowFilter {
    /// All flows whose cookie agrees in the bits of a mask.
    #[must_use]
    pub fn cookie(cookie: u64, cookie_mask: u64) -> Self {
        Self { cookie, cookie_mask, ..Self::default() }
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u8(self.table);
        out.put_zeros(3);
        out.put_u32(self.out_port.0);
        out.put_u32(self.out_group);
        out.put_zeros(4);
        out.put_u64(self.cookie);
        out.put_u64(self.cookie_mask);
        self.matches.encode(out)
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let table = reader.u8()?;
        reader.skip(3)?;
        let out_port = PortNumber(reader.u32()?);
        let out_group = reader.u32()?;
        reader.skip(4)?;
        let cookie = reader.u64()?;
        let cookie_mask = reader.u64()?;
        Ok(Self { table, out_port, out_group, cookie, cookie_mask, matches: Match::decode(reader)? })
    }
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Request {
    /// What the switch is, in words.
    Desc,
    /// Flows, with what they do and have seen.
    FlowDesc(FlowFilter),
    /// How many flows there are and what they have seen together.
    Aggregate(FlowFilter),
    TableStats,
    /// [`PortNumber::ANY`] for all; the same for the others.
    PortStats(PortNumber),
    /// 0xffffffff for all queues.
    QueueStats {
        port: PortNumber,
        queue: u32,
    },
    /// [`crate::flow::ALL_GROUPS`] for all.
    GroupStats(u32),
    GroupDesc(u32),
    GroupFeatures,
    /// [`crate::meter::ALL_METERS`] for all.
    MeterStats(u32),
    MeterConfig(u32),
    MeterFeatures,
    /// What tables can do, or, with content, what they should be.
    TableFeatures(Vec<TableFeatures>),
    PortDesc(PortNumber),
    TableDesc,
    QueueDesc {
        port: PortNumber,
        queue: u32,
    },
    /// Asks to be told about changes of flows.
    FlowMonitor(Vec<FlowMonitorRequest>),
    /// A question this crate does not know.
    Raw {
        part: u16,
        body: Vec<u8>,
    },
}

impl Request {
    fn part(&self) -> u16 {
        let part = match self {
            Self::Desc => Part::Desc,
            Self::FlowDesc(_) => Part::FlowDesc,
            Self::Aggregate(_) => Part::Aggregate,
            Self::TableStats => Part::TableStats,
            Self::PortStats(_) => Part::PortStats,
            Self::QueueStats { .. } => Part::QueueStats,
            Self::GroupStats(_) => Part::GroupStats,
            Self::GroupDesc(_) => Part::GroupDesc,
            Self::GroupFeatures => Part::GroupFeatures,
            Self::MeterStats(_) => Part::MeterStats,
            Self::MeterConfig(_) => Part::MeterConfig,
            Self::MeterFeatures => Part::MeterFeatures,
            Self::TableFeatures(_) => Part::TableFeatures,
            Self::PortDesc(_) => Part::PortDesc,
            Self::TableDesc => Part::TableDesc,
            Self::QueueDesc { .. } => Part::QueueDesc,
            Self::FlowMonitor(_) => Part::FlowMonitor,
            Self::Raw { part, .. } => return *part,
        };
        part as u16
    }
}

impl MultipartRequest {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u16(self.request.part());
        out.put_u16(self.more.into());
        out.put_zeros(4);
        match &self.request {
            Request::Desc
            | Request::TableStats
            | Request::GroupFeatures
            | Request::MeterFeatures
            | Request::TableDesc => {}
            Request::FlowDesc(filter) | Request::Aggregate(filter) => filter.encode(out)?,
            Request::PortStats(PortNumber(number))
            | Request::PortDesc(PortNumber(number))
            | Request::GroupStats(number)
            | Request::GroupDesc(number)
            | Request::MeterStats(number)
            | Request::MeterConfig(number) => {
                out.put_u32(*number);
                out.put_zeros(4);
            }
            Request::QueueStats { port, queue } | Request::QueueDesc { port, queue } => {
                out.put_u32(port.0);
                out.put_u32(*queue);
            }
            Request::TableFeatures(tables) => tables.iter().try_for_each(|table| table.encode(out))?,
            Request::FlowMonitor(monitors) => monitors.iter().try_for_each(|monitor| monitor.encode(out))?,
            Request::Raw { body, .. } => out.put_bytes(body),
        }
        Ok(())
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = reader.u16()?;
        let more = reader.u16()? & 1 == 1;
        reader.skip(4)?;
        let Some(part) = Part::of(number) else {
            return Ok(Self { more, request: Request::Raw { part: number, body: reader.rest().to_vec() } });
        };
        let request = match part {
            Part::Desc => Request::Desc,
            Part::FlowDesc => Request::FlowDesc(FlowFilter::decode(reader)?),
            Part::Aggregate => Request::Aggregate(FlowFilter::decode(reader)?),
            Part::TableStats => Request::TableStats,
            Part::PortStats => Request::PortStats(PortNumber(reader.u32()?)),
            Part::QueueStats => Request::QueueStats { port: PortNumber(reader.u32()?), queue: reader.u32()? },
            Part::GroupStats => Request::GroupStats(reader.u32()?),
            Part::GroupDesc => Request::GroupDesc(reader.u32()?),
            Part::GroupFeatures => Request::GroupFeatures,
            Part::MeterStats => Request::MeterStats(reader.u32()?),
            Part::MeterConfig => Request::MeterConfig(reader.u32()?),
            Part::MeterFeatures => Request::MeterFeatures,
            Part::TableFeatures => Request::TableFeatures(super::reply::all(reader, TableFeatures::decode)?),
            Part::PortDesc => Request::PortDesc(PortNumber(reader.u32()?)),
            Part::TableDesc => Request::TableDesc,
            Part::QueueDesc => Request::QueueDesc { port: PortNumber(reader.u32()?), queue: reader.u32()? },
            Part::FlowMonitor => Request::FlowMonitor(super::reply::all(reader, FlowMonitorRequest::decode)?),
        };
        Ok(Self { more, request })
    }
}
