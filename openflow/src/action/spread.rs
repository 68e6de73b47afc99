//! `multipath(…)` and `bundle(…)`: spreading packets over links by a hash (NXAST_MULTIPATH, NXAST_BUNDLE, NXAST_BUNDLE_LOAD).

use super::conntrack::{packed, unpacked};
use crate::error::{DecodeError, EncodeError};
use crate::field::{Field, Subfield};
use crate::oxm;
use crate::port::PortNumber;
use crate::wire::{Put, Reader, padding};

/// Declares an enumeration that is a 16-bit number on the wire and a word in `ovs-ofctl`.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $number:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $(#[doc = concat!("`", $text, "`")] $variant),* }

        impl $name {
            pub(crate) const fn number(self) -> u16 {
                match self { $(Self::$variant => $number),* }
            }

            pub(crate) const fn of(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// The word that `ovs-ofctl` uses.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

words! {
    /// What of a packet is hashed.
    HashFields {
        EthSrc = 0, "eth_src";
        SymmetricL4 = 1, "symmetric_l4";
        SymmetricL3L4 = 2, "symmetric_l3l4";
        SymmetricL3L4Udp = 3, "symmetric_l3l4+udp";
        NwSrc = 4, "nw_src";
        NwDst = 5, "nw_dst";
        SymmetricL3 = 6, "symmetric_l3";
    }
}

words! {
    /// How a hash becomes a link.
    MultipathAlgorithm {
        ModuloN = 0, "modulo_n";
        HashThreshold = 1, "hash_threshold";
        Hrw = 2, "hrw";
        IterHash = 3, "iter_hash";
    }
}

words! {
    /// How a member port is chosen.
    BundleAlgorithm {
        ActiveBackup = 0, "active_backup";
        Hrw = 1, "hrw";
    }
}

fn unknown(what: &'static str) -> DecodeError {
    DecodeError::Invalid { what, problem: "unknown fields or algorithm" }
}

/// Hashes the packet and writes the number of the chosen link, from 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Multipath {
    pub fields: HashFields,
    pub basis: u16,
    pub algorithm: MultipathAlgorithm,
    /// How many links there are, at least one.
    pub links: u32,
    /// An argument of the algorithm.
    pub argument: u32,
    pub destination: Subfield,
}

impl Multipath {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let problem = EncodeError::Invalid { what: "multipath", problem: "between 1 and 65,536 links" };
        let max_link = self.links.checked_sub(1).and_then(|max| u16::try_from(max).ok()).ok_or(problem)?;
        out.put_u16(self.fields.number());
        out.put_u16(self.basis);
        out.put_u16(0);
        out.put_u16(self.algorithm.number());
        out.put_u16(max_link);
        out.put_u32(self.argument);
        out.put_u16(0);
        out.put_u16(packed(oxm::writable(self.destination)?)?);
        oxm::put_short_header(out, self.destination.field)
    }

    pub(super) fn decode(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let fields = HashFields::of(body.u16()?).ok_or_else(|| unknown("multipath"))?;
        let basis = body.u16()?;
        body.skip(2)?;
        let algorithm = MultipathAlgorithm::of(body.u16()?).ok_or_else(|| unknown("multipath"))?;
        let links = u32::from(body.u16()?) + 1;
        let argument = body.u32()?;
        body.skip(2)?;
        let bits = body.u16()?;
        let destination = unpacked(oxm::read_field(body)?, bits);
        Ok(Self { fields, basis, algorithm, links, argument, destination })
    }
}

/// Chooses a live member port and outputs to it, or writes its number to a field (`bundle_load`).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MemberBundle {
    pub fields: HashFields,
    pub basis: u16,
    pub algorithm: BundleAlgorithm,
    pub members: Vec<PortNumber>,
    /// Where to write the port; `None` outputs to it.
    pub destination: Option<Subfield>,
}

/// The member type, as a bare header: ports, `in_port` of OpenFlow 1.0.
const MEMBER_TYPE: u32 = 0x0000_0002;

impl MemberBundle {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let count = u16::try_from(self.members.len()).map_err(|_| EncodeError::TooLong {
            what: "bundle members",
            length: self.members.len(),
            limit: u16::MAX.into(),
        })?;
        out.put_u16(self.algorithm.number());
        out.put_u16(self.fields.number());
        out.put_u16(self.basis);
        out.put_u32(MEMBER_TYPE);
        out.put_u16(count);
        match self.destination {
            Some(destination) => {
                out.put_u16(packed(oxm::writable(destination)?)?);
                oxm::put_short_header(out, destination.field)?;
            }
            None => out.put_zeros(6),
        }
        out.put_zeros(4);
        for member in &self.members {
            out.put_u16(member.narrow()?);
        }
        out.put_zeros(padding(self.members.len() * 2));
        Ok(())
    }

    pub(super) fn decode(body: &mut Reader<'_>, load: bool) -> Result<Self, DecodeError> {
        let algorithm = BundleAlgorithm::of(body.u16()?).ok_or_else(|| unknown("bundle"))?;
        let fields = HashFields::of(body.u16()?).ok_or_else(|| unknown("bundle"))?;
        let basis = body.u16()?;
        if body.u32()? != MEMBER_TYPE {
            return Err(unknown("bundle"));
        }
        let count = body.u16()?;
        let bits = body.u16()?;
        let header: [u8; 4] = body.array()?;
        let destination = if load {
            let field: Field = oxm::read_field(&mut Reader::new(&header, "bundle destination"))?;
            Some(unpacked(field, bits))
        } else {
            None
        };
        body.skip(4)?;
        let members = (0..count).map(|_| body.u16().map(PortNumber::widen)).collect::<Result<_, _>>()?;
        Ok(Self { fields, basis, algorithm, members, destination })
    }
}
