//! The value of a field: up to sixteen big-endian bytes, copied, never allocated.
//!
//! A value knows its own length but not its field; [`Value::fit`] brings it to a field's width and refuses what does not fit.
//! Longer values exist only for `tun_metadata`; they stay raw OXM bytes in a [`crate::Match`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Big-endian bytes of a field's width.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    /// How many of the bytes count, from the right.
    length: u8,
    /// Right-aligned, zeros in front.
    bytes: [u8; 16],
}

impl Value {
    /// `number` in `length` bytes; `length` is at most 16, and `number`'s higher bytes are cut.
    #[must_use]
    pub const fn new(number: u128, length: u8) -> Self {
        let length = if length > 16 { 16 } else { length };
        let kept = if length == 16 { number } else { number & ((1 << (8 * length as u32)) - 1) };
        Self { length, bytes: kept.to_be_bytes() }
    }

    /// The value of `bytes`, most significant first, or nothing if there are more than 16.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let start = 16usize.checked_sub(bytes.len())?;
        let mut all = [0; 16];
        all[start..].copy_from_slice(bytes);
        Some(Self { length: u8::try_from(bytes.len()).ok()?, bytes: all })
    }

    /// All ones in the low `bits` bits, in `length` bytes: an exact mask.
    #[must_use]
    pub const fn ones(bits: u16, length: u8) -> Self {
        Self::new(ones(bits), length)
    }

    /// The bytes, most significant first.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[16 - usize::from(self.length)..]
    }

    /// The value as a number.
    #[must_use]
    pub const fn number(self) -> u128 {
        u128::from_be_bytes(self.bytes)
    }

    /// How many bytes the value has.
    #[must_use]
    pub const fn length(self) -> u8 {
        self.length
    }

    /// The same number in `length` bytes of which only the low `bits` bits may be used; nothing if it does not fit.
    #[must_use]
    pub const fn fit(self, bits: u16, length: u8) -> Option<Self> {
        if self.number() & !ones(bits) != 0 { None } else { Some(Self { length, bytes: self.bytes }) }
    }

    /// The value as an IPv4 address: its low 32 bits.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are meant")]
    pub const fn ipv4(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.number() as u32)
    }

    /// The value as an IPv6 address.
    #[must_use]
    pub const fn ipv6(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.number())
    }

    /// The value as a MAC address: its low 48 bits.
    #[must_use]
    pub const fn mac(self) -> [u8; 6] {
        let [.., a, b, c, d, e, f] = self.bytes;
        [a, b, c, d, e, f]
    }
}

/// All ones in the low `bits` bits.
pub(crate) const fn ones(bits: u16) -> u128 {
    if bits >= 128 { u128::MAX } else { (1 << bits) - 1 }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}({} bytes)", self.number(), self.length)
    }
}

macro_rules! from_number {
    ($($type:ty),*) => {$(
        impl From<$type> for Value {
            fn from(number: $type) -> Self {
                Self::new(number.into(), size_of::<$type>() as u8)
            }
        }
    )*};
}
from_number!(u8, u16, u32, u64, u128);

impl From<bool> for Value {
    fn from(bit: bool) -> Self {
        Self::new(bit.into(), 1)
    }
}

impl From<[u8; 6]> for Value {
    fn from([a, b, c, d, e, f]: [u8; 6]) -> Self {
        Self { length: 6, bytes: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d, e, f] }
    }
}

impl From<Ipv4Addr> for Value {
    fn from(address: Ipv4Addr) -> Self {
        Self::from(address.to_bits())
    }
}

impl From<Ipv6Addr> for Value {
    fn from(address: Ipv6Addr) -> Self {
        Self::from(address.to_bits())
    }
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => address.into(),
        }
    }
}
