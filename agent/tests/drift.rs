//! What a hand does to the switch and the host beside the agent: named, counted, and made as it was within two seconds, without
//! waiting for any periodic comparison.
#![allow(clippy::unwrap_used)]

mod node;

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use apis::stream::Direction;
use node::frames::{endpoint, group, identity, isolation, node as a_node, posture, rule, tcp};
use node::{Namespace, Node, WITHIN};

/// Within this all must be as it was. The promise is two seconds and each test prints what it took; a loaded machine fails no test.
const REPAIRED: Duration = Duration::from_secs(20);

/// A web pod that takes UDP 5000 from a free pod, and nothing else.
fn shop() -> Vec<apis::stream::Change> {
    let udp = apis::stream::Service { protocol: apis::stream::Protocol::Udp.into(), ..tcp(5000) };
    vec![
        a_node(1),
        a_node(2),
        posture("shop", true, false),
        identity("web", &[]),
        identity("free", &[]),
        endpoint("web", "node-a", "web", &[]),
        endpoint("free", "node-a", "free", &[]),
        group("webs", &["web"]),
        group("frees", &["free"]),
        isolation("web-only", Direction::Ingress, "webs"),
        rule("web-only", Direction::Ingress, "webs", &["frees"], vec![udp]),
    ]
}

struct Shop {
    node: Node,
    client: Namespace,
    server: Namespace,
    web: IpAddr,
    /// The host end of the web pod.
    interface: String,
    _sockets: [UdpSocket; 2],
    from: UdpSocket,
    allowed: UdpSocket,
    denied: UdpSocket,
}

impl Shop {
    async fn open() -> Self {
        let node = Node::start(&["--resync=0"]).await;
        let frame = node.controller.say(shop());
        node.realised(frame).await;
        let (server, web) = node.pod("shop", "web").await;
        let (client, _) = node.pod("shop", "free").await;
        let pods = node.get("/v1/pods");
        let pod = pods.as_array().unwrap().iter().find(|pod| pod["pod"] == "shop/web").unwrap().clone();
        let interface = pod["interface"].as_str().unwrap().to_owned();
        let bind = |port: u16| {
            move || {
                let socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
                socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                socket
            }
        };
        let (allowed, denied) = (server.inside(bind(5000)), server.inside(bind(5001)));
        let from = client.inside(bind(6000));
        let sockets = [allowed.try_clone().unwrap(), denied.try_clone().unwrap()];
        Self { node, client, server, web, interface, _sockets: sockets, from, allowed, denied }
    }

    /// Whether what policy allows arrives; what it denies must not.
    fn is_right(&self) -> bool {
        self.from.send_to(b"allowed", (self.web, 5000)).ok();
        self.from.send_to(b"denied", (self.web, 5001)).ok();
        let arrived = self.allowed.recv_from(&mut [0; 16]).is_ok();
        assert!(self.denied.recv_from(&mut [0; 16]).is_err(), "what policy denies arrived");
        arrived
    }

    /// A hand does something; it is named under this word, and packets and everything else are right again in time.
    async fn repaired(&self, object: &str, hand: impl FnOnce(&Node), right: impl Fn(&Node) -> bool) {
        let before = self.node.drift(object);
        hand(&self.node);
        let started = Instant::now();
        while !(self.node.drift(object) > before && right(&self.node) && self.is_right()) {
            let (passed, log) = (started.elapsed(), self.node.log());
            assert!(passed < WITHIN, "{object}: {before} and {}\n{log}", self.node.drift(object));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let took = started.elapsed();
        println!("{object}: as it was after {took:?}");
        assert!(took < REPAIRED, "{object}: {took:?}\n{}", self.node.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flows_groups_and_meters_of_a_hand_are_found_and_repaired() {
    let shop = Shop::open().await;
    let node = &shop.node;
    assert!(shop.is_right());
    let flows = node.flow_count();
    let info = node.get("/v1/info");
    assert_eq!(info["drift"], serde_json::json!({}), "what the agent does itself is no drift");

    let all_there = |node: &Node| node.flow_count() == flows;
    shop.repaired("flow", |node| drop(node.ofctl("del-flows", &["table=82"])), all_there).await;
    shop.repaired("flow", |node| drop(node.ofctl("del-flows", &[])), all_there).await;
    let open = "table=0,priority=65000,ip,nw_proto=17,actions=normal";
    shop.repaired("flow", |node| drop(node.ofctl("add-flow", &[open])), all_there).await;
    let other = "table=84,actions=drop";
    shop.repaired("flow", |node| drop(node.ofctl("mod-flows", &[other])), all_there).await;
    // Somebody's own tables and cookies.
    let foreign = "table=200,cookie=0x77,priority=7,actions=drop";
    shop.repaired("flow", |node| drop(node.ofctl("add-flow", &[foreign])), all_there).await;

    let no_groups = |node: &Node| node.ofctl("dump-groups", &[]).lines().count() <= 1;
    shop.repaired("group", |node| drop(node.ofctl("add-group", &["group_id=5,type=all,bucket=drop"])), no_groups).await;
    let no_meters = |node: &Node| !node.ofctl("dump-meters", &[]).contains("meter=5");
    let meter = "meter=5,pktps,bands=type=drop,rate=10";
    shop.repaired("meter", |node| drop(node.ofctl("add-meter", &[meter])), no_meters).await;
    assert_eq!(node.post("/v1/recompute", &serde_json::json!({}))["differences"], serde_json::json!([]));
    let reads = node.log().matches("will be read again").count();
    assert_eq!(reads, 0, "no fault was met on the way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_and_the_bridge_are_made_as_they_were() {
    let shop = Shop::open().await;
    let interface = shop.interface.clone();
    let any = |_: &Node| true;
    let is_port = |node: &Node| node.vsctl(&["list-ports", "br-int"]).lines().any(|name| name == interface);
    shop.repaired("port", |node| drop(node.vsctl(&["del-port", &interface])), is_port).await;
    shop.repaired("port", |node| drop(node.vsctl(&["del-port", "gw0"])), any).await;
    let set = |values: &[&str]| {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        move |node: &Node| {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            drop(node.vsctl(&[&["set", "bridge", "br-int"], &values[..]].concat()));
        }
    };
    let setting = |column: &'static str, value: &'static str| {
        move |node: &Node| node.vsctl(&["get", "bridge", "br-int", column]) == value
    };
    shop.repaired("bridge", set(&["protocols=OpenFlow10,OpenFlow15"]), setting("protocols", "[OpenFlow15]")).await;
    let controller = |node: &Node| drop(node.vsctl(&["set-controller", "br-int", "ptcp:6653:127.0.0.1"]));
    shop.repaired("bridge", controller, setting("controller", "[]")).await;
    shop.repaired("bridge", |node| drop(node.vsctl(&["del-br", "br-int"])), is_port).await;
    let pods = shop.node.get("/v1/pods");
    assert_eq!(pods.as_array().unwrap().len(), 2, "nothing of the pods is forgotten");

    // Another number for the port: flows follow it.
    node::until("the pod is reached by its other number", || {
        // The bridge has only just been made again: what is asked of a row that is replaced once more is asked again.
        shop.node.vsctl(&["set", "interface", &interface, "ofport_request=77"]);
        let pods = shop.node.get("/v1/pods");
        pods.as_array().unwrap().iter().any(|pod| pod["port"] == 77) && shop.is_right()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_was_opened_by_hand_is_closed_again() {
    let shop = Shop::open().await;
    let node = &shop.node;
    let before = node.drift("bridge");
    let started = Instant::now();
    node.vsctl(&["set", "bridge", "br-int", "fail_mode=standalone"]);
    node::until("it is named and closed", || {
        node.drift("bridge") > before && node.vsctl(&["get", "bridge", "br-int", "fail_mode"]) == "secure"
    })
    .await;
    // Flows that the change threw away are back.
    node::until("packets are right", || shop.is_right()).await;
    println!("fail_mode: as it was after {:?}", started.elapsed());
    assert!(started.elapsed() < REPAIRED, "{:?}", started.elapsed());
    let info = node.get("/v1/info");
    assert_eq!(info["flows"].as_u64().unwrap() as usize, node.flow_count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_rules_and_nft_of_the_host_are_made_as_they_were() {
    let shop = Shop::open().await;
    let run = |line: &'static str| move |node: &Node| drop(node.namespace.run(line));
    let shows = |line: &'static str, text: &'static str| move |node: &Node| node.namespace.run(line).contains(text);
    let routes = shows("ip route show table 100", "10.10.2.0/24");
    shop.repaired("host", run("ip route flush table 100"), routes).await;
    shop.repaired("host", run("ip rule del pref 100"), shows("ip rule", "iif lo lookup 100")).await;
    shop.repaired("host", run("ip -6 rule del pref 100"), shows("ip -6 rule", "iif lo lookup 100")).await;
    shop.repaired("host", run("nft delete table inet ferrant"), shows("nft list ruleset", "masquerade")).await;
    shop.repaired("host", run("nft delete table netdev ferrant"), shows("nft list ruleset", "closed_")).await;
    shop.repaired("host", run("ip address flush dev gw0"), shows("ip address show gw0", "10.10.1.1")).await;
    shop.repaired("host", run("ip link set gw0 down"), shows("ip route show table 100", "10.10.2.0/24")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_goes_without_del_is_named_and_its_flows_go() {
    let shop = Shop::open().await;
    let (node, interface) = (&shop.node, &shop.interface);
    let flows = node.flow_count();
    node.namespace.run(&format!("ip link del {interface}"));
    node::until("its flows are gone", || node.drift("port") > 0 && node.flow_count() < flows).await;
    assert!(node.log().contains(&format!("interface {interface} of pod shop/web")), "{}", node.log());
    // Whoever takes its port away now takes what there is; nothing is made of a device that is gone.
    node.vsctl(&["del-port", interface]);
    node::until("it is said", || node.log().contains("is gone without DEL")).await;
    let request = serde_json::json!({"container_id": "shop-web", "interface": "eth0"});
    let (status, body) = node.cni(apis::cni::DELETE_PATH, &request);
    assert_eq!(status, 200, "{body}");
    assert_eq!(node.get("/v1/pods").as_array().unwrap().len(), 1);
    drop((shop.client, shop.server));
}
