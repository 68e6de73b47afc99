//! What a draw is: where a process stops and what happens meanwhile; as a line that people read and that repeats it.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};

use super::coverage::Coverage;
use crate::oracle::random::Random;

/// How many pods may come and go.
pub const SLOTS: usize = 4;
/// How many policies there are to change to; number 0 is none.
pub const POLICIES: usize = 6;
/// Passings beyond this are not drawn.
const PASSINGS: u32 = 8;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A pod is added through CNI.
    Add(usize),
    /// A pod is removed through CNI.
    Remove(usize),
    /// The same, its network namespace being gone already.
    Destroy(usize),
    /// The same, the runtime having forgotten its network namespace, which is there.
    Forget(usize),
    /// The same while there is no agent; it is started afterwards.
    Alone(usize),
    /// A pod gets the other of two sets of labels.
    Relabel(usize),
    /// Another policy takes the place of what is there; 0 removes it.
    Policy(usize),
    /// The controller is killed and started again.
    Controller,
    /// ovs-vswitchd is killed and started again.
    Vswitchd,
    /// The agent is killed and started again.
    Agent,
    /// The agent is killed, loses what it kept on disk, and is started again.
    Forgetful,
    /// Another node joins the cluster, or leaves it.
    Peer,
    /// Somebody takes addresses, routes and rules from the node and changes its settings, and the agent is killed and started again.
    Host,
    /// The agent is killed, its certificate is one that is to be renewed at once, and it is started again.
    Renew,
    /// The disk on which the agent keeps what it keeps is full while policies change.
    Full,
}

impl Event {
    /// What it is, whatever it is done to: the same kind passes the same points.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Remove(_) => "remove",
            Self::Destroy(_) => "destroy",
            Self::Forget(_) => "forget",
            Self::Alone(_) => "alone",
            Self::Relabel(_) => "relabel",
            Self::Policy(_) => "policy",
            Self::Controller => "controller",
            Self::Vswitchd => "vswitchd",
            Self::Agent => "agent",
            Self::Forgetful => "forgetful",
            Self::Peer => "peer",
            Self::Host => "host",
            Self::Renew => "renew",
            Self::Full => "full",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let mut words = text.split_whitespace();
        let kind = words.next().context("an event is missing between two commas")?;
        let number = words.next().map(str::parse::<usize>).transpose().with_context(|| format!("`{text}`"))?;
        let below = |end: usize| {
            let number = number.with_context(|| format!("`{text}`: a number belongs behind it"))?;
            ensure!(number < end, "`{text}`: below {end}");
            Ok(number)
        };
        Ok(match kind {
            "add" => Self::Add(below(SLOTS)?),
            "remove" => Self::Remove(below(SLOTS)?),
            "destroy" => Self::Destroy(below(SLOTS)?),
            "forget" => Self::Forget(below(SLOTS)?),
            "alone" => Self::Alone(below(SLOTS)?),
            "relabel" => Self::Relabel(below(SLOTS)?),
            "policy" => Self::Policy(below(POLICIES)?),
            "controller" => Self::Controller,
            "vswitchd" => Self::Vswitchd,
            "agent" => Self::Agent,
            "forgetful" => Self::Forgetful,
            "peer" => Self::Peer,
            "host" => Self::Host,
            "renew" => Self::Renew,
            "full" => Self::Full,
            _ => bail!("`{text}` is no event"),
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(number)
            | Self::Remove(number)
            | Self::Destroy(number)
            | Self::Forget(number)
            | Self::Alone(number)
            | Self::Relabel(number)
            | Self::Policy(number) => write!(formatter, "{} {number}", self.kind()),
            _ => formatter.write_str(self.kind()),
        }
    }
}

/// An event, and whether it is waited for until every node obeys before the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub event: Event,
    pub waited_for: bool,
}

/// What there is when a draw begins, as far as draws change it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// For each pod that is there, which of the two sets of labels it has.
    pub pods: [Option<bool>; SLOTS],
    /// The policy.
    pub policy: usize,
    /// Whether the other node has joined.
    pub peer: bool,
}

impl Start {
    /// What there is after an event.
    pub fn after(&mut self, event: Event) {
        match event {
            Event::Add(slot) => self.pods[slot] = Some(false),
            Event::Remove(slot) | Event::Destroy(slot) | Event::Forget(slot) | Event::Alone(slot) => {
                self.pods[slot] = None;
            }
            Event::Relabel(slot) => self.pods[slot] = self.pods[slot].map(|label| !label),
            Event::Policy(number) => self.policy = number,
            Event::Peer => self.peer = !self.peer,
            // After it the policy is another one.
            Event::Full => self.policy = next_policy(self.policy),
            Event::Controller | Event::Vswitchd | Event::Agent | Event::Forgetful | Event::Host | Event::Renew => {}
        }
    }

    fn slots(&self, there: bool) -> Vec<usize> {
        (0..SLOTS).filter(|slot| self.pods[*slot].is_some() == there).collect()
    }
}

/// The policy that is changed to on a full disk.
pub fn next_policy(policy: usize) -> usize {
    (policy + 1) % POLICIES
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
            None => (coverage.choose(random), None, random.percent(15)),
        };
        let mut at = start.clone();
        let count = random.between(1, 4);
        let passes = coverage.kinds(&point);
        let decisive = random.below(count);
        let mut steps = Vec::new();
        let mut most = 1;
        for number in 0..count {
            let mut event = event(random, &at, None);
            if number == decisive && !passes.is_empty() {
                let (kind, times) = random.pick(&passes);
                event = event_of(random, &mut at, &mut steps, kind).unwrap_or(event);
                most = times;
            }
            at.after(event);
            steps.push(Step { event, waited_for: random.percent(60) });
        }
        let later = random.percent(50);
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

/// An event that can happen now, of a kind when one is given.
fn event(random: &mut Random, at: &Start, kind: Option<&str>) -> Event {
    loop {
        let (free, there) = (at.slots(false), at.slots(true));
        let event = match random.below(25) {
            0..=4 if !free.is_empty() => Event::Add(random.pick(&free)),
            5..=6 if !there.is_empty() => Event::Remove(random.pick(&there)),
            7 if !there.is_empty() => Event::Forget(random.pick(&there)),
            8 if !there.is_empty() => Event::Destroy(random.pick(&there)),
            9..=10 if !there.is_empty() => Event::Relabel(random.pick(&there)),
            11..=15 => Event::Policy((at.policy + random.between(1, POLICIES - 1)) % POLICIES),
            16 => Event::Controller,
            17 => Event::Vswitchd,
            18 => Event::Agent,
            19 if random.percent(30) => Event::Forgetful,
            20 => Event::Peer,
            21 if random.percent(50) => Event::Host,
            22 if random.percent(50) => Event::Full,
            24 if random.percent(50) => Event::Renew,
            23 if random.percent(50) && !there.is_empty() => Event::Alone(random.pick(&there)),
            _ => continue,
        };
        if kind.is_none_or(|kind| kind == event.kind()) {
            return event;
        }
    }
}

/// An event of this kind; what it needs happens before it.
fn event_of(random: &mut Random, at: &mut Start, steps: &mut Vec<Step>, kind: &str) -> Option<Event> {
    let needed = match kind {
        "add" if at.slots(false).is_empty() => Some(Event::Remove(random.below(SLOTS))),
        "remove" | "destroy" | "forget" | "alone" | "relabel" if at.slots(true).is_empty() => {
            Some(Event::Add(random.below(SLOTS)))
        }
        _ => None,
    };
    if let Some(event) = needed {
        at.after(event);
        steps.push(Step { event, waited_for: true });
    }
    Some(event(random, at, Some(kind)))
}

#[cfg(test)]
mod tests {
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
    fn what_is_no_draw_is_refused() {
        for text in
            ["", "add 1", "| jump", "| add", "| add 9", "9 | agent", "policy | agent", "policy 99 | agent", "| add x"]
        {
            assert!(Draw::parse(None, text).is_err(), "{text:?}");
        }
        assert!(Draw::parse(Some("no.such.point"), "| agent").is_err());
    }
}
