//! Sending probes: one, or many at once.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, stream};

use super::{Patience, Probe, Protocol, Verdict, echo, sctp, tcp, udp};

/// Silence is an answer only when it is repeated.
const ATTEMPTS: u32 = 2;
/// How many probes are under way at once.
const AT_ONCE: usize = 128;
/// How long a token is, in hexadecimal.
const TOKEN: usize = 16;

/// What became of a probe, and what the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The verdict.
    pub verdict: Verdict,
    /// The address the server saw as the client's, when it was reached over TCP or UDP.
    pub seen_as: Option<IpAddr>,
}

impl Reply {
    /// A verdict about which there is no more to say.
    pub fn only(verdict: Verdict) -> Self {
        Self { verdict, seen_as: None }
    }
}

/// Sends one probe. An error means that it could not be sent, or that the wrong one answered.
pub async fn send(probe: &Probe, patience: &Patience) -> Result<Reply> {
    let mut reply = Reply::only(Verdict::TimedOut);
    for _ in 0..ATTEMPTS {
        reply = attempt(probe, patience).await.with_context(|| {
            format!("the probe from {} to {} {} {}", probe.from.name(), probe.to, probe.protocol, probe.port)
        })?;
        if reply.verdict != Verdict::TimedOut {
            break;
        }
    }
    Ok(reply)
}

/// Sends all probes, many at once; the replies are in the probes' order.
pub async fn send_all(probes: &[Probe], patience: &Patience) -> Vec<Result<Reply>> {
    stream::iter(probes).map(|probe| send(probe, patience)).buffered(AT_ONCE).collect().await
}

async fn attempt(probe: &Probe, patience: &Patience) -> Result<Reply> {
    let token = Token::draw();
    let limit = patience.limit();
    let start = Instant::now();
    let reply = match probe.protocol {
        Protocol::Tcp => tcp::attempt(probe, &token, limit).await?,
        Protocol::Udp => udp::attempt(probe, &token, limit).await?,
        Protocol::Sctp => sctp::attempt(probe, &token, limit).await?,
        Protocol::Icmp => echo::attempt(probe, &token, limit).await?,
    };
    if reply.verdict != Verdict::TimedOut {
        patience.answered_after(start.elapsed());
    }
    Ok(reply)
}

/// What tells one request from every other of this process.
pub(super) struct Token {
    pub(super) number: u64,
}

impl Token {
    pub(super) fn draw() -> Self {
        static DRAWN: AtomicU64 = AtomicU64::new(1);
        let number = DRAWN.fetch_add(1, Ordering::Relaxed);
        Self { number: (u64::from(std::process::id()) << 40) | number }
    }

    /// The request's line: the token, padded to `size` bytes with its end of line.
    pub(super) fn request(&self, size: usize) -> Vec<u8> {
        let mut line = format!("{:016x}", self.number).into_bytes();
        if size > line.len() + 2 {
            line.push(b' ');
            line.resize(size - 1, b'.');
        }
        line.push(b'\n');
        line
    }
}

/// Reads a server's answer to `request`; an error when someone else answered, or something else. A long datagram's answer is
/// as long as the request, so its echo ends early.
pub(super) fn read_answer(answer: &[u8], request: &[u8], probe: &Probe) -> Result<Reply> {
    let text = String::from_utf8_lossy(answer);
    let mut parts = text.splitn(3, ' ');
    let (owner, seen_as, echoed) = (parts.next(), parts.next(), parts.next());
    let echoed = echoed.with_context(|| format!("the answer is not a server's: {text:?}"))?;
    let whole = echoed.len() >= TOKEN && request.starts_with(echoed.as_bytes()) && answer.len() >= request.len();
    anyhow::ensure!(whole, "the answer echoes another request: {text:?}");
    if let Some(expected) = &probe.owner {
        anyhow::ensure!(owner == Some(expected), "{} answered instead of {expected}", owner.unwrap_or_default());
    }
    let seen_as = seen_as.and_then(|text| text.parse().ok());
    Ok(Reply { verdict: Verdict::Reached, seen_as })
}

/// `limit` for a part of an attempt, never nothing.
pub(super) fn remaining(start: Instant, limit: Duration) -> Duration {
    limit.saturating_sub(start.elapsed()).max(Duration::from_millis(1))
}
