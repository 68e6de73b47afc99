use crate::yaml::documents;

/// What is said about one object, its lines left out.
fn said(text: &str) -> Vec<String> {
    let document = documents(text).remove(0).unwrap_or_else(|error| panic!("{text}\n{error}"));
    super::validate(&document.object).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn policy(spec: &str) -> Vec<String> {
    said(&format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: a}}\nspec: {spec}\n"))
}

fn pod(rest: &str) -> Vec<String> {
    said(&format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\n{rest}\n"))
}

fn node(rest: &str) -> Vec<String> {
    said(&format!("apiVersion: v1\nkind: Node\nmetadata: {{name: a}}\n{rest}\n"))
}

/// One complaint, with this path and these words.
fn assert_one(complaints: &[String], path: &str, words: &str) {
    let [one] = complaints else { panic!("{path}: {complaints:?}") };
    assert!(one.starts_with(&format!("{path} ")) && one.contains(words) && one.contains("; "), "{path} {words}: {one}");
}

#[test]
fn what_the_api_server_accepts_passes() {
    for spec in [
        "{}",
        "{podSelector: {}}",
        "{podSelector: {matchLabels: {a: b, example.com/app_1.x: ''}}, policyTypes: [Ingress]}",
        "{ingress: [{}], egress: [{}], policyTypes: [Egress, Ingress]}",
        "{ingress: [{from: [], ports: []}]}",
        "{ingress: [{ports: [{port: 1}, {port: 65535, protocol: SCTP}, {protocol: UDP}, {port: dns-tcp}, {port: 1, endPort: 1}]}]}",
        "{egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8, 10.1.2.3/32]}}, {ipBlock: {cidr: 'fd00::/8'}}]}]}",
        "{egress: [{to: [{ipBlock: {cidr: 10.0.0.1/8}}]}]}",
        "{ingress: [{from: [{podSelector: {}, namespaceSelector: {}}, {podSelector: {}}, {namespaceSelector: {}}]}]}",
        "{podSelector: {matchExpressions: [{key: a, operator: In, values: [b, '']}, {key: a, operator: NotIn, values: [b]},
          {key: a, operator: Exists}, {key: a, operator: DoesNotExist, values: []}]}}",
    ] {
        assert_eq!(policy(spec), <[String; 0]>::default(), "{spec}");
    }
}

/// A spec, the path of its fault, and words of the complaint.
const REFUSED_IN_A_POLICY: &[(&str, &str, &str)] = &[
    ("{policyTypes: [ingress]}", "spec.policyTypes[0]", "\"ingress\""),
    ("{policyTypes: [Ingress, Egress, Egress]}", "spec.policyTypes", "more than two"),
    ("{podSelector: {matchLabels: {'a b': c}}}", "spec.podSelector.matchLabels[a b]", "label key"),
    ("{podSelector: {matchLabels: {'A/b': c}}}", "spec.podSelector.matchLabels[A/b]", "label key"),
    ("{podSelector: {matchLabels: {a: '-'}}}", "spec.podSelector.matchLabels[a]", "label value"),
    (
        "{podSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}}",
        "spec.podSelector.matchExpressions[0].operator",
        "\"in\"",
    ),
    (
        "{podSelector: {matchExpressions: [{key: a, operator: In}]}}",
        "spec.podSelector.matchExpressions[0].values",
        "empty",
    ),
    (
        "{podSelector: {matchExpressions: [{key: a, operator: NotIn, values: []}]}}",
        "spec.podSelector.matchExpressions[0].values",
        "empty",
    ),
    (
        "{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}",
        "spec.podSelector.matchExpressions[0].values",
        "not empty",
    ),
    ("{podSelector: {matchExpressions: [{operator: Exists}]}}", "spec.podSelector.matchExpressions[0].key", "missing"),
    (
        "{podSelector: {matchExpressions: [{key: a, operator: In, values: ['ä']}]}}",
        "spec.podSelector.matchExpressions[0].values[0]",
        "label value",
    ),
    ("{ingress: [{from: [{}]}]}", "spec.ingress[0].from[0]", "names no peer"),
    ("{ingress: [{from: [null]}]}", "spec.ingress[0].from[0]", "names no peer"),
    (
        "{egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]}",
        "spec.egress[0].to[0].ipBlock",
        "beside a selector",
    ),
    ("{egress: [{to: [{ipBlock: {}}]}]}", "spec.egress[0].to[0].ipBlock.cidr", "missing"),
    ("{egress: [{to: [{ipBlock: {cidr: 10.0.0.0}}]}]}", "spec.egress[0].to[0].ipBlock.cidr", "range"),
    ("{egress: [{to: [{ipBlock: {cidr: 10.0.0.0/33}}]}]}", "spec.egress[0].to[0].ipBlock.cidr", "range"),
    ("{egress: [{to: [{ipBlock: {cidr: 10.0.0.0/08}}]}]}", "spec.egress[0].to[0].ipBlock.cidr", "range"),
    ("{egress: [{to: [{ipBlock: {cidr: 010.0.0.0/8}}]}]}", "spec.egress[0].to[0].ipBlock.cidr", "range"),
    ("{egress: [{to: [{ipBlock: {cidr: '::ffff:10.0.0.0/104'}}]}]}", "spec.egress[0].to[0].ipBlock.cidr", "range"),
    (
        "{egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/24]}}]}]}",
        "spec.egress[0].to[0].ipBlock.except[0]",
        "smaller part of",
    ),
    (
        "{egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]}",
        "spec.egress[0].to[0].ipBlock.except[0]",
        "smaller part of",
    ),
    (
        "{egress: [{to: [{ipBlock: {cidr: '::/0', except: [10.0.0.0/8]}}]}]}",
        "spec.egress[0].to[0].ipBlock.except[0]",
        "smaller part of",
    ),
    ("{egress: [{to: [{ipBlock: {cidr: '::/0', except: [x]}}]}]}", "spec.egress[0].to[0].ipBlock.except[0]", "range"),
    ("{ingress: [{ports: [{port: 0}]}]}", "spec.ingress[0].ports[0].port", "not a port: 0"),
    ("{ingress: [{ports: [{port: 65536}]}]}", "spec.ingress[0].ports[0].port", "65536"),
    ("{ingress: [{ports: [{port: '80'}]}]}", "spec.ingress[0].ports[0].port", "port name"),
    ("{ingress: [{ports: [{port: a--b}]}]}", "spec.ingress[0].ports[0].port", "port name"),
    ("{ingress: [{ports: [{port: sixteen-letters-}]}]}", "spec.ingress[0].ports[0].port", "port name"),
    ("{ingress: [{ports: [{protocol: tcp}]}]}", "spec.ingress[0].ports[0].protocol", "\"tcp\""),
    ("{ingress: [{ports: [{protocol: ICMP}]}]}", "spec.ingress[0].ports[0].protocol", "\"ICMP\""),
    ("{ingress: [{ports: [{endPort: 80}]}]}", "spec.ingress[0].ports[0].endPort", "without port"),
    ("{ingress: [{ports: [{port: http, endPort: 80}]}]}", "spec.ingress[0].ports[0].endPort", "named port"),
    ("{ingress: [{ports: [{port: 81, endPort: 80}]}]}", "spec.ingress[0].ports[0].endPort", "less than port 81"),
    ("{ingress: [{ports: [{port: 81, endPort: 65536}]}]}", "spec.ingress[0].ports[0].endPort", "65536"),
];

#[test]
fn what_the_api_server_refuses_in_a_policy_is_named() {
    for (spec, path, words) in REFUSED_IN_A_POLICY {
        assert_one(&policy(spec), path, words);
    }
}

#[test]
fn what_the_api_server_refuses_in_a_pod_is_named() {
    for (rest, path, words) in [
        ("spec: {nodeName: Worker}", "spec.nodeName", "\"Worker\""),
        ("spec: {serviceAccountName: a_b}", "spec.serviceAccountName", "\"a_b\""),
        ("spec: {containers: [{ports: [{}]}]}", "spec.containers[0].ports[0].containerPort", "not a port: 0"),
        (
            "spec: {containers: [{ports: [{containerPort: 80, name: HTTP}]}]}",
            "spec.containers[0].ports[0].name",
            "port name",
        ),
        (
            "spec: {containers: [{ports: [{containerPort: 80, protocol: Tcp}]}]}",
            "spec.containers[0].ports[0].protocol",
            "\"Tcp\"",
        ),
        (
            "spec: {containers: [{ports: [{containerPort: 80, hostPort: -1}]}]}",
            "spec.containers[0].ports[0].hostPort",
            "-1",
        ),
        (
            "spec: {containers: [{ports: [{containerPort: 80, hostIP: x}]}]}",
            "spec.containers[0].ports[0].hostIP",
            "\"x\"",
        ),
        (
            "spec: {containers: [{ports: [{containerPort: 80, name: a}, {containerPort: 81, name: a}]}]}",
            "spec.containers[0].ports[1].name",
            "twice",
        ),
        (
            "spec: {hostNetwork: true, containers: [{ports: [{containerPort: 80, hostPort: 81}]}]}",
            "spec.containers[0].ports[0].hostPort",
            "listens on 80",
        ),
        (
            "spec: {initContainers: [{ports: [{containerPort: 70000}]}]}",
            "spec.initContainers[0].ports[0].containerPort",
            "70000",
        ),
        ("status: {podIP: 10.0.0}", "status.podIP", "\"10.0.0\""),
        ("status: {podIPs: [{ip: 10.0.0.1/24}]}", "status.podIPs[0].ip", "IP address"),
        ("status: {podIPs: [{}]}", "status.podIPs[0].ip", "missing"),
        (
            "status: {podIPs: [{ip: 10.0.0.1}, {ip: 10.0.0.2}]}",
            "status.podIPs[1].ip",
            "second one of IPv4 after 10.0.0.1",
        ),
        ("status: {podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.2}]}", "status.podIP", "10.0.0.2"),
    ] {
        assert_one(&pod(rest), path, words);
    }
    let two_containers =
        "spec: {containers: [{ports: [{containerPort: 80, name: a}]}, {ports: [{containerPort: 81, name: a}]}]}";
    assert_eq!(pod(two_containers), <[String; 0]>::default(), "a port's name is unique in its container only");
}

#[test]
fn what_the_api_server_refuses_in_a_node_is_named() {
    for (rest, path, words) in [
        ("spec: {podCIDR: 10.0.0.0}", "spec.podCIDR", "range"),
        ("spec: {podCIDRs: [10.0.0.0/24, 10.0.1.0/24]}", "spec.podCIDRs[1]", "second one of IPv4"),
        ("spec: {podCIDR: 10.0.0.0/24, podCIDRs: [10.0.1.0/24]}", "spec.podCIDR", "10.0.1.0/24"),
        (
            "status: {addresses: [{type: Hostname, address: x}, {type: InternalIP, address: x}]}",
            "status.addresses[1].address",
            "\"x\"",
        ),
    ] {
        assert_one(&node(rest), path, words);
    }
}

#[test]
fn names_and_scopes_are_held() {
    let named = |kind: &str, metadata: &str| said(&format!("apiVersion: v1\nkind: {kind}\nmetadata: {metadata}\n"));
    for (kind, metadata, path, words) in [
        ("Namespace", "{name: a.b}", "metadata.name", "\"a.b\""),
        ("Namespace", "{}", "metadata.name", "missing"),
        ("Node", "{name: A}", "metadata.name", "\"A\""),
        ("Node", "{name: a, namespace: b}", "metadata.namespace", "has no namespace"),
        ("Pod", "{name: a-}", "metadata.name", "\"a-\""),
        ("Pod", "{name: a..b}", "metadata.name", "\"a..b\""),
        ("Pod", "{name: a, namespace: b.c}", "metadata.namespace", "\"b.c\""),
        ("Pod", "{name: a, labels: {a/b/c: d}}", "metadata.labels[a/b/c]", "label key"),
        ("Pod", "{name: a, labels: {/c: d}}", "metadata.labels[/c]", "label key"),
    ] {
        assert_one(&named(kind, metadata), path, words);
    }
    for (kind, metadata) in [("Node", "{name: a.b-c.1}"), ("Pod", "{name: a.b}"), ("Namespace", "{name: 1-a}")] {
        assert_eq!(named(kind, metadata), <[String; 0]>::default());
    }
    assert_one(&named("Namespace", &format!("{{name: {}}}", "a".repeat(64))), "metadata.name", "63");
    assert_one(&named("Node", &format!("{{name: {}}}", "a".repeat(254))), "metadata.name", "253");
}
