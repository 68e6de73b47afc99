//! Policies and groups as this node was given them, for people: the state, turned around by policy.

use std::collections::{BTreeMap, BTreeSet};

use apis::query::{GroupInfo, GroupMember, PolicyInfo, RuleInfo, policy_and_rule};
use ovs_pipeline::{Direction, Protocol, Service};

use crate::state::object::{Rule, RuleService};
use crate::state::{GroupId, State};

/// Every policy that selects a pod here, by name.
pub fn policies(state: &State) -> Vec<PolicyInfo> {
    let mut found: BTreeMap<String, PolicyInfo> = BTreeMap::new();
    let mut entry = |name: &str, group: GroupId, note: &mut dyn FnMut(&mut PolicyInfo, Option<&str>)| {
        let (source, rule) = policy_and_rule(name);
        let policy = found.entry(source.to_owned()).or_default();
        policy.source = source.to_owned();
        policy.name = source.split_once('/').map_or(source, |(_, name)| name).to_owned();
        policy.applied_to.push(group.to_string());
        note(policy, rule);
    };
    for isolation in state.upstream.isolations.values() {
        for name in &isolation.names {
            entry(name, isolation.applied_to, &mut |policy, _| {
                policy.isolates.push(direction(isolation.direction).to_owned());
            });
        }
    }
    for rule in state.upstream.rules.values() {
        for name in &rule.names {
            entry(name, rule.applied_to, &mut |policy, place| {
                policy.rules.push(shown(rule, place.unwrap_or_default()))
            });
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
pub fn applied_to_groups(state: &State) -> Vec<GroupInfo> {
    let rules = state.upstream.rules.values().map(|rule| (rule.applied_to, &rule.names));
    let isolations = state.upstream.isolations.values().map(|isolation| (isolation.applied_to, &isolation.names));
    groups(state, rules.chain(isolations))
}

/// The groups at the other end of rules.
pub fn address_groups(state: &State) -> Vec<GroupInfo> {
    let peers = state.upstream.rules.values().filter_map(|rule| Some((rule.peers.as_ref()?, &rule.names)));
    groups(state, peers.flat_map(|(peers, names)| peers.groups.iter().map(move |group| (*group, names))))
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Policies that select a pod here.
    pub policies: usize,
    /// Groups that they apply to.
    pub applied_to_groups: usize,
    /// Groups at the other end of rules.
    pub address_groups: usize,
}

/// How many policies and groups there are, without making the lists.
pub fn counts(state: &State) -> Counts {
    let upstream = &state.upstream;
    let isolations = upstream.isolations.values();
    let policies: BTreeSet<&str> =
        isolations.clone().flat_map(|isolation| isolation.names.iter()).map(|name| &**name).collect();
    let applied: BTreeSet<GroupId> = isolations
        .map(|isolation| isolation.applied_to)
        .chain(upstream.rules.values().map(|rule| rule.applied_to))
        .collect();
    let peers = upstream.rules.values().filter_map(|rule| rule.peers.as_ref());
    let addresses: BTreeSet<GroupId> = peers.flat_map(|peers| peers.groups.iter().copied()).collect();
    Counts { policies: policies.len(), applied_to_groups: applied.len(), address_groups: addresses.len() }
}

fn groups<'a>(state: &State, named: impl Iterator<Item = (GroupId, &'a Box<[Box<str>]>)>) -> Vec<GroupInfo> {
    let mut policies: BTreeMap<GroupId, BTreeSet<&str>> = BTreeMap::new();
    for (group, names) in named {
        policies.entry(group).or_default().extend(names.iter().map(|name| policy_and_rule(name).0));
    }
    let info = |(group, policies): (GroupId, BTreeSet<&str>)| {
        let members = state.upstream.groups.get(&group);
        let endpoints = state.upstream.endpoints.iter();
        let of_group = endpoints
            .filter(|endpoint| members.is_some_and(|members| members.binary_search(&endpoint.identity).is_ok()));
        let mut pods: Vec<GroupMember> = of_group
            .map(|endpoint| GroupMember {
                pod: endpoint.key.to_string(),
                node: endpoint.node.to_owned(),
                addresses: endpoint.addresses.iter().collect(),
            })
            .collect();
        pods.sort_unstable();
        let policies = policies.into_iter().map(str::to_owned).collect();
        GroupInfo { name: group.to_string(), selector: None, pods, policies }
    };
    policies.into_iter().map(info).collect()
}

fn shown(rule: &Rule, place: &str) -> RuleInfo {
    let (peers, blocks) = rule.peers.as_ref().map_or_else(Default::default, |peers| {
        let blocks = peers.blocks.iter().map(|block| {
            let except: Vec<String> = block.except.iter().map(ToString::to_string).collect();
            if except.is_empty() {
                block.cidr.to_string()
            } else {
                format!("{} except {}", block.cidr, except.join(" "))
            }
        });
        (peers.groups.iter().map(ToString::to_string).collect(), blocks.collect())
    });
    RuleInfo {
        name: place.to_owned(),
        direction: direction(rule.direction).to_owned(),
        peers,
        blocks,
        anyone: rule.peers.is_none(),
        services: rule.services.iter().map(service).collect(),
    }
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

/// `TCP/80`, `TCP/8000-8080`, `TCP/http`, `TCP`.
fn service(service: &RuleService) -> String {
    let protocol = |protocol| match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    };
    match service {
        RuleService::Number(Service::Protocol(found)) => protocol(*found).to_owned(),
        RuleService::Number(Service::Ports { protocol: found, first, last }) if first == last => {
            format!("{}/{first}", protocol(*found))
        }
        RuleService::Number(Service::Ports { protocol: found, first, last }) => {
            format!("{}/{first}-{last}", protocol(*found))
        }
        RuleService::Number(Service::Icmp { v6, kind, code }) => {
            let numbers = [kind, code].into_iter().flatten().map(|number| format!("/{number}"));
            format!("{}{}", if *v6 { "ICMPv6" } else { "ICMP" }, numbers.collect::<String>())
        }
        RuleService::Name { protocol: found, name } => format!("{}/{name}", protocol(Protocol::from(*found))),
    }
}
