//! One agent: what it has been sent, what it has yet to be told.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::encode::{Encodings, encode_removed};
use super::frame::{Outgoing, parts};
use crate::event::Connected;
use crate::object::NodeName;
use crate::plan::{Name, Plan};

/// A frame that an agent's switch obeys.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RealisedFrame {
    /// The frame's number in its stream.
    pub frame: u64,
    /// The source's version in it.
    pub version: u64,
    /// What could not be realised.
    pub failures: Vec<Failure>,
}

/// Something an agent could not realise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Failure {
    /// The object, as the frame named it.
    pub object: String,
    /// Why.
    pub reason: String,
}

/// An agent's stream.
pub(super) struct Session {
    pub node: NodeName,
    frames: mpsc::UnboundedSender<Outgoing>,
    /// The number of the last frame sent; 0 before the first.
    sent: u64,
    acknowledged: u64,
    /// The source's version in the last frame sent.
    sent_version: u64,
    /// The source's version in the last frame that the agent acknowledged before this stream.
    pub last_of_agent: u64,
    warned: bool,
    /// Objects to tell, and whether the agent knows an earlier state of each.
    pending: BTreeMap<Name, Knows>,
    pub realised: Option<RealisedFrame>,
}

/// Whether the agent has been told of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Knows(bool);

impl Session {
    pub fn new(connected: Connected) -> Self {
        Self {
            node: connected.node,
            frames: connected.frames,
            sent: 0,
            acknowledged: 0,
            sent_version: 0,
            last_of_agent: connected.last,
            warned: false,
            pending: BTreeMap::new(),
            realised: None,
        }
    }

    /// Before its first frame there is nothing to gather: the frame will say everything.
    pub fn has_first_frame(&self) -> bool {
        self.sent > 0
    }

    /// The object must be told again; `known` says whether the agent needed it until now, and so has been or will be told.
    pub fn must_be_told(&mut self, name: &Name, known: bool) {
        // What it knew when the last frame went out counts, not what has happened since.
        self.pending.entry(name.clone()).or_insert(Knows(known));
    }

    pub fn acknowledged(&mut self, frame: u64) {
        if frame <= self.sent {
            self.acknowledged = self.acknowledged.max(frame);
        } else {
            warn!(node = %self.node, frame, sent = self.sent, "an agent acknowledges a frame that it was not sent; ignored");
        }
    }

    /// Whether it is ready for a frame and there is something to say.
    pub fn is_due(&self, version: u64) -> bool {
        let ready = self.acknowledged == self.sent;
        ready && (self.sent == 0 || !self.pending.is_empty() || version > self.sent_version)
    }

    /// The agent has seen a newer state than the source has: it would refuse older frames, so none is sent.
    pub fn warn_behind(&mut self, version: u64) {
        if !std::mem::replace(&mut self.warned, true) {
            warn!(
                node = %self.node, agent = self.last_of_agent, source = version,
                "the agent has seen a newer version of the source than it has now (restored from a backup?); it gets no frames until the source is as new"
            );
        }
    }

    pub fn send(&mut self, plan: &Plan, encodings: &mut Encodings, version: u64, encoded_version: Bytes) {
        let replace = self.sent == 0;
        let changes = if replace { self.everything(plan, encodings) } else { self.gathered(plan, encodings) };
        self.sent += 1;
        self.sent_version = version;
        debug!(node = %self.node, frame = self.sent, changes = changes.len(), version, "frame");
        for part in parts(self.sent, replace, changes, encoded_version) {
            // A closed stream reports its end as an event of its own.
            let _ = self.frames.send(Outgoing::Part(part));
        }
    }

    fn everything(&mut self, plan: &Plan, encodings: &mut Encodings) -> Vec<Bytes> {
        self.pending.clear();
        plan.needed_by(&self.node).iter().filter_map(|name| encodings.of(plan, name)).collect()
    }

    fn gathered(&mut self, plan: &Plan, encodings: &mut Encodings) -> Vec<Bytes> {
        let node = plan.index_of(&self.node);
        let mut changes = Vec::with_capacity(self.pending.len());
        for (name, Knows(known)) in std::mem::take(&mut self.pending) {
            let needs = plan.span(&name).is_some_and(|span| span.contains(node));
            if needs {
                changes.extend(encodings.of(plan, &name));
            } else if known {
                changes.push(encode_removed(&name));
            }
        }
        changes
    }

    pub fn sent_frame(&self) -> u64 {
        self.sent
    }

    pub fn acknowledged_frame(&self) -> u64 {
        self.acknowledged
    }

    pub fn pending(&self) -> usize {
        self.pending.len()
    }
}
