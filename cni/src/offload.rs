//! Transmit checksum offload and carrier of an interface, by the ioctl `SIOCETHTOOL` (`man 7 netdevice`, linux/ethtool.h).
//!
//! What a pod sends over a veth with offload on carries a partial checksum, which a userspace conntrack calls invalid.

#![allow(clippy::disallowed_methods, reason = "a wrapper: an ioctl")]
// No crate of ours wraps SIOCETHTOOL, and its request is a C struct with a pointer.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// `SIOCETHTOOL`, linux/sockios.h.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
/// `ETHTOOL_STXCSUM`: set transmit checksumming.
const ETHTOOL_STXCSUM: u32 = 0x17;
/// `ETHTOOL_GLINK`: ask for the link's state, which is brought up to date first.
const ETHTOOL_GLINK: u32 = 0x0a;

/// `struct ethtool_value` of linux/ethtool.h.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Turns transmit checksum offload off for an interface of the calling thread's namespace. Segmentation offload goes with it:
/// the kernel does not keep it without checksums.
pub(crate) fn turn_off_transmit_checksum(interface: &str) -> io::Result<()> {
    call(interface, ETHTOOL_STXCSUM)
}

/// Has the kernel act on the carrier that an interface of the calling thread's namespace has got. It would by itself a moment
/// later (its link watch), and what is sent before is lost.
pub(crate) fn take_carrier(interface: &str) -> io::Result<()> {
    call(interface, ETHTOOL_GLINK)
}

fn call(interface: &str, command: u32) -> io::Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut value = EthtoolValue { command, data: 0 };
    let mut name = [0 as libc::c_char; libc::IFNAMSIZ];
    if interface.len() >= name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an interface name has at most 15 bytes"));
    }
    for (place, byte) in name.iter_mut().zip(interface.bytes()) {
        *place = byte as libc::c_char;
    }
    let mut request =
        libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut value).cast() } };
    // SAFETY: `request` is a whole ifreq whose name ends in zero, and its pointer leads to a whole ethtool_value; both live
    // until the call returns, and the kernel keeps neither.
    let status = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    fault::point("plugin.offload.off");
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
