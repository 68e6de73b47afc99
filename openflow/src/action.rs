//! Actions: what a flow does to a packet. Words and meanings: ovs-actions(7).
//!
//! An action this crate does not know stays [`Action::Raw`] and is sent back byte for byte. There is no `load` and no `move` on
//! the wire of OpenFlow 1.5: [`Action::load`] makes a masked `set_field`, [`Action::CopyField`] is `move`.

mod conntrack;
mod controller;
mod decode;
mod encode;
mod learn;
mod nicira;
mod sample;
mod spread;

pub use conntrack::{Ct, CtFlags, CtZone, Nat, NatFlags, NatRange};
pub use controller::Controller;
pub use learn::{Learn, LearnFlags, LearnSource, LearnSpec, LearnTarget};
pub use sample::{Sample, SampleDirection};
pub use spread::{BundleAlgorithm, HashFields, MemberBundle, Multipath, MultipathAlgorithm};

pub(crate) use controller::{property, property16};
pub(crate) use decode::decode_list;
pub(crate) use encode::encode_list;

use crate::field::{Field, Subfield};
use crate::port::PortNumber;
use crate::value::Value;

/// The vendor id of Nicira's extensions.
pub(crate) const NICIRA: u32 = 0x0000_2320;

/// The table number of a resubmit that means the table it is in.
const SAME_TABLE: u8 = 0xff;

/// One action.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// Sends the packet out of a port. `max_len` counts for the controller port only.
    Output { port: PortNumber, max_len: u16 },
    /// Sends at most `max_len` bytes of the packet out of a port.
    OutputTruncated { port: PortNumber, max_len: u32 },
    /// Sends the packet out of the port that a field names.
    OutputReg { source: Subfield, max_len: u16 },
    /// Sends the packet to a controller with more to say than `Output` can.
    Controller(Box<Controller>),
    /// Hands the packet to a group.
    Group(u32),
    /// Passes the packet through a meter.
    Meter(u32),
    /// Chooses the queue of later outputs.
    SetQueue(u32),
    /// Restores the queue that was chosen before.
    PopQueue,
    /// Writes a field, or the bits of it that the mask has.
    SetField { field: Field, value: Value, mask: Option<Value> },
    /// Copies bits; both sides have the same number of them. `move` in `ovs-ofctl`.
    CopyField { source: Subfield, destination: Subfield },
    /// Pushes bits on the stack.
    StackPush(Subfield),
    /// Pops bits from the stack.
    StackPop(Subfield),
    /// Removes a tunnel option.
    DeleteField(Field),
    /// Adds a VLAN tag of this Ethernet type.
    PushVlan(u16),
    /// Removes the outer VLAN tag.
    PopVlan,
    /// Sets the IP TTL or hop limit.
    SetIpTtl(u8),
    /// Decrements the IP TTL or hop limit; a packet that has none left goes to controller 0.
    DecTtl,
    /// The same, naming the controllers that get such a packet.
    DecTtlControllers(Vec<u16>),
    /// Hands the packet to connection tracking.
    Ct(Box<Ct>),
    /// Forgets the packet's connection state.
    CtClear,
    /// Translates addresses; only within `Ct`.
    Nat(Nat),
    /// Adds or changes a flow after the packet's example.
    Learn(Box<Learn>),
    /// One clause of a conjunctive match: `clause` of `clauses`, counted from 1.
    Conjunction { id: u32, clause: u8, clauses: u8 },
    /// Looks the packet up again, in another table or as from another port, and comes back.
    Resubmit { port: Option<PortNumber>, table: Option<u8>, ct: bool },
    /// Does the actions on a copy, and undoes what they did to the packet.
    Clone(Vec<Action>),
    /// Does nothing; carries bytes. The switch pads them with zeros to 6, 14, 22 … bytes.
    Note(Vec<u8>),
    /// Writes one bit: whether the packet is larger than `length` bytes.
    CheckPktLarger { length: u16, destination: Subfield },
    /// Samples packets for IPFIX.
    Sample(Sample),
    /// Hashes the packet and writes the chosen link's number to a field.
    Multipath(Box<Multipath>),
    /// Chooses a live member port and outputs to it, or writes it to a field.
    Bundle(Box<MemberBundle>),
    /// Shortens the flow's timeouts (seconds) when a TCP connection ends.
    FinTimeout { idle: u16, hard: u16 },
    /// Stops processing actions.
    Exit,
    /// Adds a header of this packet type.
    Encap(u32),
    /// Removes the outermost header; the type of what is left if it must be said.
    Decap(Option<u32>),
    /// An action this crate does not know, whole, as it came.
    Raw(Box<[u8]>),
}

impl Action {
    /// The names of the kinds of action, one for each variant but `Raw`.
    pub const KINDS: &'static [&'static str] = &[
        "output",
        "output-truncated",
        "output-reg",
        "controller",
        "group",
        "meter",
        "set-queue",
        "pop-queue",
        "set-field",
        "copy-field",
        "push",
        "pop",
        "delete-field",
        "push-vlan",
        "pop-vlan",
        "set-ip-ttl",
        "dec-ttl",
        "dec-ttl-controllers",
        "ct",
        "ct-clear",
        "nat",
        "learn",
        "conjunction",
        "resubmit",
        "clone",
        "note",
        "check-pkt-larger",
        "sample",
        "multipath",
        "bundle",
        "fin-timeout",
        "exit",
        "encap",
        "decap",
    ];

    /// The name of the action's kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Output { .. } => "output",
            Self::OutputTruncated { .. } => "output-truncated",
            Self::OutputReg { .. } => "output-reg",
            Self::Controller(_) => "controller",
            Self::Group(_) => "group",
            Self::Meter(_) => "meter",
            Self::SetQueue(_) => "set-queue",
            Self::PopQueue => "pop-queue",
            Self::SetField { .. } => "set-field",
            Self::CopyField { .. } => "copy-field",
            Self::StackPush(_) => "push",
            Self::StackPop(_) => "pop",
            Self::DeleteField(_) => "delete-field",
            Self::PushVlan(_) => "push-vlan",
            Self::PopVlan => "pop-vlan",
            Self::SetIpTtl(_) => "set-ip-ttl",
            Self::DecTtl => "dec-ttl",
            Self::DecTtlControllers(_) => "dec-ttl-controllers",
            Self::Ct(_) => "ct",
            Self::CtClear => "ct-clear",
            Self::Nat(_) => "nat",
            Self::Learn(_) => "learn",
            Self::Conjunction { .. } => "conjunction",
            Self::Resubmit { .. } => "resubmit",
            Self::Clone(_) => "clone",
            Self::Note(_) => "note",
            Self::CheckPktLarger { .. } => "check-pkt-larger",
            Self::Sample(_) => "sample",
            Self::Multipath(_) => "multipath",
            Self::Bundle(_) => "bundle",
            Self::FinTimeout { .. } => "fin-timeout",
            Self::Exit => "exit",
            Self::Encap(_) => "encap",
            Self::Decap(_) => "decap",
            Self::Raw(_) => "raw",
        }
    }

    /// Sends the packet out of a port.
    #[must_use]
    pub fn output(port: impl Into<PortNumber>) -> Self {
        Self::Output { port: port.into(), max_len: 0 }
    }

    /// Sends the whole packet to the controller.
    #[must_use]
    pub const fn to_controller() -> Self {
        Self::Output { port: PortNumber::CONTROLLER, max_len: u16::MAX }
    }

    /// Writes all of a field.
    #[must_use]
    pub fn set_field(field: Field, value: impl Into<Value>) -> Self {
        Self::SetField { field, value: value.into(), mask: None }
    }

    /// Writes some bits of a field: `load` in `ovs-ofctl`. A value wider than the bits is an error when encoded.
    #[must_use]
    pub fn load(destination: impl Into<Subfield>, value: impl Into<u128>) -> Self {
        let destination = destination.into();
        let number = value.into();
        let field = destination.field;
        // bits shifted out at the top must not vanish: keep the value unshifted, which then lies outside of the mask
        let shifted =
            number.checked_shl(destination.offset.into()).filter(|shifted| shifted >> destination.offset == number);
        let value = Value::new(shifted.unwrap_or(u128::MAX), 16);
        let whole = destination == field.whole();
        Self::SetField { field, value, mask: (!whole).then(|| Value::new(destination.mask(), 16)) }.narrowed()
    }

    /// A `set_field` with value and mask in the field's own width, if they fit.
    fn narrowed(self) -> Self {
        match self {
            Self::SetField { field, value, mask } => {
                let narrow = |value: Value| value.fit(field.bits(), field.bytes().min(16)).unwrap_or(value);
                Self::SetField { field, value: narrow(value), mask: mask.map(narrow) }
            }
            other => other,
        }
    }

    /// Copies all of one field, or some bits, to another place of the same size.
    #[must_use]
    pub fn copy(source: impl Into<Subfield>, destination: impl Into<Subfield>) -> Self {
        Self::CopyField { source: source.into(), destination: destination.into() }
    }

    /// Looks the packet up in another table and comes back.
    #[must_use]
    pub const fn resubmit(table: u8) -> Self {
        Self::Resubmit { port: None, table: Some(table), ct: false }
    }

    /// Sends the packet out of a port's queue: three actions in OpenFlow 1.5, which has no `enqueue`.
    #[must_use]
    pub fn enqueue(port: impl Into<PortNumber>, queue: u32) -> [Self; 3] {
        [Self::SetQueue(queue), Self::output(port), Self::PopQueue]
    }
}
