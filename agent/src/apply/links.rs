//! The gateway interface, the uplink's facts, and the host ends of pods' veth pairs, by netlink.
//!
//! The gateway interface itself is an internal port that OVSDB makes; here it gets its address, MTU and settings, by difference
//! from what it has. Whatever is on it belongs to Ferrant; of other links only the named one is touched.

#![allow(clippy::disallowed_methods, reason = "a wrapper: links and addresses, by netlink")]

use std::net::IpAddr;

use apis::cni::MacAddress;
use futures::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::{Handle, LinkUnspec};

use super::sysctl::{Sysctl, SysctlError};

/// The gateway interface as it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayLink {
    /// Its name.
    pub name: String,
    /// Its link-layer address.
    pub mac: MacAddress,
    /// Its MTU in bytes: that of pods.
    pub mtu: u32,
    /// Its addresses; each gets a host prefix, and what is reached through it is the routes' business.
    pub addresses: Vec<IpAddr>,
    /// Settings, its own and the node's that routing needs, in the order they are written.
    pub sysctls: Vec<Sysctl>,
}

/// The interface with the node's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Which of the node's addresses it has.
    pub address: IpAddr,
}

/// Why a link is not as it has to be.
#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    /// There is none of that name.
    #[error(
        "interface {0} does not exist; the gateway interface and ports are made by OVSDB, so look at ovs-vswitchd first"
    )]
    Missing(String),
    /// A name that is a device of somebody else's.
    #[error("interface {0} is not a veth and is left alone")]
    NotOurs(String),
    /// The kernel said no.
    #[error("cannot {step}: {source}")]
    Refused {
        /// What was to be done, with its object.
        step: String,
        /// What netlink answered.
        source: rtnetlink::Error,
    },
    /// No netlink socket.
    #[error("cannot open a netlink socket: {0}")]
    Socket(#[from] std::io::Error),
    /// A setting.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
}

/// How packets travel between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tunnel {
    /// RFC 8926.
    Geneve,
    /// RFC 7348.
    Vxlan,
    /// RFC 2784 with the key of RFC 2890, carrying Ethernet.
    Gre,
}

impl Tunnel {
    /// What a tunnel packet has on top of the inner IP packet, in bytes: outer IP, tunnel header, inner Ethernet.
    pub fn overhead(self, endpoint: IpAddr) -> u32 {
        const ETHERNET: u32 = 14;
        const UDP: u32 = 8;
        let outer = if endpoint.is_ipv4() { 20 } else { 40 };
        outer
            + ETHERNET
            + match self {
                Tunnel::Geneve | Tunnel::Vxlan => UDP + 8,
                // Four bytes and the key's four, which `options:key=flow` always writes.
                Tunnel::Gre => 8,
            }
    }
}

/// The MTU of pods whose packets travel in such a tunnel over such an uplink.
pub fn pod_mtu(uplink_mtu: u32, tunnel: Tunnel, endpoint: IpAddr) -> u32 {
    uplink_mtu.saturating_sub(tunnel.overhead(endpoint))
}

/// A netlink connection to the network namespace of the calling thread, served by a task of the current runtime.
pub fn connect() -> Result<Handle, LinksError> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    Ok(handle)
}

/// The interface that has one of the node's addresses, the first address first.
pub async fn uplink(handle: &Handle, node_addresses: &[IpAddr]) -> Result<Option<Uplink>, LinksError> {
    let held = addresses(handle, None).await?;
    for address in node_addresses {
        let Some((index, _)) = held.iter().find(|(_, held)| held.addr() == *address) else { continue };
        let request = handle.link().get().match_index(*index);
        let link = step(request.execute().try_next().await, || format!("read the link with index {index}"))?;
        if let Some(link) = link {
            let mtu = mtu(&link).unwrap_or_default();
            return Ok(Some(Uplink { name: name(&link).unwrap_or_default(), index: *index, mtu, address: *address }));
        }
    }
    Ok(None)
}

/// Whether there is an interface of this name.
pub async fn exists(handle: &Handle, interface: &str) -> Result<bool, LinksError> {
    Ok(find(handle, interface).await?.is_some())
}

/// Removes the node's end of a pod's veth, and with it the pod's end. False when there was none.
pub async fn remove(handle: &Handle, interface: &str) -> Result<bool, LinksError> {
    let Some(link) = find(handle, interface).await? else { return Ok(false) };
    if !is_veth(&link) {
        return Err(LinksError::NotOurs(interface.to_owned()));
    }
    let removed = handle.link().del(link.header.index).execute().await;
    fault::point("links.remove.done");
    match removed {
        // The pod's namespace ended between the question and the deletion.
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -nix::libc::ENODEV => Ok(false),
        done => step(done, || format!("remove {interface}")).map(|()| true),
    }
}

/// Makes the gateway interface as it has to be; says what was changed.
pub async fn reconcile(handle: &Handle, desired: &GatewayLink) -> Result<Vec<String>, LinksError> {
    let mut changes = Vec::new();
    let link = existing(handle, &desired.name).await?;
    for sysctl in &desired.sysctls {
        if sysctl.apply()? {
            changes.push(format!("sysctl {} = {}", sysctl.path, sysctl.value));
        }
    }
    reconcile_link(handle, desired, &link, &mut changes).await?;
    reconcile_addresses(handle, desired, link.header.index, &mut changes).await?;
    Ok(changes)
}

async fn reconcile_link(
    handle: &Handle,
    desired: &GatewayLink,
    link: &LinkMessage,
    changes: &mut Vec<String>,
) -> Result<(), LinksError> {
    let GatewayLink { name, mac, mtu: wanted_mtu, .. } = desired;
    let index = link.header.index;
    let mac_now = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(address) => Some(address.as_slice()),
        _ => None,
    });
    let mut steps = Vec::new();
    if mac_now != Some(&mac.0) {
        steps.push((format!("give {name} the MAC {mac}"), LinkUnspec::new_with_index(index).address(mac.0.to_vec())));
    }
    if mtu(link) != Some(*wanted_mtu) {
        steps.push((format!("give {name} the MTU {wanted_mtu}"), LinkUnspec::new_with_index(index).mtu(*wanted_mtu)));
    }
    if !link.header.flags.contains(LinkFlags::Up) {
        steps.push((format!("bring {name} up"), LinkUnspec::new_with_index(index).up()));
    }
    for (what, message) in steps {
        step(handle.link().set(message.build()).execute().await, || what.clone())?;
        fault::point("links.gateway.set");
        changes.push(what);
    }
    Ok(())
}

async fn reconcile_addresses(
    handle: &Handle,
    desired: &GatewayLink,
    index: u32,
    changes: &mut Vec<String>,
) -> Result<(), LinksError> {
    let name = &desired.name;
    let wanted = desired.addresses.iter().copied().map(IpNet::from).collect::<Vec<_>>();
    let held = addresses(handle, Some(index)).await?;
    for (_, prefix) in held.iter().filter(|(_, prefix)| !wanted.contains(prefix)) {
        let what = format!("remove address {prefix} from {name}");
        step(handle.address().del(address_message(index, *prefix)).execute().await, || what.clone())?;
        fault::point("links.address.removed");
        changes.push(what);
    }
    for prefix in wanted.iter().filter(|prefix| !held.iter().any(|(_, held)| held == *prefix)) {
        let what = format!("add address {prefix} to {name}");
        let mut request = handle.address().add(index, prefix.addr(), prefix.prefix_len());
        *request.message_mut() = address_message(index, *prefix);
        step(request.execute().await, || what.clone())?;
        fault::point("links.address.added");
        changes.push(what);
    }
    Ok(())
}

/// Addresses with the index of their interface; without the link-local ones of IPv6, which the kernel makes.
async fn addresses(handle: &Handle, interface: Option<u32>) -> Result<Vec<(u32, IpNet)>, LinksError> {
    let dump = handle.address().get().execute().try_collect::<Vec<AddressMessage>>().await;
    let dump = step(dump, || "list addresses".to_owned())?;
    let of_interface = dump.into_iter().filter(|message| interface.is_none_or(|index| message.header.index == index));
    Ok(of_interface.filter_map(|message| prefix(&message).map(|prefix| (message.header.index, prefix))).collect())
}

fn prefix(message: &AddressMessage) -> Option<IpNet> {
    // IFA_LOCAL is the interface's own where a peer has another (IPv4); IPv6 has IFA_ADDRESS alone.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })?;
    let made_by_kernel = address.is_ipv6() && message.header.scope == AddressScope::Link;
    if made_by_kernel { None } else { IpNet::new(address, message.header.prefix_len).ok() }
}

fn address_message(index: u32, prefix: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    let ipv6 = prefix.addr().is_ipv6();
    message.header.family = if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.prefix_len = prefix.prefix_len();
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(prefix.addr()));
    message.attributes.push(AddressAttribute::Address(prefix.addr()));
    if ipv6 {
        // The gateway address is this node's alone; asking the wire first would cost the first second.
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    message
}

/// The index of an interface that has to be there.
pub(super) async fn index(handle: &Handle, interface: &str) -> Result<u32, LinksError> {
    existing(handle, interface).await.map(|link| link.header.index)
}

async fn existing(handle: &Handle, interface: &str) -> Result<LinkMessage, LinksError> {
    find(handle, interface).await?.ok_or_else(|| LinksError::Missing(interface.to_owned()))
}

async fn find(handle: &Handle, interface: &str) -> Result<Option<LinkMessage>, LinksError> {
    match handle.link().get().match_name(interface.to_owned()).execute().try_next().await {
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -nix::libc::ENODEV => Ok(None),
        found => step(found, || format!("look for interface {interface}")),
    }
}

fn is_veth(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.contains(&LinkInfo::Kind(InfoKind::Veth)),
        _ => false,
    })
}

pub(super) fn name(link: &LinkMessage) -> Option<String> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

fn mtu(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    })
}

fn step<T>(done: Result<T, rtnetlink::Error>, what: impl FnOnce() -> String) -> Result<T, LinksError> {
    done.map_err(|source| LinksError::Refused { step: what(), source })
}

#[cfg(test)]
mod tests {
    use super::{Tunnel, pod_mtu};

    #[test]
    fn a_pod_gets_what_the_tunnel_leaves() {
        let ipv4 = "172.18.0.11".parse().expect("an address");
        let ipv6 = "fd00:18::11".parse().expect("an address");
        let mtus = [Tunnel::Geneve, Tunnel::Vxlan, Tunnel::Gre]
            .map(|tunnel| (pod_mtu(1500, tunnel, ipv4), pod_mtu(1500, tunnel, ipv6)));
        assert_eq!(mtus, [(1450, 1430), (1450, 1430), (1458, 1438)]);
    }
}
