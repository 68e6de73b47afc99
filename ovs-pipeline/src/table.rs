//! The tables, in the order in which a packet meets them.
//!
//! A table's id is declared, never changes and is never reused: a packet that recirculates may resume in it after an upgrade.
//! What a flow may match, write and go to is declared here and held by [`crate::flow`].

use openflow::Field;

use crate::register::{self, Register};

macro_rules! tables {
    ($($(#[doc = $doc:literal])+ $name:ident = $id:literal $spec:expr;)+) => {
        /// A table of the pipeline.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Table { $($(#[doc = $doc])+ $name = $id,)+ }

        impl Table {
            /// Every table, in packet order.
            pub const ALL: &'static [Table] = &[$(Table::$name),+];

            /// The name in docs, logs and antctl.
            pub const fn name(self) -> &'static str { match self { $(Table::$name => stringify!($name)),+ } }

            /// What the table is for.
            pub const fn purpose(self) -> &'static str { match self { $(Table::$name => concat!($($doc),+)),+ } }

            /// What a flow of this table may do.
            pub const fn spec(self) -> TableSpec { match self { $(Table::$name => $spec),+ } }
        }
    };
}

/// What a flow of a table may match, write and where it may go.
#[derive(Clone, Copy, Debug)]
pub struct TableSpec {
    /// Packet and metadata fields that flows match; registers are named apart.
    pub matches: &'static [Field],
    /// Registers that flows match.
    pub reads: &'static [Register],
    /// Registers that flows write.
    pub writes: &'static [Register],
    /// Tables that flows go to.
    pub next: &'static [Table],
    /// What happens to a packet that no flow matches.
    pub miss: Miss,
}

/// What happens to a packet that no flow of the table matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// It is dropped.
    Drop,
    /// It goes on to this table.
    Goto(Table),
}

/// A table whose feature is to come: its place in packet order is taken, every packet passes.
const fn reserved(next: &'static [Table]) -> TableSpec {
    TableSpec { matches: &[], reads: &[], writes: &[], next, miss: Miss::Goto(next[0]) }
}

const POLICY_FIELDS: &[Field] = &[
    Field::EthType,
    Field::IpProto,
    Field::Ipv4Src,
    Field::Ipv6Src,
    Field::Ipv4Dst,
    Field::Ipv6Dst,
    Field::TcpDst,
    Field::UdpDst,
    Field::SctpDst,
    Field::SctpSrc,
    Field::Icmpv4Type,
    Field::Icmpv4Code,
    Field::Icmpv6Type,
    Field::Icmpv6Code,
    Field::ConjId,
];
const EGRESS_READS: &[Register] = &[
    register::SOURCE,
    register::EGRESS_PORT_RULES,
    register::ADMITTED_REPLY,
    register::SCTP_REPLY,
    register::SOURCE_IDENTITY,
    register::DESTINATION_IDENTITY,
];
const INGRESS_READS: &[Register] = &[
    register::DESTINATION,
    register::INGRESS_PORT_RULES,
    register::ADMITTED_REPLY,
    register::SCTP_REPLY,
    register::HOST_ORIGIN,
    register::SOURCE_IDENTITY,
    register::DESTINATION_IDENTITY,
];
const EGRESS_WRITES: &[Register] = &[register::EGRESS_VERDICT, register::EGRESS_RULE];
const INGRESS_WRITES: &[Register] = &[register::INGRESS_VERDICT, register::INGRESS_RULE];

tables! {
    /// Tells where a packet came from by the port it entered.
    Classifier = 0 TableSpec {
        matches: &[Field::InPort, Field::EthDst],
        reads: &[],
        writes: &[register::SOURCE, register::HOST_ORIGIN],
        next: &[Table::SpoofGuard, Table::TunnelGuard, Table::Conntrack],
        miss: Miss::Drop,
    };
    /// Drops what a pod sends in another's name. Every packet from a local pod passes here before it is tracked.
    SpoofGuard = 4 TableSpec {
        matches: &[
            Field::InPort, Field::EthType, Field::VlanVid, Field::EthSrc, Field::ArpOp, Field::ArpSpa, Field::ArpSha, Field::Ipv4Src, Field::Ipv6Src,
            Field::IpProto, Field::Icmpv6Type, Field::Icmpv6Code, Field::NdTarget,
        ],
        reads: &[],
        writes: &[],
        next: &[Table::Conntrack, Table::NeighborResponder],
        miss: Miss::Drop,
    };
    /// Drops tunnel packets whose inner source does not belong to the node that sent them.
    TunnelGuard = 6 TableSpec {
        matches: &[Field::TunSrc, Field::TunIpv6Src, Field::EthType, Field::Ipv4Src, Field::Ipv6Src],
        reads: &[],
        writes: &[],
        next: &[Table::Conntrack],
        miss: Miss::Drop,
    };
    /// Answers a pod's ARP and neighbor solicitation for its gateway.
    NeighborResponder = 8 TableSpec {
        matches: &[
            Field::EthType, Field::ArpOp, Field::ArpTpa, Field::IpProto, Field::Icmpv6Type, Field::Icmpv6Code, Field::NdTarget,
        ],
        reads: &[],
        writes: &[],
        next: &[Table::NeighborAdvertisement],
        miss: Miss::Drop,
    };
    /// Completes a neighbor advertisement: the target's link address can be written only where the type is matched.
    NeighborAdvertisement = 9 TableSpec {
        matches: &[Field::EthType, Field::IpProto, Field::Icmpv6Type, Field::Icmpv6Code],
        reads: &[],
        writes: &[],
        next: &[],
        miss: Miss::Drop,
    };
    /// Looks up the packet's connection.
    Conntrack = 12 TableSpec {
        matches: &[Field::EthType],
        reads: &[],
        writes: &[],
        next: &[Table::ConntrackState],
        miss: Miss::Drop,
    };
    /// Decides by the connection: replies of admitted connections pass, what can not be the start of one stops.
    ConntrackState = 14 TableSpec {
        matches: &[Field::EthType, Field::IpProto, Field::CtState, Field::TcpFlags],
        reads: &[register::CT_ADMITTED, register::CT_BLOCKED],
        writes: &[register::ADMITTED_REPLY, register::SCTP_REPLY],
        next: &[Table::ServiceAffinity, Table::Routing],
        miss: Miss::Drop,
    };
    /// Reserved: service session affinity.
    ServiceAffinity = 20 reserved(&[Table::ServiceEndpoint]);
    /// Reserved: chooses a service's endpoint.
    ServiceEndpoint = 22 reserved(&[Table::ServiceNat]);
    /// Reserved: translates the destination to the chosen endpoint.
    ServiceNat = 24 reserved(&[Table::SourceIdentity]);
    /// Tells who sent a packet: a pod of this node by its port, all others by their address.
    SourceIdentity = 30 TableSpec {
        matches: &[Field::InPort, Field::EthType, Field::Ipv4Src, Field::Ipv6Src],
        reads: &[register::SOURCE],
        writes: &[register::SOURCE_IDENTITY, register::EGRESS_PORT_RULES],
        next: &[Table::DestinationIdentity],
        miss: Miss::Goto(Table::DestinationIdentity),
    };
    /// Tells who a packet is for.
    DestinationIdentity = 32 TableSpec {
        matches: &[Field::EthType, Field::Ipv4Dst, Field::Ipv6Dst],
        reads: &[],
        writes: &[register::DESTINATION_IDENTITY],
        next: &[Table::EgressTierRule],
        miss: Miss::Goto(Table::EgressTierRule),
    };
    /// Reserved: tiered cluster policies, egress. What no local pod sent leaves egress policy here.
    EgressTierRule = 40 TableSpec {
        matches: POLICY_FIELDS, reads: EGRESS_READS, writes: EGRESS_WRITES, next: &[Table::EgressRule, Table::EgressVerdict],
        miss: Miss::Goto(Table::EgressRule),
    };
    /// Kubernetes NetworkPolicy, egress: what a rule allows.
    EgressRule = 42 TableSpec {
        matches: POLICY_FIELDS, reads: EGRESS_READS, writes: EGRESS_WRITES, next: &[Table::EgressDefault, Table::EgressVerdict],
        miss: Miss::Goto(Table::EgressDefault),
    };
    /// Pods that some policy isolates for egress: what no rule allowed is dropped, in the isolation's name.
    EgressDefault = 44 TableSpec {
        matches: &[], reads: &[register::SOURCE_IDENTITY], writes: EGRESS_WRITES,
        next: &[Table::EgressBaseline, Table::EgressVerdict], miss: Miss::Goto(Table::EgressBaseline),
    };
    /// Pods that no policy isolates for egress may send. Pods without an identity may not, unless no policy could select them.
    EgressBaseline = 46 TableSpec {
        matches: &[Field::InPort], reads: &[], writes: EGRESS_WRITES, next: &[Table::EgressVerdict], miss: Miss::Drop,
    };
    /// Does what egress policy said. No verdict is a drop.
    EgressVerdict = 48 TableSpec {
        matches: &[Field::EthType, Field::IpProto],
        reads: &[register::EGRESS_VERDICT, register::CT_ADMITTED, register::CT_BLOCKED],
        writes: &[register::CT_BLOCKED],
        next: &[Table::Routing],
        miss: Miss::Drop,
    };
    /// Finds the way out: a pod of this node, another node's tunnel, or this node's own stack.
    Routing = 60 TableSpec {
        matches: &[Field::EthType, Field::Ipv4Dst, Field::Ipv6Dst],
        reads: &[register::SOURCE],
        writes: &[register::DESTINATION, register::OUTPUT_PORT, register::INGRESS_PORT_RULES],
        next: &[Table::EgressAddress],
        miss: Miss::Drop,
    };
    /// Reserved: the source address that an Egress gives.
    EgressAddress = 66 reserved(&[Table::IngressTierRule]);
    /// Reserved: tiered cluster policies, ingress. What is for no local pod leaves ingress policy here.
    IngressTierRule = 80 TableSpec {
        matches: POLICY_FIELDS, reads: INGRESS_READS, writes: INGRESS_WRITES,
        next: &[Table::IngressRule, Table::IngressVerdict, Table::Commit], miss: Miss::Goto(Table::IngressRule),
    };
    /// Kubernetes NetworkPolicy, ingress: what a rule allows.
    IngressRule = 82 TableSpec {
        matches: POLICY_FIELDS, reads: INGRESS_READS, writes: INGRESS_WRITES, next: &[Table::IngressDefault, Table::IngressVerdict],
        miss: Miss::Goto(Table::IngressDefault),
    };
    /// Pods that some policy isolates for ingress: what no rule allowed is dropped, in the isolation's name.
    IngressDefault = 84 TableSpec {
        matches: &[], reads: &[register::DESTINATION_IDENTITY], writes: INGRESS_WRITES,
        next: &[Table::IngressBaseline, Table::IngressVerdict], miss: Miss::Goto(Table::IngressBaseline),
    };
    /// Pods that no policy isolates for ingress may receive. Pods without an identity may not, unless no policy could select them.
    IngressBaseline = 86 TableSpec {
        matches: &[], reads: &[register::OUTPUT_PORT], writes: INGRESS_WRITES, next: &[Table::IngressVerdict], miss: Miss::Drop,
    };
    /// Does what ingress policy said. No verdict is a drop.
    IngressVerdict = 88 TableSpec {
        matches: &[Field::EthType, Field::IpProto],
        reads: &[register::INGRESS_VERDICT, register::CT_ADMITTED, register::CT_BLOCKED],
        writes: &[register::CT_BLOCKED],
        next: &[Table::Commit],
        miss: Miss::Drop,
    };
    /// Admits the connection: the only place that does, after every policy has allowed.
    Commit = 100 TableSpec {
        matches: &[Field::EthType, Field::CtState],
        reads: &[
            register::ADMITTED_REPLY, register::SUPPRESS_OUTPUT, register::CT_ADMITTED, register::CT_BLOCKED, register::INGRESS_RULE,
            register::EGRESS_RULE, register::LOOK,
        ],
        writes: &[
            register::CT_ADMITTED, register::CT_BLOCKED, register::CT_INGRESS_RULE, register::CT_EGRESS_RULE, register::CT_LOOK,
        ],
        next: &[Table::Output],
        miss: Miss::Drop,
    };
    /// Sends the packet.
    Output = 110 TableSpec {
        matches: &[],
        reads: &[register::SUPPRESS_OUTPUT, register::OUTPUT_PORT],
        writes: &[],
        next: &[],
        miss: Miss::Drop,
    };
    /// Holds the one flow whose change starts a revalidation round. No packet comes here.
    Tick = 250 TableSpec { matches: &[], reads: &[], writes: &[], next: &[], miss: Miss::Drop };
}

impl Table {
    /// The OpenFlow table id.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The table with this id.
    pub fn from_id(id: u8) -> Option<Table> {
        Table::ALL.iter().copied().find(|table| table.id() == id)
    }
}
