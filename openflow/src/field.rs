//! Packet fields: what a match can ask for and an action can write.
//!
//! One table ([`table`](self)) says everything about each field; the rest of the crate reads it. Nothing here knows values.

mod table;

pub use table::Field;

/// Whether part of a field can be matched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Masking {
    /// All of it or nothing.
    Exact,
    /// Any bits.
    Maskable,
}

/// Whether an action can write a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Only matched.
    ReadOnly,
    /// Matched and written.
    ReadWrite,
}

/// How `ovs-ofctl` shows a field's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Decimal,
    Hexadecimal,
    Ethernet,
    Ipv4,
    Ipv6,
    /// A 16-bit OpenFlow 1.0 port number.
    Port16,
    /// A 32-bit OpenFlow port number.
    Port32,
    PacketTypes,
    CtStates,
    TcpFlags,
    TunnelFlags,
    Frag,
}

/// What a packet must be for a field to exist in it (ovs-fields(7), "Prerequisites").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prerequisite {
    None,
    /// An Ethernet packet, which every packet is unless `packet_type` says otherwise.
    Ethernet,
    Vlan,
    Arp,
    Ipv4,
    Ipv6,
    /// IPv4 or IPv6.
    Ip,
    Tcp,
    Udp,
    Sctp,
    Icmpv4,
    Icmpv6,
    /// Neighbor solicitation or advertisement.
    Nd,
    NdSolicit,
    NdAdvert,
    /// A tracked IP packet.
    Ct,
    CtIpv4,
    CtIpv6,
    /// A tracked IP packet whose `ct_nw_proto` is given.
    CtProto,
}

/// The name spaces of OXM field numbers that Open vSwitch uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    NxmOf,
    NxmNx,
    OxmOf,
    PacketRegister,
    EricoxmOf,
    NxoxmEt,
    OnfoxmEt,
}

impl Class {
    const ALL: [Self; 7] =
        [Self::NxmOf, Self::NxmNx, Self::OxmOf, Self::PacketRegister, Self::EricoxmOf, Self::NxoxmEt, Self::OnfoxmEt];

    /// The class number on the wire and, for class 0xffff, the experimenter that follows.
    pub(crate) const fn numbers(self) -> (u16, u32) {
        match self {
            Self::NxmOf => (0x0000, 0),
            Self::NxmNx => (0x0001, 0),
            Self::EricoxmOf => (0x1000, 0),
            Self::OxmOf => (0x8000, 0),
            Self::PacketRegister => (0x8001, 0),
            Self::NxoxmEt => (0xffff, 0x0000_2320),
            Self::OnfoxmEt => (0xffff, 0x4f4e_4600),
        }
    }

    pub(crate) const fn of(class: u16, experimenter: u32) -> Option<Self> {
        Some(match (class, experimenter) {
            (0x0000, 0) => Self::NxmOf,
            (0x0001, 0) => Self::NxmNx,
            (0x1000, 0) => Self::EricoxmOf,
            (0x8000, 0) => Self::OxmOf,
            (0x8001, 0) => Self::PacketRegister,
            (0xffff, 0x0000_2320) => Self::NxoxmEt,
            (0xffff, 0x4f4e_4600) => Self::OnfoxmEt,
            _ => return None,
        })
    }

    /// What the names of the class start with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::NxmOf => "NXM_OF_",
            Self::NxmNx => "NXM_NX_",
            Self::OxmOf => "OXM_OF_",
            Self::PacketRegister => "OXM_OF_PKT_REG",
            Self::EricoxmOf => "ERICOXM_OF_",
            Self::NxoxmEt => "NXOXM_ET_",
            Self::OnfoxmEt => "ONFOXM_ET_",
        }
    }
}

/// A field's number in one name space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Number {
    pub class: Class,
    /// The name within the class, without an index.
    pub label: &'static str,
    /// The first number of the family.
    pub number: u8,
}

/// A line of the field table.
#[derive(Clone, Copy, Debug)]
pub struct FieldInfo {
    /// The name in ovs-fields(7), without an index.
    pub name: &'static str,
    /// How many fields the line declares; 0 for one without an index.
    pub count: u8,
    pub bits: u16,
    pub masking: Masking,
    pub access: Access,
    pub format: Format,
    pub prerequisite: Prerequisite,
    /// Numbers, oldest form first. Matches and `set_field` carry the last, older actions the first.
    pub numbers: &'static [Number],
}

/// Declares [`Field`] from the table.
macro_rules! fields {
    ($($variant:ident $(($index:ty, $count:literal))? = $name:literal $bits:literal $masking:ident $access:ident $format:ident
        $needs:ident [$($class:ident $label:literal $number:literal),+];)*) => {
        /// A packet field. Its order is the order of fields on the wire.
        ///
        /// A field of a family carries its index, such as `Field::Reg(3)`; an index beyond the family is an error when encoded.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Field {
            $(#[doc = concat!("`", $name, "`")] $variant $(($index))?,)*
        }

        /// The lines of the table, in order.
        pub(super) const TABLE: &[super::FieldInfo] = &[$(super::FieldInfo {
            name: $name,
            count: 0 $(+ $count)?,
            bits: $bits,
            masking: $masking,
            access: $access,
            format: $format,
            prerequisite: Needs::$needs,
            numbers: &[$(super::Number { class: $class, label: $label, number: $number }),+],
        }),*];

        #[derive(Clone, Copy)]
        #[repr(u8)]
        enum Line { $($variant),* }

        impl Field {
            /// The number of the field's line in the table.
            pub(super) const fn line(self) -> u8 {
                match self { $(Self::$variant { .. } => Line::$variant as u8),* }
            }

            /// The field of a table line.
            pub(super) const fn of_line(line: u8, index: u8) -> Option<Self> {
                $(if line == Line::$variant as u8 { let _ = index; return Some(Self::$variant $((index as $index))?); })*
                None
            }

            /// The index within the family, 0 for a field that stands alone.
            #[must_use]
            pub const fn index(self) -> u8 {
                $($(if let Self::$variant(index) = self { return index as $index; })?)*
                0
            }
        }
    };
}
pub(crate) use fields;

impl Field {
    /// What the table says about the field.
    #[must_use]
    pub const fn info(self) -> &'static FieldInfo {
        &table::TABLE[self.line() as usize]
    }

    /// All fields, in table order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX)
            .zip(table::TABLE)
            .flat_map(|(line, info)| (0..info.count.max(1)).filter_map(move |index| Self::of_line(line, index)))
    }

    /// The field that ovs-fields(7) calls `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|field| field.to_string() == name)
    }

    /// Whether the index is within the family.
    #[must_use]
    pub const fn exists(self) -> bool {
        let count = self.info().count;
        count == 0 || self.index() < count
    }

    /// How many bits the field has. For `tun_metadata` the most it can have: its length is set by the switch's TLV table.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.info().bits
    }

    /// How many bytes the field takes on the wire.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the widest field has 124 bytes")]
    pub const fn bytes(self) -> u8 {
        match self {
            // carried in two, four bytes though fewer bits are used
            Self::TunFlags => 2,
            Self::TunErspanIdx | Self::Ipv6Label | Self::CtState => 4,
            _ => self.info().bits.div_ceil(8) as u8,
        }
    }

    /// Whether the length of the field's values is not fixed.
    #[must_use]
    pub const fn is_variable(self) -> bool {
        matches!(self, Self::TunMetadata(_))
    }

    /// Whether the switch writes a mask even where all bits of the field are matched, and so we do.
    pub(crate) const fn states_exact_mask(self) -> bool {
        matches!(self, Self::CtState | Self::TunFlags)
    }

    /// Whether an action can write the field.
    #[must_use]
    pub fn is_writable(self) -> bool {
        self.info().access == Access::ReadWrite
    }

    /// Whether part of the field can be matched.
    #[must_use]
    pub fn is_maskable(self) -> bool {
        self.info().masking == Masking::Maskable
    }

    /// Where the field stands among others in a match.
    pub(crate) const fn order(self) -> u16 {
        u16::from_be_bytes([self.line(), self.index()])
    }

    /// Bits `offset` to `offset + bits - 1` of the field, the least significant being 0.
    #[must_use]
    pub const fn slice(self, offset: u16, bits: u16) -> Subfield {
        Subfield { field: self, offset, bits }
    }

    /// All of the field.
    #[must_use]
    pub const fn whole(self) -> Subfield {
        Subfield { field: self, offset: 0, bits: self.info().bits }
    }

    /// The newest form of the field's number: what matches and `set_field` carry.
    pub(crate) const fn number(self) -> &'static Number {
        let numbers = self.info().numbers;
        &numbers[numbers.len() - 1]
    }

    /// The oldest form of the field's number: what Nicira's actions carry.
    pub(crate) const fn old_number(self) -> &'static Number {
        &self.info().numbers[0]
    }

    /// The field of a class and number, whichever form.
    pub(crate) fn of_number(class: Class, number: u8) -> Option<Self> {
        static LOOKUP: [[Option<Field>; 128]; Class::ALL.len()] = lookup();
        LOOKUP[class as usize].get(usize::from(number)).copied().flatten()
    }

    /// The name that `ovs-ofctl` shows where bits of the field are named, such as `NXM_NX_REG0`.
    #[must_use]
    pub fn wire_name(self) -> String {
        let Number { class, label, .. } = self.old_number();
        match self.info().count {
            0 => format!("{}{label}", class.prefix()),
            _ => format!("{}{label}{}", class.prefix(), self.index()),
        }
    }
}

/// Every number of every field, by class.
const fn lookup() -> [[Option<Field>; 128]; Class::ALL.len()] {
    let mut all = [[None; 128]; Class::ALL.len()];
    let mut line = 0;
    while line < table::TABLE.len() {
        let info = &table::TABLE[line];
        let mut form = 0;
        while form < info.numbers.len() {
            let Number { class, number, .. } = info.numbers[form];
            let mut index = 0;
            while index == 0 || index < info.count {
                #[expect(clippy::cast_possible_truncation, reason = "the table has fewer than 256 lines")]
                let field = Field::of_line(line as u8, index);
                all[class as usize][(number + index) as usize] = field;
                index += 1;
            }
            form += 1;
        }
        line += 1;
    }
    all
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.info().name)?;
        if self.info().count > 0 { write!(f, "{}", self.index()) } else { Ok(()) }
    }
}

/// Some bits of a field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Subfield {
    pub field: Field,
    /// The lowest bit, 0 being the field's least significant.
    pub offset: u16,
    /// How many bits.
    pub bits: u16,
}

impl Subfield {
    /// The mask of these bits within the field; bits beyond 128 are not in it.
    #[must_use]
    pub const fn mask(self) -> u128 {
        if self.offset >= 128 { 0 } else { crate::value::ones(self.bits) << self.offset }
    }
}

impl From<Field> for Subfield {
    fn from(field: Field) -> Self {
        field.whole()
    }
}
