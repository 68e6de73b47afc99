//! What the nodes are plugged into: a bridge in a namespace of its own, the controller's leg on it, and one host outside the
//! cluster that also plays the rest of the world (it is the nodes' default gateway and takes any address it is told to).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use anyhow::Result;

use super::process::{ip, run};
use super::{LabName, Namespace};

/// The controller's address on the underlay.
pub const CONTROLLER: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 1);
/// The controller's IPv6 address on the underlay.
pub const CONTROLLER_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x18, 0, 0, 0, 0, 0, 1);
/// The outside host's address.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 100);
/// The outside host's IPv6 address.
pub const OUTSIDE_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x18, 0, 0, 0, 0, 0, 0x100);
/// The underlay's prefix lengths.
pub const PREFIX_V4: u8 = 24;
/// As [`PREFIX_V4`], for IPv6.
pub const PREFIX_V6: u8 = 64;

const BRIDGE: &str = "br0";

/// The wire between the nodes.
pub struct Underlay {
    /// Holds the bridge; the controller runs here.
    pub namespace: Arc<Namespace>,
    /// The host outside the cluster.
    pub outside: Arc<Namespace>,
}

impl Underlay {
    /// Builds bridge and outside host.
    pub fn create(name: &LabName) -> Result<Self> {
        let namespace = Arc::new(Namespace::create(name.namespace("underlay"))?);
        let outside = Arc::new(Namespace::create(name.namespace("outside"))?);
        let underlay = Self { namespace, outside };
        underlay.namespace.trust_addresses()?;
        underlay.outside.trust_addresses()?;
        ip(
            &underlay.namespace,
            &[
                format!("link add {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"),
                format!("address add {CONTROLLER}/{PREFIX_V4} dev {BRIDGE}"),
                format!("address add {CONTROLLER_V6}/{PREFIX_V6} dev {BRIDGE} nodad"),
                format!("link set {BRIDGE} up"),
            ],
        )?;
        underlay.plug(&underlay.outside, "outside")?;
        ip(
            &underlay.outside,
            &[
                format!("address add {OUTSIDE}/{PREFIX_V4} dev eth0"),
                format!("address add {OUTSIDE_V6}/{PREFIX_V6} dev eth0 nodad"),
                "link set eth0 up".to_owned(),
            ],
        )?;
        // What these two send is taken off the wire by userspace switches, which read a checksum that was left to the
        // hardware as a wrong one.
        run(&underlay.namespace, &["ethtool", "-K", BRIDGE, "tx", "off"], "")?;
        run(&underlay.outside, &["ethtool", "-K", "eth0", "tx", "off"], "")?;
        Ok(underlay)
    }

    /// Gives `namespace` an interface `eth0` whose other end, `port`, is on the bridge.
    pub fn plug(&self, namespace: &Namespace, port: &str) -> Result<()> {
        ip(
            &self.namespace,
            &[
                format!("link add {port} type veth peer name eth0 netns {}", namespace.name()),
                format!("link set {port} master {BRIDGE} up"),
            ],
        )
    }

    /// Takes a port away whose namespace has ended. The kernel does so by itself, a little later.
    pub fn unplug(&self, port: &str) {
        let _ = ip(&self.namespace, &[format!("link del {port}")]);
    }

    /// Lets the outside host answer for one more address of the world.
    pub fn own(&self, address: IpAddr) -> Result<()> {
        let own = [IpAddr::V4(OUTSIDE), IpAddr::V6(OUTSIDE_V6)];
        if own.contains(&address) {
            return Ok(());
        }
        let command = match address {
            IpAddr::V4(address) => format!("address replace {address}/32 dev lo"),
            IpAddr::V6(address) => format!("address replace {address}/128 dev lo nodad"),
        };
        ip(&self.outside, &[command])
    }
}
