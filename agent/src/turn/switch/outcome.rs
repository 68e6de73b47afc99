//! What came of what the switch was asked: what is known of it from now on.

use std::time::Instant;

use openflow::{Flow, FlowCommand};
use ovs_pipeline::Table;

use super::work::{Kind, Outcome, Sent};
use crate::apply::flows::{FlowId, Key};
use crate::ovs::openflow::{BundleError, RequestError};
use crate::ovs::ovsdb::SwitchError;
use crate::ovs::realised::{Realised, RealisedError};
use crate::turn::{Agent, TurnError};
use crate::watch::ovs::Drifted;

impl Agent {
    /// Something came of it; when that was all, what the switch told meanwhile follows.
    pub(in crate::turn) fn take_outcome(&mut self, outcome: Outcome) -> Result<(), TurnError> {
        let last = outcome.is_last();
        if last && let Some(work) = &self.switch.work {
            tracing::debug!(work = ?work.kind(), took = ?work.took(), told = self.switch.told.len(), "the switch has done what it was asked");
        }
        match outcome {
            Outcome::Watched(tells, ports) => {
                self.switch.tells = tells.or(self.switch.tells);
                self.switch.ports = Some(ports);
                self.look_at_ports();
                // Nothing differed on this connection: what differs now is somebody else's work.
                self.switch.untouched = self.switch.was_read && self.may_name_differences();
                self.flows.begin_dump();
                self.switch.dumping = true;
            }
            Outcome::Flows(flows) => flows.iter().for_each(|flow| self.dumped(flow)),
            Outcome::Read(result) => self.was_read(result),
            Outcome::Sent(sent) => self.was_sent(sent)?,
            Outcome::WaitsNoMore(result) => self.waits_no_more(result),
            Outcome::Realised(realised, result) => self.was_realised(realised, result),
            Outcome::Groups(result) => self.groups_went(result),
        }
        if last {
            self.switch.work = None;
            for told in std::mem::take(&mut self.switch.told) {
                self.take_switch(told);
            }
        }
        Ok(())
    }

    /// The connection that it was asked on is gone: what came of it is not known.
    pub(super) fn abandon_work(&mut self) {
        self.switch.told = Vec::new();
        let Some(work) = self.switch.work.take() else { return };
        self.end_dump();
        if work.kind() == Kind::Send {
            self.parts.metrics.bundles.with(["lost"]).inc();
            self.switch.queue.forget();
        }
    }

    fn dumped(&mut self, flow: &Flow) {
        if flow.table == Table::Tick.id() {
            return;
        }
        let key = Key { table: flow.table, priority: flow.priority, oxm: flow.matches.oxm() };
        if let Err(error) = self.flows.dumped(key, &flow.instructions) {
            tracing::warn!(%flow, %error, "a flow of the switch cannot be compared, it will be written anew");
        }
    }

    fn end_dump(&mut self) {
        if std::mem::take(&mut self.switch.dumping) {
            self.flows.end_dump();
        }
    }

    fn was_read(&mut self, result: Result<(), RequestError>) {
        self.end_dump();
        self.switch.reading_took = self.switch.last_read.elapsed();
        self.switch.last_read = Instant::now();
        if let Err(error) = result {
            self.lost(&error);
            return;
        }
        self.parts.metrics.switch_reads.inc();
        (self.switch.read, self.switch.was_read) = (!self.switch.read_again, true);
        self.switch.fresh = self.flows.held() == 0;
        self.switch.closing &= !self.switch.fresh;
        if self.switch.untouched {
            self.name_differences();
        }
    }

    /// vswitchd forwards by its own flows, or it is not known whether it does.
    fn waits_no_more(&mut self, result: Result<(), SwitchError>) {
        match result {
            Ok(()) => self.switch.waits = None,
            Err(error) => {
                tracing::warn!(%error, "not known whether ovs-vswitchd still waits for its flows (flow-restore-wait), trying again");
                self.switch.resting = true;
            }
        }
    }

    /// Old megaflows are gone, or it is not known whether they are.
    fn was_realised(&mut self, realised: Box<Realised>, result: Result<(), RealisedError>) {
        self.switch.realised = Some(realised);
        match result {
            Ok(()) => {
                (self.switch.unrealised, self.switch.closing) = (false, false);
                self.progress.realised();
                self.look_again();
            }
            Err(error) => {
                tracing::warn!(%error, "not known whether the switch obeys");
                self.switch.resting = true;
            }
        }
    }

    fn was_sent(&mut self, sent: Sent) -> Result<(), TurnError> {
        let Sent { changes, opens, whole, result } = sent;
        tracing::debug!(flows = changes.len(), opens, whole, "a slice was sent");
        let refused = match result {
            Ok(()) => {
                self.committed(&changes);
                self.switch.unrealised = true;
                self.switch.fresh &= !opens && !whole;
                self.switch.closing |= !opens && !self.switch.fresh;
                return Ok(());
            }
            Err(BundleError::Rejected(rejected)) => {
                let flow = |index: usize| changes.get(index).map(|(id, _)| *id);
                rejected.into_iter().filter_map(|entry| Some((flow(entry.index)?, entry.error.to_string()))).collect()
            }
            Err(BundleError::TooLong { index, length, limit }) => {
                let reason = format!("its message has {length} bytes, and {limit} fit into a bundle");
                changes.get(index).map(|(id, _)| (*id, reason)).into_iter().collect()
            }
            Err(BundleError::Refused(rejection)) => {
                tracing::error!(%rejection, "the switch refuses bundles");
                self.switch.rest();
                self.bundle_is_lost();
                return Ok(());
            }
            Err(BundleError::Request(error)) => {
                self.lost(&error);
                self.bundle_is_lost();
                return Ok(());
            }
        };
        self.take_refusals(refused)
    }

    fn committed(&mut self, changes: &[(FlowId, FlowCommand)]) {
        for (id, command) in changes {
            match command {
                FlowCommand::DeleteStrict => self.flows.uninstalled(*id),
                _ => self.flows.installed(*id),
            }
        }
        self.progress.committed(changes.len());
        self.parts.metrics.flow_changes.inc_by(changes.len() as u64);
        self.parts.metrics.bundles.with(["committed"]).inc();
    }

    fn bundle_is_lost(&mut self) {
        self.parts.metrics.bundles.with(["lost"]).inc();
        self.switch.queue.forget();
    }

    /// Nothing of a slice was done, for the sake of these flows.
    pub(super) fn take_refusals(&mut self, refused: Vec<(FlowId, String)>) -> Result<(), TurnError> {
        self.parts.metrics.bundles.with(["refused"]).inc();
        self.switch.queue.forget();
        if refused.is_empty() {
            tracing::error!("the switch refuses a bundle and does not say what of it");
            self.switch.rest();
        }
        for (id, reason) in refused {
            self.refused(id, &reason);
        }
        self.keep_numbers()
    }

    fn groups_went(&mut self, result: Result<[Vec<String>; 2], RequestError>) {
        match result {
            Ok(gone) => {
                for (object, names) in [Drifted::Group, Drifted::Meter].into_iter().zip(gone) {
                    if !names.is_empty() {
                        self.drift.found(object, &names);
                    }
                }
            }
            Err(error) => self.lost(&error),
        }
    }
}
