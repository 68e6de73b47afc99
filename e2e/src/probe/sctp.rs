//! SCTP by hand: an INIT and what answers it (RFC 9260, sections 3.3.2, 3.3.3 and 3.3.7).
//!
//! Kernels without SCTP have no sockets for it, so both ends are raw sockets. The server's state cookie holds what servers
//! of other protocols answer: its name, the address it saw, and the client's token. A port that is not served is refused with
//! an ABORT; where nobody serves SCTP at all the kernel refuses by ICMP "protocol unreachable".

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::send::{Reply, Token, read_answer};
use super::tcp::verdict_of;
use super::{Probe, Verdict};

const TRIES: u32 = 3;
const NUMBER: i32 = 132;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const ABORT: u8 = 6;
const STATE_COOKIE: u16 = 7;
const COMMON_HEADER: usize = 12;
const CHUNK_HEADER: usize = 4;
/// Initiate tag, window, streams out and in, first TSN.
const INIT_BODY: usize = 16;

/// A packet with one chunk.
#[derive(Debug, PartialEq, Eq)]
struct Packet<'a> {
    source: u16,
    destination: u16,
    tag: u32,
    kind: u8,
    body: &'a [u8],
}

pub(super) async fn attempt(probe: &Probe, token: &Token, limit: Duration) -> Result<Reply> {
    let (to, source) = (probe.to, probe.source);
    let socket = match probe.from.ask(move || open(to, source)).await? {
        Ok(socket) => UdpSocket::from_std(socket.into()).context("cannot open a raw socket")?,
        Err(error) => return verdict_of(&error).map(Reply::only).with_context(|| format!("connect: {error}")),
    };
    let own_tag = (token.number as u32).max(1);
    let own_port = 32768 | (token.number as u16);
    let request = token.request(0);
    let init = write(&Packet {
        source: own_port,
        destination: probe.port,
        tag: 0,
        kind: INIT,
        body: &init_body(own_tag, &request),
    });
    for _ in 0..TRIES {
        let exchange = async {
            socket.send(&init).await?;
            answer(&socket, probe, own_port, own_tag).await
        };
        match timeout(limit / TRIES, exchange).await {
            Err(_) => {}
            Ok(Ok((INIT_ACK, body))) => {
                let peer_tag = u32::from_be_bytes(first(&body));
                let abort = Packet { source: own_port, destination: probe.port, tag: peer_tag, kind: ABORT, body: &[] };
                // The association is not wanted; who tracks it may forget it.
                let _ = socket.send(&write(&abort)).await;
                return read_answer(&cookie(&body), &request, probe);
            }
            Ok(Ok(_)) => return Ok(Reply::only(Verdict::Refused)),
            Ok(Err(error)) if error.raw_os_error() == Some(nix::libc::ENOPROTOOPT) => {
                return Ok(Reply::only(Verdict::Refused));
            }
            Ok(Err(error)) => return verdict_of(&error).map(Reply::only).with_context(|| format!("exchange: {error}")),
        }
    }
    Ok(Reply::only(Verdict::TimedOut))
}

/// A raw socket for everything of SCTP that comes to an address.
pub(super) fn listen(address: IpAddr) -> std::io::Result<Socket> {
    let socket = raw(address)?;
    socket.bind(&SocketAddr::new(address, 0).into())?;
    Ok(socket)
}

/// Answers INITs: served ports with INIT ACK, others with ABORT.
pub(super) async fn respond(socket: UdpSocket, ports: BTreeSet<u16>, owner: Arc<str>) {
    let mut buffer = vec![0; 2048];
    loop {
        // An error is ICMP about an earlier answer: its client is gone.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(packet) = read(&buffer[..length], client.is_ipv6()).filter(|packet| packet.kind == INIT) else {
            continue;
        };
        if packet.body.len() < INIT_BODY {
            continue;
        }
        let tag = u32::from_be_bytes(first(packet.body));
        let token = cookie(packet.body);
        let text = [format!("{owner} {} ", client.ip()).as_bytes(), &token].concat();
        let served = ports.contains(&packet.destination);
        let body = if served { init_body(tag ^ 0x5a5a_5a5a, &text) } else { Vec::new() };
        let kind = if served { INIT_ACK } else { ABORT };
        let answer = Packet { source: packet.destination, destination: packet.source, tag, kind, body: &body };
        let _ = socket.send_to(&write(&answer), SocketAddr::new(client.ip(), 0)).await;
    }
}

async fn answer(socket: &UdpSocket, probe: &Probe, own_port: u16, own_tag: u32) -> std::io::Result<(u8, Vec<u8>)> {
    let mut buffer = vec![0; 2048];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let Some(packet) = read(&buffer[..length], probe.to.is_ipv6()) else { continue };
        let ours = packet.source == probe.port && packet.destination == own_port && packet.tag == own_tag;
        if ours && (packet.kind == ABORT || (packet.kind == INIT_ACK && packet.body.len() >= INIT_BODY)) {
            return Ok((packet.kind, packet.body.to_vec()));
        }
    }
}

fn open(to: IpAddr, source: Option<IpAddr>) -> std::io::Result<Socket> {
    let socket = raw(to)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect(&SocketAddr::new(to, 0).into())?;
    Ok(socket)
}

fn raw(address: IpAddr) -> std::io::Result<Socket> {
    let domain = Domain::for_address(SocketAddr::new(address, 0));
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(NUMBER)))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The body of INIT and INIT ACK; the text goes as the state cookie, which is opaque to the other side.
fn init_body(tag: u32, text: &[u8]) -> Vec<u8> {
    let mut body = tag.to_be_bytes().to_vec();
    body.extend(65536u32.to_be_bytes());
    body.extend([0, 1, 0, 1]);
    body.extend(tag.to_be_bytes());
    body.extend(STATE_COOKIE.to_be_bytes());
    body.extend(u16::try_from(text.len() + 4).unwrap_or(u16::MAX).to_be_bytes());
    body.extend(text);
    body
}

fn cookie(body: &[u8]) -> Vec<u8> {
    body.get(INIT_BODY + 4..).unwrap_or_default().to_vec()
}

fn first(body: &[u8]) -> [u8; 4] {
    body.first_chunk().copied().unwrap_or_default()
}

fn write(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = packet.source.to_be_bytes().to_vec();
    bytes.extend(packet.destination.to_be_bytes());
    bytes.extend(packet.tag.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend([packet.kind, 0]);
    bytes.extend(u16::try_from(packet.body.len() + CHUNK_HEADER).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend(packet.body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let sum = crc32c(&bytes).to_le_bytes();
    bytes[8..COMMON_HEADER].copy_from_slice(&sum);
    bytes
}

/// Reads a packet's first chunk; a raw IPv4 socket reads the IP header too.
fn read(bytes: &[u8], ipv6: bool) -> Option<Packet<'_>> {
    let start = if ipv6 { 0 } else { usize::from(bytes.first()? & 0x0f) * 4 };
    let bytes = bytes.get(start..)?;
    let two = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let length = usize::from(two(COMMON_HEADER + 2)?);
    Some(Packet {
        source: two(0)?,
        destination: two(2)?,
        tag: u32::from_be_bytes(first(bytes.get(4..8)?)),
        kind: *bytes.get(COMMON_HEADER)?,
        body: bytes.get(COMMON_HEADER + CHUNK_HEADER..COMMON_HEADER + length)?,
    })
}

/// CRC-32C, RFC 9260 appendix A.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(u32::MAX, byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn what_is_written_is_read_and_a_cut_packet_is_none() {
        let packet = Packet { source: 1, destination: 2, tag: 3, kind: INIT, body: &init_body(9, b"token") };
        let bytes = write(&packet);
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(read(&bytes, true), Some(packet));
        assert_eq!(cookie(read(&bytes, true).unwrap().body), b"token");
        for length in 0..bytes.len() - 3 {
            assert_eq!(read(&bytes[..length], true), None, "{length}");
        }
        assert_eq!(read(&[0x4f], false), None);
    }
}
