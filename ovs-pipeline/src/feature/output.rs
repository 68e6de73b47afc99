//! Admission and the way out.
//!
//! The commit here is the only place that admits a connection: every policy that applies on this node has allowed by now.

use openflow::{Action, Ct, Field};

use super::conntrack::state;
use crate::flow::{Builder, IP_FAMILIES, Refusal, Sink};
use crate::register::{self, CT_ADMITTED, CT_BLOCKED};
use crate::table::Table;

pub(crate) fn base(sink: &mut Sink) -> Result<(), Refusal> {
    sink.put(
        Builder::new(Table::Commit, 200, "replies change nothing about their connection")
            .is(&register::ADMITTED_REPLY, 1)
            .goto(Table::Output),
    )?;
    sink.put(
        Builder::new(Table::Commit, 180, "re-examination admits no connection that has ended meanwhile")
            .is(&register::SUPPRESS_OUTPUT, 1)
            .ct_state(state::NEW | state::TRACKED, 0)
            .end(),
    )?;
    sink.put(
        Builder::new(Table::Commit, 150, "admitted already, and not blocked")
            .is(&CT_ADMITTED, 1)
            .is(&CT_BLOCKED, 0)
            .goto(Table::Output),
    )?;
    for family in IP_FAMILIES {
        let receipt = Action::copy(register::LOOK.subfield(), register::CT_LOOK.subfield());
        sink.put(
            Builder::new(
                Table::Commit,
                190,
                "re-examination that allows leaves its number: who sent it knows that it was not lost",
            )
            .field(Field::EthType, family)
            .is(&register::SUPPRESS_OUTPUT, 1)
            .is(&CT_ADMITTED, 1)
            .is(&CT_BLOCKED, 0)
            .reads(&register::LOOK)
            .writes(&register::CT_LOOK)
            .act(Action::Ct(Box::new(Ct { exec: vec![receipt], ..Ct::commit(register::CT_ZONE) })))
            .goto(Table::Output),
        )?;
        sink.put(
            Builder::new(
                Table::Commit,
                100,
                "every policy has allowed: the connection is admitted, or no longer blocked",
            )
            .field(Field::EthType, family)
            .writes(&CT_ADMITTED)
            .writes(&CT_BLOCKED)
            .writes(&register::CT_INGRESS_RULE)
            .writes(&register::CT_EGRESS_RULE)
            .reads(&register::INGRESS_RULE)
            .reads(&register::EGRESS_RULE)
            .act(Action::Ct(Box::new(Ct { exec: admission(), ..Ct::commit(register::CT_ZONE) })))
            .goto(Table::Output),
        )?;
    }
    sink.put(Builder::new(Table::Output, 200, "re-examination sends nothing").is(&register::SUPPRESS_OUTPUT, 1).end())?;
    sink.put(
        Builder::new(Table::Output, 100, "out")
            .act(Action::OutputReg { source: register::OUTPUT_PORT.field.whole(), max_len: u16::MAX })
            .end(),
    )
}

/// Marks the connection admitted and not blocked, and notes the rules that admitted it.
fn admission() -> Vec<Action> {
    vec![
        CT_ADMITTED.write(1),
        CT_BLOCKED.write(0),
        Action::copy(register::INGRESS_RULE.subfield(), register::CT_INGRESS_RULE.subfield()),
        Action::copy(register::EGRESS_RULE.subfield(), register::CT_EGRESS_RULE.subfield()),
    ]
}
