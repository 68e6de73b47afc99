//! What can go wrong on an OpenFlow connection. What the switch says when it rejects a message is [`SwitchError`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openflow::{DecodeError, EncodeError, ErrorCode, HEADER_LENGTH, Message, SwitchError};

use super::frame::{FrameError, u16_at};
use super::waiting::Rejected;

/// Reads an error message. Even one that is cut short tells that something was rejected.
pub(super) fn switch_error(frame: &[u8]) -> SwitchError {
    match Message::decode(frame) {
        Ok((_, Message::Error(error))) => error,
        _ => SwitchError {
            code: ErrorCode::Standard { kind: u16_at(frame, HEADER_LENGTH), code: u16_at(frame, HEADER_LENGTH + 2) },
            data: Vec::new(),
        },
    }
}

/// Why a connection could not be opened, or ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("cannot connect to {path}: {source}; is there such a bridge, and does ovs-vswitchd run?")]
    Connect { path: PathBuf, source: std::io::Error },
    #[error("the connection to the switch broke: {0}")]
    Io(#[from] std::io::Error),
    #[error("the switch closed the connection")]
    Closed,
    #[error("the switch sent nonsense: {0}")]
    Frame(#[from] FrameError),
    #[error("the switch does not speak OpenFlow 1.5 (it offers {offers}); set protocols=OpenFlow15 on the bridge")]
    Version { offers: String },
    #[error(
        "the switch refused the connection: {0}; it speaks OpenFlow 1.5 only with protocols=OpenFlow15 on the bridge"
    )]
    Refused(SwitchError),
    #[error("the handshake cannot be sent: {0}")]
    Unsendable(#[from] EncodeError),
    #[error("the switch's answer in the handshake cannot be read: {0}")]
    Unreadable(#[from] DecodeError),
    #[error("the switch said nothing for {0:?}, not even to an echo request")]
    Silent(Duration),
}

/// Why a request has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequestError {
    #[error("no connection to the switch at {path}: {why}")]
    NotConnected { path: PathBuf, why: Arc<str> },
    #[error(
        "the connection to the switch ended; what was sent may or may not have happened: read the switch and decide again"
    )]
    Disconnected,
    #[error("the switch did not answer within {0:?}; it may still do what was asked")]
    TimedOut(Duration),
    #[error("the switch rejected the request: {0}")]
    Rejected(SwitchError),
    #[error("the request cannot be sent: {0}")]
    Unsendable(#[from] EncodeError),
    #[error("the switch's answer cannot be read: {0}")]
    Unreadable(#[from] DecodeError),
    #[error("the switch answered with something else than was asked for")]
    OtherAnswer,
}

/// Why nothing of a bundle happened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BundleError {
    #[error("the switch rejected {} messages of the bundle, first number {}: {}; nothing of the bundle was done",
        .0.len(), .0.first().map_or(0, |first| first.index), .0.first().map_or_else(String::new, |first| first.error.to_string()))]
    Rejected(Vec<Rejected>),
    #[error("message {index} of the bundle has {length} bytes, but at most {limit} fit into a bundle; split it")]
    TooLong { index: usize, length: usize, limit: usize },
    #[error("the switch refused the bundle as a whole: {0}; nothing of it was done")]
    Refused(SwitchError),
    #[error(transparent)]
    Request(#[from] RequestError),
}
