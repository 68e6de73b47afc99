//! Metrics that a daemon declares once: name, labels and help in one place, from which both the text for Prometheus and the list
//! in `docs/metrics.md` are made. No globals: whoever counts has a handle.
//!
//! It knows nothing of what is counted. A value goes from where it happens through its handle into the [`Registered`] text.

mod memory;
pub mod page;

use std::fmt::Write;
use std::sync::Arc;

use prometheus_client::metrics::counter::Counter as Total;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge as Level;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

pub use memory::{Memory, memory};

/// Counts what happens.
pub type Counter = Total;
/// Says what is.
pub type Gauge = Level;
/// What [`Registered::text`] is (OpenMetrics 1.0).
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// Metrics of one name, told apart by `N` labels.
#[derive(Debug)]
pub struct Labelled<M, const N: usize, C = fn() -> M> {
    labels: [&'static str; N],
    family: Family<Labels, M, C>,
}

impl<M, const N: usize, C: Clone> Clone for Labelled<M, N, C> {
    fn clone(&self) -> Self {
        Self { labels: self.labels, family: self.family.clone() }
    }
}

impl<M: Clone, const N: usize, C: MetricConstructor<M>> Labelled<M, N, C> {
    /// The one with these values of the labels.
    pub fn with(&self, values: [&str; N]) -> M {
        let labels = self.labels.into_iter().zip(values).map(|(label, value)| (label, value.to_owned())).collect();
        (*self.family.get_or_create(&labels)).clone()
    }

    /// Forgets all values: what is said next is all there is.
    pub fn clear(&self) {
        self.family.clear();
    }
}

/// Counters told apart by labels.
pub type Counters<const N: usize> = Labelled<Counter, N>;
/// Gauges told apart by labels.
pub type Gauges<const N: usize> = Labelled<Gauge, N>;
/// Durations told apart by labels.
pub type Durations<const N: usize> = Labelled<Histogram, N>;

/// How long something takes, in seconds.
#[derive(Clone, Debug)]
pub struct Duration(Histogram);

impl Duration {
    /// It took this long.
    pub fn took(&self, time: std::time::Duration) {
        self.0.observe(time.as_secs_f64());
    }
}

impl<const N: usize> Durations<N> {
    /// It took this long.
    pub fn took(&self, values: [&str; N], time: std::time::Duration) {
        self.with(values).observe(time.as_secs_f64());
    }
}

/// From a quarter of a millisecond to eight seconds.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}

/// One metric, for the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// As Prometheus shows it.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels.
    pub labels: Vec<&'static str>,
    /// What it says.
    pub help: &'static str,
}

/// What is being declared.
#[derive(Debug)]
pub struct Declaration {
    prefix: &'static str,
    registry: Registry,
    described: Vec<Described>,
}

impl Declaration {
    /// Nothing yet; every name begins with `prefix`.
    pub fn new(prefix: &'static str) -> Self {
        Self { prefix, registry: Registry::with_prefix(prefix), described: Vec::new() }
    }

    fn metric(
        &mut self,
        name: &'static str,
        kind: &'static str,
        labels: &[&'static str],
        help: &'static str,
        metric: impl Metric,
    ) {
        let suffix = if kind == "counter" { "_total" } else { "" };
        let shown = format!("{}_{name}{suffix}", self.prefix);
        self.described.push(Described { name: shown, kind, labels: labels.to_vec(), help });
        // The text has a full stop added to it.
        self.registry.register(name, help.trim_end_matches('.'), metric);
    }

    /// A counter; `_total` is added to its name.
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> Counter {
        let counter = Counter::default();
        self.metric(name, "counter", &[], help, counter.clone());
        counter
    }

    /// Counters told apart by labels; `_total` is added to their name.
    pub fn counters<const N: usize>(
        &mut self,
        name: &'static str,
        labels: [&'static str; N],
        help: &'static str,
    ) -> Counters<N> {
        let family = Family::default();
        self.metric(name, "counter", &labels, help, family.clone());
        Labelled { labels, family }
    }

    /// A gauge.
    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> Gauge {
        let gauge = Gauge::default();
        self.metric(name, "gauge", &[], help, gauge.clone());
        gauge
    }

    /// Gauges told apart by labels.
    pub fn gauges<const N: usize>(
        &mut self,
        name: &'static str,
        labels: [&'static str; N],
        help: &'static str,
    ) -> Gauges<N> {
        let family = Family::default();
        self.metric(name, "gauge", &labels, help, family.clone());
        Labelled { labels, family }
    }

    /// A duration; the name ends in `_seconds`.
    pub fn duration(&mut self, name: &'static str, help: &'static str) -> Duration {
        let histogram = durations();
        self.metric(name, "histogram", &[], help, histogram.clone());
        Duration(histogram)
    }

    /// Durations told apart by labels; the name ends in `_seconds`.
    pub fn durations<const N: usize>(
        &mut self,
        name: &'static str,
        labels: [&'static str; N],
        help: &'static str,
    ) -> Durations<N> {
        let family = Family::new_with_constructor(durations as fn() -> Histogram);
        self.metric(name, "histogram", &labels, help, family.clone());
        Labelled { labels, family }
    }

    /// All is declared.
    pub fn done(self) -> Registered {
        Registered(Arc::new(self))
    }
}

/// What was declared, to be read.
#[derive(Clone, Debug)]
pub struct Registered(Arc<Declaration>);

impl Registered {
    /// All values, as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if prometheus_client::encoding::text::encode(&mut text, &self.0.registry).is_err() {
            // A String takes everything: only a metric of its own could fail, and there is none.
            let _ = writeln!(text, "# EOF");
        }
        text
    }

    /// What there is.
    pub fn described(&self) -> &[Described] {
        &self.0.described
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_in_the_text_under_its_name() {
        let mut declaration = Declaration::new("ferrant_test");
        let frames = declaration.counter("frames", "Frames taken.");
        let calls = declaration.counters("cni_calls", ["command", "outcome"], "Calls.");
        let pods = declaration.gauge("pods", "Attached pods.");
        let realised = declaration.duration("realised_seconds", "How long it took.");
        let phases = declaration.durations("cni_seconds", ["command"], "How long they took.");
        let registered = declaration.done();
        frames.inc_by(3);
        calls.with(["ADD", "success"]).inc();
        pods.set(-1);
        realised.took(std::time::Duration::from_millis(3));
        phases.took(["DEL"], std::time::Duration::from_secs(100));
        let text = registered.text();
        for line in [
            "# HELP ferrant_test_frames Frames taken.",
            "ferrant_test_frames_total 3",
            "ferrant_test_cni_calls_total{command=\"ADD\",outcome=\"success\"} 1",
            "ferrant_test_pods -1",
            "ferrant_test_realised_seconds_bucket{le=\"0.004\"} 1",
            "ferrant_test_realised_seconds_bucket{le=\"0.002\"} 0",
            "ferrant_test_cni_seconds_bucket{le=\"+Inf\",command=\"DEL\"} 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let names: Vec<&str> = registered.described().iter().map(|metric| metric.name.as_str()).collect();
        assert_eq!(names[..2], ["ferrant_test_frames_total", "ferrant_test_cni_calls_total"]);
    }
}
