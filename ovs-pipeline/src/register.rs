//! Every named bit that flows share: registers, `ct_mark`, `ct_label`, zones. Laid out once, with room between.
//!
//! A field states its bits and between which tables it lives; a test holds that no two fields of one register overlap
//! in both, and that what is written is read later. Registers survive recirculation (ovs-fields(7), "Registers").

use openflow::{Action, Field, Subfield};

use crate::table::Table;

/// A run of bits in a register or conntrack field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// The word used in flows, logs and docs.
    pub name: &'static str,
    /// What it means.
    pub purpose: &'static str,
    /// The OVS field it lies in.
    pub field: Field,
    /// The lowest bit.
    pub low: u8,
    /// How many bits.
    pub bits: u8,
    /// The tables between which it lives, both included; `None`: reserved, or outlives the packet.
    pub life: Option<(Table, Table)>,
}

impl Register {
    const fn new(name: &'static str, purpose: &'static str, field: Field, low: u8, bits: u8) -> Self {
        Self { name, purpose, field, low, bits, life: None }
    }

    const fn live(mut self, from: Table, to: Table) -> Self {
        self.life = Some((from, to));
        self
    }

    /// The mask that covers these bits in the whole field.
    pub const fn mask(&self) -> u128 {
        (u128::MAX >> (128 - self.bits as u32)) << self.low
    }

    /// The bits, as actions name them.
    pub fn subfield(&self) -> Subfield {
        Subfield { field: self.field, offset: self.low.into(), bits: self.bits.into() }
    }

    /// The action that writes `value` to these bits.
    pub fn write(&self, value: u32) -> Action {
        Action::load(self.subfield(), value)
    }

    /// `value` moved to these bits.
    ///
    /// # Panics
    /// When `value` has more bits than the register: the caller's constants are wrong.
    pub const fn place(&self, value: u128) -> u128 {
        assert!(self.bits as u32 >= 128 || value >> self.bits == 0, "the value fits its register");
        value << self.low
    }

    /// What these bits say in a value of the whole field.
    pub const fn read(&self, whole: u128) -> u128 {
        (whole & self.mask()) >> self.low
    }
}

/// Where the packet came from, see [`Source`].
pub const SOURCE: Register =
    Register::new("source", "where the packet came from: a pod, the tunnel or the gateway", Field::Reg(0), 0, 4)
        .live(Table::Classifier, Table::Output);
/// Where the packet goes, see [`Destination`].
pub const DESTINATION: Register =
    Register::new("destination", "where the packet goes: a pod, the tunnel or the gateway", Field::Reg(0), 4, 4)
        .live(Table::Routing, Table::Output);
/// Set on replies and related packets of an admitted connection.
pub const ADMITTED_REPLY: Register = Register::new(
    "admitted_reply",
    "a reply or related packet of an admitted connection: no policy",
    Field::Reg(0),
    8,
    1,
)
.live(Table::ConntrackState, Table::Commit);
/// Set on what the node itself sends.
pub const HOST_ORIGIN: Register = Register::new("host_origin", "the node itself sent it", Field::Reg(0), 9, 1)
    .live(Table::Classifier, Table::IngressRule);
/// Set when a rule names ports for the source pod; keeps ports out of the megaflow otherwise.
pub const EGRESS_PORT_RULES: Register =
    Register::new("egress_port_rules", "some egress rule of the source pod names ports", Field::Reg(0), 10, 1)
        .live(Table::SourceIdentity, Table::EgressRule);
/// The same for the destination pod.
pub const INGRESS_PORT_RULES: Register =
    Register::new("ingress_port_rules", "some ingress rule of the destination pod names ports", Field::Reg(0), 11, 1)
        .live(Table::Routing, Table::IngressRule);
/// Set by the agent's packet-out: go through the tables, mark what must be marked, leave nowhere.
pub const SUPPRESS_OUTPUT: Register = Register::new(
    "suppress_output",
    "re-examination by packet-out: decide and mark, but send nothing",
    Field::Reg(0),
    12,
    1,
)
.live(Table::Classifier, Table::Output);
/// Which look at a connection a re-examination belongs to: the number that the connection carries after it.
pub const LOOK: Register = Register::new(
    "look",
    "re-examination: the number that the connection carries once it was judged",
    Field::Metadata,
    0,
    4,
)
.live(Table::Classifier, Table::Commit);
/// Set on replies of an admitted SCTP association where it is tracked without ports: they meet policy, by the mirrored rules.
pub const SCTP_REPLY: Register = Register::new(
    "sctp_reply",
    "a reply of an admitted SCTP association, tracked without ports: the mirrored rules decide",
    Field::Reg(0),
    30,
    1,
)
.live(Table::ConntrackState, Table::IngressRule);
/// The egress verdict, see [`Verdict`].
pub const EGRESS_VERDICT: Register = Register::new("egress_verdict", "what egress policy said", Field::Reg(0), 16, 2)
    .live(Table::EgressTierRule, Table::EgressVerdict);
/// The ingress verdict, see [`Verdict`].
pub const INGRESS_VERDICT: Register =
    Register::new("ingress_verdict", "what ingress policy said", Field::Reg(0), 18, 2)
        .live(Table::IngressTierRule, Table::IngressVerdict);
/// The OpenFlow port the packet leaves by.
pub const OUTPUT_PORT: Register = Register::new("output_port", "the port the packet leaves by", Field::Reg(1), 0, 32)
    .live(Table::Routing, Table::Output);
/// The source's identity.
pub const SOURCE_IDENTITY: Register = Register::new("source_identity", "who sent the packet", Field::Reg(2), 0, 32)
    .live(Table::SourceIdentity, Table::IngressBaseline);
/// The destination's identity.
pub const DESTINATION_IDENTITY: Register =
    Register::new("destination_identity", "who the packet is for, after the service choice", Field::Reg(3), 0, 32)
        .live(Table::DestinationIdentity, Table::IngressBaseline);
/// The egress rule or isolation that decided.
pub const EGRESS_RULE: Register =
    Register::new("egress_rule", "the egress rule or isolation that decided", Field::Reg(4), 0, 32)
        .live(Table::EgressTierRule, Table::Commit);
/// The ingress rule or isolation that decided.
pub const INGRESS_RULE: Register =
    Register::new("ingress_rule", "the ingress rule or isolation that decided", Field::Reg(5), 0, 32)
        .live(Table::IngressTierRule, Table::Commit);

/// Every policy that applies in both directions has allowed this connection.
pub const CT_ADMITTED: Register =
    Register::new("ct_admitted", "every policy has allowed this connection", Field::CtMark, 0, 1);
/// Today's policy denies a connection that was admitted.
pub const CT_BLOCKED: Register =
    Register::new("ct_blocked", "today's policy denies this admitted connection", Field::CtMark, 1, 1);
/// The number of the last re-examination that policy allowed: the packet of one may be lost, and is then sent again.
pub const CT_LOOK: Register =
    Register::new("ct_look", "the number of the last re-examination that policy allowed", Field::CtMark, 24, 4);
/// The ingress rule that admitted the connection.
pub const CT_INGRESS_RULE: Register =
    Register::new("ct_ingress_rule", "the ingress rule that admitted the connection", Field::CtLabel, 0, 32);
/// The egress rule that admitted the connection.
pub const CT_EGRESS_RULE: Register =
    Register::new("ct_egress_rule", "the egress rule that admitted the connection", Field::CtLabel, 32, 32);

/// The conntrack zone of pod traffic, both families.
pub const CT_ZONE: u16 = 0xfff0;
/// Reserved: the zone in which Egress source addresses are translated.
pub const CT_ZONE_EGRESS_NAT: u16 = 0xfff1;

/// Bits that later features own. Nothing may use them until then, so that a packet in flight at an upgrade keeps its meaning.
pub const RESERVED: &[Register] = &[
    Register::new("trace", "Traceflow: the packet is traced", Field::Reg(0), 13, 1),
    Register::new("multicast", "the packet is multicast", Field::Reg(0), 14, 1),
    Register::new("log", "the verdict is logged", Field::Reg(0), 15, 1),
    Register::new(
        "service",
        "service choice: endpoint wanted, chosen, affinity to learn, hairpin",
        Field::Reg(0),
        20,
        6,
    ),
    Register::new("egress_address", "an Egress applies, by which node", Field::Reg(0), 26, 4),
    Register::new("trace_tag", "the Traceflow the packet belongs to", Field::Reg(6), 0, 32),
    Register::new("endpoint_ipv4", "the chosen service endpoint", Field::Reg(7), 0, 32),
    Register::new("endpoint_port", "the chosen endpoint's port", Field::Reg(8), 0, 16),
    Register::new("service_number", "the service that was chosen from", Field::Reg(9), 0, 32),
    Register::new("egress_number", "the Egress whose address is used", Field::Reg(10), 0, 32),
    Register::new("multicast_group", "the multicast group", Field::Reg(11), 0, 32),
    Register::new("endpoint_ipv6", "the chosen service endpoint", Field::Xxreg(3), 0, 128),
    Register::new("ct_service", "the destination was translated by a service", Field::CtMark, 4, 2),
    Register::new("ct_source_nat", "the source was translated", Field::CtMark, 6, 2),
    Register::new("ct_egress", "the Egress that translates the source", Field::CtMark, 8, 16),
    Register::new("ct_epoch", "the ledger's epoch", Field::CtMark, 28, 4),
    Register::new("ct_trace", "the trace tag of the connection", Field::CtLabel, 64, 32),
    Register::new("ct_service_number", "the service of the connection", Field::CtLabel, 96, 32),
];

/// Every register in use, in the order of the map in the reference.
pub const REGISTERS: &[Register] = &[
    SOURCE,
    DESTINATION,
    ADMITTED_REPLY,
    HOST_ORIGIN,
    EGRESS_PORT_RULES,
    INGRESS_PORT_RULES,
    SUPPRESS_OUTPUT,
    LOOK,
    SCTP_REPLY,
    EGRESS_VERDICT,
    INGRESS_VERDICT,
    OUTPUT_PORT,
    SOURCE_IDENTITY,
    DESTINATION_IDENTITY,
    EGRESS_RULE,
    INGRESS_RULE,
    CT_ADMITTED,
    CT_BLOCKED,
    CT_LOOK,
    CT_INGRESS_RULE,
    CT_EGRESS_RULE,
];

/// Values of [`SOURCE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    /// A pod of this node.
    Pod = 1,
    /// Another node, through the tunnel.
    Tunnel = 2,
    /// This node's own stack.
    Gateway = 3,
}

/// Values of [`DESTINATION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Destination {
    /// A pod of this node.
    Pod = 1,
    /// Another node, through the tunnel.
    Tunnel = 2,
    /// This node's own stack.
    Gateway = 3,
}

/// Values of the verdict registers. Zero is no verdict, and a verdict table's miss is drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// Goes on.
    Allow = 1,
    /// Stops here.
    Drop = 2,
    /// Reserved: stops here and the sender is told.
    Reject = 3,
}
