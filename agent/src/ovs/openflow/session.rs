//! The OpenFlow connection that comes back.
//!
//! ```text
//!  Session ── connection() ──► Connection ── requests ──► writer ──►┐
//!                                  ▲                                │ <bridge>.mgmt
//!                                  └── answers ── xid table ── reader ◄──┘
//!  Events ◄── connected, disconnected, ports, packets ──────────┘
//! ```
//!
//! Nothing is remembered from one connection to the next: a switch that comes back may have lost everything.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::connection::Connection;
use super::error::{LinkError, RequestError};
use super::events::{Events, Queue};
use super::link::{IDLE, Link};
use crate::ovs::backoff::Backoff;

/// A shared handle; the connection ends with the last of them.
#[derive(Debug, Clone)]
pub struct Session {
    path: Arc<Path>,
    state: watch::Receiver<State>,
    _task: Arc<AbortOnDrop>,
}

#[derive(Debug, Clone, Default)]
struct State {
    connection: Option<Connection>,
    why: Option<Arc<str>>,
}

#[derive(Debug)]
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Session {
    /// A session with the bridge whose management socket (`<rundir>/<bridge>.mgmt`) is at `path`. Returns at once; it
    /// connects, and connects again, in the background. Needs a tokio runtime.
    pub fn connect(path: impl Into<PathBuf>) -> (Self, Events) {
        let path: Arc<Path> = path.into().into();
        let (sender, state) = watch::channel(State::default());
        let queue = Arc::new(Queue::default());
        let task = AbortOnDrop(tokio::spawn(supervise(path.clone(), sender, queue.clone())));
        (Self { path, state, _task: Arc::new(task) }, Events(queue))
    }

    /// The connection there is now.
    pub fn connection(&self) -> Result<Connection, RequestError> {
        let state = self.state.borrow();
        state.connection.clone().ok_or_else(|| self.not_connected(&state))
    }

    /// Waits for a connection.
    pub async fn connected(&self, within: Duration) -> Result<Connection, RequestError> {
        let mut state = self.state.clone();
        let waited = tokio::time::timeout(within, state.wait_for(|state| state.connection.is_some())).await;
        drop(waited); // whether in time or not, the answer is in the state
        self.connection()
    }

    fn not_connected(&self, state: &State) -> RequestError {
        let why = state.why.clone().unwrap_or_else(|| "still connecting".into());
        RequestError::NotConnected { path: self.path.to_path_buf(), why }
    }
}

async fn supervise(path: Arc<Path>, state: watch::Sender<State>, queue: Arc<Queue>) {
    let (mut backoff, mut generation) = (Backoff::default(), 0);
    loop {
        let error = match Link::open(&path, &queue).await {
            Ok(mut link) => {
                generation += 1;
                backoff.reset();
                let (outgoing, waiting) = (link.outgoing.clone(), link.waiting.clone());
                let connection = Connection::new(generation, link.features, outgoing, waiting, link.heard.clone());
                tracing::info!(path = %path.display(), generation, "connected to the switch");
                state.send_replace(State { connection: Some(connection.clone()), why: None });
                queue.connected(connection);
                let error = link.run(&queue, IDLE).await;
                drop(link); // fails what still waits, before anybody is told
                state.send_modify(|state| state.connection = None);
                queue.disconnected(generation);
                error
            }
            Err(error) => error,
        };
        report(&path, &state, &error);
        backoff.wait().await;
    }
}

/// Says once what keeps the connection away, however often it is tried.
fn report(path: &Path, state: &watch::Sender<State>, error: &LinkError) {
    let why: Arc<str> = error.to_string().into();
    if state.borrow().why.as_ref() != Some(&why) {
        tracing::warn!(path = %path.display(), %error, "no connection to the switch, trying again");
    }
    state.send_modify(|state| state.why = Some(why));
}
