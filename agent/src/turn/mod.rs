//! The loop's body: what happened changes the state, the state is planned, and the switch gets the next slice of what differs.
//!
//! ```text
//!  events ─► take ─► state ─► plan ─► flows (wanted) ─► a slice ─► switch ─► realised ─► report, answers
//!                      ▲        ▲                          │
//!                      │      ledger ─► disk first         └─ refused: the intent is set aside, its pods closed
//!                    facts only
//! ```
//!
//! One thing at a time: while the switch works (a slice is on its way, it is read, it is waited for until it obeys) events are
//! taken, and what they change is planned once, after it. A switch that does not answer so keeps nobody waiting who asks
//! something else (CNI, queries).

mod answer;
mod cni;
mod drift;
mod host;
mod measure;
mod ovsflows;
mod progress;
mod switch;

use std::time::{Duration, Instant};

use apis::cni::DelRequest;
use hashbrown::HashSet;
use openflow::EncodeError;
use ovs_pipeline::{Intent, Node, Part, Table};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use crate::apply::flows::Flows;
use crate::apply::ports::Work;
use crate::apply::reexamine::Affected;
use crate::apply::tunnel_routes::Asker;
use crate::config::Config;
use crate::event::{Event, Query};
use crate::ipam::attachment::Attachments;
use crate::ledger::Ledger;
use crate::ledger::store::{Store, StoreError};
use crate::metrics::Metrics;
use crate::ovs::ovsdb::Status;
use crate::plan::{Planner, Wanted};
use crate::state::{Changed, State};
use crate::watch::detached::Notes;
use crate::watch::stream::Uplink;

use cni::Waiting;
pub use cni::{pod_key, state_of};
use drift::Drift;
use host::Host;
use progress::Progress;
use switch::{Outcome, Switch};

/// Events taken in one go at most; what comes beyond waits for the next turn.
const GATHER: usize = 1024;
/// Between two looks at what waits and at what failed.
pub const TICK: Duration = Duration::from_millis(100);
/// Between two attempts to write a ledger that could not be written.
const LEDGER_RETRY: Duration = Duration::from_secs(1);

/// Everything the agent is made of, joined by `run`.
#[derive(Debug)]
pub struct Parts {
    /// The command line.
    pub config: Config,
    /// What is known so far.
    pub state: State,
    /// The numbers.
    pub ledger: Ledger,
    /// Where they are kept.
    pub store: Store,
    /// What CNI attached, restored from the switch's database and from links.
    pub attachments: Attachments,
    /// What is to be detached first: its link is gone, or a DEL came while no agent ran.
    pub detach_first: Vec<DelRequest>,
    /// Where it is noted, and what cannot be detached now.
    pub notes: Notes,
    /// Whether the switch's database answers.
    pub database: watch::Receiver<Status>,
    /// To the controller.
    pub uplink: Uplink,
    /// To the worker of ports and host.
    pub work: mpsc::UnboundedSender<Work>,
    /// To the one who looks at connections again.
    pub reexamine: mpsc::UnboundedSender<crate::apply::reexamine::Request>,
    /// To the one who keeps the switch's own routes.
    pub tunnel_routes: Asker,
    /// What is counted.
    pub metrics: Metrics,
}

/// The agent at work.
#[derive(Debug)]
pub struct Agent {
    parts: Parts,
    planner: Planner,
    flows: Flows,
    changed: Changed,
    switch: Switch,
    host: Host,
    drift: Drift,
    waiting: Waiting,
    progress: Progress,
    affected: Affected,
    /// Who wants to know whether a plan made anew is the same.
    recomputes: Vec<oneshot::Sender<Value>>,
    /// When the ledger could last not be written; none while it is on disk.
    ledger_failed: Option<Instant>,
}

/// Why the loop goes on.
enum Woken {
    /// Something came of what the switch was asked.
    Outcome(Outcome),
    /// Something happened, or there is something to do.
    Events,
    /// Nobody sends events any more.
    Ended,
}

/// The loop cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// Numbers that are not on disk must not reach the switch.
    #[error(transparent)]
    Ledger(#[from] StoreError),
    /// A bug: the pipeline refuses its own base flows.
    #[error("the pipeline's own flows are refused: {0}")]
    Base(String),
}

impl Agent {
    /// An agent that has planned nothing yet.
    ///
    /// # Errors
    /// When the pipeline does not accept its own base flows.
    pub fn new(parts: Parts) -> Result<Self, TurnError> {
        let mut flows = Flows::default();
        let mut refused = None;
        let mode = parts.config.policy_mode();
        let base = ovs_pipeline::base_flows(parts.state.datapath, mode, &mut |part| {
            if part.table == Table::Tick {
                return; // what is in there comes and goes with every wait for the switch to obey
            }
            if let Err(error) = flows.add(&part, true) {
                refused = Some(error.to_string());
            }
        });
        if let Some(error) = base.err().map(|error| error.to_string()).or(refused) {
            return Err(TurnError::Base(error));
        }
        Ok(Self {
            switch: Switch::new(&parts.config),
            host: Host::default(),
            drift: Drift::new(parts.metrics.clone()),
            waiting: Waiting::default(),
            progress: Progress::default(),
            affected: Affected::default(),
            recomputes: Vec::new(),
            ledger_failed: parts.store.is_behind().then(Instant::now),
            planner: Planner::default(),
            changed: Changed::everything(),
            flows,
            parts,
        })
    }

    /// Works until nobody sends events any more.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<Event>) -> Result<(), TurnError> {
        let mut events = Vec::new();
        self.detach_first();
        loop {
            let outcome = match self.wait(&mut inbox, &mut events).await {
                Woken::Outcome(outcome) => Some(outcome),
                Woken::Events => None,
                Woken::Ended => return Ok(()),
            };
            self.parts.metrics.turns.inc();
            self.parts.metrics.events.inc_by(events.len() as u64);
            if let Some(outcome) = outcome {
                self.take_outcome(outcome)?;
            }
            for event in events.drain(..) {
                self.take(event);
            }
            if self.switch.is_at_work() {
                continue; // what comes meanwhile is planned together
            }
            self.plan()?;
            self.answer_recomputes();
            self.change_switch()?;
            self.settle();
            if self.switch_answers() && self.switch.is_idle() && self.groups_are_due() {
                self.switch.look_at_groups();
            }
        }
    }

    /// Waits for what the switch does, for events, or, when there is something to do, for neither; what events there are is gathered.
    async fn wait(&mut self, inbox: &mut mpsc::Receiver<Event>, events: &mut Vec<Event>) -> Woken {
        let mut woken = Woken::Events;
        if self.switch.is_at_work() || !self.has_work() {
            woken = tokio::select! {
                biased;
                outcome = self.switch.outcome() => Woken::Outcome(outcome),
                count = inbox.recv_many(events, GATHER) => if count == 0 { Woken::Ended } else { Woken::Events },
            };
        } else {
            tokio::task::yield_now().await;
        }
        while events.len() < GATHER
            && let Ok(event) = inbox.try_recv()
        {
            events.push(event);
        }
        woken
    }

    /// Whether there is something to do without a new event.
    fn has_work(&mut self) -> bool {
        !self.changed.is_empty() || (self.switch_answers() && self.switch_wants())
    }

    /// Whether there is something to do with the switch.
    fn switch_wants(&mut self) -> bool {
        let scope = self.scope();
        self.switch.wants(&mut self.flows, scope)
    }

    /// Whether the switch obeys all that is known.
    fn is_settled(&mut self) -> bool {
        self.changed.is_empty() && self.switch.is_settled() && !self.switch_wants()
    }

    /// Whether it makes sense to ask the switch: without its database ovs-vswitchd forwards, and answers no OpenFlow message.
    fn switch_answers(&self) -> bool {
        self.parts.database.borrow().connected
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Controller { taken_from } => {
                self.parts.metrics.controller_connections.inc_by(taken_from.is_some().into());
                self.progress.controller = taken_from;
            }
            Event::Frame(frame, decoded) => {
                self.parts.metrics.frames.inc();
                self.progress.frame(decoded);
                self.parts.state.take_frame(*frame, &mut self.changed);
            }
            Event::Released { sequence } => {
                self.parts.attachments.released(sequence);
                self.retry_adds();
            }
            Event::Facts(facts) => self.take_facts(facts),
            Event::Drift(object, what) => self.take_drift(object, &what),
            Event::HostTouched => self.host_touched(),
            Event::Switch(event) => self.take_switch(event),
            Event::Cni(request) => self.take_cni(request),
            Event::Ports(outcome) => self.take_port_outcome(outcome),
            Event::Host(outcome) => self.take_host(outcome),
            Event::Query(Query::OvsFlows(narrowed), answer) => self.ovs_flows(&narrowed, answer),
            Event::Query(Query::Recompute, answer) => self.recomputes.push(answer),
            Event::Query(query, answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(self.answer(query));
            }
            Event::Tick => {
                let due = self.switch.tick();
                // What the switch refused is tried again when all is compared again.
                self.changed.everything |= due && !self.planner.quarantine().is_empty();
                self.retry_host();
                self.retry_ledger();
                self.keep_ranking();
                self.tick_drift();
                self.tick_cni();
            }
        }
    }

    /// Plans what changed; numbers are on disk before anything else sees them.
    fn plan(&mut self) -> Result<(), TurnError> {
        // Once more with other numbers where they could not be kept.
        while !self.changed.is_empty() {
            self.plan_once()?;
        }
        Ok(())
    }

    fn plan_once(&mut self) -> Result<(), TurnError> {
        let since = std::time::Instant::now();
        let changed = std::mem::take(&mut self.changed);
        let mut desired = Desired { flows: &mut self.flows, affected: &mut self.affected, unencodable: Vec::new() };
        self.planner.update(&self.parts.state, &mut self.parts.ledger, &changed, &mut desired);
        let unencodable = desired.unencodable;
        for (intent, reason) in unencodable {
            self.set_aside_intent(&intent, &reason);
        }
        self.sweep_ledger();
        self.keep_numbers()?;
        self.plan_host();
        if changed.everything || !changed.nodes.is_empty() {
            self.parts.tunnel_routes.peers(self.planner.peers().map(|peer| peer.tunnel_endpoint).collect());
        }
        self.progress.planned();
        self.parts.metrics.plan_seconds.took(since.elapsed());
        Ok(())
    }

    /// Puts on disk what was given out. On a disk that takes nothing more, the next epoch begins in memory: its numbers are told
    /// from all others by the epoch alone, and that is written. All is planned anew with them.
    fn keep_numbers(&mut self) -> Result<(), TurnError> {
        let Err(error) = self.parts.store.append(&self.parts.ledger.take_pending()) else {
            return Ok(());
        };
        let ledger = Ledger::new(u32::from(self.parts.ledger.epoch()) + 1);
        self.parts.store.begin_epoch(ledger.epoch())?;
        tracing::error!(
            %error,
            epoch = ledger.epoch(),
            "the ledger cannot be kept on disk; a new epoch begins in memory and the switch is rewritten"
        );
        // The worker ends only with the agent.
        let _ = self.parts.work.send(Work::Epoch(ledger.epoch()));
        self.parts.ledger = ledger;
        self.ledger_failed = Some(Instant::now());
        self.forget_plan();
        Ok(())
    }

    /// Nothing is wanted any more and everything is to be planned: what was planned has numbers that do not count.
    fn forget_plan(&mut self) {
        let planner = std::mem::take(&mut self.planner);
        let mut desired = Desired { flows: &mut self.flows, affected: &mut self.affected, unencodable: Vec::new() };
        if let Some(node) = planner.node() {
            planner.intents().for_each(|(_, intent)| desired.withdraw(&intent, node));
        }
        self.changed = Changed::everything();
    }

    /// Time passed: a ledger that is in memory alone is written once that is possible.
    fn retry_ledger(&mut self) {
        if self.ledger_failed.is_none_or(|failed| failed.elapsed() < LEDGER_RETRY) {
            return;
        }
        match Store::rewrite(self.parts.store.path(), &self.parts.ledger) {
            Ok(store) => {
                tracing::info!("the ledger is on disk again");
                (self.parts.store, self.ledger_failed) = (store, None);
            }
            Err(error) => {
                tracing::debug!(%error, "the ledger is in memory alone");
                self.ledger_failed = Some(Instant::now());
            }
        }
    }

    /// Forgets names that nothing uses once they are the larger part of the ledger.
    fn sweep_ledger(&mut self) {
        let live = self.parts.state.upstream.identities.len() * 3 + self.parts.state.upstream.rules.len() * 2;
        if self.parts.ledger.len() < 2 * live + 4096 || self.parts.store.is_behind() {
            return;
        }
        let state = &self.parts.state;
        let known: HashSet<_> = state.upstream.endpoints.iter().map(|endpoint| endpoint.identity).collect();
        let in_groups: HashSet<_> =
            state.upstream.groups.values().flat_map(|members| members.iter().copied()).collect();
        self.parts
            .ledger
            .retain(|id| known.contains(&id) || in_groups.contains(&id), |id| state.upstream.rules.contains_key(&id));
        // What is to be forgotten may stay a while; what was given out is on disk already, or about to be.
        match Store::rewrite(self.parts.store.path(), &self.parts.ledger) {
            Ok(store) => self.parts.store = store,
            Err(error) => tracing::warn!(%error, "the ledger keeps names that nothing uses"),
        }
    }

    /// After a turn: what is realised is reported, and who waited for it is answered.
    fn settle(&mut self) {
        if self.is_settled() {
            self.report();
            self.settle_cni();
        }
    }
}

/// Where what the planner wants becomes flows.
struct Desired<'a> {
    flows: &'a mut Flows,
    affected: &'a mut Affected,
    /// Intents of which a flow could not be encoded.
    unencodable: Vec<(Intent, String)>,
}

impl Wanted for Desired<'_> {
    fn want(&mut self, intent: &Intent, node: &Node) {
        self.affected.note(intent);
        let mut failed: Option<EncodeError> = None;
        let outcome = ovs_pipeline::flows(intent, node, &mut |part: Part| {
            if let Err(error) = self.flows.add(&part, false) {
                failed = Some(error);
            }
        });
        let reason = outcome.err().map(|refusal| refusal.to_string()).or(failed.map(|error| error.to_string()));
        if let Some(reason) = reason {
            self.unencodable.push((intent.clone(), reason));
        }
    }

    fn withdraw(&mut self, intent: &Intent, node: &Node) {
        self.affected.note(intent);
        // What was refused when it was wanted has left no flow.
        let _ = ovs_pipeline::flows(intent, node, &mut |part: Part| self.flows.remove(&part));
    }
}
