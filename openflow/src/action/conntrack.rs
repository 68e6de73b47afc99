//! `ct(…)` and `nat(…)`: connection tracking (NXAST_CT, NXAST_NAT).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::decode::decode_nested;
use super::{Action, encode_list};
use crate::error::{DecodeError, EncodeError};
use crate::field::Subfield;
use crate::flags::flags;
use crate::oxm;
use crate::wire::{Put, Reader};

flags! {
    /// What `ct` does beside looking the connection up.
    CtFlags: u16 {
        /// Keeps the connection.
        COMMIT = 1 << 0, "commit";
        /// Replaces a connection that was made in the other direction.
        FORCE = 1 << 1, "force";
    }
}

/// The zone of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CtZone {
    Number(u16),
    /// Sixteen bits of a field.
    Field(Subfield),
}

impl Default for CtZone {
    fn default() -> Self {
        Self::Number(0)
    }
}

/// Hands the packet to connection tracking.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Ct {
    pub flags: CtFlags,
    pub zone: CtZone,
    /// Where the packet goes on, with its connection state.
    pub table: Option<u8>,
    /// The port number of a helper: 21 for FTP, 69 for TFTP, 0 for none.
    pub alg: u16,
    pub nat: Option<Nat>,
    /// Done on the connection as it is committed: `set_field` of `ct_mark` and `ct_label`.
    pub exec: Vec<Action>,
}

/// `table` when there is none.
const NO_TABLE: u8 = 0xff;

impl Ct {
    /// Commits the connection in a zone.
    #[must_use]
    pub fn commit(zone: u16) -> Self {
        Self { flags: CtFlags::COMMIT, zone: CtZone::Number(zone), ..Self::default() }
    }

    /// Looks the connection up in a zone and goes on in a table.
    #[must_use]
    pub fn track(zone: u16, table: u8) -> Self {
        Self { zone: CtZone::Number(zone), table: Some(table), ..Self::default() }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u16(self.flags.0);
        match self.zone {
            CtZone::Number(zone) => {
                out.put_u32(0);
                out.put_u16(zone);
            }
            CtZone::Field(subfield) => {
                oxm::put_short_header(out, subfield.field)?;
                out.put_u16(packed(oxm::within(subfield)?)?);
            }
        }
        if self.table == Some(NO_TABLE) {
            return Err(EncodeError::Invalid { what: "ct", problem: "table 255 means none; leave the table out" });
        }
        out.put_u8(self.table.unwrap_or(NO_TABLE));
        out.put_zeros(3);
        out.put_u16(self.alg);
        if let Some(nat) = &self.nat {
            encode_list(std::slice::from_ref(&Action::Nat(*nat)), out)?;
        }
        encode_list(&self.exec, out)
    }

    pub(super) fn decode(body: &mut Reader<'_>, depth: u8) -> Result<Self, DecodeError> {
        let flags = CtFlags(body.u16()?);
        let source: [u8; 4] = body.array()?;
        let zone = body.u16()?;
        let zone = if source == [0; 4] {
            CtZone::Number(zone)
        } else {
            let field = oxm::read_field(&mut Reader::new(&source, "ct zone"))?;
            CtZone::Field(unpacked(field, zone))
        };
        let table = body.u8()?;
        body.skip(3)?;
        let alg = body.u16()?;
        let mut exec = decode_nested(body.rest(), depth)?;
        let nat = match exec.first() {
            Some(Action::Nat(nat)) => Some(*nat),
            _ => None,
        };
        if nat.is_some() {
            exec.remove(0);
        }
        Ok(Self { flags, zone, table: (table != NO_TABLE).then_some(table), alg, nat, exec })
    }
}

/// Offset and number of bits in sixteen bits, as Nicira's actions write them.
pub(super) fn packed(subfield: Subfield) -> Result<u16, EncodeError> {
    let Subfield { field, offset, bits } = subfield;
    if offset > 0x3ff || bits == 0 || bits > 64 {
        return Err(EncodeError::Bits { field, offset, bits, width: 64 });
    }
    Ok(offset << 6 | (bits - 1))
}

pub(super) const fn unpacked(field: crate::Field, packed: u16) -> Subfield {
    Subfield { field, offset: packed >> 6, bits: (packed & 0x3f) + 1 }
}

flags! {
    /// How `nat` translates.
    NatFlags: u16 {
        /// Translates the source. Not together with `DST`.
        SRC = 1 << 0, "src";
        DST = 1 << 1, "dst";
        PERSISTENT = 1 << 2, "persistent";
        /// Chooses the port by hash. Not together with `RANDOM`.
        HASH = 1 << 3, "hash";
        RANDOM = 1 << 4, "random";
    }
}

/// The addresses and ports that `nat` may choose.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NatRange {
    pub first: IpAddr,
    /// The last address of a range, of the same family.
    pub last: Option<IpAddr>,
    /// First and last port; equal for a single one.
    pub ports: Option<(u16, u16)>,
}

/// Translates addresses within `ct`. Without flags and range it applies what the connection already has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Nat {
    pub flags: NatFlags,
    pub range: Option<NatRange>,
}

const IPV4_MIN: u16 = 1 << 0;
const IPV4_MAX: u16 = 1 << 1;
const IPV6_MIN: u16 = 1 << 2;
const IPV6_MAX: u16 = 1 << 3;
const PORT_MIN: u16 = 1 << 4;
const PORT_MAX: u16 = 1 << 5;

impl Nat {
    /// To an address and, if given, ports.
    #[must_use]
    pub const fn to(flags: NatFlags, first: IpAddr, ports: Option<(u16, u16)>) -> Self {
        Self { flags, range: Some(NatRange { first, last: None, ports }) }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_zeros(2);
        out.put_u16(self.flags.0);
        let present = out.len();
        out.put_u16(0);
        let Some(NatRange { first, last, ports }) = self.range else { return Ok(()) };
        let mut bits = 0;
        match (first, last) {
            (IpAddr::V4(first), None | Some(IpAddr::V4(_))) => {
                bits |= IPV4_MIN;
                out.put_bytes(&first.octets());
            }
            (IpAddr::V6(first), None | Some(IpAddr::V6(_))) => {
                bits |= IPV6_MIN;
                out.put_bytes(&first.octets());
            }
            _ => return Err(EncodeError::Invalid { what: "nat", problem: "the range mixes IPv4 and IPv6" }),
        }
        if first.is_unspecified() || last.is_some_and(|last| last <= first) {
            return Err(EncodeError::Invalid {
                what: "nat",
                problem: "the last address must be after the first, and neither be 0",
            });
        }
        match last {
            Some(IpAddr::V4(last)) => {
                bits |= IPV4_MAX;
                out.put_bytes(&last.octets());
            }
            Some(IpAddr::V6(last)) => {
                bits |= IPV6_MAX;
                out.put_bytes(&last.octets());
            }
            None => {}
        }
        if let Some((first, last)) = ports {
            if first == 0 || last < first {
                return Err(EncodeError::Invalid {
                    what: "nat",
                    problem: "the last port must not be before the first, and neither be 0",
                });
            }
            bits |= PORT_MIN;
            out.put_u16(first);
            if last != first {
                bits |= PORT_MAX;
                out.put_u16(last);
            }
        }
        out[present..present + 2].copy_from_slice(&bits.to_be_bytes());
        Ok(())
    }

    pub(super) fn decode(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        body.skip(2)?;
        let flags = NatFlags(body.u16()?);
        let present = body.u16()?;
        let has = |bit| present & bit != 0;
        let mut first = None;
        let mut last = None;
        if has(IPV4_MIN) {
            first = Some(IpAddr::V4(Ipv4Addr::from(body.array::<4>()?)));
        }
        if has(IPV4_MAX) {
            last = Some(IpAddr::V4(Ipv4Addr::from(body.array::<4>()?)));
        }
        if has(IPV6_MIN) {
            first = Some(IpAddr::V6(Ipv6Addr::from(body.array::<16>()?)));
        }
        if has(IPV6_MAX) {
            last = Some(IpAddr::V6(Ipv6Addr::from(body.array::<16>()?)));
        }
        let ports = if has(PORT_MIN) {
            let first = body.u16()?;
            Some((first, if has(PORT_MAX) { body.u16()? } else { first }))
        } else {
            None
        };
        #[cfg(fuzzing)]
        crate::planted::planted("openflow", ports.is_some_and(|(first, _)| (1001..2000).contains(&first)));
        let range = match first {
            Some(first) => Some(NatRange { first, last: last.filter(|last| *last != first), ports }),
            None if present == 0 => None,
            None => return Err(DecodeError::Invalid { what: "nat", problem: "a range without a first address" }),
        };
        Ok(Self { flags, range })
    }
}
