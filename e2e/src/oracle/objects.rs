//! A drawn cluster as the raw objects that the evaluator takes.

use serde_json::{Value, json};

use super::draw::{Drawn, Labels, Namespace, Part, Peer, Pod, Policy, Port, Rule, Selector, Target};

fn labels(labels: &Labels) -> Value {
    json!(labels)
}

/// A namespace; Kubernetes itself labels it with its name.
pub fn namespace(namespace: &Namespace) -> Value {
    let mut labels = labels(&namespace.labels);
    labels["kubernetes.io/metadata.name"] = json!(namespace.name);
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace.name, "labels": labels}})
}

/// A pod with the addresses that it got.
pub fn pod(pod: &Pod, addresses: &[std::net::IpAddr]) -> Value {
    let ports = |sidecar: bool| -> Vec<Value> {
        pod.ports
            .iter()
            .filter(|port| port.sidecar == sidecar)
            .map(|port| {
                let mut value = json!({"containerPort": port.number, "protocol": port.protocol});
                if let Some(name) = port.name {
                    value["name"] = json!(name);
                }
                value
            })
            .collect()
    };
    let phase = if pod.part == Part::Ended { "Succeeded" } else { "Running" };
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod.name, "namespace": pod.namespace, "labels": labels(&pod.labels)},
        "spec": {
            "nodeName": pod.node,
            "hostNetwork": pod.part == Part::HostNetwork,
            "containers": [{"name": "main", "ports": ports(false)}],
            "initContainers": [{"name": "beside", "restartPolicy": "Always", "ports": ports(true)}],
        },
        "status": {"phase": phase, "podIPs": addresses.iter().map(|address| json!({"ip": address.to_string()})).collect::<Vec<_>>()},
    })
}

/// A policy.
pub fn policy(policy: &Policy) -> Value {
    let mut spec = json!({"podSelector": selector(&policy.pods)});
    if let Some(types) = &policy.types {
        spec["policyTypes"] = json!(types);
    }
    for (section, peers, list) in [("ingress", "from", &policy.ingress), ("egress", "to", &policy.egress)] {
        if let Some(list) = list {
            spec[section] = list.iter().map(|one| rule(peers, one)).collect();
        }
    }
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": policy.name, "namespace": policy.namespace},
        "spec": spec,
    })
}

fn rule(peers: &str, rule: &Rule) -> Value {
    let mut value = json!({});
    if let Some(list) = &rule.peers {
        value[peers] = list.iter().map(peer).collect();
    }
    if let Some(list) = &rule.ports {
        value["ports"] = list.iter().map(port).collect();
    }
    value
}

fn peer(peer: &Peer) -> Value {
    let mut value = json!({});
    match peer {
        Peer::Block { cidr, except } => value["ipBlock"] = json!({"cidr": cidr, "except": except}),
        Peer::Pods { namespaces, pods } => {
            if let Some(namespaces) = namespaces {
                value["namespaceSelector"] = selector(namespaces);
            }
            if let Some(pods) = pods {
                value["podSelector"] = selector(pods);
            }
        }
    }
    value
}

fn port(port: &Port) -> Value {
    let mut value = json!({});
    if let Some(protocol) = port.protocol {
        value["protocol"] = json!(protocol);
    }
    match port.port {
        Some(Target::Number(number)) => value["port"] = json!(number),
        Some(Target::Name(name)) => value["port"] = json!(name),
        None => {}
    }
    if let Some(end) = port.end {
        value["endPort"] = json!(end);
    }
    value
}

fn selector(selector: &Selector) -> Value {
    let expressions: Vec<Value> = selector
        .expressions
        .iter()
        .map(|e| json!({"key": e.key, "operator": e.operator, "values": e.values}))
        .collect();
    json!({"matchLabels": labels(&selector.labels), "matchExpressions": expressions})
}

/// Every object of a cluster.
pub fn cluster(drawn: &Drawn, addresses: impl Fn(&Pod) -> Vec<std::net::IpAddr>) -> Vec<Value> {
    let namespaces = drawn.namespaces.iter().map(namespace);
    let pods = drawn.pods.iter().map(|one| pod(one, &addresses(one)));
    namespaces.chain(pods).chain(drawn.policies.iter().map(policy)).collect()
}
