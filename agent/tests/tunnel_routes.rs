//! The switch's own routes to other nodes, with a real agent, kernel and vswitchd: they are there, go where the kernel would send,
//! come back, and leave what others gave alone.
#![allow(clippy::unwrap_used)]

mod node;

use std::time::{Duration, Instant};

use agent::ovs::unixctl;
use apis::stream::change::Change as Kind;
use nix::sys::signal::Signal;
use node::frames::{change, node as a_node};
use node::{Node, WITHIN};

const NODE_B: &str = "User: 172.18.0.12/32 dev eth0 SRC 172.18.0.11";
const NODE_C: &str = "User: 172.18.0.13/32 dev eth0 SRC 172.18.0.11";
const FOREIGN: &str = "User: 10.99.0.0/16 dev eth0 GW 172.18.0.9 SRC 172.18.0.11";
/// The switch has no routes but those that it is given.
const ALONE: &[&str] = &["--disable-system-route"];

async fn appctl(node: &Node, command: &str, arguments: &[&str]) -> String {
    let answer = unixctl::call(&node.path("v.ctl"), command, arguments).await;
    answer.unwrap_or_else(|error| error.to_string()).trim().to_owned()
}

/// Waits until the switch says that it has these routes and no other that was given to it.
async fn given(node: &Node, expected: &[&str]) {
    says(node, "ovs/route/show", |text| {
        let mut lines: Vec<&str> = text.lines().filter(|line| line.starts_with("User:")).collect();
        let mut expected = expected.to_vec();
        lines.sort_unstable();
        expected.sort_unstable();
        lines == expected
    })
    .await;
}

/// Waits until tunnels end at this address of the node.
async fn tunnels_end_at(node: &Node, address: &str) {
    let text = format!("dst={address}");
    says(node, "tnl/ports/show", |shown| shown.contains(&text)).await;
}

async fn says(node: &Node, command: &str, holds: impl Fn(&str) -> bool) {
    let started = Instant::now();
    loop {
        let arguments: &[&str] = if command == "tnl/ports/show" { &["-v"] } else { &[] };
        let text = appctl(node, command, arguments).await;
        if holds(&text) {
            return;
        }
        assert!(started.elapsed() < WITHIN, "{text}\n{}", node.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn two_peers() -> Node {
    let node = Node::start(&[]).await;
    let frame = node.controller.say(vec![a_node(1), a_node(2), a_node(3)]);
    node.realised(frame).await;
    given(&node, &[NODE_B, NODE_C]).await;
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_one_for_every_peer_and_others_stay() {
    let mut node = two_peers().await;
    assert_eq!(appctl(&node, "ovs/route/add", &["10.99.0.0/16", "eth0", "172.18.0.9"]).await, "OK");
    // A hand takes one away; the next look finds it.
    assert_eq!(appctl(&node, "ovs/route/del", &["172.18.0.12/32"]).await, "OK");
    given(&node, &[NODE_B, NODE_C, FOREIGN]).await;

    node.kill_agent();
    node.start_agent().await;
    let frame = node.controller.say(vec![change(Kind::NodeRemoved("node-b".into()))]);
    node.realised(frame).await;
    given(&node, &[NODE_C, FOREIGN]).await;
    let frame = node.controller.say(vec![a_node(2)]);
    node.realised(frame).await;
    given(&node, &[NODE_B, NODE_C, FOREIGN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_go_where_the_kernel_would_send() {
    let node = two_peers().await;
    node.namespace.run("ip route add 172.18.0.12/32 via 172.18.0.99 dev eth0");
    let around = "User: 172.18.0.12/32 dev eth0 GW 172.18.0.99 SRC 172.18.0.11";
    given(&node, &[around, NODE_C]).await;
    // A way that is no way keeps the last one, and is told.
    node.namespace.run("ip route replace unreachable 172.18.0.12/32");
    node::until("it is told", || node.log().contains("no way to the node at 172.18.0.12")).await;
    given(&node, &[around, NODE_C]).await;
    node.namespace.run("ip route del unreachable 172.18.0.12/32");
    given(&node, &[NODE_B, NODE_C]).await;
    node::until("it is told", || node.log().contains("tunnels' routes in the switch are as planned")).await;
}

/// Without any other route, where tunnels end hangs on these alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_that_starts_again_and_a_device_made_anew_have_them_again() {
    let mut node = two_peers().await;
    node.kill_switch();
    node.start_switch_with(ALONE);
    given(&node, &[NODE_B, NODE_C]).await;
    assert!(!appctl(&node, "ovs/route/show", &[]).await.contains("Cached"));
    tunnels_end_at(&node, "172.18.0.11").await;

    // Taking one away leaves the end of tunnels.
    let frame = node.controller.say(vec![change(Kind::NodeRemoved("node-b".into()))]);
    node.realised(frame).await;
    given(&node, &[NODE_C]).await;
    tunnels_end_at(&node, "172.18.0.11").await;

    let eth0 = ["link add eth0 type veth peer name underlay", "link set eth0 up", "link set underlay up"];
    node.namespace.run("ip link del eth0");
    says(&node, "tnl/ports/show", |text| !text.contains("dst=172.18.0.11")).await;
    for line in eth0.iter().chain(&["address add 172.18.0.11/24 dev eth0"]) {
        node.namespace.run(&format!("ip {line}"));
    }
    tunnels_end_at(&node, "172.18.0.11").await;
    given(&node, &[NODE_C]).await;

    node.namespace.run("ip address add 172.18.0.21/24 dev eth0");
    node.namespace.run("ip address del 172.18.0.11/24 dev eth0");
    node.namespace.run("ip address replace 172.18.0.21/24 dev eth0");
    given(&node, &["User: 172.18.0.13/32 dev eth0 SRC 172.18.0.21"]).await;
    tunnels_end_at(&node, "172.18.0.21").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_that_starts_again_knows_whom_the_last_one_sent_tunnel_packets() {
    let mut node = two_peers().await;
    appctl(&node, "tnl/neigh/set", &["eth0", "172.18.0.12", "02:00:00:00:00:0c"]).await;
    appctl(&node, "tnl/neigh/set", &["eth0", "172.18.0.77", "02:00:00:00:00:4d"]).await;
    // A route that comes back was looked for, and neighbours with it.
    appctl(&node, "ovs/route/del", &["172.18.0.13/32"]).await;
    given(&node, &[NODE_B, NODE_C]).await;
    node.kill_switch();
    node.start_switch_with(ALONE);
    says(&node, "tnl/neigh/show", |text| text.contains("02:00:00:00:00:0c")).await;
    assert!(!appctl(&node, "tnl/neigh/show", &[]).await.contains("172.18.0.77"), "nobody sends tunnel packets there");
    given(&node, &[NODE_B, NODE_C]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_that_stands_still_is_named_and_gets_them_later() {
    let node = two_peers().await;
    node.signal_switch(Signal::SIGSTOP);
    node.namespace.run("ip route add 172.18.0.12/32 via 172.18.0.99 dev eth0");
    node::until("it is told", || node.log().contains("did not say within")).await;
    node.signal_switch(Signal::SIGCONT);
    given(&node, &["User: 172.18.0.12/32 dev eth0 GW 172.18.0.99 SRC 172.18.0.11", NODE_C]).await;
}
