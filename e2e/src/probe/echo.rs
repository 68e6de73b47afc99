//! ICMP and ICMPv6 echo, by raw sockets: the request's payload is its token, and the reply must bring it back from the
//! address it was sent to.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::send::{Reply, Token};
use super::tcp::verdict_of;
use super::{Probe, Verdict};

const TRIES: u16 = 3;
const HEADER: usize = 8;

/// Numbers of RFC 792 and RFC 4443.
struct Types {
    request: u8,
    reply: u8,
    unreachable: u8,
}

const ICMP: Types = Types { request: 8, reply: 0, unreachable: 3 };
const ICMPV6: Types = Types { request: 128, reply: 129, unreachable: 1 };

pub(super) async fn attempt(probe: &Probe, token: &Token, limit: Duration) -> Result<Reply> {
    let (to, source) = (probe.to, probe.source);
    let socket = match probe.from.ask(move || socket_for(to, source)).await? {
        // A connected raw socket is sent to and received from as a UDP socket is; tokio has no type of its own for it.
        Ok(socket) => UdpSocket::from_std(socket.into()).context("cannot open a raw socket")?,
        Err(error) => return verdict_of(&error).map(Reply::only).with_context(|| format!("connect: {error}")),
    };
    let payload = token.request(probe.size.saturating_sub(HEADER));
    // Its low bits differ between probes that run at once.
    let identifier = (token.number & 0xffff) as u16;
    for sequence in 1..=TRIES {
        let request = request(to.is_ipv6(), identifier, sequence, &payload);
        let exchange = async {
            socket.send(&request).await?;
            answer(&socket, to.is_ipv6(), identifier, &payload).await
        };
        match timeout(limit / u32::from(TRIES), exchange).await {
            Err(_) => {}
            Ok(Ok(verdict)) => return Ok(Reply::only(verdict)),
            Ok(Err(error)) => return verdict_of(&error).map(Reply::only).with_context(|| format!("exchange: {error}")),
        }
    }
    Ok(Reply::only(Verdict::TimedOut))
}

/// A raw socket that hears only `to`.
fn socket_for(to: IpAddr, source: Option<IpAddr>) -> std::io::Result<Socket> {
    let (domain, protocol) =
        if to.is_ipv6() { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect(&SocketAddr::new(to, 0).into())?;
    Ok(socket)
}

fn request(ipv6: bool, identifier: u16, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![if ipv6 { ICMPV6.request } else { ICMP.request }, 0, 0, 0];
    message.extend(identifier.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    message.extend(payload);
    if !ipv6 {
        // The kernel fills in ICMPv6's, which covers addresses; ICMP's is the sender's business.
        let sum = checksum(&message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
    }
    message
}

/// The internet checksum, RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Reads until the reply or a refusal comes; other messages are for others.
async fn answer(socket: &UdpSocket, ipv6: bool, identifier: u16, payload: &[u8]) -> std::io::Result<Verdict> {
    let mut buffer = vec![0; 65536];
    loop {
        let read = socket.recv(&mut buffer).await?;
        if let Some(verdict) = verdict(&buffer[..read], ipv6, identifier, payload)? {
            return Ok(verdict);
        }
    }
}

fn verdict(packet: &[u8], ipv6: bool, identifier: u16, payload: &[u8]) -> std::io::Result<Option<Verdict>> {
    // A raw IPv4 socket reads the IP header too; a raw ICMPv6 socket does not.
    let start = if ipv6 { 0 } else { usize::from(packet.first().copied().unwrap_or(0) & 0x0f) * 4 };
    let Some(message) = packet.get(start..).filter(|message| message.len() >= HEADER) else {
        return Err(Error::new(ErrorKind::InvalidData, "an ICMP message is cut short"));
    };
    let types = if ipv6 { ICMPV6 } else { ICMP };
    if message[0] == types.reply && message[4..6] == identifier.to_be_bytes() && &message[HEADER..] == payload {
        return Ok(Some(Verdict::Reached));
    }
    if message[0] == types.unreachable && message.windows(payload.len()).any(|window| window == payload) {
        return Ok(Some(Verdict::Refused));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_message_with_its_checksum_is_zero() {
        for payload in [&b"even"[..], &b"odd"[..], &b""[..]] {
            assert_eq!(checksum(&request(false, 7, 1, payload)), 0, "{payload:?}");
        }
    }

    #[test]
    fn only_the_own_reply_counts() {
        let mut reply = request(true, 7, 1, b"token\n");
        reply[0] = ICMPV6.reply;
        assert_eq!(verdict(&reply, true, 7, b"token\n").unwrap(), Some(Verdict::Reached));
        assert_eq!(verdict(&reply, true, 8, b"token\n").unwrap(), None);
        assert_eq!(verdict(&reply, true, 7, b"other\n").unwrap(), None);
        assert!(verdict(&reply[..4], true, 7, b"token\n").is_err());
    }
}
