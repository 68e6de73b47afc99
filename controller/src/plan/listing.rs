//! The plan by policy and by group, for people: what `antctl get` lists.

use std::collections::{BTreeMap, BTreeSet};

use apis::query::{GroupInfo, GroupMember, PolicyInfo, RuleInfo, policy_and_rule};

use super::group::Group;
use super::{Plan, RuleContent};

impl Plan {
    /// Every policy, by name.
    pub fn policies(&self) -> Vec<PolicyInfo> {
        let mut found: BTreeMap<String, PolicyInfo> = BTreeMap::new();
        for (_, isolation) in self.rules.isolations.iter() {
            for name in &isolation.names {
                let policy = policy_of(&mut found, name);
                policy.isolates.push(isolation.direction.to_string());
                policy.applied_to.push(isolation.group.to_string());
            }
        }
        for (_, rule) in self.rules.rules.iter() {
            for name in &rule.names {
                let place = policy_and_rule(name).1.unwrap_or_default();
                let policy = policy_of(&mut found, name);
                policy.applied_to.push(rule.content.applied_to.to_string());
                policy.rules.push(shown(&rule.content, place));
            }
        }
        let mut policies: Vec<PolicyInfo> = found.into_values().collect();
        for policy in &mut policies {
            policy.rules.sort_unstable();
            for list in [&mut policy.applied_to, &mut policy.isolates] {
                list.sort_unstable();
                list.dedup();
            }
        }
        policies
    }

    /// The groups that policies apply to.
    pub fn applied_to_groups(&self) -> Vec<GroupInfo> {
        self.groups_shown(Group::is_applied_to, |plan, group| {
            let rules = group.applied_rules.iter().flat_map(|rule| plan.rules.rules[rule].names.iter());
            let isolations = group.isolations.iter().flat_map(|number| plan.rules.isolations[number].names.iter());
            rules.chain(isolations).map(|name| policy_and_rule(name).0.to_owned()).collect()
        })
    }

    /// The groups at the other end of rules.
    pub fn address_groups(&self) -> Vec<GroupInfo> {
        self.groups_shown(
            |group| !group.peer_rules.is_empty(),
            |plan, group| {
                let rules = group.peer_rules.iter().flat_map(|rule| plan.rules.rules[rule].names.iter());
                rules.map(|name| policy_and_rule(name).0.to_owned()).collect()
            },
        )
    }

    /// How many groups policies apply to, and how many are at the other end of rules.
    pub fn group_counts(&self) -> (usize, usize) {
        let sent = || self.groups.iter().map(|(_, group)| group).filter(|group| group.is_sent());
        let applied = sent().filter(|group| group.is_applied_to()).count();
        (applied, sent().filter(|group| !group.peer_rules.is_empty()).count())
    }

    fn groups_shown(
        &self,
        wanted: impl Fn(&Group) -> bool,
        policies: impl Fn(&Self, &Group) -> BTreeSet<String>,
    ) -> Vec<GroupInfo> {
        let sent = self.groups.iter().map(|(_, group)| group).filter(|group| group.is_sent() && wanted(group));
        let mut groups: Vec<GroupInfo> = sent
            .map(|group| {
                let endpoints = group.members.iter().flat_map(|member| self.identities.get(member).endpoints.iter());
                let mut pods: Vec<GroupMember> = endpoints.map(|number| self.member(number)).collect();
                pods.sort_unstable();
                GroupInfo {
                    name: group.id.to_string(),
                    selector: Some(group.selector.to_string()),
                    pods,
                    policies: policies(self, group).into_iter().collect(),
                }
            })
            .collect();
        groups.sort_unstable();
        groups
    }

    fn member(&self, number: u32) -> GroupMember {
        let endpoint = self.endpoints.get(number);
        GroupMember {
            pod: endpoint.key.to_string(),
            node: self.homes.name_of(endpoint.home).to_string(),
            addresses: endpoint.addresses.to_vec(),
        }
    }
}

fn policy_of<'a>(found: &'a mut BTreeMap<String, PolicyInfo>, name: &str) -> &'a mut PolicyInfo {
    let (source, _) = policy_and_rule(name);
    let policy = found.entry(source.to_owned()).or_default();
    policy.source = source.to_owned();
    policy.name = source.split_once('/').map_or(source, |(_, name)| name).to_owned();
    policy
}

fn shown(content: &RuleContent, place: &str) -> RuleInfo {
    RuleInfo {
        name: place.to_owned(),
        direction: content.direction.to_string(),
        peers: content.peers.iter().map(ToString::to_string).collect(),
        blocks: content.blocks.iter().map(ToString::to_string).collect(),
        anyone: content.anyone,
        services: content.services.ports().iter().flat_map(|ports| ports.iter()).map(ToString::to_string).collect(),
    }
}
