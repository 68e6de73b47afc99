//! What can be asked of a switch over one connection.
//!
//! A [`Connection`] is bound to one connected switch process: when that ends, every request on it fails, so that a
//! difference computed against what was read from one switch is never sent to the next. New ones come from
//! [`super::session`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::error::RequestError;
use super::frame::{Batch, HEADER, kind, message, u16_at};
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
    datapath_id: u64,
    outgoing: mpsc::Sender<Vec<u8>>,
    waiting: Arc<Waiting>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Connection {} to datapath {:016x}", self.0.generation, self.0.datapath_id)
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
        datapath_id: u64,
        outgoing: mpsc::Sender<Vec<u8>>,
        waiting: Arc<Waiting>,
    ) -> Self {
        Self(Arc::new(Inner { generation, datapath_id, outgoing, waiting }))
    }

    /// Counts the connections of a session, from 1.
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// The bridge's datapath id.
    pub fn datapath_id(&self) -> u64 {
        self.0.datapath_id
    }

    /// Returns when the switch has worked on everything sent on this connection before.
    pub async fn barrier(&self) -> Result<(), RequestError> {
        self.request(kind::BARRIER_REQUEST, &[]).await.map(drop)
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
        self.write(piece).await?;
        answered(last).await?;
        Ok(errors.take())
    }

    /// One request with one answer.
    pub async fn request(&self, kind: u8, body: &[u8]) -> Result<Vec<u8>, RequestError> {
        let (xid, reply) = self.0.waiting.reply()?;
        self.write(message(kind, xid, body)).await?;
        answered(reply).await
    }

    /// A multipart request of the given type; `part` gets the body of each part (after `ofp_multipart_reply`) as it
    /// arrives, so a dump of any size needs the memory of a few parts.
    pub async fn multipart<E: From<RequestError>>(
        &self,
        kind: u16,
        body: &[u8],
        mut part: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (xid, mut parts) = self.0.waiting.parts().map_err(RequestError::from)?;
        let mut request = Vec::with_capacity(8 + body.len());
        request.extend_from_slice(&kind.to_be_bytes());
        request.extend_from_slice(&[0; 6]);
        request.extend_from_slice(body);
        self.write(message(kind::MULTIPART_REQUEST, xid, &request)).await?;
        loop {
            let next = timeout(ANSWER_WITHIN, parts.recv()).await.map_err(|_| RequestError::TimedOut(ANSWER_WITHIN))?;
            // The channel ends early only with the connection: the last part is known by its flags.
            let frame = next.ok_or(RequestError::Disconnected)?.map_err(RequestError::Rejected)?;
            let Some(body) = frame.get(HEADER + 8..) else {
                return Err(RequestError::Unreadable("a multipart reply without a body".into()).into());
            };
            part(body)?;
            if u16_at(&frame, HEADER + 2) & 1 == 0 {
                return Ok(());
            }
        }
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

/// Waits for an answer.
pub(super) async fn answered(reply: oneshot::Receiver<Answer>) -> Result<Vec<u8>, RequestError> {
    match timeout(ANSWER_WITHIN, reply).await {
        Ok(Ok(answer)) => answer.map_err(RequestError::Rejected),
        Ok(Err(_)) => Err(RequestError::Disconnected),
        Err(_) => Err(RequestError::TimedOut(ANSWER_WITHIN)),
    }
}
