//! Frames as bytes. A frame is put together from changes that are encoded already, so what many agents need is encoded once
//! and copied into each stream; `stream.proto` stays the contract, and a test holds these bytes to it.

use apis::stream::{FromAgent, FromController};
use bytes::{BufMut, Bytes};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tonic::Status;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic_prost::ProstDecoder;

use super::outbox::Head;

/// A part is closed once its changes have this many bytes: what a stream that does not drain holds beside its list of changes.
pub const PART_BYTES: usize = 32 * 1024;

/// What goes down a stream.
pub enum Outgoing {
    /// A message that prost encodes.
    Message(Box<FromController>),
    /// How new the controller is.
    Head(Head),
    /// A part of a frame.
    Part(Part),
}

/// A frame, as far as it has not been sent.
pub struct Frame {
    number: u64,
    replace: bool,
    take: u64,
    changes: std::iter::Peekable<std::vec::IntoIter<Bytes>>,
    version: Bytes,
}

/// A part of a frame.
pub struct Part {
    number: u64,
    replace: bool,
    take: u64,
    changes: Vec<Bytes>,
    /// On the last part: an encoded `Version`.
    version: Option<Bytes>,
}

impl Frame {
    /// A frame of these encoded changes; `version` is an encoded `Version`.
    pub fn new(number: u64, replace: bool, take: u64, changes: Vec<Bytes>, version: Bytes) -> Self {
        Self { number, replace, take, changes: changes.into_iter().peekable(), version }
    }

    /// The next part; there is one until the last has been.
    pub fn next_part(&mut self) -> Part {
        let replace = std::mem::take(&mut self.replace);
        let mut part = Part { number: self.number, replace, take: self.take, changes: Vec::new(), version: None };
        let mut bytes = 0;
        while bytes < PART_BYTES
            && let Some(change) = self.changes.next()
        {
            bytes += change.len();
            part.changes.push(change);
        }
        if self.changes.peek().is_none() {
            part.version = Some(self.version.clone());
        }
        part
    }

    /// How many changes have not been sent.
    pub fn left(&self) -> usize {
        self.changes.len()
    }
}

// Field numbers of `FromController` and `Frame` in stream.proto.
const FRAME: u32 = 2;
const NUMBER: u32 = 1;
const REPLACE: u32 = 2;
const CHANGES: u32 = 3;
const LAST: u32 = 4;
const VERSION: u32 = 5;
const TAKE: u32 = 6;

// Field numbers of `FromController` and `Head`.
const HEAD: u32 = 3;
const HEAD_VERSION: u32 = 1;
const HEAD_NUMBER: u32 = 2;
const HEAD_COMPLETE: u32 = 3;

impl Part {
    fn len(&self) -> usize {
        let bytes = |field: u32, bytes: &Bytes| key_len(field) + encoded_len_varint(bytes.len() as u64) + bytes.len();
        let flag = |field: u32, set: bool| if set { key_len(field) + 1 } else { 0 };
        key_len(NUMBER)
            + encoded_len_varint(self.number)
            + flag(REPLACE, self.replace)
            + self.changes.iter().map(|change| bytes(CHANGES, change)).sum::<usize>()
            + flag(LAST, self.version.is_some())
            + self.version.as_ref().map_or(0, |version| bytes(VERSION, version))
            + if self.take == 0 { 0 } else { key_len(TAKE) + encoded_len_varint(self.take) }
    }

    pub(super) fn is_last(&self) -> bool {
        self.version.is_some()
    }

    /// Writes it as the encoded `FromController` that goes on the wire.
    pub fn write(&self, buffer: &mut impl BufMut) {
        let bytes = |field: u32, bytes: &Bytes, buffer: &mut dyn BufMut| {
            let mut buffer = buffer;
            encode_key(field, WireType::LengthDelimited, &mut buffer);
            encode_varint(bytes.len() as u64, &mut buffer);
            buffer.put_slice(bytes);
        };
        encode_key(FRAME, WireType::LengthDelimited, buffer);
        encode_varint(self.len() as u64, buffer);
        encode_key(NUMBER, WireType::Varint, buffer);
        encode_varint(self.number, buffer);
        if self.replace {
            encode_key(REPLACE, WireType::Varint, buffer);
            encode_varint(1, buffer);
        }
        for change in &self.changes {
            bytes(CHANGES, change, buffer);
        }
        if let Some(version) = &self.version {
            encode_key(LAST, WireType::Varint, buffer);
            encode_varint(1, buffer);
            bytes(VERSION, version, buffer);
        }
        if self.take != 0 {
            encode_key(TAKE, WireType::Varint, buffer);
            encode_varint(self.take, buffer);
        }
    }
}

impl Head {
    pub(super) fn write(&self, buffer: &mut impl BufMut) {
        let flag = if self.complete { key_len(HEAD_COMPLETE) + 1 } else { 0 };
        let version = key_len(HEAD_VERSION) + encoded_len_varint(self.version.len() as u64) + self.version.len();
        let length = version + key_len(HEAD_NUMBER) + encoded_len_varint(self.number) + flag;
        encode_key(HEAD, WireType::LengthDelimited, buffer);
        encode_varint(length as u64, buffer);
        encode_key(HEAD_VERSION, WireType::LengthDelimited, buffer);
        encode_varint(self.version.len() as u64, buffer);
        buffer.put_slice(&self.version);
        encode_key(HEAD_NUMBER, WireType::Varint, buffer);
        encode_varint(self.number, buffer);
        if self.complete {
            encode_key(HEAD_COMPLETE, WireType::Varint, buffer);
            encode_varint(1, buffer);
        }
    }
}

/// Reads what agents say by prost, writes [`Outgoing`].
pub(super) struct ControlCodec;

impl Codec for ControlCodec {
    type Encode = Outgoing;
    type Decode = FromAgent;
    type Encoder = OutgoingEncoder;
    type Decoder = ProstDecoder<FromAgent>;

    fn encoder(&mut self) -> Self::Encoder {
        OutgoingEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}

/// Writes [`Outgoing`].
pub(super) struct OutgoingEncoder;

impl Encoder for OutgoingEncoder {
    type Item = Outgoing;
    type Error = Status;

    fn encode(&mut self, item: Outgoing, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        match item {
            Outgoing::Message(message) => {
                message.encode(buffer).map_err(|error| Status::internal(format!("a message of the stream: {error}")))
            }
            Outgoing::Head(head) => {
                head.write(buffer);
                Ok(())
            }
            Outgoing::Part(part) => {
                part.write(buffer);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apis::stream::{self as wire, Change, Posture, Version, change, from_controller};

    fn change(namespace: &str) -> Change {
        let posture = Posture { namespace: namespace.to_owned(), ingress_selectable: true, egress_selectable: false };
        Change { change: Some(change::Change::Posture(posture)) }
    }

    fn read(part: &Part) -> wire::Frame {
        let mut buffer = Vec::new();
        part.write(&mut buffer);
        match FromController::decode(buffer.as_slice()).unwrap().message {
            Some(from_controller::Message::Frame(frame)) => frame,
            other => panic!("not a frame: {other:?}"),
        }
    }

    fn parts(mut frame: Frame) -> Vec<wire::Frame> {
        let mut parts = Vec::new();
        loop {
            let part = frame.next_part();
            parts.push(read(&part));
            if part.is_last() {
                return parts;
            }
        }
    }

    #[test]
    fn a_part_is_what_the_contract_says() {
        let version = Version { source: [("Pod".to_owned(), 7)].into(), ..Version::default() };
        let changes = vec![Bytes::from(change("a").encode_to_vec()), Bytes::from(change("b").encode_to_vec())];
        let parts = parts(Frame::new(300, true, 9, changes, Bytes::from(version.encode_to_vec())));
        let frame = wire::Frame {
            number: 300,
            replace: true,
            changes: vec![change("a"), change("b")],
            last: true,
            version: Some(version),
            take: 9,
        };
        assert_eq!(parts, [frame]);
    }

    #[test]
    fn a_large_frame_goes_in_parts_and_only_the_last_is_last() {
        let big = change(&"x".repeat(PART_BYTES / 2));
        let changes = vec![Bytes::from(big.encode_to_vec()); 5];
        let parts = parts(Frame::new(2, true, 0, changes, Bytes::new()));
        assert_eq!(parts.iter().map(|part| part.changes.len()).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(parts.iter().map(|part| part.replace).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(parts.iter().map(|part| part.last).collect::<Vec<_>>(), [false, false, true]);
        assert!(parts.iter().all(|part| part.number == 2));
    }

    #[test]
    fn an_empty_frame_is_one_last_part() {
        let parts = parts(Frame::new(9, false, 0, Vec::new(), Bytes::new()));
        let said = wire::Frame { number: 9, last: true, version: Some(Version::default()), ..wire::Frame::default() };
        assert_eq!(parts, [said]);
    }

    #[test]
    fn a_head_is_what_the_contract_says() {
        let version = Version { every: 7, whole: true, ..Version::default() };
        for complete in [false, true] {
            let head = Head { since: None, version: version.encode_to_vec().into(), number: 300, complete };
            let mut buffer = Vec::new();
            head.write(&mut buffer);
            let said = FromController::decode(buffer.as_slice()).unwrap().message;
            let head = wire::Head { version: Some(version.clone()), number: 300, complete };
            assert_eq!(said, Some(from_controller::Message::Head(head)));
        }
    }
}
