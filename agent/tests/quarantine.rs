//! What does not fit into the switch: more clauses than a flow can hold, a bundle refused in the middle. The rest goes on, what is
//! left out is named, and the pods it is about are closed.
#![allow(clippy::unwrap_used)]

mod node;

use apis::stream::{Change, Direction};
use node::Node;
use node::frames::{endpoint, group, identity, isolation, node as a_node, posture, rule, rule_removed, tcp};
use serde_json::json;

fn shop() -> Vec<Change> {
    vec![
        a_node(1),
        a_node(2),
        posture("shop", true, false),
        identity("web", &[]),
        identity("client", &[]),
        identity("free", &[]),
        endpoint("web", "node-a", "web", &[]),
        endpoint("free", "node-a", "free", &[]),
        endpoint("client", "node-b", "client", &["10.10.2.7"]),
        group("webs", &["web"]),
        group("clients", &["client"]),
        isolation("web-only", Direction::Ingress, "webs"),
    ]
}

/// A rule of its own for each port: each has a clause in the flow of the one pod and in that of the one client.
fn rules(ports: std::ops::Range<u32>) -> impl Iterator<Item = Change> {
    ports.map(|port| rule(&format!("port-{port}"), Direction::Ingress, "webs", &["clients"], vec![tcp(port)]))
}

/// What becomes of a packet from the client to a port of the pod, and whose doing it is.
fn ask(node: &Node, web: &str, port: u32) -> (String, String) {
    let question = json!({
        "source": {"tunnel": "node-b"}, "source_address": "10.10.2.7", "destination_address": web, "protocol": "TCP",
        "destination_port": port,
    });
    let answer = node.post("/v1/trace", &question);
    (answer["outcome"].as_str().unwrap().into(), answer["ingress"]["names"][0].as_str().unwrap_or_default().into())
}

async fn attach(node: &Node) -> String {
    let plan = node.attach("shop", "web").await;
    node.attach("shop", "free").await;
    let web: ipnet::IpNet = plan["addresses"][0]["address"].as_str().unwrap().parse().unwrap();
    web.addr().to_string()
}

fn posture_of(node: &Node, name: &str) -> String {
    let pods = node.get("/v1/pods");
    let pod = pods.as_array().unwrap().iter().find(|pod| pod["pod"] == name).unwrap().clone();
    pod["ingress"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_thousand_rules_about_one_pod_are_all_obeyed() {
    let node = Node::start(&["--resync=0"]).await;
    let mut changes = shop();
    changes.extend(rules(10_000..14_500));
    let frame = node.controller.say(changes);
    let answer = node.realised(frame).await;
    assert_eq!(answer["failures"], json!([]));
    let web = attach(&node).await;
    for port in [10_000, 12_100, 14_200, 14_499] {
        let by = format!("NetworkPolicy/shop/port-{port} rule[0]");
        assert_eq!(ask(&node, &web, port), ("Delivered".into(), by));
    }
    assert_eq!(ask(&node, &web, 9_999).0, "Dropped");
    assert_eq!(ask(&node, &web, 14_500).0, "Dropped");

    // One more and one less change nothing about the others.
    let mut changes: Vec<Change> = rules(14_500..14_501).collect();
    changes.push(rule_removed("port-10000"));
    let frame = node.controller.say(changes);
    node.realised(frame).await;
    assert_eq!(ask(&node, &web, 10_000).0, "Dropped");
    assert_eq!(ask(&node, &web, 10_001).0, "Delivered");
    assert_eq!(ask(&node, &web, 14_500).0, "Delivered");
    assert_eq!(node.post("/v1/recompute", &json!({})), json!({"differences": []}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_clauses_than_a_message_holds_are_named_and_close_their_pods_alone() {
    let node = Node::start(&["--resync=0"]).await;
    // Four kinds of flow take two thousand clauses each in turn; of the sixth two thousand the last do not fit beside the second.
    let mut changes = shop();
    changes.extend(rules(10_000..22_400));
    let frame = node.controller.say(changes);
    let answer = node.realised(frame).await;
    let failures = answer["failures"].as_array().unwrap();
    assert!((1..200).contains(&failures.len()), "{} are left out", failures.len());
    for failure in failures {
        assert!(failure["object"].as_str().unwrap().starts_with("NetworkPolicy/shop/port-"), "{failure}");
        assert!(failure["reason"].as_str().unwrap().contains("bytes"), "{failure}");
    }
    attach(&node).await;
    assert_eq!(
        (posture_of(&node, "shop/web").as_str(), posture_of(&node, "shop/free").as_str()),
        ("closed", "policed")
    );
    assert_eq!(node.post("/v1/recompute", &json!({})), json!({"differences": []}));

    // What was left out goes away: all is whole again.
    let names: Vec<String> = failures
        .iter()
        .map(|failure| failure["object"].as_str().unwrap().split(['/', ' ']).nth(2).unwrap().to_owned())
        .collect();
    let frame = node.controller.say(names.iter().map(|name| rule_removed(name)).collect());
    assert_eq!(node.realised(frame).await["failures"], json!([]));
    assert_eq!(posture_of(&node, "shop/web"), "policed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_fill_that_is_refused_in_the_middle_goes_on_without_what_is_refused() {
    let node = Node::start(&["--resync=0"]).await;
    let mut changes = shop();
    changes.push(identity("other", &[]));
    changes.push(endpoint("other", "node-a", "other", &[]));
    changes.push(group("others", &["other"]));
    changes.push(isolation("others-only", Direction::Ingress, "others"));
    let frame = node.controller.say(changes);
    node.realised(frame).await;
    attach(&node).await;
    node.attach("shop", "other").await;
    let full = node.ofctl("dump-flows", &["table=82", "--no-stats"]).lines().count() + 600;
    node.vsctl(&[
        "--",
        "--id=@full",
        "create",
        "Flow_Table",
        &format!("flow_limit={full}"),
        "--",
        "set",
        "Bridge",
        "br-int",
        "flow_tables:82=@full",
    ]);
    // Blocks of a thousand addresses each, of which the first half fits.
    let block = |number: u32| {
        let mut change = rule(&format!("blocks-{number}"), Direction::Ingress, "webs", &[], vec![tcp(1000 + number)]);
        if let Some(apis::stream::change::Change::Rule(rule)) = &mut change.change {
            let prefix = |low: u32| node::frames::prefix(&format!("192.{number}.{}.{}/32", low / 250, low % 250));
            rule.blocks =
                (0..100).map(|low| apis::stream::IpBlock { cidr: Some(prefix(low)), except: Vec::new() }).collect();
        }
        change
    };
    let mut changes: Vec<Change> = (0..12).map(block).collect();
    changes.push(rule("others", Direction::Ingress, "others", &["clients"], vec![]));
    let frame = node.controller.say(changes);
    let answer = node.realised(frame).await;
    let failures = answer["failures"].as_array().unwrap();
    assert!((1..12).contains(&failures.len()), "{answer}");
    assert_eq!(posture_of(&node, "shop/web"), "closed");
    assert_eq!((posture_of(&node, "shop/other"), posture_of(&node, "shop/free")), ("policed".into(), "policed".into()));
    assert_eq!(node.post("/v1/recompute", &json!({})), json!({"differences": []}));
    assert_eq!(node.get("/v1/info")["flows"].as_u64().unwrap() as usize, node.flow_count());
}
