//! When a change of flows is *realised*: committed, and no megaflow left that was made before it.
//!
//! A bundle's commit or a barrier is not enough. vswitchd's datapath keeps cached decisions (megaflows) until its
//! revalidators have been through them; for milliseconds after the barrier's answer packets pass by yesterday's flows.
//! `revalidator/wait` on the unixctl socket is answered at the end of the round that is under way, which may have
//! begun before the commit. So two rounds are waited for, the second begun after the first ended. Simply called, that
//! takes up to half a second each, since rounds are 500 ms apart and vswitchd's main loop sleeps. Therefore, per round:
//!
//! 1. `revalidator/wait` is sent, and known to be registered before anything else happens (below);
//! 2. a flow in a table that nothing uses is changed, which starts a round;
//! 3. the main loop is kept awake by a barrier every 0.3 ms until the answer is there.
//!
//! Registered: vswitchd serves its unixctl connections in the order in which they were opened, once a turn of its main
//! loop. A second connection, opened before the waiting one and asked after it, is answered only in a turn that also
//! serves the waiting one; and the flow change can be seen no earlier than the next turn.
//!
//! It does not judge what the flows are, and it keeps no flow: the first round adds it, the second removes it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use openflow::{Flow, FlowCommand, FlowMod, Match, Message};
use tokio::time::timeout;

use super::openflow::{Connection, RequestError};
use super::unixctl::{Unixctl, UnixctlError};

/// Rounds of revalidation that must end.
const ROUNDS: [FlowCommand; 2] = [FlowCommand::Add, FlowCommand::DeleteStrict];
/// How often the main loop is woken while a round runs.
const WAKE_EVERY: Duration = Duration::from_micros(300);
/// How long the rounds may take. A round over 200,000 megaflows takes about a second.
const WITHIN: Duration = Duration::from_secs(30);

/// Why it is not known whether a change is realised.
#[derive(Debug, thiserror::Error)]
pub enum RealisedError {
    #[error("waiting for old megaflows to go: {0}; has this vswitchd bridges of more than one datapath type?")]
    Unixctl(#[from] UnixctlError),
    #[error("waiting for old megaflows to go: {0}")]
    Request(#[from] RequestError),
    #[error("old megaflows did not go within {WITHIN:?}; is vswitchd overloaded?")]
    TimedOut,
}

/// Waits for changes to be realised, one wait at a time.
#[derive(Debug)]
pub struct Realised {
    control: PathBuf,
    table: u8,
    /// Put back only after a wait that came to its end: a connection that still owes an answer registers no new wait.
    connections: Option<Connections>,
}

#[derive(Debug)]
struct Connections {
    /// Opened first, asked last.
    registered: Unixctl,
    wait: Unixctl,
}

impl Realised {
    /// `control` is vswitchd's unixctl socket, `table` a table that no packet reaches and no other flow is in.
    pub fn new(control: impl Into<PathBuf>, table: u8) -> Self {
        Self { control: control.into(), table, connections: None }
    }

    /// Returns when no packet is handled any more by flows as they were before this call. Everything sent on `connection`
    /// must have been answered before. May be dropped while waiting.
    pub async fn wait(&mut self, connection: &Connection) -> Result<(), RealisedError> {
        let known = self.connections.take();
        let rounds = timeout(WITHIN, async {
            let mut connections = match known {
                Some(connections) => connections,
                None => Connections::open(&self.control).await?,
            };
            for tick in ROUNDS {
                round(&mut connections, connection, tick, self.table).await?;
            }
            Ok(connections)
        });
        let result = rounds.await.unwrap_or(Err(RealisedError::TimedOut));
        fault::point("realised.rounds.ended");
        self.connections = Some(result?);
        Ok(())
    }
}

impl Connections {
    async fn open(control: &Path) -> Result<Self, UnixctlError> {
        let mut registered = Unixctl::connect(control).await?;
        // Its answer proves that it is accepted, and so comes before the next.
        registered.call("version", &[]).await?;
        Ok(Self { registered, wait: Unixctl::connect(control).await? })
    }
}

/// Starts one round, and waits for its end.
async fn round(
    connections: &mut Connections,
    connection: &Connection,
    tick: FlowCommand,
    table: u8,
) -> Result<(), RealisedError> {
    let Connections { registered, wait } = connections;
    let wait = wait.start("revalidator/wait", &[]).await?;
    registered.call("version", &[]).await?;
    fault::point("realised.round.registered");
    let mut answer = std::pin::pin!(wait.answer());
    let flow = FlowMod::new(tick, Flow::new(table, 0, Match::new()));
    connection.tell(&Message::FlowMod(Box::new(flow))).await?;
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return Ok(answer.map(drop)?),
            awake = wake(connection) => awake?,
        }
    }
}

/// One turn of vswitchd's main loop, then a pause. The timer of the runtime is too coarse for it.
async fn wake(connection: &Connection) -> Result<(), RequestError> {
    connection.barrier().await?;
    let _ = tokio::task::spawn_blocking(|| std::thread::sleep(WAKE_EVERY)).await;
    Ok(())
}
