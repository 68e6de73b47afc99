//! OpenFlow 1.5 with the Nicira and Open vSwitch extensions, as bytes.
//!
//! This crate turns values into messages and messages into values; it opens no socket, keeps no state and knows nothing of
//! Kubernetes or of our pipeline. Its words are those of ovs-fields(7), ovs-actions(7) and the OpenFlow 1.5.1 specification, and
//! it prints what it holds as `ovs-ofctl` would ([`text`]).
//!
//! ```text
//!  Field ── Value ──► Match ──┐
//!                             ├──► Flow ──► FlowMod, BundleAdd ──┐
//!  Field ── Value ──► Action ─┤                                  ├──► Message ──► bytes (xid, length)
//!                             └──► Group, PacketOut, … ──────────┘
//! ```
//!
//! Two promises: what is not known is kept as raw bytes, never dropped; what cannot be encoded is an [`EncodeError`], never zero
//! bytes. Only version 1.5 is spoken. What Open vSwitch 3.1 dumps is what was sent, byte for byte: matches and instructions have
//! one canonical form, the switch's own, which the live test holds.

// Pure: what clippy.toml disallows is input and output.
#![deny(clippy::disallowed_methods)]

pub mod action;
pub mod bundle;
mod error;
mod field;
mod flags;
pub mod flow;
pub mod group;
mod instruction;
mod matches;
mod message;
pub mod meter;
pub mod multipart;
mod oxm;
pub mod packet;
pub mod port;
pub mod switch;
mod switch_error;
pub mod table;
pub mod text;
mod value;
mod wire;

#[cfg(fuzzing)]
mod planted;

pub use action::{
    Action, Controller, Ct, CtFlags, CtZone, Learn, LearnSource, LearnSpec, LearnTarget, Nat, NatFlags, NatRange,
};
pub use bundle::{BundleAdd, BundleControl, BundleFlags, BundleStep};
pub use error::{DecodeError, EncodeError};
pub use field::{Access, Class, Field, FieldInfo, Format, Masking, Number, Prerequisite, Subfield};
pub use flow::{
    EncodedFlow, Flow, FlowCommand, FlowFlags, FlowMod, FlowRemoved, FlowRemovedReason, FlowStats, Seconds,
};
pub use group::{Bucket, BucketPlace, Group, GroupKind, GroupMod, SelectionMethod};
pub use instruction::Instructions;
pub use matches::{Match, Term, VLAN_PRESENT};
pub use message::{HEADER_LENGTH, MAX_LENGTH, Message, VERSION, message_length};
pub use meter::{Meter, MeterBand, MeterFlags, MeterMod};
pub use multipart::{FlowEntry, FlowFilter, MultipartReply, MultipartRequest, Reply, Request};
pub use packet::{PacketIn, PacketInFormat, PacketInReason, PacketOut};
pub use port::{Port, PortNumber, PortReason, PortStatus};
pub use switch::{Features, Hello};
pub use switch_error::{ErrorCode, SwitchError};
pub use value::Value;
