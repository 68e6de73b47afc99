//! What the controller counts and measures. A [`Metrics`] is a cheap handle to all of it.
//!
//! What happens is counted where it happens. What is (objects, sessions) is looked up when somebody asks: `GET /metrics` is a
//! question as any other. `docs/metrics.md` is generated from here.

use metrics::{Counter, Counters, Declaration, Gauge, Gauges, Registered};

use crate::plan::Plan;
use crate::publish::Publish;
use crate::state::State;

/// The handles.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Changes of the source that were taken in.
    pub source_events: Counter,
    /// The version up to which everything in the source is known.
    pub source_version: Gauge,
    /// Whether the source is in sync.
    pub source_in_sync: Gauge,
    /// What is wrong with the source now.
    pub source_errors: Gauge,
    /// What there is in the source, by kind.
    pub source_objects: Gauges<1>,
    /// What was planned from it, by kind.
    pub plan_objects: Gauges<1>,
    /// Bringing the plan up to date, each time.
    pub plan_seconds: metrics::Duration,
    /// When the controller's own certificate expires.
    pub certificate_until_seconds: Gauge,
    /// Connections that showed no certificate that counts.
    pub connections_refused: Counter,
    /// Streams from agents that began.
    pub sessions_opened: Counter,
    /// Agents that have a stream.
    pub sessions: Gauge,
    /// What agents said, by what it is.
    pub agent_messages: Counters<1>,
    /// Objects that wait to be told, over all agents.
    pub pending_changes: Gauge,
    /// Agents whose switch does not obey the newest version yet.
    pub nodes_behind: Gauge,
    /// Objects that agents could not realise.
    pub failures: Gauge,
    /// Reports of pods that do not count.
    pub refused_reports: Gauge,
    /// Memory, resident now and at most.
    pub memory_bytes: Gauges<1>,
    registered: Registered,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut declare = Declaration::new("ferrant_controller");
        Self {
            source_events: declare.counter("source_events", "Changes of the source's objects that were taken in."),
            source_version: declare.gauge(
                "source_version",
                "The version up to which everything in the source is known (a directory's is a change time in nanoseconds).",
            ),
            source_in_sync: declare.gauge("source_in_sync", "1 while everything in the source is known."),
            source_errors: declare.gauge("source_errors", "What is wrong with the source now; GET /v1/errors names it."),
            source_objects: declare.gauges("source_objects", ["kind"], "Valid objects in the source, by kind."),
            plan_objects: declare.gauges(
                "plan_objects",
                ["kind"],
                "What was planned: identities, endpoints, groups, rules.",
            ),
            plan_seconds: declare.duration("plan_seconds", "Bringing the plan up to what changed, once."),
            certificate_until_seconds: declare.gauge(
                "certificate_until_seconds",
                "When the controller's own certificate expires, in seconds since 1970; 0 without one (--insecure).",
            ),
            connections_refused: declare.counter(
                "connections_refused",
                "Connections to --listen that were refused: no TLS, or no certificate of this CA that counts.",
            ),
            sessions_opened: declare.counter("sessions_opened", "Streams of agents that began."),
            sessions: declare.gauge("sessions", "Agents that have a stream now."),
            agent_messages: declare.counters(
                "agent_messages",
                ["kind"],
                "What agents said: pod (a pod got or lost its addresses), acknowledge, realised.",
            ),
            pending_changes: declare.gauge("pending_changes", "Objects that agents have yet to be told of, in sum."),
            nodes_behind: declare.gauge(
                "nodes_behind",
                "Connected agents whose switch does not obey the newest version of the source yet.",
            ),
            failures: declare.gauge("failures", "Objects that agents say they could not realise, in sum."),
            refused_reports: declare.gauge("refused_reports", "Reports of pods that do not count; /v1/errors names them."),
            memory_bytes: declare.gauges("memory_bytes", ["at"], "Resident memory, now and at its peak."),
            registered: declare.done(),
        }
    }
}

impl Metrics {
    /// All values, as OpenMetrics text.
    pub fn text(&self) -> String {
        let memory = metrics::memory();
        for (at, bytes) in [("now", memory.resident), ("peak", memory.peak)] {
            self.memory_bytes.with([at]).set(bytes.cast_signed());
        }
        self.registered.text()
    }

    /// The list of them.
    pub fn page(&self) -> String {
        metrics::page::list(self.registered.described())
    }

    /// Looks up what is.
    pub fn measure(&self, state: &State, plan: &Plan, publish: &Publish) {
        let level = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let source = state.source();
        self.source_version.set(source.version.cast_signed());
        self.source_in_sync.set(source.in_sync.into());
        self.source_errors.set(level(source.errors.len()));
        for (kind, count) in state.counts() {
            self.source_objects.with([kind]).set(level(count));
        }
        for (kind, count) in plan.counts() {
            self.plan_objects.with([kind]).set(level(count));
        }
        let sessions = publish.sessions();
        self.sessions.set(level(sessions.len()));
        self.pending_changes.set(level(sessions.values().map(|session| session.pending()).sum()));
        let obeys = |version: u64| version >= source.version;
        let behind = sessions.values().filter(|session| !session.realised().is_some_and(|frame| obeys(frame.version)));
        self.nodes_behind.set(level(behind.count()));
        let failures = sessions.values().filter_map(|session| session.realised()).map(|frame| frame.failures.len());
        self.failures.set(level(failures.sum()));
        self.refused_reports.set(level(state.refused_reports().len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_lists_every_metric() {
        let page = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md"));
        metrics::page::hold(page, "ferrant-controller", &Metrics::default().page()).unwrap();
    }

    #[test]
    fn what_is_not_there_yet_is_zero() {
        let metrics = Metrics::default();
        metrics.measure(&State::default(), &Plan::default(), &Publish::default());
        let text = metrics.text();
        for line in ["ferrant_controller_source_in_sync 0", "ferrant_controller_source_objects{kind=\"Pod\"} 0"] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
