//! What the switch is asked, in a task beside the loop: a switch that takes its time, or stands still, keeps no event waiting.
//!
//! One thing at a time. Nothing is decided here: what comes of it ([`Outcome`]) is for the loop to act on, in the order in which it
//! came. A task that is not wanted any more (the connection is gone) ends where it is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use openflow::{Flow, FlowCommand};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::apply::flows::FlowId;
use crate::apply::order;
use crate::ovs::openflow::{Batch, BundleError, Connection, RequestError};
use crate::ovs::ovsdb::SwitchError;
use crate::ovs::realised::{Realised, RealisedError};

/// A switch that owes an answer and has not said a word for so long does not answer.
const SILENT: Duration = Duration::from_secs(3);

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What it has is read.
    Read,
    /// A slice is sent.
    Send,
    /// It is waited for until it obeys.
    Realise,
    /// Groups and meters are looked at.
    Groups,
    /// It is told to wait no more.
    EndWaiting,
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// Of reading: it tells, or cannot tell, who changes its flows from now on (none where it was asked before); its ports.
    Watched(Option<bool>, BTreeMap<u32, String>),
    /// Some of its flows.
    Flows(Vec<Flow>),
    /// Those were all.
    Read(Result<(), RequestError>),
    /// A slice was sent.
    Sent(Sent),
    /// It waits no more, or that is not known.
    WaitsNoMore(Result<(), SwitchError>),
    /// It obeys, or that is not known.
    Realised(Box<Realised>, Result<(), RealisedError>),
    /// Groups and meters that were there, by name. They are gone, but for those that the switch keeps.
    Groups(Result<[Vec<String>; 2], RequestError>),
}

/// A slice that was sent.
#[derive(Debug)]
pub struct Sent {
    /// What was said of which flow, in order.
    pub(super) changes: Vec<(FlowId, FlowCommand)>,
    pub(super) opens: bool,
    pub(super) whole: bool,
    pub(super) result: Result<(), BundleError>,
}

/// What is under way. Dropped, it ends.
#[derive(Debug)]
pub struct Work {
    kind: Kind,
    connection: Connection,
    since: Instant,
    outcomes: mpsc::Receiver<Outcome>,
    task: JoinHandle<()>,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Work {
    /// Reads ports and flows; `ask`s before that to be told from now on who changes them.
    pub(super) fn read(connection: &Connection, ask: bool) -> Self {
        Self::begin(Kind::Read, connection, async move |connection, outcomes| {
            Outcome::Read(read(&connection, ask, &outcomes).await)
        })
    }

    /// Sends a slice in one bundle.
    pub(super) fn send(connection: &Connection, batch: Batch, mut sent: Sent) -> Self {
        Self::begin(Kind::Send, connection, async move |connection, _| {
            sent.result = connection.bundle(&batch).await;
            Outcome::Sent(sent)
        })
    }

    /// Waits until old megaflows are gone.
    pub(super) fn realise(connection: &Connection, mut realised: Box<Realised>) -> Self {
        Self::begin(Kind::Realise, connection, async move |connection, _| {
            let result = realised.wait(&connection).await;
            Outcome::Realised(realised, result)
        })
    }

    /// Waits until vswitchd does not wait any more.
    pub(super) fn end_waiting(connection: &Connection, ended: oneshot::Receiver<Result<(), SwitchError>>) -> Self {
        Self::begin(Kind::EndWaiting, connection, async move |_, _| {
            // Without an answer it is known to be away.
            Outcome::WaitsNoMore(ended.await.unwrap_or(Ok(())))
        })
    }

    /// Takes groups and meters away.
    pub(super) fn groups(connection: &Connection) -> Self {
        Self::begin(Kind::Groups, connection, async |connection, _| Outcome::Groups(remove_groups(&connection).await))
    }

    fn begin<F>(kind: Kind, connection: &Connection, work: impl FnOnce(Connection, mpsc::Sender<Outcome>) -> F) -> Self
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let (sender, outcomes) = mpsc::channel(1);
        let working = work(connection.clone(), sender.clone());
        let task = tokio::spawn(async move {
            let outcome = working.await;
            let _ = sender.send(outcome).await; // nobody takes it once the loop has ended
        });
        Self { kind, connection: connection.clone(), since: Instant::now(), outcomes, task }
    }

    /// What is under way.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// For how long.
    pub(super) fn took(&self) -> Duration {
        self.since.elapsed()
    }

    /// Whether the switch owes an answer and has been silent for too long.
    pub(super) fn is_silent(&self) -> bool {
        self.since.elapsed() >= SILENT && self.connection.silent_for() >= SILENT
    }

    /// The next thing that came of it. May be dropped while waiting; nothing is lost.
    pub(super) async fn next(&mut self) -> Outcome {
        self.outcomes.recv().await.expect("a task says what came of it; the process ends with one that panics")
    }
}

impl Outcome {
    /// Whether nothing comes after it.
    pub(super) fn is_last(&self) -> bool {
        !matches!(self, Self::Watched(..) | Self::Flows(_))
    }
}

/// Asks to be told who changes flows from now on, before they are read.
async fn read(connection: &Connection, ask: bool, outcomes: &mpsc::Sender<Outcome>) -> Result<(), RequestError> {
    let mut reading = connection.start_reading(ask).await?;
    let tells = match reading.watched().await {
        Ok(watched) => watched.map(|()| true),
        Err(RequestError::Rejected(error)) => {
            tracing::warn!(%error, "this switch does not tell who changes its flows: they are compared now and then");
            Some(false)
        }
        Err(error) => return Err(error),
    };
    let ports = reading.ports().await?.into_iter().map(|port| (port.number.0, port.name)).collect();
    let _ = outcomes.send(Outcome::Watched(tells, ports)).await; // as below
    while let Some(flows) = reading.flows().await? {
        let _ = outcomes.send(Outcome::Flows(flows)).await; // nobody takes it once the loop has ended
    }
    Ok(())
}

async fn remove_groups(connection: &Connection) -> Result<[Vec<String>; 2], RequestError> {
    let (groups, meters) = (connection.dump_groups().await?, connection.dump_meters().await?);
    let names = [
        groups.iter().map(|group| format!("group {}", group.id)).collect(),
        meters.iter().map(|meter| format!("meter {}", meter.id)).collect(),
    ];
    if !groups.is_empty() || !meters.is_empty() {
        for rejected in connection.send(&order::unwanted(&groups, &meters)?).await? {
            tracing::warn!(error = %rejected.error, "a group or meter of somebody else stays");
        }
    }
    Ok(names)
}
