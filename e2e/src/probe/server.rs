//! The servers of a pod: they answer each line (TCP) or datagram (UDP) with `NAME CLIENT-ADDRESS` and what they were sent.
//!
//! Sockets are made inside the namespace and served by the caller's runtime, so hundreds of pods cost no threads. A socket is
//! bound to one address, so an answer never comes from another address than the one that was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use super::kept::{STREAM, STREAM_AT_MOST, STREAM_EVERY};
use super::{Protocol, sctp};
use crate::lab::Namespace;

/// Running servers; dropping it ends them.
#[derive(Default)]
pub struct Servers {
    tasks: JoinSet<()>,
}

/// Starts servers named `owner` inside `namespace`, one for each protocol and address. SCTP ports of an address belong in one
/// call: they share a socket.
pub async fn serve(namespace: &Namespace, owner: &str, wanted: &[(Protocol, SocketAddr)]) -> Result<Servers> {
    let list = wanted.to_vec();
    let open = move || list.iter().map(opened).collect::<Result<Vec<_>>>();
    let sockets = namespace.ask(open).await?.with_context(|| format!("the servers of {owner}"))?;
    let owner: Arc<str> = owner.into();
    let mut servers = Servers::default();
    let mut responders: BTreeMap<IpAddr, (Socket, BTreeSet<u16>)> = BTreeMap::new();
    for ((protocol, address), socket) in wanted.iter().zip(sockets) {
        match (protocol, socket) {
            (Protocol::Tcp, Some(socket)) => {
                let listener = TcpListener::from_std(socket.into()).context("cannot serve TCP")?;
                servers.tasks.spawn(accept(listener, owner.clone()));
            }
            (Protocol::Udp, Some(socket)) => {
                let socket = UdpSocket::from_std(socket.into()).context("cannot serve UDP")?;
                servers.tasks.spawn(answer_datagrams(socket, owner.clone()));
            }
            (Protocol::Sctp, Some(socket)) => {
                responders.entry(address.ip()).or_insert((socket, BTreeSet::new())).1.insert(address.port());
            }
            _ => {}
        }
    }
    for (socket, ports) in responders.into_values() {
        // A raw socket is sent to and received from as a UDP socket is; tokio has no type of its own for it.
        let socket = UdpSocket::from_std(socket.into()).context("cannot serve SCTP")?;
        servers.tasks.spawn(sctp::respond(socket, ports, owner.clone()));
    }
    Ok(servers)
}

/// The socket of a server; none for echo requests, which the kernel answers.
fn opened((protocol, address): &(Protocol, SocketAddr)) -> Result<Option<Socket>> {
    let socket = match protocol {
        Protocol::Icmp => return Ok(None),
        Protocol::Sctp => sctp::listen(address.ip()),
        Protocol::Tcp | Protocol::Udp => socket_for(*protocol, *address),
    };
    socket.map(Some).with_context(|| format!("cannot serve {protocol} {address}"))
}

impl Servers {
    /// Takes over the servers of `more`.
    pub fn join(&mut self, mut more: Self) {
        let tasks = std::mem::take(&mut more.tasks);
        self.tasks.spawn(async move {
            let mut tasks = tasks;
            while tasks.join_next().await.is_some() {}
        });
    }
}

fn socket_for(protocol: Protocol, address: SocketAddr) -> std::io::Result<Socket> {
    let stream = protocol == Protocol::Tcp;
    let socket = Socket::new(Domain::for_address(address), if stream { Type::STREAM } else { Type::DGRAM }, None)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    if stream {
        socket.listen(1024)?;
    }
    Ok(socket)
}

async fn accept(listener: TcpListener, owner: Arc<str>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => { connections.spawn(answer_lines(stream, client, owner.clone())); }
                // The client gave up before it was accepted; there will be others.
                Err(_) => tokio::task::yield_now().await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer_lines(stream: TcpStream, client: SocketAddr, owner: Arc<str>) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while matches!(stream.read_until(b'\n', &mut line).await, Ok(length) if length > 0) {
        let answer = answer(&owner, client, &line);
        if stream.get_mut().write_all(&answer).await.is_err() {
            break;
        }
        line.clear();
    }
}

async fn answer_datagrams(socket: UdpSocket, owner: Arc<str>) {
    let socket = Arc::new(socket);
    let mut streams = JoinSet::new();
    let mut datagram = vec![0; 65536];
    loop {
        // An error is ICMP about an earlier answer: its client is gone.
        let Ok((length, client)) = socket.recv_from(&mut datagram).await else { continue };
        if &datagram[..length] == STREAM {
            streams.spawn(stream(socket.clone(), client));
            continue;
        }
        let mut answer = answer(&owner, client, &datagram[..length]);
        // As long as the request where that leaves room for its token: a full-size packet has a full-size answer.
        answer.truncate(length.max(owner.len() + 64));
        let _ = socket.send_to(&answer, client).await;
    }
}

/// Speaks to a client that has asked once.
async fn stream(socket: Arc<UdpSocket>, client: SocketAddr) {
    let start = Instant::now();
    let mut ticks = tokio::time::interval(STREAM_EVERY);
    while start.elapsed() < STREAM_AT_MOST {
        ticks.tick().await;
        // An error is ICMP about the one before.
        let _ = socket.send_to(b"still here\n", client).await;
    }
}

fn answer(owner: &str, client: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut answer = format!("{owner} {} ", client.ip()).into_bytes();
    answer.extend_from_slice(request);
    answer
}
