//! A conversation that is kept open: what happens to it when policy changes under it.
//!
//! Either the client speaks and the server answers ([`Conversation::exchange`]), or the server speaks alone after one request
//! ([`Conversation::listen`]), as in a download over UDP, where no packet in the original direction ever meets policy again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::time::{timeout, timeout_at};

use super::send::Token;
use super::{Patience, Probe, Protocol, Verdict, tcp, udp};

/// What a client sends to be sent to without asking again.
pub(super) const STREAM: &[u8] = b"stream";
/// How often the server then speaks, and for how long at most.
pub(super) const STREAM_EVERY: Duration = Duration::from_millis(10);
pub(super) const STREAM_AT_MOST: Duration = Duration::from_secs(120);

enum Wire {
    Tcp(tcp::Connection),
    Udp(UdpSocket),
}

/// An open conversation.
pub struct Conversation {
    wire: Wire,
    probe: Probe,
}

impl Conversation {
    /// Opens one, which must succeed; the first exchange is part of it.
    pub async fn open(probe: &Probe, patience: &Patience) -> Result<Self> {
        let wire = match probe.protocol {
            Protocol::Tcp => match tcp::open(probe, patience.limit() * 4).await? {
                Ok(connection) => Wire::Tcp(connection),
                Err(verdict) => bail!("the connection was not opened: {verdict}"),
            },
            Protocol::Udp => {
                let (to, source) = (SocketAddr::new(probe.to, probe.port), probe.source);
                let socket =
                    probe.from.ask(move || udp::socket_for(to, source)).await?.context("cannot open a UDP socket")?;
                Wire::Udp(UdpSocket::from_std(socket.into()).context("cannot open a UDP socket")?)
            }
            Protocol::Sctp | Protocol::Icmp => bail!("there are no conversations over {}", probe.protocol),
        };
        let mut conversation = Self { wire, probe: probe.clone() };
        let verdict = conversation.exchange(patience.limit() * 4).await?;
        ensure!(verdict == Verdict::Reached, "the conversation's first exchange ended {verdict}");
        Ok(conversation)
    }

    /// Sends a line and waits for its answer; answers to earlier lines may come first.
    pub async fn exchange(&mut self, limit: Duration) -> Result<Verdict> {
        let token = Token::draw();
        let request = token.request(0);
        let deadline = tokio::time::Instant::now() + limit;
        let sent = match &mut self.wire {
            Wire::Tcp(connection) => connection.stream.get_mut().write_all(&request).await,
            Wire::Udp(socket) => socket.send(&request).await.map(drop),
        };
        if let Err(error) = sent {
            return tcp::verdict_of(&error).with_context(|| format!("send: {error}"));
        }
        loop {
            match timeout_at(deadline, self.receive()).await {
                Err(_) => return Ok(Verdict::TimedOut),
                Ok(Ok(answer)) if answer.windows(request.len()).any(|window| window == request) => {
                    return Ok(Verdict::Reached);
                }
                Ok(Ok(answer)) => ensure!(!answer.is_empty(), "the server closed the connection"),
                Ok(Err(error)) => return tcp::verdict_of(&error).with_context(|| format!("receive: {error}")),
            }
        }
    }

    /// Asks the server to speak without being asked again.
    pub async fn start_stream(&mut self) -> Result<()> {
        let Wire::Udp(socket) = &self.wire else { bail!("only over UDP is nothing sent in the original direction") };
        socket.send(STREAM).await.context("cannot ask for the stream").map(drop)
    }

    /// Whether the server goes on: whether it is heard in the second half of `time`. A machine that stands still for a moment
    /// does not silence it.
    pub async fn goes_on(&mut self, time: Duration) -> Result<bool> {
        let end = tokio::time::Instant::now() + time;
        let mut heard = None;
        while let Ok(received) = timeout_at(end, self.receive()).await {
            received.with_context(|| format!("the stream from {}", self.probe.to))?;
            heard = Some(tokio::time::Instant::now());
        }
        Ok(heard.is_some_and(|heard| heard + time / 2 > end))
    }

    /// Whether the server is still heard after at most `limit`: as soon as it is silent for `quiet` the answer is no.
    pub async fn is_heard_after(&mut self, limit: Duration, quiet: Duration) -> Result<bool> {
        let start = Instant::now();
        while start.elapsed() < limit {
            match timeout(quiet, self.receive()).await {
                Err(_) => return Ok(false),
                Ok(received) => {
                    received.with_context(|| format!("the stream from {}", self.probe.to))?;
                }
            }
        }
        Ok(true)
    }

    async fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        let mut answer = Vec::new();
        match &mut self.wire {
            Wire::Tcp(connection) => {
                connection.stream.read_until(b'\n', &mut answer).await?;
            }
            Wire::Udp(socket) => {
                answer.resize(2048, 0);
                let length = socket.recv(&mut answer).await?;
                answer.truncate(length);
            }
        }
        Ok(answer)
    }
}
