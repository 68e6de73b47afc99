//! Which flows an empty switch gets first: pod by pod, each pod's policies and the identities they need before its port, pods that
//! need few flows first, and with each pod the nodes of those with whom its rules let it talk. So the first pods talk long before
//! the last. Nodes that no rule leads to come together, between the pods that need fewer flows than they and the others.
//!
//! A rank is advice about order and nothing else: what denies comes before anything that opens, whatever its rank
//! (`apply::delta`), and a pod that gets in before a rule that allows something is denied it until then.

use hashbrown::HashMap;

use super::IntentKey;
use super::rules::local_members;
use crate::state::{GroupId, IdentityId, PodKey, RuleId, State};

/// First of all.
pub const FIRST: u16 = 0;
/// After all that some pod needs.
pub const LAST: u16 = u16::MAX;
/// About so many flows lead to another node.
const FLOWS_OF_A_NODE: usize = 10;

/// Ranks of what a state wants.
#[derive(Debug, Default)]
pub struct Ranks {
    /// Of identities that pods here have.
    local: HashMap<IdentityId, u16>,
    rules: HashMap<RuleId, u16>,
    /// Of identities as the other end of a rule.
    peers: HashMap<IdentityId, u16>,
    /// Of nodes where such are.
    nodes: HashMap<Box<str>, u16>,
    /// Of all other nodes.
    other_nodes: u16,
}

impl Ranks {
    /// The ranks of everything.
    pub fn of(state: &State) -> Self {
        let upstream = &state.upstream;
        let members = |group: &GroupId| upstream.groups.get(group).map_or(0, |members| members.len());
        let applied: Vec<(&RuleId, Box<[IdentityId]>)> =
            upstream.rules.iter().map(|(id, rule)| (id, local_members(state, rule.applied_to))).collect();
        let mut weights: HashMap<IdentityId, usize> =
            upstream.endpoints.local_identities().map(|identity| (identity, 0)).collect();
        for (id, identities) in &applied {
            let rule = &upstream.rules[*id];
            let peers = rule.peers.as_ref();
            let weight = 1
                + rule.services.len()
                + peers.map_or(0, |peers| peers.blocks.len() + peers.groups.iter().map(members).sum::<usize>());
            for identity in identities {
                *weights.entry(*identity).or_default() += weight;
            }
        }
        let mut order: Vec<(usize, IdentityId)> =
            weights.into_iter().map(|(identity, weight)| (weight, identity)).collect();
        order.sort_unstable();
        // Odd ones for pods; the even ones between them for other nodes.
        let rank = |number: usize| u16::try_from(number).unwrap_or(LAST - 1).min(LAST - 1);
        let local =
            order.iter().enumerate().map(|(position, (_, identity))| (*identity, rank(2 * position + 1))).collect();
        let of_nodes = upstream.nodes.len() * FLOWS_OF_A_NODE;
        let lighter = order.partition_point(|(weight, _)| *weight <= of_nodes);
        let mut ranks = Self { local, other_nodes: rank(2 * lighter), ..Self::default() };
        let mut groups: HashMap<GroupId, u16> = HashMap::new();
        for (id, identities) in &applied {
            let Some(rank) = identities.iter().filter_map(|identity| ranks.local.get(identity)).min().copied() else {
                continue; // it applies to nobody here
            };
            ranks.rules.insert(**id, rank);
            for group in upstream.rules[*id].peers.iter().flat_map(|peers| peers.groups.iter()) {
                lower(&mut groups, *group, rank);
            }
        }
        for (group, rank) in groups {
            for identity in upstream.groups.get(&group).into_iter().flat_map(|members| members.iter()) {
                lower(&mut ranks.peers, *identity, rank);
            }
        }
        let mut nodes: HashMap<&str, u16> = HashMap::new();
        for endpoint in upstream.endpoints.iter().filter(|endpoint| !endpoint.local) {
            let rank = ranks.peers.get(&endpoint.identity).copied();
            if let Some(rank) = rank.filter(|rank| *rank < ranks.other_nodes) {
                lower(&mut nodes, endpoint.node, rank);
            }
        }
        ranks.nodes = nodes.into_iter().map(|(node, rank)| (node.into(), rank)).collect();
        ranks
    }

    /// The rank of an intent's flows.
    pub fn rank(&self, key: &IntentKey, state: &State) -> u16 {
        let local = |identity: &IdentityId| self.local.get(identity).copied().unwrap_or(LAST);
        match key {
            IntentKey::Node => FIRST,
            IntentKey::Peer(node) => self.nodes.get(node).copied().unwrap_or(self.other_nodes),
            IntentKey::Pod(pod) => identity(pod, state).map_or(FIRST, |identity| local(&identity)),
            IntentKey::Rule(id, _) => self.rules.get(id).copied().unwrap_or(LAST),
            IntentKey::Isolation(_, identity) => local(identity),
            IntentKey::Address(address) => {
                state.identity_at(*address).and_then(|identity| self.peers.get(&identity)).copied().unwrap_or(LAST)
            }
        }
    }
}

fn identity(pod: &PodKey, state: &State) -> Option<IdentityId> {
    state.upstream.endpoints.get(pod).filter(|endpoint| endpoint.local).map(|endpoint| endpoint.identity)
}

fn lower<K: std::hash::Hash + Eq>(ranks: &mut HashMap<K, u16>, key: K, rank: u16) {
    let entry = ranks.entry(key).or_insert(rank);
    *entry = rank.min(*entry);
}
