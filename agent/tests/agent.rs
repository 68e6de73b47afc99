//! The agent as a process, on a real switch: what a frame says is in the switch, and stays what it is over restarts.
#![allow(clippy::unwrap_used)]

mod node;

use apis::stream::Direction;
use node::frames::{endpoint, group, identity, isolation, node as a_node, posture, rule, tcp};
use node::{Node, until};
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
    assert!(node.flow_count() < flows);
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
    until("the web pod is reached", || ask(&node, "10.10.2.7", 80, &web).2 == allowed).await;
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
    println!("{flows} flows: {filled} {info}");
    assert!(flows >= 100_000, "{flows}");
    assert_eq!(info["flows"].as_u64().unwrap() as usize, flows, "the switch has what the agent wants");
    assert!(info["conjunctive_flows"].as_u64().unwrap() >= 33_000);
    node.attach("shop", "web").await;
    let flows = node.flow_count();
    node.kill_agent();
    node.start_agent().await;
    let answer = node.realised(frame).await;
    println!("again: {answer} {}", node.get("/v1/info"));
    assert_eq!(answer["timing"]["changes"], 0, "a restart changes nothing: {answer}");
    assert_eq!(node.flow_count(), flows);
}
