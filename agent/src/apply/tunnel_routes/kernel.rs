//! How the node's own kernel sends to other nodes, by netlink. Nothing is changed here.

#![allow(clippy::disallowed_methods, reason = "a wrapper: how the node itself reaches other nodes, by netlink")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use futures::TryStreamExt;
use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteType};

use super::TunnelRouteError;
use super::difference::Way;
use crate::apply::{links, routes};

/// What the kernel says.
#[derive(Debug)]
pub(super) struct Kernel {
    /// The way to each peer that it would send to.
    pub(super) ways: BTreeMap<IpAddr, Way>,
    /// The devices of these ways.
    pub(super) devices: Vec<Device>,
    /// Peers that it would not send to, and why.
    pub(super) without_way: Vec<(IpAddr, String)>,
}

/// A device through which a peer is reached.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) name: String,
    /// The kernel's number: another number is another device.
    pub(super) index: u32,
    /// All addresses, also those that the kernel made.
    pub(super) addresses: Vec<IpAddr>,
}

/// Asks for the way to each peer.
pub(super) async fn read(handle: &Handle, peers: &BTreeSet<IpAddr>) -> Result<Kernel, TunnelRouteError> {
    let (mut hops, mut without_way) = (Vec::new(), Vec::new());
    for peer in peers {
        match next_hop(handle, *peer).await {
            Ok(hop) => hops.push((*peer, hop)),
            Err(reason) => without_way.push((*peer, reason)),
        }
    }
    let dump = handle.address().get().execute().try_collect::<Vec<AddressMessage>>().await;
    let addresses =
        dump.map_err(|source| TunnelRouteError::Kernel { step: "list the node's addresses".to_owned(), source })?;
    let mut devices: BTreeMap<u32, Device> = BTreeMap::new();
    let mut ways = BTreeMap::new();
    for (peer, NextHop { index, gateway }) in hops {
        if !devices.contains_key(&index)
            && let Some(name) = name(handle, index).await?
        {
            let of_device = addresses.iter().filter(|message| message.header.index == index);
            let addresses = of_device.filter_map(address).collect();
            devices.insert(index, Device { name, index, addresses });
        }
        match devices.get(&index) {
            Some(device) => _ = ways.insert(peer, Way { device: device.name.clone(), gateway }),
            None => without_way.push((peer, "the interface on the way has just gone".to_owned())),
        }
    }
    Ok(Kernel { ways, devices: devices.into_values().collect(), without_way })
}

struct NextHop {
    index: u32,
    gateway: Option<IpAddr>,
}

/// What `ip route get` says, or why there is no way.
async fn next_hop(handle: &Handle, peer: IpAddr) -> Result<NextHop, String> {
    let mut question = RouteMessage::default();
    question.header.address_family = if peer.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    question.header.destination_prefix_length = if peer.is_ipv4() { 32 } else { 128 };
    question.attributes.push(RouteAttribute::Destination(routes::route_address(peer)));
    let answer = handle.route().get(question).execute().try_next().await.map_err(|error| error.to_string())?;
    parse(&answer.ok_or("the kernel gave no answer")?).map_err(str::to_owned)
}

fn parse(message: &RouteMessage) -> Result<NextHop, &'static str> {
    if message.header.kind != RouteType::Unicast {
        return Err("the address is this node's own, or packets to it are not to be sent");
    }
    let (mut index, mut gateway) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(number) => index = Some(*number),
            RouteAttribute::Gateway(address) => gateway = routes::ip(address),
            RouteAttribute::Via(_) => {
                return Err("its gateway is of the other address family, which the switch cannot do");
            }
            _ => {}
        }
    }
    Ok(NextHop { index: index.ok_or("the route names no interface")?, gateway })
}

async fn name(handle: &Handle, index: u32) -> Result<Option<String>, TunnelRouteError> {
    match handle.link().get().match_index(index).execute().try_next().await {
        Ok(link) => Ok(link.as_ref().and_then(links::name)),
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -nix::libc::ENODEV => Ok(None),
        Err(source) => Err(TunnelRouteError::Kernel { step: format!("read the link with index {index}"), source }),
    }
}

fn address(message: &AddressMessage) -> Option<IpAddr> {
    let attributes = || message.attributes.iter();
    // IFA_LOCAL is the interface's own where a peer has another (IPv4); IPv6 has IFA_ADDRESS alone.
    let local = attributes().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        attributes().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}
