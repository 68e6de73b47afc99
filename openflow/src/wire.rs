//! The smallest tools for big-endian bytes: a cursor that never reads past the end, and writers that append to a `Vec`.
//!
//! Everything on the wire here is big-endian, and every structure is padded with zeros to eight bytes.

use crate::error::{DecodeError, EncodeError};

/// Reads from the front of a slice. Every read names what was being read, for the error.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, what }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let Some((head, tail)) = self.bytes.split_at_checked(count) else {
            return Err(DecodeError::Truncated { what: self.what, needed: count, left: self.bytes.len() });
        };
        self.bytes = tail;
        Ok(head)
    }

    pub(crate) fn skip(&mut self, count: usize) -> Result<(), DecodeError> {
        self.take(count).map(|_| ())
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("take returns as many bytes as asked for"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A text in a fixed-size array that ends at its first zero byte. What is not text becomes question marks.
    pub(crate) fn text(&mut self, size: usize) -> Result<String, DecodeError> {
        let bytes = self.take(size)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(size);
        let readable =
            |bytes: &[u8]| bytes.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '?' }).collect();
        Ok(std::str::from_utf8(&bytes[..end]).map_or_else(|_| readable(&bytes[..end]), str::to_owned))
    }

    /// A part whose own length, `length` bytes including the `header` bytes already read, was just read.
    pub(crate) fn part(&mut self, length: u16, header: usize, what: &'static str) -> Result<Reader<'a>, DecodeError> {
        let length = usize::from(length);
        let Some(body) = length.checked_sub(header) else {
            return Err(DecodeError::Length { what, length });
        };
        Ok(Reader::new(self.take(body)?, what))
    }
}

/// How many zero bytes follow `length` bytes so that the next part starts at a multiple of eight.
pub(crate) const fn padding(length: usize) -> usize {
    length.wrapping_neg() & 7
}

/// Appends big-endian numbers. An extension of `Vec<u8>`, since callers hand in their own buffer.
pub(crate) trait Put {
    fn put_u8(&mut self, value: u8);
    fn put_u16(&mut self, value: u16);
    fn put_u32(&mut self, value: u32);
    fn put_u64(&mut self, value: u64);
    fn put_bytes(&mut self, bytes: &[u8]);
    fn put_zeros(&mut self, count: usize);
    /// A text in a fixed-size array, cut to its size and filled up with zeros.
    fn put_text(&mut self, text: &str, size: usize);
    /// Pads what was written since `start` to a multiple of eight.
    fn pad_since(&mut self, start: usize);
    /// Writes the length of what was written since `start` at `position`.
    fn set_length(&mut self, start: usize, position: usize, what: &'static str) -> Result<(), EncodeError>;
}

impl Put for Vec<u8> {
    #[inline]
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    #[inline]
    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    fn put_bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn put_zeros(&mut self, count: usize) {
        self.resize(self.len() + count, 0);
    }

    fn put_text(&mut self, text: &str, size: usize) {
        let bytes = &text.as_bytes()[..text.floor_char_boundary(size)];
        self.put_bytes(bytes);
        self.put_zeros(size - bytes.len());
    }

    #[inline]
    fn pad_since(&mut self, start: usize) {
        self.put_zeros(padding(self.len() - start));
    }

    #[inline]
    fn set_length(&mut self, start: usize, position: usize, what: &'static str) -> Result<(), EncodeError> {
        let length = self.len() - start;
        let Ok(short) = u16::try_from(length) else {
            return Err(EncodeError::TooLong { what, length, limit: usize::from(u16::MAX) });
        };
        self[position..position + 2].copy_from_slice(&short.to_be_bytes());
        Ok(())
    }
}
