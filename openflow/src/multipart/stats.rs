//! Statistics and features of ports, queues, groups and meters.

use crate::error::{DecodeError, EncodeError};
use crate::flow::Seconds;
use crate::port::PortNumber;
use crate::wire::{Put, Reader, padding};

/// What the switch is, in words.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct SwitchDescription {
    pub manufacturer: String,
    pub hardware: String,
    pub software: String,
    pub serial: String,
    pub datapath: String,
}

impl SwitchDescription {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_text(&self.manufacturer, 256);
        out.put_text(&self.hardware, 256);
        out.put_text(&self.software, 256);
        out.put_text(&self.serial, 32);
        out.put_text(&self.datapath, 256);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            manufacturer: reader.text(256)?,
            hardware: reader.text(256)?,
            software: reader.text(256)?,
            serial: reader.text(32)?,
            datapath: reader.text(256)?,
        })
    }
}

fn seconds(reader: &mut Reader<'_>) -> Result<Seconds, DecodeError> {
    Ok(Seconds { seconds: reader.u32()?, nanoseconds: reader.u32()? })
}

fn put_seconds(out: &mut Vec<u8>, time: Seconds) {
    out.put_u32(time.seconds);
    out.put_u32(time.nanoseconds);
}

/// What a port has seen. A counter the switch does not have is all ones.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PortStats {
    pub port: PortNumber,
    pub duration: Seconds,
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
    /// Properties, as they are on the wire.
    pub properties: Vec<u8>,
}

impl PortStats {
    const fn counters(&self) -> [u64; 8] {
        [
            self.rx_packets,
            self.tx_packets,
            self.rx_bytes,
            self.tx_bytes,
            self.rx_dropped,
            self.tx_dropped,
            self.rx_errors,
            self.tx_errors,
        ]
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_zeros(4);
        out.put_u32(self.port.0);
        put_seconds(out, self.duration);
        self.counters().into_iter().for_each(|counter| out.put_u64(counter));
        out.put_bytes(&self.properties);
        out.set_length(start, start, "port statistics")
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.u16()?;
        let mut body = reader.part(length, 2, "port statistics")?;
        body.skip(2)?;
        Ok(Self {
            port: PortNumber(body.u32()?),
            duration: seconds(&mut body)?,
            rx_packets: body.u64()?,
            tx_packets: body.u64()?,
            rx_bytes: body.u64()?,
            tx_bytes: body.u64()?,
            rx_dropped: body.u64()?,
            tx_dropped: body.u64()?,
            rx_errors: body.u64()?,
            tx_errors: body.u64()?,
            properties: body.rest().to_vec(),
        })
    }
}

/// What a queue has seen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct QueueStats {
    pub port: PortNumber,
    pub queue: u32,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub duration: Seconds,
}

impl QueueStats {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_zeros(8);
        out.put_u32(self.port.0);
        out.put_u32(self.queue);
        out.put_u64(self.tx_bytes);
        out.put_u64(self.tx_packets);
        out.put_u64(self.tx_errors);
        put_seconds(out, self.duration);
        out.set_length(start, start, "queue statistics")
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.u16()?;
        let mut body = reader.part(length, 2, "queue statistics")?;
        body.skip(6)?;
        Ok(Self {
            port: PortNumber(body.u32()?),
            queue: body.u32()?,
            tx_bytes: body.u64()?,
            tx_packets: body.u64()?,
            tx_errors: body.u64()?,
            duration: seconds(&mut body)?,
        })
    }
}

/// A queue's settings.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct QueueDesc {
    pub port: PortNumber,
    pub queue: u32,
    /// In tenths of a percent of the port's rate, if set.
    pub min_rate: Option<u16>,
    pub max_rate: Option<u16>,
}

impl QueueDesc {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u32(self.port.0);
        out.put_u32(self.queue);
        out.put_zeros(8);
        for (kind, rate) in [(1, self.min_rate), (2, self.max_rate)] {
            if let Some(rate) = rate {
                crate::action::property16(out, kind, rate)?;
            }
        }
        out.set_length(start, start + 8, "queue description")
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let port = PortNumber(reader.u32()?);
        let queue = reader.u32()?;
        let length = reader.u16()?;
        let mut body = reader.part(length, 10, "queue description")?;
        body.skip(6)?;
        let mut desc = Self { port, queue, min_rate: None, max_rate: None };
        while body.left() >= 4 {
            let kind = body.u16()?;
            let length = body.u16()?;
            let mut value = body.part(length, 4, "queue property")?;
            body.skip(padding(length.into()).min(body.left()))?;
            match kind {
                1 => desc.min_rate = Some(value.u16()?),
                2 => desc.max_rate = Some(value.u16()?),
                _ => {} // a property of a later version
            }
        }
        Ok(desc)
    }
}

/// What a bucket has seen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct BucketStats {
    pub packets: u64,
    pub bytes: u64,
}

impl BucketStats {
    fn encode(self, out: &mut Vec<u8>) {
        out.put_u64(self.packets);
        out.put_u64(self.bytes);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { packets: reader.u64()?, bytes: reader.u64()? })
    }
}

/// What a group has seen.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct GroupStats {
    pub group: u32,
    /// How many flows and groups use it.
    pub references: u32,
    pub packets: u64,
    pub bytes: u64,
    pub duration: Seconds,
    pub buckets: Vec<BucketStats>,
}

impl GroupStats {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_zeros(4);
        out.put_u32(self.group);
        out.put_u32(self.references);
        out.put_zeros(4);
        out.put_u64(self.packets);
        out.put_u64(self.bytes);
        put_seconds(out, self.duration);
        self.buckets.iter().for_each(|bucket| bucket.encode(out));
        out.set_length(start, start, "group statistics")
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.u16()?;
        let mut body = reader.part(length, 2, "group statistics")?;
        body.skip(2)?;
        let group = body.u32()?;
        let references = body.u32()?;
        body.skip(4)?;
        Ok(Self {
            group,
            references,
            packets: body.u64()?,
            bytes: body.u64()?,
            duration: seconds(&mut body)?,
            buckets: super::reply::all(&mut body, BucketStats::decode)?,
        })
    }
}

/// Which groups the switch can have, by kind: all, select, indirect, fast failover.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct GroupFeatures {
    pub kinds: u32,
    pub capabilities: u32,
    pub max_groups: [u32; 4],
    pub actions: [u32; 4],
}

impl GroupFeatures {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let heads = [self.kinds, self.capabilities];
        heads.iter().chain(&self.max_groups).chain(&self.actions).for_each(|number| out.put_u32(*number));
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut features = Self { kinds: reader.u32()?, capabilities: reader.u32()?, ..Self::default() };
        for number in features.max_groups.iter_mut().chain(&mut features.actions) {
            *number = reader.u32()?;
        }
        Ok(features)
    }
}

/// What a meter has seen.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct MeterStats {
    pub meter: u32,
    /// How many flows use it.
    pub flows: u32,
    pub packets: u64,
    pub bytes: u64,
    pub duration: Seconds,
    /// What was above each band's rate.
    pub bands: Vec<BucketStats>,
}

impl MeterStats {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u32(self.meter);
        out.put_zeros(8);
        out.put_u32(self.flows);
        out.put_u64(self.packets);
        out.put_u64(self.bytes);
        put_seconds(out, self.duration);
        self.bands.iter().for_each(|band| band.encode(out));
        out.set_length(start, start + 4, "meter statistics")
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let meter = reader.u32()?;
        let length = reader.u16()?;
        let mut body = reader.part(length, 6, "meter statistics")?;
        body.skip(6)?;
        Ok(Self {
            meter,
            flows: body.u32()?,
            packets: body.u64()?,
            bytes: body.u64()?,
            duration: seconds(&mut body)?,
            bands: super::reply::all(&mut body, BucketStats::decode)?,
        })
    }
}

/// Which meters the switch can have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct MeterFeatures {
    pub max_meter: u32,
    /// A bitmap of band types.
    pub band_kinds: u32,
    /// A bitmap of [`crate::meter::MeterFlags`].
    pub capabilities: u32,
    pub max_bands: u8,
    pub max_color: u8,
}

impl MeterFeatures {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.max_meter);
        out.put_u32(self.band_kinds);
        out.put_u32(self.capabilities);
        out.put_u8(self.max_bands);
        out.put_u8(self.max_color);
        out.put_zeros(2);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            max_meter: reader.u32()?,
            band_kinds: reader.u32()?,
            capabilities: reader.u32()?,
            max_bands: reader.u8()?,
            max_color: reader.u8()?,
        })
    }
}
