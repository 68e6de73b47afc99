//! What a packet's connection says about it.
//!
//! `+est` admits nothing: only `ct_mark.ct_admitted` does, which the last commit writes after every policy has allowed.
//! Packets in the original direction go on to policy every time; replies and related packets of an admitted connection that
//! is not blocked pass; the rest of what is no start of a connection stops here.

use openflow::Field;

use crate::flow::{Builder, IP_FAMILIES, Refusal, Sink};
use crate::intent::Datapath;
use crate::register::{self, CT_ADMITTED, CT_BLOCKED};
use crate::table::Table;

/// Bits of `ct_state` (ovs-fields(7)).
pub(crate) mod state {
    pub(crate) const NEW: u32 = 0x01;
    pub(crate) const RELATED: u32 = 0x04;
    pub(crate) const REPLY: u32 = 0x08;
    pub(crate) const INVALID: u32 = 0x10;
    pub(crate) const TRACKED: u32 = 0x20;
}
/// SYN without ACK, RST or FIN: the only segment that starts a connection (RFC 9293).
const SYN: (u16, u16) = (0x002, 0x017);
const TCP: u8 = 6;
pub(crate) const SCTP: u8 = 132;

pub(crate) fn base(sink: &mut Sink) -> Result<(), Refusal> {
    for family in IP_FAMILIES {
        sink.put(
            Builder::new(Table::Conntrack, 100, "every IP packet is tracked")
                .field(Field::EthType, family)
                .conntrack(register::CT_ZONE, Table::ConntrackState),
        )?;
        if sink.datapath == Datapath::Netdev {
            sink.put(
                Builder::new(
                    Table::ConntrackState,
                    195,
                    "netdev tracks SCTP without ports, so its replies meet policy too, by the mirrored rules",
                )
                .field(Field::EthType, family)
                .field(Field::IpProto, SCTP)
                .ct_state(state::REPLY | state::TRACKED, 0)
                .is(&CT_ADMITTED, 1)
                .set(&register::SCTP_REPLY, 1)
                .goto(Table::ServiceAffinity),
            )?;
        }
    }
    replies(sink)?;
    originals(sink)
}

fn replies(sink: &mut Sink) -> Result<(), Refusal> {
    use state::{INVALID, RELATED, REPLY, TRACKED};
    sink.put(
        Builder::new(Table::ConntrackState, 200, "nothing admits an invalid packet")
            .ct_state(INVALID | TRACKED, 0)
            .end(),
    )?;
    for (bits, allowed, denied) in [
        (REPLY, "replies of an admitted connection", "replies of a connection that is not admitted, or blocked"),
        (
            RELATED,
            "related packets of an admitted connection",
            "related packets of a connection that is not admitted, or blocked",
        ),
    ] {
        sink.put(
            Builder::new(Table::ConntrackState, 190, allowed)
                .ct_state(bits | TRACKED, 0)
                .is(&CT_ADMITTED, 1)
                .is(&CT_BLOCKED, 0)
                .set(&register::ADMITTED_REPLY, 1)
                .goto(Table::Routing),
        )?;
        sink.put(Builder::new(Table::ConntrackState, 180, denied).ct_state(bits | TRACKED, 0).end())?;
    }
    Ok(())
}

fn originals(sink: &mut Sink) -> Result<(), Refusal> {
    for family in IP_FAMILIES {
        let tcp = |priority, why| {
            Builder::new(Table::ConntrackState, priority, why).field(Field::EthType, family).field(Field::IpProto, TCP)
        };
        sink.put(
            tcp(170, "an admitted TCP connection meets policy again").is(&CT_ADMITTED, 1).goto(Table::ServiceAffinity),
        )?;
        sink.put(
            tcp(160, "TCP that is not admitted starts with a SYN")
                .masked(Field::TcpFlags, SYN.0, SYN.1)
                .goto(Table::ServiceAffinity),
        )?;
        sink.put(tcp(150, "TCP that is not admitted and no SYN").end())?;
        sink.put(
            Builder::new(Table::ConntrackState, 100, "everything else in the original direction meets policy")
                .field(Field::EthType, family)
                .ct_state(state::TRACKED, 0)
                .goto(Table::ServiceAffinity),
        )?;
    }
    Ok(())
}
