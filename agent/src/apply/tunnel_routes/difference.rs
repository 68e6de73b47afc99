//! What vswitchd's routes are against what they should be: text to values, two sets of values to commands.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// How a packet to somewhere leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The bridge's own interface, as the kernel names it.
    pub(super) device: String,
    /// Who takes it on, where the destination is not on the wire.
    pub(super) gateway: Option<IpAddr>,
}

/// A route that somebody gave the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    destination: IpNet,
    way: Way,
    /// The node's address in tunnel packets that leave by it, as of when it was given.
    source: Option<IpAddr>,
}

/// How it should be.
#[derive(Debug)]
pub(super) struct Desired<'a> {
    /// The way to each peer.
    pub(super) ways: &'a BTreeMap<IpAddr, Way>,
    /// Peers that are none any more.
    pub(super) gone: &'a BTreeSet<IpAddr>,
    /// What addresses the devices of the ways have.
    pub(super) addresses: BTreeMap<&'a str, &'a [IpAddr]>,
    /// Devices of which it is not known that the switch ends tunnels there: giving it any route by one tells it.
    pub(super) remade: BTreeSet<&'a str>,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A route is given, in the place of one to the same destination.
    Set(IpNet, Way),
    /// A route is taken away.
    Remove(IpNet),
}

impl Change {
    /// By what a route is given.
    pub(super) fn device(&self) -> Option<String> {
        match self {
            Self::Set(_, way) => Some(way.device.clone()),
            Self::Remove(_) => None,
        }
    }

    /// As the switch takes it.
    pub(super) fn command(&self) -> (&'static str, Vec<String>) {
        match self {
            Self::Set(destination, Way { device, gateway }) => {
                let gateway = gateway.iter().map(ToString::to_string);
                ("ovs/route/add", [destination.to_string(), device.clone()].into_iter().chain(gateway).collect())
            }
            Self::Remove(destination) => ("ovs/route/del", vec![destination.to_string()]),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (command, arguments) = self.command();
        write!(formatter, "{command} {}", arguments.join(" "))
    }
}

/// The routes that somebody gave, in the text of `ovs/route/show`. One that counts for marked packets only is none of a tunnel
/// of ours.
pub(super) fn found(text: &str) -> Vec<Found> {
    text.lines().filter_map(|line| line.trim().strip_prefix("User:")).filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Found> {
    let mut words = line.split_whitespace();
    let destination = words.next()?.parse().ok()?;
    let (mut device, mut gateway, mut source) = (None, None, None);
    while let Some(word) = words.next() {
        match word {
            "dev" => device = Some(words.next()?.to_owned()),
            "GW" => gateway = Some(words.next()?.parse().ok()?),
            "SRC" => source = words.next()?.parse().ok(),
            "MARK" => return None,
            _ => {}
        }
    }
    Some(Found { destination, way: Way { device: device?, gateway }, source })
}

/// The commands, in order.
///
/// Taking away any route by a device makes vswitchd forget that tunnels end there (`rt_entry_delete__` of its lib/ovs-router.c), so
/// the next command gives it a route by the same device, if there is any. Such pairs come first: it works through ten commands of a
/// connection without doing anything else.
pub(super) fn difference(desired: &Desired<'_>, found: &[Found]) -> Vec<Change> {
    let (mut pairs, mut alone, mut sets) = (Vec::new(), Vec::new(), Vec::new());
    let mut remade = desired.remade.clone();
    let mut there = BTreeSet::new();
    for route in found {
        let Some(peer) = host(route.destination) else { continue };
        let remove = Change::Remove(route.destination);
        if let Some(way) = desired.ways.get(&peer) {
            let same_way = route.way == *way;
            if same_way && !desired.has(&way.device, route.source) {
                // The node's address is another: given again alone, it would leave the tunnels' end where it was.
                pairs.extend([remove, Change::Set(route.destination, way.clone())]);
                remade.remove(way.device.as_str());
            }
            if same_way {
                there.insert(peer);
            }
        } else if desired.gone.contains(&peer) {
            match desired.another_by(&route.way.device, found) {
                Some(another) => pairs.extend([remove, another]),
                None => alone.push(remove),
            }
        }
    }
    for (peer, way) in desired.ways {
        // Of those that are there, one by each device that was made anew is enough.
        if !there.contains(peer) || remade.remove(way.device.as_str()) {
            sets.push(Change::Set((*peer).into(), way.clone()));
        }
    }
    pairs.into_iter().chain(alone).chain(sets).collect()
}

impl Desired<'_> {
    fn has(&self, device: &str, source: Option<IpAddr>) -> bool {
        source.is_none_or(|source| self.addresses.get(device).is_some_and(|addresses| addresses.contains(&source)))
    }

    /// A route by this device that stays.
    fn another_by(&self, device: &str, found: &[Found]) -> Option<Change> {
        let ours = self.ways.iter().find(|(_, way)| way.device == device);
        let others = || {
            let stays = |route: &&Found| host(route.destination).is_none_or(|peer| !self.gone.contains(&peer));
            found.iter().filter(stays).find(|route| route.way.device == device)
        };
        ours.map(|(peer, way)| Change::Set((*peer).into(), way.clone()))
            .or_else(|| others().map(|route| Change::Set(route.destination, route.way.clone())))
    }
}

/// The one address of a prefix that has but one.
fn host(prefix: IpNet) -> Option<IpAddr> {
    (prefix.prefix_len() == prefix.max_prefix_len()).then(|| prefix.addr())
}

#[cfg(test)]
mod tests;
