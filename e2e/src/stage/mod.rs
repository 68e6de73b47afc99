//! A cluster that is up, with servers in its pods, to be asked by packets.
//!
//! A [`Question`] names its two ends as a person does (`shop/web`, `node-a`, `outside`, an address); [`Stage::ask`] sends the
//! packets and [`Stage::decided_by`] asks the agents which rules decide about such a packet: the source's node about egress,
//! the destination's node about ingress.

mod arrival;
mod decided;
mod place;
mod question;
mod stray;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::lab::{Lab, Options, PodPlan, ip};
use crate::probe::{Patience, Probe, Protocol, Servers, Verdict, send_all, serve};

pub use place::Place;
pub use question::{Answer, Question, ask_in_order};

/// A lab with its cluster on it.
pub struct Stage {
    lab: Lab,
    cluster: Cluster,
    servers: Servers,
    served: BTreeSet<(Place, Protocol, SocketAddr)>,
    patience: Patience,
}

impl Stage {
    /// Brings everything up: nodes, daemons, pods, servers; every node obeys the directory and knows every pod when this
    /// returns. `say` hears what is being done.
    pub async fn set(options: Options, cluster: Cluster, say: &(dyn Fn(&str) + Send + Sync)) -> Result<Self> {
        say(&format!("starting {} nodes ({} datapath) and the controller", cluster.nodes.len(), options.datapath));
        let lab = Lab::up(options, cluster.nodes.clone(), &cluster.files).await?;
        let patience = Patience::new(lab.pace());
        let mut stage = Self { lab, servers: Servers::default(), served: BTreeSet::new(), patience, cluster };
        stage.lab.settle().await?;
        stage.greet().await?;
        say(&format!("attaching {} pods through the CNI plugin", stage.cluster.pods.len()));
        stage.attach(stage.cluster.pods.clone()).await?;
        stage.lab.settle().await?;
        Ok(stage)
    }

    /// Lets every node find every other's link address by itself. A userspace switch learns addresses for its tunnels from
    /// replies that it sees, and drops the packet for which it must ask first; afterwards a lost packet is somebody's fault.
    async fn greet(&self) -> Result<()> {
        for node in self.lab.nodes() {
            // Forgets what the node learnt from questions of others: it must ask, to see replies.
            ip(node.namespace(), &[format!("neigh flush dev {}", node.uplink())])?;
            let own = |address: &&IpAddr| node.plan().addresses.iter().any(|own| own.is_ipv6() == address.is_ipv6());
            let others = self.lab.nodes().iter().filter(|other| other.name() != node.name());
            let greetings: Vec<Probe> = others
                .flat_map(|other| other.plan().addresses.iter().filter(own))
                .map(|address| Probe::new(node.namespace(), *address, Protocol::Icmp, 0))
                .collect();
            for (reply, probe) in send_all(&greetings, &self.patience).await.into_iter().zip(&greetings) {
                ensure!(
                    reply?.verdict == Verdict::Reached,
                    "{} does not reach {} on the underlay",
                    probe.from.name(),
                    probe.to
                );
            }
        }
        Ok(())
    }

    /// Attaches pods and starts the servers of the ports that they declare.
    pub async fn attach(&mut self, pods: Vec<PodPlan>) -> Result<()> {
        self.lab.attach(pods.clone()).await?;
        self.welcome(&pods).await
    }

    /// Notes attached pods and starts their servers.
    async fn welcome(&mut self, pods: &[PodPlan]) -> Result<()> {
        for pod in pods {
            match self.cluster.pods.iter_mut().find(|known| known.key() == pod.key()) {
                Some(known) => *known = pod.clone(),
                None => self.cluster.pods.push(pod.clone()),
            }
        }
        for pod in pods.iter().filter(|pod| !pod.terminated) {
            let place = self.place(&pod.key())?;
            self.serve(&place, &pod.ports).await?;
        }
        Ok(())
    }

    /// Starts servers at a place, on each of its addresses; the same server twice is one.
    pub async fn serve(&mut self, place: &Place, ports: &[(Protocol, u16)]) -> Result<()> {
        let mut wanted = Vec::new();
        for address in self.addresses(place)? {
            for (protocol, port) in ports {
                let socket = SocketAddr::new(address, *port);
                // A pod of the host's network serves at its node's addresses.
                if !self.served.iter().any(|(_, served, at)| served == protocol && *at == socket) {
                    self.served.insert((place.clone(), *protocol, socket));
                    wanted.push((*protocol, socket));
                }
            }
        }
        let owner = self.owner(place);
        let servers = serve(self.namespace(place)?, &owner, &wanted).await?;
        self.servers.join(servers);
        Ok(())
    }

    /// Makes sure that something answers at an address outside the cluster.
    pub async fn serve_outside(&mut self, address: IpAddr, protocol: Protocol, port: u16) -> Result<()> {
        self.lab.underlay().own(address)?;
        self.serve(&Place::Address(address), &[(protocol, port)]).await
    }

    /// The lab below.
    pub fn lab(&mut self) -> &mut Lab {
        &mut self.lab
    }

    /// The cluster as it was at first.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// How long silence must last.
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Detaches a pod.
    pub fn detach(&mut self, key: &str) -> Result<()> {
        self.lab.detach(key)?;
        self.cluster.pods.retain(|pod| pod.key() != key);
        self.served.retain(|(place, _, _)| *place != Place::Pod(key.to_owned()));
        Ok(())
    }

    /// Changes the source and waits until every node obeys.
    pub async fn apply(&mut self, change: impl FnOnce(&crate::lab::Source) -> Result<()>) -> Result<()> {
        change(self.lab.source())?;
        self.lab.settle().await.context("after a change of the source").map(drop)
    }

    /// Takes everything down and names what was left behind; empty is right.
    pub fn strike(self) -> Vec<String> {
        let Self { lab, servers, .. } = self;
        drop(servers);
        lab.down()
    }
}
