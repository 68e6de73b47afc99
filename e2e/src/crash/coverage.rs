//! Which points were hit, and which kinds of events are known to pass which points: what the next draw is chosen by.

use std::collections::{BTreeMap, BTreeSet};

use super::event::KINDS;
use crate::oracle::random::Random;

/// Points that only one kind of event passes, which was made for them: known before any draw.
const MADE_FOR: &[(&str, &str)] = &[
    ("note.write.beside", "without-ovsdb"),
    ("note.write.renamed", "without-ovsdb"),
    ("plugin.note.removed", "stalled"),
];

/// What is known.
#[derive(Debug)]
pub struct Coverage {
    hit: BTreeSet<&'static str>,
    /// For each point the kinds of events during which it was passed, and how often at most.
    passed: BTreeMap<&'static str, BTreeMap<&'static str, u32>>,
    /// How often each kind of event has happened.
    happened: BTreeMap<&'static str, usize>,
    /// How often a point was chosen, and no process stopped there.
    missed: BTreeMap<&'static str, usize>,
}

impl Default for Coverage {
    fn default() -> Self {
        let mut passed: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (point, kind) in MADE_FOR {
            passed.entry(*point).or_default().insert(*kind, 1);
        }
        let happened = KINDS.iter().map(|kind| (*kind, 0)).collect();
        Self { hit: BTreeSet::new(), passed, happened, missed: BTreeMap::new() }
    }
}

impl Coverage {
    /// The points at which a process has stopped.
    pub fn hit(&self) -> &BTreeSet<&'static str> {
        &self.hit
    }

    /// Whether a process has stopped there.
    pub fn has_hit(&self, point: &str) -> bool {
        self.hit.contains(point)
    }

    /// A process stopped there, or did not although it was to.
    pub fn note(&mut self, point: &str, stopped: bool) {
        let Some(point) = known(point) else { return };
        if stopped {
            self.hit.insert(point);
        } else {
            *self.missed.entry(point).or_default() += 1;
        }
    }

    /// During an event of this kind these points were passed, a line each.
    pub fn passed(&mut self, kind: &'static str, trace: &str) {
        *self.happened.entry(kind).or_default() += 1;
        let mut counts: BTreeMap<&'static str, u32> = BTreeMap::new();
        for point in trace.lines().filter_map(known) {
            *counts.entry(point).or_default() += 1;
        }
        for (point, count) in counts {
            let most = self.passed.entry(point).or_default().entry(kind).or_default();
            *most = count.max(*most);
        }
    }

    /// The kinds of events that are known to pass a point, and how often at most.
    pub fn kinds(&self, point: &str) -> Vec<(&'static str, u32)> {
        self.passed.get(point).into_iter().flatten().map(|(kind, most)| (*kind, *most)).collect()
    }

    /// How often each kind of event has happened.
    #[cfg(test)]
    pub fn happened(&self) -> &BTreeMap<&'static str, usize> {
        &self.happened
    }

    /// The kinds that have happened least often: what they pass is known least.
    pub fn least_known(&self) -> Vec<&'static str> {
        least(self.happened.iter().map(|(kind, count)| (*kind, *count)))
    }

    /// A point: mostly one that has not been hit and is known to be passed, of these one that was missed least often; else any.
    pub fn choose(&self, random: &mut Random) -> &'static str {
        let fresh = fault::POINTS.iter().copied().filter(|point| !self.hit.contains(point));
        let reachable = fresh.filter(|point| self.passed.contains_key(point));
        let next = least(reachable.map(|point| (point, self.missed.get(point).copied().unwrap_or(0))));
        if !next.is_empty() && random.percent(70) { random.pick(&next) } else { random.pick(fault::POINTS) }
    }
}

/// Those that were counted least often.
fn least(counted: impl Iterator<Item = (&'static str, usize)>) -> Vec<&'static str> {
    let counted: Vec<_> = counted.collect();
    let fewest = counted.iter().map(|(_, count)| *count).min();
    counted.into_iter().filter(|(_, count)| Some(*count) == fewest).map(|(name, _)| name).collect()
}

fn known(name: &str) -> Option<&'static str> {
    fault::POINTS.iter().copied().find(|point| *point == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_that_are_passed_and_were_not_hit_come_first() {
        let mut coverage = Coverage::default();
        let (wanted, other) = (fault::POINTS[1], fault::POINTS[0]);
        coverage.passed("add", &format!("{wanted}\n{wanted}\n{other}\nunknown.point.name\n"));
        assert_eq!(coverage.kinds(wanted), [("add", 2)]);
        coverage.note(other, true);
        let mut random = Random::new(1);
        let fresh = |point: &str| point == wanted || MADE_FOR.iter().any(|(made_for, _)| *made_for == point);
        let chosen: Vec<_> = (0..100).map(|_| coverage.choose(&mut random)).filter(|point| fresh(point)).collect();
        assert!(chosen.len() > 50 && chosen.contains(&wanted), "{chosen:?} of 100");
        assert_eq!(coverage.hit().len(), 1);
    }

    #[test]
    fn points_that_an_event_was_made_for_are_known_before_it_happens() {
        let coverage = Coverage::default();
        for (point, kind) in MADE_FOR {
            assert!(fault::POINTS.contains(point) && KINDS.contains(kind), "{point} {kind}");
            assert_eq!(coverage.kinds(point), [(*kind, 1)]);
        }
    }

    #[test]
    fn a_point_that_is_missed_again_and_again_stays_in_turn() {
        let mut coverage = Coverage::default();
        coverage.passed("add", &fault::POINTS.join("\n"));
        let (wanted, other) = (fault::POINTS[1], fault::POINTS[0]);
        for point in &fault::POINTS[2..] {
            coverage.note(point, true);
        }
        let mut random = Random::new(1);
        let mut chosen_of =
            |coverage: &Coverage, wanted: &str| (0..100).filter(|_| coverage.choose(&mut random) == wanted).count();
        (0..30).for_each(|_| coverage.note(wanted, false));
        let chosen = chosen_of(&coverage, other);
        assert!(chosen > 50, "{chosen} of 100: it was missed less often");
        (0..31).for_each(|_| coverage.note(other, false));
        let chosen = chosen_of(&coverage, wanted);
        assert!(chosen > 50, "{chosen} of 100");
    }

    #[test]
    fn what_has_not_happened_yet_comes_first() {
        let mut coverage = Coverage::default();
        assert_eq!(coverage.least_known().len(), KINDS.len());
        for kind in &KINDS[1..] {
            coverage.passed(kind, "");
        }
        assert_eq!(coverage.least_known(), [KINDS[0]]);
    }
}
