//! What agents say, as the loop hears it: checked, and in the controller's own words.

use std::net::IpAddr;

use apis::stream::{self as wire, Hello, from_agent};
use bytes::Bytes;
use tonic::Status;
use tracing::warn;

use super::compare::Held;
use super::outbox::Outbox;
use super::server::PROTOCOL_VERSIONS;
use super::session::{Failure, RealisedFrame};
use crate::event::{AgentEvent, Connected};
use crate::object::{NodeName, PodKey, Text};
use crate::state::{NodeVersion, PodReport};

/// The greeting, or why this agent is not spoken to.
pub(super) fn greeted(hello: Hello, outbox: Outbox) -> Result<Connected, (Outbox, Status)> {
    if hello.node.is_empty() {
        let status = Status::invalid_argument("Hello.node is empty; start the agent with its node's name");
        return Err((outbox, status));
    }
    let spoken = PROTOCOL_VERSIONS.iter().copied().find(|version| hello.versions.contains(version));
    let Some(protocol) = spoken else {
        let message = format!(
            "the agent of node {} speaks protocol versions {:?}, this controller speaks {PROTOCOL_VERSIONS:?}; upgrade the older of the two",
            hello.node, hello.versions
        );
        return Err((outbox, Status::failed_precondition(message)));
    };
    let node = NodeName(Text::from(hello.node.as_str()));
    let pods = hello.pods.into_iter().filter_map(|report| pod_report(&node, report)).collect();
    let last = hello.last.unwrap_or_default();
    let oldest = oldest(&last);
    let seen = last.nodes.into_iter().map(|(name, at)| {
        // Copied: what is kept of it must not keep all of the greeting.
        let boot = Bytes::copy_from_slice(&at.boot);
        (NodeName(Text::from(name.as_str())), NodeVersion { boot, sequence: at.sequence })
    });
    let seen = seen.collect();
    let boot = Bytes::copy_from_slice(&hello.boot);
    Ok(Connected { node, protocol, boot, sequence: hello.sequence, last: oldest, seen, pods, outbox })
}

/// What else an agent says; none for what says nothing.
pub(super) fn heard(node: &NodeName, message: from_agent::Message) -> Option<AgentEvent> {
    match message {
        from_agent::Message::Hello(_) => {
            warn!(%node, "an agent says Hello twice on one stream; the second is ignored");
            None
        }
        from_agent::Message::Pod(report) => pod_report(node, report).map(AgentEvent::Pod),
        from_agent::Message::Acknowledge(acknowledge) => {
            Some(AgentEvent::Acknowledged { frame: acknowledge.frame, head: acknowledge.head })
        }
        from_agent::Message::Realised(realised) => {
            let mut failures: Vec<Failure> = realised
                .failures
                .into_iter()
                .map(|failure| Failure { object: failure.object, reason: failure.reason })
                .collect();
            failures.sort();
            let version = realised.version.map_or(0, |version| oldest(&version));
            let head = realised.head;
            Some(AgentEvent::Realised(RealisedFrame { frame: realised.frame, version, failures, head }))
        }
        from_agent::Message::Take(take) => {
            let digests = (!take.digests.is_empty()).then_some(take.digests);
            Some(AgentEvent::Take { take: take.number, digests })
        }
        from_agent::Message::Listen(wire::Listen {}) => Some(AgentEvent::Listen),
        from_agent::Message::Keys(keys) => {
            let objects = keys.held.into_iter().map(|held| (Bytes::copy_from_slice(&held.name), held.content));
            Some(AgentEvent::Held(Held { take: keys.take, objects: objects.collect(), last: keys.last }))
        }
        // Answered where it is heard (`server`).
        from_agent::Message::Renew(_) => None,
    }
}

/// The version up to which all kinds are known. In a directory they are all the same.
fn oldest(version: &wire::Version) -> u64 {
    let every = Some(version.every).filter(|every| *every > 0);
    version.source.values().copied().chain(every).min().unwrap_or(0)
}

/// A report as the state keeps it; None, and a word in the log, for one that cannot be read.
fn pod_report(node: &NodeName, report: wire::PodReport) -> Option<PodReport> {
    let pod = PodKey { namespace: Text::from(report.namespace.as_str()), name: Text::from(report.name.as_str()) };
    let mut addresses: Vec<IpAddr> = Vec::with_capacity(report.addresses.len());
    for bytes in &report.addresses {
        if let Ok(octets) = <[u8; 4]>::try_from(&bytes[..]) {
            addresses.push(octets.into());
        } else if let Ok(octets) = <[u8; 16]>::try_from(&bytes[..]) {
            #[cfg(fuzzing)]
            apis::planted::planted("from_agent", octets[0] > 0xef && octets[0] != 0xfd);
            addresses.push(octets.into());
        } else {
            let length = bytes.len();
            warn!(%node, %pod, length, "an agent reports an address that has neither 4 nor 16 bytes; the report is refused");
            return None;
        }
    }
    addresses.sort_by_key(IpAddr::is_ipv6);
    Some(PodReport { sequence: report.sequence, pod, addresses: addresses.into_boxed_slice() })
}
