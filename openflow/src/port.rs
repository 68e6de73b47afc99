//! Ports: their numbers, descriptions, changes and settings.

use crate::error::{DecodeError, EncodeError};
use crate::flags::flags;
use crate::wire::{Put, Reader};

/// An OpenFlow port number, or one of the reserved ports of `ovs-ofctl(8)`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortNumber(pub u32);

impl PortNumber {
    /// Back where the packet came from.
    pub const IN_PORT: Self = Self(0xffff_fff8);
    /// Through the flow tables (packet-out only).
    pub const TABLE: Self = Self(0xffff_fff9);
    /// Ordinary learning switch.
    pub const NORMAL: Self = Self(0xffff_fffa);
    /// All ports that may be flooded to.
    pub const FLOOD: Self = Self(0xffff_fffb);
    /// All ports but the one the packet came from.
    pub const ALL: Self = Self(0xffff_fffc);
    /// The controller.
    pub const CONTROLLER: Self = Self(0xffff_fffd);
    /// The bridge's own interface.
    pub const LOCAL: Self = Self(0xffff_fffe);
    /// No restriction, or no port.
    pub const ANY: Self = Self(0xffff_ffff);
    /// No output in the action set (`actset_output`).
    pub const UNSET: Self = Self(0xffff_fff7);

    const NAMES: [(Self, &str); 9] = [
        (Self::IN_PORT, "IN_PORT"),
        (Self::TABLE, "TABLE"),
        (Self::NORMAL, "NORMAL"),
        (Self::FLOOD, "FLOOD"),
        (Self::ALL, "ALL"),
        (Self::CONTROLLER, "CONTROLLER"),
        (Self::LOCAL, "LOCAL"),
        (Self::ANY, "ANY"),
        (Self::UNSET, "UNSET"),
    ];

    /// The name of a reserved port.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Self::NAMES.iter().find(|(port, _)| *port == self).map(|(_, name)| *name)
    }

    /// The 16-bit form that Nicira's actions carry.
    pub(crate) fn narrow(self) -> Result<u16, EncodeError> {
        let problem = EncodeError::Invalid {
            what: "port",
            problem: "this action carries only ports below 0xff00 and reserved ports",
        };
        match self.0 {
            ..0xff00 | 0xffff_ff00.. => Ok(u16::from_be_bytes([self.0.to_be_bytes()[2], self.0.to_be_bytes()[3]])),
            _ => Err(problem),
        }
    }

    /// The port of the 16-bit form.
    pub(crate) const fn widen(port: u16) -> Self {
        Self(if port >= 0xff00 { 0xffff_0000 | port as u32 } else { port as u32 })
    }
}

impl From<u32> for PortNumber {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl From<PortNumber> for crate::Value {
    fn from(port: PortNumber) -> Self {
        port.0.into()
    }
}

impl std::fmt::Display for PortNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl std::fmt::Debug for PortNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

flags! {
    /// How a port is set (OFPPC_*).
    PortConfig: u32 {
        DOWN = 1 << 0, "PORT_DOWN";
        NO_RECEIVE = 1 << 2, "NO_RECV";
        NO_FORWARD = 1 << 5, "NO_FWD";
        NO_PACKET_IN = 1 << 6, "NO_PACKET_IN";
    }
}

flags! {
    /// What a port does now (OFPPS_*).
    PortState: u32 {
        LINK_DOWN = 1 << 0, "LINK_DOWN";
        BLOCKED = 1 << 1, "BLOCKED";
        LIVE = 1 << 2, "LIVE";
    }
}

/// The Ethernet properties of a port: bitmaps of OFPPF_*, speeds in kbit/s.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct EthernetProperties {
    pub current: u32,
    pub advertised: u32,
    pub supported: u32,
    pub peer: u32,
    pub current_speed: u32,
    pub max_speed: u32,
}

/// A port of the switch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Port {
    pub number: PortNumber,
    pub mac: [u8; 6],
    /// The interface's name, cut by the protocol to 15 bytes.
    pub name: String,
    pub config: PortConfig,
    pub state: PortState,
    pub ethernet: Option<EthernetProperties>,
    /// Properties of other kinds, as they came.
    pub other: Vec<u8>,
}

impl Port {
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = PortNumber(reader.u32()?);
        let length = reader.u16()?;
        let mut body = reader.part(length, 6, "port")?;
        body.skip(2)?;
        let mac = body.array()?;
        body.skip(2)?;
        let name = body.text(16)?;
        let config = PortConfig(body.u32()?);
        let state = PortState(body.u32()?);
        let mut port = Self { number, mac, name, config, state, ethernet: None, other: Vec::new() };
        while body.left() >= 4 {
            port.decode_property(&mut body)?;
        }
        Ok(port)
    }

    fn decode_property(&mut self, body: &mut Reader<'_>) -> Result<(), DecodeError> {
        let kind = body.u16()?;
        let length = body.u16()?;
        let inner = body.part(length, 4, "port property")?.rest();
        body.skip(crate::wire::padding(length.into()).min(body.left()))?;
        if kind == 0 && length == 32 && self.ethernet.is_none() {
            let mut inner = Reader::new(inner, "Ethernet port property");
            inner.skip(4)?;
            self.ethernet = Some(EthernetProperties {
                current: inner.u32()?,
                advertised: inner.u32()?,
                supported: inner.u32()?,
                peer: inner.u32()?,
                current_speed: inner.u32()?,
                max_speed: inner.u32()?,
            });
            #[cfg(fuzzing)]
            crate::planted::planted("openflow_stream", self.name.starts_with('q'));
        } else {
            let start = self.other.len();
            self.other.put_u16(kind);
            self.other.put_u16(length);
            self.other.put_bytes(inner);
            self.other.pad_since(start);
        }
        Ok(())
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u32(self.number.0);
        out.put_u16(0);
        out.put_zeros(2);
        out.put_bytes(&self.mac);
        out.put_zeros(2);
        out.put_text(&self.name, 16);
        out.put_u32(self.config.0);
        out.put_u32(self.state.0);
        if let Some(ethernet) = &self.ethernet {
            out.put_u16(0);
            out.put_u16(32);
            out.put_zeros(4);
            let EthernetProperties { current, advertised, supported, peer, current_speed, max_speed } = *ethernet;
            for number in [current, advertised, supported, peer, current_speed, max_speed] {
                out.put_u32(number);
            }
        }
        out.put_bytes(&self.other);
        out.set_length(start, start + 4, "port")
    }
}

/// Why a port status was sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PortReason {
    Added,
    Deleted,
    Modified,
    Other(u8),
}

/// A port appeared, went or changed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PortStatus {
    pub reason: PortReason,
    pub port: Port,
}

impl PortStatus {
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let reason = match reader.u8()? {
            0 => PortReason::Added,
            1 => PortReason::Deleted,
            2 => PortReason::Modified,
            other => PortReason::Other(other),
        };
        reader.skip(7)?;
        Ok(Self { reason, port: Port::decode(reader)? })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u8(match self.reason {
            PortReason::Added => 0,
            PortReason::Deleted => 1,
            PortReason::Modified => 2,
            PortReason::Other(other) => other,
        });
        out.put_zeros(7);
        self.port.encode(out)
    }
}

/// Changes the settings of a port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PortMod {
    pub port: PortNumber,
    /// The port's MAC, as a check that the right port is meant.
    pub mac: [u8; 6],
    pub config: PortConfig,
    /// Which bits of `config` are to change.
    pub mask: PortConfig,
    /// Properties, as they are on the wire.
    pub properties: Vec<u8>,
}

impl PortMod {
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let port = PortNumber(reader.u32()?);
        reader.skip(4)?;
        let mac = reader.array()?;
        reader.skip(2)?;
        let config = PortConfig(reader.u32()?);
        let mask = PortConfig(reader.u32()?);
        Ok(Self { port, mac, config, mask, properties: reader.rest().to_vec() })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.port.0);
        out.put_zeros(4);
        out.put_bytes(&self.mac);
        out.put_zeros(2);
        out.put_u32(self.config.0);
        out.put_u32(self.mask.0);
        out.put_bytes(&self.properties);
    }
}
