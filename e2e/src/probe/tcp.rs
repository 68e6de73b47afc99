//! TCP: connect, send a line, read the answer.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::send::{Reply, Token, read_answer, remaining};
use super::{Probe, Verdict};

/// A connection that a probe opened and keeps.
pub struct Connection {
    pub(super) stream: BufReader<TcpStream>,
}

pub(super) async fn attempt(probe: &Probe, token: &Token, limit: Duration) -> Result<Reply> {
    let start = Instant::now();
    let mut connection = match open(probe, limit).await? {
        Ok(connection) => connection,
        Err(verdict) => return Ok(Reply::only(verdict)),
    };
    exchange(&mut connection, probe, token, remaining(start, limit)).await
}

/// Opens a connection; the inner error is the verdict when there is none.
pub(super) async fn open(probe: &Probe, limit: Duration) -> Result<Result<Connection, Verdict>> {
    let (to, source) = (SocketAddr::new(probe.to, probe.port), probe.source);
    let socket = probe.from.ask(move || socket_for(to, source)).await?.context("cannot open a TCP socket")?;
    let socket = TcpSocket::from_std_stream(socket.into());
    match timeout(limit, socket.connect(to)).await {
        Err(_) => Ok(Err(Verdict::TimedOut)),
        Ok(Err(error)) => verdict_of(&error).map(Err).with_context(|| format!("connect: {error}")),
        Ok(Ok(stream)) => Ok(Ok(Connection { stream: BufReader::new(stream) })),
    }
}

/// Sends a line over an open connection and reads the answer.
pub(super) async fn exchange(
    connection: &mut Connection,
    probe: &Probe,
    token: &Token,
    limit: Duration,
) -> Result<Reply> {
    let request = token.request(probe.size);
    let mut answer = Vec::new();
    let exchange = async {
        connection.stream.get_mut().write_all(&request).await?;
        connection.stream.read_until(b'\n', &mut answer).await
    };
    match timeout(limit, exchange).await {
        Err(_) => Ok(Reply::only(Verdict::TimedOut)),
        Ok(Ok(_)) => read_answer(&answer, &request, probe),
        Ok(Err(error)) => verdict_of(&error).map(Reply::only).with_context(|| format!("exchange: {error}")),
    }
}

fn socket_for(to: SocketAddr, source: Option<IpAddr>) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    Ok(socket)
}

/// What an error of a socket says about the network; none when it says nothing.
pub(super) fn verdict_of(error: &Error) -> Option<Verdict> {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Some(Verdict::Refused),
        // No route, or a router's word that there is none: nothing came from the destination.
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::TimedOut => Some(Verdict::TimedOut),
        // ICMP "administratively prohibited" is a refusal too.
        ErrorKind::PermissionDenied => Some(Verdict::Refused),
        _ => None,
    }
}
