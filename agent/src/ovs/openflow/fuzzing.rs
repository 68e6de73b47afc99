//! A connection's bytes from a switch, for the fuzzer.

use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::mpsc;

use super::events::{Events, Queue};
use super::frame::Frames;
use super::link::dispatch;
use super::waiting::Waiting;

/// Cuts the bytes into messages and gives each to whoever waits for it, as a connection's reader does.
pub fn stream(data: &[u8]) {
    let (mut frames, queue, waiting) = (Frames::default(), Arc::new(Queue::default()), Arc::new(Waiting::default()));
    let (urgent, _answers) = mpsc::unbounded_channel();
    let mut events = Events(Arc::clone(&queue));
    // A request, a dump and a batch are under way.
    let (Ok((_, _reply)), Ok((_, mut parts)), Ok(batch)) = (waiting.reply(), waiting.parts(), waiting.batch(8)) else {
        return;
    };
    for piece in data.chunks(1021) {
        frames.space().extend_from_slice(piece);
        loop {
            match frames.next() {
                // It waits only while nobody takes parts.
                Ok(Some((header, frame))) => _ = dispatch(header, frame, &urgent, &waiting, &queue).now_or_never(),
                Ok(None) => break,
                Err(_) => return,
            }
            while let Ok(part) = parts.try_recv() {
                if let Ok(frame) = part {
                    let _ = openflow::Message::decode(&frame);
                }
            }
            while let Some(event) = events.next().now_or_never() {
                drop(event);
            }
        }
    }
    drop(batch);
}
