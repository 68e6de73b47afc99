//! A drawn cluster as YAML text, written here by hand: the system reads what a person could have written, not what our own
//! types serialise to.

use std::fmt::Write;
use std::net::IpAddr;

use super::draw::{Drawn, Labels, Namespace, Part, Peer, Pod, Policy, Port, Rule, Selector, Target};
use super::world::World;

/// One namespace.
pub fn namespace(namespace: &Namespace) -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {}\n  labels: {}\n",
        namespace.name,
        flow(&namespace.labels)
    )
}

/// One pod, with the addresses that its manifest says it has.
pub fn pod(pod: &Pod, addresses: &[IpAddr]) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {}\n  namespace: {}\n  labels: {}\nspec:\n  nodeName: {}\n",
        pod.name,
        pod.namespace,
        flow(&pod.labels),
        pod.node
    );
    if pod.part == Part::HostNetwork {
        text += "  hostNetwork: true\n";
    }
    text += "  containers:\n  - name: main\n    image: none\n";
    text += &ports(pod, false);
    if pod.ports.iter().any(|port| port.sidecar) {
        text += "  initContainers:\n  - name: beside\n    image: none\n    restartPolicy: Always\n";
        text += &ports(pod, true);
    }
    writeln!(text, "status:\n  phase: {}", if pod.part == Part::Ended { "Succeeded" } else { "Running" })
        .expect("writing to a string");
    if !addresses.is_empty() {
        let list: Vec<String> = addresses.iter().map(|address| format!("{{ip: \"{address}\"}}")).collect();
        writeln!(text, "  podIPs: [{}]", list.join(", ")).expect("writing to a string");
    }
    text
}

fn ports(pod: &Pod, sidecar: bool) -> String {
    let mut text = String::from("    ports:\n");
    for port in pod.ports.iter().filter(|port| port.sidecar == sidecar) {
        write!(text, "    - containerPort: {}\n      protocol: {}\n", port.number, port.protocol)
            .expect("writing to a string");
        if let Some(name) = port.name {
            writeln!(text, "      name: {name}").expect("writing to a string");
        }
    }
    if text.lines().count() == 1 { "    ports: []\n".to_owned() } else { text }
}

/// Every namespace and pod, as one file.
pub fn cluster(drawn: &Drawn, world: &World) -> String {
    let pods = drawn.pods.iter().enumerate().map(|(index, one)| pod(one, &world.manifest_addresses(index, one)));
    let documents: Vec<String> = drawn.namespaces.iter().map(namespace).chain(pods).collect();
    documents.join("---\n")
}

/// One policy.
pub fn policy(policy: &Policy) -> String {
    let mut text = format!(
        "kind: NetworkPolicy\napiVersion: networking.k8s.io/v1\nmetadata:\n  namespace: {}\n  name: {}\nspec:\n  podSelector: {}\n",
        policy.namespace,
        policy.name,
        selector(&policy.pods)
    );
    if let Some(types) = &policy.types {
        writeln!(text, "  policyTypes: [{}]", types.join(", ")).expect("writing to a string");
    }
    for (section, peers, list) in [("ingress", "from", &policy.ingress), ("egress", "to", &policy.egress)] {
        if let Some(list) = list {
            text += &rules(section, peers, list);
        }
    }
    text
}

fn rules(section: &str, peers: &str, list: &[Rule]) -> String {
    if list.is_empty() {
        return format!("  {section}: []\n");
    }
    let mut text = format!("  {section}:\n");
    for rule in list {
        let mut fields = Vec::new();
        if let Some(list) = &rule.peers {
            fields.push(format!("{peers}: [{}]", list.iter().map(peer).collect::<Vec<_>>().join(", ")));
        }
        if let Some(list) = &rule.ports {
            fields.push(format!("ports: [{}]", list.iter().map(port).collect::<Vec<_>>().join(", ")));
        }
        if fields.is_empty() {
            text += "  - {}\n";
        } else {
            writeln!(text, "  - {}", fields.join("\n    ")).expect("writing to a string");
        }
    }
    text
}

fn peer(peer: &Peer) -> String {
    match peer {
        Peer::Block { cidr, except } if except.is_empty() => format!("{{ipBlock: {{cidr: \"{cidr}\"}}}}"),
        Peer::Block { cidr, except } => {
            let except: Vec<String> = except.iter().map(|hole| format!("\"{hole}\"")).collect();
            format!("{{ipBlock: {{cidr: \"{cidr}\", except: [{}]}}}}", except.join(", "))
        }
        Peer::Pods { namespaces, pods } => {
            let mut fields = Vec::new();
            if let Some(pods) = pods {
                fields.push(format!("podSelector: {}", selector(pods)));
            }
            if let Some(namespaces) = namespaces {
                fields.push(format!("namespaceSelector: {}", selector(namespaces)));
            }
            format!("{{{}}}", fields.join(", "))
        }
    }
}

fn port(port: &Port) -> String {
    let mut fields = Vec::new();
    if let Some(protocol) = port.protocol {
        fields.push(format!("protocol: {protocol}"));
    }
    match port.port {
        Some(Target::Number(number)) => fields.push(format!("port: {number}")),
        Some(Target::Name(name)) => fields.push(format!("port: {name}")),
        None => {}
    }
    if let Some(end) = port.end {
        fields.push(format!("endPort: {end}"));
    }
    format!("{{{}}}", fields.join(", "))
}

fn selector(selector: &Selector) -> String {
    let mut fields = Vec::new();
    if !selector.labels.is_empty() {
        fields.push(format!("matchLabels: {}", flow(&selector.labels)));
    }
    if !selector.expressions.is_empty() {
        let expressions: Vec<String> = selector
            .expressions
            .iter()
            .map(|e| {
                let values =
                    if e.values.is_empty() { String::new() } else { format!(", values: [{}]", e.values.join(", ")) };
                format!("{{key: {}, operator: {}{values}}}", e.key, e.operator)
            })
            .collect();
        fields.push(format!("matchExpressions: [{}]", expressions.join(", ")));
    }
    format!("{{{}}}", fields.join(", "))
}

/// Labels as a flow mapping.
fn flow(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    format!("{{{}}}", pairs.join(", "))
}
