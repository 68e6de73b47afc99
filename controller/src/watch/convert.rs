//! Kubernetes objects as they are written, to the objects the controller thinks in.
//!
//! It expects what [`apis::kubernetes::validate`] has accepted; what that should have refused and did not is an error here,
//! never a guess.

use std::net::IpAddr;

use apis::kubernetes as raw;
use apis::kubernetes::validate::{parse_address, parse_cidr};
use ipnet::IpNet;
use thiserror::Error;

use crate::object::{
    IpBlock, LabelSelector, LabelTest, Labels, NamedPort, Namespace, NetworkPolicy, Node, NodeName, Object, ObjectKey,
    Operator, PeerSelector, Peers, PodKey, PolicyKey, PolicyRule, Pool, Port, PortRange, Protocol, Services, Text,
};

/// A field whose value cannot be what it says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{path}: `{value}` is not {expected}; write {expected}")]
pub struct Invalid {
    /// Where in the object, as in `spec.podCIDRs`.
    pub path: &'static str,
    /// The value as written.
    pub value: String,
    /// What it should have been.
    pub expected: &'static str,
}

impl Invalid {
    fn new(path: &'static str, value: impl ToString, expected: &'static str) -> Self {
        Self { path, value: value.to_string(), expected }
    }
}

/// The kind and name of an object; None for kinds that are not read.
pub fn key(object: &raw::Object, pool: &mut Pool) -> Option<ObjectKey> {
    let metadata = object.metadata()?;
    let namespace = pool.text(metadata.namespace.as_deref().unwrap_or("default"));
    let name = Text::from(metadata.name.as_str());
    Some(match object {
        raw::Object::Namespace(_) => ObjectKey::Namespace(name),
        raw::Object::Node(_) => ObjectKey::Node(NodeName(name)),
        raw::Object::Pod(_) => ObjectKey::Pod(PodKey { namespace, name }),
        raw::Object::NetworkPolicy(_) => ObjectKey::NetworkPolicy(PolicyKey { namespace, name }),
        raw::Object::Unknown { .. } => return None,
    })
}

/// The object; None for kinds that are not read.
pub fn object(object: &raw::Object, pool: &mut Pool) -> Result<Option<Object>, Invalid> {
    let Some(key) = key(object, pool) else { return Ok(None) };
    Ok(Some(match (object, key) {
        (raw::Object::Namespace(namespace), ObjectKey::Namespace(name)) => {
            Object::Namespace(Namespace { name, labels: labels(&namespace.metadata, pool) })
        }
        (raw::Object::Node(object), ObjectKey::Node(name)) => Object::Node(node(object, name)?),
        (raw::Object::Pod(object), ObjectKey::Pod(key)) => Object::Pod(pod(object, key, pool)?),
        (raw::Object::NetworkPolicy(policy), ObjectKey::NetworkPolicy(key)) => {
            Object::NetworkPolicy(network_policy(policy, key, pool)?)
        }
        _ => return Ok(None),
    }))
}

fn labels(metadata: &raw::ObjectMeta, pool: &mut Pool) -> Labels {
    Labels::new(metadata.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())), pool)
}

fn node(node: &raw::Node, name: NodeName) -> Result<Node, Invalid> {
    let addresses = node.addresses_of("InternalIP").map(|text| address("status.addresses", text));
    let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
    let pod_cidrs = node.pod_cidrs().map(|text| prefix("spec.podCIDRs", text)).collect::<Result<Vec<_>, _>>()?;
    Ok(Node::new(name, addresses, pod_cidrs))
}

fn pod(pod: &raw::Pod, key: PodKey, pool: &mut Pool) -> Result<crate::object::Pod, Invalid> {
    let mut named_ports = Vec::new();
    for container in pod.serving_containers() {
        for port in &container.ports {
            if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
                let protocol = protocol("spec.containers.ports.protocol", port.protocol.as_deref())?;
                let number = port_number("spec.containers.ports.containerPort", port.container_port)?;
                named_ports.push(NamedPort { name: pool.text(name), protocol, port: number });
            }
        }
    }
    named_ports.sort_unstable();
    named_ports.dedup();
    let addresses = pod.addresses().map(|text| address("status.podIPs", text));
    let mut addresses = addresses.collect::<Result<Vec<_>, _>>()?;
    addresses.sort_by_key(IpAddr::is_ipv6);
    let node = pod.spec.node_name.as_deref().filter(|name| !name.is_empty());
    let service_account = pod.spec.service_account_name.as_deref().filter(|name| !name.is_empty());
    Ok(crate::object::Pod {
        key,
        node: node.map(|name| NodeName(pool.text(name))),
        labels: labels(&pod.metadata, pool),
        service_account: pool.text(service_account.unwrap_or("default")),
        named_ports: pool.ports(named_ports),
        status_addresses: addresses.into_boxed_slice(),
        networked: !pod.spec.host_network && !pod.is_terminated(),
    })
}

fn network_policy(policy: &raw::NetworkPolicy, key: PolicyKey, pool: &mut Pool) -> Result<NetworkPolicy, Invalid> {
    let spec = &policy.spec;
    let has = |name: &str| spec.policy_types.iter().any(|held| held == name);
    let defaulted = spec.policy_types.is_empty();
    let (mut ingress, mut egress) = (None, None);
    if defaulted || has("Ingress") {
        let rules = spec.ingress.iter().map(|rule| policy_rule(&rule.from, &rule.ports, pool));
        ingress = Some(rules.collect::<Result<Vec<_>, _>>()?);
    }
    if has("Egress") || (defaulted && !spec.egress.is_empty()) {
        let rules = spec.egress.iter().map(|rule| policy_rule(&rule.to, &rule.ports, pool));
        egress = Some(rules.collect::<Result<Vec<_>, _>>()?);
    }
    let pods = match &spec.pod_selector {
        Some(selector) => label_selector(selector, pool)?,
        None => LabelSelector::default(),
    };
    Ok(NetworkPolicy { key, pods, ingress, egress })
}

fn policy_rule(
    peers: &[raw::NetworkPolicyPeer],
    ports: &[raw::NetworkPolicyPort],
    pool: &mut Pool,
) -> Result<PolicyRule, Invalid> {
    let services = ports.iter().map(|item| port(item, pool)).collect::<Result<Vec<_>, _>>()?;
    let services = Services::new(services);
    if peers.is_empty() {
        return Ok(PolicyRule { peers: Peers::Anyone, services });
    }
    let (mut selectors, mut blocks) = (Vec::new(), Vec::new());
    for peer in peers {
        if let Some(block) = &peer.ip_block {
            let except = block.except.iter().map(|text| prefix("ipBlock.except", text));
            let except = except.collect::<Result<Vec<_>, _>>()?;
            blocks.extend(IpBlock::new(prefix("ipBlock.cidr", &block.cidr)?, except));
        } else if peer.pod_selector.is_none() && peer.namespace_selector.is_none() {
            return Err(Invalid::new("peer", "{}", "a podSelector, a namespaceSelector or an ipBlock"));
        } else {
            let namespaces =
                peer.namespace_selector.as_ref().map(|selector| label_selector(selector, pool)).transpose()?;
            let pods = peer.pod_selector.as_ref().map(|selector| label_selector(selector, pool)).transpose()?;
            selectors.push(PeerSelector { namespaces, pods: pods.unwrap_or_default() });
        }
    }
    Ok(PolicyRule { peers: Peers::these(selectors, blocks), services })
}

fn port(port: &raw::NetworkPolicyPort, pool: &mut Pool) -> Result<Port, Invalid> {
    let protocol = protocol("ports.protocol", port.protocol.as_deref())?;
    let range = match (&port.port, port.end_port) {
        (None, None) => PortRange::All,
        (Some(raw::IntOrString::Int(number)), None) => {
            let number = port_number("ports.port", *number)?;
            PortRange::Numbers(number, number)
        }
        (Some(raw::IntOrString::Int(number)), Some(end)) => {
            let (first, last) = (port_number("ports.port", *number)?, port_number("ports.endPort", end)?);
            if last < first {
                return Err(Invalid::new("ports.endPort", last, "a number not below `port`"));
            }
            PortRange::Numbers(first, last)
        }
        (Some(raw::IntOrString::String(name)), None) => PortRange::Named(pool.text(name)),
        (None | Some(raw::IntOrString::String(_)), Some(end)) => {
            return Err(Invalid::new("ports.endPort", end, "used with a numeric `port` only"));
        }
    };
    Ok(Port { protocol, range })
}

fn label_selector(selector: &raw::LabelSelector, pool: &mut Pool) -> Result<LabelSelector, Invalid> {
    let mut tests = Vec::with_capacity(selector.match_labels.len() + selector.match_expressions.len());
    for (key, value) in &selector.match_labels {
        tests.push(LabelTest { key: pool.text(key), operator: Operator::In(Box::new([pool.text(value)])) });
    }
    for expression in &selector.match_expressions {
        let mut values: Vec<Text> = expression.values.iter().map(|value| pool.text(value)).collect();
        values.sort_unstable();
        values.dedup();
        let values = values.into_boxed_slice();
        let operator = match expression.operator.as_str() {
            "In" if !values.is_empty() => Operator::In(values),
            "NotIn" if !values.is_empty() => Operator::NotIn(values),
            "Exists" if values.is_empty() => Operator::Exists,
            "DoesNotExist" if values.is_empty() => Operator::DoesNotExist,
            other => {
                let expected = "In or NotIn with values, or Exists or DoesNotExist without";
                return Err(Invalid::new("matchExpressions.operator", other, expected));
            }
        };
        tests.push(LabelTest { key: pool.text(&expression.key), operator });
    }
    Ok(LabelSelector::new(tests))
}

fn protocol(path: &'static str, text: Option<&str>) -> Result<Protocol, Invalid> {
    match text {
        None | Some("" | "TCP") => Ok(Protocol::Tcp),
        Some("UDP") => Ok(Protocol::Udp),
        Some("SCTP") => Ok(Protocol::Sctp),
        Some(other) => Err(Invalid::new(path, other, "TCP, UDP or SCTP")),
    }
}

fn port_number(path: &'static str, number: i32) -> Result<u16, Invalid> {
    u16::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| Invalid::new(path, number, "a port from 1 to 65535"))
}

fn address(path: &'static str, text: &str) -> Result<IpAddr, Invalid> {
    parse_address(text).map_err(|_| Invalid::new(path, text, "an IPv4 or IPv6 address"))
}

fn prefix(path: &'static str, text: &str) -> Result<IpNet, Invalid> {
    parse_cidr(text).map_err(|_| Invalid::new(path, text, "a range like 192.0.2.0/24 or 2001:db8::/64"))
}
