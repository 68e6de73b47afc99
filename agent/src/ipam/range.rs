//! One pod CIDR: which of its addresses comes next.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The gateway of a pod CIDR: its first address after the network's own. A CIDR of one address is its own gateway.
pub fn gateway(pod_cidr: &IpNet) -> IpAddr {
    let (network, end) = bounds(pod_cidr);
    address(pod_cidr, network.saturating_add(1).min(end))
}

/// A pod CIDR with what has been given of it.
#[derive(Debug)]
pub(super) struct Range {
    cidr: IpNet,
    /// First and last address for pods, as numbers; there is none when the first is greater.
    first: u128,
    last: u128,
    /// The highest address that was held before anything was given here.
    held_at_start: Option<u128>,
    /// Once around through all addresses, from the first one given; then only `freed` is left.
    round: Option<Round>,
    /// Given back, oldest first.
    freed: VecDeque<u128>,
}

#[derive(Debug)]
struct Round {
    next: u128,
    left: u128,
}

impl Range {
    pub(super) fn new(cidr: IpNet) -> Range {
        let cidr = cidr.trunc();
        let (network, end) = bounds(&cidr);
        // Without the network's own address (in IPv6 the routers' anycast), the gateway, and IPv4's broadcast.
        let first = network.saturating_add(2);
        let last = if cidr.addr().is_ipv4() { end.saturating_sub(1) } else { end };
        Range { cidr, first, last, held_at_start: None, round: None, freed: VecDeque::new() }
    }

    pub(super) fn cidr(&self) -> IpNet {
        self.cidr
    }

    pub(super) fn is_ipv4(&self) -> bool {
        self.cidr.addr().is_ipv4()
    }

    /// How many addresses it has for pods.
    pub(super) fn size(&self) -> u128 {
        (self.last.saturating_add(1)).saturating_sub(self.first)
    }

    /// Whether pods may have it: it is inside, and neither the gateway's nor reserved.
    pub(super) fn gives(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_ipv4() && (self.first..=self.last).contains(&number(address))
    }

    /// A pod has it now.
    pub(super) fn taken(&mut self, address: IpAddr) {
        if !self.gives(address) {
            return;
        }
        let taken = number(address);
        self.freed.retain(|each| *each != taken);
        if self.round.is_none() {
            self.held_at_start = self.held_at_start.max(Some(taken));
        }
    }

    /// It is free again.
    pub(super) fn freed(&mut self, address: IpAddr) {
        if self.gives(address) {
            self.freed.push_back(number(address));
        }
    }

    /// The next one that is not taken. Asked again without it being taken, it may be another.
    pub(super) fn next(&mut self, taken: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
        if self.first > self.last {
            return None;
        }
        let (first, last) = (self.first, self.last);
        let after = |number: u128| if number >= last { first } else { number + 1 };
        // After the highest held, so that a restarted agent does not begin with what was freed last.
        let start = self.held_at_start.map_or(first, after);
        let round = self.round.get_or_insert(Round { next: start, left: last - first + 1 });
        while round.left > 0 {
            let candidate = round.next;
            round.next = after(candidate);
            round.left -= 1;
            let found = address(&self.cidr, candidate);
            if !taken(&found) && !self.freed.contains(&candidate) {
                return Some(found);
            }
        }
        let candidates = self.freed.iter().map(|freed| address(&self.cidr, *freed));
        candidates.into_iter().find(|found| !taken(found))
    }
}

/// Lowest and highest address as numbers.
fn bounds(cidr: &IpNet) -> (u128, u128) {
    (number(cidr.network()), number(cidr.broadcast()))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address with that number, of the CIDR's family.
fn address(cidr: &IpNet, number: u128) -> IpAddr {
    match cidr {
        // Numbers of an IPv4 range have 32 bits.
        IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
        IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}
