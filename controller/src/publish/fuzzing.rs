//! Both ends of a stream, for the fuzzer.

use apis::stream::{Hello, from_agent};
use futures::{FutureExt, StreamExt};

use super::frame::Outgoing;
use super::outbox::{Drain, Outbox};
use super::{greeting, outbox};
use crate::event::{AgentEvent, Connected};
use crate::object::NodeName;

/// A stream, and what a greeting says.
pub fn greeted(hello: Hello) -> Option<(Connected, Drain)> {
    let (sender, drain): (Outbox, Drain) = outbox();
    greeting::greeted(hello, sender).ok().map(|connected| (connected, drain))
}

/// What else an agent says.
pub fn heard(node: &NodeName, message: from_agent::Message) -> Option<AgentEvent> {
    greeting::heard(node, message)
}

/// All that waits to go down the stream, each an encoded `FromController`.
pub fn drained(drain: &mut Drain) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some(Some(Ok(outgoing))) = drain.next().now_or_never() {
        let mut bytes = Vec::new();
        match outgoing {
            Outgoing::Message(message) => bytes = prost::Message::encode_to_vec(&*message),
            Outgoing::Head(head) => head.write(&mut bytes),
            Outgoing::Part(part) => part.write(&mut bytes),
        }
        messages.push(bytes);
    }
    messages
}
