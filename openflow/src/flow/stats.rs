//! What a flow has seen, as OXS fields (OpenFlow 1.5.1, 7.2.4).

use crate::error::{DecodeError, EncodeError};
use crate::wire::{Put, Reader};

/// A time in seconds and nanoseconds, as statistics carry it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Seconds {
    pub seconds: u32,
    pub nanoseconds: u32,
}

/// What a flow has seen: the OXS fields that the switch gave (OpenFlow 1.5.1, 7.2.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct FlowStats {
    /// How long the flow has been there.
    pub duration: Option<Seconds>,
    /// How long it has not been used.
    pub idle: Option<Seconds>,
    /// How many flows these statistics are of.
    pub flows: Option<u32>,
    pub packets: Option<u64>,
    pub bytes: Option<u64>,
}

const OXS_BASIC: u16 = 0x8002;

impl FlowStats {
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.skip(2)?;
        let length = reader.u16()?;
        let Some(body) = usize::from(length).checked_sub(4) else {
            return Err(DecodeError::Length { what: "flow statistics", length: length.into() });
        };
        let mut body = Reader::new(reader.take(body)?, "flow statistics");
        reader.skip(crate::wire::padding(length.into()).min(reader.left()))?;
        let mut stats = Self::default();
        while !body.is_empty() {
            let class = body.u16()?;
            let number = body.u8()? >> 1;
            let length = body.u8()?;
            let mut value = Reader::new(body.take(length.into())?, "flow statistic");
            match (class, number, length) {
                (OXS_BASIC, 0, 8) => {
                    stats.duration = Some(Seconds { seconds: value.u32()?, nanoseconds: value.u32()? })
                }
                (OXS_BASIC, 1, 8) => stats.idle = Some(Seconds { seconds: value.u32()?, nanoseconds: value.u32()? }),
                (OXS_BASIC, 3, 4) => stats.flows = Some(value.u32()?),
                (OXS_BASIC, 4, 8) => stats.packets = Some(value.u64()?),
                (OXS_BASIC, 5, 8) => stats.bytes = Some(value.u64()?),
                _ => {} // a statistic of a later version: nothing that is configured depends on it
            }
        }
        Ok(stats)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_zeros(4);
        let time = |out: &mut Vec<u8>, number: u8, time: Option<Seconds>| {
            if let Some(Seconds { seconds, nanoseconds }) = time {
                statistic(out, number, &((u64::from(seconds) << 32) | u64::from(nanoseconds)).to_be_bytes());
            }
        };
        time(out, 0, self.duration);
        time(out, 1, self.idle);
        if let Some(flows) = self.flows {
            statistic(out, 3, &flows.to_be_bytes());
        }
        if let Some(packets) = self.packets {
            statistic(out, 4, &packets.to_be_bytes());
        }
        if let Some(bytes) = self.bytes {
            statistic(out, 5, &bytes.to_be_bytes());
        }
        out.set_length(start, start + 2, "flow statistics")?;
        out.pad_since(start);
        Ok(())
    }
}

/// Appends one OXS field; none is longer than eight bytes.
fn statistic(out: &mut Vec<u8>, number: u8, value: &[u8]) {
    out.put_u16(OXS_BASIC);
    out.put_u8(number << 1);
    out.put_u8(if value.len() == 4 { 4 } else { 8 });
    out.put_bytes(value);
}
