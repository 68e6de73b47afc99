//! Pods that start, and switches that start again, while others are already sending: not one packet may come through that
//! policy forbids.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use apis::query::{PODS_PATH, PodInfo};
use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::stray::Stray;
use super::{Place, Stage};
use crate::command::say;
use crate::lab::{Namespace, PodPlan, get, mac_of, run};
use crate::probe::Witness;

/// What the flood consists of.
const MARK: &[u8] = b"ferrant flood";
/// A discard port, on which nobody answers.
const PORT: u16 = 9;
/// How often each sender sends.
const EVERY: Duration = Duration::from_millis(1);
/// How long the flood goes on once the pod is there.
const AFTERWARDS: Duration = Duration::from_millis(300);
/// How long an address may wait until every node has heard that it is nobody's.
const ADDRESS_WITHIN: Duration = Duration::from_secs(35);
/// How long it goes on once a switch is back.
const REFILL: Duration = Duration::from_secs(1);

/// Packets that are sent all the while, and a count of those that arrive.
pub struct Flood {
    tasks: JoinSet<()>,
    arrived: Arc<AtomicUsize>,
}

impl Flood {
    /// Ends it; how many packets arrived.
    pub async fn cease(mut self) -> usize {
        self.tasks.shutdown().await;
        self.arrived.load(Ordering::Relaxed)
    }
}

impl Stage {
    /// Lets others send to these addresses, which belong to `namespace` or will.
    pub async fn flood(&self, senders: &[String], namespace: &Arc<Namespace>, addresses: &[IpAddr]) -> Result<Flood> {
        let mut flood = Flood { tasks: JoinSet::new(), arrived: Arc::new(AtomicUsize::new(0)) };
        for address in addresses {
            let witness = Witness::post(namespace, address.is_ipv6(), SocketProtocol::UDP).await?;
            flood.tasks.spawn(count(witness, flood.arrived.clone()));
            for sender in senders {
                let place = self.place(sender)?;
                let socket = flood_socket(self.namespace(&place)?, *address).await?;
                flood.tasks.spawn(send(socket, SocketAddr::new(*address, PORT)));
            }
        }
        Ok(flood)
    }

    /// Attaches a pod to which others send all the while; how many of their packets arrived, and how many that are for others.
    pub async fn attach_under_fire(&mut self, pod: PodPlan, senders: &[String]) -> Result<usize> {
        ensure!(!pod.addresses.is_empty(), "name the address that {} will have: address=…", pod.key());
        let namespace = self.lab.sandbox(&pod)?;
        let stray = Stray::listen(&namespace).await?;
        let flood = self.flood(senders, &namespace, &pod.addresses).await?;
        self.attach_as_planned(&pod, &namespace).await?;
        self.welcome(std::slice::from_ref(&pod)).await?;
        // The flood goes on while the other nodes learn of the pod.
        self.lab.settle().await?;
        tokio::time::sleep(AFTERWARDS).await;
        let stray = stray.count()?;
        if stray > 0 {
            say(&format!("{stray} packets for others reached {}", pod.key()));
        }
        Ok(flood.cease().await + stray)
    }

    /// Attaches a pod with the addresses that it is to have. While one waits, because another node may have it on its map still, the
    /// pod would get another.
    async fn attach_as_planned(&mut self, pod: &PodPlan, namespace: &Arc<Namespace>) -> Result<()> {
        let (begun, limit) = (Instant::now(), self.lab.pace().allow(ADDRESS_WITHIN));
        loop {
            self.lab.attach_in(pod.clone(), namespace.clone()).await?;
            let got = self.lab.pod(&pod.key())?.addresses().to_vec();
            if pod.addresses.iter().all(|address| got.contains(address)) {
                return Ok(());
            }
            ensure!(begun.elapsed() < limit, "{} got {got:?} instead", pod.key());
            self.lab.detach(&pod.key())?;
        }
    }

    /// Restarts the switch of a node while others send to a pod there; how many of their packets arrived.
    pub async fn restart_switch_under_fire(&mut self, node: &str, senders: &[String], target: &str) -> Result<usize> {
        let place = self.place(target)?;
        let addresses = self.addresses(&place)?;
        let flood = self.flood(senders, self.namespace(&place)?, &addresses).await?;
        self.lab.restart_switch(node)?;
        // The flood goes on while the agent fills the switch.
        tokio::time::sleep(self.lab.pace().allow(REFILL)).await;
        Ok(flood.cease().await)
    }

    /// The MTU of a place's way out.
    pub fn mtu(&self, place: &Place) -> Result<usize> {
        let namespace = self.namespace(place)?;
        let interface = if self.is_host(place) { "lo" } else { "eth0" };
        let text = run(namespace, &["ip", "-json", "link", "show", "dev", interface], "")?;
        let links: serde_json::Value = serde_json::from_str(&text).context("ip -json printed something else")?;
        let mtu = links[0]["mtu"].as_u64().with_context(|| format!("{interface} of {place} has no MTU"))?;
        usize::try_from(mtu).context("an MTU is small")
    }

    /// The link address of the node's end of a pod's cable.
    pub async fn host_end_mac(&self, place: &Place) -> Result<String> {
        let node = self.node_of(place).with_context(|| format!("{place} is on no node"))?;
        let node = self.lab.node(&node)?;
        let answer =
            get(&node.agent_socket(), PODS_PATH, self.lab.pace().allow(Duration::from_secs(5))).await?.json()?;
        let pods: Vec<PodInfo> = serde_json::from_value(answer).context("the agent's pods are not pods")?;
        let pod = pods
            .iter()
            .find(|pod| pod.pod == place.to_string())
            .with_context(|| format!("the agent has no {place}"))?;
        mac_of(node.namespace(), &pod.interface)
    }
}

async fn flood_socket(from: &Arc<Namespace>, to: IpAddr) -> Result<UdpSocket> {
    let open = move || -> std::io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(SocketAddr::new(to, PORT)), Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    let socket = from.ask(open).await?.context("cannot open a UDP socket")?;
    UdpSocket::from_std(socket.into()).context("cannot open a UDP socket")
}

async fn send(socket: UdpSocket, to: SocketAddr) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        // An error is ICMP about the one before.
        let _ = socket.send_to(MARK, to).await;
    }
}

async fn count(witness: Witness, arrived: Arc<AtomicUsize>) {
    while let Ok(seen) = witness.sees(MARK, Duration::from_secs(1)).await {
        if seen {
            arrived.fetch_add(1, Ordering::Relaxed);
        }
    }
}
