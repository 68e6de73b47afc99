//! Who is at each end of a packet.

use std::net::IpAddr;

use apis::kubernetes::Pod;

use crate::{Cluster, Construct, Endpoint, Family, Packet, PodKey, Reading};

/// One end of a packet: who it is and which address it uses.
pub(crate) struct Party<'a> {
    pub address: IpAddr,
    pub who: Who<'a>,
    /// The address is not its own.
    pub spoofs: bool,
}

/// Who is at an end of a packet.
#[derive(Clone, Copy)]
pub(crate) enum Who<'a> {
    /// A pod with a network of its own that has not ended: the only thing that policies select.
    Pod(&'a Pod),
    /// A node, or a pod of its host's network.
    Node(&'a str),
    /// An address that neither a pod nor a node has.
    Outside,
}

/// Why a packet cannot be asked about: it could not be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswerable {
    /// The cluster has no such pod.
    NoSuchPod(PodKey),
    /// The cluster has no such node.
    NoSuchNode(String),
    /// A party has no address of the packet's family.
    NoAddress(Endpoint, Family),
    /// A pod that has ended sends nothing.
    Ended(PodKey),
    /// Two pods have this address, so who is meant is open.
    SharedAddress(IpAddr, PodKey, PodKey),
}

impl std::fmt::Display for Unanswerable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSuchPod(key) => write!(formatter, "there is no pod {key}; check namespace and name"),
            Self::NoSuchNode(name) => write!(formatter, "there is no node {name}; check the name"),
            Self::NoAddress(endpoint, family) => {
                write!(formatter, "{endpoint} has no {family} address; ask for the other family, or give it one")
            }
            Self::Ended(key) => write!(formatter, "pod {key} has ended and sends nothing; ask about a running pod"),
            Self::SharedAddress(address, one, other) => {
                write!(formatter, "pods {one} and {other} both have {address}; ask about one of them by name")
            }
        }
    }
}

impl std::error::Error for Unanswerable {}

impl<'a> Reading<'a> {
    pub(crate) fn source(self, packet: &Packet) -> Result<Party<'a>, Unanswerable> {
        if let Endpoint::Pod(key) = &packet.source
            && self.pod(key)?.is_terminated()
            && self.knows(Construct::TerminatedExclusion)
        {
            return Err(Unanswerable::Ended(key.clone()));
        }
        let mut party = self.party(&packet.source, packet.family)?;
        if let Some(address) = packet.source_address {
            if Family::of(address) != packet.family {
                return Err(Unanswerable::NoAddress(Endpoint::Address(address), packet.family));
            }
            party.address = address;
            party.spoofs = match party.who {
                Who::Pod(pod) => !self.cluster.pod_addresses(pod).contains(&address),
                Who::Node(_) | Who::Outside => false,
            };
        }
        Ok(party)
    }

    pub(crate) fn destination(self, packet: &Packet) -> Result<Party<'a>, Unanswerable> {
        self.party(&packet.destination, packet.family)
    }

    fn pod(self, key: &PodKey) -> Result<&'a Pod, Unanswerable> {
        self.cluster.pod(key).ok_or_else(|| Unanswerable::NoSuchPod(key.clone()))
    }

    fn party(self, endpoint: &Endpoint, family: Family) -> Result<Party<'a>, Unanswerable> {
        let first_of_family = |addresses: Vec<IpAddr>| {
            let mut fitting = addresses.into_iter().filter(|address| Family::of(*address) == family);
            fitting.next().ok_or_else(|| Unanswerable::NoAddress(endpoint.clone(), family))
        };
        let (address, who) = match endpoint {
            Endpoint::Pod(key) => {
                let pod = self.pod(key)?;
                (first_of_family(self.cluster.pod_addresses(pod))?, self.who(pod))
            }
            Endpoint::Node(name) => {
                let node = self.cluster.node(name).ok_or_else(|| Unanswerable::NoSuchNode(name.clone()))?;
                (first_of_family(Cluster::node_addresses(node))?, Who::Node(&node.metadata.name))
            }
            Endpoint::Address(address) => (first_of_family(vec![*address])?, self.holder(*address)?),
        };
        Ok(Party { address, who, spoofs: false })
    }

    /// What a pod is to policies.
    ///
    /// What policies do to pods of the host's network is left undefined (concept, *NetworkPolicy and hostNetwork pods*); the
    /// usual reading, also named there, is taken: their traffic is their node's. A pod in phase Succeeded or Failed has ended
    /// for good (<https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase>) and its address is free again.
    /// A pod that is being deleted counts until then.
    fn who(self, pod: &'a Pod) -> Who<'a> {
        if pod.is_terminated() && self.knows(Construct::TerminatedExclusion) {
            Who::Outside
        } else if pod.spec.host_network && self.knows(Construct::HostNetworkExclusion) {
            pod.spec.node_name.as_deref().map_or(Who::Outside, Who::Node)
        } else {
            Who::Pod(pod)
        }
    }

    /// Who has an address: a pod before a node, since a pod of the host's network is only its node.
    fn holder(self, address: IpAddr) -> Result<Who<'a>, Unanswerable> {
        let has = |pod: &&'a Pod| self.cluster.pod_addresses(pod).contains(&address);
        let mut pods = self.cluster.pods.iter().filter(has).filter(|pod| matches!(self.who(pod), Who::Pod(_)));
        match (pods.next(), pods.next()) {
            (Some(one), Some(other)) if self.lacks.is_none() => {
                Err(Unanswerable::SharedAddress(address, Cluster::key(one), Cluster::key(other)))
            }
            (Some(pod), _) => Ok(Who::Pod(pod)),
            (None, _) => {
                let mut nodes = self.cluster.nodes.iter();
                let node = nodes.find(|node| Cluster::node_addresses(node).contains(&address));
                Ok(node.map_or(Who::Outside, |node| Who::Node(&node.metadata.name)))
            }
        }
    }
}
