//! The xid table: who waits for which answer.
//!
//! A request gets one answer, a multipart request gets parts until one says that it is the last, a batch gets nothing
//! unless the switch rejects some of its messages. An error goes to whoever sent the message it is about.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openflow::SwitchError;
use tokio::sync::{mpsc, oneshot};

use super::error::switch_error;
use super::frame::{Header, kind, u16_at};

/// Parts of a multipart answer that may wait to be taken; a part has at most 64 KiB.
const PARTS_AHEAD: usize = 8;
/// `OFPMPF_REPLY_MORE`.
const MORE: u16 = 1;

/// The answer to a request: the message, or the switch's error.
pub(super) type Answer = Result<Vec<u8>, SwitchError>;

/// A message of a batch that the switch rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Which message of the batch, from 0.
    pub index: usize,
    pub error: SwitchError,
}

/// The table of one connection. Closed when the connection ends, which wakes everybody who waits.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// By first xid: last xid and who waits.
    entries: BTreeMap<u32, (u32, Waiter)>,
    next: u32,
    closed: bool,
}

#[derive(Debug)]
enum Waiter {
    Reply(oneshot::Sender<Answer>),
    Parts(mpsc::Sender<Answer>),
    Rejections(Arc<Mutex<Vec<Rejected>>>),
}

/// The xids of a batch, and the messages of it that were rejected so far. Dropping it gives the xids back.
#[derive(Debug)]
pub(super) struct BatchErrors {
    pub(super) first: u32,
    rejected: Arc<Mutex<Vec<Rejected>>>,
    waiting: Arc<Waiting>,
}

/// The connection has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closed;

impl Waiting {
    /// An xid whose one answer comes on the channel.
    pub(super) fn reply(&self) -> Result<(u32, oneshot::Receiver<Answer>), Closed> {
        let (sender, receiver) = oneshot::channel();
        Ok((self.lock().insert(1, Waiter::Reply(sender))?, receiver))
    }

    /// An xid whose answers come on the channel, which ends after the last part.
    pub(super) fn parts(&self) -> Result<(u32, mpsc::Receiver<Answer>), Closed> {
        let (sender, receiver) = mpsc::channel(PARTS_AHEAD);
        Ok((self.lock().insert(1, Waiter::Parts(sender))?, receiver))
    }

    /// As many xids in a row as the batch has messages.
    pub(super) fn batch(self: &Arc<Self>, messages: usize) -> Result<BatchErrors, Closed> {
        let rejected = Arc::<Mutex<Vec<Rejected>>>::default();
        let count = u32::try_from(messages).map_err(|_| Closed)?.max(1);
        let first = self.lock().insert(count, Waiter::Rejections(rejected.clone()))?;
        Ok(BatchErrors { first, rejected, waiting: self.clone() })
    }

    /// Gives a message from the switch to whoever waits for its xid. Waits itself while the reader of a multipart answer
    /// is behind, so that memory stays bounded. Returns false if nobody waits for it.
    pub(super) async fn deliver(&self, header: Header, frame: &[u8]) -> bool {
        let answer = if header.kind == kind::ERROR { Err(switch_error(frame)) } else { Ok(frame.to_vec()) };
        let sender = {
            let mut table = self.lock();
            let Some((first, &(last, _))) = table.entries.range(..=header.xid).next_back() else { return false };
            let first = *first;
            if header.xid > last {
                return false;
            }
            match (&table.entries[&first].1, &answer) {
                (Waiter::Rejections(rejected), Err(error)) => {
                    let rejection = Rejected { index: (header.xid - first) as usize, error: error.clone() };
                    rejected.lock().unwrap_or_else(PoisonError::into_inner).push(rejection);
                    return true;
                }
                // A bundle's open is answered under the batch's first xid; nobody needs that.
                (Waiter::Rejections(_), Ok(_)) => return true,
                (Waiter::Parts(sender), _) => {
                    let sender = sender.clone();
                    let more = header.kind == kind::MULTIPART_REPLY && u16_at(frame, 10) & MORE != 0;
                    if !more || sender.is_closed() {
                        table.entries.remove(&first);
                    }
                    sender
                }
                (Waiter::Reply(_), _) => {
                    if let Some((_, Waiter::Reply(sender))) = table.entries.remove(&first) {
                        let _ = sender.send(answer); // whoever gave up waiting wants no answer
                    }
                    return true;
                }
            }
        };
        let _ = sender.send(answer).await; // the same
        true
    }

    /// Nobody gets an answer any more.
    pub(super) fn close(&self) {
        let mut table = self.lock();
        table.closed = true;
        table.entries.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn insert(&mut self, count: u32, waiter: Waiter) -> Result<u32, Closed> {
        if self.closed {
            return Err(Closed);
        }
        // 0 is the switch's own; rows of xids do not wrap around, and skip what is still waited for.
        let mut first = self.next.max(1);
        loop {
            let Some(last) = first.checked_add(count - 1) else {
                first = 1;
                continue;
            };
            match self.entries.range(..=last).next_back() {
                Some((_, (taken, _))) if *taken >= first => first = taken.checked_add(1).unwrap_or(1),
                _ => {
                    self.next = last.wrapping_add(1);
                    self.entries.insert(first, (last, waiter));
                    return Ok(first);
                }
            }
        }
    }
}

impl BatchErrors {
    /// Takes what was rejected so far. Complete up to a barrier whose reply has been seen.
    pub(super) fn take(&self) -> Vec<Rejected> {
        std::mem::take(&mut *self.rejected.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for BatchErrors {
    fn drop(&mut self) {
        self.waiting.lock().entries.remove(&self.first);
    }
}

#[cfg(test)]
mod tests {
    use openflow::ErrorCode;

    use super::super::frame::message;
    use super::*;

    async fn deliver(waiting: &Waiting, frame: &[u8]) -> bool {
        waiting.deliver(Header::read(frame).unwrap(), frame).await
    }

    #[tokio::test]
    async fn an_error_goes_to_the_message_of_the_batch_it_is_about() {
        let waiting = Arc::new(Waiting::default());
        let (before, _kept) = waiting.reply().unwrap();
        let batch = waiting.batch(10).unwrap();
        let (after, mut reply) = waiting.reply().unwrap();
        assert_eq!((batch.first, after), (before + 1, before + 11));
        let error = |xid| message(kind::ERROR, xid, &[0, 5, 0, 1]);
        assert!(deliver(&waiting, &error(batch.first + 9)).await);
        assert!(deliver(&waiting, &error(batch.first)).await);
        assert_eq!(batch.take().iter().map(|rejected| rejected.index).collect::<Vec<_>>(), [9, 0]);
        assert!(deliver(&waiting, &error(after)).await);
        assert_eq!(reply.try_recv().unwrap().unwrap_err().code, ErrorCode::Standard { kind: 5, code: 1 });
        drop(batch);
        assert!(!deliver(&waiting, &error(before + 1)).await, "the xids of a batch that is gone");
    }

    #[tokio::test]
    async fn parts_come_until_one_is_the_last() {
        let waiting = Waiting::default();
        let (xid, mut parts) = waiting.parts().unwrap();
        let part = |flags: u8| message(kind::MULTIPART_REPLY, xid, &[0, 1, 0, flags, 0, 0, 0, 0]);
        assert!(deliver(&waiting, &part(1)).await);
        assert!(deliver(&waiting, &part(0)).await);
        assert!(!deliver(&waiting, &part(0)).await);
        assert!(parts.recv().await.is_some() && parts.recv().await.is_some() && parts.recv().await.is_none());
    }

    #[tokio::test]
    async fn numbers_wrap_around_and_skip_what_is_still_waited_for() {
        let waiting = Arc::new(Waiting::default());
        let (first, _kept) = waiting.reply().unwrap();
        waiting.lock().next = u32::MAX - 1;
        let batch = waiting.batch(5).unwrap();
        assert_eq!(batch.first, first + 1, "no row of numbers wraps");
        waiting.close();
        assert_eq!(waiting.reply().unwrap_err(), Closed);
    }
}
