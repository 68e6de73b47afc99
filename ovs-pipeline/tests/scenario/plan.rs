//! What an agent would plan: from what is wanted to the intents of each node.

use std::collections::BTreeMap;

use ovs_pipeline::{Direction, Intent, Node, Pod, Rule, Service};

use super::{Change, Key, Kind, Wanted};

/// What is wanted now.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct State(pub BTreeMap<Key, Wanted>);

impl State {
    pub fn change(&mut self, change: &Change) {
        match &change.wanted {
            Some(wanted) => self.0.insert(change.key.clone(), wanted.clone()),
            None => self.0.remove(&change.key),
        };
    }

    /// The nodes that are wanted.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().filter_map(|(key, wanted)| match &wanted.intent {
            Intent::Node(node) => Some((key.node.as_str(), node)),
            _ => None,
        })
    }

    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes().find(|(known, _)| *known == name).map(|(_, node)| node)
    }

    /// Where a pod is, and what it is there.
    pub fn pod(&self, name: &str) -> Option<(&str, &Pod)> {
        self.0.iter().find_map(|(key, wanted)| match &wanted.intent {
            Intent::Pod(pod) if key.kind == Kind::Pod && key.name == name => Some((key.node.as_str(), pod)),
            _ => None,
        })
    }

    /// A node's intents. A node that is not wanted has none: there is nothing to plan them with.
    pub fn intents(&self, node: &str) -> BTreeMap<Key, Intent> {
        let here = || self.0.iter().filter(|(key, _)| key.node == node);
        if self.node(node).is_none() {
            return BTreeMap::new();
        }
        let rules: Vec<&Rule> = here()
            .filter_map(|(_, wanted)| match &wanted.intent {
                Intent::Rule(rule) => Some(rule),
                _ => None,
            })
            .collect();
        here().map(|(key, wanted)| (key.clone(), planned(wanted, &rules))).collect()
    }
}

fn planned(wanted: &Wanted, rules: &[&Rule]) -> Intent {
    match &wanted.intent {
        Intent::Pod(pod) if wanted.derive_port_rules => Intent::Pod(Pod {
            egress_port_rules: names_ports(pod, Direction::Egress, rules),
            ingress_port_rules: names_ports(pod, Direction::Ingress, rules),
            ..pod.clone()
        }),
        intent => intent.clone(),
    }
}

fn names_ports(pod: &Pod, direction: Direction, rules: &[&Rule]) -> bool {
    rules.iter().any(|rule| {
        rule.direction == direction
            && pod.identity.is_some_and(|identity| rule.applied_to.contains(&identity))
            && rule.services.iter().flatten().any(|service| matches!(service, Service::Ports { .. }))
    })
}
