//! The plan, to the agents: a session each, a whole first frame, then differences.
//!
//! ```text
//!  deltas ─► pending of each session that needs them ─► (agent has acknowledged) ─► frame ─► stream
//! ```
//!
//! While an agent has a frame that it has not acknowledged, what changes is gathered by object: a slow agent costs at most
//! one entry an object that it needs, whatever happens meanwhile. A change is encoded once, for all agents that need it.
//! Nothing is sent before the source has been in sync; until then every agent keeps what it has.

mod encode;
mod frame;
mod server;
mod session;

use std::collections::BTreeMap;

use bytes::Bytes;
use hashbrown::HashMap;
use prost::Message;
use tracing::{info, warn};

use crate::event::{Connected, SessionId};
use crate::object::{NodeName, ObjectKey};
use crate::plan::{Delta, Plan};
use crate::state::State;
use encode::Encodings;
pub use frame::{Outgoing, PART_BYTES};
pub use server::{ControlService, PROTOCOL_VERSION};
pub use session::RealisedFrame;
use session::Session;

/// All sessions.
#[derive(Default)]
pub struct Publish {
    sessions: BTreeMap<SessionId, Session>,
    by_node: HashMap<NodeName, SessionId>,
    encodings: Encodings,
}

impl Publish {
    /// An agent has come. An older stream from the same node ends.
    pub fn connect(&mut self, id: SessionId, connected: Connected) {
        let node = connected.node.clone();
        if let Some(old) = self.by_node.insert(node.clone(), id) {
            info!(%node, "a newer stream of this node's agent replaces the older one");
            self.sessions.remove(&old);
        }
        info!(%node, last = connected.last, pods = connected.pods.len(), "agent connected");
        self.sessions.insert(id, Session::new(connected));
    }

    /// An agent's stream has ended; its node if it was its node's only stream.
    pub fn gone(&mut self, id: SessionId) -> Option<NodeName> {
        let session = self.sessions.remove(&id)?;
        info!(node = %session.node, "agent gone");
        self.by_node.remove(&session.node);
        Some(session.node)
    }

    /// The node whose agent speaks on a stream; None for a stream that was replaced.
    pub fn node_of(&self, id: SessionId) -> Option<&NodeName> {
        self.sessions.get(&id).map(|session| &session.node)
    }

    /// An agent has a frame.
    pub fn acknowledged(&mut self, id: SessionId, frame: u64) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.acknowledged(frame);
        }
    }

    /// An agent's switch obeys a frame.
    pub fn realised(&mut self, id: SessionId, realised: RealisedFrame) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        for failure in &realised.failures {
            warn!(node = %session.node, object = %failure.object, reason = %failure.reason, "an agent could not realise this");
        }
        session.realised = Some(realised);
    }

    /// Takes in what an update of the plan changed.
    pub fn plan_changed(&mut self, plan: &Plan, deltas: &[Delta]) {
        let sessions: Vec<(Option<u32>, SessionId)> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.has_first_frame())
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

    /// Sends what is due to every agent that is ready for it.
    pub fn send(&mut self, state: &State, plan: &Plan) {
        if !state.source().has_been_in_sync {
            return;
        }
        let source = state.source().version;
        let mut version: Option<Bytes> = None;
        for session in self.sessions.values_mut().filter(|session| session.is_due(source)) {
            if session.last_of_agent > source {
                session.warn_behind(source);
                continue;
            }
            let version = version.get_or_insert_with(|| encoded_version(state)).clone();
            session.send(plan, &mut self.encodings, source, version);
        }
    }

    /// The sessions, by node.
    pub fn sessions(&self) -> BTreeMap<&NodeName, SessionView<'_>> {
        self.sessions.iter().map(|(id, session)| (&session.node, SessionView(*id, session))).collect()
    }
}

/// What can be said of a session.
pub struct SessionView<'a>(SessionId, &'a Session);

impl SessionView<'_> {
    /// Its stream.
    pub fn id(&self) -> SessionId {
        self.0
    }

    /// The frame that carries all that its node needs now, sent or not.
    pub fn frame_with_everything(&self) -> u64 {
        let pending = self.1.pending() > 0 || self.1.sent_frame() == 0;
        self.1.sent_frame() + u64::from(pending)
    }

    /// The last frame sent; 0 before the first.
    pub fn sent(&self) -> u64 {
        self.1.sent_frame()
    }

    /// The last frame acknowledged; 0 before the first.
    pub fn acknowledged_frame(&self) -> u64 {
        self.1.acknowledged_frame()
    }

    /// How many objects wait to be told.
    pub fn pending(&self) -> usize {
        self.1.pending()
    }

    /// The last frame that the switch obeys.
    pub fn realised(&self) -> Option<&RealisedFrame> {
        self.1.realised.as_ref()
    }
}

/// In a directory all kinds carry one version; a Kubernetes source will give each its own.
fn encoded_version(state: &State) -> Bytes {
    let source = state.source().version;
    let kinds = ObjectKey::KINDS.into_iter();
    let nodes = state.node_versions().into_iter();
    let version = apis::stream::Version {
        source: kinds.map(|kind| (kind.to_owned(), source)).collect(),
        nodes: nodes
            .map(|(node, boot, sequence)| (node.to_string(), apis::stream::NodeVersion { boot, sequence }))
            .collect(),
    };
    Bytes::from(version.encode_to_vec())
}

#[cfg(test)]
mod tests;
