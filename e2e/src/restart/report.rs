//! What is said of a run: each kill in words, and the figures.

use super::scene::Scene;
use super::traffic::Seen;
use super::{Kind, Measured, Round, kill};
use crate::bench::figure::{Figures, Target, largest, median, milliseconds};

/// What a bare switch's silence is allowed to be multiplied with.
const GAP_TO_FLOOR: f64 = 1.3;

/// One kill, for people.
pub fn in_words(round: &Round) -> String {
    let Round { control, seen, back, failover } = round;
    let served = failover.map_or(String::new(), |failover| {
        let (named, obeyed) = (milliseconds(failover.named), milliseconds(failover.obeyed));
        format!("; agents name the other controller after {named:.1} ms, obey a policy made since after {obeyed:.1} ms")
    });
    format!(
        "{} of {} lost, silent for {:.0} ms ({:.0} ms undisturbed), all as it should be after {:.0} ms, {} of {} denied ones arrived{served}",
        seen.lost,
        seen.sent,
        milliseconds(seen.silence),
        milliseconds(control.silence),
        milliseconds(*back),
        seen.forbidden,
        seen.denied_sent,
    )
}

/// The figures of all kills; what is promised of time is wrong when it does not hold, if `strict`.
pub fn figures(measured: &Measured, scene: &Scene, kind: Kind, strict: bool, figures: &mut Figures) {
    let rounds = &measured.rounds;
    let total = rounds.iter().map(|round| round.seen.with(round.control)).fold(Seen::default(), Seen::with);
    let lost = rounds.iter().map(|round| round.seen.lost).sum::<u64>();
    let forbidden = total.forbidden + scene.late_forbidden as u64;
    if forbidden > 0 {
        figures.wrong(format!("{forbidden} packets arrived that policy denies"));
    }
    figures.add("lost", "packets lost after kills", lost as f64, "");
    figures.promise("forbidden", "packets that arrived and are denied", forbidden as f64, "", Target::AtMost(0.0));
    figures.add("sent", "allowed packets sent", total.sent as f64, "");
    figures.add("denied_sent", "denied packets sent", total.denied_sent as f64, "");
    let control: Vec<Seen> = rounds.iter().map(|round| round.control).collect();
    figures.add("control_lost", "packets lost undisturbed", control.iter().map(|seen| seen.lost as f64).sum(), "");
    gaps(measured, kind, strict, figures);
    failovers(measured, figures);
    let back: Vec<f64> = rounds.iter().map(|round| milliseconds(round.back)).collect();
    let (middle, what) = (median(&back), "kill to all as it should be, median");
    match kind.back_within().map(|bound| milliseconds(scene.pace.allow(bound))) {
        Some(bound) => {
            figures.promise("back_ms", what, middle, "ms", Target::AtMost(bound));
            if strict && middle > bound {
                figures.wrong(format!("all is as it should be after {middle:.0} ms, {bound:.0} ms are promised"));
            }
        }
        None => figures.add("back_ms", what, middle, "ms"),
    }
    figures.add("back_worst_ms", "the same, worst", largest(&back), "ms");
    figures.add("kills", "kills", rounds.len() as f64, "");
    figures.add("pods_added", "pods added meanwhile", scene.late as f64, "");
}

/// How long nothing came after kills, and what there is to compare it with.
fn gaps(measured: &Measured, kind: Kind, strict: bool, figures: &mut Figures) {
    let silent = |wiped: bool| -> Vec<f64> {
        let of = |(number, _): &(u16, &Round)| (kind == Kind::Ovsdb && kill::wipes(*number)) == wiped;
        (1..).zip(&measured.rounds).filter(of).map(|(_, round)| milliseconds(round.seen.silence)).collect()
    };
    let gap = median(&silent(false));
    figures.add("gap_ms", "longest silence after a kill, median", gap, "ms");
    figures.add("gap_worst_ms", "the same, worst", largest(&silent(false)), "ms");
    if kind == Kind::Ovsdb {
        figures.add("wiped_gap_ms", "the same where the database was lost too, median", median(&silent(true)), "ms");
    }
    let undisturbed: Vec<f64> = measured.rounds.iter().map(|round| milliseconds(round.control.silence)).collect();
    if measured.floors.is_empty() {
        figures.add("floor_ms", "longest silence undisturbed, median", median(&undisturbed), "ms");
        return;
    }
    let floor = median(&measured.floors);
    figures.add("floor_ms", "the same of a bare switch with ten flows, median", floor, "ms");
    if kind == Kind::Vswitchd {
        figures.promise("gap_to_floor", "gap to floor", gap / floor, "", Target::AtMost(GAP_TO_FLOOR));
        if strict && gap / floor > GAP_TO_FLOOR {
            let ratio = gap / floor;
            figures.wrong(format!("the gap is {ratio:.2} times that of a bare switch, {GAP_TO_FLOOR} are promised"));
        }
    } else {
        figures.add("gap_to_floor", "gap to floor", gap / floor, "");
    }
    figures.add("undisturbed_ms", "longest silence undisturbed, median", median(&undisturbed), "ms");
}

/// How soon the other controller served, of those kills where one died.
fn failovers(measured: &Measured, figures: &mut Figures) {
    let failovers: Vec<_> = measured.rounds.iter().filter_map(|round| round.failover).collect();
    if failovers.is_empty() {
        return;
    }
    let named: Vec<f64> = failovers.iter().map(|failover| milliseconds(failover.named)).collect();
    let obeyed: Vec<f64> = failovers.iter().map(|failover| milliseconds(failover.obeyed)).collect();
    figures.add("named_ms", "kill to agents naming the other controller, median", median(&named), "ms");
    figures.add("named_worst_ms", "the same, worst", largest(&named), "ms");
    figures.add("obeyed_ms", "kill to a policy made since being obeyed, median", median(&obeyed), "ms");
    figures.add("obeyed_worst_ms", "the same, worst", largest(&obeyed), "ms");
}
