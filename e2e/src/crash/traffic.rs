//! Packets that policy denies, sent all the while to everyone who must not get them, and those who count what arrives.
//!
//! Every packet says who sent it and its number, so that one that arrives can be told from all others. A pod's listener is a raw
//! socket: it sees what the pod's kernel is given, whoever listens to the port. It hears allowed packets as well: one that hears
//! none would prove nothing.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::lab::Namespace;
use crate::probe::Witness;

/// The port on which a friend is heard and nobody else.
pub const PORT: u16 = 7000;
const DENIED: &str = "ferrant denied";
const ALLOWED: &str = "ferrant allowed";
/// How often each sender sends to all of its targets.
const EVERY: Duration = Duration::from_millis(3);
/// Between two attempts of an allowed packet.
const AGAIN: Duration = Duration::from_millis(20);
/// As many that arrived are told.
const TOLD: usize = 5;

/// What is sent and what arrives.
#[derive(Clone, Default)]
pub struct Traffic {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    arrived: Mutex<Arrived>,
    allowed: Mutex<BTreeSet<String>>,
    drawn: AtomicU64,
}

/// Denied packets that arrived.
#[derive(Clone, Debug, Default)]
pub struct Arrived {
    pub count: u64,
    pub told: Vec<String>,
}

impl Traffic {
    /// How many packets that policy denies were sent.
    pub fn denied_sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// What arrived since the last call.
    pub fn arrived(&self) -> Arrived {
        std::mem::take(&mut *self.shared.arrived.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends to every target from now on, until the tasks end.
    pub async fn deny(
        &self,
        tasks: &mut JoinSet<()>,
        from: &Arc<Namespace>,
        sender: &str,
        targets: Vec<SocketAddr>,
    ) -> Result<()> {
        let sockets = [socket(from, Domain::IPV4).await?, socket(from, Domain::IPV6).await?];
        let (shared, sender) = (self.shared.clone(), sender.to_owned());
        tasks.spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut number = 0u64;
            loop {
                ticks.tick().await;
                for target in &targets {
                    number += 1;
                    let text = format!("{DENIED} {sender} {number}");
                    // An error is ICMP about the one before, or a sender whose interface is gone for a moment.
                    if sockets[usize::from(target.is_ipv6())].send_to(text.as_bytes(), target).await.is_ok() {
                        shared.sent.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        Ok(())
    }

    /// Listens in a pod's namespace until the tasks end.
    pub async fn listen(&self, tasks: &mut JoinSet<()>, at: &Arc<Namespace>, pod: &str) -> Result<()> {
        for ipv6 in [false, true] {
            let witness = Witness::post(at, ipv6, Protocol::UDP).await?;
            let (shared, pod) = (self.shared.clone(), pod.to_owned());
            tasks.spawn(async move {
                while let Ok(packet) = witness.packet().await {
                    shared.hear(&pod, &packet);
                }
            });
        }
        Ok(())
    }

    /// Sends a packet that says it is denied on a way that is allowed, until it is noticed: the listeners' own test.
    pub async fn plant(&self, from: &Arc<Namespace>, to: IpAddr) -> Result<()> {
        let socket = socket(from, if to.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 }).await?;
        let text = format!("{DENIED} nobody 0");
        for _ in 0..100 {
            socket.send_to(text.as_bytes(), SocketAddr::new(to, PORT)).await.context("cannot send")?;
            tokio::time::sleep(AGAIN).await;
            if self.shared.arrived.lock().unwrap_or_else(PoisonError::into_inner).count > 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether a packet that policy allows arrives within `limit`; it is sent again and again.
    pub async fn allowed(&self, from: &Arc<Namespace>, to: IpAddr, limit: Duration) -> Result<bool> {
        let domain = if to.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
        let socket = socket(from, domain).await?;
        let text = format!("{ALLOWED} {:08x}", self.shared.drawn.fetch_add(1, Ordering::Relaxed));
        let start = std::time::Instant::now();
        loop {
            let _ = socket.send_to(text.as_bytes(), SocketAddr::new(to, PORT)).await;
            let until = tokio::time::Instant::now() + AGAIN;
            loop {
                if self.shared.allowed.lock().unwrap_or_else(PoisonError::into_inner).remove(&text) {
                    return Ok(true);
                }
                if tokio::time::Instant::now() >= until {
                    break;
                }
                tokio::time::sleep(Duration::from_micros(300)).await;
            }
            if start.elapsed() > limit {
                return Ok(false);
            }
        }
    }
}

impl Shared {
    fn hear(&self, pod: &str, packet: &[u8]) {
        let text = String::from_utf8_lossy(packet);
        if let Some(at) = text.find(DENIED) {
            let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
            arrived.count += 1;
            if arrived.told.len() < TOLD {
                arrived.told.push(format!("`{}` arrived at {pod}", &text[at..]));
            }
        } else if let Some(at) = text.find(ALLOWED) {
            let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
            // Each is asked after once; what comes twice stays, and is small.
            allowed.insert(text[at..].to_owned());
            if allowed.len() > 4096 {
                allowed.clear();
            }
        }
    }
}

async fn socket(from: &Arc<Namespace>, domain: Domain) -> Result<UdpSocket> {
    let open = move || -> std::io::Result<Socket> {
        let socket = Socket::new(domain, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    let socket = from.ask(open).await?.context("cannot open a UDP socket")?;
    UdpSocket::from_std(socket.into()).context("cannot open a UDP socket")
}
