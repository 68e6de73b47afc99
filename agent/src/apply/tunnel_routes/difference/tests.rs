//! Text of `ovs/route/show` to routes, and routes to commands.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Change, Desired, Found, Way, difference, found};

/// As Open vSwitch 3.1 writes it.
const SHOWN: &str = "Route Table:
Cached: 172.18.0.0/24 dev br-phy SRC 172.18.0.11
Cached: 172.18.0.11/32 dev br-phy SRC 172.18.0.11 local
User: 172.18.0.12/32 dev br-phy SRC 172.18.0.11
User: 172.19.0.13/32 dev br-phy GW 172.18.0.1 SRC 172.18.0.11
User: 10.99.0.0/16 dev br-phy GW 172.18.0.9 SRC 172.18.0.11
User: 172.18.0.14/32 MARK 7 dev br-phy SRC 172.18.0.11
User: fd00:19::13/128 dev br-phy GW fd00:18::1 SRC fd00:18::11
User: what is this
";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn way(gateway: Option<&str>) -> Way {
    Way { device: "br-phy".to_owned(), gateway: gateway.map(address) }
}

/// The commands against what [`SHOWN`] says, for these peers with their gateways.
struct Case {
    peers: Vec<(&'static str, Option<&'static str>)>,
    gone: Vec<&'static str>,
    addresses: Vec<&'static str>,
    remade: Vec<&'static str>,
    shown: &'static str,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            peers: vec![
                ("172.18.0.12", None),
                ("172.19.0.13", Some("172.18.0.1")),
                ("fd00:19::13", Some("fd00:18::1")),
            ],
            gone: Vec::new(),
            addresses: vec!["172.18.0.11", "fd00:18::11"],
            remade: Vec::new(),
            shown: SHOWN,
        }
    }
}

impl Case {
    fn commands(&self) -> Vec<String> {
        let ways: BTreeMap<IpAddr, Way> =
            self.peers.iter().map(|(peer, gateway)| (address(peer), way(*gateway))).collect();
        let gone: BTreeSet<IpAddr> = self.gone.iter().map(|peer| address(peer)).collect();
        let addresses: Vec<IpAddr> = self.addresses.iter().map(|text| address(text)).collect();
        let desired = Desired {
            ways: &ways,
            gone: &gone,
            addresses: [("br-phy", addresses.as_slice())].into(),
            remade: self.remade.iter().copied().collect(),
        };
        difference(&desired, &found(self.shown)).iter().map(ToString::to_string).collect()
    }
}

#[test]
fn what_somebody_gave_is_read() {
    let route = |destination: &str, gateway: Option<&str>, source: &str| Found {
        destination: destination.parse().unwrap(),
        way: way(gateway),
        source: Some(address(source)),
    };
    let expected = [
        route("172.18.0.12/32", None, "172.18.0.11"),
        route("172.19.0.13/32", Some("172.18.0.1"), "172.18.0.11"),
        route("10.99.0.0/16", Some("172.18.0.9"), "172.18.0.11"),
        route("fd00:19::13/128", Some("fd00:18::1"), "fd00:18::11"),
    ];
    assert_eq!(found(SHOWN), expected);
    assert_eq!(found("Route Table:\n"), []);
    for line in ["User:", "User: 172.18.0.12/32", "User: 172.18.0.12/32 dev", "User: 172.18.0.12/32 dev br-phy GW x"] {
        assert_eq!(found(line), [], "{line}");
    }
}

#[test]
fn what_is_right_is_left_alone() {
    assert_eq!(Case::default().commands(), [""; 0]);
}

#[test]
fn what_is_missing_is_given() {
    let case = Case { shown: "Route Table:\n", ..Case::default() };
    assert_eq!(
        case.commands(),
        [
            "ovs/route/add 172.18.0.12/32 br-phy",
            "ovs/route/add 172.19.0.13/32 br-phy 172.18.0.1",
            "ovs/route/add fd00:19::13/128 br-phy fd00:18::1",
        ]
    );
}

#[test]
fn another_way_takes_the_place_of_the_old_one() {
    let mut case = Case::default();
    case.peers[0].1 = Some("172.18.0.1");
    case.peers[1].1 = None;
    assert_eq!(
        case.commands(),
        ["ovs/route/add 172.18.0.12/32 br-phy 172.18.0.1", "ovs/route/add 172.19.0.13/32 br-phy"]
    );
}

#[test]
fn a_peer_that_goes_takes_its_route_and_no_tunnels_end() {
    let mut case = Case { gone: vec!["172.18.0.12"], ..Case::default() };
    case.peers.remove(0);
    let expected = ["ovs/route/del 172.18.0.12/32", "ovs/route/add 172.19.0.13/32 br-phy 172.18.0.1"];
    assert_eq!(case.commands(), expected);
    // The last of ours: somebody else's keeps the tunnels' end.
    let case = Case { peers: Vec::new(), gone: vec!["172.18.0.12", "172.19.0.13", "fd00:19::13"], ..Case::default() };
    let expected = ["172.18.0.12/32", "172.19.0.13/32", "fd00:19::13/128"]
        .map(|gone| [format!("ovs/route/del {gone}"), "ovs/route/add 10.99.0.0/16 br-phy 172.18.0.9".to_owned()]);
    assert_eq!(case.commands(), expected.concat());
    let case = Case {
        peers: Vec::new(),
        gone: vec!["172.18.0.12"],
        shown: "User: 172.18.0.12/32 dev br-phy SRC 172.18.0.11",
        ..Case::default()
    };
    assert_eq!(case.commands(), ["ovs/route/del 172.18.0.12/32"]);
}

#[test]
fn what_others_gave_and_peers_without_a_way_keep_theirs() {
    // The kernel knows no way to two of the peers at the moment: they are neither wanted nor gone.
    let case = Case { peers: vec![("172.18.0.12", None)], ..Case::default() };
    assert_eq!(case.commands(), [""; 0]);
}

#[test]
fn another_address_of_the_node_renews_the_route() {
    let case = Case { addresses: vec!["172.18.0.99", "fd00:18::11"], ..Case::default() };
    assert_eq!(
        case.commands(),
        [
            "ovs/route/del 172.18.0.12/32",
            "ovs/route/add 172.18.0.12/32 br-phy",
            "ovs/route/del 172.19.0.13/32",
            "ovs/route/add 172.19.0.13/32 br-phy 172.18.0.1",
        ]
    );
}

#[test]
fn a_device_that_was_made_anew_gets_one_route_again() {
    let case = Case { remade: vec!["br-phy"], ..Case::default() };
    assert_eq!(case.commands(), ["ovs/route/add 172.18.0.12/32 br-phy"]);
    let case = Case { remade: vec!["br-phy"], shown: "", ..Case::default() };
    assert_eq!(case.commands().len(), 3, "one of those that are missing will do");
}

#[test]
fn a_command_is_what_the_switch_takes() {
    let set = Change::Set("fd00:19::13/128".parse().unwrap(), way(Some("fd00:18::1")));
    let arguments = ["fd00:19::13/128", "br-phy", "fd00:18::1"].map(str::to_owned);
    assert_eq!(set.command(), ("ovs/route/add", arguments.to_vec()));
    let remove = Change::Remove("172.18.0.12/32".parse().unwrap());
    assert_eq!(remove.command(), ("ovs/route/del", vec!["172.18.0.12/32".to_owned()]));
}
