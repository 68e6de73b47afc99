//! What became of a packet, read from its trace, and what must hold of every packet whatever a scenario asks.

use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use ovs_pipeline::register::{self, Destination};
use ovs_pipeline::show::Printer;
use ovs_pipeline::{Datapath, Node, RuleNumber, TUNNEL_MAC, Table};

use super::packet::{Entering, LOOK, link};
use super::reading::{Pass, Trace};
use crate::scenario::ask::{Ask, Carried};
use crate::scenario::plan::State;
use crate::scenario::{Book, Kind};

/// Where a packet's way through one bridge ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// At a pod of this node.
    Pod(u32),
    /// In the tunnel, towards this endpoint.
    Tunnel(IpAddr),
    Gateway,
    /// The switch answered in the gateway's name.
    Answered,
    /// Decided and marked, sent nowhere.
    Examined,
    /// In a table; of a verdict table, the table that decided.
    Dropped(Table),
}

/// What one bridge did.
#[derive(Clone, Debug)]
pub struct Hop {
    pub end: End,
    pub egress_rule: RuleNumber,
    pub ingress_rule: RuleNumber,
}

/// Reads the end and the deciding rules.
pub fn hop(trace: &Trace, node: &Node) -> Result<Hop> {
    let last = trace.last();
    let rule = |register| Ok::<_, anyhow::Error>(RuleNumber(last.register(register)?));
    let (egress_rule, ingress_rule) = (rule(&register::EGRESS_RULE)?, rule(&register::INGRESS_RULE)?);
    Ok(Hop { end: end(last, node)?, egress_rule, ingress_rule })
}

fn end(last: &Pass, node: &Node) -> Result<End> {
    let (table, did) = last.tables.last().context("no table was met")?;
    match table {
        Table::Output if last.register(&register::SUPPRESS_OUTPUT)? == 1 => {
            ensure!(!did.contains("output"), "re-examination sends nothing: {did}");
            Ok(End::Examined)
        }
        Table::Output if did.contains("skipping output") || !did.contains("output") => Ok(End::Dropped(Table::Output)),
        Table::Output => out(last, node),
        Table::NeighborResponder | Table::NeighborAdvertisement if did.contains("IN_PORT") => Ok(End::Answered),
        Table::EgressVerdict | Table::IngressVerdict => {
            let before = last.tables.iter().rev().nth(1).context("a verdict comes from a table")?;
            let verdict =
                if *table == Table::EgressVerdict { register::EGRESS_VERDICT } else { register::INGRESS_VERDICT };
            let decided = last.register(&verdict)? != 0;
            Ok(End::Dropped(if decided { before.0 } else { *table }))
        }
        other => Ok(End::Dropped(*other)),
    }
}

fn out(last: &Pass, node: &Node) -> Result<End> {
    let port = last.register(&register::OUTPUT_PORT)?;
    let destination = last.register(&register::DESTINATION)?;
    if destination == Destination::Gateway as u32 {
        ensure!(port == node.gateway_port, "for the gateway, but out of port {port}");
        ensure!(last.field("dl_dst") == link(node.gateway_mac), "the gateway's link address is wrong");
        return Ok(End::Gateway);
    }
    ensure!(last.field("dl_src") == link(node.gateway_mac), "a routed packet comes from the gateway's link address");
    if destination == Destination::Tunnel as u32 {
        ensure!(port == node.tunnel_port, "for the tunnel, but out of port {port}");
        ensure!(last.field("dl_dst") == link(TUNNEL_MAC), "a packet to another node has the tunnel's link address");
        ensure!(last.actions.contains("tnl_push"), "no tunnel packet left: {}", last.actions);
        let endpoints =
            ["tun_dst", "tun_ipv6_dst"].map(|field| last.end.get(field).and_then(|text| text.parse::<IpAddr>().ok()));
        let endpoint =
            endpoints.into_iter().flatten().find(|address| !address.is_unspecified()).context("no tunnel endpoint")?;
        ensure!(
            last.actions.contains(&format!("dst={endpoint}")),
            "the tunnel packet goes elsewhere: {}",
            last.actions
        );
        return Ok(End::Tunnel(endpoint));
    }
    ensure!(destination == Destination::Pod as u32, "out, but with no destination: {destination}");
    Ok(End::Pod(port))
}

/// What must hold of every packet.
pub fn invariants(
    ask: &Ask,
    entering: &Entering,
    trace: &Trace,
    hop: &Hop,
    state: &State,
    datapath: Datapath,
) -> Result<()> {
    single_pass(trace)?;
    let without_ports = datapath == Datapath::Netdev && matches!(ask.packet.carried, Carried::Sctp { .. });
    commits(ask, trace, hop, without_ports)?;
    let last = trace.last();
    let ttl = last.number("nw_ttl")?;
    match hop.end {
        End::Pod(port) => {
            ensure!(
                ttl + 1 == u64::from(entering.ttl),
                "a routed packet's TTL goes down by one, not from {} to {ttl}",
                entering.ttl
            );
            let pod = pod_at(state, &entering.node, port)?;
            ensure!(last.field("dl_dst") == link(pod.1), "{} gets a packet for {}", pod.0, last.field("dl_dst"));
        }
        End::Tunnel(_) => ensure!(ttl + 1 == u64::from(entering.ttl), "a routed packet's TTL goes down by one"),
        End::Gateway => ensure!(ttl == u64::from(entering.ttl), "the node itself lowers the TTL of what it forwards"),
        End::Answered => answer(ask, entering, last, state.node(&entering.node).context("the node is gone")?)?,
        End::Examined | End::Dropped(_) => {}
    }
    Ok(())
}

/// From identity lookup to verdict in one pass: one megaflow holds one version of the rules.
fn single_pass(trace: &Trace) -> Result<()> {
    ensure!(trace.passes.len() <= 2, "{} passes: only the connection's lookup recirculates", trace.passes.len());
    let between = Table::SourceIdentity..=Table::IngressVerdict;
    let passes = trace.passes.iter().filter(|pass| pass.tables.iter().any(|(table, _)| between.contains(table)));
    ensure!(passes.count() <= 1, "identity and verdict are in different passes");
    Ok(())
}

/// Admits exactly what is let out and not admitted, blocks exactly what policy denies though admitted: but no connection that is
/// tracked without ports, for another port may be allowed.
fn commits(ask: &Ask, trace: &Trace, hop: &Hop, without_ports: bool) -> Result<()> {
    let connection = &ask.connection;
    let open = connection.admitted && !connection.blocked;
    let policy = Table::EgressTierRule..=Table::IngressVerdict;
    let denied = matches!(hop.end, End::Dropped(table) if policy.contains(&table) && table != Table::Routing && table != Table::EgressAddress);
    let suppressed_new = ask.packet.suppressed && connection.state.contains("new");
    let passed = !matches!(hop.end, End::Dropped(table) if table < Table::Commit) && hop.end != End::Answered;
    let wanted = if connection.state.contains("rpl") || connection.state.contains("rel") {
        None
    } else if passed && !open && !suppressed_new {
        let label = u64::from(hop.ingress_rule.0) | u64::from(hop.egress_rule.0) << 32;
        let label = if label == 0 { "0".to_string() } else { format!("{label:#x}") };
        Some(format!("mark=0x1/0x3,label={label}/0xffffffffffffffff"))
    } else if passed && open && ask.packet.suppressed {
        let look = |value| register::CT_LOOK.place(value);
        Some(format!("mark={:#x}/{:#x}", look(LOOK), look(0xf)))
    } else if denied && open && !without_ports {
        Some("mark=0x2/0x2".to_string())
    } else {
        None
    };
    let found: Vec<&str> = trace.actions().flat_map(|actions| actions.split("ct(commit").skip(1)).collect();
    match (&wanted, found.as_slice()) {
        (None, []) => Ok(()),
        (Some(wanted), [found]) if found.contains(wanted.as_str()) => Ok(()),
        _ => bail!("the connection should get {wanted:?}, but gets {found:?}"),
    }
}

fn pod_at(state: &State, node: &str, port: u32) -> Result<(String, [u8; 6])> {
    let mut pods = state.0.iter().filter(|(key, _)| key.node == node && key.kind == Kind::Pod);
    let found = pods.find_map(|(key, wanted)| match &wanted.intent {
        ovs_pipeline::Intent::Pod(pod) if pod.port == port => Some((key.name.clone(), pod.mac)),
        _ => None,
    });
    found.with_context(|| format!("no pod has port {port} of {node}"))
}

/// The answer is in the gateway's name, to who asked.
fn answer(ask: &Ask, entering: &Entering, last: &Pass, node: &Node) -> Result<()> {
    let gateway = link(node.gateway_mac);
    let asker = link(entering.source_mac);
    let (source, destination) = (entering.source.to_string(), entering.destination.to_string());
    let wanted: Vec<(&str, &str)> = match ask.packet.carried {
        Carried::Arp { .. } => vec![
            ("dl_src", &gateway),
            ("dl_dst", &asker),
            ("arp_op", "2"),
            ("arp_spa", &destination),
            ("arp_tpa", &source),
            ("arp_sha", &gateway),
            ("arp_tha", &asker),
        ],
        _ => vec![
            ("dl_src", &gateway),
            ("dl_dst", &asker),
            ("ipv6_src", &destination),
            ("ipv6_dst", &source),
            ("icmp_type", "136"),
            ("nd_target", &destination),
            ("nd_tll", &gateway),
            ("nw_ttl", "255"),
        ],
    };
    for (field, value) in wanted {
        ensure!(last.field(field) == value, "the answer has {field}={}, not {value}", last.field(field));
    }
    ensure!(last.actions.ends_with(&entering.port.to_string()), "the answer does not go back: {}", last.actions);
    Ok(())
}

/// In the words of a scenario: the verdict, and who decided.
pub fn words(hops: &[(Entering, Hop)], state: &State, book: &Book) -> Result<(String, Vec<String>)> {
    let (first, (entering, last)) = (&hops[0], hops.last().context("at least one hop")?);
    let at = if hops.len() > 1 { format!(" at {}", entering.node) } else { String::new() };
    let verdict = match &last.end {
        End::Pod(port) => format!("Reaches({})", pod_at(state, &entering.node, *port)?.0),
        End::Tunnel(endpoint) => format!("ToTunnel({})", node_of(state, &entering.node, *endpoint)),
        End::Gateway => {
            format!("ToGateway{}", if at.is_empty() { String::new() } else { format!("({})", entering.node) })
        }
        End::Answered => "Answered".to_string(),
        End::Examined => "Examined".to_string(),
        End::Dropped(table) => format!("Dropped({}{at})", table.name()),
    };
    // Egress policy is the first node's, ingress policy the last one's; what decided nothing is not named.
    let silent = [RuleNumber::NONE, RuleNumber::NO_ISOLATION, RuleNumber::NOT_APPLICABLE];
    let decided = [(&first.0.node, first.1.egress_rule), (&entering.node, last.ingress_rule)];
    let names = decided.into_iter().filter(|(_, rule)| !silent.contains(rule));
    let names = names.map(|(node, rule)| Printer::new(&book.names(node)).rule(rule)).collect();
    Ok((verdict, names))
}

fn node_of(state: &State, node: &str, endpoint: IpAddr) -> String {
    let peers = state.0.iter().filter(|(key, _)| key.node == node && key.kind == Kind::Peer);
    let name = peers.filter_map(|(key, wanted)| match &wanted.intent {
        ovs_pipeline::Intent::Peer(peer) if peer.tunnel_endpoint == endpoint => Some(key.name.clone()),
        _ => None,
    });
    name.into_iter().next().unwrap_or_else(|| endpoint.to_string())
}
