//! What a connection starts with and is set to: versions, features, configuration, roles, which events to send, tunnel options.

use crate::action::property;
use crate::error::{DecodeError, EncodeError};
use crate::flags::flags;
use crate::wire::{Put, Reader, padding};

/// The versions one side speaks, as version numbers of the wire: 6 is OpenFlow 1.5.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Hello {
    /// From the bitmap, ascending; without a bitmap the version of the message itself and all before it.
    pub versions: Vec<u8>,
}

impl Hello {
    /// Only OpenFlow 1.5.
    #[must_use]
    pub fn only_this_version() -> Self {
        Self { versions: vec![crate::VERSION] }
    }

    /// Whether the other side speaks OpenFlow 1.5.
    #[must_use]
    pub fn speaks_this_version(&self) -> bool {
        self.versions.contains(&crate::VERSION)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut bitmap = 0u32;
        for version in &self.versions {
            let bit = 1u32.checked_shl((*version).into());
            bitmap |=
                bit.ok_or(EncodeError::Invalid { what: "hello", problem: "versions above 31 are not written" })?;
        }
        property(out, 1, &bitmap.to_be_bytes())
    }

    pub(crate) fn decode(version: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        while reader.left() >= 4 {
            let kind = reader.u16()?;
            let length = reader.u16()?;
            let mut body = reader.part(length, 4, "hello element")?;
            reader.skip(padding(length.into()).min(reader.left()))?;
            if kind == 1 && body.left() >= 4 {
                let bitmap = body.u32()?;
                return Ok(Self { versions: (0..32).filter(|bit| bitmap >> bit & 1 == 1).collect() });
            }
        }
        Ok(Self { versions: (1..=version).collect() })
    }
}

flags! {
    /// What a switch can do (OFPC_*).
    Capabilities: u32 {
        FLOW_STATS = 1 << 0, "FLOW_STATS";
        TABLE_STATS = 1 << 1, "TABLE_STATS";
        PORT_STATS = 1 << 2, "PORT_STATS";
        GROUP_STATS = 1 << 3, "GROUP_STATS";
        IP_REASSEMBLY = 1 << 5, "IP_REASM";
        QUEUE_STATS = 1 << 6, "QUEUE_STATS";
        PORT_BLOCKED = 1 << 8, "PORT_BLOCKED";
        BUNDLES = 1 << 9, "BUNDLES";
        FLOW_MONITORING = 1 << 10, "FLOW_MONITORING";
    }
}

/// What a switch is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Features {
    pub datapath_id: u64,
    /// How many packets it keeps for the controller.
    pub buffers: u32,
    pub tables: u8,
    pub auxiliary_id: u8,
    pub capabilities: Capabilities,
}

impl Features {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.put_u64(self.datapath_id);
        out.put_u32(self.buffers);
        out.put_u8(self.tables);
        out.put_u8(self.auxiliary_id);
        out.put_zeros(2);
        out.put_u32(self.capabilities.0);
        out.put_u32(0);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let datapath_id = reader.u64()?;
        let buffers = reader.u32()?;
        let tables = reader.u8()?;
        let auxiliary_id = reader.u8()?;
        reader.skip(2)?;
        Ok(Self { datapath_id, buffers, tables, auxiliary_id, capabilities: Capabilities(reader.u32()?) })
    }
}

/// How the switch treats fragments, and how much of a packet it sends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SwitchConfig {
    /// 0 normal, 1 drop, 2 reassemble, 3 first fragments as whole packets (`nx-match`).
    pub flags: u16,
    /// Bytes of a packet sent to the controller on a table miss.
    pub miss_send_len: u16,
}

impl SwitchConfig {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.put_u16(self.flags);
        out.put_u16(self.miss_send_len);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { flags: reader.u16()?, miss_send_len: reader.u16()? })
    }
}

/// A controller's role (OFPCR_ROLE_*).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    NoChange,
    Equal,
    Primary,
    Secondary,
    Other(u32),
}

impl Role {
    const fn of(number: u32) -> Self {
        match number {
            0 => Self::NoChange,
            1 => Self::Equal,
            2 => Self::Primary,
            3 => Self::Secondary,
            other => Self::Other(other),
        }
    }

    const fn number(self) -> u32 {
        match self {
            Self::NoChange => 0,
            Self::Equal => 1,
            Self::Primary => 2,
            Self::Secondary => 3,
            Self::Other(other) => other,
        }
    }
}

/// Asks for a role, or answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RoleMessage {
    pub role: Role,
    /// Counts elections of a primary, so that an old one is refused.
    pub generation: u64,
}

impl RoleMessage {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.put_u32(self.role.number());
        out.put_zeros(4);
        out.put_u64(self.generation);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let role = Role::of(reader.u32()?);
        reader.skip(4)?;
        Ok(Self { role, generation: reader.u64()? })
    }
}

/// The switch changed this controller's role.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RoleStatus {
    pub role: Role,
    /// 0 another controller asked to be primary, 1 configuration, 2 experimenter.
    pub reason: u8,
    pub generation: u64,
}

impl RoleStatus {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.put_u32(self.role.number());
        out.put_u8(self.reason);
        out.put_zeros(3);
        out.put_u64(self.generation);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let role = Role::of(reader.u32()?);
        let reason = reader.u8()?;
        reader.skip(3)?;
        Ok(Self { role, reason, generation: reader.u64()? })
    }
}

/// Which asynchronous messages a controller gets: pairs of the property's number (OFPACPT_*) and a bitmap of reasons.
///
/// Even numbers count for a secondary controller, odd ones for the others.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct AsyncConfig {
    pub masks: Vec<(u16, u32)>,
}

impl AsyncConfig {
    /// Packet-ins for a primary or equal controller.
    pub const PACKET_IN: u16 = 1;
    /// Port status for a primary or equal controller.
    pub const PORT_STATUS: u16 = 3;
    /// Flow removed for a primary or equal controller.
    pub const FLOW_REMOVED: u16 = 5;

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.masks.iter().try_for_each(|(kind, mask)| property(out, *kind, &mask.to_be_bytes()))
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut masks = Vec::new();
        while !reader.is_empty() {
            let kind = reader.u16()?;
            let length = reader.u16()?;
            let mut body = reader.part(length, 4, "asynchronous configuration")?;
            reader.skip(padding(length.into()).min(reader.left()))?;
            masks.push((kind, body.u32()?));
        }
        Ok(Self { masks })
    }
}

/// Which tunnel option (a Geneve TLV) `tun_metadata` number `index` is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TlvMap {
    pub class: u16,
    pub kind: u8,
    /// Bytes, a multiple of 4.
    pub length: u8,
    pub index: u16,
}

impl TlvMap {
    fn encode(self, out: &mut Vec<u8>) {
        out.put_u16(self.class);
        out.put_u8(self.kind);
        out.put_u8(self.length);
        out.put_u16(self.index);
        out.put_zeros(2);
    }

    fn decode_all(reader: &mut Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        let mut maps = Vec::new();
        while !reader.is_empty() {
            maps.push(Self { class: reader.u16()?, kind: reader.u8()?, length: reader.u8()?, index: reader.u16()? });
            reader.skip(2)?;
        }
        Ok(maps)
    }
}

/// Changes the table of tunnel options.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum TlvTableMod {
    Add(Vec<TlvMap>),
    /// Only the indices count.
    Delete(Vec<TlvMap>),
    Clear,
}

impl TlvTableMod {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let (command, maps): (_, &[TlvMap]) = match self {
            Self::Add(maps) => (0, maps),
            Self::Delete(maps) => (1, maps),
            Self::Clear => (2, &[]),
        };
        out.put_u16(command);
        out.put_zeros(6);
        maps.iter().for_each(|map| map.encode(out));
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let command = reader.u16()?;
        reader.skip(6)?;
        let maps = TlvMap::decode_all(reader)?;
        match command {
            0 => Ok(Self::Add(maps)),
            1 => Ok(Self::Delete(maps)),
            2 => Ok(Self::Clear),
            _ => Err(DecodeError::Invalid { what: "TLV table mod", problem: "unknown command" }),
        }
    }
}

/// The table of tunnel options.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TlvTable {
    /// Bytes that all options together may have.
    pub max_option_space: u32,
    pub max_fields: u16,
    pub maps: Vec<TlvMap>,
}

impl TlvTable {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.max_option_space);
        out.put_u16(self.max_fields);
        out.put_zeros(10);
        self.maps.iter().for_each(|map| map.encode(out));
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let max_option_space = reader.u32()?;
        let max_fields = reader.u16()?;
        reader.skip(10)?;
        Ok(Self { max_option_space, max_fields, maps: TlvMap::decode_all(reader)? })
    }
}
