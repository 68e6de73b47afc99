//! The agent as a process, on a real switch: what a frame says is in the switch, and stays what it is over restarts.
#![allow(clippy::unwrap_used)]

mod node;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use apis::stream::Direction;
use node::frames::{endpoint, group, identity, isolation, node as a_node, posture, rule, rule_removed, tcp};
use node::{Namespace, Node, until};
use serde_json::json;

/// Two nodes; a web pod here that takes TCP 80 from a client elsewhere, and a free pod.
fn shop() -> Vec<apis::stream::Change> {
    vec![
        a_node(1),
        a_node(2),
        posture("shop", true, false),
        identity("web", &[]),
        identity("client", &[]),
        identity("free", &[]),
        endpoint("web", "node-a", "web", &[]),
        endpoint("free", "node-a", "free", &[]),
        endpoint("client", "node-b", "client", &["10.10.2.7", "fd00:10:0:2::7"]),
        endpoint("other", "node-b", "free", &["10.10.2.8"]),
        group("webs", &["web"]),
        group("clients", &["client"]),
        isolation("web-only", Direction::Ingress, "webs"),
        rule("web-only", Direction::Ingress, "webs", &["clients"], vec![tcp(80)]),
    ]
}

/// What becomes of a packet from another node to the web pod.
fn ask(node: &Node, source: &str, port: u16, web: &str) -> (String, String, Vec<String>) {
    let answer = node.post(
        "/v1/trace",
        &json!({
            "source": {"tunnel": "node-b"}, "source_address": source, "destination_address": web, "protocol": "TCP",
            "destination_port": port,
        }),
    );
    let names = answer["ingress"]["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    (answer["outcome"].as_str().unwrap().into(), answer["table"].as_str().unwrap().into(), names.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_frame_says_is_in_the_switch_and_stays_over_restarts() {
    let mut node = Node::start(&["--resync=1"]).await;
    let frame = node.controller.say(shop());
    node.realised(frame).await;
    let plan = node.attach("shop", "web").await;
    node.attach("shop", "free").await;
    let web: ipnet::IpNet = plan["addresses"][0]["address"].as_str().unwrap().parse().unwrap();
    let web = web.addr().to_string();

    let allowed = vec!["NetworkPolicy/shop/web-only rule[0]".to_owned()];
    let isolated = vec!["NetworkPolicy/shop/web-only".to_owned()];
    assert_eq!(ask(&node, "10.10.2.7", 80, &web), ("Delivered".into(), "Output".into(), allowed.clone()));
    assert_eq!(ask(&node, "10.10.2.7", 81, &web), ("Dropped".into(), "IngressDefault".into(), isolated.clone()));
    assert_eq!(ask(&node, "10.10.2.8", 80, &web), ("Dropped".into(), "IngressDefault".into(), isolated));
    assert_eq!(node.post("/v1/recompute", &json!({})), json!({"differences": []}));
    {
        let heard = node.controller.heard.lock().unwrap();
        assert!(heard.acknowledged.contains(&frame) && heard.pods.len() == 2, "pods are reported");
    }

    // The agent ends and comes back: it finds what it wants, and sends nothing.
    let flows = node.flow_count();
    node.kill_agent();
    node.start_agent().await;
    let answer = node.realised(frame).await;
    assert_eq!(answer["timing"]["changes"], 0, "a restart changes nothing: {answer}\n{}", node.log());
    assert_eq!(node.flow_count(), flows);
    assert_eq!(node.get("/v1/pods").as_array().unwrap().len(), 2);

    // A flow that a hand takes away comes back.
    node.ofctl("del-flows", &["table=82"]);
    until("it is noticed", || node.drift("flow") > 0).await;
    until("the deleted flows are back", || node.flow_count() == flows).await;
    assert_eq!(ask(&node, "10.10.2.7", 80, &web).0, "Delivered");

    // The switch ends and comes back: empty, then filled.
    node.kill_switch();
    node.start_switch();
    until("the switch answers", || {
        std::process::Command::new("ovs-ofctl")
            .args(["-O", "OpenFlow15", "dump-aggregate", &format!("unix:{}", node.path("br-int.mgmt").display())])
            .output()
            .is_ok_and(|output| output.status.success())
    })
    .await;
    until("the switch is filled", || node.flow_count() == flows).await;
    until("the new gateway device has its address and its routes", || {
        node.namespace.run("ip address show dev gw0").contains("10.10.1.1/")
            && node.namespace.run("ip route show table 100").contains("10.10.2.0/24")
    })
    .await;
    until("the web pod is reached", || ask(&node, "10.10.2.7", 80, &web).2 == allowed).await;
}

fn udp(port: u32) -> apis::stream::Service {
    apis::stream::Service { protocol: apis::stream::Protocol::Udp.into(), ..tcp(port) }
}

/// A connection of which only replies flow: one question, and answers without end.
struct Stream {
    client: UdpSocket,
    server: SocketAddr,
    _answers: std::thread::JoinHandle<()>,
}

impl Stream {
    fn between(client: &Namespace, server: &Namespace, address: IpAddr) -> Self {
        let socket = server.inside(|| UdpSocket::bind("0.0.0.0:5000").unwrap());
        let answers = std::thread::spawn(move || {
            let mut buffer = [0; 16];
            let Ok((_, from)) = socket.recv_from(&mut buffer) else { return };
            // It ends with its pod's interface.
            while socket.send_to(b"answer", from).is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let client = client.inside(|| UdpSocket::bind("0.0.0.0:6000").unwrap());
        Self { client, server: (address, 5000).into(), _answers: answers }
    }

    fn ask(&self) {
        self.client.send_to(b"question", self.server).unwrap();
    }

    /// Whether an answer comes within some time.
    fn hears(&self, within: Duration) -> bool {
        self.client.set_read_timeout(Some(within)).unwrap();
        self.client.recv_from(&mut [0; 16]).is_ok()
    }

    /// How long answers still come before there is silence.
    fn falls_silent(&self) -> Duration {
        let started = Instant::now();
        while self.hears(Duration::from_millis(200)) {
            assert!(started.elapsed() < node::WITHIN, "answers still come");
        }
        started.elapsed().saturating_sub(Duration::from_millis(200))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_stop_when_policy_takes_back_what_admitted_them() {
    let node = Node::start(&[]).await;
    let mut changes = shop();
    changes.push(rule("stream", Direction::Ingress, "webs", &["frees"], vec![udp(5000)]));
    changes.push(group("frees", &["free"]));
    let frame = node.controller.say(changes);
    node.realised(frame).await;
    let (server, address) = node.pod("shop", "web").await;
    let (client, _) = node.pod("shop", "free").await;
    let stream = Stream::between(&client, &server, address);
    stream.ask();
    assert!(stream.hears(node::WITHIN), "the policy allows it");

    // The client says nothing more, so only the agent's look at the connection can find that policy denies it now.
    let taken_back = node.controller.say(vec![rule_removed("stream")]);
    node.realised(taken_back).await;
    let silent_after = stream.falls_silent();
    println!("silent {silent_after:?} after the switch obeyed");
    assert!(silent_after < Duration::from_secs(5), "{silent_after:?}");

    // Allowed again, the next question brings the answers back.
    let again = node.controller.say(vec![rule("stream", Direction::Ingress, "webs", &["frees"], vec![udp(5000)])]);
    node.realised(again).await;
    assert!(!stream.hears(Duration::from_millis(200)), "blocked until its own side speaks");
    stream.ask();
    assert!(stream.hears(node::WITHIN), "allowed again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_switch_refuses_is_named_and_closes_its_pods_alone() {
    let node = Node::start(&["--resync=0"]).await;
    let mut changes = shop();
    changes.push(endpoint("client", "node-a", "client", &[]));
    let frame = node.controller.say(changes);
    node.realised(frame).await;
    node.attach("shop", "web").await;
    let _client = node.pod("shop", "client").await;
    let pods = |node: &Node| {
        let pods = node.get("/v1/pods");
        let of = |name: &str| {
            let pods = pods.as_array().unwrap().iter();
            pods.clone().find(|pod| pod["pod"] == name).unwrap()["ingress"].as_str().unwrap().to_owned()
        };
        (of("shop/web"), of("shop/client"))
    };
    assert_eq!(pods(&node), ("policed".into(), "policed".into()));

    // Table 82 (IngressRule) takes no flow more.
    let flows = node.ofctl("dump-flows", &["table=82", "--no-stats"]).lines().count();
    let database = format!("--db=unix:{}", node.path("db.sock").display());
    node::run(std::process::Command::new("ovs-vsctl").arg(database).args([
        "--",
        "--id=@full",
        "create",
        "Flow_Table",
        &format!("flow_limit={flows}"),
        "--",
        "set",
        "Bridge",
        "br-int",
        "flow_tables:82=@full",
    ]));
    let refused = node.controller.say(vec![rule("more", Direction::Ingress, "webs", &["clients"], vec![tcp(8080)])]);
    let answer = node.realised(refused).await;
    let failures = answer["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 1, "{answer}");
    assert_eq!(failures[0]["object"], "NetworkPolicy/shop/more rule[0]");
    assert_eq!(pods(&node), ("closed".into(), "policed".into()), "its pods are closed, and no others");
    assert_eq!(node.post("/v1/recompute", &json!({})), json!({"differences": []}));
    until("the controller hears of it", || {
        let heard = node.controller.heard.lock().unwrap();
        let failures = heard.realised.last().map(|realised| realised.failures.as_slice()).unwrap_or_default();
        failures.iter().any(|failure| failure.object == "NetworkPolicy/shop/more rule[0]")
    })
    .await;
    let gone = node.controller.say(vec![rule_removed("more")]);
    let answer = node.realised(gone).await;
    assert_eq!(answer["failures"], json!([]));
    assert_eq!(pods(&node), ("policed".into(), "policed".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_dies_anywhere_comes_back_right() {
    let mut node = Node::start(&["--resync=0"]).await;
    let mut frame = node.controller.say(shop());
    node.realised(frame).await;
    node.attach("shop", "web").await;
    for round in 0..12_u32 {
        // Much at once, so that the agent is somewhere in it when it dies.
        for number in 0..40 {
            let word = format!("r{round}-{number}");
            frame =
                node.controller.say(vec![rule(&word, Direction::Ingress, "webs", &["clients"], vec![tcp(number + 1)])]);
            if number % 3 == 0 {
                frame = node.controller.say(vec![rule_removed(&word)]);
            }
        }
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 3)).await;
        node.kill_agent();
        if round % 4 == 3 {
            node.kill_switch();
            node.start_switch();
        }
        node.start_agent().await;
    }
    node.realised(frame).await;
    assert_eq!(node.post("/v1/recompute", &json!({})), json!({"differences": []}));
    until("the switch has what the agent wants", || {
        node.get("/v1/info")["flows"].as_u64() == Some(node.flow_count() as u64)
    })
    .await;
    node.kill_agent();
    node.start_agent().await;
    assert_eq!(node.realised(frame).await["timing"]["changes"], 0, "nothing was missing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_controller_the_last_state_holds_and_a_new_pod_is_closed_where_policy_could_select_it() {
    let mut node = Node::start(&[]).await;
    let frame = node.controller.say(shop());
    node.realised(frame).await;
    let plan = node.attach("shop", "web").await;
    let web: ipnet::IpNet = plan["addresses"][0]["address"].as_str().unwrap().parse().unwrap();
    let web = web.addr().to_string();

    node.kill_agent();
    node.kill_switch();
    node.controller.stop();
    node.start_switch();
    node.start_agent().await;
    node.realised(frame).await;
    assert_eq!(node.get("/v1/info")["controller_connected"], false);
    until("the web pod is reached", || ask(&node, "10.10.2.7", 80, &web).0 == "Delivered").await;
    assert_eq!(ask(&node, "10.10.2.8", 80, &web).1, "IngressDefault");

    // It is attached, with success; policies for ingress could select it, none for egress could.
    node.attach("shop", "late").await;
    let pods = node.get("/v1/pods");
    let late = pods.as_array().unwrap().iter().find(|pod| pod["pod"] == "shop/late").unwrap();
    assert_eq!((late["ingress"].as_str(), late["egress"].as_str()), (Some("closed"), Some("open")), "{late}");
}

/// Two thirds addresses of pods elsewhere, one third clauses of conjunctions.
fn large() -> Vec<apis::stream::Change> {
    let mut changes = shop();
    for number in 0..500 {
        changes.push(identity(&format!("i{number}"), &[]));
    }
    let all: Vec<String> = (0..500).map(|number| format!("i{number}")).collect();
    changes.push(group("everyone", &all.iter().map(String::as_str).collect::<Vec<_>>()));
    changes.push(rule("everyone", Direction::Ingress, "webs", &["everyone"], vec![tcp(443)]));
    for number in 0..33_000_u32 {
        let (high, low) = (number / 250, number % 250 + 1);
        let addresses = [format!("10.20.{high}.{low}"), format!("fd00:20::{high:x}:{low:x}")];
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        changes.push(endpoint(&format!("pod-{number}"), "node-b", &format!("i{}", number % 500), &addresses));
    }
    for number in 0..34_u32 {
        let mut blocks = rule(&format!("blocks{number}"), Direction::Ingress, "webs", &[], vec![tcp(1000 + number)]);
        if let Some(apis::stream::change::Change::Rule(rule)) = &mut blocks.change {
            let block = |low: u32| apis::stream::IpBlock {
                cidr: Some(node::frames::prefix(&format!("192.{number}.{}.{}/32", low / 250, low % 250))),
                except: Vec::new(),
            };
            rule.blocks = (0..1000).map(block).collect();
        }
        changes.push(blocks);
    }
    changes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_flows() {
    let mut node = Node::start(&["--resync=0"]).await;
    let frame = node.controller.say(large());
    let filled = node.realised(frame).await;
    let info = node.get("/v1/info");
    let flows = node.flow_count();
    println!("{flows} flows: {filled} {info} processor time {:?}", node.processor_time());
    assert!(flows >= 100_000, "{flows}");
    assert_eq!(info["flows"].as_u64().unwrap() as usize, flows, "the switch has what the agent wants");
    assert!(info["conjunctive_flows"].as_u64().unwrap() >= 33_000);
    node.attach("shop", "web").await;
    let flows = node.flow_count();
    node.kill_agent();
    node.start_agent().await;
    let answer = node.realised(frame).await;
    println!("again: {answer} {} processor time {:?}", node.get("/v1/info"), node.processor_time());
    assert_eq!(answer["timing"]["changes"], 0, "a restart changes nothing: {answer}");
    assert_eq!(node.flow_count(), flows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_takes_what_another_layout_left_and_leaves_what_is_right() {
    let mut node = Node::start(&["--resync=0"]).await;
    let udp = |port| udp(port);
    let mut changes = shop();
    changes.push(rule("stream", Direction::Ingress, "webs", &["frees"], vec![udp(5000)]));
    changes.push(group("frees", &["free"]));
    let frame = node.controller.say(changes);
    node.realised(frame).await;
    let (server, address) = node.pod("shop", "web").await;
    let (client, _) = node.pod("shop", "free").await;
    let flows = node.flow_count();
    node.kill_agent();

    // What an older version may have had: tables that are not there any more, tables of the same number that say something else,
    // other numbers of identities and rules, cookies, groups and meters of its own.
    node.ofctl("add-group", &["group_id=9,type=all,bucket=drop"]);
    node.ofctl("add-meter", &["meter=9,pktps,bands=type=drop,rate=1"]);
    for flow in [
        "table=199,cookie=0x6f6c64,priority=100,ip,actions=group:9",
        "table=7,priority=1,actions=resubmit(,82)",
        "table=82,priority=100,cookie=0x6f6c64,reg2=0x40000010,actions=conjunction(1073741840,1/2)",
        "table=84,priority=100,reg3=0x40000011,actions=load:0->NXM_NX_REG0[0..3],goto_table:86",
        "table=82,priority=101,udp,tp_dst=5001,actions=load:0x3->NXM_NX_REG0[18..19],goto_table:250",
    ] {
        node.ofctl("add-flow", &[flow]);
    }
    node.ofctl("del-flows", &["table=88"]);
    let denied = server.inside(|| UdpSocket::bind("0.0.0.0:5001").unwrap());
    let allowed = server.inside(|| UdpSocket::bind("0.0.0.0:5000").unwrap());
    let from = client.inside(|| UdpSocket::bind("0.0.0.0:6001").unwrap());
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (sender, ended) = (from.try_clone().unwrap(), stop.clone());
    let flood = std::thread::spawn(move || {
        while !ended.load(std::sync::atomic::Ordering::Relaxed) {
            let _ = sender.send_to(b"denied", (address, 5001));
            std::thread::sleep(Duration::from_micros(500));
        }
    });
    let started = Instant::now();
    node.start_agent().await;
    node.realised(frame).await;
    until("only what is wanted is there", || {
        node.flow_count() == flows
            && node.ofctl("dump-groups", &[]).lines().count() <= 1
            && !node.ofctl("dump-meters", &[]).contains("meter=9")
    })
    .await;
    allowed.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    until("what policy allows arrives", || {
        from.send_to(b"allowed", (address, 5000)).unwrap();
        allowed.recv_from(&mut [0; 16]).is_ok()
    })
    .await;
    let upgrade = started.elapsed();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    flood.join().unwrap();
    denied.set_nonblocking(true).unwrap();
    assert!(denied.recv_from(&mut [0; 16]).is_err(), "what policy denies arrived");

    // What was right is older than the upgrade: nothing was wiped.
    let old = |line: &&str| {
        let duration = line.split("duration=").nth(1).and_then(|rest| rest.split('s').next()).unwrap();
        duration.parse::<f64>().unwrap() > upgrade.as_secs_f64() + 0.1
    };
    let dump = node.ofctl("dump-flows", &[]);
    let kept = dump.lines().filter(|line| line.contains("duration=")).filter(old).count();
    assert!(kept * 10 >= flows * 8, "{kept} of {flows} flows were left as they were");
}
