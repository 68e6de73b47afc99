//! The addresses of a lab's cluster: nodes, gateways, the host outside, and what the CNI plugin gave each pod.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result};
use ipnet::IpNet;

use super::draw::{Drawn, NODES, Part, Pod};
use crate::lab::{Lab, NodePlan};

/// Who has which address.
#[derive(Clone, Debug, Default)]
pub struct World {
    nodes: BTreeMap<&'static str, (Vec<IpAddr>, Vec<IpNet>)>,
    pods: BTreeMap<usize, Vec<IpAddr>>,
    ended: BTreeMap<usize, Vec<IpAddr>>,
}

impl World {
    /// The nodes of a lab that has no pods yet.
    pub fn of(plans: &[NodePlan]) -> Result<Self> {
        let mut world = Self::default();
        for name in NODES {
            let plan = plans.iter().find(|plan| plan.name == name).with_context(|| format!("the lab has no {name}"))?;
            world.nodes.insert(name, (plan.addresses.clone(), plan.pod_cidrs.clone()));
        }
        Ok(world)
    }

    /// What the manifest says of a pod's addresses: those of its node for a pod of the host's network, and for an ended pod those
    /// it had. A pod of the pod network has what the plugin gives it.
    pub fn manifest_addresses(&self, index: usize, pod: &Pod) -> Vec<IpAddr> {
        let offset = 200 + u8::try_from(index).unwrap_or(u8::MAX - 200);
        [false, true]
            .into_iter()
            .filter_map(|ipv6| match pod.part {
                Part::Pod => None,
                Part::HostNetwork => Some(self.node(pod.node, ipv6)),
                Part::Ended => Some(self.in_range(pod.node, ipv6, offset)),
            })
            .collect()
    }

    /// Learns what the plugin gave the pods of a cluster.
    pub fn learn(&mut self, drawn: &Drawn, lab: &Lab) {
        self.pods.clear();
        self.ended.clear();
        for (index, pod) in drawn.pods.iter().enumerate() {
            if pod.part == Part::Ended {
                self.ended.insert(index, self.manifest_addresses(index, pod));
            }
            if let Some(attached) = lab.pods().get(&format!("{}/{}", pod.namespace, pod.name)) {
                self.pods.insert(index, attached.addresses().to_vec());
            }
        }
    }

    /// A pod's addresses, as its agent or its manifest has them.
    pub fn pod_addresses(&self, index: usize, pod: &Pod) -> Vec<IpAddr> {
        self.pods.get(&index).cloned().unwrap_or_else(|| self.manifest_addresses(index, pod))
    }

    /// An attached pod's address of a family.
    pub fn pod(&self, index: usize, ipv6: bool) -> IpAddr {
        of_family(self.pods.get(&index).map_or(&[], Vec::as_slice), ipv6)
            .expect("the lab is dual stack, and only attached pods are asked about")
    }

    /// A node's own address.
    pub fn node(&self, node: &str, ipv6: bool) -> IpAddr {
        of_family(&self.nodes[node].0, ipv6).expect("the lab's nodes are dual stack")
    }

    /// A node's gateway: the first address of its pod range.
    pub fn gateway(&self, node: &str, ipv6: bool) -> IpAddr {
        self.in_range(node, ipv6, 1)
    }

    /// An address of the node's pod range that no pod has.
    pub fn nobody(&self, node: &str, ipv6: bool) -> IpAddr {
        self.in_range(node, ipv6, 250)
    }

    /// The address that an ended pod had; its node gives it to nobody else in a run.
    pub fn ended(&self, index: usize, ipv6: bool) -> IpAddr {
        of_family(&self.ended[&index], ipv6).expect("the lab is dual stack, and only ended pods are asked about")
    }

    /// The host outside the cluster.
    pub fn outside(&self, ipv6: bool) -> IpAddr {
        if ipv6 { "fd00:18::100".parse() } else { "172.18.0.100".parse() }.expect("a valid address")
    }

    fn in_range(&self, node: &str, ipv6: bool, offset: u8) -> IpAddr {
        let range = self.nodes[node].1.iter().find(|range| range.addr().is_ipv6() == ipv6);
        match range.expect("the lab's nodes are dual stack").network() {
            IpAddr::V4(network) => IpAddr::V4((u32::from(network) + u32::from(offset)).into()),
            IpAddr::V6(network) => IpAddr::V6((u128::from(network) + u128::from(offset)).into()),
        }
    }
}

fn of_family(addresses: &[IpAddr], ipv6: bool) -> Option<IpAddr> {
    addresses.iter().copied().find(|address| address.is_ipv6() == ipv6)
}
