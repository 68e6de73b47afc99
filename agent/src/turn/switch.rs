//! The switch's side of a turn: read what it has, send the next slice of what differs, wait until it obeys.
//!
//! ```text
//!  wanted ≠ known ─► change_switch ─► Work (beside the loop) ─► Outcome ─► took: what is known of the switch
//!                        ▲  one thing at a time                                │
//!                        └──────── events taken meanwhile, planned once ◄──────┘
//! ```
//!
//! While it works nothing is planned, so flows are what they were when it was asked. What the switch tells of its own accord
//! meanwhile comes after what it was asked.

mod outcome;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ovs_pipeline::Table;
use tokio::sync::oneshot;

use super::{Agent, Desired, TurnError};
use crate::apply::delta::{Queue, SLICE, Scope, Slice};
use crate::apply::flows::{FlowId, Flows, Key};
use crate::apply::{flow_restore, order, ports};
use crate::config::Config;
use crate::event::SwitchEvent;
use crate::ovs::openflow::{Batch, Connection, RequestError};
use crate::ovs::realised::Realised;
use crate::plan::IntentKey;
use crate::plan::rank::Ranks;
pub use work::Outcome;
use work::{Kind, Sent, Work};

/// A switch that cannot tell who changes its flows is read again after this many times what reading took, and not before
/// [`RARELY`].
const SPARED: u32 = 20;
const RARELY: Duration = Duration::from_secs(2);
/// Of what the switch tells while it works so much is kept; of more, what it has is read again.
const TOLD: usize = 64;

/// So many flows that have no rank yet may go first into a switch that comes back: a ranking takes longer than they do.
const NEW: usize = 1000;
/// For so long the kernel may go on as before while a new vswitchd gets its flows: what it has not cached waits meanwhile.
const KEPT: Duration = Duration::from_secs(3);

/// What is known of the switch.
#[derive(Debug)]
pub struct Switch {
    connection: Option<Connection>,
    /// What it was asked and has not done yet.
    work: Option<Work>,
    /// What it told meanwhile.
    told: Vec<SwitchEvent>,
    /// Kept between two waits.
    realised: Option<Box<Realised>>,
    /// vswitchd's unixctl socket.
    control: PathBuf,
    /// It had no flow when it was read, and nothing has opened since: nothing is to be closed first.
    fresh: bool,
    /// Whether it tells who changes its flows; not known before it has been asked.
    tells: Option<bool>,
    /// Its ports by number, once they have been read.
    ports: Option<BTreeMap<u32, String>>,
    /// What it has is known.
    read: bool,
    /// It is to be read again, also when it is being read.
    read_again: bool,
    /// While it is read: nothing differed before, so what differs then is somebody else's work.
    untouched: bool,
    /// Its flows are being told: what it has is known in part.
    dumping: bool,
    /// It has been read on this connection.
    was_read: bool,
    /// Connections that go through it were looked at on this one.
    looked: bool,
    /// Flows have changed since it was last known to obey.
    unrealised: bool,
    /// Among them some that close.
    closing: bool,
    /// Since when its vswitchd may wait while the kernel forwards as before (`apply::flow_restore`).
    waits: Option<Instant>,
    /// Where such a thing is.
    keeps: bool,
    /// Something failed: nothing is tried until the next tick.
    resting: bool,
    resync: Duration,
    /// When its reading began last, and how long that took.
    last_read: Instant,
    reading_took: Duration,
    queue: Queue,
}

impl Switch {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            connection: None,
            work: None,
            told: Vec::new(),
            realised: None,
            control: config.vswitchd_ctl.clone(),
            fresh: false,
            tells: None,
            ports: None,
            read: false,
            read_again: false,
            untouched: false,
            dumping: false,
            was_read: false,
            looked: false,
            unrealised: false,
            closing: false,
            waits: None,
            keeps: flow_restore::is_kept(config.datapath),
            resting: false,
            resync: Duration::from_secs(config.resync),
            last_read: Instant::now(),
            reading_took: Duration::ZERO,
            queue: Queue::default(),
        }
    }

    fn connected(&mut self, connection: Connection) {
        self.connection = Some(connection);
        // What was opened to another process of it is of no use.
        self.realised = None;
        (self.tells, self.ports, self.was_read, self.looked) = (None, None, false, false);
        (self.read, self.unrealised, self.closing, self.resting) = (false, true, true, false);
        self.waits = self.keeps.then(Instant::now);
    }

    fn disconnected(&mut self) {
        self.connection = None;
        self.ports = None;
        self.read = false;
    }

    /// What it has is not known for sure any more.
    pub(super) fn read_again(&mut self) {
        (self.read, self.read_again) = (false, true);
    }

    /// Whether what it has is known.
    pub(super) fn is_read(&self) -> bool {
        self.read
    }

    /// Groups and meters are looked for, and taken away.
    pub(super) fn look_at_groups(&mut self) {
        self.work = self.connection.as_ref().map(Work::groups);
    }

    /// Whether it has not done yet what it was asked.
    pub(super) fn is_at_work(&self) -> bool {
        self.work.is_some()
    }

    /// What comes of what it was asked; nothing ever while it was asked nothing. May be dropped while waiting.
    pub(super) async fn outcome(&mut self) -> Outcome {
        match &mut self.work {
            Some(work) => work.next().await,
            None => std::future::pending().await,
        }
    }

    /// Whether nothing is to be done with it.
    pub(super) fn is_idle(&self) -> bool {
        self.connection.is_some() && self.work.is_none() && self.read && !self.resting
    }

    /// Whether it knows a port by this number and name, as far as its ports are known.
    pub(super) fn has_port(&self, number: u32, name: &str) -> bool {
        self.ports.as_ref().is_none_or(|ports| ports.get(&number).is_some_and(|port| port == name))
    }

    /// A port is so now, or gone; whether that is news.
    pub(super) fn port_is(&mut self, number: u32, name: Option<String>) -> bool {
        let Some(ports) = &mut self.ports else { return false };
        let before = match name.clone() {
            Some(name) => ports.insert(number, name),
            None => ports.remove(&number),
        };
        before != name
    }

    pub(super) fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Whether connections that go through it are looked at for the first time since it was connected. Once.
    pub(super) fn is_first_look(&mut self) -> bool {
        !std::mem::replace(&mut self.looked, true)
    }

    /// Whether it is there and says something when it is asked.
    pub(super) fn answers(&self) -> bool {
        self.is_connected() && !self.work.as_ref().is_some_and(Work::is_silent)
    }

    /// Counts its connections.
    pub(super) fn connection_count(&self) -> u64 {
        self.connection.as_ref().map_or(0, Connection::generation)
    }

    /// Time passed: what failed is tried again, and what the switch has is compared anew when it is due.
    /// Whether it is due.
    pub(super) fn tick(&mut self) -> bool {
        self.resting = false;
        let period = match self.tells {
            Some(false) => self.resync.min(RARELY.max(self.reading_took * SPARED)),
            _ => self.resync,
        };
        let due = self.read && !self.resync.is_zero() && self.last_read.elapsed() >= period;
        self.read &= !due;
        due
    }

    /// Whether there is something to do with it now.
    pub(super) fn wants(&mut self, flows: &mut Flows, scope: Scope) -> bool {
        self.connection.is_some()
            && !self.resting
            && (!self.read || self.unrealised || self.queue.has_next(flows, scope))
    }

    /// Whether it obeys all that was wanted when it was last compared.
    pub(super) fn is_settled(&self) -> bool {
        let works = self.work.as_ref().is_some_and(|work| work.kind() != Kind::Groups);
        self.connection.is_some() && !works && self.read && !self.unrealised && !self.resting
    }

    /// While it works: what it tells comes after that.
    fn keep(&mut self, told: SwitchEvent) {
        if self.told.len() >= TOLD {
            self.told = vec![SwitchEvent::Missed];
        } else {
            self.told.push(told);
        }
    }

    fn rest(&mut self) {
        self.resting = true;
        self.read = false;
    }
}

impl Agent {
    /// What may be changed: nothing is known to be stale before the controller has spoken and this node's own facts are known.
    pub(super) fn scope(&self) -> Scope {
        if self.parts.state.frame.is_some() && self.planner.node().is_some() { Scope::All } else { Scope::Missing }
    }

    /// The switch, or its connection, did this of its own accord.
    pub(super) fn take_switch(&mut self, event: SwitchEvent) {
        match event {
            SwitchEvent::Connected(connection) => {
                self.abandon_work();
                self.parts.metrics.switch_connections.inc();
                self.parts.tunnel_routes.connection(Some(connection.generation()));
                self.switch.connected(connection);
            }
            SwitchEvent::Disconnected => self.switch_is_gone(),
            told if self.switch.is_at_work() => self.switch.keep(told),
            SwitchEvent::Port(status) => self.take_port_status(&status),
            SwitchEvent::Flows(updates) => self.take_flow_updates(updates),
            SwitchEvent::Missed => self.switch.read_again(),
        }
    }

    /// Asks the switch for the next thing: to say what it has, if need be, then to take a slice; when nothing is left, to obey.
    pub(super) fn change_switch(&mut self) -> Result<(), TurnError> {
        let Some(connection) = self.switch.connection.clone().filter(|_| !self.switch.resting) else {
            return Ok(());
        };
        if !self.switch_answers() || self.switch.is_at_work() {
            return Ok(());
        }
        if !self.switch.read {
            (self.switch.last_read, self.switch.read_again) = (Instant::now(), false);
            self.switch.work = Some(Work::read(&connection, self.switch.tells.is_none()));
            return Ok(());
        }
        let scope = self.scope();
        if self.flows.is_ranking_old() && self.flows.differences().len() > SLICE {
            self.rank_flows();
        }
        let opens = self.switch.queue.opens_next(&mut self.flows, scope);
        // What closed is obeyed before anything opens.
        let to_be_obeyed = opens.map_or(self.switch.unrealised, |opens| opens && self.switch.closing);
        if self.switch.waits.is_some_and(|since| to_be_obeyed || since.elapsed() >= KEPT) {
            let (answer, restored) = oneshot::channel();
            // The worker ends only with the agent.
            let _ = self.parts.work.send(ports::Work::FlowsRestored(answer));
            self.switch.work = Some(Work::end_waiting(&connection, restored));
            return Ok(());
        }
        if to_be_obeyed {
            let control = &self.switch.control;
            let realised =
                self.switch.realised.take().unwrap_or_else(|| Box::new(Realised::new(control, Table::Tick.id())));
            self.switch.work = Some(Work::realise(&connection, realised));
            return Ok(());
        }
        match self.switch.queue.next(&mut self.flows, scope, self.switch.fresh) {
            Some(slice) => self.send(&connection, slice),
            None => Ok(()),
        }
    }

    /// The switch is gone: it will come back empty. While nothing else can be done, flows are put in order for that.
    fn switch_is_gone(&mut self) {
        self.abandon_work();
        self.switch.disconnected();
        let _ = self.parts.work.send(ports::Work::SwitchAway);
        self.parts.tunnel_routes.connection(None);
        self.flows.gone();
        if self.flows.unranked() > NEW {
            self.rank_flows();
        }
        // Worked out while nobody waits for it.
        let scope = self.scope();
        self.switch.queue.has_next(&mut self.flows, scope);
    }

    /// Nothing else is to be done: flows get the order in which they would go into an empty switch, for the day when it is one.
    pub(super) fn keep_ranking(&mut self) {
        if self.flows.is_ranking_old() && self.is_settled() {
            self.rank_flows();
        }
    }

    /// Says of every flow how early it goes into an empty switch.
    fn rank_flows(&mut self) {
        let Some(node) = self.planner.node() else { return };
        let (state, flows) = (&self.parts.state, &mut self.flows);
        let ranks = Ranks::of(state);
        flows.begin_ranking();
        for (name, intent) in self.planner.intents() {
            let rank = ranks.rank(&name, state);
            // It is wanted already, so the pipeline takes it.
            let _ = ovs_pipeline::flows(&intent, node, &mut |part| {
                flows.put_rank(Key { table: part.table.id(), priority: part.priority, oxm: part.matches.oxm() }, rank);
            });
        }
    }

    /// Sends a slice; what of it does not fit a message is refused before that.
    fn send(&mut self, connection: &Connection, slice: Slice) -> Result<(), TurnError> {
        let mut batch = Batch::new();
        let (mut changes, mut refused) = (Vec::with_capacity(slice.changes.len()), Vec::new());
        let mut buffer = Vec::with_capacity(512);
        for change in slice.changes {
            buffer.clear();
            let id = change.flow();
            let written = order::message(&self.flows, change, &mut buffer).map_err(|error| error.to_string());
            let pushed = written.and_then(|command| {
                batch.push(&buffer).map_err(|error| error.to_string())?;
                Ok(command)
            });
            match pushed {
                Ok(command) => changes.push((id, command)),
                Err(error) => refused.push((id, error)),
            }
            if tracing::enabled!(tracing::Level::TRACE) {
                tracing::trace!(?change, flow = ?self.flows.read(id), "a flow changes");
            }
        }
        if !refused.is_empty() {
            return self.take_refusals(refused);
        }
        let sent = Sent { changes, opens: slice.opens, whole: slice.whole, result: Ok(()) };
        self.switch.work = Some(Work::send(connection, batch, sent));
        Ok(())
    }

    /// The connection, or what is known of the switch, is gone.
    fn lost(&mut self, error: &RequestError) {
        tracing::warn!(%error, "the switch's state is not known, it will be read again");
        self.switch.rest();
    }

    /// The switch refused a flow: the intent that wants it is set aside, or the flow alone when none does.
    fn refused(&mut self, id: FlowId, reason: &str) {
        match self.owner(id) {
            // Without its node nothing works: the rest of it stays.
            Some(IntentKey::Node) => {
                self.set_aside(IntentKey::Node, reason);
                self.flows.refuse(id);
            }
            Some(key) => self.set_aside(key, reason),
            None => {
                let table = self.flows.key(id).and_then(|key| Table::from_id(key.table));
                tracing::error!(?table, reason, "the switch refuses a flow that no intent wants");
                self.flows.refuse(id);
            }
        }
    }

    /// The intent that wants a flow. Looks through all: for the rare refusal.
    fn owner(&self, id: FlowId) -> Option<IntentKey> {
        let key = self.flows.key(id)?;
        let node = self.planner.node()?;
        let wants = |intent: &ovs_pipeline::Intent| {
            let mut found = false;
            // A refusal of the pipeline is another failure than this one.
            let _ = ovs_pipeline::flows(intent, node, &mut |part| {
                found |= part.table.id() == key.table && part.priority == key.priority && part.matches.oxm() == key.oxm;
            });
            found
        };
        self.planner.intents().find(|(_, intent)| wants(intent)).map(|(name, _)| name)
    }

    pub(super) fn set_aside_intent(&mut self, intent: &ovs_pipeline::Intent, reason: &str) {
        let found = self.planner.intents().find(|(_, other)| other == intent).map(|(key, _)| key);
        if let Some(key) = found {
            self.set_aside(key, reason);
        }
    }

    fn set_aside(&mut self, key: IntentKey, reason: &str) {
        self.parts.metrics.refusals.inc();
        tracing::error!(
            ?key,
            reason,
            "the switch refuses part of this; it is left out and the pods it is about are closed"
        );
        let mut desired = Desired { flows: &mut self.flows, affected: &mut self.affected, unencodable: Vec::new() };
        let (state, ledger) = (&self.parts.state, &mut self.parts.ledger);
        self.planner.set_aside(key, reason.to_owned(), state, ledger, &mut desired);
    }
}
