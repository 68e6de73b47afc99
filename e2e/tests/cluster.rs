//! Directories as people have them, completed.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use e2e::cluster::{Cluster, complete, read, read_texts};
use e2e::probe::Protocol;

fn completed(files: &[(&str, &str)]) -> Cluster {
    complete(read_texts(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()))
}

fn pod(name: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  containers: [{{name: c}}]\n{more}"
    )
}

#[test]
fn pods_without_a_node_are_spread_over_three() {
    let pods: Vec<String> = (0..7).map(|number| pod(&format!("p{number}"), "")).collect();
    let cluster = completed(&[("pods.yaml", &pods.join("---\n"))]);
    let names: Vec<&str> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["node-a", "node-b", "node-c"]);
    for name in names {
        let count = cluster.pods.iter().filter(|pod| pod.node == name).count();
        assert!((2..=3).contains(&count), "{name} has {count} pods");
    }
    assert_eq!(
        cluster.nodes[1].addresses,
        ["172.18.0.12".parse::<std::net::IpAddr>().unwrap(), "fd00:18::12".parse().unwrap()]
    );
    assert_eq!(cluster.nodes[1].pod_cidrs[0].to_string(), "10.10.2.0/24");
    assert_eq!(cluster.nodes[1].pod_cidrs[1].to_string(), "fd00:10:0:2::/64");
    let text: String = cluster.files.iter().map(|(_, text)| text.as_str()).collect();
    assert!(text.contains("\"nodeName\": \"node-c\"") && text.contains("\"kind\": \"Namespace\""), "{text}");
}

#[test]
fn what_needs_no_change_is_handed_on_as_written() {
    let policy = "# a comment\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: shop}\nspec: {podSelector: {}}\n";
    let cluster = completed(&[("deny.yaml", policy), ("pod.yaml", &pod("web", "  nodeName: worker-9\n"))]);
    assert!(cluster.files.contains(&("deny.yaml".to_owned(), policy.to_owned())));
    assert_eq!(cluster.policies, 1);
    assert_eq!(cluster.pods[0].node, "worker-9");
    assert_eq!(cluster.nodes.len(), 1, "only nodes with pods are brought up: {:?}", cluster.nodes);
}

#[test]
fn unknown_kinds_are_named_and_broken_objects_have_a_place() {
    let text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\n---\n{}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: Bad_Name}}\nspec: {{containers: [{{name: c}}]}}\n",
        pod("web", "  nodeName: node-a\n")
    );
    let cluster = completed(&[("all.yaml", &text)]);
    assert_eq!(cluster.skipped_kinds.get("Service"), Some(&1));
    assert_eq!(cluster.invalid.len(), 1);
    assert!(cluster.invalid[0].starts_with("all.yaml: line 1"), "{:?}", cluster.invalid);
    assert_eq!(cluster.pods.len(), 1);
    let handed_on: String = cluster.files.iter().map(|(_, text)| text.as_str()).collect();
    assert!(!handed_on.contains("Bad_Name") && !handed_on.contains("Service"), "{handed_on}");
}

#[test]
fn nodes_keep_their_ranges_and_get_addresses_that_the_underlay_has() {
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: worker-1}\nspec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24]}\nstatus: {addresses: [{type: InternalIP, address: 192.168.1.5}]}\n";
    let placed =
        pod("web", "  nodeName: worker-1\nstatus: {phase: Running, podIP: 10.244.1.7, podIPs: [{ip: 10.244.1.7}]}\n");
    let cluster = completed(&[("node.yaml", node), ("pod.yaml", &placed)]);
    assert_eq!(cluster.nodes[0].pod_cidrs.len(), 1);
    assert_eq!(cluster.nodes[0].addresses[0].to_string(), "172.18.0.11");
    assert!(cluster.notes.iter().any(|note| note.contains("192.168.1.5")), "{:?}", cluster.notes);
    assert_eq!(cluster.pods[0].addresses[0].to_string(), "10.244.1.7");
}

#[test]
fn of_two_objects_of_one_name_the_last_counts() {
    let (first, second) = (pod("web", "  nodeName: node-a\n"), pod("web", "  nodeName: node-b\n"));
    let cluster = completed(&[("1.yaml", &first), ("2.yaml", &second)]);
    assert_eq!(cluster.pods.len(), 1);
    assert_eq!(cluster.pods[0].node, "node-b");
    assert!(cluster.notes.iter().any(|note| note.contains("Pod/shop/web in 1.yaml")), "{:?}", cluster.notes);
}

#[test]
fn a_misspelt_field_of_a_policy_is_told() {
    let policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: shop}\n\
                  spec:\n  podSelector: {matchLabel: {app: web}}\n";
    let cluster = completed(&[("policy.yaml", policy)]);
    let told = "policy.yaml: line 5, column 17: NetworkPolicy/shop/web has a field `matchLabel`";
    assert!(cluster.notes.iter().any(|note| note.starts_with(told)), "{:?}", cluster.notes);
}

#[test]
fn declared_ports_are_served() {
    let ports = "    ports: [{containerPort: 80, name: http}, {containerPort: 53, protocol: UDP}, {containerPort: 80}, {containerPort: 9, protocol: SCTP}]\n";
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web, namespace: shop}}\nspec:\n  containers:\n  - name: c\n{ports}"
    );
    let cluster = completed(&[("pod.yaml", &text)]);
    assert_eq!(cluster.pods[0].ports, [(Protocol::Tcp, 80), (Protocol::Udp, 53), (Protocol::Sctp, 9)]);
}

#[test]
fn a_directory_is_read_with_its_folders() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("more")).unwrap();
    std::fs::write(folder.path().join("a.yaml"), pod("a", "")).unwrap();
    std::fs::write(folder.path().join("more/b.yml"), pod("b", "")).unwrap();
    std::fs::write(folder.path().join("README.md"), "not a manifest").unwrap();
    let manifests = read(folder.path()).unwrap();
    let names: BTreeSet<&str> = manifests.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["a.yaml", "more/b.yml"]));
    assert!(read(&folder.path().join("absent")).is_err());
    let empty = tempfile::tempdir().unwrap();
    assert!(format!("{:#}", read(empty.path()).unwrap_err()).contains("there is no"));
}
