//! Policy rules as conjunctions over identities, address ranges and services.
//!
//! A rule is a product of dimensions: who it applies to, who is at the other end, which packets. With one dimension it is
//! plain flows; with more it is a conjunction (ovs-ofctl(8)), so a change costs the sum of what it names, not the product.
//! Plain flows stand one priority above conjunctions of the same rank: a flow with the conjunction's clauses as its match may
//! not do anything else.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use openflow::Field;

use super::conntrack::SCTP;
use super::spoof_guard::ICMPV6;
use crate::flow::{Builder, IP_FAMILIES, IPV4, IPV6, Lane, Refusal, Side, Sink, identity_of};
use crate::intent::{Action, Datapath, IpBlock, Peers, Protocol, Rule, Service};
use crate::number::{ConjunctionNumber, IdentityNumber};
use crate::ports;
use crate::register::{self, Destination, Register, SCTP_REPLY, Source, Verdict};

/// Kubernetes NetworkPolicy has one rank. Its conjunctions, and one above them its plain flows.
const CONJUNCTION: u16 = 100;
const PLAIN: u16 = 101;
/// Conjunctions in a row whose clauses are in the same flows. Numbers are handed out in a row, so four times as many rules may
/// name one identity.
const CLAUSES_OF_A_KIND: u32 = 1 << 11;
/// Set in the number of the conjunction that lets SCTP replies pass where SCTP is tracked without ports.
pub(crate) const REPLY: u32 = 1 << 27;

/// One choice in a dimension: matches for one flow.
type Choice = Box<dyn Fn(Builder) -> Builder>;

pub(crate) fn rule(rule: &Rule, sink: &mut Sink) -> Result<(), Refusal> {
    let lane = Lane::of(rule.direction);
    product(rule, rule.conjunction, lane, dimensions(rule, lane, Ports::Destination, rule.services.as_deref()), sink)?;
    if sink.datapath == Datapath::Netdev && rule.action == Action::Allow {
        sctp_replies(rule, sink)?;
    }
    Ok(())
}

/// Where SCTP is tracked without ports, replies of an admitted association pass only by the mirrored rule: what the rule's pods
/// answer, from the ports it names.
fn sctp_replies(rule: &Rule, sink: &mut Sink) -> Result<(), Refusal> {
    let services: Vec<Service> = match &rule.services {
        None => vec![Service::Protocol(Protocol::Sctp)],
        Some(services) => services.iter().copied().filter(is_sctp).collect(),
    };
    if services.is_empty() {
        return Ok(());
    }
    let lane = Lane::of(rule.direction.opposite());
    let conjunction = ConjunctionNumber(rule.conjunction.0 | REPLY);
    // The pods that the rule applies to answer: they are the local side of the opposite direction.
    product(rule, conjunction, lane, dimensions(rule, lane, Ports::Source, Some(&services)), sink)
}

fn is_sctp(service: &Service) -> bool {
    matches!(service, Service::Protocol(Protocol::Sctp) | Service::Ports { protocol: Protocol::Sctp, .. })
}

/// Which end's ports a service names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ports {
    Source,
    Destination,
}

fn dimensions(rule: &Rule, lane: &'static Lane, ports: Ports, services: Option<&[Service]>) -> Vec<Vec<Choice>> {
    let mut dimensions = vec![identities(lane.local, &rule.applied_to)];
    if let Some(peers) = &rule.peers {
        dimensions.push(other_end(lane.remote, peers));
    }
    if let Some(destinations) = &rule.destinations {
        dimensions.push(among(lane, destinations));
    }
    if let Some(services) = services {
        dimensions.push(services.iter().flat_map(|&service| choices(service, ports, lane)).collect());
    }
    dimensions
}

/// Flows that together match every combination of one choice a dimension.
fn product(
    rule: &Rule,
    conjunction: ConjunctionNumber,
    lane: &'static Lane,
    dimensions: Vec<Vec<Choice>>,
    sink: &mut Sink,
) -> Result<(), Refusal> {
    if dimensions.iter().any(Vec::is_empty) {
        return Ok(()); // a dimension without a choice matches nothing
    }
    let verdict = match rule.action {
        Action::Allow => Verdict::Allow,
        Action::Drop => Verdict::Drop,
    };
    let say = |builder: Builder| {
        builder.set(lane.verdict, verdict as u128).set(lane.decided, rule.rule.0.into()).goto(lane.verdict_table)
    };
    if let [only] = dimensions.as_slice() {
        return only.iter().try_for_each(|choice| {
            sink.put(say(choice(Builder::new(lane.rule, PLAIN, "a rule for every peer and packet of an identity"))))
        });
    }
    let of = u8::try_from(dimensions.len()).expect("a rule has at most four dimensions");
    for (index, choices) in (1u8..).zip(&dimensions) {
        for choice in choices {
            let builder = Builder::new(lane.rule, CONJUNCTION, "a clause of the rules that share this match");
            let builder = spread(choice(builder), conjunction, lane);
            sink.put(builder.clause(conjunction, index, of))?;
        }
    }
    sink.put(say(
        Builder::new(lane.rule, CONJUNCTION, "a rule whose clauses all match").field(Field::ConjId, conjunction.0)
    ))
}

/// A flow has room for about four thousand clauses (a message has at most 64 KiB). Where there are more rules than that, clauses of
/// the same match are spread over flows that match something true besides: each rule's conjunction has its clauses in flows of one
/// kind, and a packet meets every kind.
fn spread(builder: Builder, conjunction: ConjunctionNumber, lane: &'static Lane) -> Builder {
    let kind = conjunction.0 / CLAUSES_OF_A_KIND;
    // No policy is asked about replies of admitted connections.
    let builder = if kind & 1 == 1 { builder.is(&register::ADMITTED_REPLY, 0) } else { builder };
    // The local side is a pod.
    let (register, pod) = match lane.local {
        Side::Source => (register::SOURCE, Source::Pod as u128),
        Side::Destination => (register::DESTINATION, Destination::Pod as u128),
    };
    if kind & 2 == 2 { builder.is(&Register { bits: 1, ..register }, pod & 1) } else { builder }
}

fn identities(side: Side, identities: &[IdentityNumber]) -> Vec<Choice> {
    let register = identity_of(side);
    identities.iter().map(|&identity| Box::new(move |b: Builder| b.is(register, identity.0.into())) as Choice).collect()
}

/// Identities of the other end, in a match that differs from that of the same identities as peers: a packet satisfies one clause
/// of a conjunction by one flow (tried), and these two clauses may name the same identity. What is matched
/// besides is true of every packet that gets here.
fn among(lane: &'static Lane, wanted: &[IdentityNumber]) -> Vec<Choice> {
    let (register, value) = match lane.local {
        Side::Source => (&register::SOURCE, Source::Pod as u128),
        Side::Destination => (&register::DESTINATION, Destination::Pod as u128),
    };
    let choices = identities(lane.remote, wanted).into_iter();
    choices.map(|choice| Box::new(move |b| choice(b).is(register, value)) as Choice).collect()
}

fn other_end(side: Side, peers: &Peers) -> Vec<Choice> {
    let mut choices = identities(side, &peers.identities);
    for range in peers.blocks.iter().flat_map(without_exceptions) {
        choices.push(Box::new(move |b| b.net(side, range)));
    }
    choices
}

fn choices(service: Service, ports: Ports, lane: &'static Lane) -> Vec<Choice> {
    let mut choices: Vec<Choice> = Vec::new();
    match service {
        Service::Protocol(protocol) => {
            for family in IP_FAMILIES {
                choices.push(Box::new(move |b| {
                    let b = b.field(Field::EthType, family).field(Field::IpProto, number(protocol));
                    if ports == Ports::Source { b.is(&SCTP_REPLY, 1) } else { b }
                }));
            }
        }
        Service::Ports { protocol, first, last } => {
            for family in IP_FAMILIES {
                for (value, mask) in ports::masks(first, last) {
                    choices.push(Box::new(move |b| {
                        let b = b.field(Field::EthType, family).field(Field::IpProto, number(protocol));
                        let b = match ports {
                            Ports::Destination => b.is(lane.port_rules, 1),
                            Ports::Source => b.is(&SCTP_REPLY, 1),
                        };
                        b.masked(port_field(protocol, ports), value, mask)
                    }));
                }
            }
        }
        Service::Icmp { v6, kind, code } => choices.push(Box::new(move |b| icmp(b, v6, kind, code))),
    }
    choices
}

fn icmp(builder: Builder, v6: bool, kind: Option<u8>, code: Option<u8>) -> Builder {
    let (family, protocol, kinds, codes) = if v6 {
        (IPV6, ICMPV6, Field::Icmpv6Type, Field::Icmpv6Code)
    } else {
        (IPV4, 1, Field::Icmpv4Type, Field::Icmpv4Code)
    };
    let builder = builder.field(Field::EthType, family).field(Field::IpProto, protocol);
    let builder = kind.into_iter().fold(builder, |b, kind| b.field(kinds, kind));
    code.into_iter().fold(builder, |b, code| b.field(codes, code))
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => SCTP,
    }
}

fn port_field(protocol: Protocol, ports: Ports) -> Field {
    match (protocol, ports) {
        (Protocol::Tcp, _) => Field::TcpDst,
        (Protocol::Udp, _) => Field::UdpDst,
        (Protocol::Sctp, Ports::Destination) => Field::SctpDst,
        (Protocol::Sctp, Ports::Source) => Field::SctpSrc,
    }
}

/// The ranges that cover a block but none of its exceptions.
pub(crate) fn without_exceptions(block: &IpBlock) -> Vec<IpNet> {
    let mut ranges = vec![block.cidr.trunc()];
    for hole in &block.except {
        ranges = ranges.into_iter().flat_map(|range| subtract(range, hole.trunc())).collect();
    }
    ranges
}

fn subtract(range: IpNet, hole: IpNet) -> Vec<IpNet> {
    if hole.contains(&range) {
        return Vec::new();
    }
    if !range.contains(&hole) {
        return vec![range];
    }
    // Halve the range until the hole is one half; the other halves stay.
    (range.prefix_len()..hole.prefix_len()).map(|length| sibling(hole, length + 1)).collect()
}

/// The other half of the pair of ranges of this length in which `inside` lies.
fn sibling(inside: IpNet, length: u8) -> IpNet {
    let valid = "the length is at most the hole's";
    match inside.addr() {
        IpAddr::V4(address) => {
            let flipped = u32::from(address) ^ (1 << (32 - length));
            IpNet::V4(Ipv4Net::new(flipped.into(), length).expect(valid).trunc())
        }
        IpAddr::V6(address) => {
            let flipped = u128::from(address) ^ (1 << (128 - length));
            IpNet::V6(Ipv6Net::new(flipped.into(), length).expect(valid).trunc())
        }
    }
}
