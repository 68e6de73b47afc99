//! A packet with a connection's original addresses and ports, with right checksums: conntrack calls everything else invalid.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::connection::{Protocol, Tracked};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// More than the one hop that a routed packet needs.
const HOPS: u8 = 64;
/// What the kernel's conntrack lets be in an established connection, whatever its sequence number: the connection may have been
/// opened anew without its knowing.
const TCP_SYN: u8 = 0x02;

/// The packet as Ethernet bytes; `None` when the two addresses are not of one family.
pub fn original(found: &Tracked, source_mac: [u8; 6], destination_mac: [u8; 6]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(96);
    bytes.extend_from_slice(&destination_mac);
    bytes.extend_from_slice(&source_mac);
    match (found.source, found.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            bytes.extend_from_slice(&ETHERTYPE_IPV4.to_be_bytes());
            ipv4(&mut bytes, found.protocol, source, destination);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            bytes.extend_from_slice(&ETHERTYPE_IPV6.to_be_bytes());
            ipv6(&mut bytes, found.protocol, source, destination);
        }
        _ => return None,
    }
    Some(bytes)
}

/// RFC 791.
fn ipv4(bytes: &mut Vec<u8>, protocol: Protocol, source: Ipv4Addr, destination: Ipv4Addr) {
    let number = number(protocol, false);
    let length = segment(protocol, 0).len() as u16;
    let mut pseudo = Vec::with_capacity(12);
    pseudo.extend_from_slice(&source.octets());
    pseudo.extend_from_slice(&destination.octets());
    pseudo.extend_from_slice(&[0, number]);
    pseudo.extend_from_slice(&length.to_be_bytes());
    // ICMP's checksum covers no addresses.
    let pseudo = if number == ICMP { &[][..] } else { &pseudo[..] };
    let mut header = vec![0x45, 0];
    header.extend_from_slice(&(20 + length).to_be_bytes());
    header.extend_from_slice(&[0, 0, 0x40, 0, HOPS, number, 0, 0]);
    header.extend_from_slice(&source.octets());
    header.extend_from_slice(&destination.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&checked(protocol, pseudo));
}

/// RFC 8200.
fn ipv6(bytes: &mut Vec<u8>, protocol: Protocol, source: Ipv6Addr, destination: Ipv6Addr) {
    let number = number(protocol, true);
    let length = segment(protocol, 0).len() as u16;
    let mut pseudo = Vec::with_capacity(40);
    pseudo.extend_from_slice(&source.octets());
    pseudo.extend_from_slice(&destination.octets());
    pseudo.extend_from_slice(&u32::from(length).to_be_bytes());
    pseudo.extend_from_slice(&[0, 0, 0, number]);
    bytes.extend_from_slice(&[0x60, 0, 0, 0]);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&[number, HOPS]);
    bytes.extend_from_slice(&source.octets());
    bytes.extend_from_slice(&destination.octets());
    bytes.extend_from_slice(&checked(protocol, &pseudo));
}

fn number(protocol: Protocol, v6: bool) -> u8 {
    match protocol {
        Protocol::Tcp(..) => TCP,
        Protocol::Udp(..) => UDP,
        Protocol::Icmp(..) if v6 => ICMPV6,
        Protocol::Icmp(..) => ICMP,
    }
}

/// What follows the IP header, with its checksum.
fn checked(protocol: Protocol, pseudo: &[u8]) -> Vec<u8> {
    let sum = checksum(&[pseudo, &segment(protocol, 0)]);
    // A UDP checksum of zero means that there is none (RFC 768).
    let sum = if sum == 0 && matches!(protocol, Protocol::Udp(..)) { 0xffff } else { sum };
    segment(protocol, sum)
}

fn segment(protocol: Protocol, sum: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(20);
    match protocol {
        // RFC 9293: no sequence, no acknowledgement number; the window says that this end takes nothing.
        Protocol::Tcp(source, destination) => {
            bytes.extend_from_slice(&source.to_be_bytes());
            bytes.extend_from_slice(&destination.to_be_bytes());
            bytes.extend_from_slice(&[0; 8]);
            bytes.extend_from_slice(&[0x50, TCP_SYN, 0, 0]);
            bytes.extend_from_slice(&sum.to_be_bytes());
            bytes.extend_from_slice(&[0, 0]);
        }
        Protocol::Udp(source, destination) => {
            bytes.extend_from_slice(&source.to_be_bytes());
            bytes.extend_from_slice(&destination.to_be_bytes());
            bytes.extend_from_slice(&8_u16.to_be_bytes());
            bytes.extend_from_slice(&sum.to_be_bytes());
        }
        // RFC 792, RFC 4443.
        Protocol::Icmp(identifier, kind, code) => {
            bytes.extend_from_slice(&[kind, code]);
            bytes.extend_from_slice(&sum.to_be_bytes());
            bytes.extend_from_slice(&identifier.to_be_bytes());
            bytes.extend_from_slice(&[0, 0]);
        }
    }
    bytes
}

/// The Internet checksum (RFC 1071) of pieces of even length.
fn checksum(pieces: &[&[u8]]) -> u16 {
    let words = pieces
        .iter()
        .flat_map(|piece| piece.chunks_exact(2))
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum: u32 = words.sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_come_out_even() {
        for (source, destination) in [("10.10.1.2", "10.10.2.3"), ("fd00:10:0:1::2", "fd00:10:0:2::3")] {
            for protocol in [Protocol::Tcp(40000, 80), Protocol::Udp(5, 53), Protocol::Icmp(7, 8, 0)] {
                let found = Tracked {
                    protocol,
                    source: source.parse().unwrap(),
                    destination: destination.parse().unwrap(),
                    admitted: true,
                    blocked: false,
                    is_established: true,
                    look: 0,
                };
                let bytes = original(&found, [2; 6], [4; 6]).unwrap();
                let v6 = source.contains(':');
                let (start, addresses) = if v6 { (54, 22..54) } else { (34, 26..34) };
                if !v6 {
                    assert_eq!(checksum(&[&bytes[14..34]]), 0, "IPv4 header");
                }
                let length = ((bytes.len() - start) as u16).to_be_bytes();
                let pseudo = [&bytes[addresses], &[0, number(protocol, v6)], &length].concat();
                let covers = if !v6 && matches!(protocol, Protocol::Icmp(..)) { &[][..] } else { &pseudo[..] };
                assert_eq!(checksum(&[covers, &bytes[start..]]), 0, "{protocol:?} {source}");
            }
        }
    }
}
