//! How far the switch is, and how long it took: what is reported upstream and shown to people.

use std::time::{Duration, Instant};

use apis::query::{AgentRealised, Failure, Timing};

use super::Agent;
use crate::event::Decoded;
use crate::report;
use crate::state::FrameName;

/// How far the switch is.
#[derive(Debug, Default)]
pub struct Progress {
    /// The controller that state is taken from.
    pub(super) controller: Option<String>,
    /// Of the frame whose changes are under way: when its last object had been decoded.
    under_way: Option<(Instant, Timing)>,
    /// What was last reported.
    reported: Option<(FrameName, Vec<Failure>)>,
    /// Of the last frame that changed something and that the switch obeys.
    timing: Timing,
}

impl Progress {
    /// A frame is here. What comes while another is under way is part of that: the time counts from the first.
    pub(super) fn frame(&mut self, decoded: Decoded) {
        let decode = milliseconds(decoded.last.duration_since(decoded.first));
        self.under_way.get_or_insert((decoded.last, Timing { decode, ..Timing::default() }));
    }

    pub(super) fn planned(&mut self) {
        if let Some((decoded, timing)) = &mut self.under_way {
            timing.plan = milliseconds(decoded.elapsed());
        }
    }

    pub(super) fn committed(&mut self, changes: usize) {
        if let Some((decoded, timing)) = &mut self.under_way {
            timing.committed = milliseconds(decoded.elapsed());
            timing.changes += changes;
        }
    }

    pub(super) fn realised(&mut self) {
        if let Some((decoded, timing)) = &mut self.under_way {
            timing.realised = milliseconds(decoded.elapsed());
        }
    }

    /// Nothing is under way any more; how long it took when flows changed.
    fn settled(&mut self) -> Option<Duration> {
        let (_, timing) = self.under_way.take().filter(|(_, timing)| timing.changes > 0)?;
        self.timing = timing;
        Some(Duration::from_secs_f64(timing.realised / 1000.0))
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

impl Agent {
    /// The switch obeys what is planned: says so, once.
    pub(super) fn report(&mut self) {
        if let Some(time) = self.progress.settled() {
            self.parts.metrics.realised_seconds.took(time);
        }
        let late = self.late_pods();
        let Some(frame) = &self.parts.state.frame else {
            return;
        };
        let mut failures = report::failures(&self.planner, &self.parts.state);
        failures.extend(late);
        let same =
            self.progress.reported.as_ref().is_some_and(|(before, failed)| before == frame && *failed == failures);
        if !same {
            self.parts.uplink.realised(frame, report::realised(frame, &failures));
            self.progress.reported = Some((frame.clone(), failures));
        }
    }

    /// What the switch obeys, for people.
    pub(super) fn realised_answer(&self) -> AgentRealised {
        let Some((frame, failures)) = &self.progress.reported else {
            return AgentRealised::default();
        };
        AgentRealised {
            frame: Some(frame.number),
            version: frame.version.source.clone(),
            failures: failures.clone(),
            timing: self.progress.timing,
        }
    }
}
