//! What holds when no rule decides: isolation, or the pod's posture while its identity is not known.

use openflow::Field;

use crate::flow::{Builder, Lane, Refusal, Sink, identity_of};
use crate::intent::{Datapath, Direction, Isolation, Pod, Posture};
use crate::number::{IdentityNumber, RuleNumber};
use crate::register::{self, Verdict};

pub(crate) fn isolation(isolation: &Isolation, sink: &mut Sink) -> Result<(), Refusal> {
    let lane = Lane::of(isolation.direction);
    sink.put(
        Builder::new(lane.default, 100, "a policy isolates this identity, and no rule allowed")
            .is(identity_of(lane.local), isolation.identity.0.into())
            .set(lane.verdict, Verdict::Drop as u128)
            .set(lane.decided, isolation.rule.0.into())
            .goto(lane.verdict_table),
    )?;
    match sink.datapath {
        Datapath::Netdev => answers_need_a_mirror(Lane::of(isolation.direction.opposite()), isolation.identity, sink),
        Datapath::System => Ok(()),
    }
}

/// SCTP replies that meet policy because they are tracked without ports (see [`super::conntrack`]): what no mirrored rule decides
/// passes at a pod that nothing isolates in the direction of the association; at one that is isolated there, or not known, the
/// mirror was needed and the reply's own direction decides.
pub(crate) fn base(sink: &mut Sink) -> Result<(), Refusal> {
    if sink.datapath == Datapath::System {
        return Ok(());
    }
    for direction in [Direction::Egress, Direction::Ingress] {
        let lane = Lane::of(direction);
        sink.put(
            Builder::new(
                lane.rule,
                90,
                "an SCTP reply at a pod that is not isolated in the association's own direction",
            )
            .is(&register::SCTP_REPLY, 1)
            .set(lane.verdict, Verdict::Allow as u128)
            .set(lane.decided, RuleNumber::NO_ISOLATION.0.into())
            .goto(lane.verdict_table),
        )?;
        answers_need_a_mirror(lane, IdentityNumber::UNKNOWN, sink)?;
    }
    Ok(())
}

fn answers_need_a_mirror(lane: &Lane, identity: IdentityNumber, sink: &mut Sink) -> Result<(), Refusal> {
    sink.put(
        Builder::new(
            lane.rule,
            95,
            "an SCTP reply that a mirrored rule would have had to allow: its own direction decides",
        )
        .is(&register::SCTP_REPLY, 1)
        .is(identity_of(lane.local), identity.0.into())
        .goto(lane.default),
    )
}

pub(crate) fn pod(pod: &Pod, sink: &mut Sink) -> Result<(), Refusal> {
    for (direction, posture) in [(Direction::Egress, pod.egress), (Direction::Ingress, pod.ingress)] {
        let lane = Lane::of(direction);
        let (verdict, rule, why) = match posture {
            Posture::Policed => (Verdict::Allow, RuleNumber::NO_ISOLATION, "no policy isolates this pod"),
            Posture::Open => (Verdict::Allow, RuleNumber::NO_ISOLATION, "not known yet, but no policy could select it"),
            Posture::Closed => (Verdict::Drop, RuleNumber::CLOSED, "not known yet, and a policy could select it"),
        };
        let builder = Builder::new(lane.baseline, 100, why);
        let builder = match direction {
            Direction::Egress => builder.field(Field::InPort, pod.port),
            Direction::Ingress => builder.is(&register::OUTPUT_PORT, pod.port.into()),
        };
        sink.put(builder.set(lane.verdict, verdict as u128).set(lane.decided, rule.0.into()).goto(lane.verdict_table))?;
    }
    Ok(())
}
