//! The plan, to the agents: a session each, the difference to what an agent has, then differences as they come.
//!
//! ```text
//!  deltas ─► pending of each session that needs them ─► (agent has acknowledged) ─► frame ─► outbox ─► stream
//!                                     version vector ─► Head, to all ──────────────────────────▲
//! ```
//!
//! While an agent has a frame that it has not acknowledged, what changes is gathered by object: a slow agent costs at most
//! one entry an object that it needs, whatever happens meanwhile. A change is encoded once, for all agents that need it.
//! Nothing is sent before the source has been in sync; until then every agent keeps what it has.
//!
//! Every controller does all of this; an agent takes frames from one, and the others hear what it has and obeys.

mod admission;
mod compare;
mod encode;
mod frame;
#[cfg(fuzzing)]
pub mod fuzzing;
mod greeting;
mod outbox;
mod release;
mod server;
mod session;
mod version;

use std::collections::BTreeMap;
use std::time::Instant;

use hashbrown::HashMap;
use tracing::{info, warn};

use crate::event::{Connected, SessionId};
use crate::object::NodeName;
use crate::plan::{Delta, Plan};
use crate::state::State;
pub use admission::Admission;
pub use compare::Held;
use encode::Encodings;
pub use frame::{Outgoing, PART_BYTES};
pub use outbox::{Drain, Outbox, outbox};
use release::Releases;
pub use server::{ControlService, PROTOCOL_VERSIONS};
pub use session::RealisedFrame;
use session::{Session, Sources};
use version::EncodedVersions;

/// All sessions.
#[derive(Default)]
pub struct Publish {
    /// What this controller is called.
    name: String,
    sessions: BTreeMap<SessionId, Session>,
    by_node: HashMap<NodeName, SessionId>,
    encodings: Encodings,
    versions: EncodedVersions,
    releases: Releases,
}

impl Publish {
    /// For a controller of this name: agents choose among controllers by it.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// An agent has come. An older stream from the same node ends.
    pub fn connect(&mut self, id: SessionId, connected: Connected, boot: bytes::Bytes) {
        let node = connected.node.clone();
        if let Some(old) = self.by_node.insert(node.clone(), id) {
            info!(%node, "a newer stream of this node's agent replaces the older one");
            if let Some(old) = self.sessions.remove(&old) {
                old.end(tonic::Status::aborted("a newer stream of this node's agent has come"));
            }
        }
        info!(%node, last = connected.last, pods = connected.pods.len(), protocol = connected.protocol, "agent connected");
        let session = Session::new(connected);
        session.welcome(&self.name, boot);
        self.sessions.insert(id, session);
    }

    /// An agent's stream has ended; its node if it was its node's only stream.
    pub fn gone(&mut self, id: SessionId) -> Option<NodeName> {
        let session = self.sessions.remove(&id)?;
        info!(node = %session.node, "agent gone");
        self.by_node.remove(&session.node);
        self.releases.forget(&session.node);
        Some(session.node)
    }

    /// The node whose agent speaks on a stream; None for a stream that was replaced.
    pub fn node_of(&self, id: SessionId) -> Option<&NodeName> {
        self.sessions.get(&id).map(|session| &session.node)
    }

    /// An agent wants its frames from here.
    pub fn take(&mut self, id: SessionId, take: u64, digests: Option<Vec<u64>>) {
        if let Some(session) = self.sessions.get_mut(&id) {
            info!(node = %session.node, anew = digests.is_none(), "an agent takes its frames from here");
            session.take(take, digests);
        }
    }

    /// An agent takes its frames from another controller.
    pub fn listen(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            info!(node = %session.node, "an agent takes its frames from another controller");
            session.listen();
        }
    }

    /// An agent says what it has.
    pub fn held(&mut self, id: SessionId, held: Held) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.held(held);
        }
    }

    /// An agent has a frame, or what it has covers a Head.
    pub fn acknowledged(&mut self, id: SessionId, frame: u64, head: u64) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.acknowledged(frame, head);
        }
    }

    /// An agent's switch obeys a frame.
    pub fn realised(&mut self, id: SessionId, realised: RealisedFrame) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let told = session.realised.as_ref().map(|realised| realised.failures.as_slice()).unwrap_or_default();
        for failure in realised.failures.iter().filter(|failure| !told.contains(failure)) {
            warn!(node = %session.node, object = %failure.object, reason = %failure.reason, "an agent could not realise this");
        }
        session.realised(realised);
    }

    /// A node has reported up to `sequence`, which may free addresses: the node hears when all others know.
    pub fn reported(&mut self, node: &NodeName, sequence: u64, state: &State) {
        if sequence > 0 {
            self.releases.reported(node, sequence, state.change(), Instant::now());
        }
    }

    /// Takes in what an update of the plan changed.
    pub fn plan_changed(&mut self, plan: &Plan, deltas: &[Delta]) {
        let sessions: Vec<(Option<u32>, SessionId)> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.gathers())
            .map(|(id, session)| (plan.index_of(&session.node), *id))
            .collect();
        for delta in deltas {
            if delta.content_changed || delta.after.is_empty() {
                self.encodings.forget(&delta.name);
            }
            for (node, id) in &sessions {
                let (needed, needs) = (delta.before.contains(*node), delta.after.contains(*node));
                if (needed != needs || (needs && delta.content_changed))
                    && let Some(session) = self.sessions.get_mut(id)
                {
                    session.must_be_told(&delta.name, needed);
                }
            }
        }
    }

    /// Sends what is due to every agent that is ready for it. Heads are due at ticks, so that a busy cluster costs an agent that
    /// needs nothing of it a few messages a second.
    pub fn send(&mut self, state: &State, plan: &Plan, tick: bool) {
        if !state.source().has_been_in_sync {
            return;
        }
        let may_begin = state.awaited().next().is_none();
        let (encodings, versions) = (&mut self.encodings, &mut self.versions);
        let mut sources = Sources { state, plan, encodings, versions };
        for session in self.sessions.values_mut() {
            session.send(&mut sources, may_begin);
            session.head(&mut sources, tick);
        }
        if !self.releases.is_empty() {
            self.release(state);
        }
    }

    fn release(&mut self, state: &State) {
        let now = state.change();
        // The two that cover least: what all others of a node cover is the first of them that is not the node itself.
        let covered = self.sessions.values().map(|session| (session.covered(now), &session.node));
        let missing = state.node_names().filter(|node| !self.by_node.contains_key(*node)).map(|node| (0, node));
        let mut least: Vec<(u64, &NodeName)> = Vec::with_capacity(3);
        for (change, node) in covered.chain(missing) {
            least.push((change, node));
            least.sort_unstable();
            least.truncate(2);
        }
        let others =
            |node: &NodeName| least.iter().find(|(_, other)| *other != node).map_or(now, |(change, _)| *change);
        for (node, sequence) in self.releases.released(others, Instant::now()) {
            if let Some(session) = self.by_node.get(&node).and_then(|id| self.sessions.get(id)) {
                session.released(sequence);
            }
        }
    }

    /// The sessions, by node.
    pub fn sessions(&self) -> BTreeMap<&NodeName, SessionView<'_>> {
        self.sessions.values().map(|session| (&session.node, SessionView(session))).collect()
    }
}

/// What can be said of a session.
pub struct SessionView<'a>(&'a Session);

impl SessionView<'_> {
    /// Up to which change of the state (`State::change`, whose number now is `now`) its switch obeys all that its node needs.
    pub fn obeys(&self, now: u64) -> u64 {
        self.0.obeys(now)
    }

    /// Whether the agent takes its frames from here.
    pub fn takes(&self) -> bool {
        self.0.brings_frames()
    }

    /// The last frame sent; 0 before the first.
    pub fn sent(&self) -> u64 {
        self.0.sent_frame()
    }

    /// The last frame acknowledged; 0 before the first.
    pub fn acknowledged_frame(&self) -> u64 {
        self.0.acknowledged_frame()
    }

    /// How many objects wait to be told.
    pub fn pending(&self) -> usize {
        self.0.pending()
    }

    /// The last frame that the switch obeys.
    pub fn realised(&self) -> Option<&RealisedFrame> {
        self.0.realised.as_ref()
    }
}

#[cfg(test)]
mod tests;
