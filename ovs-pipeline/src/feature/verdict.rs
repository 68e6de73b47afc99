//! Rules only say; one table a direction does what they said. No verdict is a drop.
//!
//! What policy does not apply to (no local pod on that side, replies of admitted connections, the node's own packets to its
//! pods) leaves a direction's policy at its first table.

use openflow::{Action, Ct, Field};

use super::conntrack::SCTP;
use crate::PolicyMode;
use crate::flow::{Builder, IP_FAMILIES, Lane, Refusal, Sink};
use crate::intent::{Datapath, Direction};
use crate::number::RuleNumber;
use crate::register::{self, CT_ADMITTED, CT_BLOCKED, Destination, Source, Verdict};
use crate::table::Table;

pub(crate) fn base(mode: PolicyMode, sink: &mut Sink) -> Result<(), Refusal> {
    not_applicable(sink)?;
    forced(mode, sink)?;
    act(Lane::of(Direction::Egress), Table::Routing, sink)?;
    act(Lane::of(Direction::Ingress), Table::Commit, sink)
}

fn not_applicable(sink: &mut Sink) -> Result<(), Refusal> {
    let rule = RuleNumber::NOT_APPLICABLE.0.into();
    for source in [Source::Tunnel, Source::Gateway] {
        sink.put(
            Builder::new(
                Table::EgressTierRule,
                65000,
                "no pod of this node sent it: its egress policy is elsewhere, or none",
            )
            .is(&register::SOURCE, source as u128)
            .set(&register::EGRESS_VERDICT, Verdict::Allow as u128)
            .set(&register::EGRESS_RULE, rule)
            .goto(Table::EgressVerdict),
        )?;
    }
    for destination in [Destination::Tunnel, Destination::Gateway] {
        sink.put(
            Builder::new(
                Table::IngressTierRule,
                65000,
                "it is for no pod of this node: its ingress policy is elsewhere, or none",
            )
            .is(&register::DESTINATION, destination as u128)
            .set(&register::INGRESS_VERDICT, Verdict::Allow as u128)
            .set(&register::INGRESS_RULE, rule)
            .goto(Table::IngressVerdict),
        )?;
    }
    sink.put(
        Builder::new(Table::IngressTierRule, 65010, "replies of admitted connections need no policy")
            .is(&register::ADMITTED_REPLY, 1)
            .goto(Table::Commit),
    )?;
    sink.put(
        Builder::new(Table::IngressTierRule, 65005, "what the node itself sends to its own pods always passes")
            .is(&register::HOST_ORIGIN, 1)
            .is(&register::DESTINATION, Destination::Pod as u128)
            .set(&register::INGRESS_VERDICT, Verdict::Allow as u128)
            .set(&register::INGRESS_RULE, RuleNumber::HOST_ORIGIN.0.into())
            .goto(Table::IngressVerdict),
    )
}

/// Flows that take the place of policy when tests ask whether they would notice.
fn forced(mode: PolicyMode, sink: &mut Sink) -> Result<(), Refusal> {
    let verdict = match mode {
        PolicyMode::Enforce => return Ok(()),
        PolicyMode::AllowAll => Verdict::Allow,
        PolicyMode::DropAll => Verdict::Drop,
    };
    for (direction, table) in [(Direction::Egress, Table::EgressTierRule), (Direction::Ingress, Table::IngressTierRule)]
    {
        let lane = Lane::of(direction);
        sink.put(
            Builder::new(table, 60000, "policy is switched off for a test")
                .set(lane.verdict, verdict as u128)
                .set(lane.decided, RuleNumber::NONE.0.into())
                .goto(lane.verdict_table),
        )?;
    }
    Ok(())
}

fn act(lane: &Lane, next: Table, sink: &mut Sink) -> Result<(), Refusal> {
    let table = lane.verdict_table;
    sink.put(Builder::new(table, 100, "policy allows").is(lane.verdict, Verdict::Allow as u128).goto(next))?;
    sink.put(Builder::new(table, 100, "policy denies").is(lane.verdict, Verdict::Drop as u128).end())?;
    for family in IP_FAMILIES {
        if sink.datapath == Datapath::Netdev {
            sink.put(
                Builder::new(table, 120, "netdev tracks SCTP without ports: one port's denial blocks no other port")
                    .field(Field::EthType, family)
                    .field(Field::IpProto, SCTP)
                    .is(lane.verdict, Verdict::Drop as u128)
                    .end(),
            )?;
        }
        sink.put(
            Builder::new(table, 110, "policy denies a connection that it had admitted: its replies stop too")
                .field(Field::EthType, family)
                .is(lane.verdict, Verdict::Drop as u128)
                .is(&CT_ADMITTED, 1)
                .is(&CT_BLOCKED, 0)
                .writes(&CT_BLOCKED)
                .act(Action::Ct(Box::new(Ct { exec: vec![CT_BLOCKED.write(1)], ..Ct::commit(register::CT_ZONE) })))
                .end(),
        )?;
    }
    Ok(())
}
