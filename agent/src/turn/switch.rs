//! The switch's side of a turn: read what it has, send the next slice of what differs, wait until it obeys.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use openflow::{Flow, FlowCommand};
use ovs_pipeline::Table;

use super::{Agent, Desired, TurnError};
use crate::apply::delta::{Queue, SLICE, Scope, Slice};
use crate::apply::flows::{FlowId, Flows, Key};
use crate::apply::order;
use crate::config::Config;
use crate::ovs::openflow::{Batch, BundleError, Connection, RequestError};
use crate::ovs::realised::Realised;
use crate::plan::IntentKey;
use crate::plan::rank::Ranks;

/// A switch that cannot tell who changes its flows is read again after this many times what reading took, and not before
/// [`RARELY`].
const SPARED: u32 = 20;
const RARELY: Duration = Duration::from_secs(2);

/// What is known of the switch.
#[derive(Debug)]
pub struct Switch {
    connection: Option<Connection>,
    realised: Realised,
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
    /// Flows have ranks for an empty switch.
    ranked: bool,
    /// It has been read on this connection.
    was_read: bool,
    /// Flows have changed since it was last known to obey.
    unrealised: bool,
    /// Among them some that close.
    closing: bool,
    /// Something failed: nothing is tried until the next tick.
    resting: bool,
    resync: Duration,
    last_read: Instant,
    reading_took: Duration,
    queue: Queue,
}

/// How sending a slice went.
enum Sent {
    Done,
    Refused(Vec<(FlowId, String)>),
    Lost,
}

impl Switch {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            connection: None,
            realised: Realised::new(&config.vswitchd_ctl, Table::Tick.id()),
            control: config.vswitchd_ctl.clone(),
            fresh: false,
            tells: None,
            ports: None,
            read: false,
            was_read: false,
            ranked: false,
            unrealised: false,
            closing: false,
            resting: false,
            resync: Duration::from_secs(config.resync),
            last_read: Instant::now(),
            reading_took: Duration::ZERO,
            queue: Queue::default(),
        }
    }

    pub(super) fn connected(&mut self, connection: Connection) {
        self.connection = Some(connection);
        // What was opened to another process of it is of no use.
        self.realised = Realised::new(&self.control, Table::Tick.id());
        (self.tells, self.ports, self.was_read) = (None, None, false);
        (self.read, self.unrealised, self.closing, self.resting) = (false, true, true, false);
    }

    pub(super) fn disconnected(&mut self) {
        self.connection = None;
        self.ports = None;
        self.read = false;
    }

    /// What it has is not known for sure any more.
    pub(super) fn read_again(&mut self) {
        self.read = false;
    }

    /// Whether what it has is known.
    pub(super) fn is_read(&self) -> bool {
        self.read
    }

    /// The connection, when nothing is to be done first.
    pub(super) fn idle(&self) -> Option<Connection> {
        self.connection.clone().filter(|_| self.read && !self.resting)
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
        self.connection.is_some() && self.read && !self.unrealised && !self.resting
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

    /// Reads the switch if need be, then sends one slice; when nothing is left, waits until the switch obeys.
    pub(super) async fn change_switch(&mut self) -> Result<(), TurnError> {
        let Some(connection) = self.switch.connection.clone().filter(|_| !self.switch.resting) else {
            return Ok(());
        };
        if !self.switch_answers() {
            return Ok(());
        }
        if !self.switch.read && !self.read_switch(&connection).await {
            return Ok(());
        }
        if !self.changed.is_empty() {
            return Ok(()); // the switch's ports are not what they were thought to be: planned first
        }
        let scope = self.scope();
        if !self.switch.ranked && self.flows.differences().len() > SLICE {
            self.rank_flows();
        }
        let Some(slice) = self.switch.queue.next(&mut self.flows, scope) else {
            if self.switch.unrealised {
                self.realise(&connection).await;
            }
            return Ok(());
        };
        // What closed is obeyed before anything opens.
        if slice.opens && self.switch.closing && !self.realise(&connection).await {
            self.switch.queue.forget();
            return Ok(());
        }
        match self.send(&connection, &slice).await {
            Sent::Done => {
                self.switch.unrealised = true;
                self.switch.fresh &= !slice.opens && !slice.whole;
                self.switch.closing |= !slice.opens && !self.switch.fresh;
                self.progress.committed(slice.changes.len());
                self.parts.metrics.flow_changes.inc_by(slice.changes.len() as u64);
                self.parts.metrics.bundles.with(["committed"]).inc();
            }
            Sent::Refused(refused) => {
                self.parts.metrics.bundles.with(["refused"]).inc();
                self.switch.queue.forget();
                if refused.is_empty() {
                    tracing::error!("the switch refuses a bundle and does not say what of it");
                    self.switch.rest();
                }
                for (id, reason) in refused {
                    self.refused(id, &reason);
                }
                self.keep_numbers()?;
            }
            Sent::Lost => {
                self.parts.metrics.bundles.with(["lost"]).inc();
                self.switch.queue.forget();
            }
        }
        Ok(())
    }

    /// The switch is gone: it will come back empty. While nothing else can be done, flows are put in order for that.
    pub(super) fn switch_is_gone(&mut self) {
        self.switch.disconnected();
        self.parts.tunnel_routes.connection(None);
        self.rank_flows();
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
        self.switch.ranked = true;
    }

    /// Asks to be told who changes flows from now on, before they are read.
    async fn watch_switch(&mut self, connection: &Connection) -> Result<(), RequestError> {
        if self.switch.tells.is_none() {
            self.switch.tells = Some(match connection.watch_flows().await {
                Ok(()) => true,
                Err(RequestError::Rejected(error)) => {
                    tracing::warn!(%error, "this switch does not tell who changes its flows: they are compared now and then");
                    false
                }
                Err(error) => return Err(error),
            });
        }
        let ports = connection.ports().await?;
        self.switch.ports = Some(ports.into_iter().map(|port| (port.number.0, port.name)).collect());
        self.look_at_ports();
        Ok(())
    }

    async fn read_switch(&mut self, connection: &Connection) -> bool {
        let started = Instant::now();
        if let Err(error) = self.watch_switch(connection).await {
            self.lost(&error);
            return false;
        }
        // Nothing differed on this connection: what differs now is somebody else's work.
        let untouched = self.switch.was_read && self.may_name_differences();
        self.flows.begin_dump();
        let flows = &mut self.flows;
        let outcome = connection
            .dump_flows(|flow: Flow| {
                if flow.table != Table::Tick.id() {
                    let key = Key { table: flow.table, priority: flow.priority, oxm: flow.matches.oxm() };
                    if let Err(error) = flows.dumped(key, &flow.instructions) {
                        tracing::warn!(%flow, %error, "a flow of the switch cannot be compared, it will be written anew");
                    }
                }
            })
            .await;
        self.flows.end_dump();
        (self.switch.last_read, self.switch.reading_took) = (Instant::now(), started.elapsed());
        match outcome {
            Ok(()) => {
                self.parts.metrics.switch_reads.inc();
                (self.switch.read, self.switch.was_read) = (true, true);
                self.switch.fresh = self.flows.held() == 0;
                self.switch.closing &= !self.switch.fresh;
                if untouched {
                    self.name_differences();
                }
            }
            Err(error) => self.lost(&error),
        }
        self.switch.read
    }

    /// Waits until old megaflows are gone; whether they are.
    async fn realise(&mut self, connection: &Connection) -> bool {
        match self.switch.realised.wait(connection).await {
            Ok(()) => {
                (self.switch.unrealised, self.switch.closing) = (false, false);
                self.progress.realised();
                self.look_again(connection);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "not known whether the switch obeys");
                self.switch.resting = true;
                false
            }
        }
    }

    async fn send(&mut self, connection: &Connection, slice: &Slice) -> Sent {
        let mut batch = Batch::new();
        let (mut sent, mut refused) = (Vec::with_capacity(slice.changes.len()), Vec::new());
        let mut buffer = Vec::with_capacity(512);
        for change in &slice.changes {
            buffer.clear();
            let id = change.flow();
            let written = order::message(&self.flows, *change, &mut buffer).map_err(|error| error.to_string());
            let pushed = written.and_then(|command| {
                batch.push(&buffer).map_err(|error| error.to_string())?;
                Ok(command)
            });
            match pushed {
                Ok(command) => sent.push((id, command)),
                Err(error) => refused.push((id, error)),
            }
            if tracing::enabled!(tracing::Level::TRACE) {
                tracing::trace!(?change, flow = ?self.flows.read(id), "a flow changes");
            }
        }
        if !refused.is_empty() {
            return Sent::Refused(refused);
        }
        match connection.bundle(&batch).await {
            Ok(()) => {
                for (id, command) in sent {
                    match command {
                        FlowCommand::DeleteStrict => self.flows.uninstalled(id),
                        _ => self.flows.installed(id),
                    }
                }
                Sent::Done
            }
            Err(BundleError::Rejected(rejected)) => Sent::Refused(
                rejected
                    .into_iter()
                    .filter_map(|entry| Some((sent.get(entry.index)?.0, entry.error.to_string())))
                    .collect(),
            ),
            Err(BundleError::TooLong { index, length, limit }) => {
                let reason = format!("its message has {length} bytes, and {limit} fit into a bundle");
                Sent::Refused(sent.get(index).map(|(id, _)| (*id, reason)).into_iter().collect())
            }
            Err(BundleError::Refused(rejection)) => {
                tracing::error!(%rejection, "the switch refuses bundles");
                self.switch.rest();
                Sent::Lost
            }
            Err(BundleError::Request(error)) => {
                self.lost(&error);
                Sent::Lost
            }
        }
    }

    /// The connection, or what is known of the switch, is gone.
    pub(super) fn lost(&mut self, error: &RequestError) {
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
