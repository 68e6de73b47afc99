//! What may be wanted: `node`, `peer`, `pod`, `address`, `rule`, `isolate`, one line each.

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use ovs_pipeline::{
    Action, Address, Datapath, Direction, IdentityNumber, Intent, IpBlock, Isolation, Node, Peer, Peers, Pod, Posture,
    Protocol, Rule, Service,
};

use super::book::{self, Book, Endpoint};
use super::words::{Words, mac};
use super::{Key, Kind, Wanted};

/// What one line wants: several things where an endpoint has several addresses.
pub type Line = Vec<(Key, Wanted)>;

/// Reads a line of `want`.
pub fn line(text: &str, node: &str, datapath: Datapath, book: &mut Book) -> Result<Line> {
    let mut words = Words::new(text);
    let kind = words.first("a kind")?;
    let name = words.first("a name")?;
    let wanted = match kind {
        "node" => vec![self::node(&mut words, name, datapath, book)?],
        "peer" => vec![peer(&mut words, node, name)?],
        "pod" => vec![pod(&mut words, node, name, book)?],
        "address" => address(&mut words, node, name, book)?,
        "rule" => vec![rule(&mut words, node, name, book)?],
        "isolate" => vec![isolate(&mut words, node, name, book)?],
        other => bail!("{other:?} is no kind; there are node, peer, pod, address, rule and isolate"),
    };
    words.done()?;
    Ok(wanted)
}

/// The key of a line of `unwant`, and whether it names only the start of keys.
pub fn key(text: &str, node: &str) -> Result<Key> {
    let mut words = Words::new(text);
    let kind = match words.first("a kind")? {
        "node" => Kind::Node,
        "peer" => Kind::Peer,
        "pod" => Kind::Pod,
        "address" => Kind::Address,
        "rule" => Kind::Rule,
        "isolate" => Kind::Isolation,
        other => bail!("{other:?} is no kind"),
    };
    let name = words.rest().join(" ");
    let node = if kind == Kind::Node { name.as_str() } else { node };
    Ok(Key { node: node.to_string(), kind, name: name.clone() })
}

fn wanted(node: &str, kind: Kind, name: &str, intent: Intent) -> (Key, Wanted) {
    (Key { node: node.to_string(), kind, name: name.to_string() }, Wanted { intent, derive_port_rules: false })
}

fn node(words: &mut Words, name: &str, datapath: Datapath, book: &mut Book) -> Result<(Key, Wanted)> {
    let index = book::index(name)?;
    let pod_cidrs: Vec<IpNet> = words.list("pods", book::pod_cidrs(index))?;
    let (tunnel_port, gateway_port) = (words.parsed("tunnel", 1)?, words.parsed("gateway", 2)?);
    book.name_port(name, tunnel_port, "tunnel");
    book.name_port(name, gateway_port, "gateway");
    let node = Node {
        datapath,
        tunnel_port,
        gateway_port,
        gateway_mac: words.value("mac").map_or(Ok([0x0a, 0, 0, 0, index, 1]), mac)?,
        gateways: words.list("gateways", pod_cidrs.iter().map(|&range| ovs_pipeline::gateway(range)).collect())?,
        addresses: words.list("addresses", book::node_addresses(index))?,
        cluster_pod_cidrs: words.list("cluster", (1..=3).flat_map(book::pod_cidrs).collect())?,
        pod_cidrs,
    };
    Ok(wanted(name, Kind::Node, name, Intent::Node(node)))
}

fn peer(words: &mut Words, node: &str, name: &str) -> Result<(Key, Wanted)> {
    let index = book::index(name)?;
    let addresses = words.list("addresses", book::node_addresses(index))?;
    let peer = Peer {
        tunnel_endpoint: words.parsed("endpoint", addresses[0])?,
        pod_cidrs: words.list("pods", book::pod_cidrs(index))?,
        addresses,
    };
    Ok(wanted(node, Kind::Peer, name, Intent::Peer(peer)))
}

fn pod(words: &mut Words, node: &str, name: &str, book: &mut Book) -> Result<(Key, Wanted)> {
    let index = book::index(node)?;
    let port: u32 = words.value("port").context("port= is missing")?.parse()?;
    let [.., low] = port.to_be_bytes();
    let identity = match words.value("identity").unwrap_or(name) {
        "none" => None,
        name => Some(book.identity(name)),
    };
    let port_rules = words.value("port-rules");
    let pod = Pod {
        port,
        mac: words.value("mac").map_or(Ok([0x0a, 0, 0, 0, index, low]), mac)?,
        addresses: words.list("ip", book::pod_addresses(index, port))?,
        identity,
        egress: posture(words.value("egress"), identity)?,
        ingress: posture(words.value("ingress"), identity)?,
        egress_port_rules: port_rules.is_some_and(|text| text.contains("egress")),
        ingress_port_rules: port_rules.is_some_and(|text| text.contains("ingress")),
    };
    book.name_port(node, port, name);
    book.name_endpoint(name, Endpoint { addresses: pod.addresses.clone(), identity });
    let (key, mut wanted) = wanted(node, Kind::Pod, name, Intent::Pod(pod));
    wanted.derive_port_rules = port_rules.is_none();
    Ok((key, wanted))
}

fn posture(text: Option<&str>, identity: Option<IdentityNumber>) -> Result<Posture> {
    Ok(match (text, identity) {
        (Some("open"), None) => Posture::Open,
        (Some("closed") | None, None) => Posture::Closed,
        (None, Some(_)) => Posture::Policed,
        (Some(other), _) => {
            bail!("{other:?} is no posture of such a pod; without an identity there are open and closed")
        }
    })
}

fn address(words: &mut Words, node: &str, name: &str, book: &mut Book) -> Result<Line> {
    let known = book.endpoint(name).cloned();
    let addresses = words.list("ip", known.as_ref().map(|known| known.addresses.clone()).unwrap_or_default())?;
    let identity = match (words.value("identity"), known) {
        (Some(identity), _) => book.identity(identity),
        (None, Some(Endpoint { identity: Some(identity), .. })) => identity,
        (None, _) => book.identity(name),
    };
    anyhow::ensure!(!addresses.is_empty(), "address {name} is no pod of this file, so it needs ip=");
    book.name_endpoint(name, Endpoint { addresses: addresses.clone(), identity: Some(identity) });
    let (source, destination) = (words.flag("source"), words.flag("destination"));
    let line = addresses.into_iter().map(|address| {
        let intent = Intent::Address(Address { address, identity, source, destination });
        wanted(node, Kind::Address, &format!("{name} {address}"), intent)
    });
    Ok(line.collect())
}

fn direction(text: &str) -> Result<Direction> {
    match text {
        "ingress" => Ok(Direction::Ingress),
        "egress" => Ok(Direction::Egress),
        other => bail!("{other:?} is neither ingress nor egress"),
    }
}

fn rule(words: &mut Words, node: &str, name: &str, book: &mut Book) -> Result<(Key, Wanted)> {
    let direction = direction(words.first("ingress or egress")?)?;
    let (local, remote) = if direction == Direction::Ingress { ("to", "from") } else { ("from", "to") };
    let part = words.value("part").map(|part| format!("{name}.{part}"));
    let part = part.as_deref().unwrap_or(name);
    let applied_to = words.value(local).with_context(|| format!("{local}= is missing"))?;
    let rule = Rule {
        rule: book.rule(name),
        conjunction: book.conjunction(part),
        direction,
        applied_to: identities(applied_to, book),
        peers: words.value(remote).map(|text| peers(text, book)).transpose()?,
        destinations: words.value("named").map(|text| identities(text, book)),
        services: services(words)?,
        action: match words.value("action") {
            None => Action::Allow,
            Some("drop") => Action::Drop,
            Some(other) => bail!("{other:?} is no action"),
        },
    };
    Ok(wanted(node, Kind::Rule, part, Intent::Rule(rule)))
}

fn identities(text: &str, book: &mut Book) -> Vec<IdentityNumber> {
    text.split(',').filter(|name| *name != "nobody").map(|name| book.identity(name)).collect()
}

/// Identities and ranges; `10.0.0.0/8!10.1.0.0/16` is a range with a hole; `nobody` adds nobody.
fn peers(text: &str, book: &mut Book) -> Result<Peers> {
    let mut peers = Peers::default();
    for item in text.split(',') {
        if item.contains('/') {
            let mut nets = item.split('!').map(|net| net.parse::<IpNet>().with_context(|| net.to_string()));
            let cidr = nets.next().context("a range")??;
            peers.blocks.push(IpBlock { cidr, except: nets.collect::<Result<_>>()? });
        } else if item != "nobody" {
            peers.identities.push(book.identity(item));
        }
    }
    Ok(peers)
}

fn services(words: &mut Words) -> Result<Option<Vec<Service>>> {
    let mut services = Vec::new();
    for (word, protocol) in [("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("sctp", Protocol::Sctp)] {
        if words.flag(word) {
            services.push(Service::Protocol(protocol));
        }
        for ports in words.value(word).into_iter().flat_map(|text| text.split(',')) {
            let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
            services.push(Service::Ports { protocol, first: first.parse()?, last: last.parse()? });
        }
    }
    for (word, v6) in [("icmp", false), ("icmp6", true)] {
        if words.flag(word) {
            services.push(Service::Icmp { v6, kind: None, code: None });
        }
        for text in words.value(word).into_iter().flat_map(|text| text.split(',')) {
            let (kind, code) = text.split_once('/').map_or((text, None), |(kind, code)| (kind, Some(code)));
            services.push(Service::Icmp { v6, kind: Some(kind.parse()?), code: code.map(str::parse).transpose()? });
        }
    }
    let none = words.value("services") == Some("none");
    Ok((none || !services.is_empty()).then_some(services))
}

fn isolate(words: &mut Words, node: &str, name: &str, book: &mut Book) -> Result<(Key, Wanted)> {
    let text = words.first("ingress or egress")?;
    let rule = words.value("as").map_or_else(|| format!("isolation-of-{name}"), str::to_string);
    let intent = Intent::Isolation(Isolation {
        direction: direction(text)?,
        identity: book.identity(name),
        rule: book.rule(&rule),
    });
    Ok(wanted(node, Kind::Isolation, &format!("{name} {text}"), intent))
}
