//! Frames as bytes. A frame is put together from changes that are encoded already, so what many agents need is encoded once
//! and copied into each stream; `stream.proto` stays the contract, and a test holds these bytes to it.

use apis::stream::{FromAgent, FromController};
use bytes::{BufMut, Bytes};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tonic::Status;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic_prost::ProstDecoder;

/// A part is closed once its changes have this many bytes. (A gRPC reader refuses messages of more than 4 MiB by default.)
pub const PART_BYTES: usize = 1024 * 1024;

/// What goes down a stream.
pub enum Outgoing {
    /// The greeting.
    Welcome(apis::stream::Welcome),
    /// A part of a frame.
    Part(Part),
    /// The end, with the reason.
    End(Status),
}

/// A part of a frame.
pub struct Part {
    number: u64,
    replace: bool,
    changes: Vec<Bytes>,
    /// On the last part: an encoded `Version`.
    version: Option<Bytes>,
}

/// Cuts a frame into parts.
pub(super) fn parts(number: u64, replace: bool, changes: Vec<Bytes>, version: Bytes) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut part = Part { number, replace, changes: Vec::new(), version: None };
    let mut bytes = 0;
    for change in changes {
        if bytes >= PART_BYTES {
            let next = Part { number, replace: false, changes: Vec::new(), version: None };
            parts.push(std::mem::replace(&mut part, next));
            bytes = 0;
        }
        bytes += change.len();
        part.changes.push(change);
    }
    part.version = Some(version);
    parts.push(part);
    parts
}

// Field numbers of `FromController` and `Frame` in stream.proto.
const FRAME: u32 = 2;
const NUMBER: u32 = 1;
const REPLACE: u32 = 2;
const CHANGES: u32 = 3;
const LAST: u32 = 4;
const VERSION: u32 = 5;

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
    }

    pub(super) fn write(&self, buffer: &mut impl BufMut) {
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
            Outgoing::Welcome(welcome) => {
                let message = apis::stream::from_controller::Message::Welcome(welcome);
                let message = FromController { message: Some(message) };
                message.encode(buffer).map_err(|error| Status::internal(format!("Welcome: {error}")))
            }
            Outgoing::Part(part) => {
                part.write(buffer);
                Ok(())
            }
            Outgoing::End(status) => Err(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apis::stream::{Change, Frame, Posture, Version, change, from_controller};

    fn change(namespace: &str) -> Change {
        let posture = Posture { namespace: namespace.to_owned(), ingress_selectable: true, egress_selectable: false };
        Change { change: Some(change::Change::Posture(posture)) }
    }

    fn read(part: &Part) -> Frame {
        let mut buffer = Vec::new();
        part.write(&mut buffer);
        match FromController::decode(buffer.as_slice()).unwrap().message {
            Some(from_controller::Message::Frame(frame)) => frame,
            other => panic!("not a frame: {other:?}"),
        }
    }

    #[test]
    fn a_part_is_what_the_contract_says() {
        let version = Version { source: [("Pod".to_owned(), 7)].into(), nodes: [].into() };
        let changes = vec![Bytes::from(change("a").encode_to_vec()), Bytes::from(change("b").encode_to_vec())];
        let parts = parts(300, true, changes, Bytes::from(version.encode_to_vec()));
        assert_eq!(parts.len(), 1);
        let frame = Frame {
            number: 300,
            replace: true,
            changes: vec![change("a"), change("b")],
            last: true,
            version: Some(version),
        };
        assert_eq!(read(&parts[0]), frame);
    }

    #[test]
    fn a_large_frame_goes_in_parts_and_only_the_last_is_last() {
        let big = change(&"x".repeat(PART_BYTES / 2));
        let changes = vec![Bytes::from(big.encode_to_vec()); 5];
        let parts: Vec<Frame> = parts(2, true, changes, Bytes::new()).iter().map(read).collect();
        assert_eq!(parts.iter().map(|part| part.changes.len()).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(parts.iter().map(|part| part.replace).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(parts.iter().map(|part| part.last).collect::<Vec<_>>(), [false, false, true]);
        assert!(parts.iter().all(|part| part.number == 2));
    }

    #[test]
    fn an_empty_frame_is_one_last_part() {
        let parts: Vec<Frame> = parts(9, false, Vec::new(), Bytes::new()).iter().map(read).collect();
        assert_eq!(parts, [Frame { number: 9, last: true, version: Some(Version::default()), ..Frame::default() }]);
    }
}
