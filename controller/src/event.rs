//! Everything that can wake the controller.

use bytes::Bytes;

use crate::object::NodeName;
use crate::publish::{Held, Outbox, RealisedFrame};
use crate::serve::Query;
use crate::state::{NodeVersion, PodReport};
use crate::watch::SourceEvent;

/// What the one loop waits for; there is no other way to wake it.
pub enum Event {
    /// The source has told something.
    Source(Vec<SourceEvent>),
    /// An agent, by the number of its stream.
    Agent(SessionId, AgentEvent),
    /// Someone asks.
    Query(Query),
    /// Some time has passed.
    Tick,
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
    /// It has a frame on disk and may get the next; or what it has covers a Head.
    Acknowledged {
        /// The frame; 0 where it takes its frames from another controller.
        frame: u64,
        /// The number of the Head.
        head: u64,
    },
    /// It wants its frames from here.
    Take {
        /// The number that comes back in the frames.
        take: u64,
        /// Of what it has; none where it has nothing.
        digests: Option<Vec<u64>>,
    },
    /// It wants no frames from here.
    Listen,
    /// What it has in the buckets that it was asked for.
    Held(Held),
    /// Its switch obeys a frame.
    Realised(RealisedFrame),
    /// Its stream has ended.
    Gone,
}

/// An agent's greeting.
pub struct Connected {
    /// The agent's node.
    pub node: NodeName,
    /// The version of the protocol that both speak.
    pub protocol: u32,
    /// Drawn anew at each start of the agent.
    pub boot: Bytes,
    /// Of its last report.
    pub sequence: u64,
    /// The source's version in the last frame that it acknowledged; 0 where there is none.
    pub last: u64,
    /// How far nodes had reported in that frame.
    pub seen: Vec<(NodeName, NodeVersion)>,
    /// The pods attached on the node.
    pub pods: Vec<PodReport>,
    /// What goes down its stream.
    pub outbox: Outbox,
}
