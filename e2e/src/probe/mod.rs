//! Real packets and what became of them.
//!
//! A probe sends from inside a namespace and says [`Verdict::Reached`] only when the right server gave the right answer: each
//! request carries a token drawn for it, servers answer with their own name, the address they saw as the client's, and the
//! token. A port without a server refuses by itself (TCP reset, ICMP port unreachable). Anything else is silence, and silence
//! needs patience: see [`Patience`].

mod echo;
mod forged;
mod kept;
mod patience;
mod sctp;
mod send;
mod server;
mod tcp;
mod udp;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::lab::Namespace;

pub use forged::{Forged, Forgery, Witness, send_forged};
pub use kept::Conversation;
pub use patience::Patience;
pub use send::{Reply, send, send_all};
pub use server::{Servers, serve};

/// A protocol that can be probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// A connection, a line and its echo.
    Tcp,
    /// A datagram and its echo.
    Udp,
    /// An INIT and its acknowledgement, made by hand.
    Sctp,
    /// An echo request and its reply, of the family's own ICMP.
    Icmp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
            Self::Icmp => "ICMP",
        })
    }
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// The answer came, and it was right.
    Reached,
    /// The destination said no: TCP reset, ICMP unreachable.
    Refused,
    /// Nothing came.
    TimedOut,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self:?}")
    }
}

/// A packet to send.
#[derive(Clone)]
pub struct Probe {
    /// Where it is sent from.
    pub from: Arc<Namespace>,
    /// The sender's address; none lets the kernel choose.
    pub source: Option<IpAddr>,
    /// Where it is sent to.
    pub to: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The destination's port; unused for ICMP.
    pub port: u16,
    /// Who must answer; none accepts any server.
    pub owner: Option<String>,
    /// How many bytes the request has, when more than a token needs. A datagram that fits the sender's MTU goes as one packet
    /// that must not be fragmented on its way (the kernel's path MTU discovery).
    pub size: usize,
}

impl Probe {
    /// An ordinary small probe.
    pub fn new(from: &Arc<Namespace>, to: IpAddr, protocol: Protocol, port: u16) -> Self {
        Self { from: from.clone(), source: None, to, protocol, port, owner: None, size: 0 }
    }

    /// The same probe, with the server that must answer.
    pub fn owned_by(self, owner: impl Into<String>) -> Self {
        Self { owner: Some(owner.into()), ..self }
    }

    /// The same probe, with a request of `size` bytes.
    pub fn of_size(self, size: usize) -> Self {
        Self { size, ..self }
    }
}
