//! Which points were hit, and which kinds of events are known to pass which points: what the next draw is chosen by.

use std::collections::{BTreeMap, BTreeSet};

use crate::oracle::random::Random;

/// What is known.
#[derive(Debug, Default)]
pub struct Coverage {
    hit: BTreeSet<&'static str>,
    /// For each point the kinds of events during which it was passed, and how often at most.
    passed: BTreeMap<&'static str, BTreeMap<&'static str, u32>>,
    /// How often a point was chosen and not passed since it was last hit.
    missed: BTreeMap<String, usize>,
}

impl Coverage {
    /// The points at which a process has stopped.
    pub fn hit(&self) -> &BTreeSet<&'static str> {
        &self.hit
    }

    /// A process stopped there, or did not although it was to.
    pub fn note(&mut self, point: &str, stopped: bool) {
        if let (true, Some(known)) = (stopped, known(point)) {
            self.hit.insert(known);
            self.missed.remove(point);
        } else {
            *self.missed.entry(point.to_owned()).or_default() += 1;
        }
    }

    /// During an event of this kind these points were passed, a line each.
    pub fn passed(&mut self, kind: &'static str, trace: &str) {
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

    /// A point: mostly one that has not been hit and is known to be passed, else any.
    pub fn choose(&self, random: &mut Random) -> String {
        let reachable = |point: &&str| self.passed.contains_key(point);
        let tired = |point: &&str| self.missed.get(*point).is_some_and(|missed| *missed > 6);
        let fresh: Vec<&str> = fault::POINTS
            .iter()
            .copied()
            .filter(|point| !self.hit.contains(point) && reachable(point) && !tired(point))
            .collect();
        if !fresh.is_empty() && random.percent(70) {
            return random.pick(&fresh).to_owned();
        }
        random.pick(fault::POINTS).to_owned()
    }
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
        let chosen = (0..100).filter(|_| coverage.choose(&mut random) == wanted).count();
        assert!(chosen > 50, "{chosen} of 100");
        assert_eq!(coverage.hit().len(), 1);
    }
}
