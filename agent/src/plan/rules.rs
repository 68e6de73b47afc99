//! Rules: which local identities they apply to, who is at the other end, and what their port names stand for.
//!
//! A rule that names ports is split by what the names resolve to on the destination, so that every part has numbers only
//! (the pipeline knows no port names). All parts of a rule have its number; each has a conjunction of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use ovs_pipeline::{Datapath, Direction, IdentityNumber, Intent, Peers, Protocol, Rule as Wanted, Service};

use super::needs::{List, Needs};
use super::{Emit, IntentKey, Quarantine};
use crate::ledger::Ledger;
use crate::state::object::{Rule, RulePeers, RuleService};
use crate::state::{Changed, GroupId, IdentityId, RuleId, State};

/// A part of a rule, as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name within the rule: the kind of part and its resolved services.
    pub key: Box<[u8]>,
    /// What is wanted.
    pub rule: Wanted,
    /// Whom it applies to, by name.
    applied_to: Arc<[IdentityId]>,
}

#[derive(Debug, Default)]
struct Planned {
    parts: Vec<Part>,
    /// The lists of identities that have to be known because of it.
    lists: Vec<(Direction, List)>,
}

/// The rules that are wanted.
#[derive(Debug, Default)]
pub struct Rules {
    planned: HashMap<RuleId, Planned>,
    /// How many parts with ports apply to an identity.
    with_ports: HashMap<(IdentityId, Direction), u32>,
}

/// The identities of a group that pods of this node have, sorted.
pub fn local_members(state: &State, group: GroupId) -> Box<[IdentityId]> {
    let Some(members) = state.upstream.groups.get(&group) else {
        return Box::default();
    };
    let endpoints = &state.upstream.endpoints;
    let local = endpoints.local_identities();
    if local.len() < members.len() {
        let mut found: Vec<_> = local.filter(|id| members.binary_search(id).is_ok()).collect();
        found.sort_unstable();
        found.into()
    } else {
        members.iter().copied().filter(|id| endpoints.is_local(*id)).collect()
    }
}

/// Whether whom a group selects on this node may have changed.
pub fn group_touched(state: &State, group: GroupId, changed: &Changed) -> bool {
    changed.groups.contains(&group)
        || state.upstream.groups.get(&group).is_some_and(|members| {
            changed.local_identities.iter().any(|identity| members.binary_search(identity).is_ok())
        })
}

impl Rules {
    /// Every part, with its rule.
    pub fn parts(&self) -> impl Iterator<Item = (RuleId, &Part)> {
        self.planned.iter().flat_map(|(id, planned)| planned.parts.iter().map(|part| (*id, part)))
    }

    /// Whether a rule of this direction that applies to the identity names ports.
    pub fn has_port_rules(&self, identity: IdentityId, direction: Direction) -> bool {
        self.with_ports.contains_key(&(identity, direction))
    }

    /// Plans what changed; the identities that got their first or lost their last rule with ports.
    pub(super) fn update(
        &mut self,
        state: &State,
        ledger: &mut Ledger,
        changed: &Changed,
        needs: &mut Needs,
        quarantine: &Quarantine,
        emit: &mut Emit<'_>,
    ) -> HashSet<IdentityId> {
        let mut flipped = HashSet::new();
        for id in self.candidates(state, changed) {
            let rule = state.upstream.rules.get(&id);
            let mut parts = rule.map_or_else(Vec::new, |rule| split(rule, state, ledger));
            parts.retain(|part| !quarantine.holds(&IntentKey::Rule(id, part.key.clone())));
            let lists = match rule {
                Some(rule) if !parts.is_empty() => retain_lists(rule, state, needs),
                _ => Vec::new(),
            };
            let old = if parts.is_empty() {
                self.planned.remove(&id).unwrap_or_default()
            } else {
                let new = Planned { parts: parts.clone(), lists };
                self.planned.insert(id, new).unwrap_or_default()
            };
            for (direction, list) in old.lists {
                needs.release(direction, list);
            }
            self.exchange(old.parts, parts, &mut flipped, emit);
        }
        flipped
    }

    /// Says which parts came and went, and counts whom they apply to.
    fn exchange(&mut self, old: Vec<Part>, new: Vec<Part>, flipped: &mut HashSet<IdentityId>, emit: &mut Emit<'_>) {
        for part in &new {
            self.count(part, true, flipped);
        }
        for part in &old {
            self.count(part, false, flipped);
        }
        let mut old: BTreeMap<Box<[u8]>, Wanted> = old.into_iter().map(|part| (part.key, part.rule)).collect();
        for part in new {
            let before = old.remove(&part.key);
            emit.replace(before.map(Intent::Rule), Some(Intent::Rule(part.rule)));
        }
        for rule in old.into_values() {
            emit.replace(Some(Intent::Rule(rule)), None);
        }
    }

    fn count(&mut self, part: &Part, more: bool, flipped: &mut HashSet<IdentityId>) {
        for &identity in part.applied_to.iter() {
            if part.rule.services.is_some() && step(&mut self.with_ports, (identity, part.rule.direction), more) {
                flipped.insert(identity);
            }
        }
    }

    fn candidates(&self, state: &State, changed: &Changed) -> HashSet<RuleId> {
        let mut found = changed.rules.clone();
        let rules = &state.upstream.rules;
        if changed.everything {
            found.extend(self.planned.keys().chain(rules.keys()));
            return found;
        }
        if changed.groups.is_empty() && changed.local_identities.is_empty() && changed.identities.is_empty() {
            return found;
        }
        let touched = |rule: &&Rule| {
            group_touched(state, rule.applied_to, changed)
                || rule.peers.iter().flat_map(|peers| peers.groups.iter()).any(|group| changed.groups.contains(group))
                || (!changed.identities.is_empty() && names_ports(rule))
        };
        found.extend(rules.values().filter(touched).map(|rule| rule.id));
        found
    }
}

/// Counts up or down; whether the count left or reached zero.
fn step<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u32>, key: K, more: bool) -> bool {
    match counts.entry(key) {
        hashbrown::hash_map::Entry::Occupied(mut entry) if more => {
            *entry.get_mut() += 1;
            false
        }
        hashbrown::hash_map::Entry::Occupied(entry) if *entry.get() == 1 => {
            entry.remove();
            true
        }
        hashbrown::hash_map::Entry::Occupied(mut entry) => {
            *entry.get_mut() -= 1;
            false
        }
        hashbrown::hash_map::Entry::Vacant(entry) => {
            if more {
                entry.insert(1);
            }
            more
        }
    }
}

fn names_ports(rule: &Rule) -> bool {
    rule.services.iter().any(|service| matches!(service, RuleService::Name { .. }))
}

/// Notes whose addresses the rule needs, and in which directions.
fn retain_lists(rule: &Rule, state: &State, needs: &mut Needs) -> Vec<(Direction, List)> {
    let mut lists = Vec::new();
    let mut retain = |list: List, members: &Arc<[IdentityId]>| {
        for direction in directions(rule, state) {
            needs.retain(direction, list, members);
            lists.push((direction, list));
        }
    };
    for group in rule.peers.iter().flat_map(|peers| peers.groups.iter()) {
        if let Some(members) = state.upstream.groups.get(group) {
            retain(List::Group(*group), members);
        }
    }
    let by_address = rule.peers.as_ref().is_none_or(|peers| !peers.blocks.is_empty());
    if rule.direction == Direction::Egress && names_ports(rule) && by_address {
        let named: Arc<[IdentityId]> = anyone_named(rule, state).into_keys().collect();
        retain(List::Named(rule.id), &named);
    }
    lists
}

/// The directions in which a rule's peers have to be known: its own, and the other one where replies meet its mirror, which is
/// SCTP on the userspace datapath.
fn directions(rule: &Rule, state: &State) -> impl Iterator<Item = Direction> {
    let sctp = |service: &RuleService| match service {
        RuleService::Number(Service::Protocol(protocol) | Service::Ports { protocol, .. }) => {
            *protocol == Protocol::Sctp
        }
        RuleService::Number(Service::Icmp { .. }) => false,
        RuleService::Name { protocol, .. } => Protocol::from(*protocol) == Protocol::Sctp,
    };
    let mirrored = state.datapath == Datapath::Netdev && (rule.services.is_empty() || rule.services.iter().any(sctp));
    std::iter::once(rule.direction).chain(mirrored.then_some(rule.direction.opposite()))
}

/// Resolved services by identity, for every identity on this node's map on which some port name of the rule resolves.
fn anyone_named(rule: &Rule, state: &State) -> BTreeMap<IdentityId, Vec<Service>> {
    state
        .upstream
        .identities
        .keys()
        .map(|identity| (*identity, resolve(rule, *identity, state)))
        .filter(|(_, services)| !services.is_empty())
        .collect()
}

/// What the rule's port names stand for on an identity, sorted.
fn resolve(rule: &Rule, identity: IdentityId, state: &State) -> Vec<Service> {
    let Some(identity) = state.upstream.identities.get(&identity) else {
        return Vec::new();
    };
    let mut found = BTreeSet::new();
    for service in &rule.services {
        if let RuleService::Name { protocol, name } = service {
            found.extend(
                identity
                    .named_ports
                    .iter()
                    .filter(|named| named.protocol == *protocol && named.name == *name)
                    .map(|named| (named.protocol, named.port)),
            );
        }
    }
    found
        .into_iter()
        .map(|(protocol, port)| Service::Ports { protocol: protocol.into(), first: port, last: port })
        .collect()
}

/// The kinds of part, the first byte of a part's key.
const NUMBERED: u8 = 0;
const NAMED_ON_IDENTITIES: u8 = 1;
const NAMED_ON_ADDRESSES: u8 = 2;

/// A rule's parts.
fn split(rule: &Rule, state: &State, ledger: &mut Ledger) -> Vec<Part> {
    let applied_to: Arc<[IdentityId]> = local_members(state, rule.applied_to).into();
    if applied_to.is_empty() {
        return Vec::new();
    }
    let members = rule.peers.as_ref().map(|peers| peer_identities(peers, state));
    let blocks = rule.peers.as_ref().map_or_else(Vec::new, |peers| peers.blocks.to_vec());
    let peers = |members: &[IdentityId], ledger: &mut Ledger| Peers {
        identities: numbers(members, ledger),
        blocks: blocks.clone(),
    };
    let mut parts = Parts { rule, ledger, parts: Vec::new() };
    let numbered: Vec<Service> = rule
        .services
        .iter()
        .filter_map(|service| match service {
            RuleService::Number(service) => Some(*service),
            RuleService::Name { .. } => None,
        })
        .collect();
    if !numbered.is_empty() || rule.services.is_empty() {
        let peers = members.as_deref().map(|members| peers(members, parts.ledger));
        let services = (!rule.services.is_empty()).then_some(numbered);
        parts.push(NUMBERED, &applied_to, peers, None, services);
    }
    if !names_ports(rule) {
        return parts.parts;
    }
    match rule.direction {
        Direction::Ingress => {
            for (services, identities) in by_services(rule, applied_to.iter().copied(), state) {
                let peers = members.as_deref().map(|members| peers(members, parts.ledger));
                parts.push(NAMED_ON_IDENTITIES, &identities.into(), peers, None, Some(services));
            }
        }
        Direction::Egress => {
            for (services, identities) in by_services(rule, members.iter().flatten().copied(), state) {
                let peers = Peers { identities: numbers(&identities, parts.ledger), blocks: Vec::new() };
                parts.push(NAMED_ON_IDENTITIES, &applied_to, Some(peers), None, Some(services));
            }
            if members.is_none() || !blocks.is_empty() {
                for (services, identities) in by_services(rule, state.upstream.identities.keys().copied(), state) {
                    let peers = members.is_some().then(|| Peers { identities: Vec::new(), blocks: blocks.clone() });
                    let destinations = numbers(&identities, parts.ledger);
                    parts.push(NAMED_ON_ADDRESSES, &applied_to, peers, Some(destinations), Some(services));
                }
            }
        }
    }
    parts.parts
}

/// The parts of one rule in the making.
struct Parts<'a> {
    rule: &'a Rule,
    ledger: &'a mut Ledger,
    parts: Vec<Part>,
}

impl Parts<'_> {
    fn push(
        &mut self,
        kind: u8,
        applied_to: &Arc<[IdentityId]>,
        peers: Option<Peers>,
        destinations: Option<Vec<IdentityNumber>>,
        services: Option<Vec<Service>>,
    ) {
        if peers.as_ref().is_some_and(|peers| peers.identities.is_empty() && peers.blocks.is_empty()) {
            return;
        }
        let mut key = vec![kind];
        if kind != NUMBERED {
            services.iter().flatten().for_each(|service| encode_service(*service, &mut key));
        }
        self.parts.push(Part {
            rule: Wanted {
                rule: self.ledger.rule(self.rule.id),
                conjunction: self.ledger.conjunction(self.rule.id, &key),
                direction: self.rule.direction,
                applied_to: numbers(applied_to, self.ledger),
                peers,
                destinations,
                services,
                action: self.rule.action,
            },
            key: key.into(),
            applied_to: applied_to.clone(),
        });
    }
}

/// Identities by what the rule's port names stand for on them, in a fixed order; those without any have no part.
fn by_services(
    rule: &Rule,
    identities: impl Iterator<Item = IdentityId>,
    state: &State,
) -> Vec<(Vec<Service>, Vec<IdentityId>)> {
    let mut found: BTreeMap<Vec<u8>, (Vec<Service>, Vec<IdentityId>)> = BTreeMap::new();
    for identity in identities {
        let services = resolve(rule, identity, state);
        if !services.is_empty() {
            let mut key = Vec::new();
            services.iter().for_each(|service| encode_service(*service, &mut key));
            found.entry(key).or_insert_with(|| (services, Vec::new())).1.push(identity);
        }
    }
    found
        .into_values()
        .map(|(services, mut identities)| {
            identities.sort_unstable();
            (services, identities)
        })
        .collect()
}

/// Everyone in the rule's groups, sorted.
fn peer_identities(peers: &RulePeers, state: &State) -> Vec<IdentityId> {
    let mut found: Vec<IdentityId> = peers
        .groups
        .iter()
        .filter_map(|group| state.upstream.groups.get(group))
        .flat_map(|members| members.iter().copied())
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn numbers(identities: &[IdentityId], ledger: &mut Ledger) -> Vec<IdentityNumber> {
    let mut numbers: Vec<_> = identities.iter().map(|identity| ledger.identity(*identity)).collect();
    numbers.sort_unstable();
    numbers
}

/// A resolved port as bytes: six of them.
fn encode_service(service: Service, out: &mut Vec<u8>) {
    let number = |protocol| match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    };
    let (kind, protocol, first, last) = match service {
        Service::Protocol(protocol) => (0, number(protocol), 0, 0),
        Service::Ports { protocol, first, last } => (1, number(protocol), first, last),
        Service::Icmp { v6, kind, code } => {
            (2 + u8::from(v6), 1, kind.map_or(0x100, u16::from), code.map_or(0x100, u16::from))
        }
    };
    out.extend_from_slice(&[kind, protocol]);
    out.extend_from_slice(&first.to_be_bytes());
    out.extend_from_slice(&last.to_be_bytes());
}
