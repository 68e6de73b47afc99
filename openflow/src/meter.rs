//! Meters: limits on the rate of packets, and the messages that change them. A meter mod cannot be in a bundle.

use crate::error::{DecodeError, EncodeError};
use crate::flags::flags;
use crate::wire::{Put, Reader};

flags! {
    /// What a meter measures (OFPMF_*).
    MeterFlags: u16 {
        /// Rates in kbit/s.
        KBPS = 1 << 0, "kbps";
        /// Rates in packets a second.
        PKTPS = 1 << 1, "pktps";
        /// Burst sizes count.
        BURST = 1 << 2, "burst";
        STATS = 1 << 3, "stats";
    }
}

/// What happens to packets above a rate. A meter without the `BURST` flag has the rate as its burst in a dump.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MeterBand {
    Drop {
        rate: u32,
        burst: u32,
    },
    /// Raises the drop precedence in the DSCP.
    DscpRemark {
        rate: u32,
        burst: u32,
        levels: u8,
    },
}

impl MeterBand {
    fn encode(self, out: &mut Vec<u8>) {
        let (kind, rate, burst, levels) = match self {
            Self::Drop { rate, burst } => (1, rate, burst, 0),
            Self::DscpRemark { rate, burst, levels } => (2, rate, burst, levels),
        };
        out.put_u16(kind);
        out.put_u16(16);
        out.put_u32(rate);
        out.put_u32(burst);
        out.put_u8(levels);
        out.put_zeros(3);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = reader.u16()?;
        let length = reader.u16()?;
        let mut body = reader.part(length, 4, "meter band")?;
        let rate = body.u32()?;
        let burst = body.u32()?;
        match kind {
            1 => Ok(Self::Drop { rate, burst }),
            2 => Ok(Self::DscpRemark { rate, burst, levels: body.u8()? }),
            _ => Err(DecodeError::Invalid { what: "meter band", problem: "unknown type" }),
        }
    }
}

/// A meter as it is in the switch.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Meter {
    pub id: u32,
    pub flags: MeterFlags,
    pub bands: Vec<MeterBand>,
}

/// All meters, in a delete or a request.
pub const ALL_METERS: u32 = 0xffff_ffff;
/// Limits what goes to the controller.
pub const CONTROLLER_METER: u32 = 0xffff_fffe;
/// Limits what the datapath hands to the switch.
pub const SLOWPATH_METER: u32 = 0xffff_fffd;

impl Meter {
    /// An entry of a meter configuration.
    pub(crate) fn decode_entry(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.u16()?;
        let mut body = reader.part(length, 2, "meter")?;
        let flags = MeterFlags(body.u16()?);
        let id = body.u32()?;
        Ok(Self { id, flags, bands: decode_bands(&mut body)? })
    }

    pub(crate) fn encode_entry(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u16(0);
        out.put_u16(self.flags.0);
        out.put_u32(self.id);
        self.bands.iter().for_each(|band| band.encode(out));
        out.set_length(start, start, "meter")
    }
}

fn decode_bands(body: &mut Reader<'_>) -> Result<Vec<MeterBand>, DecodeError> {
    let mut bands = Vec::new();
    while !body.is_empty() {
        bands.push(MeterBand::decode(body)?);
    }
    Ok(bands)
}

/// A change of meters.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum MeterMod {
    Add(Meter),
    Modify(Meter),
    /// Deletes the meter, and all flows that use it; [`ALL_METERS`] for all.
    Delete(u32),
}

impl MeterMod {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let (command, meter) = match self {
            Self::Add(meter) => (0, meter),
            Self::Modify(meter) => (1, meter),
            Self::Delete(id) => (2, &Meter { id: *id, ..Meter::default() }),
        };
        out.put_u16(command);
        out.put_u16(meter.flags.0);
        out.put_u32(meter.id);
        meter.bands.iter().for_each(|band| band.encode(out));
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let command = reader.u16()?;
        let flags = MeterFlags(reader.u16()?);
        let id = reader.u32()?;
        let meter = Meter { id, flags, bands: decode_bands(reader)? };
        match command {
            0 => Ok(Self::Add(meter)),
            1 => Ok(Self::Modify(meter)),
            2 => Ok(Self::Delete(id)),
            _ => Err(DecodeError::Invalid { what: "meter mod", problem: "unknown command" }),
        }
    }
}
