//! The pod's half: the veth pair, and everything on its end in the pod. Runs inside the pod's namespace.
//!
//! The node's end is made in the node's namespace in the same request and stays down: nothing that the pod sends reaches the node
//! before the agent has guarded that end. So everything here is set on a link without carrier, which the kernel allows.

#![allow(clippy::disallowed_methods, reason = "a wrapper: settings of the pod's interface")]

use std::io;
use std::net::IpAddr;

use apis::cni::{MacAddress, Plan};
use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::namespace::Namespace;
use crate::netlink::Socket;
use crate::offload;

/// A step that the kernel refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InterfaceError {
    /// The name is taken.
    #[error("interface {0} exists in the pod already; the runtime has to send DEL before another ADD")]
    Exists(String),
    /// The link that has the name is not ours to remove.
    #[error("interface {name} is {kind}, not a veth: it was not made by this plugin and is left alone")]
    NotOurs {
        /// Its name.
        name: String,
        /// What the kernel calls it.
        kind: String,
    },
    /// The kernel said no.
    #[error("cannot {step}: {source}")]
    Refused {
        /// What was to be done, with its object.
        step: String,
        /// Why not.
        source: io::Error,
    },
}

/// Makes the pod's interface as planned; its peer appears in `node`. On failure nothing is left of either.
pub(crate) fn make(plan: &Plan, interface: &str, node: &Namespace) -> Result<(), InterfaceError> {
    let mut socket = open_socket()?;
    if link(&mut socket, interface)?.is_some() {
        return Err(InterfaceError::Exists(interface.to_owned()));
    }
    attempt(
        || format!("make the veth pair {interface} (pod) and {} (node)", plan.host_interface),
        socket.create(veth(plan, interface, node)),
    )?;
    furnish(&mut socket, plan, interface).inspect_err(|_| {
        // The first error is the one to tell; the link, if it outlives this, goes with its namespace or with DEL.
        let _ = remove(interface);
    })
}

/// Removes the pod's interface, and with it the node's end. False when there was none.
pub(crate) fn remove(interface: &str) -> Result<bool, InterfaceError> {
    let mut socket = open_socket()?;
    let Some(found) = link(&mut socket, interface)? else { return Ok(false) };
    match kind(&found) {
        Some(InfoKind::Veth) => {}
        other => {
            let kind = other.map_or_else(|| "a device of the host".to_owned(), |kind| format!("of kind {kind}"));
            return Err(InterfaceError::NotOurs { name: interface.to_owned(), kind });
        }
    }
    let mut message = LinkMessage::default();
    message.header.index = found.header.index;
    match socket.change(RouteNetlinkMessage::DelLink(message)) {
        // Gone between the question and the deletion: its peer's namespace ended, or the agent was faster.
        Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(false),
        done => attempt(|| format!("remove interface {interface}"), done).map(|()| true),
    }
}

fn furnish(socket: &mut Socket, plan: &Plan, interface: &str) -> Result<(), InterfaceError> {
    let made = link(socket, interface)?.ok_or_else(|| InterfaceError::Refused {
        step: format!("find the interface {interface} just made"),
        source: io::Error::from(io::ErrorKind::NotFound),
    })?;
    let index = made.header.index;
    if !plan.transmit_checksum_offload {
        attempt(
            || format!("turn transmit checksum offload of {interface} off"),
            offload::turn_off_transmit_checksum(interface),
        )?;
    }
    if plan.addresses.iter().any(|planned| planned.address.addr().is_ipv6()) {
        for (setting, value) in [("disable_ipv6", "0"), ("accept_dad", "0"), ("accept_ra", "0")] {
            let path = format!("/proc/sys/net/ipv6/conf/{interface}/{setting}");
            attempt(|| format!("write {value} to {path}"), std::fs::write(&path, value))?;
            fault::point("plugin.sysctl.written");
        }
    }
    for planned in &plan.addresses {
        attempt(
            || format!("add address {} to {interface}", planned.address),
            socket.create(address(index, planned.address)),
        )?;
    }
    attempt(|| format!("bring {interface} up"), socket.change(up(index)))?;
    for planned in &plan.addresses {
        attempt(
            || format!("add neighbour {} ({}) on {interface}", planned.gateway, planned.gateway_mac),
            socket.create(neighbour(index, planned.gateway, planned.gateway_mac)),
        )?;
        let gateway = IpNet::from(planned.gateway);
        attempt(
            || format!("add the on-link route to {gateway} on {interface}"),
            socket.create(route(index, gateway, None)),
        )?;
    }
    for planned in &plan.routes {
        attempt(
            || format!("add route {} via {} on {interface}", planned.destination, planned.gateway),
            socket.create(route(index, planned.destination, Some(planned.gateway))),
        )?;
    }
    Ok(())
}

pub(crate) fn open_socket() -> Result<Socket, InterfaceError> {
    attempt(|| "open a netlink socket".to_owned(), Socket::open())
}

pub(crate) fn link(socket: &mut Socket, name: &str) -> Result<Option<LinkMessage>, InterfaceError> {
    attempt(|| format!("look for interface {name}"), socket.link(name))
}

pub(crate) fn attempt<T>(step: impl FnOnce() -> String, done: io::Result<T>) -> Result<T, InterfaceError> {
    done.map_err(|source| InterfaceError::Refused { step: step(), source })
}

fn kind(link: &LinkMessage) -> Option<InfoKind> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().find_map(|info| match info {
            LinkInfo::Kind(kind) => Some(kind.clone()),
            _ => None,
        }),
        _ => None,
    })
}

fn veth(plan: &Plan, interface: &str, node: &Namespace) -> RouteNetlinkMessage {
    let mut peer = LinkMessage::default();
    peer.attributes.push(LinkAttribute::IfName(plan.host_interface.clone()));
    peer.attributes.push(LinkAttribute::Mtu(plan.mtu));
    peer.attributes.push(LinkAttribute::NetNsFd(node.descriptor()));
    let mut pair = LinkMessage::default();
    pair.attributes.push(LinkAttribute::IfName(interface.to_owned()));
    pair.attributes.push(LinkAttribute::Mtu(plan.mtu));
    pair.attributes.push(LinkAttribute::Address(plan.mac.0.to_vec()));
    pair.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    RouteNetlinkMessage::NewLink(pair)
}

fn up(index: u32) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    RouteNetlinkMessage::SetLink(message)
}

fn address(index: u32, address: IpNet) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr());
    message.header.prefix_len = address.prefix_len();
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(address.addr()));
    message.attributes.push(AddressAttribute::Address(address.addr()));
    if address.addr().is_ipv6() {
        // The switch knows who has the address; asking the wire first would cost the pod its first second.
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    RouteNetlinkMessage::NewAddress(message)
}

fn neighbour(index: u32, gateway: IpAddr, mac: MacAddress) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(gateway);
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::Destination(match gateway {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    }));
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    RouteNetlinkMessage::NewNeighbour(message)
}

/// A route through the interface; without a gateway its destination is on the link.
fn route(index: u32, destination: IpNet, gateway: Option<IpAddr>) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination.addr());
    message.header.destination_prefix_length = destination.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    // IPv6 has no scopes and ignores it.
    message.header.scope = if gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
    if destination.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(route_address(destination.network())));
    }
    if let Some(gateway) = gateway {
        message.attributes.push(RouteAttribute::Gateway(route_address(gateway)));
    }
    message.attributes.push(RouteAttribute::Oif(index));
    RouteNetlinkMessage::NewRoute(message)
}

fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
