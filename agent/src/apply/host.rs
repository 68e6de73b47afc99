//! The node's own half of the network outside the switch: planned as plain data, then made so.
//!
//! [`host`] says what a node needs of links, routes and nft, as a function of a few facts; [`reconcile`] hands each part to the
//! module that makes it so. Another kind of host is another set of those modules.

use std::collections::BTreeSet;

use apis::cni::MacAddress;
use ipnet::IpNet;
use rtnetlink::Handle;

use super::links::{self, GatewayLink, LinksError};
use super::nat::{self, Masquerade, NatError};
use super::routes::{self, Routes, RoutesError};
use super::sysctl::Sysctl;
use crate::ipam::gateway;

/// What the plan is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// The gateway interface's name.
    pub gateway_interface: String,
    /// Its link-layer address.
    pub gateway_mac: MacAddress,
    /// The MTU of pods in bytes.
    pub mtu: u32,
    /// The interface with the node's address, where one was found.
    pub uplink: Option<String>,
    /// The node's own pod CIDRs.
    pub pod_cidrs: Vec<IpNet>,
    /// Those of all other nodes.
    pub peer_pod_cidrs: Vec<IpNet>,
    /// On the userspace datapath: every interface the switch holds, or is about to hold. Empty on the kernel's.
    pub closed_interfaces: BTreeSet<String>,
}

/// What a node needs outside the switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The gateway interface, and the node's settings.
    pub gateway: GatewayLink,
    /// The way to pods.
    pub routes: Routes,
    /// The source address of what leaves.
    pub masquerade: Masquerade,
    /// Interfaces that the node's own stack must not hear.
    pub closed: BTreeSet<String>,
}

/// Why the host is not as it has to be.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Links or settings.
    #[error(transparent)]
    Links(#[from] LinksError),
    /// Routes, rules or neighbours.
    #[error(transparent)]
    Routes(#[from] RoutesError),
    /// nft.
    #[error(transparent)]
    Nat(#[from] NatError),
}

/// What the node with these facts needs.
pub fn host(facts: &HostFacts) -> Host {
    let mut all = facts.pod_cidrs.iter().chain(&facts.peer_pod_cidrs).map(IpNet::trunc).collect::<Vec<_>>();
    all.sort();
    all.dedup();
    Host {
        gateway: GatewayLink {
            name: facts.gateway_interface.clone(),
            mac: facts.gateway_mac,
            mtu: facts.mtu,
            addresses: facts.pod_cidrs.iter().map(gateway).collect(),
            sysctls: sysctls(facts, &all),
        },
        routes: Routes { gateway_interface: facts.gateway_interface.clone(), pod_cidrs: all.clone() },
        masquerade: Masquerade {
            gateway_interface: facts.gateway_interface.clone(),
            local_pod_cidrs: facts.pod_cidrs.clone(),
            cluster_pod_cidrs: all,
        },
        closed: facts.closed_interfaces.clone(),
    }
}

fn sysctls(facts: &HostFacts, pod_cidrs: &[IpNet]) -> Vec<Sysctl> {
    let gateway = &facts.gateway_interface;
    let mut sysctls = Vec::new();
    if pod_cidrs.iter().any(|cidr| cidr.addr().is_ipv4()) {
        sysctls.push(Sysctl::new("net/ipv4/ip_forward", "1"));
        // Loose: the larger of this and conf/all counts, and a strict one drops what comes back another way than it went.
        sysctls.push(Sysctl::new(format!("net/ipv4/conf/{gateway}/rp_filter"), "2"));
    }
    if pod_cidrs.iter().any(|cidr| cidr.addr().is_ipv6()) {
        if let Some(uplink) = &facts.uplink {
            // A forwarding node ignores router advertisements unless told otherwise, and would lose its default route.
            let path = format!("net/ipv6/conf/{uplink}/accept_ra");
            sysctls.push(Sysctl { only_from: Some("1"), ..Sysctl::new(path, "2") });
        }
        sysctls.push(Sysctl::new("net/ipv6/conf/all/forwarding", "1"));
        for (setting, value) in [("disable_ipv6", "0"), ("accept_dad", "0"), ("accept_ra", "0")] {
            sysctls.push(Sysctl::new(format!("net/ipv6/conf/{gateway}/{setting}"), value));
        }
    }
    sysctls
}

/// Makes the host so, from whatever it is; says what was changed. What is closed comes first: nothing else may open a way around
/// the switch meanwhile.
pub async fn reconcile(handle: &Handle, desired: &Host) -> Result<Vec<String>, HostError> {
    let mut changes = nat::reconcile_closed(&desired.closed).await?;
    changes.extend(nat::reconcile_masquerade(&desired.masquerade).await?);
    changes.extend(links::reconcile(handle, &desired.gateway).await?);
    changes.extend(routes::reconcile(handle, &desired.routes).await?);
    Ok(changes)
}
