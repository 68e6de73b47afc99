//! What the agent answers to people, on a real switch: flows with names, counters and origins; policies; groups; metrics.
#![allow(clippy::unwrap_used)]

mod node;

use apis::query::{GroupInfo, OvsFlow, PolicyInfo};
use apis::stream::Direction;
use node::frames::{endpoint, group, identity, isolation, node as a_node, posture, rule, tcp};
use node::{Node, until};

fn shop() -> Vec<apis::stream::Change> {
    vec![
        a_node(1),
        a_node(2),
        posture("shop", true, false),
        identity("web", &[]),
        identity("client", &[]),
        endpoint("web", "node-a", "web", &[]),
        endpoint("near", "node-a", "client", &[]),
        endpoint("client", "node-b", "client", &["10.10.2.7"]),
        group("webs", &["web"]),
        group("clients", &["client"]),
        isolation("web-only", Direction::Ingress, "webs"),
        rule("web-only", Direction::Ingress, "webs", &["clients"], vec![tcp(80)]),
    ]
}

fn flows(node: &Node, question: &str) -> Vec<OvsFlow> {
    serde_json::from_value(node.get(&format!("/v1/ovsflows{question}"))).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_told_what_is_in_the_switch_and_why() {
    let node = Node::start(&[]).await;
    let frame = node.controller.say(shop());
    node.realised(frame).await;
    let (web, web_address) = node.pod("shop", "web").await;
    let (near, _) = node.pod("shop", "near").await;
    let listener = web.inside(|| std::net::TcpListener::bind("0.0.0.0:80").unwrap());
    near.inside(move || std::net::TcpStream::connect((web_address, 80)).map(drop)).unwrap();
    drop(listener);

    // All there is: every flow comes from something, and the switch has each.
    let all = flows(&node, "");
    let unexplained: Vec<&OvsFlow> = all.iter().filter(|flow| flow.from.is_empty() || flow.packets.is_none()).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    // Another table than the rest: the switch's own clock, which nobody asks about.
    assert_eq!(
        all.len(),
        node.flow_count()
            - node.ofctl("dump-flows", &["table=250"]).lines().filter(|line| line.contains("priority=")).count()
    );

    // A pod's: its own, its addresses', and the policy's that applies to it. Its packets have been counted.
    let of_web = flows(&node, "?pod=shop/web");
    let from = |flows: &[OvsFlow], what: &str| flows.iter().any(|flow| flow.from.iter().any(|name| name == what));
    for what in ["Pod/shop/web", "NetworkPolicy/shop/web-only rule[0]", "NetworkPolicy/shop/web-only"] {
        assert!(from(&of_web, what), "{what} is not in {of_web:#?}");
    }
    assert!(!from(&of_web, "Pod/shop/near"));
    let entered = of_web.iter().find(|flow| flow.table == "Classifier" && flow.matches.contains("shop/web")).unwrap();
    assert!(entered.packets > Some(0) && entered.bytes > Some(0), "{entered:?}");

    // A policy's, and a table's.
    let of_policy = flows(&node, "?policy=web-only");
    assert!(
        of_policy.len() >= 4 && of_policy.iter().all(|flow| flow.from.iter().any(|name| name.contains("web-only")))
    );
    assert_eq!(of_policy, flows(&node, "?policy=shop/web-only"));
    let of_table = flows(&node, "?table=ingressrule");
    assert!(!of_table.is_empty() && of_table.iter().all(|flow| flow.table == "IngressRule"), "{of_table:#?}");

    let policies: Vec<PolicyInfo> = serde_json::from_value(node.get("/v1/networkpolicies")).unwrap();
    assert_eq!(
        (policies.len(), policies[0].name.as_str(), policies[0].isolates.as_slice()),
        (1, "shop/web-only", &["ingress".to_owned()][..])
    );
    assert_eq!(policies[0].rules[0].services, ["TCP/80"]);
    let groups: Vec<GroupInfo> = serde_json::from_value(node.get("/v1/addressgroups")).unwrap();
    assert_eq!(groups[0].name, policies[0].rules[0].peers[0]);
    let pods: Vec<&str> = groups[0].pods.iter().map(|member| member.pod.as_str()).collect();
    assert_eq!(pods, ["shop/client", "shop/near"]);
    let applied: Vec<GroupInfo> = serde_json::from_value(node.get("/v1/appliedtogroups")).unwrap();
    assert_eq!(
        (applied[0].pods[0].pod.as_str(), applied[0].policies[0].as_str()),
        ("shop/web", "NetworkPolicy/shop/web-only")
    );
    let info = node.get("/v1/info");
    assert_eq!((&info["network_policies"], &info["address_groups"]), (&1.into(), &1.into()));

    for (question, part) in [
        ("?pod=shop/nobody", "antctl get podinterface"),
        ("?table=Nowhere", "the tables are Classifier"),
        ("?policy=nothing", "no policy nothing has flows on this node"),
    ] {
        let (status, body) = node.ask("GET", &format!("/v1/ovsflows{question}"));
        assert!(status == 400 && body.contains(part), "{question}: {status} {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_counted() {
    let mut node = Node::start(&["--metrics=127.0.0.1:9109", "--log-format=json"]).await;
    let frame = node.controller.say(shop());
    node.realised(frame).await;
    node.attach("shop", "web").await;
    let value = |node: &Node, name: &str| {
        let (status, text) = node.ask("GET", "/metrics");
        assert_eq!(status, 200);
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse::<f64>().unwrap()
    };
    assert_eq!(value(&node, "ferrant_agent_frames_total"), 1.0);
    assert_eq!(value(&node, "ferrant_agent_pods_by_posture{direction=\"ingress\",posture=\"policed\"}"), 1.0);
    assert_eq!(value(&node, "ferrant_agent_cni_calls_total{command=\"confirm\",outcome=\"success\"}"), 1.0);
    let wanted = value(&node, "ferrant_agent_flows_wanted");
    assert_eq!(
        (wanted, value(&node, "ferrant_agent_flows_installed")),
        (node.get("/v1/info")["flows"].as_f64().unwrap(), wanted)
    );
    assert!(value(&node, "ferrant_agent_realised_seconds_count") >= 1.0);
    assert!(value(&node, "ferrant_agent_memory_bytes{at=\"peak\"}") > 1e6);
    assert_eq!(value(&node, "ferrant_agent_switch_connected"), 1.0);

    // Over TCP metrics alone are answered.
    let over_tcp = |path: &'static str| {
        node.namespace.inside(move || {
            use std::io::{Read, Write};
            let mut stream = std::net::TcpStream::connect("127.0.0.1:9109").unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        })
    };
    let answer = over_tcp("/metrics");
    assert!(answer.contains("application/openmetrics-text") && answer.ends_with("# EOF\n"), "{answer}");
    assert!(over_tcp("/v1/info").starts_with("HTTP/1.1 404"));

    // The log is a JSON object a line.
    let log = node.log();
    assert!(!log.is_empty());
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(line["message"].is_string() && line["level"].is_string(), "{line}");
    }

    node.kill_switch();
    until("the switch is known to be gone", || value(&node, "ferrant_agent_switch_connected") == 0.0).await;
}
