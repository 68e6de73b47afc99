//! Everything that can wake the controller.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::object::NodeName;
use crate::publish::{Outgoing, RealisedFrame};
use crate::serve::Query;
use crate::state::PodReport;
use crate::watch::SourceEvent;

/// What the one loop waits for; there is no other way to wake it.
pub enum Event {
    /// The source has told something.
    Source(Vec<SourceEvent>),
    /// An agent, by the number of its stream.
    Agent(SessionId, AgentEvent),
    /// Someone asks.
    Query(Query),
    /// The process is to end.
    Stop,
}

/// A stream from an agent; numbers are never used twice in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// What comes from an agent.
pub enum AgentEvent {
    /// Its stream is open and it has said who it is.
    Connected(Connected),
    /// A pod of its node got or lost its addresses.
    Pod(PodReport),
    /// It has a frame on disk and may get the next.
    Acknowledged(u64),
    /// Its switch obeys a frame.
    Realised(RealisedFrame),
    /// Its stream has ended.
    Gone,
}

/// An agent's greeting.
pub struct Connected {
    /// The agent's node.
    pub node: NodeName,
    /// Drawn anew at each start of the agent.
    pub boot: Bytes,
    /// The source's version in the last frame that it acknowledged; 0 where there is none.
    pub last: u64,
    /// The (boot, sequence) of nodes in that frame.
    pub seen: Vec<(NodeName, Bytes, u64)>,
    /// The pods attached on the node.
    pub pods: Vec<PodReport>,
    /// Where its frames go.
    pub frames: mpsc::UnboundedSender<Outgoing>,
}
