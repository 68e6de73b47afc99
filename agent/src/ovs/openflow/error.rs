//! What can go wrong on an OpenFlow connection, and what the switch says when it rejects a message.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::frame::{FrameError, HEADER, u16_at, u32_at};
use super::waiting::Rejected;

/// The `type` of an error that a vendor defines.
const EXPERIMENTER: u16 = 0xffff;

/// The switch's error message (OpenFlow 1.5.1, section 7.5.4).
#[derive(Clone, PartialEq, Eq)]
pub struct Rejection {
    /// `enum ofp_error_type`.
    pub kind: u16,
    /// What it means depends on the kind; for a vendor's error its own number.
    pub code: u16,
    /// The vendor of an experimenter error.
    pub vendor: Option<u32>,
    /// The start of the message it is about, or a text for a failed hello.
    pub data: Vec<u8>,
}

impl Rejection {
    /// Reads an error message; what is missing in it reads as zero.
    pub(super) fn read(frame: &[u8]) -> Self {
        let (kind, code) = (u16_at(frame, HEADER), u16_at(frame, HEADER + 2));
        let vendor = (kind == EXPERIMENTER).then(|| u32_at(frame, HEADER + 4));
        let data = frame.get(HEADER + if vendor.is_some() { 8 } else { 4 }..).unwrap_or_default().to_vec();
        Self { kind, code, vendor, data }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.vendor {
            Some(vendor) => write!(formatter, "vendor {vendor:#x} error {}", self.code),
            None => write!(formatter, "error type {} code {}", self.kind, self.code),
        }
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl std::error::Error for Rejection {}

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
    #[error("the switch refused the connection: {0}")]
    Refused(Rejection),
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
    Rejected(Rejection),
    #[error("the switch's answer cannot be read: {0}")]
    Unreadable(String),
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
    Refused(Rejection),
    #[error(transparent)]
    Request(#[from] RequestError),
}
