//! The plan's objects, by name: what each says, which nodes need it, and what one node needs in all.

use std::net::IpAddr;
use std::sync::Arc;

use super::identity::Definition;
use super::{ContentId, Direction, Name, Plan, RuleContent, Selector, Span};
use crate::object::{Node, NodeName, PodKey, Text};

/// What an object says.
pub enum Planned<'a> {
    /// A node of the cluster.
    Node(&'a Node),
    /// Whether a policy could select a pod of the namespace, by direction.
    Posture {
        /// The namespace.
        namespace: &'a Text,
        /// To it.
        ingress: bool,
        /// From it.
        egress: bool,
    },
    /// An identity.
    Identity(ContentId, &'a Definition),
    /// A pod.
    Endpoint {
        /// The pod.
        pod: &'a PodKey,
        /// Its node.
        node: &'a NodeName,
        /// Its addresses, as far as they are known.
        addresses: &'a [IpAddr],
        /// Its identity.
        identity: ContentId,
    },
    /// A group.
    Group {
        /// Its name.
        id: ContentId,
        /// What it selects.
        selector: &'a Selector,
        /// Its identities, sorted.
        identities: Vec<ContentId>,
    },
    /// An isolation.
    Isolation {
        /// Its name.
        id: ContentId,
        /// The direction.
        direction: Direction,
        /// The group that is isolated.
        applied_to: ContentId,
        /// The policies that say so, sorted.
        names: Vec<&'a Text>,
    },
    /// A rule.
    Rule {
        /// Its name.
        id: ContentId,
        /// What it says.
        content: &'a RuleContent,
        /// The policy rules that say so, sorted.
        names: Vec<&'a Text>,
    },
}

impl Plan {
    /// What an object says; None where there is none of this name.
    pub fn object<'a>(&'a self, name: &'a Name) -> Option<Planned<'a>> {
        Some(match name {
            Name::Node(name) => Planned::Node(self.nodes.get(name)?),
            Name::Posture(namespace) => {
                let scope = self.scopes.get(namespace)?;
                Planned::Posture { namespace, ingress: scope.ingress > 0, egress: scope.egress > 0 }
            }
            Name::Identity(id) => {
                let identity = self.identities.get(self.identities.number_of(id)?);
                Planned::Identity(*id, &identity.definition)
            }
            Name::Endpoint(key) => {
                let endpoint = self.endpoints.get(self.endpoints.number_of(key)?);
                let node = self.homes.name_of(endpoint.home);
                let identity = self.identities.get(endpoint.identity).id;
                Planned::Endpoint { pod: &endpoint.key, node, addresses: &endpoint.addresses, identity }
            }
            Name::Group(id) => {
                let group = self.groups.get(self.groups.number_of(id)?);
                let mut identities: Vec<ContentId> =
                    group.members.iter().map(|member| self.identities.get(member).id).collect();
                identities.sort_unstable();
                Planned::Group { id: *id, selector: &group.selector, identities }
            }
            Name::Isolation(id) => {
                let isolation = self.rules.isolation(id)?;
                let names = isolation.names.iter().collect();
                Planned::Isolation { id: *id, direction: isolation.direction, applied_to: isolation.group, names }
            }
            Name::Rule(id) => {
                let rule = self.rules.rule(id)?;
                Planned::Rule { id: *id, content: &rule.content, names: rule.names.iter().collect() }
            }
        })
    }

    /// The nodes that need an object; None where there is none of this name.
    pub fn span(&self, name: &Name) -> Option<Span> {
        match name {
            Name::Node(name) => self.nodes.get(name).map(|_| Span::everywhere()),
            Name::Posture(namespace) => self.scopes.get(namespace).map(|_| Span::everywhere()),
            Name::Identity(id) => {
                let identity = self.identities.get(self.identities.number_of(id)?);
                Some(Span::nodes(Arc::clone(&identity.span)))
            }
            Name::Endpoint(key) => {
                let endpoint = self.endpoints.get(self.endpoints.number_of(key)?);
                let reach = Arc::clone(&self.identities.get(endpoint.identity).reach);
                Some(Span::with_home(reach, endpoint.home))
            }
            Name::Group(id) => Some(Span::of(&self.groups.get(self.groups.number_of(id)?).span)),
            Name::Isolation(id) => Some(Span::of(&self.groups.get(self.rules.isolation(id)?.applied_to).home)),
            Name::Rule(id) => Some(Span::of(&self.groups.get(self.rules.rule(id)?.applied_to).home)),
        }
    }

    /// Everything a node needs, sorted.
    pub fn needed_by(&self, node: &NodeName) -> Vec<Name> {
        let mut names: Vec<Name> = self.nodes.keys().cloned().map(Name::Node).collect();
        names.extend(self.scopes.keys().cloned().map(Name::Posture));
        if let Some(number) = self.index_of(node) {
            for (_, identity) in self.identities.iter() {
                if identity.span.contains(number) {
                    names.push(Name::Identity(identity.id));
                }
                let everywhere = identity.reach.contains(number);
                if everywhere || identity.lives_on(number) {
                    let endpoints = identity.endpoints.iter().map(|endpoint| self.endpoints.get(endpoint));
                    let needed = endpoints.filter(|endpoint| everywhere || endpoint.home == number);
                    names.extend(needed.map(|endpoint| Name::Endpoint(endpoint.key.clone())));
                }
            }
            for (_, group) in self.groups.iter() {
                if group.is_sent() && group.span.contains(number) {
                    names.push(Name::Group(group.id));
                }
                if group.home.contains(number) {
                    names.extend(group.applied_rules.iter().map(|rule| Name::Rule(self.rules.rules[rule].id)));
                    let isolations = group.isolations.iter();
                    names.extend(isolations.map(|isolation| Name::Isolation(self.rules.isolations[isolation].id)));
                }
            }
        }
        names.sort_unstable();
        names
    }
}
