//! The host's side of a turn: links, routes and NAT are planned here and made so by the worker beside the loop.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use ovs_pipeline::Datapath;

use super::Agent;
use crate::apply::host::HostFacts;
use crate::apply::ports::{GATEWAY, HostWork, Work};
use crate::ipam::attachment::PodNetwork;
use crate::ipam::gateway_mac;
use crate::state::State;

/// Between a failure and the next attempt.
const RETRY: Duration = Duration::from_secs(1);

/// What is known of the host.
#[derive(Debug, Default)]
pub struct Host {
    /// What the worker was last asked for.
    asked: Option<HostWork>,
    /// When it failed; asked again after a while, or at the next change.
    failed: Option<Instant>,
    /// The MTU that pods get, once the host is as planned.
    pub(super) mtu: Option<u32>,
}

impl Agent {
    /// Asks for what differs from what was asked before.
    pub(super) fn plan_host(&mut self) {
        let Some(wanted) = self.wanted_host() else {
            return;
        };
        if self.host.asked.as_ref() == Some(&wanted) && self.host.failed.is_none() {
            return;
        }
        self.host.failed = None;
        // The worker ends only with the agent.
        let _ = self.parts.work.send(Work::Host(Box::new(wanted.clone())));
        self.host.asked = Some(wanted);
    }

    /// Somebody touched the host: all of it is compared, once it has been made.
    pub(super) fn look_at_host(&mut self) {
        if self.host.asked.is_some()
            && let Some(wanted) = self.wanted_host()
        {
            let _ = self.parts.work.send(Work::LookAtHost(Box::new(wanted.clone())));
            self.host.asked = Some(wanted);
        }
    }

    fn wanted_host(&self) -> Option<HostWork> {
        let closed = match self.parts.state.datapath {
            Datapath::Netdev => {
                self.parts.attachments.attached().map(|attachment| attachment.host_interface.clone()).collect()
            }
            Datapath::System => BTreeSet::new(),
        };
        let (facts, addresses) = facts(&self.parts.state, closed)?;
        Some(HostWork { facts, addresses, gateway: self.waiting.gateway_device() })
    }

    /// The worker is done with the host.
    pub(super) fn take_host(&mut self, outcome: Result<u32, String>) {
        match outcome {
            Ok(mtu) => {
                let Some(own) = self.parts.state.own() else {
                    return;
                };
                self.host.mtu = Some(mtu);
                self.parts.attachments.set_network(PodNetwork {
                    pod_cidrs: own.pod_cidrs.clone(),
                    gateway_mac: gateway_mac(&self.parts.state.node),
                    mtu,
                    transmit_checksum_offload: self.parts.state.datapath == Datapath::System,
                });
                self.retry_adds();
            }
            Err(error) => {
                self.parts.metrics.host_failures.inc();
                tracing::error!(%error, "the host is not as planned, trying again");
                self.host.failed = Some(Instant::now());
            }
        }
    }

    /// Time passed: what failed is tried again.
    pub(super) fn retry_host(&mut self) {
        if self.host.failed.is_some_and(|failed| failed.elapsed() >= RETRY) {
            self.plan_host();
        }
    }
}

/// What the host depends on; none while the controller has not described this node.
fn facts(state: &State, closed_interfaces: BTreeSet<String>) -> Option<(HostFacts, Vec<std::net::IpAddr>)> {
    let own = state.own()?;
    let mut peer_pod_cidrs: Vec<IpNet> = state
        .upstream
        .nodes
        .values()
        .filter(|node| node.name != state.node)
        .flat_map(|node| node.pod_cidrs.iter().copied())
        .collect();
    peer_pod_cidrs.sort_unstable();
    let facts = HostFacts {
        gateway_interface: GATEWAY.to_owned(),
        gateway_mac: gateway_mac(&state.node),
        // Both are found out by the worker.
        mtu: 0,
        uplink: None,
        pod_cidrs: own.pod_cidrs.clone(),
        peer_pod_cidrs,
        closed_interfaces,
    };
    Some((facts, own.addresses.clone()))
}
