//! Names made from names: link-layer addresses and the names of host interfaces. The same input gives the same name after every
//! restart and on every machine; two inputs that meet are told apart by a salt.

use apis::cni::MacAddress;

/// First octet of every address made here: locally administered, unicast.
const LOCAL: u8 = 0x0a;
/// Second octet of the MACs that routes use to mark packets (host origin, forwarded); no interface has one.
const MARKS: u8 = 0xfe;

/// The link-layer address of a node's gateway interface.
pub fn gateway_mac(node: &str) -> MacAddress {
    mac(&["gateway", node], 0)
}

/// The link-layer address of a pod's interface.
pub(super) fn pod_mac(namespace: &str, name: &str, container_id: &str, interface: &str, salt: u32) -> MacAddress {
    mac(&["pod", namespace, name, container_id, interface], salt)
}

/// Whether a pod may ask for it: unicast, not zero, and none that routes use as a mark.
pub(super) fn is_for_pods(mac: MacAddress) -> bool {
    let MacAddress([first, second, ..]) = mac;
    first & 1 == 0 && mac.0 != [0; 6] && !(first == LOCAL && second == MARKS)
}

/// The name of a veth's end on the node: a start of the pod's name for people, then eight hexadecimal digits; at most 15 bytes.
pub(super) fn host_interface(pod_name: &str, container_id: &str, interface: &str, salt: u32) -> String {
    let start = pod_name.chars().take_while(|each| *each != '.').take(6).collect::<String>();
    let start = start.trim_end_matches('-');
    format!("{start}-{:08x}", (digest(&["interface", container_id, interface], salt) >> 32) as u32)
}

fn mac(parts: &[&str], salt: u32) -> MacAddress {
    let [_, _, _, second, rest @ ..] = digest(parts, salt).to_be_bytes();
    let second = if second == MARKS { second - 1 } else { second };
    let [c, d, e, f] = rest;
    MacAddress([LOCAL, second, c, d, e, f])
}

/// FNV-1a of 64 bits, then the finaliser of splitmix64 so that every bit depends on every byte. Not against an adversary: a
/// collision is found by the caller and salted away. Written out because the standard hasher may change between releases.
fn digest(parts: &[&str], salt: u32) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut mix = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    for part in parts {
        part.bytes().for_each(&mut mix);
        mix(0xff); // no part of UTF-8 holds it, so parts do not run together
    }
    salt.to_be_bytes().into_iter().for_each(&mut mix);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{gateway_mac, host_interface, pod_mac};

    #[test]
    fn names_are_the_same_on_every_machine() {
        assert_eq!(gateway_mac("node-a").to_string(), "0a:3d:ea:3d:44:34");
        assert_eq!(pod_mac("shop", "web-0", "c1", "eth0", 0).to_string(), "0a:ab:16:9d:19:b3");
        assert_eq!(host_interface("web-0", "c1", "eth0", 0), "web-0-6d243518");
        assert_eq!(host_interface("a-long-name.of.parts", "c1", "eth0", 0), "a-long-6d243518");
    }

    #[test]
    fn a_salt_makes_another_name() {
        assert_ne!(host_interface("web", "c1", "eth0", 0), host_interface("web", "c1", "eth0", 1));
        assert_ne!(pod_mac("a", "b", "c", "d", 0), pod_mac("a", "b", "c", "d", 1));
    }

    #[test]
    fn thousands_of_names_differ_and_fit() {
        let names = (0..5_000).map(|each| host_interface("web", &format!("container{each}"), "eth0", 0));
        let names = names.inspect(|name| assert!(name.len() <= 15, "{name}")).collect::<BTreeSet<_>>();
        assert!(names.len() > 4_990, "{} of 5000 differ", names.len());
        let macs = (0..5_000).map(|each| pod_mac("ns", &format!("web-{each}"), "c", "eth0", 0));
        let macs = macs.inspect(|mac| assert!(mac.0[0] == 0x0a && mac.0[1] != 0xfe, "{mac}")).collect::<BTreeSet<_>>();
        assert_eq!(macs.len(), 5_000);
    }
}
