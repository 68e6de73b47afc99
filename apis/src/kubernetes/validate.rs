//! What the API server would refuse about an object, field by field.
//!
//! Only fields that a network uses are judged. An object that passes holds only names, labels, addresses and ports that
//! parse; every reader behind may rely on it.
//!
//! Source: the API server's validation of `v1` and `networking.k8s.io/v1` objects; RFC 1123 and RFC 6335 for names.

mod network_policy;
mod syntax;

use std::fmt;
use std::net::IpAddr;

use super::{Container, ContainerPort, Namespace, Node, Object, ObjectMeta, Pod};

pub use syntax::{parse_address, parse_cidr};

/// A field that the API server would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// `spec.ingress[0].from[1].ipBlock.cidr`; a label's key in brackets.
    pub path: String,
    /// What is wrong with it, as the end of a sentence that starts with the path.
    pub what: String,
    /// What to do about it.
    pub what_to_do: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}; {}", self.path, self.what, self.what_to_do)
    }
}

/// Says everything that is wrong with an object. Unknown kinds pass.
pub fn validate(object: &Object) -> Result<(), Vec<Invalid>> {
    let mut findings = Findings::default();
    match object {
        Object::Namespace(namespace) => {
            metadata(&namespace.metadata, Scope::Cluster, &mut findings);
            findings.check("metadata.name", syntax::dns_label(&namespace.metadata.name));
        }
        Object::Node(object) => {
            metadata(&object.metadata, Scope::Cluster, &mut findings);
            findings.check("metadata.name", syntax::dns_subdomain(&object.metadata.name));
            node(object, &mut findings);
        }
        Object::Pod(object) => {
            metadata(&object.metadata, Scope::Namespaced, &mut findings);
            findings.check("metadata.name", syntax::dns_subdomain(&object.metadata.name));
            pod(object, &mut findings);
        }
        Object::NetworkPolicy(policy) => {
            metadata(&policy.metadata, Scope::Namespaced, &mut findings);
            findings.check("metadata.name", syntax::dns_subdomain(&policy.metadata.name));
            network_policy::spec(&policy.spec, &mut findings);
        }
        Object::Unknown { .. } => {}
    }
    if findings.0.is_empty() { Ok(()) } else { Err(findings.0) }
}

/// What is wrong with a value, and what to do about it.
type Complaint = (String, &'static str);

/// Everything found so far.
#[derive(Default)]
struct Findings(Vec<Invalid>);

impl Findings {
    fn add(&mut self, path: impl Into<String>, what: impl Into<String>, what_to_do: impl Into<String>) {
        self.0.push(Invalid { path: path.into(), what: what.into(), what_to_do: what_to_do.into() });
    }

    /// Notes a complaint; gives what was parsed where there is none.
    fn check<T>(&mut self, path: impl Into<String>, outcome: Result<T, Complaint>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err((what, what_to_do)) => {
                self.add(path, what, what_to_do);
                None
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Cluster,
    Namespaced,
}

fn metadata(metadata: &ObjectMeta, scope: Scope, findings: &mut Findings) {
    match (scope, metadata.namespace.as_deref()) {
        (Scope::Cluster, Some(_)) => {
            findings.add("metadata.namespace", "is there, but the kind has no namespace", "remove it");
        }
        (Scope::Namespaced, None | Some("")) => findings.add("metadata.namespace", "is missing", "name the namespace"),
        (Scope::Namespaced, Some(namespace)) => {
            findings.check("metadata.namespace", syntax::dns_label(namespace));
        }
        (Scope::Cluster, None) => {}
    }
    // A namespace has its name as a label: what is wrong with the one is said of the other.
    let own_name = |key: &str, value: &str| key == Namespace::NAME_LABEL && value == metadata.name;
    for (key, value) in metadata.labels.iter().filter(|(key, value)| !own_name(key, value)) {
        let path = format!("metadata.labels[{}]", syntax::shown(key));
        findings.check(&*path, syntax::label_key(key));
        findings.check(path, syntax::label_value(value));
    }
}

fn node(node: &Node, findings: &mut Findings) {
    if let (Some(single), Some(first)) = (&node.spec.pod_cidr, node.spec.pod_cidrs.first())
        && single != first
    {
        let what = format!("is {single}, but the first of spec.podCIDRs is {first}");
        findings.add("spec.podCIDR", what, "make both equal, or remove one of them");
    }
    let mut families = [None, None];
    for (index, cidr) in node.pod_cidrs().enumerate() {
        let path = match node.spec.pod_cidrs.is_empty() {
            true => "spec.podCIDR".to_owned(),
            false => format!("spec.podCIDRs[{index}]"),
        };
        if let Some(network) = findings.check(&*path, syntax::parse_cidr(cidr)) {
            once_a_family(network.addr(), cidr, &path, &mut families, findings);
        }
    }
    for (index, address) in node.status.addresses.iter().enumerate() {
        if matches!(address.kind.as_str(), "InternalIP" | "ExternalIP") {
            findings.check(format!("status.addresses[{index}].address"), syntax::parse_address(&address.address));
        }
    }
}

fn pod(pod: &Pod, findings: &mut Findings) {
    if let Some(node) = &pod.spec.node_name {
        findings.check("spec.nodeName", syntax::dns_subdomain(node));
    }
    if let Some(account) = &pod.spec.service_account_name {
        findings.check("spec.serviceAccountName", syntax::dns_subdomain(account));
    }
    for (field, containers) in [("containers", &pod.spec.containers), ("initContainers", &pod.spec.init_containers)] {
        for (index, container) in containers.iter().enumerate() {
            container_ports(container, pod.spec.host_network, &format!("spec.{field}[{index}]"), findings);
        }
    }
    if let (Some(single), Some(first)) = (&pod.status.pod_ip, pod.status.pod_ips.first())
        && *single != first.ip
    {
        let what = format!("is {single}, but the first of status.podIPs is {}", first.ip);
        findings.add("status.podIP", what, "make both equal, or remove one of them");
    }
    let mut families = [None, None];
    for (index, text) in pod.addresses().enumerate() {
        let path = match pod.status.pod_ips.is_empty() {
            true => "status.podIP".to_owned(),
            false => format!("status.podIPs[{index}].ip"),
        };
        if let Some(address) = findings.check(&*path, syntax::parse_address(text)) {
            once_a_family(address, text, &path, &mut families, findings);
        }
    }
}

/// A pod has at most one address a family, a node at most one range.
fn once_a_family<'a>(
    address: IpAddr,
    text: &'a str,
    path: &str,
    seen: &mut [Option<&'a str>; 2],
    findings: &mut Findings,
) {
    let slot = &mut seen[usize::from(address.is_ipv6())];
    match slot {
        Some(first) => {
            let family = if address.is_ipv6() { "IPv6" } else { "IPv4" };
            findings.add(path, format!("is a second one of {family} after {first}"), "keep one a family");
        }
        None => *slot = Some(text),
    }
}

fn container_ports(container: &Container, host_network: bool, path: &str, findings: &mut Findings) {
    for (index, port) in container.ports.iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        container_port(port, host_network, &path, findings);
        let earlier = &container.ports[..index];
        if port.name.is_some() && earlier.iter().any(|other| other.name == port.name) {
            findings.add(format!("{path}.name"), "is there twice in one container", "give each port a name of its own");
        }
    }
}

fn container_port(port: &ContainerPort, host_network: bool, path: &str, findings: &mut Findings) {
    findings.check(format!("{path}.containerPort"), syntax::port_number(port.container_port));
    if let Some(name) = &port.name {
        findings.check(format!("{path}.name"), syntax::port_name(name));
    }
    if let Some(protocol) = &port.protocol {
        findings.check(format!("{path}.protocol"), syntax::protocol(protocol));
    }
    if let Some(host_ip) = &port.host_ip {
        findings.check(format!("{path}.hostIP"), syntax::parse_address(host_ip));
    }
    if let Some(host_port) = port.host_port {
        findings.check(format!("{path}.hostPort"), syntax::port_number(host_port));
        if host_network && host_port != port.container_port {
            let what = format!("is {host_port}, but a pod of the host's network listens on {}", port.container_port);
            findings.add(format!("{path}.hostPort"), what, "make it equal to containerPort, or remove it");
        }
    }
}

#[cfg(test)]
mod tests;
