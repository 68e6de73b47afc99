//! What the agent counts and measures. A [`Metrics`] is a cheap handle to all of it.
//!
//! What happens is counted where it happens. What is (flows, pods, memory) is looked up when somebody asks: `GET /metrics` is a
//! query as any other, the loop fills the gauges in, and the text is made outside of it. `docs/metrics.md` is generated from here.

use std::time::Duration;

use apis::cni::{ADD_PATH, CHECK_PATH, COLLECT_PATH, CONFIRM_PATH, CniError, DELETE_PATH, STATUS_PATH};
use metrics::{Counter, Counters, Declaration, Durations, Gauge, Gauges, Registered};

/// The handles.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Frames taken from the controller.
    pub frames: Counter,
    /// The last complete frame, by its number.
    pub frame: Gauge,
    /// What the switch obeys, by kind.
    pub source_version: Gauges<1>,
    /// From a frame's last decoded object to the switch obeying.
    pub realised_seconds: metrics::Duration,
    /// Planning, each time.
    pub plan_seconds: metrics::Duration,
    /// Flows that are wanted.
    pub flows_wanted: Gauge,
    /// Flows that the switch has.
    pub flows_installed: Gauge,
    /// Wanted flows that are clauses of conjunctions.
    pub conjunctive_flows: Gauge,
    /// Changes of flows that were committed.
    pub flow_changes: Counter,
    /// Bundles, by what became of them.
    pub bundles: Counters<1>,
    /// Objects that are set aside now because the switch refuses them.
    pub refused_objects: Gauge,
    /// Objects that were set aside, ever.
    pub refusals: Counter,
    /// Connections to the switch.
    pub switch_connections: Counter,
    /// Whether there is one.
    pub switch_connected: Gauge,
    /// How often all flows of the switch were read.
    pub switch_reads: Counter,
    /// What was found in the switch otherwise than it had been made, and repaired.
    pub switch_drift: Counters<1>,
    /// Streams to a controller that stood.
    pub controller_connections: Counter,
    /// Whether there is one that state is taken from.
    pub controller_connected: Gauge,
    /// When the node's certificate expires.
    pub certificate_until_seconds: Gauge,
    /// Requests of the CNI plugin.
    pub cni_calls: Counters<2>,
    /// How long they took.
    pub cni_seconds: Durations<1>,
    /// Where the time of an ADD goes.
    pub cni_phase_seconds: Durations<1>,
    /// Attached pods.
    pub pods: Gauge,
    /// Attached pods by what holds for them.
    pub pods_by_posture: Gauges<2>,
    /// Links, routes or NAT that could not be made.
    pub host_failures: Counter,
    /// The ledger's epoch.
    pub ledger_epoch: Gauge,
    /// Names in it.
    pub ledger_names: Gauge,
    /// Turns of the loop.
    pub turns: Counter,
    /// Events taken by it.
    pub events: Counter,
    /// Memory, resident now and at most.
    pub memory_bytes: Gauges<1>,
    registered: Registered,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut declare = Declaration::new("ferrant_agent");
        Self {
            frames: declare.counter("frames", "Complete frames taken from the controller."),
            frame: declare.gauge("frame", "The number of the last complete frame in its stream."),
            source_version: declare.gauges(
                "source_version",
                ["kind"],
                "The version of the source that the switch obeys (a directory's is a change time in nanoseconds).",
            ),
            realised_seconds: declare.duration(
                "realised_seconds",
                "From the last decoded object of a frame that changes flows to the switch obeying it, old megaflows gone.",
            ),
            plan_seconds: declare.duration("plan_seconds", "Turning what changed into wanted flows, once."),
            flows_wanted: declare.gauge("flows_wanted", "Flows that the switch should have."),
            flows_installed: declare.gauge("flows_installed", "Flows that the switch has, as far as it is known."),
            conjunctive_flows: declare.gauge("conjunctive_flows", "Wanted flows that are clauses of conjunctions."),
            flow_changes: declare.counter("flow_changes", "Changes of flows that the switch has committed."),
            bundles: declare.counters("bundles", ["outcome"], "Bundles of flow changes: committed, refused or lost."),
            refused_objects: declare.gauge(
                "refused_objects",
                "Objects that are left out now because the switch refuses part of them; the pods they are about are closed.",
            ),
            refusals: declare.counter("refusals", "Objects that were left out because the switch refused part of them."),
            switch_connections: declare.counter("switch_connections", "OpenFlow connections that stood."),
            switch_connected: declare.gauge("switch_connected", "1 while the switch is connected and answers."),
            switch_reads: declare.counter("switch_reads", "Complete readings of the switch's flows, to compare them."),
            switch_drift: declare.counters(
                "switch_drift",
                ["object"],
                "What was not in the switch as it had been made (flow, group, meter, port, bridge, host), found and repaired.",
            ),
            controller_connections: declare.counter("controller_connections", "Streams from a controller that stood."),
            controller_connected: declare.gauge(
                "controller_connected",
                "1 while the stream stands that state is taken from.",
            ),
            certificate_until_seconds: declare.gauge(
                "certificate_until_seconds",
                "When this node's certificate expires, in seconds since 1970; 0 without one (--insecure).",
            ),
            cni_calls: declare.counters(
                "cni_calls",
                ["command", "outcome"],
                "Requests of the CNI plugin: success, or the code of the CNI error.",
            ),
            cni_seconds: declare.durations("cni_seconds", ["command"], "How long the CNI plugin's requests took."),
            cni_phase_seconds: declare.durations(
                "cni_phase_seconds",
                ["phase"],
                "Where the time of an ADD goes: plan, the pod's half (pod), its port, from its confirmation until its flows are obeyed (flows), answer.",
            ),
            pods: declare.gauge("pods", "Attached pods."),
            pods_by_posture: declare.gauges(
                "pods_by_posture",
                ["direction", "posture"],
                "Attached pods in the switch that are policed, open or closed, by direction.",
            ),
            host_failures: declare.counter("host_failures", "Attempts to make links, routes and NAT that failed."),
            ledger_epoch: declare.gauge("ledger_epoch", "The ledger's epoch; another one means that a ledger was lost."),
            ledger_names: declare.gauge("ledger_names", "Names that have a number in the ledger."),
            turns: declare.counter("turns", "Turns of the loop."),
            events: declare.counter("events", "Events that the loop has taken."),
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

    /// The plugin was answered.
    pub fn cni_answered(&self, path: &str, error: Option<&CniError>, time: Duration) {
        let command = match path {
            ADD_PATH => "ADD",
            CONFIRM_PATH => "confirm",
            DELETE_PATH => "DEL",
            CHECK_PATH => "CHECK",
            COLLECT_PATH => "GC",
            STATUS_PATH => "STATUS",
            _ => "other",
        };
        let outcome = error.map_or_else(|| "success".to_owned(), |error| error.code.0.to_string());
        self.cni_calls.with([command, &outcome]).inc();
        self.cni_seconds.took([command], time);
    }
}

/// A number of things as a gauge takes it; there are never more than fit.
pub fn level(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_lists_every_metric() {
        let page = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md"));
        metrics::page::hold(page, "ferrant-agent", &Metrics::default().page()).unwrap();
    }

    #[test]
    fn a_refused_request_counts_under_its_code() {
        let metrics = Metrics::default();
        let full = CniError::new(apis::cni::ErrorCode::ADDRESSES_EXHAUSTED, "none left", "");
        metrics.cni_answered(ADD_PATH, Some(&full), Duration::from_millis(1));
        metrics.cni_answered(ADD_PATH, None, Duration::from_millis(1));
        let text = metrics.text();
        for line in [
            "ferrant_agent_cni_calls_total{command=\"ADD\",outcome=\"101\"} 1",
            "ferrant_agent_cni_calls_total{command=\"ADD\",outcome=\"success\"} 1",
            "ferrant_agent_cni_seconds_count{command=\"ADD\"} 2",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
