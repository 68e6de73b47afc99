//! The OVSDB client: a copy of the rows that follows the server, transactions, and a connection that comes back.
//!
//! ```text
//!  callers ── transact ──► pending calls ──► writer ──►┐
//!     ▲                        ▲                       │ ovsdb-server
//!     └── outcome ─────────────┴── reader ◄────────────┘
//!  feeds ◄── changes ── cache ◄────┘  (updates, in the order in which the server sends them)
//! ```
//!
//! The server sends the update that a transaction caused before it answers that transaction, and the reader works in
//! order: once [`Client::transact`] returns, the caller's own change is in the cache.
//! A connection that dies fails every pending call; the cache keeps its last content until the next connection brings a
//! whole new one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::link::{self, DATABASE, Link, LinkError};
use super::monitor::{Cache, Change, Changes, Feeds};
use super::transaction::{Outcome, Transaction, TransactionError};
use crate::ovs::backoff::Backoff;
use crate::ovs::jsonrpc::Message;

/// How long the server may take for an answer. A transaction takes half a millisecond.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Calls under way at once; more wait for their turn.
const CALLS_AT_ONCE: usize = 64;

/// A shared handle; the connection ends with the last of them.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    _task: Arc<AbortOnDrop>,
}

/// Where the client stands. Every change of it, and every update of a row, wakes [`Client::watch`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    pub connected: bool,
    /// Counts connections that got as far as the first rows.
    pub generation: u64,
    /// Counts updates, over all connections.
    pub revision: u64,
    /// Why the last connection ended, or could not be opened.
    pub last_error: Option<Arc<str>>,
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("no connection to ovsdb-server at {path}: {why}")]
    NotConnected { path: PathBuf, why: Arc<str> },
    #[error(
        "the connection to ovsdb-server at {path} broke during {method}; it may or may not have happened: read and decide again"
    )]
    Disconnected { path: PathBuf, method: &'static str },
    #[error("ovsdb-server at {path} did not answer {method} within {ANSWER_WITHIN:?}; it may still happen")]
    TimedOut { path: PathBuf, method: &'static str },
    #[error("ovsdb-server refused {method}: {error}")]
    Refused { method: &'static str, error: String },
    #[error(transparent)]
    Transaction(#[from] TransactionError),
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    state: Mutex<State>,
    status: watch::Sender<Status>,
    calls: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    cache: Cache,
    feeds: Feeds,
    /// To the writer of the live connection.
    outgoing: Option<mpsc::UnboundedSender<Vec<u8>>>,
    pending: HashMap<u64, oneshot::Sender<Result<Value, Value>>>,
    next_id: u64,
}

#[derive(Debug)]
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// A client of the server at this unix socket. Returns at once; it connects, and connects again, in the background.
    /// Needs a tokio runtime.
    pub fn start(path: impl Into<PathBuf>) -> Self {
        let shared = Arc::new(Shared {
            path: path.into(),
            state: Mutex::default(),
            status: watch::Sender::new(Status::default()),
            calls: Semaphore::new(CALLS_AT_ONCE),
        });
        let task = AbortOnDrop(tokio::spawn(shared.clone().supervise()));
        Self { shared, _task: Arc::new(task) }
    }

    /// The server's socket.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Waits until the client is connected and its cache filled.
    pub async fn connected(&self, within: Duration) -> Result<(), CallError> {
        let mut status = self.shared.status.subscribe();
        let waited = tokio::time::timeout(within, status.wait_for(|status| status.connected)).await;
        waited.map(drop).map_err(|_| self.shared.not_connected())
    }

    /// Where the client stands, and a way to wait for the next change.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// The changes of rows from now on.
    pub fn changes(&self) -> Changes {
        self.shared.lock().feeds.subscribe()
    }

    /// Reads the cache. `read` must be quick: the connection waits for it.
    pub fn read<T>(&self, read: impl FnOnce(&Cache) -> T) -> T {
        read(&self.shared.lock().cache)
    }

    /// Waits until `find` finds something in the cache; looks again after every update.
    pub async fn wait_for<T>(&self, mut find: impl FnMut(&Cache) -> Option<T>, within: Duration) -> Option<T> {
        let mut status = self.watch();
        let found = async {
            loop {
                status.borrow_and_update();
                if let Some(found) = self.read(&mut find) {
                    return Some(found);
                }
                status.changed().await.ok()?;
            }
        };
        tokio::time::timeout(within, found).await.ok().flatten()
    }

    /// Runs a transaction. When it returns with success its changes are in the cache.
    pub async fn transact(&self, transaction: &Transaction) -> Result<Outcome, CallError> {
        fault::point("ovsdb.transact.before");
        let answer = self.shared.call("transact", transaction.parameters(DATABASE)).await;
        fault::point("ovsdb.transact.done");
        let answer = answer?;
        Ok(transaction.outcome(answer)?)
    }

    /// The names of the server's databases (`list_dbs`).
    pub async fn databases(&self) -> Result<Vec<String>, CallError> {
        let answer = self.shared.call("list_dbs", json!([])).await?;
        Ok(answer.as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock leaves the state half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, method: &'static str, params: Value) -> Result<Value, CallError> {
        let _permit = self.calls.acquire().await;
        let (sender, answer) = oneshot::channel();
        let id = {
            let mut state = self.lock();
            let outgoing = state.outgoing.clone().ok_or_else(|| self.not_connected())?;
            state.next_id += 1;
            let id = state.next_id;
            state.pending.insert(id, sender);
            // A writer that is gone drops the message; then the reader is about to fail the pending calls.
            let _ = outgoing.send(Message::Request { id: json!(id), method: method.into(), params }.encode());
            id
        };
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(result)) => result.map_err(|error| CallError::Refused { method, error: error.to_string() }),
            Ok(Err(_)) => Err(CallError::Disconnected { path: self.path.clone(), method }),
            Err(_) => {
                self.lock().pending.remove(&id);
                Err(CallError::TimedOut { path: self.path.clone(), method })
            }
        }
    }

    fn not_connected(&self) -> CallError {
        let why = self.status.borrow().last_error.clone().unwrap_or_else(|| "still connecting".into());
        CallError::NotConnected { path: self.path.clone(), why }
    }

    async fn supervise(self: Arc<Self>) {
        let mut backoff = Backoff::default();
        loop {
            let generation = self.status.borrow().generation;
            let error = self.run_link().await;
            if self.status.borrow().generation != generation {
                backoff.reset();
            }
            self.lost(&error);
            backoff.wait().await;
        }
    }

    /// Opens one connection and serves it until it ends.
    async fn run_link(&self) -> LinkError {
        let Link { mut receiver, outgoing, writer, cache } = match Link::open(&self.path).await {
            Ok(link) => link,
            Err(error) => return error,
        };
        let _writer = AbortOnDrop(writer);
        {
            let mut state = self.lock();
            let changes = state.cache.replace(cache);
            state.feeds.publish(&changes);
            state.outgoing = Some(outgoing.clone());
        }
        self.status.send_modify(|status| {
            status.connected = true;
            status.last_error = None;
            status.generation += 1;
            status.revision += 1;
        });
        loop {
            let message = match receiver.next().await {
                Ok(message) => message,
                Err(error) => return error,
            };
            if let Some(updates) = link::updates(&message) {
                if let Err(error) = self.update(updates) {
                    return error;
                }
            } else if let Message::Response { id, result } = message {
                let caller = id.as_u64().and_then(|id| self.lock().pending.remove(&id));
                // A caller that waits no longer wants no answer.
                let _ = caller.map(|caller| caller.send(result));
            } else {
                link::answer_echo(&message, &outgoing);
            }
        }
    }

    fn update(&self, updates: &Value) -> Result<(), LinkError> {
        let changes: Vec<Change> = {
            let mut state = self.lock();
            let changes = state.cache.apply(updates)?;
            state.feeds.publish(&changes);
            changes
        };
        if !changes.is_empty() {
            self.status.send_modify(|status| status.revision += 1);
        }
        Ok(())
    }

    /// Fails what waits for an answer of the connection that is gone.
    fn lost(&self, error: &LinkError) {
        {
            let mut state = self.lock();
            state.outgoing = None;
            state.pending.clear();
        }
        let why: Arc<str> = error.to_string().into();
        // Said once, however often it is tried.
        if self.status.borrow().last_error.as_ref() != Some(&why) {
            tracing::warn!(path = %self.path.display(), %error, "no connection to ovsdb-server, trying again");
        }
        self.status.send_modify(|status| {
            status.connected = false;
            status.last_error = Some(why);
        });
    }
}
