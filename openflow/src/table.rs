//! Flow tables: their settings, descriptions, statistics and features.

use crate::error::{DecodeError, EncodeError};
use crate::wire::{Put, Reader};

/// Changes a table's settings, or describes them.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TableConfig {
    /// 255 in a change means all tables.
    pub table: u8,
    /// A bitmap of OFPTC_*: 4 evicts flows, 8 reports vacancy.
    pub config: u32,
    /// Properties, as they are on the wire.
    pub properties: Vec<u8>,
}

impl TableConfig {
    pub(crate) fn encode_mod(&self, out: &mut Vec<u8>) {
        out.put_u8(self.table);
        out.put_zeros(3);
        out.put_u32(self.config);
        out.put_bytes(&self.properties);
    }

    pub(crate) fn decode_mod(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let table = reader.u8()?;
        reader.skip(3)?;
        Ok(Self { table, config: reader.u32()?, properties: reader.rest().to_vec() })
    }

    pub(crate) fn encode_entry(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u16(0);
        out.put_u8(self.table);
        out.put_u8(0);
        out.put_u32(self.config);
        out.put_bytes(&self.properties);
        out.set_length(start, start, "table description")
    }

    pub(crate) fn decode_entry(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.u16()?;
        let mut body = reader.part(length, 2, "table description")?;
        let table = body.u8()?;
        body.skip(1)?;
        Ok(Self { table, config: body.u32()?, properties: body.rest().to_vec() })
    }
}

/// A table's settings changed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TableStatus {
    /// 3 for less, 4 for more vacancy than the threshold.
    pub reason: u8,
    pub table: TableConfig,
}

impl TableStatus {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u8(self.reason);
        out.put_zeros(7);
        self.table.encode_entry(out)
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let reason = reader.u8()?;
        reader.skip(7)?;
        Ok(Self { reason, table: TableConfig::decode_entry(reader)? })
    }
}

/// What a table has seen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct TableStats {
    pub table: u8,
    /// Flows in it.
    pub active: u32,
    pub lookups: u64,
    pub matched: u64,
}

impl TableStats {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.table);
        out.put_zeros(3);
        out.put_u32(self.active);
        out.put_u64(self.lookups);
        out.put_u64(self.matched);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let table = reader.u8()?;
        reader.skip(3)?;
        Ok(Self { table, active: reader.u32()?, lookups: reader.u64()?, matched: reader.u64()? })
    }
}

/// What a table can do.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TableFeatures {
    pub table: u8,
    pub command: u8,
    pub name: String,
    pub metadata_match: u64,
    pub metadata_write: u64,
    pub capabilities: u32,
    pub max_entries: u32,
    /// The property list (OFPTFPT_*), as it is on the wire.
    pub properties: Vec<u8>,
}

impl TableFeatures {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u16(0);
        out.put_u8(self.table);
        out.put_u8(self.command);
        out.put_zeros(4);
        out.put_text(&self.name, 32);
        out.put_u64(self.metadata_match);
        out.put_u64(self.metadata_write);
        out.put_u32(self.capabilities);
        out.put_u32(self.max_entries);
        out.put_bytes(&self.properties);
        out.set_length(start, start, "table features")
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.u16()?;
        let mut body = reader.part(length, 2, "table features")?;
        let table = body.u8()?;
        let command = body.u8()?;
        body.skip(4)?;
        Ok(Self {
            table,
            command,
            name: body.text(32)?,
            metadata_match: body.u64()?,
            metadata_write: body.u64()?,
            capabilities: body.u32()?,
            max_entries: body.u32()?,
            properties: body.rest().to_vec(),
        })
    }

    /// The properties: number and content, headers and padding taken off.
    pub fn properties(&self) -> impl Iterator<Item = (u16, &[u8])> {
        let mut reader = Reader::new(&self.properties, "table feature");
        std::iter::from_fn(move || {
            let kind = reader.u16().ok()?;
            let length = reader.u16().ok()?;
            let content = reader.part(length, 4, "table feature").ok()?.rest();
            reader.skip(crate::wire::padding(length.into()).min(reader.left())).ok()?;
            Some((kind, content))
        })
    }
}
