//! A stream of small datagrams from one pod to another, one way, with the time each was sent and received.
//!
//! Sender and receiver are threads of one process, so both times are of one clock. The sender does not care who listens; the
//! receiver notes what comes.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::lab::Namespace;

/// Between two datagrams, to which the kernel adds its timer's slack of about 0.06 ms.
const PERIOD: Duration = Duration::from_micros(200);
/// The receiver looks this often whether it is still needed.
const LOOK: Duration = Duration::from_millis(50);

/// A datagram that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it was sent.
    pub sent: Instant,
    /// When it was received.
    pub received: Instant,
}

/// A running stream; dropping it ends it.
pub struct Stream {
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
}

struct Shared {
    start: Instant,
    sent: AtomicU64,
    stop: AtomicBool,
    arrivals: Mutex<Vec<Arrival>>,
}

impl Stream {
    /// Starts a stream from a pod to an address and port of another.
    pub fn start(from: (&Namespace, IpAddr), to: (&Namespace, IpAddr), port: u16) -> Result<Self> {
        let bind = |namespace: &Namespace, address: SocketAddr| {
            let socket = namespace.run(move || UdpSocket::bind(address))?;
            socket.with_context(|| format!("cannot open a UDP socket at {address} in {}", namespace.name()))
        };
        let destination = SocketAddr::new(to.1, port);
        let sender = bind(from.0, SocketAddr::new(from.1, 0))?;
        let receiver = bind(to.0, destination)?;
        receiver.set_read_timeout(Some(LOOK)).context("cannot set a socket's read timeout")?;
        let shared = Arc::new(Shared {
            start: Instant::now(),
            sent: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            arrivals: Mutex::default(),
        });
        let (sending, receiving) = (shared.clone(), shared.clone());
        let threads = vec![
            thread::spawn(move || sending.send(&sender, destination)),
            thread::spawn(move || receiving.receive(&receiver)),
        ];
        Ok(Self { shared, threads })
    }

    /// How many datagrams have been sent.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Acquire)
    }

    /// Waits until so many more have been sent.
    pub async fn pass(&self, more: u64) -> Result<()> {
        let (goal, start) = (self.sent() + more, Instant::now());
        while self.sent() < goal {
            ensure!(start.elapsed() < Duration::from_secs(10), "the stream of datagrams has stopped");
            tokio::time::sleep(PERIOD * 4).await;
        }
        Ok(())
    }

    /// What has come since the last call.
    pub fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.shared.arrivals.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    fn send(&self, socket: &UdpSocket, to: SocketAddr) {
        while !self.stop.load(Ordering::Relaxed) {
            let age = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            // A full queue loses a datagram as a wire does; the receiver shows what arrives.
            let _ = socket.send_to(&age.to_be_bytes(), to);
            self.sent.fetch_add(1, Ordering::Release);
            thread::sleep(PERIOD);
        }
    }

    fn receive(&self, socket: &UdpSocket) {
        let mut age = [0; 8];
        while !self.stop.load(Ordering::Relaxed) {
            // Nothing within the timeout is what a denied stream looks like.
            let Ok((8, _)) = socket.recv_from(&mut age) else { continue };
            let received = Instant::now();
            let sent = self.start + Duration::from_nanos(u64::from_be_bytes(age));
            self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(Arrival { sent, received });
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
