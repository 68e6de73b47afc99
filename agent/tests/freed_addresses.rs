//! An address that a pod has given back is not another's while other nodes may still map it, also where the agent starts anew.
#![allow(clippy::unwrap_used)]

mod node;

use apis::cni::{DELETE_PATH, STATUS_PATH};
use node::frames::{node as a_node, posture};
use node::{Node, until};
use serde_json::{Value, json};

fn address(plan: &Value) -> &str {
    plan["addresses"][0]["address"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_starts_knows_what_was_freed_last() {
    let mut node = Node::start(&[]).await;
    // Nobody maps anything on a node that is new.
    let frame = node.controller.say(vec![a_node(1), a_node(2), posture("shop", false, false)]);
    node.realised(frame).await;
    assert_eq!(address(&node.attach("shop", "first").await), "10.10.1.2/32");
    let (status, body) = node.cni(DELETE_PATH, &json!({"container_id": "shop-first", "interface": "eth0"}));
    assert_eq!(status, 200, "{body}");
    let written = || node.vsctl(&["get", "bridge", "br-int", "external_ids:ferrant-freed"]);
    assert!(written().contains(",10.10.1.2@") && written().contains(",fd00:10:0:1::2@"), "{}", written());

    // This controller releases nothing of its own accord.
    node.kill_agent();
    node.start_agent().await;
    assert_eq!(address(&node.attach("shop", "second").await), "10.10.1.3/32", "10.10.1.2 is mapped elsewhere");

    // The database has lost it: any address may be mapped, until it is said that none is.
    node.kill_agent();
    node.vsctl(&["remove", "bridge", "br-int", "external_ids", "ferrant-freed"]);
    node.start_agent().await;
    let status = || node.cni(STATUS_PATH, &json!({}));
    until("the node is described, and no address is free", || status().1["msg"] == "no pod can get an address").await;
    assert_eq!(status().1["code"], 50);
    node.controller.release(1);
    until("what was free before is free", || status().0 == 200).await;
    node.attach("shop", "third").await;
}
