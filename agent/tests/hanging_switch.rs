//! A vswitchd that stands still, as under a debugger or on a disk that hangs: it holds its connections and says nothing. Nobody who
//! asks the agent waits for it longer than is promised, and nothing is lost once it goes on.
#![allow(clippy::unwrap_used)]

mod node;

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use apis::cni::{ADD_PATH, CONFIRM_PATH, DELETE_PATH, STATUS_PATH};
use apis::stream::Direction;
use nix::sys::signal::Signal;
use node::frames::{endpoint, group, identity, isolation, node as a_node, posture, rule, tcp};
use node::{Node, exchange, until};
use serde_json::{Value, json};

/// What needs nothing of the switch is answered in milliseconds; a loaded machine fails no test.
const AT_ONCE: Duration = Duration::from_secs(4);
/// What docs/cni.md promises for a switch that is away.
const DEL_WITHIN: Duration = Duration::from_secs(5);
const ADD_WITHIN: Duration = Duration::from_secs(20);

fn shop() -> Vec<apis::stream::Change> {
    vec![
        a_node(1),
        a_node(2),
        posture("shop", true, false),
        identity("web", &[]),
        endpoint("web", "node-a", "web", &[]),
        group("webs", &["web"]),
        isolation("web-only", Direction::Ingress, "webs"),
    ]
}

/// What is answered, which has to be at once.
fn at_once<T>(what: &str, ask: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let answer = ask();
    assert!(started.elapsed() < AT_ONCE, "{what} took {:?}", started.elapsed());
    answer
}

/// Status and body of one call on its own connection, and what it took, in the background.
fn call(mut plugin: UnixStream, path: &'static str, body: Value) -> tokio::task::JoinHandle<(u16, Value, Duration)> {
    tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let (status, body) = exchange(&mut plugin, path, &body.to_string());
        (status, serde_json::from_str(&body).unwrap(), started.elapsed())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_that_stands_still_keeps_nobody_waiting() {
    let node = Node::start(&[]).await;
    let frame = node.controller.say(shop());
    node.realised(frame).await;
    node.attach("shop", "web").await;
    assert_eq!(node.cni(STATUS_PATH, &json!({})).0, 200);

    node.signal_switch(Signal::SIGSTOP);
    // Something for it to do, which it does not.
    let wanted = node.controller.say(vec![rule("web-only", Direction::Ingress, "webs", &["webs"], vec![tcp(80)])]);
    until("the frame is here", || at_once("info", || node.get("/v1/info"))["frame"] == wanted).await;

    // DEL, and ADD of another pod.
    let connect = || UnixStream::connect(node.path("run/cni.sock")).unwrap();
    let name = |pod: &str| json!({"container_id": format!("shop-{pod}"), "interface": "eth0"});
    let deleted = call(connect(), DELETE_PATH, name("web"));
    let mut plugin = connect();
    let request = json!({
        "container_id": "shop-late", "interface": "eth0", "network_namespace": "/proc/self/ns/net",
        "pod_namespace": "shop", "pod_name": "late",
    });
    let (status, plan) = at_once("a plan", || exchange(&mut plugin, ADD_PATH, &request.to_string()));
    assert_eq!(status, 200, "{plan}");
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let host = plan["host_interface"].as_str().unwrap();
    node.namespace.run(&format!("ip link add {host} type veth peer name p{}", &host[1..]));
    let added = call(plugin, CONFIRM_PATH, name("late"));

    until("STATUS says that the switch does not answer", || {
        let (status, body) = at_once("STATUS", || node.cni(STATUS_PATH, &json!({})));
        status != 200 && body["code"] == 51
    })
    .await;
    assert_eq!(at_once("info", || node.get("/v1/info"))["switch_connected"], false);
    let (status, body, took) = deleted.await.unwrap();
    assert!(status == 200 && took < DEL_WITHIN + AT_ONCE, "{status} {body} after {took:?}");
    let note = || std::fs::read_dir(node.path("run/detached")).unwrap().count();
    assert_eq!(note(), 1, "what is still to be done is written down");
    let (status, body, took) = added.await.unwrap();
    assert!(status != 200 && body["code"] == 11 && took < ADD_WITHIN + AT_ONCE, "{status} {body} after {took:?}");

    node.signal_switch(Signal::SIGCONT);
    node.realised(wanted).await;
    until("both pods are gone, with their addresses and the note", || {
        node.get("/v1/pods").as_array().unwrap().is_empty() && node.get("/v1/info")["addresses"] == 0 && note() == 0
    })
    .await;
    until("ADD is possible", || node.cni(STATUS_PATH, &json!({})).0 == 200).await;
    node.attach("shop", "web").await;
    assert_eq!(node.post("/v1/recompute", &json!({})), json!({"differences": []}));
}
