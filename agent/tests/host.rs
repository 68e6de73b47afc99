//! Links, routes and nft of a node, made and repaired in network namespaces of their own, and asked by packets.

mod place;

use std::collections::BTreeSet;
use std::net::UdpSocket;

use agent::apply::host::{Host, HostFacts, host};
use agent::apply::labels;
use agent::apply::links::{self, LinksError};
use agent::apply::nat;
use agent::ipam::attachment::alias::Label;
use apis::cni::MacAddress;
use place::Place;

fn facts() -> HostFacts {
    let prefixes = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a prefix")).collect();
    HostFacts {
        gateway_interface: "gw0".into(),
        gateway_mac: MacAddress([0x0a, 0, 0, 0, 0, 1]),
        mtu: 1450,
        uplink: Some("eth0".into()),
        pod_cidrs: prefixes(&["10.10.1.0/24", "fd00:10:0:1::/64"]),
        peer_pod_cidrs: prefixes(&["10.10.2.0/24", "fd00:10:0:2::/64", "10.10.3.0/24", "fd00:10:0:3::/64"]),
        closed_interfaces: ["pod1", "pod2", "not-there"].map(str::to_owned).into(),
    }
}

/// A node, what its gateway interface leads to, and a host outside.
struct Lab {
    node: Place,
    switch: Place,
    outside: Place,
}

impl Lab {
    fn new() -> Lab {
        let lab = Lab { node: Place::new(), switch: Place::new(), outside: Place::new() };
        lab.node.connect("gw0", &lab.switch, "port");
        lab.node.connect("eth0", &lab.outside, "eth0");
        lab.node.connect("pod1", &lab.switch, "pod1");
        lab.node.connect("pod2", &lab.switch, "pod2");
        lab.node.run_all(
            "ip address add 172.18.0.11/24 dev eth0
             ip address add fd00:18::11/64 dev eth0 nodad",
        );
        lab.outside.run_all(
            "ip address add 172.18.0.100/24 dev eth0
             ip address add fd00:18::100/64 dev eth0 nodad
             ip route add 10.10.0.0/16 via 172.18.0.11
             ip route add fd00:10::/32 via fd00:18::11",
        );
        lab
    }

    fn reconcile(&self, desired: &Host) -> Vec<String> {
        let desired = desired.clone();
        self.node.block_on(|| async move {
            let handle = links::connect().expect("a netlink socket");
            agent::apply::host::reconcile(&handle, &desired).await.expect("the kernel takes it")
        })
    }

    /// Everything that reconciling may touch, as text.
    fn picture(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for line in [
            "ip -o -4 rule",
            "ip -o -6 rule",
            "ip -4 route show table all proto 173",
            "ip -6 route show table all proto 173",
            "ip -o address show dev gw0 scope global",
            "ip -o link show dev gw0",
            "ip neighbour show dev gw0 nud permanent",
            "sysctl net.ipv4.ip_forward net.ipv4.conf.gw0.rp_filter net.ipv6.conf.all.forwarding net.ipv6.conf.gw0.accept_dad",
        ] {
            lines.extend(self.node.run(line).lines().map(|each| each.trim().to_owned()));
        }
        // Tables, chains and sets are listed in the order they were made, so each line says where it stands.
        let mut place = String::new();
        for line in self.node.run("nft list ruleset").lines() {
            if line.ends_with('{') {
                place = if line.starts_with("table") { line.to_owned() } else { format!("{place} {}", line.trim()) };
            } else if line == "\t}" {
                place.truncate(place.find('{').map_or(0, |end| end + 1));
            } else {
                lines.push(format!("{place} {}", line.trim()));
            }
        }
        lines.sort();
        // Routes through a link without carrier carry a flag that comes and goes with the peer.
        lines.iter().map(|line| line.replace("linkdown ", "")).collect()
    }
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, std::net::SocketAddr) {
    let mut buffer = [0; 2000];
    let (size, from) = socket.recv_from(&mut buffer).expect("a packet arrives");
    (buffer[..size].to_vec(), from)
}

#[test]
fn a_fresh_node_is_made_and_then_left_alone() {
    let lab = Lab::new();
    let desired = host(&facts());
    assert!(!lab.reconcile(&desired).is_empty());
    assert_eq!(lab.reconcile(&desired), [""; 0], "the second time there is nothing to do");

    let picture = lab.picture();
    for expected in [
        "100:\tfrom all iif lo lookup 100 proto 173",
        "10.10.1.0/24 via 169.254.169.1 dev gw0 table 100 onlink",
        "10.10.3.0/24 via 169.254.169.1 dev gw0 table 100 onlink",
        "10.10.1.0/24 via 169.254.169.2 dev gw0 onlink",
        "fd00:10:0:1::/64 via fe80::fe:1 dev gw0 table 100 metric 1024 onlink pref medium",
        "fd00:10:0:2::/64 via fe80::fe:2 dev gw0 metric 1024 onlink pref medium",
        "169.254.169.1 lladdr 0a:fe:00:00:00:01 PERMANENT",
        "169.254.169.2 lladdr 0a:fe:00:00:00:02 PERMANENT",
        "fe80::fe:1 lladdr 0a:fe:00:00:00:01 PERMANENT",
        "fe80::fe:2 lladdr 0a:fe:00:00:00:02 PERMANENT",
        "net.ipv4.ip_forward = 1",
        "net.ipv4.conf.gw0.rp_filter = 2",
        "net.ipv6.conf.all.forwarding = 1",
        "net.ipv6.conf.gw0.accept_dad = 0",
        "table netdev ferrant { chain closed_pod1 { type filter hook ingress device \"pod1\" priority filter; policy drop;",
        "table netdev ferrant { chain closed_pod2 { type filter hook ingress device \"pod2\" priority filter; policy drop;",
    ] {
        assert!(picture.iter().any(|line| line == expected), "{expected} is not in {picture:#?}");
    }
    let link = lab.node.run("ip link show dev gw0");
    assert!(link.contains("mtu 1450") && link.contains("0a:00:00:00:00:01") && link.contains(",UP"), "{link}");
    let addresses = lab.node.run("ip -o address show dev gw0 scope global");
    assert!(addresses.contains("10.10.1.1/32") && addresses.contains("fd00:10:0:1::1/128"), "{addresses}");
    assert!(!picture.iter().any(|line| line.contains("not-there")), "no chain for an interface that is not there");
}

#[test]
fn damage_by_hand_is_repaired() {
    let lab = Lab::new();
    let desired = host(&facts());
    lab.reconcile(&desired);
    let whole = lab.picture();
    for damage in [
        "ip address del 10.10.1.1/32 dev gw0",
        "ip address del fd00:10:0:1::1/128 dev gw0",
        "ip address add 192.0.2.1/24 dev gw0",
        "ip address add fd00:bad::1/64 dev gw0",
        "ip link set gw0 mtu 1400",
        "ip link set gw0 address 0a:00:00:00:00:99",
        "ip link set gw0 down",
        "ip -4 rule del iif lo lookup 100",
        "ip -6 rule del iif lo lookup 100",
        "ip -4 rule add iif lo lookup 101 proto 173",
        "ip -4 rule add from 192.0.2.0/24 iif lo lookup 100 priority 100 proto 173",
        "ip route flush table 100",
        "ip -6 route flush table 100",
        "ip route del 10.10.2.0/24",
        "ip route replace 10.10.2.0/24 via 169.254.169.1 dev gw0 onlink proto 173",
        "ip route replace 10.10.2.0/24 dev eth0 proto static",
        "ip route add 10.10.2.0/24 via 169.254.169.1 dev gw0 onlink metric 5 proto 173",
        "ip -6 route replace fd00:10:0:2::/64 via fe80::fe:9 dev gw0 onlink proto 173",
        "ip route add blackhole 10.99.0.0/16 proto 173",
        "ip route add 10.99.0.0/16 dev eth0 table 100 proto 173",
        "ip neighbour del 169.254.169.1 dev gw0",
        "ip neighbour replace 169.254.169.2 lladdr 0a:fe:00:00:00:01 dev gw0 nud permanent",
        "ip neighbour replace fe80::fe:1 lladdr 0a:fe:00:00:00:01 dev gw0 nud reachable",
        "sysctl -q -w net.ipv4.ip_forward=0",
        "sysctl -q -w net.ipv6.conf.all.forwarding=0",
        "sysctl -q -w net.ipv4.conf.gw0.rp_filter=1",
        "nft delete table inet ferrant",
        "nft flush chain inet ferrant postrouting",
        "nft insert rule inet ferrant postrouting accept",
        "nft delete element inet ferrant cluster_pods4 { 10.10.2.0/23 }",
        "nft delete table netdev ferrant",
        "nft delete chain netdev ferrant closed_pod1",
        "nft add rule netdev ferrant closed_pod1 accept",
        "nft add chain netdev ferrant closed_pod2 { policy accept ; }",
        "nft add chain netdev ferrant closed_eth0 { type filter hook ingress device eth0 priority 0 ; policy drop ; }",
    ] {
        lab.node.run(damage);
        assert_ne!(lab.picture(), whole, "{damage}: it is seen");
        let changes = lab.reconcile(&desired);
        assert!(!changes.is_empty(), "{damage}");
        assert_eq!(lab.picture(), whole, "{damage}: {changes:?}");
        assert_eq!(lab.reconcile(&desired), [""; 0], "{damage}: once is enough");
    }
}

#[test]
fn what_others_made_stays() {
    let lab = Lab::new();
    lab.node.run_all(
        "ip route add 198.51.100.0/24 dev eth0
         ip route add 198.51.100.0/24 dev eth0 table 100
         ip -6 route add fd00:bad::/64 dev eth0 table 100
         ip rule add iif lo lookup 99 priority 100
         ip neighbour add 172.18.0.77 lladdr 0a:00:00:00:00:77 dev eth0 nud permanent
         nft add table inet other
         nft add chain inet other postrouting { type nat hook postrouting priority 100 ; }
         nft add table netdev other
         nft add chain netdev other eth0 { type filter hook ingress device eth0 priority 5 ; }",
    );
    let desired = host(&facts());
    lab.reconcile(&desired);
    let mut nothing = desired.clone();
    nothing.routes.pod_cidrs.clear();
    nothing.closed.clear();
    lab.reconcile(&nothing);

    for (line, expected) in [
        ("ip route show table 100", "198.51.100.0/24 dev eth0 scope link"),
        ("ip route show", "198.51.100.0/24 dev eth0 scope link"),
        ("ip -6 route show table 100", "fd00:bad::/64 dev eth0"),
        ("ip rule", "from all iif lo lookup 99"),
        ("ip neighbour show nud permanent", "172.18.0.77"),
        ("nft list tables", "table inet other"),
        ("nft list ruleset netdev", "device \"eth0\" priority filter + 5"),
    ] {
        let text = lab.node.run(line);
        assert!(text.contains(expected), "{line}: {text}");
    }
    let (rules, chains) = (lab.node.run("ip rule"), lab.node.run("nft list table netdev ferrant"));
    assert!(!rules.contains("lookup 100"), "no pods, no rule: {rules}");
    assert!(!chains.contains("chain"), "nothing is closed any more: {chains}");
    assert_eq!(lab.node.run("ip route show table all proto 173"), "");
    assert_eq!(lab.node.run("ip -6 route show table all proto 173"), "");
}

#[test]
fn a_node_that_leaves_takes_its_routes_along() {
    let lab = Lab::new();
    lab.reconcile(&host(&facts()));
    let mut fewer = facts();
    fewer.peer_pod_cidrs.truncate(2);
    let changes = lab.reconcile(&host(&fewer));
    assert_eq!(changes.iter().filter(|change| change.starts_with("remove route")).count(), 4, "{changes:?}");
    let routes = lab.node.run("ip route show table all proto 173");
    assert!(!routes.contains("10.10.3.0/24") && routes.contains("10.10.2.0/24"), "{routes}");

    let mut ipv4 = fewer;
    ipv4.pod_cidrs.truncate(1);
    ipv4.peer_pod_cidrs.truncate(1);
    lab.reconcile(&host(&ipv4));
    assert_eq!(lab.node.run("ip -6 route show table all proto 173"), "");
    assert!(!lab.node.run("ip -6 rule").contains("lookup 100"));
    assert!(!lab.node.run("nft list table inet ferrant").contains("ip6"));
}

#[test]
fn without_the_gateway_interface_it_is_named() {
    let node = Place::new();
    let error = node.block_on(|| async {
        let handle = links::connect().expect("a netlink socket");
        links::reconcile(&handle, &host(&facts()).gateway).await.expect_err("there is no gw0")
    });
    assert!(matches!(&error, LinksError::Missing(name) if name == "gw0"), "{error}");
}

#[test]
fn a_router_advertisement_still_counts_on_the_uplink() {
    let lab = Lab::new();
    for (before, after) in [("1", "2"), ("0", "0")] {
        lab.node.run(&format!("sysctl -q -w net.ipv6.conf.all.forwarding=0 net.ipv6.conf.eth0.accept_ra={before}"));
        lab.reconcile(&host(&facts()));
        assert_eq!(lab.node.run("sysctl -n net.ipv6.conf.eth0.accept_ra").trim(), after);
    }
}

/// What the node sends itself and what it forwards arrive with different destination MACs, in both families.
#[test]
fn host_origin_is_told_from_what_is_forwarded() {
    let lab = Lab::new();
    lab.reconcile(&host(&facts()));
    lab.switch.nft(
        "table netdev watch {
            counter own4 { }
            counter own6 { }
            counter forwarded4 { }
            counter forwarded6 { }
            chain port {
                type filter hook ingress device \"port\" priority 0;
                ether daddr 0a:fe:00:00:00:01 ip daddr 10.10.0.0/16 ip protocol udp counter name own4
                ether daddr 0a:fe:00:00:00:01 ip6 daddr fd00:10::/32 meta l4proto udp counter name own6
                ether daddr 0a:fe:00:00:00:02 ip daddr 10.10.0.0/16 ip protocol udp counter name forwarded4
                ether daddr 0a:fe:00:00:00:02 ip6 daddr fd00:10::/32 meta l4proto udp counter name forwarded6
            }
        }",
    );
    for (node, outside, own_pod, peer_pod) in [
        ("10.10.1.1", "172.18.0.100", "10.10.1.7", "10.10.2.7"),
        ("fd00:10:0:1::1", "fd00:18::100", "fd00:10:0:1::7", "fd00:10:0:2::7"),
    ] {
        for (socket, packets) in [(lab.node.socket(node), 2), (lab.outside.socket(outside), 3)] {
            for _ in 0..packets {
                socket.send_to(b"x", (own_pod, 7)).expect("there is a route");
                socket.send_to(b"x", (peer_pod, 7)).expect("there is a route");
            }
        }
    }
    // What an unbound socket sends has the gateway's address, so that replies find their way through the pipeline.
    let source = lab.node.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        socket.connect("10.10.2.7:7").expect("there is a route");
        socket.local_addr().expect("it is bound").ip().to_string()
    });
    assert_eq!(source, "10.10.1.1");
    // The first packet from outside waits for the node's link-layer address; a count is final when the sixth is there.
    let counts = || ["own4", "own6", "forwarded4", "forwarded6"].map(|counter| lab.switch.counted(counter));
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while counts() != [4, 4, 6, 6] && std::time::Instant::now() < end {
        std::thread::yield_now();
    }
    assert_eq!(counts(), [4, 4, 6, 6]);
}

/// A pod's packet leaves with the node's address; one to another pod does not.
#[test]
fn what_leaves_the_cluster_has_the_nodes_address() {
    let lab = Lab::new();
    lab.reconcile(&host(&facts()));
    lab.switch.run_all(
        "ip link set port address 0a:00:00:00:01:07
         ip address add 10.10.1.7/32 dev port
         ip address add fd00:10:0:1::7/128 dev port nodad
         ip neighbour add 169.254.0.1 lladdr 0a:00:00:00:00:01 dev port nud permanent
         ip neighbour add fe80::1 lladdr 0a:00:00:00:00:01 dev port nud permanent
         ip route add default via 169.254.0.1 dev port onlink
         ip -6 route add default via fe80::1 dev port onlink",
    );
    lab.switch.nft(
        "table netdev watch {
            counter kept4 { }
            counter kept6 { }
            chain port {
                type filter hook ingress device \"port\" priority 0;
                ip saddr 10.10.1.7 ip daddr 10.10.2.7 counter name kept4
                ip6 saddr fd00:10:0:1::7 ip6 daddr fd00:10:0:2::7 counter name kept6
            }
        }",
    );
    for (pod, node, outside, peer_pod, kept) in [
        ("10.10.1.7", "172.18.0.11", "172.18.0.100", "10.10.2.7", "kept4"),
        ("fd00:10:0:1::7", "fd00:18::11", "fd00:18::100", "fd00:10:0:2::7", "kept6"),
    ] {
        let (asks, answers) = (lab.switch.socket(pod), lab.outside.socket(outside));
        asks.send_to(b"out", (outside, 5000)).expect("there is a route");
        let (bytes, from) = receive(&answers);
        assert_eq!((bytes.as_slice(), from.ip().to_string().as_str()), (b"out".as_slice(), node));
        asks.send_to(b"pod", (peer_pod, 5000)).expect("there is a route");
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while lab.switch.counted(kept) == 0 && std::time::Instant::now() < end {
            std::thread::yield_now();
        }
        assert_eq!(lab.switch.counted(kept), 1, "{kept}");
    }
}

/// A closed interface is dumb to the node's own stack, the others are not, and one comes and goes without the others.
#[test]
fn a_closed_interface_is_not_heard_by_the_node() {
    let lab = Lab::new();
    for (interface, node, pod) in [("pod1", "10.0.1.1", "10.0.1.2"), ("pod2", "10.0.2.1", "10.0.2.2")] {
        lab.node.run(&format!("ip address add {node}/24 dev {interface}"));
        lab.switch.run(&format!("ip address add {pod}/24 dev {interface}"));
    }
    let hears = |node: &UdpSocket, pod: &UdpSocket| {
        node.set_read_timeout(Some(std::time::Duration::from_millis(300))).expect("a time-out");
        pod.send_to(b"x", node.local_addr().expect("it is bound")).expect("there is a route");
        node.recv(&mut [0; 10]).is_ok()
    };
    let first = (lab.node.socket("10.0.1.1"), lab.switch.socket("10.0.1.2"));
    let second = (lab.node.socket("10.0.2.1"), lab.switch.socket("10.0.2.2"));
    assert!(hears(&first.0, &first.1) && hears(&second.0, &second.1));

    let netfilter = nat::Netfilter::default();
    let close = |interface: &'static str| {
        let netfilter = netfilter.clone();
        let closed = lab.node.block_on(move || async move { nat::close(&netfilter, &[interface.to_owned()]).await });
        closed.expect("nf_tables takes it");
    };
    let open = |interface: &'static str| {
        let netfilter = netfilter.clone();
        let opened = lab.node.block_on(move || async move { nat::open(&netfilter, interface).await });
        opened.expect("nf_tables takes it");
    };
    close("pod1");
    assert!(!hears(&first.0, &first.1) && hears(&second.0, &second.1));
    close("pod2");
    close("pod2");
    assert!(!hears(&first.0, &first.1) && !hears(&second.0, &second.1));
    open("pod1");
    open("pod1");
    assert!(hears(&first.0, &first.1) && !hears(&second.0, &second.1));
    let both = ["pod1", "pod2"].map(str::to_owned).into_iter().collect::<BTreeSet<_>>();
    let changes = lab.node.block_on(move || async move { nat::reconcile_closed(&both).await }).expect("nft takes it");
    assert_eq!(changes, ["close pod1 to the node's own stack"]);
    assert!(!hears(&first.0, &first.1) && !hears(&second.0, &second.1));
}

#[test]
fn an_interface_that_comes_again_is_closed_again() {
    let lab = Lab::new();
    let pod1 = BTreeSet::from(["pod1".to_owned()]);
    let reconcile = |set: BTreeSet<String>| lab.node.block_on(move || async move { nat::reconcile_closed(&set).await });
    reconcile(pod1.clone()).expect("nft takes it");
    lab.node.run("ip link del pod1");
    reconcile(pod1.clone()).expect("an interface that is gone is no error");
    lab.node.connect("pod1", &lab.switch, "pod1");
    reconcile(pod1).expect("nft takes it");
    lab.node.run("ip address add 10.0.1.1/24 dev pod1");
    lab.switch.run("ip address add 10.0.1.2/24 dev pod1");
    let (node, pod) = (lab.node.socket("10.0.1.1"), lab.switch.socket("10.0.1.2"));
    node.set_read_timeout(Some(std::time::Duration::from_millis(300))).expect("a time-out");
    pod.send_to(b"x", "10.0.1.1:5000").expect("there is a route");
    assert!(node.recv(&mut [0; 10]).is_err(), "it is heard");
}

#[test]
fn the_uplink_is_the_interface_with_the_nodes_address() {
    let lab = Lab::new();
    lab.node.run("ip link set eth0 mtu 1400");
    let find = |addresses: &'static [&'static str]| {
        lab.node.block_on(move || async move {
            let handle = links::connect().expect("a netlink socket");
            let addresses = addresses.iter().map(|text| text.parse().expect("an address")).collect::<Vec<_>>();
            links::uplink(&handle, &addresses).await.expect("the kernel answers")
        })
    };
    for addresses in [["172.18.0.11", "fd00:18::11"], ["192.0.2.1", "fd00:18::11"]] {
        let found = find(Box::leak(Box::new(addresses))).expect("eth0 has it");
        assert_eq!((found.name.as_str(), found.mtu), ("eth0", 1400));
    }
    assert_eq!(find(&["192.0.2.1"]), None);
}

#[test]
fn host_ends_come_up_and_go() {
    let lab = Lab::new();
    lab.node.run("ip link set pod1 down");
    let changes = lab.node.block_on(|| async {
        let handle = links::connect().expect("a netlink socket");
        let label = Label {
            alias: "ferrant1 a pod's".into(),
            alternative_names: vec!["pod1.0:more".into(), "pod1.1:x/y".into()],
        };
        labels::bring_up(&handle, "pod1", &label, false).await.expect("it is there");
        labels::bring_up(&handle, "pod1", &label, true).await.expect("it is up");
        assert_eq!(labels::read(&handle).await.expect("links are listed")["pod1"], label);
        let missing = labels::bring_up(&handle, "pod9", &label, false).await.expect_err("it is not there").to_string();
        let removed = links::remove(&handle, "pod2").await.expect("it is there");
        let again = links::remove(&handle, "pod2").await.expect("nothing is no error");
        let lo = links::remove(&handle, "lo").await.expect_err("it is no pod's").to_string();
        (missing, removed, again, lo)
    });
    assert!(
        changes.0.contains("pod9") && changes.1 && !changes.2 && changes.3.contains("lo is not a veth"),
        "{changes:?}"
    );
    assert!(lab.node.run("ip link show dev pod1").contains(",UP"));
    assert!(!lab.switch.run("ip link").contains("pod2"), "the pod's end is gone too");
}

/// A thousand nodes: the first time all is sent, then only what differs.
#[test]
fn a_large_cluster_is_a_small_difference() {
    let lab = Lab::new();
    let mut large = facts();
    let peer = |number: u32| format!("10.{}.{}.0/24", 64 + number / 256, number % 256).parse().expect("a prefix");
    large.peer_pod_cidrs = (0..1000).map(peer).collect();
    let first = lab.reconcile(&host(&large));
    assert!(first.len() > 2000, "{}", first.len());
    large.peer_pod_cidrs.push(peer(1000));
    let second = lab.reconcile(&host(&large));
    assert_eq!(second.iter().filter(|change| change.contains("route")).count(), 2, "{second:?}");
    let routes = lab.node.run("ip route show table 100");
    assert_eq!(routes.lines().count(), 1002, "the large dump is read whole");
}
