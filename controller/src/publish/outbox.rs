//! What waits to go down one stream: at most one of each kind, whatever happens meanwhile.
//!
//! ```text
//!  the loop ─► slots: welcome, end, ask, renewed, released, head, a frame ─► taken one message at a time, as the stream drains
//! ```
//!
//! A frame is kept as the list of changes that it says, which all agents share; its parts are made one by one when the stream has
//! room. So an agent that does not read costs a list of what it needs and one part, and never more.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use apis::stream::{self as wire, from_controller::Message};
use bytes::Bytes;
use futures::Stream;
use tonic::Status;

use super::frame::{Frame, Outgoing};

/// The loop's end. The stream ends when it is dropped.
pub struct Outbox(Arc<Mutex<Slots>>);

/// Answers that need nothing of the loop: a handle for the side that listens. It does not keep the stream open.
#[derive(Clone)]
pub struct Answers(Arc<Mutex<Slots>>);

/// The stream's end.
pub struct Drain(Arc<Mutex<Slots>>);

#[derive(Default)]
struct Slots {
    welcome: Option<wire::Welcome>,
    end: Option<Status>,
    ask: Option<wire::Ask>,
    renewed: Option<wire::Renewed>,
    released: Option<u64>,
    head: Option<Head>,
    frame: Option<Frame>,
    closed: bool,
    waker: Option<Waker>,
}

/// How new the controller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the change since which `version` tells; none: everything.
    pub since: Option<u64>,
    /// An encoded `Version`.
    pub version: Bytes,
    /// The number of the change up to which it tells.
    pub number: u64,
    /// Nothing is outstanding for a stream that brings frames.
    pub complete: bool,
}

/// Both ends of a stream.
pub fn outbox() -> (Outbox, Drain) {
    let slots = Arc::<Mutex<Slots>>::default();
    (Outbox(Arc::clone(&slots)), Drain(slots))
}

fn lock(slots: &Mutex<Slots>) -> MutexGuard<'_, Slots> {
    // Nothing that holds the lock leaves the slots half-changed.
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

fn put(slots: &Mutex<Slots>, change: impl FnOnce(&mut Slots)) {
    let waker = {
        let mut slots = lock(slots);
        change(&mut slots);
        slots.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Outbox {
    /// A handle for answers that need nothing of the loop.
    pub fn answers(&self) -> Answers {
        Answers(Arc::clone(&self.0))
    }

    pub(super) fn welcome(&self, welcome: wire::Welcome) {
        put(&self.0, |slots| slots.welcome = Some(welcome));
    }

    /// Ends the stream with a reason.
    pub(super) fn end(&self, status: Status) {
        put(&self.0, |slots| slots.end = Some(status));
    }

    pub(super) fn ask(&self, ask: wire::Ask) {
        put(&self.0, |slots| slots.ask = Some(ask));
    }

    pub(super) fn released(&self, sequence: u64) {
        put(&self.0, |slots| slots.released = Some(sequence));
    }

    pub(super) fn frame(&self, frame: Frame) {
        put(&self.0, |slots| slots.frame = Some(frame));
    }

    /// What is left of a frame is not wanted any longer.
    pub(super) fn drop_frame(&self) {
        put(&self.0, |slots| {
            slots.frame = None;
            slots.ask = None;
        });
    }

    /// Says how new the controller is: `make` gets the number up to which the stream has been told. What waits to be said is
    /// said in one with it.
    pub(super) fn head(&self, told: Option<u64>, make: impl FnOnce(Option<u64>) -> Head) {
        put(&self.0, |slots| {
            let since = slots.head.as_ref().map_or(told, |waiting| waiting.since);
            slots.head = Some(make(since));
        });
    }

    /// How many changes of a frame wait.
    pub(super) fn waiting_changes(&self) -> usize {
        lock(&self.0).frame.as_ref().map_or(0, Frame::left)
    }
}

impl Answers {
    /// Answers a request for a certificate.
    pub fn renewed(&self, renewed: wire::Renewed) {
        put(&self.0, |slots| slots.renewed = Some(renewed));
    }

    /// Ends the stream with a reason.
    pub fn end(&self, status: Status) {
        put(&self.0, |slots| slots.end = Some(status));
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        put(&self.0, |slots| slots.closed = true);
    }
}

impl Slots {
    fn next(&mut self) -> Option<Result<Outgoing, Status>> {
        let say =
            |message: Message| Some(Ok(Outgoing::Message(Box::new(wire::FromController { message: Some(message) }))));
        if let Some(welcome) = self.welcome.take() {
            return say(Message::Welcome(welcome));
        }
        if let Some(status) = self.end.take() {
            self.closed = true;
            self.frame = None;
            return Some(Err(status));
        }
        if let Some(ask) = self.ask.take() {
            return say(Message::Ask(ask));
        }
        if let Some(renewed) = self.renewed.take() {
            return say(Message::Renewed(renewed));
        }
        if let Some(sequence) = self.released.take() {
            return say(Message::Released(wire::Released { sequence }));
        }
        if let Some(head) = self.head.take() {
            return Some(Ok(Outgoing::Head(head)));
        }
        let frame = self.frame.as_mut()?;
        let part = frame.next_part();
        if part.is_last() {
            self.frame = None;
        }
        Some(Ok(Outgoing::Part(part)))
    }
}

impl Drain {
    /// The next message, when there is one.
    #[cfg(test)]
    pub(super) fn try_next(&mut self) -> Option<Result<Outgoing, Status>> {
        lock(&self.0).next()
    }
}

impl Stream for Drain {
    type Item = Result<Outgoing, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut slots = lock(&self.0);
        if let Some(next) = slots.next() {
            return Poll::Ready(Some(next));
        }
        if slots.closed {
            return Poll::Ready(None);
        }
        slots.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(since: Option<u64>, number: u64) -> Head {
        Head { since, version: Bytes::new(), number, complete: false }
    }

    #[test]
    fn a_head_that_waits_is_said_in_one_with_the_next() {
        let (outbox, mut drain) = outbox();
        outbox.head(Some(3), |since| head(since, 5));
        outbox.head(Some(5), |since| head(since, 9));
        match drain.try_next() {
            Some(Ok(Outgoing::Head(said))) => assert_eq!(said, head(Some(3), 9)),
            _ => panic!("a head"),
        }
        assert!(drain.try_next().is_none());
    }

    #[test]
    fn what_is_said_before_the_end_is_heard() {
        let (outbox, mut drain) = outbox();
        outbox.released(1);
        outbox.released(7);
        drop(outbox);
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(Ok(Outgoing::Message(message)))) = Pin::new(&mut drain).poll_next(&mut context) else {
            panic!("a message")
        };
        assert_eq!(message.message, Some(Message::Released(wire::Released { sequence: 7 })), "the newest says all");
        assert!(matches!(Pin::new(&mut drain).poll_next(&mut context), Poll::Ready(None)));
    }
}
