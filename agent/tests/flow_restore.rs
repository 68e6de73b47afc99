//! On the kernel's datapath a vswitchd that starts leaves the kernel alone until it has its flows, and no longer; never where
//! a port could come that gets a number which the kernel still sends by, or where others depend on the switch.
#![allow(clippy::unwrap_used)]

mod live;
mod node;

use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use agent::apply::links;
use agent::apply::order::Worker;
use agent::apply::ports::{PortOutcome, Work, ensure_switch};
use agent::config::Config;
use agent::event::Event;
use agent::ipam::attachment::Attachment;
use agent::ipam::gateway_mac;
use agent::ovs::ovsdb::monitor::Cache;
use agent::ovs::ovsdb::{Client, Interface};
use apis::cni::MacAddress;
use clap::Parser;
use node::frames::node as a_node;
use node::{Namespace, Node, until};
use tokio::sync::oneshot;

const KEY: &str = "other_config:flow-restore-wait";

fn key(vsctl: impl Fn(&[&str]) -> String) -> String {
    vsctl(&["--if-exists", "get", "open", ".", KEY])
}

/// Whether vswitchd takes packets up; one that waits has no threads for that.
fn takes_packets(node: &Node) -> bool {
    node.appctl(&["upcall/show"]).contains("(keys")
}

async fn restart_switch(node: &mut Node) {
    node.kill_switch();
    node.start_switch();
    let listens = |socket: &str| UnixStream::connect(node.path(socket)).is_ok();
    until("the bridge is there", || listens("br-int.mgmt") && listens("v.ctl")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vswitchd_that_starts_waits_for_its_flows_and_no_longer() {
    let mut node = Node::start(&["--datapath=system"]).await;
    let frame = node.controller.say(vec![a_node(1)]);
    node.realised(frame).await;
    assert_eq!(key(|arguments| node.vsctl(arguments)), r#""true""#, "ready for the next one");
    assert!(takes_packets(&node), "this one does not look at it any more");

    // Without an agent it waits.
    node.kill_agent();
    restart_switch(&mut node).await;
    assert!(!takes_packets(&node));
    node.start_agent().await;
    node.realised(frame).await;
    assert!(takes_packets(&node), "what the agent calls realised is what packets meet");
    assert_eq!(key(|arguments| node.vsctl(arguments)), r#""true""#);

    // With one too, for as long as it takes.
    restart_switch(&mut node).await;
    until("packets are taken up, by all flows", || takes_packets(&node) && node.flow_count() > 10).await;
    until("the next one would wait too", || key(|arguments| node.vsctl(arguments)) == r#""true""#).await;

    // Somebody else's bridge does not wait for this agent.
    node.vsctl(&["add-br", "br-ex"]);
    restart_switch(&mut node).await;
    until("packets are taken up", || takes_packets(&node)).await;
    until("the next one would not wait", || key(|arguments| node.vsctl(arguments)) == r#""false""#).await;
}

#[tokio::test]
async fn nothing_waits_on_the_userspace_datapath() {
    let mut node = Node::start(&[]).await;
    node.kill_agent();
    node.vsctl(&["set", "open", ".", &format!("{KEY}=true")]);
    restart_switch(&mut node).await;
    assert!(!takes_packets(&node), "left so by an agent of the kernel's datapath");
    node.start_agent().await;
    until("packets are taken up", || takes_packets(&node)).await;
    assert_eq!(key(|arguments| node.vsctl(arguments)), r#""false""#);
}

fn pod(name: &str, host_interface: &str) -> Attachment {
    Attachment {
        container_id: name.to_owned(),
        interface: "eth0".to_owned(),
        network_namespace: PathBuf::from("/run/netns/pod"),
        network: String::new(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        host_interface: host_interface.to_owned(),
        addresses: Vec::new(),
        mac: MacAddress([0x0a, 0, 0, 0, 0, 1]),
        since: 1,
        port: None,
    }
}

fn attach(name: &str, host_interface: &str) -> Work {
    Work::Attach(Box::new(pod(name, host_interface)))
}

fn detach(name: &str, host_interface: &str) -> Work {
    Work::Detach(Box::new(pod(name, host_interface)))
}

/// A worker on a database whose vswitchd is the test.
struct Away {
    database: live::Database,
    client: Client,
    worker: Worker,
}

impl Away {
    async fn begin() -> Self {
        let database = live::Database::start().await;
        let text = |name: &str| database.folder().join(name).display().to_string();
        let config = Config::parse_from([
            "ferrant-agent",
            "--node=node-a",
            "--datapath=system",
            "--insecure",
            "--controller=http://127.0.0.1:1",
            &format!("--run-dir={}", text("run")),
            &format!("--ovsdb={}", database.socket().display()),
            &format!("--ovs-run-dir={}", text("")),
            &format!("--vswitchd-ctl={}", text("v.ctl")),
        ]);
        let client: Client = database.client().await;
        ensure_switch(&client, &config, gateway_mac("node-a")).await.unwrap();
        let netlink = links::connect().unwrap();
        let worker = Worker::new(client.clone(), config, links::Tunnel::Geneve, netlink, 1);
        let away = Self { database, client, worker };
        away.made(&["br-int", "tun0", "gw0"]).await;
        away
    }

    /// Waits until the worker's client knows an interface to be made, written only, or not there.
    async fn knows(&self, interface: &str, made: Option<bool>) {
        let found = |cache: &Cache| cache.named::<Interface>(interface).map(|(_, row)| row.ofport.is_some());
        let known = self.client.wait_for(|cache| (found(cache) == made).then_some(()), live::START_WITHIN);
        known.await.unwrap();
    }

    /// vswitchd has made these interfaces, before it died.
    async fn made(&self, interfaces: &[&str]) {
        for (number, interface) in (1..).zip(interfaces) {
            self.database.vsctl(&["set", "interface", interface, &format!("ofport={number}")]);
            self.knows(interface, Some(true)).await;
        }
    }

    /// What comes of the work when the next vswitchd would wait; and whether it would after that.
    async fn work(&mut self, work: Vec<Work>) -> (Vec<Event>, bool) {
        self.database.vsctl(&["set", "open", ".", &format!("{KEY}=true")]);
        let events = self.worker.run(work).await;
        (events, key(|arguments| self.database.vsctl(arguments)) == r#""true""#)
    }

    fn has_port(&self, name: &str) -> bool {
        self.database.vsctl(&["list-ports", "br-int"]).lines().any(|port| port == name)
    }
}

fn in_a_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let namespace = Namespace::new();
    for number in 1..=3 {
        namespace.run(&format!("ip link add h{number} type veth peer name p{number}"));
    }
    namespace.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
}

#[test]
fn a_port_comes_once_vswitchd_does_not_wait_any_more() {
    in_a_namespace(async || {
        let mut away = Away::begin().await;
        let (events, waits) = away.work(vec![Work::SwitchAway, attach("one", "h1"), attach("two", "h2")]).await;
        assert!(events.is_empty() && waits, "{events:?}");
        // It is missing meanwhile, and is not made for that.
        let (events, waits) = away.work(vec![Work::Repair(vec![pod("one", "h1")])]).await;
        assert!(events.is_empty() && waits, "{events:?}");
        assert!(!away.has_port("h1") && !away.has_port("h2"));
        // One whose ADD is taken back never comes; since it goes, the next vswitchd does not wait.
        let (events, waits) = away.work(vec![detach("two", "h2")]).await;
        assert!(matches!(&events[..], [Event::Ports(PortOutcome::Detached(_))]) && !waits, "{events:?}");

        let (answer, ended) = oneshot::channel();
        let (events, _) = away.work(vec![Work::FlowsRestored(answer)]).await;
        let error = ended.await.unwrap().unwrap_err().to_string();
        assert!(events.is_empty() && error.contains("is it running?"), "no vswitchd says that it has seen it: {error}");

        away.database.vsctl(&["set", "open", ".", "cur_cfg=1000"]);
        let (answer, ended) = oneshot::channel();
        let (events, waits) = away.work(vec![Work::FlowsRestored(answer), attach("three", "h3")]).await;
        ended.await.unwrap().unwrap();
        assert!(events.iter().all(|event| matches!(event, Event::Ports(PortOutcome::Attached(_)))), "{events:?}");
        assert!(waits, "the next one would");
        assert!(away.has_port("h1") && away.has_port("h3") && !away.has_port("h2"));
    });
}

#[test]
fn where_a_new_vswitchd_would_make_a_port_nothing_is_left_to_the_kernel() {
    in_a_namespace(async || {
        let mut away = Away::begin().await;
        assert!(away.work(vec![Work::SwitchAway]).await.1);
        // Written, and vswitchd died before it made it.
        away.database.vsctl(&["add-port", "br-int", "h1"]);
        away.knows("h1", Some(false)).await;
        assert!(!away.work(vec![Work::SwitchAway]).await.1);
        away.made(&["h1"]).await;
        assert!(away.work(vec![Work::SwitchAway]).await.1);
        // One of the bridge's own is to be made anew.
        away.database.vsctl(&["del-port", "tun0"]);
        away.knows("tun0", None).await;
        assert!(!away.work(vec![Work::Repair(Vec::new())]).await.1);
        assert!(away.has_port("tun0"));
    });
}
