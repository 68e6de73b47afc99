//! OpenFlow messages as lengths of bytes (OpenFlow 1.5.1, section 7.1): header, cutting a stream, batches to send.
//!
//! What is inside a message is the `openflow` crate's business; the connection only needs type, length and xid.

use std::fmt;

use openflow::{EncodeError, Flow, FlowCommand, HEADER_LENGTH as HEADER, Message, VERSION};

/// The types that the connection looks at before, or instead of, decoding a message (`enum ofp_type`).
pub(super) mod kind {
    pub const HELLO: u8 = 0;
    pub const ERROR: u8 = 1;
    pub const ECHO_REQUEST: u8 = 2;
    pub const ECHO_REPLY: u8 = 3;
    pub const EXPERIMENTER: u8 = 4;
    pub const FEATURES_REPLY: u8 = 6;
    pub const PACKET_IN: u8 = 10;
    pub const FLOW_REMOVED: u8 = 11;
    pub const PORT_STATUS: u8 = 12;
    pub const MULTIPART_REPLY: u8 = 19;
    pub const BARRIER_REQUEST: u8 = 20;
    pub const BUNDLE_ADD: u8 = 34;
}

/// Bytes that are no OpenFlow message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a message claims {0} bytes, less than its header")]
    TooShort(usize),
    #[error("a message says its length is {says}, but {is} bytes were given")]
    OtherLength { says: usize, is: usize },
    #[error("a message is of OpenFlow version {0:#04x}, where 0x06 (1.5) was agreed")]
    Version(u8),
}

/// The header of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub version: u8,
    pub kind: u8,
    /// Bytes of the whole message.
    pub length: usize,
    pub xid: u32,
}

impl fmt::Debug for Header {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "type {} xid {:#x} ({} bytes)", self.kind, self.xid, self.length)
    }
}

impl Header {
    /// The header at the start of `bytes`, which may hold less or more than the message.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER>()?;
        Some(Self {
            version: header[0],
            kind: header[1],
            length: usize::from(u16::from_be_bytes([header[2], header[3]])),
            xid: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        })
    }
}

/// A message of the given type around `body`.
pub(super) fn message(kind: u8, xid: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    put_header(&mut bytes, kind, HEADER + body.len(), xid);
    bytes.extend_from_slice(body);
    bytes
}

/// Appends a header; `length` is of the whole message and at most 65,535.
pub(super) fn put_header(bytes: &mut Vec<u8>, kind: u8, length: usize, xid: u32) {
    let length = u16::try_from(length).expect("callers cut messages to at most 64 KiB");
    bytes.extend_from_slice(&[VERSION, kind]);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&xid.to_be_bytes());
}

/// Big-endian numbers of a message; zero beyond its end, which no message that passed its length check reaches.
pub(super) fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    bytes.get(offset..offset + 2).map_or(0, |part| u16::from_be_bytes([part[0], part[1]]))
}

/// See [`u16_at`].
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from(u16_at(bytes, offset)) << 16 | u32::from(u16_at(bytes, offset + 2))
}

/// Cuts a byte stream into messages.
#[derive(Debug, Default)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    start: usize,
}

impl Frames {
    /// Where the next read should append to.
    pub(super) fn space(&mut self) -> &mut Vec<u8> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.reserve(64 << 10);
        &mut self.buffer
    }

    /// The next whole message, or `None` until more bytes are read.
    pub(super) fn next(&mut self) -> Result<Option<(Header, &[u8])>, FrameError> {
        let rest = &self.buffer[self.start..];
        let Some(header) = Header::read(rest) else { return Ok(None) };
        if header.length < HEADER {
            return Err(FrameError::TooShort(header.length));
        }
        // A hello may be of any version; an error may answer it in the switch's own.
        if header.version != VERSION && !matches!(header.kind, kind::HELLO | kind::ERROR) {
            return Err(FrameError::Version(header.version));
        }
        if rest.len() < header.length {
            return Ok(None);
        }
        let start = self.start;
        self.start += header.length;
        Ok(Some((header, &self.buffer[start..self.start])))
    }
}

/// Encoded messages one after the other: what a bundle or a send takes, without an allocation for each of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    count: usize,
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the bytes of one whole message. Its xid does not matter.
    pub fn push(&mut self, message: &[u8]) -> Result<(), FrameError> {
        let says = Header::read(message).map_or(0, |header| header.length);
        if says < HEADER {
            return Err(FrameError::TooShort(says));
        }
        if says != message.len() {
            return Err(FrameError::OtherLength { says, is: message.len() });
        }
        self.bytes.extend_from_slice(message);
        self.count += 1;
        Ok(())
    }

    /// Appends a flow mod.
    pub fn push_flow(&mut self, flow: &Flow, command: FlowCommand) -> Result<(), EncodeError> {
        flow.encode(command, 0, &mut self.bytes)?;
        self.count += 1;
        Ok(())
    }

    /// Appends a message.
    pub fn push_message(&mut self, message: &Message) -> Result<(), EncodeError> {
        message.encode_into(0, &mut self.bytes)?;
        self.count += 1;
        Ok(())
    }

    /// How many messages.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The messages in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (message, tail) = rest.split_at_checked(Header::read(rest)?.length)?;
            rest = tail;
            Some(message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_wherever_the_reads_are_cut() {
        let sent = [message(kind::HELLO, 1, &[0; 8]), message(kind::ECHO_REQUEST, 2, b"payload"), message(21, 3, &[])];
        let bytes = sent.concat();
        for size in 1..=bytes.len() {
            let (mut frames, mut seen) = (Frames::default(), Vec::new());
            for chunk in bytes.chunks(size) {
                frames.space().extend_from_slice(chunk);
                while let Some((_, frame)) = frames.next().unwrap() {
                    seen.push(frame.to_vec());
                }
            }
            assert_eq!(seen, sent, "read {size} bytes at a time");
        }
    }

    #[test]
    fn a_length_below_the_header_or_another_version_ends_the_stream() {
        for (bytes, error) in [
            ([VERSION, 2, 0, 7, 0, 0, 0, 0], FrameError::TooShort(7)),
            ([4, 2, 0, 8, 0, 0, 0, 0], FrameError::Version(4)),
        ] {
            let mut frames = Frames::default();
            frames.space().extend_from_slice(&bytes);
            assert_eq!(frames.next().unwrap_err(), error);
        }
    }

    #[test]
    fn a_batch_takes_whole_messages_only() {
        let mut batch = Batch::new();
        let first = message(14, 1, &[1; 48]);
        batch.push(&first).unwrap();
        batch.push(&message(kind::BARRIER_REQUEST, 2, &[])).unwrap();
        assert_eq!(batch.push(&first[..20]), Err(FrameError::OtherLength { says: 56, is: 20 }));
        assert_eq!(batch.push(&[]), Err(FrameError::TooShort(0)));
        assert_eq!((batch.len(), batch.iter().count()), (2, 2));
        assert_eq!(batch.iter().next().unwrap(), first);
    }
}
