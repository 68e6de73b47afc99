//! What can be asked of a switch over one connection.
//!
//! A [`Connection`] is bound to one connected switch process: when that ends, every request on it fails, so that a
//! difference computed against what was read from one switch is never sent to the next. New ones come from
//! [`super::session`].

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use openflow::{Features, HEADER_LENGTH as HEADER, Message, MultipartRequest, Reply, Request};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::error::RequestError;
use super::frame::{Batch, kind, message};
use super::waiting::{Answer, BatchErrors, Closed, Rejected, Waiting};

/// How long the switch may take to answer one request. A bundle of 100,000 flows takes it less than a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Messages between two barriers of a send.
const WINDOW: usize = 1000;
/// Bytes that go to the writer at once.
pub(super) const PIECE: usize = 64 << 10;

/// A shared handle.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    generation: u64,
    features: Features,
    outgoing: mpsc::Sender<Vec<u8>>,
    waiting: Arc<Waiting>,
    heard: Arc<Heard>,
}

/// When the switch last said something.
#[derive(Debug)]
pub(super) struct Heard(Mutex<Instant>);

impl Default for Heard {
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

impl Heard {
    pub(super) fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Connection {} to datapath {:016x}", self.0.generation, self.0.features.datapath_id)
    }
}

impl From<Closed> for RequestError {
    fn from(_: Closed) -> Self {
        Self::Disconnected
    }
}

impl Connection {
    pub(super) fn new(
        generation: u64,
        features: Features,
        outgoing: mpsc::Sender<Vec<u8>>,
        waiting: Arc<Waiting>,
        heard: Arc<Heard>,
    ) -> Self {
        Self(Arc::new(Inner { generation, features, outgoing, waiting, heard }))
    }

    /// Counts the connections of a session, from 1.
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// What the switch said of itself, its datapath id among it.
    pub fn features(&self) -> Features {
        self.0.features
    }

    /// For how long the switch has said nothing at all. One that was asked nothing may well be silent.
    pub fn silent_for(&self) -> Duration {
        self.0.heard.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Returns when the switch has worked on everything sent on this connection before.
    pub async fn barrier(&self) -> Result<(), RequestError> {
        let (xid, reply) = self.reply()?;
        self.write(message(kind::BARRIER_REQUEST, xid, &[])).await?;
        answered(reply).await.map(drop)
    }

    /// Sends messages that are answered only when they fail (mods, packet-outs), and returns those that did, once the switch
    /// has worked on all of them. The others have happened. At most two windows of messages are unacknowledged.
    pub async fn send(&self, batch: &Batch) -> Result<Vec<Rejected>, RequestError> {
        let errors = self.batch(batch.len())?;
        let (mut piece, mut sent, mut earlier) = (Vec::with_capacity(PIECE), 0, None);
        for (message, xid) in batch.iter().zip(errors.first..) {
            let start = piece.len();
            piece.extend_from_slice(message);
            piece[start + 4..start + HEADER].copy_from_slice(&xid.to_be_bytes());
            sent += 1;
            if sent % WINDOW == 0 {
                let barrier = self.start_barrier(&mut piece)?;
                self.write(std::mem::take(&mut piece)).await?;
                if let Some(earlier) = earlier.replace(barrier) {
                    answered(earlier).await?;
                }
            } else if piece.len() >= PIECE {
                self.write(std::mem::take(&mut piece)).await?;
            }
        }
        let last = self.start_barrier(&mut piece)?;
        fault::point("openflow.send.before");
        self.write(piece).await?;
        answered(last).await?;
        fault::point("openflow.send.done");
        Ok(errors.take())
    }

    /// One message that is answered only when it fails.
    pub async fn tell(&self, message: &Message) -> Result<(), RequestError> {
        let mut batch = Batch::new();
        batch.push_message(message)?;
        match self.send(&batch).await?.into_iter().next() {
            Some(rejected) => Err(RequestError::Rejected(rejected.error)),
            None => Ok(()),
        }
    }

    /// One request with one answer.
    pub async fn ask(&self, request: &Message) -> Result<Message, RequestError> {
        let (xid, reply) = self.reply()?;
        self.write(request.encode(xid)?).await?;
        Ok(Message::decode(&answered(reply).await?)?.1)
    }

    /// A question whose answer comes in parts; `part` gets each as it arrives, so a dump of any size needs the memory of a
    /// few parts of at most 64 KiB. An error of `part` ends it.
    pub async fn multipart<E: From<RequestError>>(
        &self,
        request: Request,
        mut part: impl FnMut(Reply) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut parts = self.start_multipart(request).await?;
        while let Some(reply) = parts.next().await? {
            part(reply)?;
        }
        Ok(())
    }

    /// The same for whoever waits between two parts; the switch then waits too.
    pub(super) async fn start_multipart(&self, request: Request) -> Result<Parts, RequestError> {
        let (xid, parts) = self.0.waiting.parts()?;
        let request: MultipartRequest = request.into();
        self.write(Message::MultipartRequest(request).encode(xid)?).await?;
        Ok(Parts { parts, more: true })
    }

    pub(super) fn batch(&self, messages: usize) -> Result<BatchErrors, RequestError> {
        Ok(self.0.waiting.batch(messages)?)
    }

    /// An xid and where its answer comes.
    pub(super) fn reply(&self) -> Result<(u32, oneshot::Receiver<Answer>), RequestError> {
        Ok(self.0.waiting.reply()?)
    }

    pub(super) async fn write(&self, piece: Vec<u8>) -> Result<(), RequestError> {
        self.0.outgoing.send(piece).await.map_err(|_| RequestError::Disconnected)
    }

    /// Appends a barrier request.
    fn start_barrier(&self, piece: &mut Vec<u8>) -> Result<oneshot::Receiver<Answer>, RequestError> {
        let (xid, reply) = self.reply()?;
        piece.extend_from_slice(&message(kind::BARRIER_REQUEST, xid, &[]));
        Ok(reply)
    }
}

/// An answer that comes in parts.
#[derive(Debug)]
pub(super) struct Parts {
    parts: mpsc::Receiver<Answer>,
    /// The last one was not here yet.
    more: bool,
}

impl Parts {
    /// The next part; none after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Reply>, RequestError> {
        if !self.more {
            return Ok(None);
        }
        let next = timeout(ANSWER_WITHIN, self.parts.recv()).await;
        let next = next.map_err(|_| RequestError::TimedOut(ANSWER_WITHIN))?;
        // The channel ends early only with the connection: the last part says that it is.
        let frame = next.ok_or(RequestError::Disconnected)?.map_err(RequestError::Rejected)?;
        let Message::MultipartReply(reply) = Message::decode(&frame)?.1 else {
            return Err(RequestError::OtherAnswer);
        };
        self.more = reply.more;
        Ok(Some(reply.reply))
    }
}

/// Waits for an answer.
pub(super) async fn answered(reply: oneshot::Receiver<Answer>) -> Result<Vec<u8>, RequestError> {
    match timeout(ANSWER_WITHIN, reply).await {
        Ok(Ok(answer)) => answer.map_err(RequestError::Rejected),
        Ok(Err(_)) => Err(RequestError::Disconnected),
        Err(_) => Err(RequestError::TimedOut(ANSWER_WITHIN)),
    }
}
