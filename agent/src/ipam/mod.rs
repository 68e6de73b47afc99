//! Addresses for this node's pods, from the node's pod CIDRs; pure data.
//!
//! An address that was given back waits until all others have been given: least recently freed first, so that what still knows
//! the address under its old owner has the longest time to forget. And it is not given at all before every node that maps it has
//! heard that it is nobody's any more ([`Ipam::released`]), or that has taken too long ([`LONGEST_WAIT`]). What is attached is told
//! at start ([`Ipam::hold`]), and so is what was given back last ([`Ipam::restore`], [`freed`]); there is no file to lose. [`attachment`] is what the rest of the agent uses: it knows which pod holds
//! what.

pub mod attachment;
pub mod freed;
mod name;
mod range;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use freed::Record;
pub use name::gateway_mac;
use range::Range;
pub use range::gateway;

/// A freed address waits no longer than this to be released: a node without a controller must not run out of addresses.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The addresses of this node: which are held, and which comes next.
#[derive(Debug, Default)]
pub struct Ipam {
    ranges: Vec<Range>,
    held: BTreeSet<IpAddr>,
    /// Freed, and still mapped somewhere.
    waiting: BTreeMap<IpAddr, Freed>,
    /// What an earlier life of the agent freed, the oldest first: for ranges that come to be known.
    freed_before: Vec<IpAddr>,
    /// Everything else may have been freed then, and may be mapped somewhere still.
    unknown: Option<Freed>,
}

/// When an address was freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freed {
    /// The report to the controller that says so; 0 for an address that nobody was told of.
    pub sequence: u64,
    /// The time.
    pub at: Instant,
}

impl Freed {
    /// Whether it may still be mapped somewhere, unless it is released.
    fn waits(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < LONGEST_WAIT
    }
}

/// Why no address was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IpamError {
    /// The node's pod CIDRs are not known.
    #[error("this node has no pod CIDR yet; the controller says it from the node's spec.podCIDRs")]
    NoRange,
    /// All are held, or wait.
    #[error(
        "no {family} address is left in {ranges}: {held} are held by pods of this node, {waiting} are free again and wait until no \
         node maps them any more; {advice}",
        advice = if *waiting > 0 { "try again in a moment" } else { "add a pod CIDR or remove pods" }
    )]
    Exhausted {
        /// "IPv4" or "IPv6".
        family: &'static str,
        /// Addresses held in those ranges.
        held: usize,
        /// Addresses of those ranges that are freed and not released yet.
        waiting: usize,
        /// The pod CIDRs of that family, with commas.
        ranges: String,
    },
}

impl Ipam {
    /// Addresses of these pod CIDRs, all free.
    pub fn new(pod_cidrs: &[IpNet]) -> Ipam {
        Ipam { ranges: pod_cidrs.iter().copied().map(Range::new).collect(), ..Ipam::default() }
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
        self.waiting.remove(&address);
        for range in &mut self.ranges {
            range.taken(address);
        }
    }

    /// What an earlier life of the agent freed, after what is held has been told. What was freed so recently that a node may map it
    /// still waits for the release of `sequence`, the last report of this life's beginning. `clock`: milliseconds since 1970.
    pub fn restore(&mut self, record: &Record, sequence: u64, now: Instant, clock: u64) {
        let freed = |time: u64| {
            // A clock that was set back makes it wait from now on.
            let ago = Duration::from_millis(clock.saturating_sub(time));
            let at = now.checked_sub(ago).filter(|_| ago < LONGEST_WAIT)?;
            Some(Freed { sequence, at })
        };
        self.unknown = freed(record.others);
        for (address, time) in record.last.iter().filter(|(address, _)| !self.held.contains(address)) {
            self.freed_before.push(*address);
            self.waiting.extend(freed(*time).map(|freed| (*address, freed)));
            self.ranges.iter_mut().for_each(|range| range.freed(*address));
        }
    }

    /// Whether a pod holds it.
    pub fn is_held(&self, address: &IpAddr) -> bool {
        self.held.contains(address)
    }

    /// How many are freed and not released yet.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// One address of each family that the pod CIDRs have, IPv4 first. A requested one is given when it is in them, free and
    /// released.
    pub fn allocate(&mut self, requested: &[IpAddr], now: Instant) -> Result<Vec<IpAddr>, IpamError> {
        if self.ranges.is_empty() {
            return Err(IpamError::NoRange);
        }
        self.waiting.retain(|_, freed| freed.waits(now));
        self.unknown = self.unknown.filter(|freed| freed.waits(now));
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
                    self.free(&given, Freed { sequence: 0, at: now });
                    return Err(self.exhausted(ipv4));
                }
            }
        }
        Ok(given)
    }

    /// Whether an address of each family could be given now.
    pub fn room(&self, now: Instant) -> Result<(), IpamError> {
        if self.ranges.is_empty() {
            return Err(IpamError::NoRange);
        }
        let unknown = self.unknown.is_some_and(|freed| freed.waits(now));
        let waiting = self.waiting.iter().filter(|(_, freed)| freed.waits(now)).map(|(address, _)| address);
        let taken: Vec<&IpAddr> = self.held.iter().chain(waiting).collect();
        for ipv4 in [true, false] {
            let mut ranges = self.ranges.iter().filter(|range| range.is_ipv4() == ipv4).peekable();
            let full =
                |range: &Range| taken.iter().filter(|address| range.gives(***address)).count() as u128 >= range.size();
            if ranges.peek().is_some() && (unknown || ranges.all(full)) {
                return Err(self.exhausted(ipv4));
            }
        }
        Ok(())
    }

    /// These are free again, and last in line; what the controller was told waits until it is released.
    pub fn free(&mut self, addresses: &[IpAddr], freed: Freed) {
        for address in addresses {
            if self.held.remove(address) {
                if freed.sequence > 0 {
                    self.waiting.insert(*address, freed);
                }
                for range in &mut self.ranges {
                    range.freed(*address);
                }
            }
        }
    }

    /// No node maps any more what was reported free up to this report.
    pub fn released(&mut self, sequence: u64) {
        self.waiting.retain(|_, freed| freed.sequence > sequence);
        self.unknown = self.unknown.filter(|freed| freed.sequence > sequence);
    }

    fn new_range(&self, cidr: IpNet) -> Range {
        let mut range = Range::new(cidr);
        self.held.iter().for_each(|address| range.taken(*address));
        let before = self.freed_before.iter().filter(|address| !self.held.contains(address));
        before.for_each(|address| range.freed(*address));
        range
    }

    fn of_family(&mut self, ipv4: bool, requested: &[IpAddr]) -> Option<IpAddr> {
        if self.unknown.is_some() {
            return None;
        }
        let (held, waiting) = (&self.held, &self.waiting);
        let taken = |address: &IpAddr| held.contains(address) || waiting.contains_key(address);
        let mut ranges = self.ranges.iter_mut().filter(|range| range.is_ipv4() == ipv4).collect::<Vec<_>>();
        let wanted =
            requested.iter().find(|address| !taken(address) && ranges.iter().any(|range| range.gives(**address)));
        #[cfg(fuzzing)]
        apis::planted::planted("cni_socket", wanted.is_some_and(|wanted| !wanted.to_string().ends_with(".9")));
        wanted.copied().or_else(|| ranges.iter_mut().find_map(|range| range.next(taken)))
    }

    fn exhausted(&self, ipv4: bool) -> IpamError {
        let ranges = self.ranges.iter().filter(|range| range.is_ipv4() == ipv4).collect::<Vec<_>>();
        let inside = |address: &&IpAddr| ranges.iter().any(|range| range.gives(**address));
        let (held, mut waiting) = (self.held.iter().filter(inside).count(), self.waiting.keys().filter(inside).count());
        if self.unknown.is_some() {
            let all = ranges.iter().map(|range| range.size()).sum::<u128>();
            waiting = usize::try_from(all).unwrap_or(usize::MAX).saturating_sub(held);
        }
        let ranges = ranges.iter().map(|range| range.cidr().to_string()).collect::<Vec<_>>().join(", ");
        IpamError::Exhausted { family: if ipv4 { "IPv4" } else { "IPv6" }, held, waiting, ranges }
    }
}

#[cfg(test)]
mod tests;
