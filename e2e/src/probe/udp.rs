//! UDP: a datagram and its echo, asked thrice within the limit.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::send::{Reply, Token, read_answer};
use super::tcp::verdict_of;
use super::{Probe, Verdict};

const TRIES: u32 = 3;

pub(super) async fn attempt(probe: &Probe, token: &Token, limit: Duration) -> Result<Reply> {
    let (to, source) = (SocketAddr::new(probe.to, probe.port), probe.source);
    let opened = probe.from.ask(move || socket_for(to, source)).await?;
    let socket = match opened {
        Ok(socket) => UdpSocket::from_std(socket.into()).context("cannot open a UDP socket")?,
        Err(error) => return verdict_of(&error).map(Reply::only).with_context(|| format!("connect: {error}")),
    };
    let request = token.request(probe.size);
    let mut answer = vec![0; 65536];
    for _ in 0..TRIES {
        let exchange = async {
            socket.send(&request).await?;
            socket.recv(&mut answer).await
        };
        match timeout(limit / TRIES, exchange).await {
            Err(_) => {}
            Ok(Ok(length)) => return read_answer(&answer[..length], &request, probe),
            Ok(Err(error)) => return verdict_of(&error).map(Reply::only).with_context(|| format!("exchange: {error}")),
        }
    }
    Ok(Reply::only(Verdict::TimedOut))
}

/// A socket that hears only `to`, and ICMP about what it sent there.
pub(super) fn socket_for(to: SocketAddr, source: Option<IpAddr>) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect(&to.into())?;
    Ok(socket)
}
