//! Addresses for this node's pods, from the node's pod CIDRs; pure data.
//!
//! An address that was given back waits until all others have been given: least recently freed first, so that what still knows
//! the address under its old owner has the longest time to forget. What is attached is told at start ([`Ipam::hold`]); there is no
//! file to lose. [`attachment`] is what the rest of the agent uses: it knows which pod holds what.

pub mod attachment;
mod name;
mod range;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

pub use name::gateway_mac;
use range::Range;
pub use range::gateway;

/// The addresses of this node: which are held, and which comes next.
#[derive(Debug, Default)]
pub struct Ipam {
    ranges: Vec<Range>,
    held: BTreeSet<IpAddr>,
}

/// Why no address was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IpamError {
    /// The node's pod CIDRs are not known.
    #[error("this node has no pod CIDR yet; the controller says it from the node's spec.podCIDRs")]
    NoRange,
    /// All are held.
    #[error(
        "no {family} address is left: all {held} of {ranges} are held by pods of this node; add a pod CIDR or remove pods"
    )]
    Exhausted {
        /// "IPv4" or "IPv6".
        family: &'static str,
        /// Addresses held in those ranges.
        held: usize,
        /// The pod CIDRs of that family, with commas.
        ranges: String,
    },
}

impl Ipam {
    /// Addresses of these pod CIDRs, all free.
    pub fn new(pod_cidrs: &[IpNet]) -> Ipam {
        Ipam { ranges: pod_cidrs.iter().copied().map(Range::new).collect(), held: BTreeSet::new() }
    }

    /// The pod CIDRs changed. What is held stays held, also outside of them.
    pub fn set_pod_cidrs(&mut self, pod_cidrs: &[IpNet]) {
        let mut known = std::mem::take(&mut self.ranges);
        for cidr in pod_cidrs {
            let place = known.iter().position(|range| range.cidr() == *cidr);
            self.ranges.push(place.map_or_else(|| self.new_range(*cidr), |place| known.swap_remove(place)));
        }
    }

    /// The address is a pod's since before this agent started.
    pub fn hold(&mut self, address: IpAddr) {
        self.held.insert(address);
        for range in &mut self.ranges {
            range.taken(address);
        }
    }

    /// Whether a pod holds it.
    pub fn is_held(&self, address: &IpAddr) -> bool {
        self.held.contains(address)
    }

    /// One address of each family that the pod CIDRs have, IPv4 first. A requested one is given when it is in them and free.
    pub fn allocate(&mut self, requested: &[IpAddr]) -> Result<Vec<IpAddr>, IpamError> {
        if self.ranges.is_empty() {
            return Err(IpamError::NoRange);
        }
        let mut given = Vec::new();
        for ipv4 in [true, false] {
            if !self.ranges.iter().any(|range| range.is_ipv4() == ipv4) {
                continue;
            }
            match self.of_family(ipv4, requested) {
                Some(address) => {
                    self.hold(address);
                    given.push(address);
                }
                None => {
                    self.release(&given);
                    return Err(self.exhausted(ipv4));
                }
            }
        }
        Ok(given)
    }

    /// These are free again, and last in line.
    pub fn release(&mut self, addresses: &[IpAddr]) {
        for address in addresses {
            if self.held.remove(address) {
                for range in &mut self.ranges {
                    range.freed(*address);
                }
            }
        }
    }

    fn new_range(&self, cidr: IpNet) -> Range {
        let mut range = Range::new(cidr);
        self.held.iter().for_each(|address| range.taken(*address));
        range
    }

    fn of_family(&mut self, ipv4: bool, requested: &[IpAddr]) -> Option<IpAddr> {
        let held = &self.held;
        let mut ranges = self.ranges.iter_mut().filter(|range| range.is_ipv4() == ipv4).collect::<Vec<_>>();
        let wanted = requested
            .iter()
            .find(|address| !held.contains(address) && ranges.iter().any(|range| range.gives(**address)));
        wanted.copied().or_else(|| ranges.iter_mut().find_map(|range| range.next(held)))
    }

    fn exhausted(&self, ipv4: bool) -> IpamError {
        let ranges = self.ranges.iter().filter(|range| range.is_ipv4() == ipv4).collect::<Vec<_>>();
        let held = self.held.iter().filter(|address| ranges.iter().any(|range| range.gives(**address))).count();
        let ranges = ranges.iter().map(|range| range.cidr().to_string()).collect::<Vec<_>>().join(", ");
        IpamError::Exhausted { family: if ipv4 { "IPv4" } else { "IPv6" }, held, ranges }
    }
}

#[cfg(test)]
mod tests;
