//! Datagrams with sequence numbers, from pod to pod, at an exact rate: what policy allows and what it denies, all the while.
//!
//! A lane is one direction: a thread that sends on absolute deadlines (a late packet is followed by the next at its own time, none
//! is left out), and a thread that notes what arrives. Both are threads of one process and have one clock. What is counted is
//! worked out afterwards, for any window of time.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};

use crate::lab::Namespace;

/// The receiver looks this often whether it is still needed.
const LOOK: Duration = Duration::from_millis(50);
/// What a receiver's queue holds: seconds, so that a busy machine does not lose what the switch has delivered.
const QUEUE: usize = 16 << 20;

/// How fast it is sent, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Tempo {
    /// Packets a second and lane.
    pub rate: u32,
    /// How long a packet may be under way.
    pub under_way: Duration,
}

/// An end of a lane.
pub struct End<'a> {
    /// Its network.
    pub namespace: &'a Arc<Namespace>,
    /// Its address there.
    pub address: IpAddr,
}

/// One direction between two pods.
pub struct Lane {
    /// Who to whom, for people.
    pub name: String,
    /// Whether policy allows it.
    pub allowed: bool,
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
}

struct Shared {
    start: Instant,
    /// From a packet to the next.
    period: Duration,
    stop: AtomicBool,
    /// How many were sent.
    sent: AtomicU64,
    /// Sequence number, and when it came.
    arrived: Mutex<Vec<(u64, Instant)>>,
}

/// What became of the packets of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Packets that policy allows and that were sent.
    pub sent: u64,
    /// Of these, those that did not arrive.
    pub lost: u64,
    /// Packets that policy denies and that were sent.
    pub denied_sent: u64,
    /// Of these, those that arrived.
    pub forbidden: u64,
    /// The longest time in which nothing arrived, over the lanes that policy allows.
    pub silence: Duration,
}

/// All lanes; dropping them ends them.
pub struct Traffic {
    tempo: Tempo,
    lanes: Vec<Lane>,
}

impl Lane {
    /// Begins to send from one pod to a port of another.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub fn open(from: &End<'_>, to: &End<'_>, port: u16, allowed: bool, tempo: Tempo) -> Result<Self> {
        let name = format!("{} -> {} port {port}", from.namespace.name(), to.namespace.name());
        let bind = |end: &End<'_>, port: u16| {
            let at = SocketAddr::new(end.address, port);
            let socket = end.namespace.run(move || UdpSocket::bind(at))?;
            socket.with_context(|| format!("cannot open a UDP socket at {at} for {name}"))
        };
        let (sender, receiver) = (bind(from, 0)?, bind(to, port)?);
        setsockopt(&receiver, sockopt::RcvBufForce, &QUEUE).context("cannot make a receiver's queue long")?;
        receiver.set_read_timeout(Some(LOOK)).context("cannot set a socket's read timeout")?;
        let shared = Arc::new(Shared {
            start: Instant::now(),
            period: Duration::from_secs(1) / tempo.rate,
            stop: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            arrived: Mutex::default(),
        });
        let (sending, receiving, destination) = (shared.clone(), shared.clone(), SocketAddr::new(to.address, port));
        let threads = vec![
            thread::spawn(move || sending.send(&sender, destination)),
            thread::spawn(move || receiving.receive(&receiver)),
        ];
        Ok(Self { name, allowed, shared, threads })
    }

    /// How many packets have arrived.
    pub fn arrived(&self) -> usize {
        self.shared.arrivals().len()
    }

    /// What became of what was sent in a window. Packets of its end have had the time to arrive when this is asked.
    fn seen(&self, from: Instant, to: Instant) -> Seen {
        let (first, last) = (self.shared.due(from), self.shared.due(to));
        let sent = last.min(self.shared.sent.load(Ordering::Acquire)).saturating_sub(first);
        let arrived = self.shared.arrivals();
        let of_window = arrived.iter().filter(|(number, _)| (first..last).contains(number)).count() as u64;
        if !self.allowed {
            return Seen { denied_sent: sent, forbidden: of_window, ..Seen::default() };
        }
        let (mut silence, mut before) = (Duration::ZERO, from);
        let times = arrived.iter().map(|(_, at)| *at).filter(|at| (from..to).contains(at));
        for at in times.chain([to]) {
            silence = silence.max(at.saturating_duration_since(before));
            before = at;
        }
        Seen { sent, lost: sent.saturating_sub(of_window), silence, ..Seen::default() }
    }
}

impl Lane {
    /// When the first and the last lost packet of a window were sent, and how many were lost.
    fn losses(&self, from: Instant, to: Instant) -> Option<String> {
        let (first, last) = (self.shared.due(from), self.shared.due(to));
        let arrived: HashSet<u64> = self.shared.arrivals().iter().map(|(number, _)| *number).collect();
        let last = last.min(self.shared.sent.load(Ordering::Acquire));
        let lost: Vec<u64> = (first..last).filter(|number| self.allowed && !arrived.contains(number)).collect();
        let after = |number: &u64| (number - first) as f64 * self.shared.period.as_secs_f64() * 1000.0;
        let (begin, end) = (after(lost.first()?), after(lost.last()?));
        Some(format!("{}: {} lost, sent {begin:.1} to {end:.1} ms after the kill", self.name, lost.len()))
    }
}

impl Shared {
    /// The number of the packet that is due at this time.
    fn due(&self, at: Instant) -> u64 {
        (at.saturating_duration_since(self.start).as_nanos() / self.period.as_nanos()) as u64
    }

    fn arrivals(&self) -> std::sync::MutexGuard<'_, Vec<(u64, Instant)>> {
        // A push leaves the list whole.
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, socket: &UdpSocket, to: SocketAddr) {
        for number in 0_u64.. {
            let due = self.start + self.period * u32::try_from(number).unwrap_or(u32::MAX);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            // What cannot be sent is lost, as on a wire.
            let _ = socket.send_to(&number.to_be_bytes(), to);
            self.sent.store(number + 1, Ordering::Release);
        }
    }

    fn receive(&self, socket: &UdpSocket) {
        let mut number = [0; 8];
        while !self.stop.load(Ordering::Relaxed) {
            // Nothing within the timeout is what a denied lane looks like.
            if let Ok((8, _)) = socket.recv_from(&mut number) {
                let now = Instant::now();
                self.arrivals().push((u64::from_be_bytes(number), now));
            }
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Traffic {
    /// No lanes yet.
    pub fn at(tempo: Tempo) -> Self {
        Self { tempo, lanes: Vec::new() }
    }

    /// One more lane.
    pub fn add(&mut self, lane: Lane) {
        self.lanes.push(lane);
    }

    /// How fast it is sent.
    pub fn tempo(&self) -> Tempo {
        self.tempo
    }

    /// How many packets that policy allows are due in this time.
    pub fn due(&self, time: Duration) -> u64 {
        let lanes = self.lanes.iter().filter(|lane| lane.allowed).count();
        (time.as_secs_f64() * f64::from(self.tempo.rate)) as u64 * lanes as u64
    }

    /// Waits until something arrives on every lane that policy allows.
    ///
    /// # Errors
    /// When one stays silent.
    pub async fn flows(&self, within: Duration) -> Result<()> {
        let start = Instant::now();
        for lane in self.lanes.iter().filter(|lane| lane.allowed) {
            let before = lane.arrived();
            while lane.arrived() == before {
                anyhow::ensure!(start.elapsed() < within, "nothing arrives from {} within {within:?}", lane.name);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        Ok(())
    }

    /// Of a window, lane by lane, when what was lost was sent: for people who look for the reason.
    pub fn losses(&self, from: Instant, to: Instant) -> Vec<String> {
        self.lanes.iter().filter_map(|lane| lane.losses(from, to)).collect()
    }

    /// What became of what was sent in a window, over all lanes: sums, and the longest silence of any.
    pub fn seen(&self, from: Instant, to: Instant) -> Seen {
        self.lanes.iter().map(|lane| lane.seen(from, to)).fold(Seen::default(), Seen::with)
    }

    /// Lets a window pass from now on, and the time for its last packets to arrive; what became of it.
    pub async fn window(&self, length: Duration) -> Seen {
        let from = Instant::now();
        tokio::time::sleep(length).await;
        let to = Instant::now();
        self.arrive().await;
        self.seen(from, to)
    }

    /// Lets what was sent until now arrive.
    pub async fn arrive(&self) {
        tokio::time::sleep(self.tempo.under_way).await;
    }
}

impl Seen {
    /// Both together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            lost: self.lost + other.lost,
            denied_sent: self.denied_sent + other.denied_sent,
            forbidden: self.forbidden + other.forbidden,
            silence: self.silence.max(other.silence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(allowed: bool, arrived: &[(u64, u64)], sent: u64) -> (Lane, Instant) {
        let start = Instant::now();
        let arrived = arrived.iter().map(|(number, at)| (*number, start + Duration::from_micros(*at))).collect();
        let period = Duration::from_micros(500);
        let (stop, sent, arrived) = (AtomicBool::new(true), AtomicU64::new(sent), Mutex::new(arrived));
        let shared = Shared { start, period, stop, sent, arrived };
        (Lane { name: "test".into(), allowed, shared: Arc::new(shared), threads: Vec::new() }, start)
    }

    #[test]
    fn what_is_lost_and_for_how_long_nothing_came() {
        let arrived: Vec<(u64, u64)> =
            (0..10).filter(|number| !(3..7).contains(number)).map(|number| (number, number * 500 + 40)).collect();
        let (lane, start) = lane(true, &arrived, 10);
        let seen = lane.seen(start, start + Duration::from_millis(5));
        assert_eq!((seen.sent, seen.lost, seen.silence), (10, 4, Duration::from_micros(2500)));
        let late = lane.seen(start + Duration::from_micros(3500), start + Duration::from_millis(5));
        assert_eq!((late.sent, late.lost), (3, 0));
    }

    #[test]
    fn what_is_due_counts_lanes_that_policy_allows() {
        let mut traffic = Traffic::at(Tempo { rate: 200, under_way: Duration::ZERO });
        for allowed in [true, false, true] {
            traffic.add(lane(allowed, &[], 0).0);
        }
        assert_eq!(traffic.due(Duration::from_secs(3)), 1200);
    }

    #[test]
    fn what_arrives_of_what_is_denied_is_forbidden() {
        let (lane, start) = lane(false, &[(2, 1100)], 10);
        let seen = lane.seen(start, start + Duration::from_millis(5));
        assert_eq!((seen.denied_sent, seen.forbidden, seen.sent), (10, 1, 0));
    }
}
