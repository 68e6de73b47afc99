//! What the switch says of its own accord, waiting to be taken.
//!
//! The reader never waits for whoever takes events, so the queue is bounded in itself: the last state of each port, and
//! packets and changes of flows up to a limit; of more the newest are dropped and counted, as a switch does itself.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openflow::multipart::{FlowUpdate, MultipartReply};
use openflow::{FlowRemoved, Message, PacketIn, PortStatus, Reply};
use tokio::sync::Notify;

use super::connection::Connection;

/// Packets, and other messages that are no port status, that may wait.
const PACKETS: usize = 1024;
/// Bytes of them that may wait: somebody who changes every flow is found out by reading all, not by a list of a hundred thousand.
const BYTES: usize = 4 << 20;

/// One thing the switch, or its connection, did.
#[derive(Debug, Clone)]
pub enum Event {
    /// A connection is open. What is in the switch may be anything: read it first.
    Connected(Connection),
    /// The connection of this generation ended.
    Disconnected { generation: u64 },
    /// The newest of its port.
    Port(PortStatus),
    /// A packet that a flow sent here.
    Packet(Box<PacketIn>),
    /// Flows changed, and it was asked to tell (`Connection::start_reading`). Changes made on this connection are among it as
    /// their xids at most.
    Flows(Vec<FlowUpdate>),
    /// A flow timed out that was to be told about.
    FlowRemoved(Box<FlowRemoved>),
    /// Any other message that answers no request.
    Message(Box<Message>),
    /// So many messages were dropped because nobody took them in time.
    Lost(u64),
}

/// Takes the events of one session.
#[derive(Debug)]
pub struct Events(pub(super) Arc<Queue>);

/// Where the events wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    held: Mutex<Held>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Held {
    disconnected: Option<u64>,
    connected: Option<Connection>,
    /// As they came; read when they are taken.
    ports: BTreeMap<u32, Vec<u8>>,
    messages: VecDeque<Vec<u8>>,
    /// Of the messages.
    bytes: usize,
    lost: u64,
}

impl Events {
    /// The next event. May be dropped while waiting; nothing is lost.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.0.lock().take() {
                return event;
            }
            self.0.filled.notified().await;
        }
    }
}

impl Held {
    fn take(&mut self) -> Option<Event> {
        if let Some(generation) = self.disconnected.take() {
            return Some(Event::Disconnected { generation });
        }
        if let Some(connection) = self.connected.take() {
            return Some(Event::Connected(connection));
        }
        while let Some(frame) = self.ports.pop_first().map(|(_, frame)| frame).or_else(|| self.message()) {
            match Message::decode(&frame) {
                Ok((_, Message::MultipartReply(MultipartReply { reply: Reply::FlowMonitor(updates), .. }))) => {
                    return Some(Event::Flows(updates));
                }
                Ok((_, Message::PortStatus(status))) => return Some(Event::Port(status)),
                Ok((_, Message::PacketIn(packet))) => return Some(Event::Packet(packet)),
                Ok((_, Message::FlowRemoved(removed))) => return Some(Event::FlowRemoved(removed)),
                Ok((_, message)) => return Some(Event::Message(Box::new(message))),
                Err(error) => tracing::warn!(%error, "a message of the switch cannot be read, it is skipped"),
            }
        }
        (self.lost > 0).then(|| Event::Lost(mem::take(&mut self.lost)))
    }

    fn message(&mut self) -> Option<Vec<u8>> {
        let frame = self.messages.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }
}

impl Queue {
    pub(super) fn connected(&self, connection: Connection) {
        self.change(|held| held.connected = Some(connection));
    }

    /// What the old connection said is of no more use: packets cannot be resumed, ports are read again.
    pub(super) fn disconnected(&self, generation: u64) {
        self.change(|held| {
            let unseen = held.connected.take().is_some();
            *held = Held { disconnected: if unseen { held.disconnected } else { Some(generation) }, ..Held::default() };
        });
    }

    pub(super) fn port(&self, number: u32, frame: &[u8]) {
        self.change(|held| {
            held.ports.insert(number, frame.to_vec());
        });
    }

    pub(super) fn message(&self, frame: &[u8]) {
        self.change(|held| {
            if held.messages.len() < PACKETS && held.bytes < BYTES {
                held.bytes += frame.len();
                held.messages.push_back(frame.to_vec());
            } else {
                held.lost += 1;
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        change(&mut self.lock());
        self.filled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
