//! What holds when no rule decides: isolation, or the pod's posture while its identity is not known.

use openflow::Field;

use crate::flow::{Builder, Lane, Refusal, Sink, identity_of};
use crate::intent::{Direction, Isolation, Pod, Posture};
use crate::number::RuleNumber;
use crate::register::{self, Verdict};

pub(crate) fn isolation(isolation: &Isolation, sink: &mut Sink) -> Result<(), Refusal> {
    let lane = Lane::of(isolation.direction);
    sink.put(
        Builder::new(lane.default, 100, "a policy isolates this identity, and no rule allowed")
            .is(identity_of(lane.local), isolation.identity.0.into())
            .set(lane.verdict, Verdict::Drop as u128)
            .set(lane.decided, isolation.rule.0.into())
            .goto(lane.verdict_table),
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
