//! From the wire to valid values. What does not pass is refused by name; nothing behind this file meets a bad length,
//! an unknown number or an unsorted list.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use apis::stream;
use ipnet::IpNet;
use ovs_pipeline::{Action, Direction, IpBlock, Service};

use super::name::{GroupId, IdentityId, IsolationId, PodKey, RuleId};
use super::object::{
    Change, Endpoint, Group, Identity, Isolation, NamedPort, Node, Posture, Rule, RulePeers, RuleService,
    TransportProtocol,
};

/// A message of the controller that this agent does not take.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{object} from the controller has {what}; it and this agent do not speak the same protocol version")]
pub struct BadMessage {
    /// The kind and, where it can be told, the name.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
}

fn bad(object: impl Into<String>, what: impl Into<String>) -> BadMessage {
    BadMessage { object: object.into(), what: what.into() }
}

/// Four bytes are IPv4, sixteen IPv6.
pub fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

/// The bytes of an address as the wire has them.
pub fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn addresses<B: AsRef<[u8]>>(object: &str, list: &[B]) -> Result<Vec<IpAddr>, BadMessage> {
    list.iter()
        .map(AsRef::as_ref)
        .map(|bytes| address(bytes).ok_or_else(|| bad(object, format!("an address of {} bytes", bytes.len()))))
        .collect()
}

fn prefix(object: &str, prefix: &stream::Prefix) -> Result<IpNet, BadMessage> {
    let address = address(&prefix.address)
        .ok_or_else(|| bad(object, format!("a prefix address of {} bytes", prefix.address.len())))?;
    u8::try_from(prefix.length)
        .ok()
        .and_then(|length| IpNet::new(address, length).ok())
        .map(|net| net.trunc())
        .ok_or_else(|| bad(object, format!("a prefix length of {}", prefix.length)))
}

fn prefixes(object: &str, list: &[stream::Prefix]) -> Result<Vec<IpNet>, BadMessage> {
    list.iter().map(|entry| prefix(object, entry)).collect()
}

macro_rules! hash {
    ($kind:ident, $bytes:expr, $object:expr) => {
        $kind::from_bytes($bytes).ok_or_else(|| bad($object, format!("a hash of {} bytes", $bytes.len())))
    };
}

fn direction(object: &str, value: i32) -> Result<Direction, BadMessage> {
    match stream::Direction::try_from(value) {
        Ok(stream::Direction::Ingress) => Ok(Direction::Ingress),
        Ok(stream::Direction::Egress) => Ok(Direction::Egress),
        _ => Err(bad(object, format!("direction {value}"))),
    }
}

fn protocol(object: &str, value: i32) -> Result<TransportProtocol, BadMessage> {
    match stream::Protocol::try_from(value) {
        Ok(stream::Protocol::Tcp) => Ok(TransportProtocol::Tcp),
        Ok(stream::Protocol::Udp) => Ok(TransportProtocol::Udp),
        Ok(stream::Protocol::Sctp) => Ok(TransportProtocol::Sctp),
        _ => Err(bad(object, format!("protocol {value}"))),
    }
}

fn port(object: &str, value: u32) -> Result<u16, BadMessage> {
    u16::try_from(value).map_err(|_| bad(object, format!("port {value}")))
}

fn icmp_byte(object: &str, value: u32) -> Result<u8, BadMessage> {
    u8::try_from(value).map_err(|_| bad(object, format!("ICMP type or code {value}")))
}

fn pod_key(object: &str, namespace: &str, name: &str) -> Result<PodKey, BadMessage> {
    PodKey::parse(&format!("{namespace}/{name}")).ok_or_else(|| bad(object, "a name that no pod can have"))
}

fn service(object: &str, service: &stream::Service) -> Result<RuleService, BadMessage> {
    if let Some(icmp) = &service.icmp {
        let kind = icmp.r#type.map(|value| icmp_byte(object, value)).transpose()?;
        let code = icmp.code.map(|value| icmp_byte(object, value)).transpose()?;
        return Ok(RuleService::Number(Service::Icmp { v6: icmp.v6, kind, code }));
    }
    let protocol = protocol(object, service.protocol)?;
    if let Some(name) = &service.port_name {
        return Ok(RuleService::Name { protocol, name: name.as_str().into() });
    }
    let Some(first) = service.port else {
        return Ok(RuleService::Number(Service::Protocol(protocol.into())));
    };
    let last = service.end_port.unwrap_or(first);
    let (first, last) = (port(object, first)?, port(object, last)?);
    if last < first {
        return Err(bad(object, format!("the port range {first}-{last}")));
    }
    #[cfg(fuzzing)]
    apis::planted::planted("from_controller", (1..80).contains(&first));
    Ok(RuleService::Number(Service::Ports { protocol: protocol.into(), first, last }))
}

fn names(list: Vec<String>) -> Box<[Box<str>]> {
    list.into_iter().map(String::into_boxed_str).collect()
}

fn rule(rule: stream::Rule) -> Result<Rule, BadMessage> {
    let object = rule.names.first().map_or_else(|| "a rule".to_owned(), Clone::clone);
    let blocks = rule
        .blocks
        .iter()
        .map(|block| {
            let cidr = block.cidr.as_ref().ok_or_else(|| bad(object.as_str(), "a block without a CIDR"))?;
            Ok(IpBlock { cidr: prefix(&object, cidr)?, except: prefixes(&object, &block.except)? })
        })
        .collect::<Result<Box<[IpBlock]>, BadMessage>>()?;
    let mut groups = rule
        .peers
        .iter()
        .map(|bytes| hash!(GroupId, bytes, object.as_str()))
        .collect::<Result<Vec<GroupId>, BadMessage>>()?;
    groups.sort_unstable();
    groups.dedup();
    Ok(Rule {
        id: hash!(RuleId, &rule.id, object.as_str())?,
        direction: direction(&object, rule.direction)?,
        applied_to: hash!(GroupId, &rule.applied_to, object.as_str())?,
        peers: (!rule.any_peer).then(|| RulePeers { groups: groups.into(), blocks }),
        services: rule.services.iter().map(|entry| service(&object, entry)).collect::<Result<_, _>>()?,
        action: match stream::RuleAction::try_from(rule.action) {
            Ok(stream::RuleAction::Allow) => Action::Allow,
            Ok(stream::RuleAction::Drop) => Action::Drop,
            _ => return Err(bad(object.as_str(), format!("action {}", rule.action))),
        },
        names: names(rule.names),
    })
}

fn identity(identity: stream::Identity) -> Result<Identity, BadMessage> {
    let object = format!("an identity of namespace {}", identity.namespace);
    let mut named_ports = identity
        .named_ports
        .iter()
        .map(|entry| {
            Ok(NamedPort {
                name: entry.name.as_str().into(),
                protocol: protocol(&object, entry.protocol)?,
                port: port(&object, entry.port)?,
            })
        })
        .collect::<Result<Vec<NamedPort>, BadMessage>>()?;
    named_ports.sort_unstable();
    named_ports.dedup();
    Ok(Identity {
        id: hash!(IdentityId, &identity.id, object.as_str())?,
        namespace: identity.namespace.into(),
        named_ports: named_ports.into(),
    })
}

fn group(group: stream::Group) -> Result<Group, BadMessage> {
    let mut identities = group
        .identities
        .iter()
        .map(|bytes| hash!(IdentityId, bytes, "a group"))
        .collect::<Result<Vec<IdentityId>, BadMessage>>()?;
    identities.sort_unstable();
    identities.dedup();
    Ok(Group { id: hash!(GroupId, &group.id, "a group")?, identities: identities.into() })
}

impl TryFrom<stream::Change> for Change {
    type Error = BadMessage;

    fn try_from(change: stream::Change) -> Result<Self, BadMessage> {
        use stream::change::Change as Wire;
        let Some(change) = change.change else {
            return Err(bad("a change", "no kind that this agent knows"));
        };
        Ok(match change {
            Wire::Node(node) => {
                let object = format!("Node/{}", node.name);
                Change::Node(Node {
                    addresses: addresses(&object, &node.addresses)?,
                    pod_cidrs: prefixes(&object, &node.pod_cidrs)?,
                    name: node.name.into(),
                })
            }
            Wire::NodeRemoved(name) => Change::NodeRemoved(name.into()),
            Wire::Endpoint(endpoint) => {
                let object = format!("Pod/{}/{}", endpoint.namespace, endpoint.name);
                Change::Endpoint(Endpoint {
                    key: pod_key(&object, &endpoint.namespace, &endpoint.name)?,
                    addresses: addresses(&object, &endpoint.addresses)?.into_iter().collect(),
                    identity: hash!(IdentityId, &endpoint.identity, object.as_str())?,
                    node: endpoint.node.into(),
                })
            }
            Wire::EndpointRemoved(key) => Change::EndpointRemoved(pod_key("a removed pod", &key.namespace, &key.name)?),
            Wire::Identity(value) => Change::Identity(identity(value)?),
            Wire::IdentityRemoved(id) => Change::IdentityRemoved(hash!(IdentityId, &id, "a removed identity")?),
            Wire::Group(value) => Change::Group(group(value)?),
            Wire::GroupRemoved(id) => Change::GroupRemoved(hash!(GroupId, &id, "a removed group")?),
            Wire::Rule(value) => Change::Rule(rule(value)?),
            Wire::RuleRemoved(id) => Change::RuleRemoved(hash!(RuleId, &id, "a removed rule")?),
            Wire::Isolation(isolation) => {
                let object = isolation.names.first().map_or_else(|| "an isolation".to_owned(), Clone::clone);
                Change::Isolation(Isolation {
                    id: hash!(IsolationId, &isolation.id, object.as_str())?,
                    direction: direction(&object, isolation.direction)?,
                    applied_to: hash!(GroupId, &isolation.applied_to, object.as_str())?,
                    names: names(isolation.names),
                })
            }
            Wire::IsolationRemoved(id) => Change::IsolationRemoved(hash!(IsolationId, &id, "a removed isolation")?),
            Wire::Posture(posture) => Change::Posture(
                posture.namespace.into(),
                Posture {
                    ingress_selectable: posture.ingress_selectable,
                    egress_selectable: posture.egress_selectable,
                },
            ),
            Wire::PostureRemoved(namespace) => Change::PostureRemoved(namespace.into()),
        })
    }
}
