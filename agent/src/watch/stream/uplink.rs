//! What this node reports, to every controller.
//!
//! It is kept, so that a new stream begins with all of it. What cannot be sent at once is not waited for: the stream is given
//! up, and its successor's Hello says all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use apis::stream::{self as wire, from_agent};
use tokio::sync::{Notify, mpsc};

use crate::state::{FrameName, PodKey, Version};

/// The protocol versions this agent speaks, newest first.
pub(super) const VERSIONS: &[u32] = &[2];
/// Messages that may wait to be sent; a stream that is slower than that is begun anew.
const OUTGOING: usize = 1024;

/// A handle for those who have something to report.
#[derive(Clone, Debug)]
pub struct Uplink {
    shared: Arc<Mutex<Shared>>,
    /// The switch obeys something new.
    obeys: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Shared {
    node: String,
    boot: Vec<u8>,
    sequence: u64,
    pods: BTreeMap<PodKey, wire::PodReport>,
    accepted: Version,
    realised: Option<Realised>,
    /// Streams by number; one that is not in here has ended, or is about to.
    streams: BTreeMap<u64, mpsc::Sender<wire::FromAgent>>,
    opened: u64,
}

/// What the switch obeys.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Realised {
    pub frame: FrameName,
    pub said: wire::Realised,
}

impl Uplink {
    /// Nothing to report yet. `boot` orders this life of the agent among its others.
    pub fn new(node: &str, boot: [u8; apis::boot::LENGTH]) -> Self {
        let shared = Shared { node: node.to_owned(), boot: boot.to_vec(), ..Shared::default() };
        Self { shared: Arc::new(Mutex::new(shared)), obeys: Arc::default() }
    }

    /// A pod has these addresses, or none any more.
    pub fn report_pod(&self, key: &PodKey, addresses: &[std::net::IpAddr], mac: [u8; 6]) {
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
        let streams: Vec<u64> = shared.streams.keys().copied().collect();
        for stream in streams {
            shared.say(stream, from_agent::Message::Pod(report.clone()));
        }
    }

    /// What is accepted, now or by an earlier life of the agent: no controller may go back behind it.
    pub fn accepted(&self, version: &Version) {
        self.lock().accepted = version.clone();
    }

    /// The switch obeys a frame.
    pub fn realised(&self, frame: &FrameName, said: wire::Realised) {
        self.lock().realised = Some(Realised { frame: frame.clone(), said });
        self.obeys.notify_one();
    }

    /// The sequence of the last report.
    pub fn sequence(&self) -> u64 {
        self.lock().sequence
    }

    /// All that an earlier life had attached is reported: the sequence of the last report. Where there was nothing to report, that is
    /// a report too, so that somebody says when all others have heard it.
    pub fn begun(&self) -> u64 {
        let mut shared = self.lock();
        shared.sequence = shared.sequence.max(1);
        shared.sequence
    }

    /// Orders this life of the agent among its others.
    pub fn boot(&self) -> Vec<u8> {
        self.lock().boot.clone()
    }

    /// Someone knows of a later life of this node's agent: its disk was wiped, and its clock is behind. Whether this life was
    /// made the latest; then all streams end.
    pub(super) fn outlive(&self, latest: &[u8]) -> bool {
        let mut shared = self.lock();
        if !apis::boot::is_earlier(&shared.boot, latest) {
            return false;
        }
        let (Some(number), Some((_, random))) = (apis::boot::number(latest), shared.boot.split_last_chunk::<8>())
        else {
            return false;
        };
        shared.boot = apis::boot::of(number.saturating_add(1), *random).to_vec();
        shared.streams.clear();
        true
    }

    /// Begins a stream: its number, and what goes up it, from the Hello on.
    pub(super) fn open(&self) -> (u64, mpsc::Receiver<wire::FromAgent>) {
        let (sender, receiver) = mpsc::channel(OUTGOING);
        let mut shared = self.lock();
        let hello = wire::Hello {
            node: shared.node.clone(),
            versions: VERSIONS.to_vec(),
            boot: shared.boot.clone().into(),
            last: Some((&shared.accepted).into()),
            pods: shared.pods.values().cloned().collect(),
            sequence: shared.sequence,
        };
        shared.opened += 1;
        let stream = shared.opened;
        // In one step with the Hello: no report is lost in between.
        shared.streams.insert(stream, sender);
        shared.say(stream, from_agent::Message::Hello(hello));
        (stream, receiver)
    }

    /// Says something on one stream, if it still stands.
    pub(super) fn say(&self, stream: u64, message: from_agent::Message) {
        self.lock().say(stream, message);
    }

    /// The stream has ended, or is to end.
    pub(super) fn close(&self, stream: u64) {
        self.lock().streams.remove(&stream);
    }

    pub(super) fn obeyed(&self) -> Option<Realised> {
        self.lock().realised.clone()
    }

    pub(super) async fn obeys(&self) {
        self.obeys.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Nothing that holds the lock leaves the state half-changed.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn say(&mut self, stream: u64, message: from_agent::Message) {
        if let Some(sender) = self.streams.get(&stream)
            && sender.try_send(wire::FromAgent { message: Some(message) }).is_err()
        {
            // Full or closed: the stream is of no use any more. With its sender it ends.
            self.streams.remove(&stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(receiver: &mut mpsc::Receiver<wire::FromAgent>) -> Option<from_agent::Message> {
        receiver.try_recv().ok().and_then(|said| said.message)
    }

    #[test]
    fn every_stream_hears_every_report_once() {
        let uplink = Uplink::new("node-a", apis::boot::of(1, [0; 8]));
        let pod = PodKey::new("shop", "web");
        uplink.report_pod(&pod, &["10.0.0.1".parse().unwrap()], [2; 6]);
        let (first, mut one) = uplink.open();
        let (_, mut two) = uplink.open();
        uplink.report_pod(&pod, &[], [2; 6]);
        for receiver in [&mut one, &mut two] {
            let Some(from_agent::Message::Hello(hello)) = said(receiver) else { panic!("Hello comes first") };
            assert_eq!((hello.sequence, hello.pods.len()), (1, 1));
            assert!(matches!(said(receiver), Some(from_agent::Message::Pod(report)) if report.sequence == 2));
        }
        // A stream that does not take what is said ends; its successor says all.
        for _ in 0..=OUTGOING {
            uplink.say(first, from_agent::Message::Acknowledge(wire::Acknowledge::default()));
        }
        while said(&mut one).is_some() {}
        assert!(one.is_closed() && !two.is_closed());
        let (_, mut anew) = uplink.open();
        let Some(from_agent::Message::Hello(hello)) = said(&mut anew) else { panic!("Hello comes first") };
        assert_eq!((hello.sequence, hello.pods.len()), (2, 0), "the pod is gone, its report counts");
    }

    #[test]
    fn a_life_that_seems_to_be_over_is_made_the_latest() {
        let uplink = Uplink::new("node-a", apis::boot::of(7, [3; 8]));
        let (_, stream) = uplink.open();
        assert!(!uplink.outlive(&apis::boot::of(6, [9; 8])) && !stream.is_closed());
        assert!(uplink.outlive(&apis::boot::of(9, [9; 8])) && stream.is_closed());
        assert_eq!(uplink.boot(), apis::boot::of(10, [3; 8]));
    }
}
