//! What somebody else did to the switch or the host: found, named in the log and a counter, and made as it was.
//!
//! ```text
//!  flow monitor ── a flow is not as it was left ──┐
//!  the database ── a port is gone, a setting ─────┼─► named, counted ─► the same difference and the same worker as ever
//!  once a second ─ a group, a meter ──────────────┤
//!  netlink ─────── a route, a rule, nft ──────────┘
//! ```
//!
//! What is wanted does not change here, and nothing is put right here: a flow that is not as it was left differs, as it would
//! after a restart; ports are what is attached against what the database has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use openflow::multipart::{FlowUpdate, FlowUpdateEvent};
use openflow::{Flow, Match, PortReason, PortStatus};
use ovs_pipeline::Table;

use super::Agent;
use super::cni::pod_key;
use crate::apply::delta::Scope;
use crate::apply::flows::{Difference, Key};
use crate::apply::ports::{self, Work};
use crate::ipam::attachment::Attachment;
use crate::metrics::Metrics;
use crate::watch::ovs::{Drifted, Facts, Wrong};

/// Between two looks at groups and meters, at the host when something touched it, and between two attempts to repair ports.
const EVERY: Duration = Duration::from_secs(1);
/// A pod that is being attached has no port for so long without anybody having taken it.
const ARRIVING: Duration = Duration::from_secs(1);
/// How many of the things found at once are logged one by one.
const LOGGED: usize = 8;

/// What was found.
#[derive(Debug)]
pub struct Drift {
    metrics: Metrics,
    /// How much of what kind, ever.
    counts: BTreeMap<&'static str, u64>,
    /// Of the bridge and its own ports, as last told.
    wrong: Vec<Wrong>,
    /// Host interfaces that the database was seen to have as ports.
    seen: BTreeSet<String>,
    /// Those whose device is gone; there is nothing to make a port of.
    gone: BTreeSet<String>,
    repaired: Option<Instant>,
    looked: Option<Instant>,
    host_touched: bool,
    host_looked: Option<Instant>,
}

impl Drift {
    /// Nothing was found yet.
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            counts: BTreeMap::new(),
            wrong: Vec::new(),
            seen: BTreeSet::new(),
            gone: BTreeSet::new(),
            repaired: None,
            looked: None,
            host_touched: false,
            host_looked: None,
        }
    }

    /// Names what was found, and counts it.
    pub(super) fn found(&mut self, object: Drifted, what: &[String]) {
        for line in what.iter().take(LOGGED) {
            tracing::warn!(object = object.name(), "not as it was made, somebody else was here: {line}");
        }
        if what.len() > LOGGED {
            tracing::warn!(object = object.name(), "and {} more", what.len() - LOGGED);
        }
        self.metrics.switch_drift.with([object.name()]).inc_by(what.len() as u64);
        *self.counts.entry(object.name()).or_default() += what.len() as u64;
    }

    /// How much of what kind was found, ever.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.iter().map(|(object, count)| ((*object).to_owned(), *count)).collect()
    }
}

/// Whether something is to be done that is done once in a while.
fn is_due(last: Option<Instant>) -> bool {
    last.is_none_or(|last| last.elapsed() >= EVERY)
}

impl Agent {
    /// The switch tells of flows that changed otherwise than by this agent.
    pub(super) fn take_flow_updates(&mut self, updates: Vec<FlowUpdate>) {
        // What it has is read anyway.
        if !self.switch.is_read() {
            return;
        }
        let mut found = Vec::new();
        for update in updates {
            match update {
                FlowUpdate::Full { event, table, priority, cookie, matches, instructions, .. } => {
                    if table == Table::Tick.id() {
                        continue;
                    }
                    let flow = Flow { table, priority, cookie, matches, instructions, ..Flow::default() };
                    let key = Key { table, priority, oxm: flow.matches.oxm() };
                    let gone = matches!(event, FlowUpdateEvent::Removed(_));
                    match self.flows.observed(key, (!gone).then_some(&flow.instructions)) {
                        Ok(true) => found.push(format!("{}: {flow}", word(event))),
                        Ok(false) => {}
                        Err(error) => {
                            tracing::warn!(%flow, %error, "a flow of the switch cannot be compared");
                            self.switch.read_again();
                        }
                    }
                }
                FlowUpdate::Abbreviated { .. } | FlowUpdate::Paused => {}
                // What happened meanwhile was told in part.
                FlowUpdate::Resumed => self.switch.read_again(),
            }
        }
        if !found.is_empty() {
            self.drift.found(Drifted::Flow, &found);
        }
    }

    /// Whether what differs after the next reading was changed by somebody else.
    pub(super) fn may_name_differences(&mut self) -> bool {
        self.scope() == Scope::All && self.planner.quarantine().is_empty() && self.flows.differences().is_empty()
    }

    /// Names what differs.
    pub(super) fn name_differences(&mut self) {
        let differences = self.flows.differences();
        let line = |(id, how): (_, Difference)| {
            let key = self.flows.key(id)?;
            let table = Table::from_id(key.table).map_or("?", Table::name);
            let matches = Match::from_oxm(key.oxm).ok()?;
            Some(format!("{how:?}: table {table}, priority={} {matches}", key.priority))
        };
        let found: Vec<String> = differences.into_iter().filter_map(line).collect();
        if !found.is_empty() {
            self.drift.found(Drifted::Flow, &found);
        }
    }

    /// A port of the switch came, went or changed.
    pub(super) fn take_port_status(&mut self, status: &PortStatus) {
        let name = (status.reason != PortReason::Deleted).then(|| status.port.name.clone());
        if status.reason == PortReason::Added {
            self.waiting.port_added(status.port.number.0, &status.port.name);
        }
        if self.switch.port_is(status.port.number.0, name) {
            self.look_at_ports();
        }
    }

    /// The database says this of the bridge now.
    pub(super) fn take_facts(&mut self, facts: Facts) {
        let new: Vec<&Wrong> = facts.wrong.iter().filter(|wrong| !self.drift.wrong.contains(wrong)).collect();
        for wrong in &new {
            self.drift.found(wrong.object, std::slice::from_ref(&wrong.what));
        }
        if new.iter().any(|wrong| wrong.object == Drifted::Bridge) {
            // Whoever changes how a bridge works may have had its flows thrown away.
            self.switch.read_again();
        }
        let at_once = !new.is_empty();
        self.drift.wrong = facts.wrong;
        let lost: Vec<String> = self
            .parts
            .attachments
            .attached()
            .filter(|attachment| !self.waiting.is_leaving(attachment))
            .filter_map(|attachment| {
                let name = &attachment.host_interface;
                let before = self.waiting.interface(name)?;
                let error = facts.interfaces.get(name)?.error.as_ref().filter(|_| before.error.is_none())?;
                Some(format!("interface {name} of pod {}: {error}", pod_key(attachment)))
            })
            .collect();
        if !lost.is_empty() {
            self.drift.found(Drifted::Port, &lost);
        }
        self.take_interfaces(facts.interfaces);
        self.repair_ports(at_once);
    }

    /// Has the bridge and ports made as they were, where they are not.
    fn repair_ports(&mut self, at_once: bool) {
        let missing: Vec<&Attachment> = self.parts.attachments.attached().filter(|pod| self.is_missing(pod)).collect();
        let taken: Vec<String> = missing
            .iter()
            .filter(|pod| self.drift.seen.contains(&pod.host_interface))
            .map(|pod| format!("port {} of pod {}", pod.host_interface, pod_key(pod)))
            .collect();
        let due = at_once || !taken.is_empty() || is_due(self.drift.repaired);
        let repair = due && !(missing.is_empty() && self.drift.wrong.is_empty());
        let missing: Vec<Attachment> = if repair { missing.into_iter().cloned().collect() } else { Vec::new() };
        if !taken.is_empty() {
            self.drift.found(Drifted::Port, &taken);
        }
        self.drift.seen = self
            .parts
            .attachments
            .attached()
            .map(|pod| &pod.host_interface)
            .filter(|name| self.waiting.interface(name).is_some())
            .cloned()
            .collect();
        if repair {
            self.drift.repaired = Some(Instant::now());
            // The worker ends only with the agent.
            let _ = self.parts.work.send(Work::Repair(missing));
        }
    }

    /// Whether an attached pod's port is not in the database as it was made, and nobody is about to make or take it.
    fn is_missing(&self, pod: &Attachment) -> bool {
        let name = &pod.host_interface;
        if self.drift.gone.contains(name) || self.waiting.is_leaving(pod) || self.waiting.arrived_within(pod, ARRIVING)
        {
            return false;
        }
        let wanted = ports::pod(pod).external_ids;
        self.waiting
            .interface(name)
            .is_none_or(|fact| wanted.iter().any(|(key, value)| fact.external_ids.get(key) != Some(value)))
    }

    /// A pod's device is gone, with the pod: its port is not made again.
    pub(super) fn pod_is_gone(&mut self, pod: &Attachment) {
        if self.drift.gone.insert(pod.host_interface.clone()) {
            let what = format!("interface {} of pod {} is gone without DEL", pod.host_interface, pod_key(pod));
            self.drift.found(Drifted::Port, &[what]);
        }
    }

    /// The worker found the host otherwise than it had made it.
    pub(super) fn take_drift(&mut self, object: Drifted, what: &[String]) {
        self.drift.found(object, what);
    }

    pub(super) fn host_touched(&mut self) {
        self.drift.host_touched = true;
        self.parts.tunnel_routes.host_touched();
    }

    /// Time passed: what is not as it was made is tried again.
    pub(super) fn tick_drift(&mut self) {
        self.drift.gone.retain(|name| self.parts.attachments.attached().any(|pod| pod.host_interface == *name));
        if is_due(self.drift.repaired) {
            self.repair_ports(false);
        }
        if self.drift.host_touched && is_due(self.drift.host_looked) {
            (self.drift.host_touched, self.drift.host_looked) = (false, Some(Instant::now()));
            self.look_at_host();
        }
    }

    /// Whether it is time to look at groups and meters, once a second: nobody wants any, so whatever is there is somebody else's.
    pub(super) fn groups_are_due(&mut self) -> bool {
        let due = self.scope() == Scope::All && is_due(self.drift.looked);
        if due {
            self.drift.looked = Some(Instant::now());
        }
        due
    }
}

fn word(event: FlowUpdateEvent) -> &'static str {
    match event {
        FlowUpdateEvent::Initial | FlowUpdateEvent::Added => "added",
        FlowUpdateEvent::Removed(_) => "deleted",
        FlowUpdateEvent::Modified => "changed",
    }
}
