//! What is, for the metrics: looked up when somebody asks.

use ovs_pipeline::Posture;

use super::Agent;
use crate::metrics::level;

impl Agent {
    /// Fills in the gauges.
    pub(super) fn measure(&self) {
        let Self { parts, .. } = self;
        let metrics = &parts.metrics;
        metrics.frame.set(parts.state.frame.as_ref().map_or(0, |frame| frame.number.cast_signed()));
        metrics.source_version.clear();
        for (kind, version) in self.realised_answer().version {
            metrics.source_version.with([&kind]).set(version.cast_signed());
        }
        metrics.flows_wanted.set(level(self.flows.wanted()));
        metrics.flows_installed.set(level(self.flows.held()));
        metrics.conjunctive_flows.set(level(self.flows.conjunctive()));
        metrics.refused_objects.set(level(self.planner.quarantine().len()));
        metrics.switch_connected.set(self.switch.answers().into());
        metrics.controller_connected.set(self.progress.controller.is_some().into());
        metrics.pods.set(level(parts.state.attached().len()));
        for (posture, word) in [(Posture::Policed, "policed"), (Posture::Open, "open"), (Posture::Closed, "closed")] {
            let pods = || self.planner.pods().values();
            let egress = pods().filter(|pod| pod.egress == posture).count();
            let ingress = pods().filter(|pod| pod.ingress == posture).count();
            metrics.pods_by_posture.with(["egress", word]).set(level(egress));
            metrics.pods_by_posture.with(["ingress", word]).set(level(ingress));
        }
        metrics.ledger_epoch.set(parts.ledger.epoch().into());
        metrics.ledger_names.set(level(parts.ledger.len()));
    }
}
