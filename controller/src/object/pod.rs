//! A pod: what selects it, where it runs, which ports it names.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Labels, NodeName, PodKey, Protocol, Text};

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub key: PodKey,
    /// The node it runs on; none while it is not scheduled.
    pub node: Option<NodeName>,
    /// All its labels.
    pub labels: Labels,
    /// Its ServiceAccount.
    pub service_account: Text,
    /// The named ports of its serving containers, sorted. One name may have several numbers: names are unique within a
    /// container only.
    pub named_ports: Arc<[NamedPort]>,
    /// The addresses in its status, IPv4 before IPv6; they count only while its node's agent has reported none.
    pub status_addresses: Box<[IpAddr]>,
    /// Whether it has a network of its own and has not ended: only then is it an endpoint.
    pub networked: bool,
}

/// A container port with a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPort {
    /// Its name.
    pub name: Text,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its number.
    pub port: u16,
}

/// `http=TCP/8080`
impl fmt::Display for NamedPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}/{}", self.name, self.protocol, self.port)
    }
}
