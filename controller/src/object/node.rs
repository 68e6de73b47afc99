//! A node: where its tunnel ends, and which addresses its pods may have.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::NodeName;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its own addresses, IPv4 before IPv6, in the order of the source within a family.
    pub addresses: Box<[IpAddr]>,
    /// The ranges of its pods.
    pub pod_cidrs: Prefixes,
}

/// Ranges of addresses, without host bits, IPv4 before IPv6.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes(Box<[IpNet]>);

impl Node {
    /// A node with its lists in canonical order.
    pub fn new(
        name: NodeName,
        addresses: impl IntoIterator<Item = IpAddr>,
        pod_cidrs: impl IntoIterator<Item = IpNet>,
    ) -> Self {
        let mut addresses: Vec<IpAddr> = addresses.into_iter().collect();
        addresses.sort_by_key(IpAddr::is_ipv6);
        let mut prefixes: Vec<IpNet> = pod_cidrs.into_iter().map(|net| net.trunc()).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        Self { name, addresses: addresses.into_boxed_slice(), pod_cidrs: Prefixes(prefixes.into_boxed_slice()) }
    }
}

impl Prefixes {
    /// Whether an address lies in one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }

    /// The ranges, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &IpNet> {
        self.0.iter()
    }
}

/// `10.10.1.0/24,fd00:10:0:1::/64`, or `-` for none.
impl fmt::Display for Prefixes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("-");
        }
        for (number, net) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(formatter, "{comma}{net}")?;
        }
        Ok(())
    }
}
