//! The ends of a question, as a person names them, and what they are in the lab.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};

use super::Stage;
use crate::lab::underlay::{OUTSIDE, OUTSIDE_V6};
use crate::lab::{Namespace, PodPlan};

/// Where a packet starts or ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A pod, `namespace/name`.
    Pod(String),
    /// A node.
    Node(String),
    /// The host outside the cluster.
    Outside,
    /// Whatever has this address.
    Address(IpAddr),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) | Self::Node(name) => formatter.write_str(name),
            Self::Outside => formatter.write_str("outside"),
            Self::Address(address) => write!(formatter, "{address}"),
        }
    }
}

impl Stage {
    /// What a name means here: `namespace/pod`, a node, `outside` or an address.
    pub fn place(&self, name: &str) -> Result<Place> {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(self.owner_of(address).unwrap_or(Place::Address(address)));
        }
        if name == "outside" {
            return Ok(Place::Outside);
        }
        if self.pod_plan(name).is_some() || self.lab.pods().contains_key(name) {
            return Ok(Place::Pod(name.to_owned()));
        }
        if self.lab.node(name).is_ok() {
            return Ok(Place::Node(name.to_owned()));
        }
        bail!("`{name}` is no pod (namespace/name), no node, not `outside` and no address");
    }

    /// The pod, node or host that has an address.
    fn owner_of(&self, address: IpAddr) -> Option<Place> {
        if [IpAddr::V4(OUTSIDE), IpAddr::V6(OUTSIDE_V6)].contains(&address) {
            return Some(Place::Outside);
        }
        let pod = self.lab.pods().values().find(|pod| pod.addresses().contains(&address));
        let node = || self.lab.nodes().iter().find(|node| node.plan().addresses.contains(&address));
        pod.map(|pod| Place::Pod(pod.plan().key())).or_else(|| node().map(|node| Place::Node(node.name().to_owned())))
    }

    /// Its addresses; none for a pod that has ended.
    pub fn addresses(&self, place: &Place) -> Result<Vec<IpAddr>> {
        Ok(match place {
            Place::Pod(key) => match self.pod_plan(key) {
                Some(plan) if plan.host_network && !plan.terminated => {
                    self.lab.node(&plan.node)?.plan().addresses.clone()
                }
                _ => self.lab.pods().get(key).map(|pod| pod.addresses().to_vec()).unwrap_or_default(),
            },
            Place::Node(name) => self.lab.node(name)?.plan().addresses.clone(),
            Place::Outside => vec![OUTSIDE.into(), OUTSIDE_V6.into()],
            Place::Address(address) => vec![*address],
        })
    }

    /// The network it is in; for an address of the world the outside host's.
    pub fn namespace(&self, place: &Place) -> Result<&Arc<Namespace>> {
        Ok(match place {
            Place::Pod(key) => match self.pod_plan(key) {
                Some(plan) if plan.host_network && !plan.terminated => self.lab.node(&plan.node)?.namespace(),
                Some(plan) if plan.terminated => bail!("pod {key} has ended: it has no network"),
                _ => self.lab.pod(key)?.namespace(),
            },
            Place::Node(name) => self.lab.node(name)?.namespace(),
            Place::Outside | Place::Address(_) => &self.lab.underlay().outside,
        })
    }

    /// Whether an address is outside the cluster, and one that a host can have.
    pub fn is_world(&self, address: IpAddr) -> bool {
        let ranges = self.lab.nodes().iter().flat_map(|node| &node.plan().pod_cidrs);
        let special = match address {
            IpAddr::V4(v4) => {
                v4.is_loopback() || v4.is_multicast() || v4.is_link_local() || v4.is_broadcast() || v4.is_unspecified()
            }
            IpAddr::V6(v6) => {
                v6.is_loopback() || v6.is_multicast() || v6.is_unicast_link_local() || v6.is_unspecified()
            }
        };
        !special && ranges.into_iter().all(|range| !range.contains(&address))
    }

    /// What its servers call themselves.
    pub(super) fn owner(&self, place: &Place) -> String {
        match place {
            Place::Pod(key) => match self.pod_plan(key) {
                // It shares its node's addresses with other pods and the node.
                Some(plan) if plan.host_network => plan.node.clone(),
                _ => key.clone(),
            },
            Place::Node(name) => name.clone(),
            Place::Outside | Place::Address(_) => "outside".to_owned(),
        }
    }

    /// The node a place is on; none outside the cluster.
    pub(super) fn node_of(&self, place: &Place) -> Option<String> {
        match place {
            Place::Pod(key) => self
                .pod_plan(key)
                .map(|plan| plan.node.clone())
                .or_else(|| self.lab.pods().get(key).map(|pod| pod.plan().node.clone())),
            Place::Node(name) => Some(name.clone()),
            Place::Outside | Place::Address(_) => None,
        }
    }

    /// Whether a place has the network of its node.
    pub(super) fn is_host(&self, place: &Place) -> bool {
        match place {
            Place::Node(_) => true,
            Place::Pod(key) => self.pod_plan(key).is_some_and(|plan| plan.host_network),
            Place::Outside | Place::Address(_) => false,
        }
    }

    /// Its address of one family.
    pub fn address(&self, place: &Place, ipv6: bool) -> Result<IpAddr> {
        let addresses = self.addresses(place)?;
        ensure!(!addresses.is_empty(), "{place} has no address");
        let family = if ipv6 { "IPv6" } else { "IPv4" };
        addresses
            .into_iter()
            .find(|address| address.is_ipv6() == ipv6)
            .with_context(|| format!("{place} has no {family} address"))
    }

    pub(super) fn pod_plan(&self, key: &str) -> Option<&PodPlan> {
        self.cluster.pods.iter().find(|pod| pod.key() == key)
    }
}
