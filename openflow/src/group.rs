//! Groups: sets of action buckets, and the messages that change them.

use crate::action::{Action, decode_list, encode_list, property, property16};
use crate::error::{DecodeError, EncodeError};
use crate::field::Field;
use crate::flow::{ALL_GROUPS, ANY_GROUP};
use crate::oxm::{self, Tlv};
use crate::port::PortNumber;
use crate::value::Value;
use crate::wire::{Put, Reader, padding};

/// How a group uses its buckets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum GroupKind {
    /// All of them.
    #[default]
    All,
    /// One, chosen by weight and a hash.
    Select,
    /// Its only one.
    Indirect,
    /// The first that is alive.
    FastFailover,
}

impl GroupKind {
    const ALL_KINDS: [Self; 4] = [Self::All, Self::Select, Self::Indirect, Self::FastFailover];

    /// The word that `ovs-ofctl` uses.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Select => "select",
            Self::Indirect => "indirect",
            Self::FastFailover => "ff",
        }
    }

    fn of(number: u8) -> Result<Self, DecodeError> {
        let kind = Self::ALL_KINDS.get(usize::from(number)).copied();
        kind.ok_or(DecodeError::Invalid { what: "group", problem: "unknown type" })
    }
}

/// How a select group chooses (Netronome's extension).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SelectionMethod {
    /// By the datapath's own hash.
    DpHash { parameter: u64 },
    /// By a hash of these fields, each cut by a mask.
    Hash { parameter: u64, fields: Vec<(Field, Value)> },
}

/// One list of actions of a group.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Bucket {
    pub id: u32,
    /// Of a select group: relative weight, sent and read as 1 if none is said. A weight of 0 is never chosen.
    pub weight: Option<u16>,
    /// The bucket is alive while this port is.
    pub watch_port: Option<PortNumber>,
    /// The bucket is alive while this group is.
    pub watch_group: Option<u32>,
    pub actions: Vec<Action>,
}

impl Bucket {
    /// A bucket with an id and actions.
    #[must_use]
    pub fn new(id: u32, actions: Vec<Action>) -> Self {
        Self { id, actions, ..Self::default() }
    }

    /// The same with a weight.
    #[must_use]
    pub const fn weight(mut self, weight: u16) -> Self {
        self.weight = Some(weight);
        self
    }

    fn encode(&self, kind: GroupKind, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_zeros(4);
        out.put_u32(self.id);
        encode_list(&self.actions, out)?;
        out.set_length(start + 8, start + 2, "bucket")?;
        if self.weight.is_some() || kind == GroupKind::Select {
            property16(out, 0, self.weight.unwrap_or(1))?;
        }
        if let Some(port) = self.watch_port {
            property(out, 1, &port.0.to_be_bytes())?;
        }
        if let Some(group) = self.watch_group {
            property(out, 2, &group.to_be_bytes())?;
        }
        out.set_length(start, start, "bucket")
    }

    fn decode(kind: GroupKind, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.u16()?;
        let mut body = reader.part(length, 2, "bucket")?;
        let actions = body.u16()?;
        let id = body.u32()?;
        let actions = decode_list(body.take(actions.into())?)?;
        let mut bucket = Self::new(id, actions);
        bucket.weight = (kind == GroupKind::Select).then_some(1);
        while body.left() >= 4 {
            let kind = body.u16()?;
            let length = body.u16()?;
            let mut value = body.part(length, 4, "bucket property")?;
            body.skip(padding(length.into()).min(body.left()))?;
            match kind {
                0 => bucket.weight = Some(value.u16()?),
                1 => bucket.watch_port = Some(PortNumber(value.u32()?)).filter(|port| *port != PortNumber::ANY),
                2 => bucket.watch_group = Some(value.u32()?).filter(|group| *group != ANY_GROUP),
                _ => return Err(DecodeError::Invalid { what: "bucket", problem: "unknown property" }),
            }
        }
        Ok(bucket)
    }
}

/// A group as it is in the switch.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Group {
    pub id: u32,
    pub kind: GroupKind,
    pub selection: Option<SelectionMethod>,
    pub buckets: Vec<Bucket>,
}

impl Group {
    /// A group with buckets.
    #[must_use]
    pub const fn new(id: u32, kind: GroupKind, buckets: Vec<Bucket>) -> Self {
        Self { id, kind, selection: None, buckets }
    }

    /// An entry of a group description.
    pub(crate) fn decode_entry(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.u16()?;
        let mut body = reader.part(length, 2, "group description")?;
        let kind = GroupKind::of(body.u8()?)?;
        body.skip(1)?;
        let id = body.u32()?;
        let buckets = body.u16()?;
        body.skip(6)?;
        let buckets = decode_buckets(kind, &mut Reader::new(body.take(buckets.into())?, "buckets"))?;
        Ok(Self { id, kind, buckets, selection: decode_selection(&mut body)? })
    }

    pub(crate) fn encode_entry(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u16(0);
        out.put_u8(self.kind as u8);
        out.put_u8(0);
        out.put_u32(self.id);
        out.put_zeros(8);
        self.encode_buckets(start + 8, out)?;
        out.set_length(start, start, "group description")
    }

    fn encode_buckets(&self, length: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        for bucket in &self.buckets {
            bucket.encode(self.kind, out)?;
        }
        out.set_length(start, length, "buckets")?;
        match &self.selection {
            Some(selection) => encode_selection(selection, out),
            None => Ok(()),
        }
    }
}

fn decode_buckets(kind: GroupKind, reader: &mut Reader<'_>) -> Result<Vec<Bucket>, DecodeError> {
    let mut buckets = Vec::new();
    while !reader.is_empty() {
        buckets.push(Bucket::decode(kind, reader)?);
    }
    Ok(buckets)
}

const NETRONOME: u32 = 0x0000_154d;

fn encode_selection(selection: &SelectionMethod, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let (name, parameter, fields): (_, _, &[(Field, Value)]) = match selection {
        SelectionMethod::DpHash { parameter } => ("dp_hash", *parameter, &[]),
        SelectionMethod::Hash { parameter, fields } => ("hash", *parameter, fields),
    };
    let start = out.len();
    out.put_u16(0xffff);
    out.put_u16(0);
    out.put_u32(NETRONOME);
    out.put_u32(1);
    out.put_u32(0);
    out.put_text(name, 16);
    out.put_u64(parameter);
    for (field, mask) in fields {
        let (field, bits) = (oxm::existing(*field)?, field.bits());
        let too_wide = EncodeError::TooWide { field, bits, value: mask.number() };
        oxm::put_value(out, field, &mask.fit(bits, field.bytes().min(16)).ok_or(too_wide)?, None);
    }
    out.set_length(start, start + 2, "group selection method")?;
    out.pad_since(start);
    Ok(())
}

fn decode_selection(reader: &mut Reader<'_>) -> Result<Option<SelectionMethod>, DecodeError> {
    let unknown = DecodeError::Invalid { what: "group", problem: "unknown property" };
    if reader.left() < 4 {
        return Ok(None);
    }
    let kind = reader.u16()?;
    let length = reader.u16()?;
    let mut body = reader.part(length, 4, "group property")?;
    if kind != 0xffff || body.u32()? != NETRONOME || body.u32()? != 1 {
        return Err(unknown);
    }
    body.skip(4)?;
    let name = body.text(16)?;
    let parameter = body.u64()?;
    let mut fields = Vec::new();
    let mut rest = body.rest();
    while !rest.is_empty() {
        let tlv = Tlv::read(rest)?;
        rest = &rest[tlv.bytes.len()..];
        let (field, value, _) = tlv.parts()?.ok_or_else(|| unknown.clone())?;
        fields.push((field, value));
    }
    match name.as_str() {
        "dp_hash" => Ok(Some(SelectionMethod::DpHash { parameter })),
        "hash" => Ok(Some(SelectionMethod::Hash { parameter, fields })),
        _ => Err(unknown),
    }
}

/// Which bucket an insertion or removal means.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BucketPlace {
    First,
    Last,
    /// All of them; only to remove.
    All,
    /// After the bucket with this id, or the bucket itself to remove.
    Id(u32),
}

impl From<u32> for BucketPlace {
    fn from(id: u32) -> Self {
        match id {
            0xffff_fffd => Self::First,
            0xffff_fffe => Self::Last,
            0xffff_ffff => Self::All,
            id => Self::Id(id),
        }
    }
}

impl From<BucketPlace> for u32 {
    fn from(place: BucketPlace) -> Self {
        match place {
            BucketPlace::First => 0xffff_fffd,
            BucketPlace::Last => 0xffff_fffe,
            BucketPlace::All => 0xffff_ffff,
            BucketPlace::Id(id) => id,
        }
    }
}

/// A change of groups.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum GroupMod {
    Add(Group),
    Modify(Group),
    /// Adds the group, or changes it if it is there.
    AddOrModify(Group),
    /// Deletes the group, and all flows that use it.
    Delete(u32),
    /// Deletes all groups.
    DeleteAll,
    /// Inserts the group's buckets at a place.
    InsertBuckets(BucketPlace, Group),
    /// Removes a bucket of a group.
    RemoveBuckets(BucketPlace, u32),
}

impl GroupMod {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let gone = |id| Group { id, ..Group::default() };
        let (command, place, group) = match self {
            Self::Add(group) => (0, BucketPlace::All, group),
            Self::Modify(group) => (1, BucketPlace::All, group),
            Self::AddOrModify(group) => (0x8000, BucketPlace::All, group),
            Self::Delete(id) => (2, BucketPlace::All, &gone(*id)),
            Self::DeleteAll => (2, BucketPlace::All, &gone(ALL_GROUPS)),
            Self::InsertBuckets(place, group) => (3, *place, group),
            Self::RemoveBuckets(place, id) => (5, *place, &gone(*id)),
        };
        out.put_u16(command);
        out.put_u8(group.kind as u8);
        out.put_u8(0);
        out.put_u32(group.id);
        let length = out.len();
        out.put_zeros(4);
        out.put_u32(place.into());
        group.encode_buckets(length, out)
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let command = reader.u16()?;
        let kind = GroupKind::of(reader.u8()?)?;
        reader.skip(1)?;
        let id = reader.u32()?;
        let buckets = reader.u16()?;
        reader.skip(2)?;
        let place = BucketPlace::from(reader.u32()?);
        let buckets = decode_buckets(kind, &mut Reader::new(reader.take(buckets.into())?, "buckets"))?;
        let group = Group { id, kind, buckets, selection: decode_selection(reader)? };
        Ok(match command {
            0 => Self::Add(group),
            1 => Self::Modify(group),
            0x8000 => Self::AddOrModify(group),
            2 if id == ALL_GROUPS => Self::DeleteAll,
            2 => Self::Delete(id),
            3 => Self::InsertBuckets(place, group),
            5 => Self::RemoveBuckets(place, id),
            _ => return Err(DecodeError::Invalid { what: "group mod", problem: "unknown command" }),
        })
    }
}
