//! The real binary, a directory of real files, and agents that speak the real protocol.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends here

mod running;

use apis::stream::{PodReport, change::Change as Kind};
use running::{Agent, Controller, Summary};

const NODES: &str = "\
apiVersion: v1
kind: Node
metadata: {name: node-a}
spec: {podCIDRs: [10.10.1.0/24, 'fd00:10:0:1::/64']}
status: {addresses: [{type: InternalIP, address: 172.18.0.11}]}
---
apiVersion: v1
kind: Node
metadata: {name: node-b}
spec: {podCIDRs: [10.10.2.0/24]}
status: {addresses: [{type: InternalIP, address: 172.18.0.12}]}
";

const PODS: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {nodeName: node-a}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {nodeName: node-b}
---
apiVersion: v1
kind: Pod
metadata: {name: other, namespace: shop, labels: {app: other}}
spec: {nodeName: node-b}
";

const POLICY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: client}}}]
    ports: [{port: 80}]
";

fn report(sequence: u64, name: &str, address: [u8; 4]) -> PodReport {
    PodReport {
        sequence,
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        addresses: vec![bytes::Bytes::copy_from_slice(&address)],
        mac: bytes::Bytes::new(),
    }
}

#[tokio::test]
async fn a_node_gets_what_its_pods_and_peers_need_and_then_the_differences() {
    let controller = Controller::start(&[("nodes.yaml", NODES), ("pods.yaml", PODS), ("policy.yaml", POLICY)]);
    let mut a = Agent::connect(&controller, "node-a", vec![report(1, "web", [10, 10, 1, 2])]).await;
    let frame = a.frame().await;
    assert!(frame.replace && frame.number == 1);
    assert_eq!(
        frame.summary(),
        [
            "endpoint shop/client []",
            "endpoint shop/web [10.10.1.2]",
            "group of 1",
            "group of 1",
            "identity app=client",
            "identity app=web",
            "isolation NetworkPolicy/shop/web",
            "node node-a",
            "node node-b",
            "posture shop ingress",
            "rule NetworkPolicy/shop/web ingress[0]",
        ]
    );
    a.acknowledge(frame.number).await;

    // The client's agent reports its address: it reaches the node that needs it.
    let mut b = Agent::connect(&controller, "node-b", vec![]).await;
    let first = b.frame().await;
    assert!(
        first.summary().iter().all(|line| !line.starts_with("rule") && !line.contains("shop/web")),
        "{:?}",
        first.summary()
    );
    b.acknowledge(first.number).await;
    b.report(report(2, "client", [10, 10, 2, 2])).await;
    let frame = a.frame_with(|frame| !frame.changes.is_empty()).await;
    assert!(!frame.replace);
    assert_eq!(frame.summary(), ["endpoint shop/client [10.10.2.2]"]);
    assert_eq!(frame.version.as_ref().unwrap().nodes["node-b"].sequence, 2);

    // Not acknowledged yet: what happens meanwhile arrives as one frame.
    controller.write("policy.yaml", &POLICY.replace("port: 80", "port: 81"));
    controller.write("policy.yaml", &POLICY.replace("port: 80", "port: 82"));
    let version = controller.version_of("policy.yaml");
    controller.wait_for_version(version);
    a.acknowledge(frame.number).await;
    let frame = a.frame_with(|frame| !frame.changes.is_empty()).await;
    assert_eq!(frame.summary(), ["removed rule", "rule NetworkPolicy/shop/web ingress[0]"]);
    let ports = frame.changes.iter().find_map(|change| match &change.change {
        Some(Kind::Rule(rule)) => Some(rule.services.iter().map(|service| service.port).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(ports, Some(vec![Some(82)]));
}

#[tokio::test]
async fn an_agents_word_counts_for_its_own_node_only() {
    let controller = Controller::start(&[("nodes.yaml", NODES), ("pods.yaml", PODS), ("policy.yaml", POLICY)]);
    let mut b = Agent::connect(&controller, "node-b", vec![]).await;
    let first = b.frame().await;
    b.acknowledge(first.number).await;
    b.report(report(1, "web", [10, 10, 2, 9])).await; // a pod of node-a
    b.report(report(2, "client", [10, 10, 1, 9])).await; // an address of node-a
    b.report(report(3, "other", [10, 10, 2, 3])).await;
    let frame = b.frame_with(|frame| !frame.changes.is_empty()).await;
    assert_eq!(frame.summary(), ["endpoint shop/other [10.10.2.3]"]);
    let errors = controller.get("/v1/errors").1;
    let refused = errors["refused_reports"].as_array().unwrap();
    assert_eq!(refused.len(), 2, "{errors}");
    assert!(refused[0]["what"].as_str().unwrap().contains("outside the node's pod CIDRs"), "{errors}");
    assert!(refused[1]["what"].as_str().unwrap().contains("the pod is on node-a"), "{errors}");
}

#[tokio::test]
async fn realised_blocks_until_every_connected_node_has_said_so() {
    let controller = Controller::start(&[("nodes.yaml", NODES), ("pods.yaml", PODS)]);
    let mut a = Agent::connect(&controller, "node-a", vec![]).await;
    let mut b = Agent::connect(&controller, "node-b", vec![]).await;
    for agent in [&mut a, &mut b] {
        let frame = agent.frame().await;
        agent.acknowledge(frame.number).await;
        agent.realise(&frame).await;
    }
    controller.write("policy.yaml", POLICY);
    let version = controller.version_of("policy.yaml");
    let path = format!("/v1/realised?version={version}&timeout_ms=100");
    let (status, body) = controller.get(&path);
    assert_eq!(status, 504, "{body}");
    let asked = controller.ask_in_background(&format!("/v1/realised?version={version}&timeout_ms=10000"));
    for agent in [&mut a, &mut b] {
        loop {
            let frame = agent.frame().await;
            agent.acknowledge(frame.number).await;
            agent.realise(&frame).await;
            if frame.source_version() >= version {
                break;
            }
        }
    }
    let (status, body) = asked.await.unwrap();
    assert_eq!(status, 200, "{body}");
    assert!(body["version"].as_u64().unwrap() >= version, "{body}");
    assert_eq!(body["nodes"].as_object().unwrap().len(), 2, "{body}");
}

#[tokio::test]
async fn nothing_is_sent_before_the_source_is_in_sync() {
    let controller = Controller::start(&[("nodes.yaml", NODES), ("pods.yaml", PODS), ("broken.yaml", "kind: [\n")]);
    let mut a = Agent::connect(&controller, "node-a", vec![]).await;
    controller.wait_for_version(controller.version_of("broken.yaml"));
    assert_eq!(controller.get("/v1/info").1["in_sync"], false);
    let errors = controller.get("/v1/errors").1;
    assert_eq!(errors["errors"][0]["file"], "broken.yaml", "{errors}");
    controller.write("broken.yaml", POLICY);
    let frame = a.frame().await;
    assert!(frame.summary().contains(&"isolation NetworkPolicy/shop/web".to_owned()), "{:?}", frame.summary());
    assert_eq!(a.frames_before_this_one(), 0);
}

#[tokio::test]
async fn realised_waits_for_reports_too() {
    let controller = Controller::start(&[("nodes.yaml", NODES), ("pods.yaml", PODS), ("policy.yaml", POLICY)]);
    let mut a = Agent::connect(&controller, "node-a", vec![]).await;
    let mut b = Agent::connect(&controller, "node-b", vec![]).await;
    for agent in [&mut a, &mut b] {
        let frame = agent.frame().await;
        agent.acknowledge(frame.number).await;
        agent.realise(&frame).await;
    }
    let asked = controller.ask_in_background("/v1/realised?after=node-b:4&timeout_ms=20000");
    b.report(report(4, "client", [10, 10, 2, 2])).await;
    // Both need the pod's address; the bystanders' frames without changes are realised on the way.
    for agent in [&mut a, &mut b] {
        let frame = agent.frame_and_realise_until(|frame| !frame.changes.is_empty()).await;
        assert_eq!(frame.summary(), ["endpoint shop/client [10.10.2.2]"]);
        assert!(!asked.is_finished());
        agent.realise(&frame).await;
    }
    // Whatever else comes is realised too: a question that arrives late asks for what is known by then.
    for mut agent in [a, b] {
        tokio::spawn(async move { agent.frame_and_realise_until(|_| false).await });
    }
    let ask = async |path: &str| controller.ask_in_background(path).await.unwrap();
    assert_eq!(asked.await.unwrap().0, 200);
    let (status, body) = ask("/v1/realised?after=node-b:5&timeout_ms=50").await;
    assert_eq!(status, 504, "{body}");
    assert_eq!(ask("/v1/realised?after=node-b").await.0, 400);
    assert_eq!(ask("/v1/realised?after=node-b:4&nodes=node-a,node-b").await.0, 200);
}

#[tokio::test]
async fn after_a_restart_agents_are_told_everything_again_and_nothing_older() {
    let controller = Controller::start(&[("nodes.yaml", NODES), ("pods.yaml", PODS), ("policy.yaml", POLICY)]);
    let mut a = Agent::connect(&controller, "node-a", vec![]).await;
    let mut b = Agent::connect(&controller, "node-b", vec![report(3, "other", [10, 10, 2, 3])]).await;
    b.report(report(7, "client", [10, 10, 2, 2])).await;
    b.report(report(8, "other", [10, 10, 2, 3])).await;
    b.detach(9, "shop", "other").await;
    std::fs::create_dir(controller.source().join("more")).unwrap();
    controller.write("more/more.yaml", "");
    std::fs::remove_dir_all(controller.source().join("more")).unwrap();
    let version = running::change_time(&controller.source());
    let seen = a
        .frame_and_realise_until(|frame| {
            frame.source_version() >= version && frame.version.as_ref().unwrap().nodes["node-b"].sequence == 9
        })
        .await;
    let seen = seen.version.unwrap();
    let folder = controller.stop();

    // The agents come back before the source can be read, with what they have.
    let (source, away) = (folder.path().join("cluster"), folder.path().join("away"));
    std::fs::rename(&source, &away).unwrap();
    let controller = Controller::start_in(folder);
    let mut a = Agent::connect_after(&controller, "node-a", seen.clone()).await;
    std::fs::rename(&away, &source).unwrap();
    controller.wait_for_version(seen.source["NetworkPolicy"]);
    // What it has seen of another node is waited for: no frame says less meanwhile.
    assert_eq!(controller.get("/v1/info").1["agents"]["node-a"]["sent_frame"], 0);
    let _b = Agent::connect_again(&controller, "node-b", vec![report(7, "client", [10, 10, 2, 2])], 9).await;
    let frame = a.frame().await;
    assert!(frame.replace);
    assert!(frame.summary().contains(&"endpoint shop/client [10.10.2.2]".to_owned()), "{:?}", frame.summary());
    let now = frame.version.clone().unwrap();
    assert!(frame.source_version() >= seen.source["NetworkPolicy"]);
    assert!(now.nodes["node-b"].sequence >= seen.nodes["node-b"].sequence, "{now:?} after {seen:?}");
}

#[tokio::test]
async fn an_agent_of_another_protocol_is_refused_with_the_reason() {
    let controller = Controller::start(&[("nodes.yaml", NODES)]);
    let refused = Agent::refused(&controller, "node-a", vec![7]).await;
    assert!(
        refused.message().contains("node-a speaks protocol versions [7], this controller speaks [2, 1]"),
        "{refused}"
    );
}

#[tokio::test]
async fn an_agent_that_has_seen_a_newer_state_gets_no_older_frame() {
    let controller = Controller::start(&[("nodes.yaml", NODES)]);
    let newest = u64::MAX / 2;
    let mut ahead = Agent::connect_with_last(&controller, "node-a", vec![], newest).await;
    let mut usual = Agent::connect(&controller, "node-b", vec![]).await;
    usual.frame().await;
    let info = controller.get("/v1/info").1;
    assert_eq!(info["agents"]["node-a"]["sent_frame"], 0, "{info}");
    assert_eq!(info["agents"]["node-b"]["sent_frame"], 1, "{info}");
    // A newer stream of the same node replaces the older one.
    let mut again = Agent::connect(&controller, "node-a", vec![]).await;
    again.frame().await;
    assert!(ahead.has_ended().await);
}
