//! Packets that no honest socket sends, and a witness that says whether one arrived.
//!
//! The packet's IP header is the sender's own work (IP_HDRINCL, raw(7)), so its source address may be anyone's. The witness is
//! a raw socket in the destination's namespace: it sees what the kernel there was given, whatever a server makes of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder, icmpv4, icmpv6};
use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};
use tokio::net::UdpSocket;

use super::send::Token;
use crate::lab::Namespace;

/// What is forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// A datagram in another's name.
    Datagram,
    /// A TCP segment with nothing but ACK set, of no connection.
    BareAck,
    /// A TCP SYN in another's name.
    Syn,
    /// An ICMP error about a datagram that was never sent.
    Unreachable,
}

/// A packet to forge.
#[derive(Clone, Debug)]
pub struct Forged {
    /// What it is.
    pub forgery: Forgery,
    /// Whose name it bears.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
}

/// Sends a forged packet from one namespace and says whether it was seen in the other.
pub async fn send_forged(from: &Arc<Namespace>, to: &Arc<Namespace>, forged: &Forged, limit: Duration) -> Result<bool> {
    let mark = Token::draw().request(0);
    let bytes = bytes(forged, &mark)?;
    let ipv6 = forged.destination.is_ipv6();
    let protocol = match forged.forgery {
        Forgery::Datagram => SocketProtocol::UDP,
        Forgery::BareAck | Forgery::Syn => SocketProtocol::TCP,
        Forgery::Unreachable if ipv6 => SocketProtocol::ICMPV6,
        Forgery::Unreachable => SocketProtocol::ICMPV4,
    };
    let witness = Witness::post(to, ipv6, protocol).await?;
    let to = SocketAddr::new(forged.destination.ip(), 0);
    from.ask(move || send(&bytes, to)).await?.with_context(|| format!("cannot forge {forged:?}"))?;
    witness.sees(&mark, limit).await
}

/// Someone who looks at every packet of a protocol that is given to a namespace's kernel.
pub struct Witness {
    socket: UdpSocket,
}

impl Witness {
    /// Posts a witness; what arrives from now on is seen.
    pub async fn post(at: &Arc<Namespace>, ipv6: bool, protocol: SocketProtocol) -> Result<Self> {
        let domain = if ipv6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = at
            .ask(move || -> std::io::Result<Socket> {
                let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            })
            .await?
            .context("cannot open a raw socket")?;
        // A raw socket is received from as a UDP socket is; tokio has no type of its own for it.
        Ok(Self { socket: UdpSocket::from_std(socket.into()).context("cannot open a raw socket")? })
    }

    /// The next packet, as the kernel hands it over.
    pub async fn packet(&self) -> Result<Vec<u8>> {
        let mut packet = vec![0; 2048];
        let length = self.socket.recv(&mut packet).await.context("the witness went blind")?;
        packet.truncate(length);
        Ok(packet)
    }

    /// Whether a packet that holds `mark` arrives within `limit`.
    pub async fn sees(&self, mark: &[u8], limit: Duration) -> Result<bool> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut packet = vec![0; 65536];
        loop {
            match tokio::time::timeout_at(deadline, self.socket.recv(&mut packet)).await {
                Err(_) => return Ok(false),
                Ok(Ok(length)) if packet[..length].windows(mark.len()).any(|window| window == mark) => return Ok(true),
                Ok(received) => drop(received.context("the witness went blind")?),
            }
        }
    }
}

fn bytes(forged: &Forged, payload: &[u8]) -> Result<Vec<u8>> {
    let (source, destination) = (forged.source, forged.destination);
    let builder = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), 64),
        _ => bail!("{source} and {destination} are not of one family"),
    };
    let mut bytes = Vec::new();
    match forged.forgery {
        Forgery::Datagram => builder.udp(source.port(), destination.port()).write(&mut bytes, payload)?,
        Forgery::BareAck => {
            builder.tcp(source.port(), destination.port(), 1, 64000).ack(1).write(&mut bytes, payload)?
        }
        Forgery::Syn => builder.tcp(source.port(), destination.port(), 1, 64000).syn().write(&mut bytes, payload)?,
        Forgery::Unreachable => {
            // It quotes what the destination would have sent.
            let quoted = Forged { forgery: Forgery::Datagram, source: destination, destination: source };
            let quoted = self::bytes(&quoted, payload)?;
            if source.is_ipv6() {
                let error = Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port);
                builder.icmpv6(error).write(&mut bytes, &quoted)?;
            } else {
                let error = Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::Port);
                builder.icmpv4(error).write(&mut bytes, &quoted)?;
            }
        }
    }
    Ok(bytes)
}

fn send(bytes: &[u8], to: SocketAddr) -> std::io::Result<()> {
    // IPPROTO_RAW: the packet comes with its IP header.
    let raw = SocketProtocol::from(nix::libc::IPPROTO_RAW);
    let socket = Socket::new(Domain::for_address(to), Type::RAW, Some(raw))?;
    socket.send_to(bytes, &to.into()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_do_not_mix() {
        let forged = |source: &str, destination: &str| Forged {
            forgery: Forgery::Syn,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        };
        assert!(bytes(&forged("192.0.2.1:1", "[2001:db8::1]:2"), b"").is_err());
        assert_eq!(bytes(&forged("192.0.2.1:1", "192.0.2.2:2"), b"mark").unwrap().len(), 20 + 20 + 4);
    }
}
