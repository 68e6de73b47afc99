//! Messages: the header, the kinds, and the way between a [`Message`] and its bytes.
//!
//! A stream is cut into messages by [`message_length`]. A kind this crate does not know is [`Message::Raw`], never an error.

use crate::bundle::{BundleAdd, BundleControl};
use crate::error::{DecodeError, EncodeError};
use crate::flow::{FlowMod, FlowRemoved};
use crate::group::GroupMod;
use crate::meter::MeterMod;
use crate::multipart::{MultipartReply, MultipartRequest};
use crate::packet::{PacketIn, PacketInFormat, PacketOut};
use crate::port::{PortMod, PortStatus};
use crate::switch::{AsyncConfig, Features, Hello, RoleMessage, RoleStatus, SwitchConfig, TlvTable, TlvTableMod};
use crate::switch_error::SwitchError;
use crate::table::{TableConfig, TableStatus};
use crate::wire::{Put, Reader};

/// OpenFlow 1.5 on the wire.
pub const VERSION: u8 = 6;
/// Bytes of a message's header.
pub const HEADER_LENGTH: usize = 8;
/// Bytes of the longest message.
pub const MAX_LENGTH: usize = u16::MAX as usize;

macro_rules! kinds {
    ($($name:ident = $number:literal),* $(,)?) => {
        /// The number of a kind of message (OFPT_*).
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub(crate) enum Kind { $($name = $number),* }

        impl Kind {
            const fn of(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
        }
    };
}

kinds! {
    Hello = 0, Error = 1, EchoRequest = 2, EchoReply = 3, Experimenter = 4, FeaturesRequest = 5, FeaturesReply = 6,
    GetConfigRequest = 7, GetConfigReply = 8, SetConfig = 9, PacketIn = 10, FlowRemoved = 11, PortStatus = 12, PacketOut = 13,
    FlowMod = 14, GroupMod = 15, PortMod = 16, TableMod = 17, MultipartRequest = 18, MultipartReply = 19, BarrierRequest = 20,
    BarrierReply = 21, RoleRequest = 24, RoleReply = 25, GetAsyncRequest = 26, GetAsyncReply = 27, SetAsync = 28, MeterMod = 29,
    RoleStatus = 30, TableStatus = 31, RequestForward = 32, BundleControl = 33, BundleAdd = 34,
}

/// A message.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Message {
    Hello(Hello),
    Error(SwitchError),
    EchoRequest(Vec<u8>),
    EchoReply(Vec<u8>),
    FeaturesRequest,
    FeaturesReply(Features),
    GetConfigRequest,
    GetConfigReply(SwitchConfig),
    SetConfig(SwitchConfig),
    PacketIn(Box<PacketIn>),
    FlowRemoved(Box<FlowRemoved>),
    PortStatus(PortStatus),
    PacketOut(PacketOut),
    FlowMod(Box<FlowMod>),
    GroupMod(GroupMod),
    PortMod(PortMod),
    TableMod(TableConfig),
    MultipartRequest(MultipartRequest),
    MultipartReply(MultipartReply),
    BarrierRequest,
    BarrierReply,
    RoleRequest(RoleMessage),
    RoleReply(RoleMessage),
    GetAsyncRequest,
    GetAsyncReply(AsyncConfig),
    SetAsync(AsyncConfig),
    MeterMod(MeterMod),
    RoleStatus(RoleStatus),
    TableStatus(TableStatus),
    /// A group or meter mod of another controller, whole, as it came.
    RequestForward(Vec<u8>),
    BundleControl(BundleControl),
    BundleAdd(BundleAdd),
    /// Which packet-in to send (NXT_SET_PACKET_IN_FORMAT).
    SetPacketInFormat(PacketInFormat),
    /// This connection's id in `controller(id=…)` (NXT_SET_CONTROLLER_ID).
    SetControllerId(u16),
    TlvTableMod(TlvTableMod),
    TlvTableRequest,
    TlvTableReply(TlvTable),
    /// Goes on with a paused packet (NXT_RESUME).
    Resume(Box<PacketIn>),
    /// Forgets all connections of a zone (NXT_CT_FLUSH_ZONE).
    CtFlushZone(u16),
    /// Any other experimenter message, with what follows its type.
    Experimenter {
        experimenter: u32,
        kind: u32,
        body: Vec<u8>,
    },
    /// A message of a kind this crate does not know.
    Raw {
        kind: u8,
        body: Vec<u8>,
    },
}

const NICIRA: u32 = crate::action::NICIRA;
const NXT_SET_PACKET_IN_FORMAT: u32 = 16;
const NXT_SET_CONTROLLER_ID: u32 = 20;
const NXT_TLV_TABLE_MOD: u32 = 24;
const NXT_TLV_TABLE_REQUEST: u32 = 25;
const NXT_TLV_TABLE_REPLY: u32 = 26;
const NXT_RESUME: u32 = 28;
const NXT_CT_FLUSH_ZONE: u32 = 29;
const NXT_PACKET_IN2: u32 = 30;

/// How long the message is that `bytes` start with, once enough of it is there to know: at least [`HEADER_LENGTH`].
#[must_use]
pub fn message_length(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [_, _, high, low, ..] => Some(usize::from(u16::from_be_bytes([*high, *low])).max(HEADER_LENGTH)),
        _ => None,
    }
}

/// Appends a message: header, and the body that `body` appends.
pub(crate) fn framed(
    kind: Kind,
    xid: u32,
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    framed_number(kind as u8, xid, out, body)
}

fn framed_number(
    kind: u8,
    xid: u32,
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.put_u8(VERSION);
    out.put_u8(kind);
    out.put_u16(0);
    out.put_u32(xid);
    body(out)?;
    out.set_length(start, start + 2, "message")
}

impl Message {
    /// The message's bytes.
    ///
    /// # Errors
    /// When a part of it cannot be encoded, or it is longer than 64 KiB.
    pub fn encode(&self, xid: u32) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        self.encode_into(xid, &mut out)?;
        Ok(out)
    }

    /// Appends the message's bytes.
    ///
    /// # Errors
    /// As [`Message::encode`]; `out` is then as it was.
    pub fn encode_into(&self, xid: u32, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let kind = self.kind();
        let result = framed_number(kind, xid, out, |out| match kind {
            4 => self.encode_experimenter(out),
            _ => self.encode_body(xid, out),
        });
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn kind(&self) -> u8 {
        let kind = match self {
            Self::Hello(_) => Kind::Hello,
            Self::Error(_) => Kind::Error,
            Self::EchoRequest(_) => Kind::EchoRequest,
            Self::EchoReply(_) => Kind::EchoReply,
            Self::FeaturesRequest => Kind::FeaturesRequest,
            Self::FeaturesReply(_) => Kind::FeaturesReply,
            Self::GetConfigRequest => Kind::GetConfigRequest,
            Self::GetConfigReply(_) => Kind::GetConfigReply,
            Self::SetConfig(_) => Kind::SetConfig,
            Self::FlowRemoved(_) => Kind::FlowRemoved,
            Self::PortStatus(_) => Kind::PortStatus,
            Self::PacketOut(_) => Kind::PacketOut,
            Self::FlowMod(_) => Kind::FlowMod,
            Self::GroupMod(_) => Kind::GroupMod,
            Self::PortMod(_) => Kind::PortMod,
            Self::TableMod(_) => Kind::TableMod,
            Self::MultipartRequest(_) => Kind::MultipartRequest,
            Self::MultipartReply(_) => Kind::MultipartReply,
            Self::BarrierRequest => Kind::BarrierRequest,
            Self::BarrierReply => Kind::BarrierReply,
            Self::RoleRequest(_) => Kind::RoleRequest,
            Self::RoleReply(_) => Kind::RoleReply,
            Self::GetAsyncRequest => Kind::GetAsyncRequest,
            Self::GetAsyncReply(_) => Kind::GetAsyncReply,
            Self::SetAsync(_) => Kind::SetAsync,
            Self::MeterMod(_) => Kind::MeterMod,
            Self::RoleStatus(_) => Kind::RoleStatus,
            Self::TableStatus(_) => Kind::TableStatus,
            Self::RequestForward(_) => Kind::RequestForward,
            Self::BundleControl(_) => Kind::BundleControl,
            Self::BundleAdd(_) => Kind::BundleAdd,
            Self::PacketIn(_)
            | Self::SetPacketInFormat(_)
            | Self::SetControllerId(_)
            | Self::TlvTableMod(_)
            | Self::TlvTableRequest
            | Self::TlvTableReply(_)
            | Self::Resume(_)
            | Self::CtFlushZone(_)
            | Self::Experimenter { .. } => Kind::Experimenter,
            Self::Raw { kind, .. } => return *kind,
        };
        kind as u8
    }

    fn encode_body(&self, xid: u32, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Hello(hello) => return hello.encode(out),
            Self::Error(error) => error.encode(out),
            Self::EchoRequest(body) | Self::EchoReply(body) | Self::RequestForward(body) | Self::Raw { body, .. } => {
                out.put_bytes(body)
            }
            Self::FeaturesReply(features) => features.encode(out),
            Self::GetConfigReply(config) | Self::SetConfig(config) => config.encode(out),
            Self::FlowRemoved(removed) => return removed.encode(out),
            Self::PortStatus(status) => return status.encode(out),
            Self::PacketOut(packet_out) => return packet_out.encode(out),
            Self::FlowMod(flow_mod) => return flow_mod.encode(out),
            Self::GroupMod(group_mod) => return group_mod.encode(out),
            Self::PortMod(port_mod) => port_mod.encode(out),
            Self::TableMod(table) => table.encode_mod(out),
            Self::MultipartRequest(request) => return request.encode(out),
            Self::MultipartReply(reply) => return reply.encode(out),
            Self::RoleRequest(role) | Self::RoleReply(role) => role.encode(out),
            Self::GetAsyncReply(config) | Self::SetAsync(config) => return config.encode(out),
            Self::MeterMod(meter_mod) => meter_mod.encode(out),
            Self::RoleStatus(status) => status.encode(out),
            Self::TableStatus(status) => return status.encode(out),
            Self::BundleControl(control) => control.encode(out),
            Self::BundleAdd(add) => return add.encode(xid, out),
            _ => {} // those that are only a header
        }
        Ok(())
    }

    fn encode_experimenter(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut nicira = |kind: u32| {
            out.put_u32(NICIRA);
            out.put_u32(kind);
        };
        match self {
            Self::PacketIn(packet_in) => {
                nicira(NXT_PACKET_IN2);
                return packet_in.encode_properties(out);
            }
            Self::Resume(packet_in) => {
                nicira(NXT_RESUME);
                return packet_in.encode_properties(out);
            }
            Self::SetPacketInFormat(format) => {
                nicira(NXT_SET_PACKET_IN_FORMAT);
                out.put_u32(format.number());
            }
            Self::SetControllerId(id) => {
                nicira(NXT_SET_CONTROLLER_ID);
                out.put_zeros(6);
                out.put_u16(*id);
            }
            Self::TlvTableMod(table_mod) => {
                nicira(NXT_TLV_TABLE_MOD);
                table_mod.encode(out);
            }
            Self::TlvTableRequest => nicira(NXT_TLV_TABLE_REQUEST),
            Self::TlvTableReply(table) => {
                nicira(NXT_TLV_TABLE_REPLY);
                table.encode(out);
            }
            Self::CtFlushZone(zone) => {
                nicira(NXT_CT_FLUSH_ZONE);
                out.put_zeros(6);
                out.put_u16(*zone);
            }
            Self::Experimenter { experimenter, kind, body } => {
                out.put_u32(*experimenter);
                out.put_u32(*kind);
                out.put_bytes(body);
            }
            Self::Raw { body, .. } => out.put_bytes(body),
            _ => return Err(EncodeError::Invalid { what: "message", problem: "not an experimenter message" }),
        }
        Ok(())
    }

    /// The xid and the message of exactly these bytes.
    ///
    /// # Errors
    /// When the bytes are not one whole message of OpenFlow 1.5, or what is in it contradicts itself. A hello may be of any
    /// version. After an error the next message can be read as if nothing had happened: its start is known.
    pub fn decode(bytes: &[u8]) -> Result<(u32, Self), DecodeError> {
        let mut reader = Reader::new(bytes, "message");
        let version = reader.u8()?;
        let number = reader.u8()?;
        let length = usize::from(reader.u16()?);
        let xid = reader.u32()?;
        if length != bytes.len() {
            return Err(DecodeError::Length { what: "message", length });
        }
        let kind = Kind::of(number);
        if version != VERSION && !matches!(kind, Some(Kind::Hello | Kind::Error)) {
            return Err(DecodeError::Version(version));
        }
        let message = match kind {
            Some(Kind::Hello) => Self::Hello(Hello::decode(version, &mut reader)?),
            Some(Kind::Experimenter) => Self::decode_experimenter(&mut reader)?,
            Some(kind) => Self::decode_body(kind, &mut reader)?,
            None => Self::Raw { kind: number, body: reader.rest().to_vec() },
        };
        Ok((xid, message))
    }

    fn decode_body(kind: Kind, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match kind {
            Kind::Hello | Kind::Experimenter => Self::Raw { kind: kind as u8, body: reader.rest().to_vec() },
            Kind::Error => Self::Error(SwitchError::decode(reader)?),
            Kind::EchoRequest => Self::EchoRequest(reader.rest().to_vec()),
            Kind::EchoReply => Self::EchoReply(reader.rest().to_vec()),
            Kind::FeaturesRequest => Self::FeaturesRequest,
            Kind::FeaturesReply => Self::FeaturesReply(Features::decode(reader)?),
            Kind::GetConfigRequest => Self::GetConfigRequest,
            Kind::GetConfigReply => Self::GetConfigReply(SwitchConfig::decode(reader)?),
            Kind::SetConfig => Self::SetConfig(SwitchConfig::decode(reader)?),
            Kind::PacketIn => Self::PacketIn(Box::new(PacketIn::decode_standard(reader)?)),
            Kind::FlowRemoved => Self::FlowRemoved(Box::new(FlowRemoved::decode(reader)?)),
            Kind::PortStatus => Self::PortStatus(PortStatus::decode(reader)?),
            Kind::PacketOut => Self::PacketOut(PacketOut::decode(reader)?),
            Kind::FlowMod => Self::FlowMod(Box::new(FlowMod::decode(reader)?)),
            Kind::GroupMod => Self::GroupMod(GroupMod::decode(reader)?),
            Kind::PortMod => Self::PortMod(PortMod::decode(reader)?),
            Kind::TableMod => Self::TableMod(TableConfig::decode_mod(reader)?),
            Kind::MultipartRequest => Self::MultipartRequest(MultipartRequest::decode(reader)?),
            Kind::MultipartReply => Self::MultipartReply(MultipartReply::decode(reader)?),
            Kind::BarrierRequest => Self::BarrierRequest,
            Kind::BarrierReply => Self::BarrierReply,
            Kind::RoleRequest => Self::RoleRequest(RoleMessage::decode(reader)?),
            Kind::RoleReply => Self::RoleReply(RoleMessage::decode(reader)?),
            Kind::GetAsyncRequest => Self::GetAsyncRequest,
            Kind::GetAsyncReply => Self::GetAsyncReply(AsyncConfig::decode(reader)?),
            Kind::SetAsync => Self::SetAsync(AsyncConfig::decode(reader)?),
            Kind::MeterMod => Self::MeterMod(MeterMod::decode(reader)?),
            Kind::RoleStatus => Self::RoleStatus(RoleStatus::decode(reader)?),
            Kind::TableStatus => Self::TableStatus(TableStatus::decode(reader)?),
            Kind::RequestForward => Self::RequestForward(reader.rest().to_vec()),
            Kind::BundleControl => Self::BundleControl(BundleControl::decode(reader)?),
            Kind::BundleAdd => Self::BundleAdd(BundleAdd::decode(reader)?),
        })
    }

    fn decode_experimenter(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let experimenter = reader.u32()?;
        let kind = reader.u32()?;
        let whole = reader.clone();
        let known = if experimenter == NICIRA { Self::decode_nicira(kind, reader)? } else { None };
        Ok(known.unwrap_or_else(|| Self::Experimenter { experimenter, kind, body: whole.clone().rest().to_vec() }))
    }

    fn decode_nicira(kind: u32, reader: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match kind {
            NXT_PACKET_IN2 => Self::PacketIn(Box::new(PacketIn::decode_properties(reader)?)),
            NXT_RESUME => Self::Resume(Box::new(PacketIn::decode_properties(reader)?)),
            NXT_SET_PACKET_IN_FORMAT => match PacketInFormat::of(reader.u32()?) {
                Some(format) => Self::SetPacketInFormat(format),
                None => return Ok(None),
            },
            NXT_SET_CONTROLLER_ID => {
                reader.skip(6)?;
                Self::SetControllerId(reader.u16()?)
            }
            NXT_TLV_TABLE_MOD => Self::TlvTableMod(TlvTableMod::decode(reader)?),
            NXT_TLV_TABLE_REQUEST => Self::TlvTableRequest,
            NXT_TLV_TABLE_REPLY => Self::TlvTableReply(TlvTable::decode(reader)?),
            NXT_CT_FLUSH_ZONE => {
                reader.skip(6)?;
                Self::CtFlushZone(reader.u16()?)
            }
            _ => return Ok(None),
        }))
    }
}
