//! How far the switch is, and how long it took: what is reported upstream and shown to people.

use std::time::Instant;

use apis::query::{AgentRealised, Failure, Timing};

use super::Agent;
use crate::report;
use crate::state::FrameName;

/// How far the switch is.
#[derive(Debug, Default)]
pub struct Progress {
    pub(super) controller_connected: bool,
    /// When the last object of the newest frame had been decoded.
    pub(super) decoded: Option<Instant>,
    /// Of the change under way.
    under_way: Timing,
    /// What was last reported.
    reported: Option<(FrameName, Vec<Failure>)>,
    /// Of the last change that the switch obeys.
    timing: Timing,
}

impl Progress {
    fn since_decoded(&self) -> f64 {
        self.decoded.map_or(0.0, |decoded| decoded.elapsed().as_secs_f64() * 1000.0)
    }

    pub(super) fn planned(&mut self) {
        self.under_way.plan = self.since_decoded();
    }

    pub(super) fn committed(&mut self, changes: usize) {
        self.under_way.committed = self.since_decoded();
        self.under_way.changes += changes;
    }

    pub(super) fn realised(&mut self) {
        self.under_way.realised = self.since_decoded();
        self.timing = std::mem::take(&mut self.under_way);
    }
}

impl Agent {
    /// The switch obeys what is planned: says so, once.
    pub(super) fn report(&mut self) {
        let Some(frame) = &self.parts.state.frame else {
            return;
        };
        let failures = report::failures(&self.planner, &self.parts.state);
        let same =
            self.progress.reported.as_ref().is_some_and(|(before, failed)| before == frame && *failed == failures);
        if !same {
            self.parts.uplink.realised(report::realised(frame, &failures));
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
