//! A packet and what becomes of it: `client -> web tcp 80   Reaches(web) by allow-web`.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};

use super::words::{Words, mac};

/// A line of `ask`.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The line of the file.
    pub line: usize,
    /// Its text.
    pub text: String,
    /// Who sends: a pod, a node, `outside`, a named address or an address.
    pub source: String,
    /// For whom: the same, or `gateway`.
    pub destination: String,
    pub packet: Packet,
    /// What connection tracking says.
    pub connection: Connection,
    /// What becomes of it, such as `Dropped(IngressDefault)`.
    pub verdict: String,
    /// The rules or isolations that decided, egress first; alternatives by `|`.
    pub by: Vec<String>,
    /// Whether ports are in the megaflow's key, where that is told.
    pub ports: Option<bool>,
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Packet {
    pub v6: bool,
    pub carried: Carried,
    /// The node at which it enters, where the source does not say.
    pub at: Option<String>,
    pub source_port: u16,
    /// In place of the source's own addresses.
    pub source_ip: Option<IpAddr>,
    pub source_mac: Option<[u8; 6]>,
    pub arp_sender_mac: Option<[u8; 6]>,
    pub destination_mac: Option<[u8; 6]>,
    /// The tunnel endpoint that sent it.
    pub tunnel_source: Option<IpAddr>,
    /// Sent by the agent to re-examine a connection.
    pub suppressed: bool,
    pub vlan: Option<u16>,
    pub ttl: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    Tcp {
        port: u16,
        flags: u16,
    },
    Udp {
        port: u16,
    },
    Sctp {
        port: u16,
    },
    Icmp {
        kind: u8,
        code: u8,
    },
    /// A protocol by its number.
    Other(u8),
    Arp {
        operation: u16,
    },
    /// Neighbor solicitation.
    Solicitation,
    /// No IP and no ARP.
    Ethernet(u16),
}

/// What connection tracking says of the packet.
#[derive(Clone, Debug)]
pub struct Connection {
    /// As `--ct-next` takes it.
    pub state: String,
    pub admitted: bool,
    pub blocked: bool,
    /// In the original direction of a connection.
    pub original: bool,
}

const FLAGS: [&str; 5] = ["fin", "syn", "rst", "psh", "ack"];

/// Reads a line of `ask`.
pub fn ask(line: usize, text: &str) -> Result<Ask> {
    let at = text
        .match_indices(' ')
        .map(|(at, _)| at + 1)
        .find(|at| text[*at..].starts_with(|c: char| c.is_ascii_uppercase()));
    let (question, answer) =
        text.split_at(at.context("the verdict is missing: a word that starts with a capital letter")?);
    let (source, rest) = question.split_once("->").context("-> is missing")?;
    let mut words = Words::new(rest);
    let destination = words.first("a destination")?.to_string();
    let connection = connection(words.value("ct").unwrap_or("new"))?;
    let v6 =
        [source.trim(), destination.as_str()].iter().any(|name| name.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()));
    let packet = packet(&mut words, v6, &connection)?;
    words.done()?;
    let (answer, ports) = match answer.split_once(';').map(|(answer, ports)| (answer, ports.trim())) {
        None => (answer, None),
        Some((answer, "ports ignored")) => (answer, Some(false)),
        Some((answer, "ports matched")) => (answer, Some(true)),
        Some((_, other)) => bail!("{other:?} is neither \"ports ignored\" nor \"ports matched\""),
    };
    let (verdict, by) = answer.split_once(" by ").unwrap_or((answer, ""));
    let by = by.split(',').map(|name| name.trim().to_string()).filter(|name| !name.is_empty()).collect();
    let (source, verdict) = (source.trim().to_string(), verdict.trim().to_string());
    Ok(Ask { line, text: text.to_string(), source, destination, packet, connection, verdict, by, ports })
}

fn connection(text: &str) -> Result<Connection> {
    let mut connection = Connection { state: "trk".to_string(), admitted: false, blocked: false, original: true };
    for word in text.split(',') {
        match word {
            "new" | "est" | "rel" | "inv" => connection.state += &format!(",{word}"),
            "rpl" => {
                connection.state += if text.contains("rel") { ",rpl" } else { ",est,rpl" };
                connection.original = false;
            }
            "admitted" => connection.admitted = true,
            "blocked" => connection.blocked = true,
            other => bail!("{other:?} is no connection state; there are new, est, rel, inv, rpl, admitted and blocked"),
        }
    }
    connection.original &= !text.contains("rel") && !text.contains("inv");
    Ok(connection)
}

fn packet(words: &mut Words, v6: bool, connection: &Connection) -> Result<Packet> {
    let v6 = words.flag("v6") || v6;
    let link = |words: &mut Words, key: &str| words.value(key).map(mac).transpose();
    let address = |words: &mut Words, key: &str| -> Result<Option<IpAddr>> {
        words.value(key).map(|text| text.parse().with_context(|| format!("{key}={text}"))).transpose()
    };
    let mut packet = Packet {
        v6,
        carried: Carried::Ethernet(0),
        at: words.value("at").map(str::to_string),
        source_port: words.parsed("source-port", 40000)?,
        source_ip: address(words, "source-ip")?,
        source_mac: link(words, "source-mac")?,
        arp_sender_mac: link(words, "arp-sender-mac")?,
        destination_mac: link(words, "destination-mac")?,
        tunnel_source: address(words, "tunnel-source")?,
        suppressed: words.flag("suppressed"),
        vlan: words.value("vlan").map(str::parse).transpose()?,
        ttl: words.parsed("ttl", 64)?,
    };
    let flags = tcp_flags(words, connection)?;
    packet.carried = carried(words, v6, flags)?;
    if packet.carried == Carried::Solicitation {
        (packet.v6, packet.ttl) = (true, 255); // RFC 4861, 4.3
    }
    Ok(packet)
}

/// As the connection's state wants them, unless said.
fn tcp_flags(words: &mut Words, connection: &Connection) -> Result<u16> {
    let default = if connection.state == "trk,new" { "syn" } else { "ack" };
    let mut flags = 0;
    for name in words.value("flags").unwrap_or(default).split('+').filter(|name| !name.is_empty()) {
        let bit = FLAGS.iter().position(|flag| *flag == name).with_context(|| format!("{name:?} is no TCP flag"))?;
        flags |= 1 << bit;
    }
    Ok(flags)
}

fn carried(words: &mut Words, v6: bool, flags: u16) -> Result<Carried> {
    let port = |words: &mut Words| -> Result<u16> { Ok(words.first("a port")?.parse()?) };
    Ok(match words.first("a protocol")? {
        "tcp" => Carried::Tcp { port: port(words)?, flags },
        "udp" => Carried::Udp { port: port(words)? },
        "sctp" => Carried::Sctp { port: port(words)? },
        "ping" => Carried::Icmp { kind: if v6 { 128 } else { 8 }, code: 0 },
        "pong" => Carried::Icmp { kind: if v6 { 129 } else { 0 }, code: 0 },
        "icmp" => {
            let text = words.first("type or type/code")?;
            let (kind, code) = text.split_once('/').unwrap_or((text, "0"));
            Carried::Icmp { kind: kind.parse()?, code: code.parse()? }
        }
        "protocol" => Carried::Other(words.first("a number")?.parse()?),
        "arp" => Carried::Arp { operation: words.parsed("operation", 1)? },
        "nd" => Carried::Solicitation,
        "ethernet" => Carried::Ethernet(u16::from_str_radix(words.first("a type")?.trim_start_matches("0x"), 16)?),
        other => bail!("{other:?} is no protocol"),
    })
}
