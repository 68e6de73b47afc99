//! Routes, rules and neighbours through which the node reaches pods, by netlink and by difference.
//!
//! All pod ranges lie behind the gateway interface, and every packet to them gets one of two destination MACs, so that the
//! pipeline can tell what the node itself sends from what it forwards: locally made packets look their route up in table 100
//! (`ip rule iif lo`), whose next hop stands for "host origin"; all others use the main table, whose next hop stands for
//! "forwarded". The next hops exist nowhere: they are on-link with permanent neighbours, and the MAC is all they are for.
//!
//! What carries the protocol number [`PROTOCOL`] is Ferrant's and is removed when it is not wanted; nothing else is.

#![allow(clippy::disallowed_methods, reason = "a wrapper: routes, rules and neighbours, by netlink")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use apis::cni::MacAddress;
use futures::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::{Handle, IpVersion};

use super::links::{self, LinksError};

/// Ferrant's number among routing protocols (`rtm_protocol`, rtnetlink(7); 5 to 255 are free to choose).
pub const PROTOCOL: u8 = 173;
/// The routing table of what the node itself sends.
pub const HOST_ORIGIN_TABLE: u8 = 100;
/// The rule's priority: after the local table (0), before all usual ones.
pub const HOST_ORIGIN_RULE_PRIORITY: u32 = 100;
/// Destination MAC of packets that the node itself sends to pods.
pub const HOST_ORIGIN_MAC: MacAddress = MacAddress([0x0a, 0xfe, 0, 0, 0, 0x01]);
/// Destination MAC of packets that the node forwards to pods.
pub const FORWARD_MAC: MacAddress = MacAddress([0x0a, 0xfe, 0, 0, 0, 0x02]);

/// What has to lie behind the gateway interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    /// The gateway interface.
    pub gateway_interface: String,
    /// Pod CIDRs of this node and of all others.
    pub pod_cidrs: Vec<IpNet>,
}

/// Why routes are not as they have to be.
#[derive(Debug, thiserror::Error)]
pub enum RoutesError {
    /// The gateway interface.
    #[error(transparent)]
    Link(#[from] LinksError),
    /// The kernel said no.
    #[error("cannot {step}: {source}")]
    Refused {
        /// What was to be done, with its object.
        step: String,
        /// What netlink answered.
        source: rtnetlink::Error,
    },
}

/// A kind of traffic: its table and the next hops that stand for it.
struct Way {
    table: u8,
    ipv4: Ipv4Addr,
    ipv6: Ipv6Addr,
    mac: MacAddress,
}

const WAYS: [Way; 2] = [
    Way {
        table: HOST_ORIGIN_TABLE,
        ipv4: Ipv4Addr::new(169, 254, 169, 1),
        ipv6: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xfe, 1),
        mac: HOST_ORIGIN_MAC,
    },
    Way {
        table: RouteHeader::RT_TABLE_MAIN,
        ipv4: Ipv4Addr::new(169, 254, 169, 2),
        ipv6: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xfe, 2),
        mac: FORWARD_MAC,
    },
];

impl Way {
    fn next_hop(&self, ipv4: bool) -> IpAddr {
        if ipv4 { IpAddr::V4(self.ipv4) } else { IpAddr::V6(self.ipv6) }
    }
}

/// A route as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Route {
    table: u32,
    destination: IpNet,
    via: IpAddr,
    index: u32,
    onlink: bool,
}

/// Makes rules, neighbours and routes as they have to be; says what was changed.
pub async fn reconcile(handle: &Handle, desired: &Routes) -> Result<Vec<String>, RoutesError> {
    let index = links::index(handle, &desired.gateway_interface).await?;
    let mut changes = Vec::new();
    for ipv4 in [true, false] {
        let pod_cidrs = desired.pod_cidrs.iter().map(IpNet::trunc).filter(|cidr| cidr.addr().is_ipv4() == ipv4);
        let pod_cidrs = pod_cidrs.collect::<Vec<_>>();
        let mut pass = Pass { handle, index, interface: &desired.gateway_interface, ipv4, changes: &mut changes };
        // Next hops before the routes that use them, routes before the rule that leads to them.
        if !pod_cidrs.is_empty() {
            pass.neighbours().await?;
        }
        pass.routes(&pod_cidrs).await?;
        pass.rule(!pod_cidrs.is_empty()).await?;
    }
    Ok(changes)
}

/// One family's turn.
struct Pass<'a> {
    handle: &'a Handle,
    index: u32,
    interface: &'a str,
    ipv4: bool,
    changes: &'a mut Vec<String>,
}

impl Pass<'_> {
    fn family(&self) -> AddressFamily {
        if self.ipv4 { AddressFamily::Inet } else { AddressFamily::Inet6 }
    }

    fn family_name(&self) -> &'static str {
        if self.ipv4 { "IPv4" } else { "IPv6" }
    }

    async fn neighbours(&mut self) -> Result<(), RoutesError> {
        let dump = self.handle.neighbours().get().set_address_family(self.family()).execute();
        let known = step(dump.try_collect::<Vec<_>>().await, || format!("list {} neighbours", self.family_name()))?;
        for way in &WAYS {
            let next_hop = way.next_hop(self.ipv4);
            if known.iter().any(|neighbour| is_neighbour(neighbour, self.index, next_hop, way.mac)) {
                continue;
            }
            let what = format!("set neighbour {next_hop} ({}) on {}", way.mac, self.interface);
            let request = self.handle.neighbours().add(self.index, next_hop).link_layer_address(&way.mac.0).replace();
            step(request.execute().await, || what.clone())?;
            fault::point("routes.neighbour.set");
            self.changes.push(what);
        }
        Ok(())
    }

    async fn routes(&mut self, pod_cidrs: &[IpNet]) -> Result<(), RoutesError> {
        let wanted = |route: &Route| {
            pod_cidrs.contains(&route.destination)
                && WAYS.iter().any(|way| *route == self.route(way, route.destination))
        };
        let (mut kept, mut surplus) = (Vec::new(), Vec::new());
        for message in self.own_routes().await? {
            match parse(&message) {
                Some(route) if wanted(&route) && !kept.contains(&route) => kept.push(route),
                other => surplus.push((other, message)),
            }
        }
        for (route, message) in surplus {
            let shown = route.map_or_else(|| format!("{message:?}"), |route| route.to_string());
            let what = format!("remove route {shown}");
            match self.handle.route().del(message).execute().await {
                // The interface it went through took it along.
                Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -nix::libc::ESRCH => {}
                done => step(done, || what.clone())?,
            }
            fault::point("routes.route.removed");
            self.changes.push(what);
        }
        for destination in pod_cidrs {
            for way in &WAYS {
                let route = self.route(way, *destination);
                if kept.contains(&route) {
                    continue;
                }
                let what = format!("add route {route} on {}", self.interface);
                let request = self.handle.route().add(message(&route)).replace();
                step(request.execute().await, || what.clone())?;
                fault::point("routes.route.added");
                self.changes.push(what);
            }
        }
        Ok(())
    }

    async fn own_routes(&self) -> Result<Vec<RouteMessage>, RoutesError> {
        let mut question = RouteMessage::default();
        question.header.address_family = self.family();
        let dump = self.handle.route().get(question).execute().try_collect::<Vec<RouteMessage>>().await;
        let mut routes = step(dump, || format!("list {} routes", self.family_name()))?;
        // A kernel without IPv6 answers the question for its routes with those of all families.
        routes.retain(|route| {
            u8::from(route.header.protocol) == PROTOCOL && route.header.address_family == self.family()
        });
        Ok(routes)
    }

    async fn rule(&mut self, wanted: bool) -> Result<(), RoutesError> {
        let version = if self.ipv4 { IpVersion::V4 } else { IpVersion::V6 };
        let dump = self.handle.rule().get(version).execute().try_collect::<Vec<RuleMessage>>().await;
        let rules = match dump {
            // A kernel without IPv6 has none of its rules.
            Err(rtnetlink::Error::NetlinkError(error)) if !wanted && error.raw_code() == -nix::libc::EAFNOSUPPORT => {
                return Ok(());
            }
            dump => step(dump, || format!("list {} rules", self.family_name()))?,
        };
        let ours = rule_message(self.family());
        let mut found = false;
        let own = |rule: &RuleMessage| is_own_rule(rule) && rule.header.family == ours.header.family;
        for rule in rules.into_iter().filter(own) {
            if wanted && !found && is_same_rule(&rule, &ours) {
                found = true;
                continue;
            }
            let what = format!("remove {} rule {:?}", self.family_name(), rule.attributes);
            step(self.handle.rule().del(rule).execute().await, || what.clone())?;
            fault::point("routes.rule.removed");
            self.changes.push(what);
        }
        if wanted && !found {
            let what = format!("add {} rule iif lo lookup {HOST_ORIGIN_TABLE}", self.family_name());
            let mut request = self.handle.rule().add();
            *request.message_mut() = ours;
            step(request.execute().await, || what.clone())?;
            fault::point("routes.rule.added");
            self.changes.push(what);
        }
        Ok(())
    }

    fn route(&self, way: &Way, destination: IpNet) -> Route {
        let via = way.next_hop(self.ipv4);
        Route { table: u32::from(way.table), destination, via, index: self.index, onlink: true }
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Route { table, destination, via, onlink, .. } = self;
        write!(formatter, "{destination} via {via}{} table {table}", if *onlink { " onlink" } else { "" })
    }
}

/// A dumped route, where it has the shape of ours: one next hop, unicast, no metric of its own.
fn parse(message: &RouteMessage) -> Option<Route> {
    let ipv4 = message.header.address_family == AddressFamily::Inet;
    let unspecified: IpAddr = if ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let mut table = u32::from(message.header.table);
    let (mut destination, mut via, mut index, mut metric) = (unspecified, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Destination(address) => destination = ip(address)?,
            RouteAttribute::Gateway(address) => via = ip(address),
            RouteAttribute::Oif(number) => index = Some(*number),
            RouteAttribute::Priority(number) => metric = Some(*number),
            RouteAttribute::PrefSource(_) | RouteAttribute::MultiPath(_) | RouteAttribute::Source(_) => return None,
            _ => {}
        }
    }
    // What the kernel gives a route without one (IP6_RT_PRIO_USER).
    let usual_metric = if ipv4 { None } else { Some(1024) };
    if message.header.kind != RouteType::Unicast || message.header.tos != 0 || metric != usual_metric {
        return None;
    }
    Some(Route {
        table,
        destination: IpNet::new(destination, message.header.destination_prefix_length).ok()?,
        via: via?,
        index: index?,
        onlink: message.header.flags.contains(RouteFlags::Onlink),
    })
}

fn message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let ipv4 = route.destination.addr().is_ipv4();
    message.header.address_family = if ipv4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.destination_prefix_length = route.destination.prefix_len();
    message.header.protocol = RouteProtocol::from(PROTOCOL);
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.header.flags = RouteFlags::Onlink;
    message.attributes = vec![
        RouteAttribute::Table(route.table),
        RouteAttribute::Destination(route_address(route.destination.addr())),
        RouteAttribute::Gateway(route_address(route.via)),
        RouteAttribute::Oif(route.index),
    ];
    message
}

fn rule_message(family: AddressFamily) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family;
    message.header.table = HOST_ORIGIN_TABLE;
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Priority(HOST_ORIGIN_RULE_PRIORITY),
        RuleAttribute::Iifname("lo".to_owned()),
        RuleAttribute::Protocol(RouteProtocol::from(PROTOCOL)),
    ];
    message
}

fn is_own_rule(rule: &RuleMessage) -> bool {
    rule.attributes.contains(&RuleAttribute::Protocol(RouteProtocol::from(PROTOCOL)))
}

/// Whether a dumped rule says what ours says and nothing that narrows it.
fn is_same_rule(rule: &RuleMessage, ours: &RuleMessage) -> bool {
    let narrows = |attribute: &RuleAttribute| {
        !ours.attributes.contains(attribute)
            && !matches!(attribute, RuleAttribute::Table(_) | RuleAttribute::SuppressPrefixLen(u32::MAX))
    };
    rule.header.table == ours.header.table
        && rule.header.action == ours.header.action
        && rule.header.src_len == 0
        && rule.header.dst_len == 0
        && rule.header.tos == 0
        && rule.header.flags == ours.header.flags
        && ours.attributes.iter().all(|attribute| rule.attributes.contains(attribute))
        && !rule.attributes.iter().any(narrows)
}

fn is_neighbour(neighbour: &NeighbourMessage, index: u32, next_hop: IpAddr, mac: MacAddress) -> bool {
    let destination = match next_hop {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    };
    neighbour.header.ifindex == index
        && neighbour.header.state == NeighbourState::Permanent
        && neighbour.attributes.contains(&NeighbourAttribute::Destination(destination))
        && neighbour.attributes.contains(&NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()))
}

pub(super) fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

pub(super) fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

fn step<T>(done: Result<T, rtnetlink::Error>, what: impl FnOnce() -> String) -> Result<T, RoutesError> {
    done.map_err(|source| RoutesError::Refused { step: what(), source })
}
