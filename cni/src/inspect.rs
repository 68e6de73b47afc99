//! What of the pod's half is not as it was made. Runs inside the pod's namespace and changes nothing.
//!
//! Only what ADD makes is looked for: addresses, routes and neighbours that others have added are theirs.

use std::net::IpAddr;

use apis::cni::Plan;
use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::interface::{InterfaceError, attempt, link, open_socket};

/// In words, what is missing or different.
pub(crate) fn differences(plan: &Plan, interface: &str) -> Result<Vec<String>, InterfaceError> {
    let mut socket = open_socket()?;
    let Some(found) = link(&mut socket, interface)? else {
        return Ok(vec![format!("interface {interface} is gone")]);
    };
    let index = found.header.index;
    let mut wrong = of_link(plan, &found);
    let mut list = |what: &str, message| attempt(|| format!("list {what}"), socket.list(message));
    let addresses = list("addresses", RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let neighbours = list("neighbours", RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()))?;
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        routes.extend(list("routes", RouteNetlinkMessage::GetRoute(message))?);
    }
    for planned in &plan.addresses {
        if !addresses.iter().any(|message| has_address(message, index, planned.address)) {
            wrong.push(format!("address {} is gone", planned.address));
        }
        if !neighbours.iter().any(|message| has_neighbour(message, index, planned.gateway, &planned.gateway_mac.0)) {
            wrong.push(format!(
                "the gateway {} is not a neighbour with the MAC {}",
                planned.gateway, planned.gateway_mac
            ));
        }
    }
    for planned in &plan.routes {
        if !routes.iter().any(|message| has_route(message, planned.destination, planned.gateway)) {
            wrong.push(format!("the route to {} via {} is gone", planned.destination, planned.gateway));
        }
    }
    Ok(wrong)
}

fn of_link(plan: &Plan, link: &LinkMessage) -> Vec<String> {
    let mut wrong = Vec::new();
    if !link.header.flags.contains(LinkFlags::Up) {
        wrong.push("it is down".to_owned());
    } else if !link.header.flags.contains(LinkFlags::LowerUp) {
        wrong.push("its end on the node is gone or down".to_owned());
    }
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Address(mac) if *mac != plan.mac.0 => wrong.push(format!("its MAC is not {}", plan.mac)),
            LinkAttribute::Mtu(mtu) if *mtu > plan.mtu => {
                wrong.push(format!("its MTU is {mtu}, and no more than {} bytes fit through the tunnel", plan.mtu));
            }
            _ => {}
        }
    }
    wrong
}

fn has_address(message: &RouteNetlinkMessage, interface: u32, address: IpNet) -> bool {
    let RouteNetlinkMessage::NewAddress(found) = message else { return false };
    let same = |attribute: &AddressAttribute| match attribute {
        AddressAttribute::Local(found) | AddressAttribute::Address(found) => *found == address.addr(),
        _ => false,
    };
    found.header.index == interface
        && found.header.prefix_len == address.prefix_len()
        && found.attributes.iter().any(same)
}

fn has_neighbour(message: &RouteNetlinkMessage, interface: u32, gateway: IpAddr, mac: &[u8]) -> bool {
    let RouteNetlinkMessage::NewNeighbour(found) = message else { return false };
    let (mut of_gateway, mut same_mac) = (false, false);
    for attribute in &found.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
                of_gateway = IpAddr::V4(*address) == gateway;
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
                of_gateway = IpAddr::V6(*address) == gateway;
            }
            NeighbourAttribute::LinkLayerAddress(address) => same_mac = address == mac,
            _ => {}
        }
    }
    found.header.ifindex == interface && found.header.state == NeighbourState::Permanent && of_gateway && same_mac
}

fn has_route(message: &RouteNetlinkMessage, destination: IpNet, gateway: IpAddr) -> bool {
    let RouteNetlinkMessage::NewRoute(found) = message else { return false };
    let address = |address: &RouteAddress| match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    };
    // A default route says no destination.
    let (mut to, mut via) = (destination.prefix_len() == 0, false);
    for attribute in &found.attributes {
        match attribute {
            RouteAttribute::Destination(found) => to = address(found) == Some(destination.network()),
            RouteAttribute::Gateway(found) => via = address(found) == Some(gateway),
            _ => {}
        }
    }
    found.header.table == RouteHeader::RT_TABLE_MAIN
        && found.header.destination_prefix_length == destination.prefix_len()
        && to
        && via
}
