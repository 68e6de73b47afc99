//! A node's plan as text for people: names instead of hashes, sorted, one object a line.

use std::fmt::Write;

use super::{ContentId, Name, Plan, Planned};
use crate::object::NodeName;

impl Plan {
    /// Everything a node needs. Equal needs give equal text, and the text says everything that goes on the wire.
    pub fn show(&self, node: &NodeName) -> String {
        let mut lines: Vec<String> = self.needed_by(node).iter().filter_map(|name| self.show_object(name)).collect();
        lines.sort_unstable();
        lines.into_iter().fold(String::new(), |text, line| text + &line + "\n")
    }

    /// One object; None where there is none of this name.
    pub fn show_object(&self, name: &Name) -> Option<String> {
        let mut line = String::new();
        let written = match self.object(name)? {
            Planned::Node(node) => {
                let addresses = list(node.addresses.iter(), ",");
                write!(line, "node {} addresses={addresses} pods={}", node.name, node.pod_cidrs)
            }
            Planned::Posture { namespace, ingress, egress } => {
                let selectable = |selectable| if selectable { "selectable" } else { "open" };
                write!(line, "posture {namespace} ingress={} egress={}", selectable(ingress), selectable(egress))
            }
            Planned::Identity(id, _) => write!(line, "identity {}", self.show_identity(id)),
            Planned::Endpoint { pod, node, addresses, identity } => {
                let addresses = list(addresses.iter(), ",");
                write!(line, "endpoint {pod} on {node} addresses={addresses} identity={}", self.show_identity(identity))
            }
            Planned::Group { selector, identities, .. } => {
                let mut members: Vec<String> = identities.into_iter().map(|id| self.show_identity(id)).collect();
                members.sort_unstable();
                write!(line, "group {selector}: {}", list(members.iter(), " "))
            }
            Planned::Isolation { direction, applied_to, names, .. } => {
                write!(
                    line,
                    "isolation {direction} of {}: {}",
                    self.show_group(applied_to),
                    list(names.into_iter(), ", ")
                )
            }
            Planned::Rule { content, names, .. } => {
                let mut peers: Vec<String> = content.peers.iter().map(|peer| self.show_group(*peer)).collect();
                peers.sort_unstable();
                peers.extend(content.blocks.iter().map(ToString::to_string));
                if content.anyone {
                    peers.push("anyone".to_owned());
                }
                let (direction, services) = (content.direction, &content.services);
                let (applied_to, peers) = (self.show_group(content.applied_to), list(peers.iter(), " or "));
                let names = list(names.into_iter(), ", ");
                write!(line, "rule {direction} of {applied_to} with {peers} on {services}: {names}")
            }
        };
        written.expect("writing to a String cannot fail");
        Some(line)
    }

    /// `shop{app=web}`, with ServiceAccount and ports where there is something to say.
    fn show_identity(&self, id: ContentId) -> String {
        let name = Name::Identity(id);
        let Some(Planned::Identity(_, definition)) = self.object(&name) else { return format!("unknown {id}") };
        let mut text = format!("{}{{{}}}", definition.namespace, definition.labels);
        if definition.service_account.as_str() != "default" {
            text += &format!("/sa={}", definition.service_account);
        }
        if !definition.named_ports.is_empty() {
            text += &format!("/{}", list(definition.named_ports.iter(), ","));
        }
        text
    }

    fn show_group(&self, id: ContentId) -> String {
        match self.object(&Name::Group(id)) {
            Some(Planned::Group { selector, .. }) => selector.to_string(),
            _ => format!("unknown {id}"),
        }
    }
}

fn list<T: ToString>(items: impl Iterator<Item = T>, between: &str) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    if items.is_empty() { "-".to_owned() } else { items.join(between) }
}
