//! What a draw is: where a process stops and what happens meanwhile; as a line that people read and that repeats it.

use std::fmt;

use anyhow::{Context, Result, ensure};

use super::coverage::Coverage;
use super::event::{Event, OF_A_POD, POLICIES, SLOTS, Start};
use crate::oracle::random::Random;

/// Passings beyond this are not drawn.
const PASSINGS: u32 = 8;

/// An event, and whether it is waited for until every node obeys before the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub event: Event,
    pub waited_for: bool,
}

/// A draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The point, and which passing of it.
    pub point: String,
    pub passing: u32,
    /// Once more when it passes there after its restart.
    pub twice: bool,
    /// What there is at first.
    pub start: Start,
    /// What happens.
    pub steps: Vec<Step>,
}

impl Draw {
    /// The next one: a point, and events of which one is known to pass it if any is.
    pub fn next(random: &mut Random, start: &Start, coverage: &Coverage, fixed: Option<&str>) -> Result<Self> {
        let (point, passing, twice) = match fixed {
            Some(text) => {
                let (point, passing, twice) = parse_point(text)?;
                (point, Some(passing), twice)
            }
            None => (coverage.choose(random).to_owned(), None, random.percent(15)),
        };
        let mut at = start.clone();
        let count = random.between(1, 4);
        let passes = coverage.kinds(&point);
        // Where nothing is known to pass it, it may be what has hardly happened yet.
        let (kind, most) =
            if passes.is_empty() { (random.pick(&coverage.least_known()), 1) } else { random.pick(&passes) };
        let decisive = random.below(count);
        let mut steps = Vec::new();
        for number in 0..count {
            let event = if number == decisive {
                event_of(random, &mut at, &mut steps, kind)
            } else {
                Event::draw(random, &at, None)
            };
            at.after(event);
            steps.push(Step { event, waited_for: random.percent(60) });
        }
        // A point that has not been hit is hit at its first passing.
        let later = coverage.has_hit(&point) && random.percent(50);
        let drawn = if later { 1 + u32::try_from(random.below(most.min(PASSINGS) as usize)).unwrap_or(0) } else { 1 };
        Ok(Self { point, passing: passing.unwrap_or(drawn), twice, start: start.clone(), steps })
    }

    /// What a person, or a failure, wrote: `0 2b policy 1 | add 1, policy 2!, agent`. Before the bar what there is at first (pods
    /// by number, `b` for the other labels; the policy), behind it the events; `!` is not waited for.
    pub fn parse(point: Option<&str>, text: &str) -> Result<Self> {
        let (before, events) = text.split_once('|').context("events are written START | EVENT, EVENT …")?;
        let mut start = Start::default();
        let mut words = before.split_whitespace();
        while let Some(word) = words.next() {
            if word == "peer" {
                start.peer = true;
            } else if word == "policy" {
                let number = words.next().context("`policy` without a number")?;
                start.policy = number.parse().with_context(|| format!("policy {number}"))?;
                ensure!(start.policy < POLICIES, "policy {number}: below {POLICIES}");
            } else {
                let slot: usize = word.trim_end_matches('b').parse().with_context(|| format!("pod {word}"))?;
                ensure!(slot < SLOTS, "pod {word}: below {SLOTS}");
                start.pods[slot] = Some(word.ends_with('b'));
            }
        }
        let mut steps = Vec::new();
        for text in events.split(',') {
            let event = Event::parse(text.trim().trim_end_matches('!'))?;
            steps.push(Step { event, waited_for: !text.trim_end().ends_with('!') });
        }
        let (point, passing, twice) = point.map_or(Ok((String::new(), 1, false)), parse_point)?;
        Ok(Self { point, passing, twice, start, steps })
    }

    /// Whether it is the plugin that stops.
    pub fn stops_plugin(&self) -> bool {
        self.point.starts_with(fault::PLUGIN)
    }

    /// As the environment variable has it.
    pub fn armed(&self) -> String {
        format!("{}:{}", self.point, self.passing)
    }

    /// The command that repeats it.
    pub fn command(&self, seed: u64) -> String {
        let twice = if self.twice { "*2" } else { "" };
        format!("make crash N=1 SEED={seed} POINT='{}{twice}' EVENTS='{self}'", self.armed())
    }
}

impl fmt::Display for Draw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (slot, label) in self.start.pods.iter().enumerate() {
            if let Some(other) = label {
                write!(formatter, "{slot}{} ", if *other { "b" } else { "" })?;
            }
        }
        write!(formatter, "{}policy {} |", if self.start.peer { "peer " } else { "" }, self.start.policy)?;
        for (number, step) in self.steps.iter().enumerate() {
            let (comma, haste) = (if number == 0 { "" } else { "," }, if step.waited_for { "" } else { "!" });
            write!(formatter, "{comma} {}{haste}", step.event)?;
        }
        Ok(())
    }
}

/// `NAME`, `NAME:3` for the third passing, `NAME:3*2` for that of two lives of the process.
fn parse_point(text: &str) -> Result<(String, u32, bool)> {
    let (text, twice) = text.strip_suffix("*2").map_or((text, false), |once| (once, true));
    let (name, passing) = text.split_once(':').unwrap_or((text, "1"));
    let known: Vec<&str> = fault::POINTS.to_vec();
    ensure!(known.contains(&name), "there is no point {name}; known are {}", known.join(", "));
    Ok((name.to_owned(), passing.parse().with_context(|| format!("the passing in {text}"))?, twice))
}

/// An event of this kind; what it needs happens before it.
fn event_of(random: &mut Random, at: &mut Start, steps: &mut Vec<Step>, kind: &str) -> Event {
    let needed = match kind {
        "add" if at.slots(false).is_empty() => Some(Event::Remove(random.below(SLOTS))),
        _ if OF_A_POD.contains(&kind) && at.slots(true).is_empty() => Some(Event::Add(random.below(SLOTS))),
        _ => None,
    };
    if let Some(event) = needed {
        at.after(event);
        steps.push(Step { event, waited_for: true });
    }
    Event::draw(random, at, Some(kind))
}

#[cfg(test)]
mod tests {
    use super::super::event::KINDS;
    use super::*;

    #[test]
    fn a_draw_is_read_back_from_what_is_printed() {
        let mut random = Random::new(7);
        let mut start = Start::default();
        for _ in 0..200 {
            let draw = Draw::next(&mut random, &start, &Coverage::default(), None).unwrap();
            assert!(!draw.steps.is_empty());
            let twice = if draw.twice { "*2" } else { "" };
            let read = Draw::parse(Some(&format!("{}{twice}", draw.armed())), &draw.to_string()).unwrap();
            assert_eq!(read, draw);
            for step in &draw.steps {
                start.after(step.event);
            }
        }
    }

    #[test]
    fn events_fit_what_is_there() {
        let mut random = Random::new(3);
        let mut start = Start::default();
        for _ in 0..500 {
            let draw = Draw::next(&mut random, &start, &Coverage::default(), None).unwrap();
            for step in &draw.steps {
                match step.event {
                    Event::Add(slot) => assert!(start.pods[slot].is_none()),
                    Event::Remove(slot)
                    | Event::Destroy(slot)
                    | Event::Forget(slot)
                    | Event::Alone(slot)
                    | Event::WithoutOvsdb(slot)
                    | Event::WithoutVswitchd(slot)
                    | Event::Stalled(slot)
                    | Event::Relabel(slot) => {
                        assert!(start.pods[slot].is_some());
                    }
                    Event::Policy(number) => assert_ne!(number, start.policy),
                    _ => {}
                }
                start.after(step.event);
            }
        }
    }

    #[test]
    fn every_kind_of_event_is_drawn_and_read_back() {
        let mut random = Random::new(5);
        let start = Start { pods: [Some(true), None, None, None], ..Start::default() };
        for kind in KINDS {
            let event = Event::draw(&mut random, &start, Some(kind));
            assert_eq!(event.kind(), *kind);
            assert_eq!(Event::parse(&event.to_string()).unwrap(), event);
        }
    }

    #[test]
    fn what_nobody_knows_yet_is_tried_soon() {
        let (mut random, mut coverage) = (Random::new(1), Coverage::default());
        for _ in 0..200 {
            let draw = Draw::next(&mut random, &Start::default(), &coverage, None).unwrap();
            draw.steps.iter().for_each(|step| coverage.passed(step.event.kind(), ""));
        }
        let happened = coverage.happened();
        assert!(happened.values().all(|count| *count > 0), "{happened:?}");
    }

    #[test]
    fn what_is_no_draw_is_refused() {
        for text in
            ["", "add 1", "| jump", "| add", "| add 9", "9 | agent", "policy | agent", "policy 99 | agent", "| add x"]
        {
            assert!(Draw::parse(None, text).is_err(), "{text:?}");
        }
        assert!(Draw::parse(Some("no.such.point"), "| agent").is_err());
    }
}
