//! The controller's stream: frames come in whole, facts of this node go out.
//!
//! ```text
//!  controller ══ parts of frames ══► gathered until `last`, version checked ──► Event::Frame
//!             ◄══ Hello, PodReport, Acknowledge, Realised ══ [`Uplink`] ◄── the loop
//! ```
//!
//! The first frame of a stream replaces everything, so it is built beside what holds; nothing that the old state has goes
//! before the frame's last part is here. A stream that breaks, lags behind or says what cannot be read is left and begun
//! anew; facts that could not be sent are part of the next Hello.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use apis::stream::control_client::ControlClient;
use apis::stream::{self as wire, from_agent, from_controller};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

use super::journal::Journal;
use crate::event::{Decoded, Event};
use crate::state::object::Change;
use crate::state::wire::BadMessage;
use crate::state::{Body, Changed, Frame, PodKey, Upstream, Version};

/// The protocol versions this agent speaks, newest first.
const VERSIONS: &[u32] = &[1];
/// Messages that may wait to be sent; a stream that is slower than that is begun anew.
const OUTGOING: usize = 1024;
/// A frame's part may be as large as a controller likes to make it, up to this.
const MESSAGE_LIMIT: usize = 64 << 20;
/// Waits between attempts: at first hardly at all, since a restarted controller is soon back.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// A connection on which nothing comes back for this long is dead.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// No connection.
    #[error("the controller at {controller} cannot be reached: {source}")]
    Connect {
        /// Where.
        controller: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The stream broke.
    #[error("the controller's stream broke: {0}")]
    Broken(Box<tonic::Status>),
    /// The controller closed it.
    #[error("the controller closed the stream")]
    Closed,
    /// Not understood.
    #[error(transparent)]
    BadMessage(#[from] BadMessage),
    /// Older than what was accepted.
    #[error(transparent)]
    GoesBack(#[from] crate::state::frame::GoesBack),
    /// Begun anew by this agent.
    #[error("what changed is longer than what there is; all is asked for again")]
    Renewed,
    /// The agent is ending.
    #[error("the agent is ending")]
    Ending,
}

/// What this node reports, kept so that a new stream starts with all of it.
#[derive(Clone, Debug)]
pub struct Uplink {
    shared: Arc<Mutex<Shared>>,
    sender: watch::Sender<Option<mpsc::Sender<wire::FromAgent>>>,
}

#[derive(Debug, Default)]
struct Shared {
    node: String,
    boot: Vec<u8>,
    sequence: u64,
    pods: BTreeMap<PodKey, wire::PodReport>,
    accepted: Version,
    /// The stream that stands, or stood last; counts from 1.
    stream: u64,
}

impl Uplink {
    /// Nothing to report yet. `boot` orders this life of the agent among its others.
    pub fn new(node: &str, boot: [u8; 16]) -> Self {
        let shared = Shared { node: node.to_owned(), boot: boot.to_vec(), ..Shared::default() };
        Self { shared: Arc::new(Mutex::new(shared)), sender: watch::Sender::new(None) }
    }

    /// A pod has these addresses, or none any more.
    pub fn report_pod(&self, key: &PodKey, addresses: &[std::net::IpAddr], mac: [u8; 6]) {
        let report = {
            let mut shared = self.lock();
            shared.sequence += 1;
            let report = wire::PodReport {
                sequence: shared.sequence,
                namespace: key.namespace().to_owned(),
                name: key.name().to_owned(),
                addresses: addresses.iter().map(|address| crate::state::wire::address_bytes(*address).into()).collect(),
                mac: mac.to_vec().into(),
            };
            if addresses.is_empty() {
                shared.pods.remove(key);
            } else {
                shared.pods.insert(key.clone(), report.clone());
            }
            report
        };
        self.send(from_agent::Message::Pod(report));
    }

    /// What an earlier life of the agent accepted: no controller may go back behind it.
    pub fn accepted_before(&self, version: &Version) {
        self.lock().accepted = version.clone();
    }

    /// The switch obeys a frame of the given stream. Said on another, its number would mean another frame.
    pub fn realised(&self, stream: u64, realised: wire::Realised) {
        if self.lock().stream != stream {
            return;
        }
        self.send(from_agent::Message::Realised(realised));
    }

    /// The sequence of the last report.
    pub fn sequence(&self) -> u64 {
        self.lock().sequence
    }

    fn send(&self, message: from_agent::Message) {
        let sender = self.sender.borrow().clone();
        if let Some(sender) = sender
            && sender.try_send(wire::FromAgent { message: Some(message) }).is_err()
        {
            // Full or closed: the stream is of no use any more, and its successor begins with a Hello that says all.
            self.sender.send_replace(None);
        }
    }

    fn hello(&self) -> wire::FromAgent {
        let shared = self.lock();
        let hello = wire::Hello {
            node: shared.node.clone(),
            versions: VERSIONS.to_vec(),
            boot: shared.boot.clone().into(),
            last: Some((&shared.accepted).into()),
            pods: shared.pods.values().cloned().collect(),
        };
        wire::FromAgent { message: Some(from_agent::Message::Hello(hello)) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        // Nothing that holds the lock leaves the state half-changed.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the controller for as long as somebody takes the events.
pub async fn follow(
    controller: String,
    node: String,
    uplink: Uplink,
    mut journal: Journal,
    events: mpsc::Sender<Event>,
) {
    let mut wait = FIRST_WAIT;
    loop {
        let mut answered = false;
        let error = match run(&controller, &node, &uplink, &mut journal, &events, &mut answered).await {
            Ok(()) => StreamError::Closed,
            Err(StreamError::Ending) => return,
            Err(error) => error,
        };
        uplink.sender.send_replace(None);
        journal.discard();
        if answered {
            tracing::warn!(%controller, %error, "the controller's stream ended, trying again");
            wait = FIRST_WAIT;
            if events.send(Event::Controller { connected: false }).await.is_err() {
                return;
            }
        } else {
            tracing::debug!(%controller, %error, "no controller yet");
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// One stream, from connecting to its end.
async fn run(
    controller: &str,
    node: &str,
    uplink: &Uplink,
    journal: &mut Journal,
    events: &mpsc::Sender<Event>,
    answered: &mut bool,
) -> Result<(), StreamError> {
    let connect = |source| StreamError::Connect { controller: controller.to_owned(), source };
    let endpoint = Endpoint::from_shared(controller.to_owned())
        .map_err(connect)?
        .connect_timeout(Duration::from_secs(2))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    let channel = endpoint.connect().await.map_err(connect)?;
    let mut client = ControlClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT);
    let (sender, receiver) = mpsc::channel(OUTGOING);
    let broken = |status| StreamError::Broken(Box::new(status));
    // The receiver is the stream's own, so that what is sent after the Hello can not overtake it.
    let hello = uplink.hello();
    sender.try_send(hello).map_err(|_| StreamError::Closed)?;
    let mut watched = uplink.sender.subscribe();
    uplink.sender.send_replace(Some(sender.clone()));
    // A report made between the Hello and the sender being in place is in neither: say all pods again, which is harmless.
    for report in uplink.lock().pods.values() {
        let message = wire::FromAgent { message: Some(from_agent::Message::Pod(report.clone())) };
        let _ = sender.try_send(message);
    }
    let mut incoming = client.stream(ReceiverStream::new(receiver)).await.map_err(broken)?.into_inner();
    let mut gathering = Gathering::new(node);
    let mut first = None;
    let stream = {
        let mut shared = uplink.lock();
        shared.stream += 1;
        shared.stream
    };
    loop {
        let message = tokio::select! {
            message = incoming.message() => message.map_err(broken)?.ok_or(StreamError::Closed)?,
            replaced = watched.wait_for(Option::is_none) => {
                drop(replaced);
                return Err(StreamError::Closed);
            }
        };
        match message.message {
            Some(from_controller::Message::Welcome(welcome)) => {
                if !VERSIONS.contains(&welcome.version) {
                    let what = format!("protocol version {}", welcome.version);
                    return Err(BadMessage { object: "a welcome".to_owned(), what }.into());
                }
                *answered = true;
                tracing::info!(controller = %welcome.controller, "connected to the controller");
                events.send(Event::Controller { connected: true }).await.map_err(|_| StreamError::Ending)?;
            }
            Some(from_controller::Message::Frame(part)) => {
                let begun = *first.get_or_insert_with(Instant::now);
                journal.part(&part);
                if let Some(mut frame) = gathering.take(part)? {
                    frame.version.follows(&uplink.lock().accepted)?;
                    frame.stream = stream;
                    journal.commit();
                    let number = frame.number;
                    uplink.lock().accepted = frame.version.clone();
                    let decoded = Decoded { first: begun, last: Instant::now() };
                    first = None;
                    events.send(Event::Frame(Box::new(frame), decoded)).await.map_err(|_| StreamError::Ending)?;
                    uplink.send(from_agent::Message::Acknowledge(wire::Acknowledge { frame: number }));
                    if journal.is_long() {
                        return Err(StreamError::Renewed);
                    }
                }
            }
            None => tracing::debug!("the controller said something that this version does not know"),
        }
    }
}

/// A frame in the making.
#[derive(Debug)]
pub struct Gathering {
    node: String,
    frame: Option<(u64, Body)>,
}

impl Gathering {
    /// Between frames.
    pub fn new(node: &str) -> Self {
        Self { node: node.to_owned(), frame: None }
    }

    /// Takes a part; the frame when it was the last.
    ///
    /// # Errors
    /// When the part does not continue what was begun, or something in it is not valid.
    pub fn take(&mut self, part: wire::Frame) -> Result<Option<Frame>, BadMessage> {
        let number = part.number;
        let (_, body) = match &mut self.frame {
            Some((begun, _)) if *begun != number => {
                let what = format!("a part of frame {number} before the end of frame {begun}");
                return Err(BadMessage { object: "a frame".to_owned(), what });
            }
            Some(frame) => frame,
            none if part.replace => none.insert((number, Body::Replace(Box::new(Upstream::new(&self.node))))),
            none => none.insert((number, Body::Update(Vec::new()))),
        };
        // Everything is looked at when a replacing frame is complete; what changed on the way does not matter.
        let mut ignored = Changed::default();
        for change in part.changes {
            let change = Change::try_from(change)?;
            match body {
                Body::Update(changes) => changes.push(change),
                Body::Replace(upstream) => upstream.apply(change, &mut ignored),
            }
        }
        if !part.last {
            return Ok(None);
        }
        let version = part.version.unwrap_or_default().into();
        Ok(self.frame.take().map(|(number, body)| Frame { number, version, stream: 0, body }))
    }
}
