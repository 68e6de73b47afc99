//! Two controllers that compute the same from different histories, and agents that change between them: what a change of
//! controllers costs is the difference, and which of them said a thing cannot be told from its bytes.

use std::collections::BTreeMap;
use std::path::Path;

use apis::digest::{self, Holding};
use apis::stream::{FromController, from_controller::Message};
use bytes::Bytes;
use controller::event::{Connected, SessionId};
use controller::object::NodeName;
use controller::publish::{Drain, Held, Outgoing, Publish, outbox};
use controller::state::Changed;
use controller::watch::SourceEvent;
use futures::{FutureExt, StreamExt};
use prost::Message as _;

use super::{Event, Life};

/// A controller without sockets.
pub struct Replica {
    life: Life,
    publish: Publish,
}

/// Objects by name (the encoded change that removes it), each as the encoded change that says it.
pub type Told = BTreeMap<Vec<u8>, Vec<u8>>;

/// The agent of a node, with a stream to each of two replicas.
pub struct Agent {
    node: NodeName,
    id: SessionId,
    streams: [Drain; 2],
    take: u64,
    holding: Holding,
    /// What it has been told.
    pub told: Told,
}

impl Replica {
    /// One whose source is in sync and has nothing in it.
    pub fn new() -> Self {
        let mut life = Life::default();
        life.state.apply(SourceEvent::InSync(true), &mut Changed::default());
        Self { life, publish: Publish::default() }
    }

    /// One moment.
    pub fn happen(&mut self, path: &Path, events: &[Event]) {
        let deltas = self.life.happen(path, events);
        self.publish.plan_changed(&self.life.plan, &deltas);
    }

    fn connect(&mut self, id: SessionId, node: &NodeName) -> Drain {
        let (outbox, stream) = outbox();
        let (boot, seen, pods) = (Bytes::new(), Vec::new(), Vec::new());
        let connected = Connected { node: node.clone(), protocol: 2, boot, sequence: 0, last: 0, seen, pods, outbox };
        self.publish.connect(id, connected, Bytes::new());
        stream
    }
}

impl Agent {
    /// Connects to both; it takes from none.
    pub fn connect(number: u64, node: &NodeName, replicas: &mut [Replica; 2]) -> Self {
        let id = SessionId(number);
        let streams = replicas.each_mut().map(|replica| replica.connect(id, node));
        Self { node: node.clone(), id, streams, take: 0, holding: Holding::default(), told: Told::new() }
    }

    /// From now on it takes from this one, which is told by digests what it has; how many changes that cost.
    pub fn take_from(&mut self, replicas: &mut [Replica; 2], index: usize) -> usize {
        replicas[1 - index].publish.listen(self.id);
        let replica = &mut replicas[index];
        self.take += 1;
        replica.publish.take(self.id, self.take, (self.take > 1).then(|| self.holding.digests()));
        replica.publish.send(&replica.life.state, &replica.life.plan, false);
        let (mut changes, mut is_whole) = (0, false);
        while let Some(Some(Ok(outgoing))) = self.streams[index].next().now_or_never() {
            let message = match outgoing {
                Outgoing::Message(message) => message.message,
                Outgoing::Head(_) => continue,
                Outgoing::Part(part) => {
                    let mut bytes = Vec::new();
                    part.write(&mut bytes);
                    FromController::decode(bytes.as_slice()).unwrap().message
                }
            };
            match message {
                Some(Message::Ask(ask)) => {
                    let objects = self.holding.in_buckets(|bucket| ask.buckets.contains(&u32::from(bucket)));
                    replica.publish.held(self.id, Held { take: ask.take, objects, last: true });
                    replica.publish.send(&replica.life.state, &replica.life.plan, false);
                }
                Some(Message::Frame(frame)) if frame.take == self.take => {
                    changes += frame.changes.len();
                    frame.changes.iter().for_each(|change| self.hear(change));
                    is_whole = frame.last;
                    replica.publish.acknowledged(self.id, frame.number, 0);
                }
                _ => {}
            }
        }
        assert!(is_whole, "{} was told nothing", self.node);
        changes
    }

    fn hear(&mut self, change: &apis::stream::Change) {
        assert!(self.holding.apply(change), "of a kind that is known");
        let name = digest::removal(change).unwrap().encode_to_vec();
        if digest::removes(change) {
            assert!(self.told.remove(&name).is_some(), "{} is told that what it never had is gone", self.node);
        } else {
            self.told.insert(name, change.encode_to_vec());
        }
    }
}

/// What an agent of this node that has nothing is told by a replica, byte for byte.
pub fn anew(node: &NodeName, replicas: &mut [Replica; 2], index: usize) -> Told {
    // It takes the place of the node's agent, which has to come again after this.
    let mut agent = Agent::connect(u64::MAX - index as u64, node, replicas);
    agent.take_from(replicas, index);
    agent.told
}
