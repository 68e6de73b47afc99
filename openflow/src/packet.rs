//! Packets between switch and controller: packet-in, its resumption, packet-out.

use crate::Field;
use crate::action::{Action, decode_list, encode_list, property};
use crate::error::{DecodeError, EncodeError};
use crate::flow::NO_BUFFER;
use crate::matches::Match;
use crate::port::PortNumber;
use crate::wire::{Put, Reader, padding};

/// Why a packet came (OFPR_*).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PacketInReason {
    /// The table-miss flow.
    NoMatch,
    /// An action in a flow.
    Action,
    InvalidTtl,
    /// An output in an action set.
    ActionSet,
    /// An output in a group.
    Group,
    /// An output in a packet-out.
    PacketOut,
    Other(u8),
}

impl From<u8> for PacketInReason {
    fn from(reason: u8) -> Self {
        match reason {
            0 => Self::NoMatch,
            1 => Self::Action,
            2 => Self::InvalidTtl,
            3 => Self::ActionSet,
            4 => Self::Group,
            5 => Self::PacketOut,
            other => Self::Other(other),
        }
    }
}

impl From<PacketInReason> for u8 {
    fn from(reason: PacketInReason) -> Self {
        match reason {
            PacketInReason::NoMatch => 0,
            PacketInReason::Action => 1,
            PacketInReason::InvalidTtl => 2,
            PacketInReason::ActionSet => 3,
            PacketInReason::Group => 4,
            PacketInReason::PacketOut => 5,
            PacketInReason::Other(other) => other,
        }
    }
}

/// The packet-in formats of NXT_SET_PACKET_IN_FORMAT.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PacketInFormat {
    /// The protocol's own, which carries no userdata and cannot pause.
    Standard,
    /// NXT_PACKET_IN.
    Nicira,
    /// NXT_PACKET_IN2: userdata and continuations. What [`PacketIn`] is for.
    Nicira2,
}

impl PacketInFormat {
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Standard => 0,
            Self::Nicira => 1,
            Self::Nicira2 => 2,
        }
    }

    pub(crate) const fn of(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Standard),
            1 => Some(Self::Nicira),
            2 => Some(Self::Nicira2),
            _ => None,
        }
    }
}

/// A packet for the controller. To resume one that was paused, send it back as [`crate::Message::Resume`].
///
/// The standard packet-in decodes to the same; encoding gives NXT_PACKET_IN2.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PacketIn {
    /// The packet, or its first bytes.
    pub packet: Vec<u8>,
    /// The whole packet's length, where only its first bytes came.
    pub full_len: Option<u32>,
    pub buffer_id: Option<u32>,
    pub table: u8,
    /// The cookie of the flow that sent it.
    pub cookie: Option<u64>,
    pub reason: PacketInReason,
    /// Fields that the packet itself does not carry: port, tunnel, registers, connection state.
    pub metadata: Match,
    /// From the action that sent it.
    pub userdata: Vec<u8>,
    /// The switch's private state of a paused packet, as it came.
    pub continuation: Option<Vec<u8>>,
}

const PACKET: u16 = 0;
const FULL_LEN: u16 = 1;
const BUFFER_ID: u16 = 2;
const TABLE_ID: u16 = 3;
const COOKIE: u16 = 4;
const REASON: u16 = 5;
const METADATA: u16 = 6;
const USERDATA: u16 = 7;
const CONTINUATION: u16 = 8;

impl PacketIn {
    fn empty() -> Self {
        Self {
            packet: Vec::new(),
            full_len: None,
            buffer_id: None,
            table: 0,
            cookie: None,
            reason: PacketInReason::Action,
            metadata: Match::new(),
            userdata: Vec::new(),
            continuation: None,
        }
    }

    /// Where the packet entered the switch.
    #[must_use]
    pub fn in_port(&self) -> Option<PortNumber> {
        let term = self.metadata.get(Field::InPort)?;
        u32::try_from(term.value.number()).ok().map(PortNumber)
    }

    /// NXT_PACKET_IN2 and NXT_RESUME.
    pub(crate) fn decode_properties(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut packet_in = Self::empty();
        while !reader.is_empty() {
            let kind = reader.u16()?;
            let length = reader.u16()?;
            let mut value = reader.part(length, 4, "packet-in property")?;
            reader.skip(padding(length.into()).min(reader.left()))?;
            match kind {
                PACKET => packet_in.packet = value.rest().to_vec(),
                FULL_LEN => packet_in.full_len = Some(value.u32()?),
                BUFFER_ID => packet_in.buffer_id = Some(value.u32()?),
                TABLE_ID => packet_in.table = value.u8()?,
                COOKIE => {
                    value.skip(4)?;
                    packet_in.cookie = Some(value.u64()?);
                }
                REASON => packet_in.reason = value.u8()?.into(),
                METADATA => packet_in.metadata = Match::from_oxm(value.rest())?,
                USERDATA => {
                    packet_in.userdata = value.rest().to_vec();
                    #[cfg(fuzzing)]
                    crate::planted::planted("packet_in", packet_in.userdata.first().is_some_and(|first| *first > 0x7f));
                }
                CONTINUATION => packet_in.continuation = Some(value.rest().to_vec()),
                _ => {} // information of a later version, which nothing asked for
            }
        }
        Ok(packet_in)
    }

    pub(crate) fn encode_properties(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        property(out, PACKET, &self.packet)?;
        if let Some(full_len) = self.full_len {
            property(out, FULL_LEN, &full_len.to_be_bytes())?;
        }
        if let Some(buffer_id) = self.buffer_id {
            property(out, BUFFER_ID, &buffer_id.to_be_bytes())?;
        }
        property(out, TABLE_ID, &[self.table])?;
        if let Some(cookie) = self.cookie {
            let mut value = [0; 12];
            value[4..].copy_from_slice(&cookie.to_be_bytes());
            property(out, COOKIE, &value)?;
        }
        property(out, REASON, &[self.reason.into()])?;
        property(out, METADATA, self.metadata.oxm())?;
        if let Some(continuation) = &self.continuation {
            property(out, CONTINUATION, continuation)?;
        }
        if !self.userdata.is_empty() {
            property(out, USERDATA, &self.userdata)?;
        }
        Ok(())
    }

    /// OFPT_PACKET_IN.
    pub(crate) fn decode_standard(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let buffer_id = reader.u32()?;
        let full_len = u32::from(reader.u16()?);
        let reason = reader.u8()?.into();
        let table = reader.u8()?;
        let cookie = reader.u64()?;
        let metadata = Match::decode(reader)?;
        reader.skip(2)?;
        let packet = reader.rest().to_vec();
        let whole = usize::try_from(full_len).is_ok_and(|length| length == packet.len());
        Ok(Self {
            packet,
            full_len: (!whole).then_some(full_len),
            buffer_id: (buffer_id != NO_BUFFER).then_some(buffer_id),
            table,
            cookie: (cookie != u64::MAX).then_some(cookie),
            reason,
            metadata,
            ..Self::empty()
        })
    }
}

/// A packet from the controller.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PacketOut {
    /// A packet the switch kept, or [`NO_BUFFER`].
    pub buffer_id: u32,
    /// Fields the packet itself does not carry, the port among them: the packet is treated as if they had been set on its way.
    pub metadata: Match,
    pub actions: Vec<Action>,
    pub packet: Vec<u8>,
}

impl PacketOut {
    /// A packet as if from a port, to which actions are done.
    #[must_use]
    pub fn new(in_port: impl Into<PortNumber>, packet: Vec<u8>, actions: Vec<Action>) -> Self {
        let metadata = Match::new().with(Field::InPort, in_port.into());
        Self { buffer_id: NO_BUFFER, metadata, actions, packet }
    }

    /// The same with a field set beforehand, such as a register.
    #[must_use]
    pub fn with(mut self, field: Field, value: impl Into<crate::Value>) -> Self {
        self.metadata = self.metadata.with(field, value);
        self
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.metadata.get(Field::InPort).is_none() {
            return Err(EncodeError::Invalid {
                what: "packet-out",
                problem: "needs in_port; use CONTROLLER if it came from nowhere",
            });
        }
        if self.buffer_id != NO_BUFFER && !self.packet.is_empty() {
            return Err(EncodeError::Invalid {
                what: "packet-out",
                problem: "has both a buffered packet and one of its own",
            });
        }
        out.put_u32(self.buffer_id);
        let length = out.len();
        out.put_u16(0);
        out.put_zeros(2);
        self.metadata.encode(out)?;
        let start = out.len();
        encode_list(&self.actions, out)?;
        out.set_length(start, length, "packet-out actions")?;
        out.put_bytes(&self.packet);
        Ok(())
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let buffer_id = reader.u32()?;
        let length = reader.u16()?;
        reader.skip(2)?;
        let metadata = Match::decode(reader)?;
        let actions = decode_list(reader.take(length.into())?)?;
        Ok(Self { buffer_id, metadata, actions, packet: reader.rest().to_vec() })
    }
}
