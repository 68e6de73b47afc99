//! What this node needs of the switch: a function of the state and the ledger, worked out again only where something changed.
//!
//! [`Planner::update`] gets the names that changed, looks at what hangs on them, and says which intents came and went
//! ([`Wanted`]). It remembers what it wanted last, so that an intent that is the same is not said again. A planner that
//! starts empty and looks at everything wants the same in the end; a test holds that at every step.
//!
//! What it is not: flows (`ovs_pipeline::flows`), their merging (`apply::flows`), or any order of change (`apply::order`).

mod addresses;
mod isolations;
mod needs;
mod node;
mod pods;
mod quarantine;
pub mod rank;
mod rules;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ovs_pipeline::{Address, Direction, IdentityNumber, Intent, Isolation, Node, Peer};

use crate::ledger::Ledger;
use crate::state::{Changed, IdentityId, PodKey, RuleId, State};
use addresses::Addresses;
use isolations::Isolations;
use needs::Needs;
pub use node::{tunnel_endpoint, tunnel_endpoints};
pub use quarantine::{Quarantine, Quarantined};
use rules::Rules;

/// Who takes what the planner wants.
pub trait Wanted {
    /// This intent holds from now on.
    fn want(&mut self, intent: &Intent, node: &Node);
    /// This intent, which was wanted with this node, does not hold any more.
    fn withdraw(&mut self, intent: &Intent, node: &Node);
}

/// Which intent: what a failure names, and what is quarantined.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IntentKey {
    /// This node.
    Node,
    /// Another node.
    Peer(Box<str>),
    /// A pod here.
    Pod(PodKey),
    /// An endpoint's address.
    Address(IpAddr),
    /// A part of a rule.
    Rule(RuleId, Box<[u8]>),
    /// An identity's isolation.
    Isolation(Direction, IdentityId),
}

/// What is wanted now, by name.
#[derive(Debug, Default)]
pub struct Planner {
    node: Option<Node>,
    peers: BTreeMap<Box<str>, Peer>,
    pods: BTreeMap<PodKey, ovs_pipeline::Pod>,
    addresses: Addresses,
    rules: Rules,
    isolations: Isolations,
    needs: Needs,
    quarantine: Quarantine,
}

/// Says what came and went to the one who wants to know; nothing while the node itself is not known.
struct Emit<'a> {
    node: Option<&'a Node>,
    wanted: &'a mut dyn Wanted,
}

impl Emit<'_> {
    /// `old` gives way to `new`.
    fn replace(&mut self, old: Option<Intent>, new: Option<Intent>) {
        if let (Some(node), true) = (self.node, old != new) {
            // In this order a part of both is never gone in between.
            if let Some(intent) = new {
                self.wanted.want(&intent, node);
            }
            if let Some(intent) = old {
                self.wanted.withdraw(&intent, node);
            }
        }
    }
}

impl Planner {
    /// Looks at what changed, and says what came and went.
    pub fn update(&mut self, state: &State, ledger: &mut Ledger, changed: &Changed, wanted: &mut dyn Wanted) {
        match self.quarantine.release(state, changed) {
            Some(freed) => self.look(state, ledger, &freed.joined(changed), wanted),
            None => self.look(state, ledger, changed, wanted),
        }
    }

    fn look(&mut self, state: &State, ledger: &mut Ledger, changed: &Changed, wanted: &mut dyn Wanted) {
        if changed.everything || changed.ports || !changed.nodes.is_empty() {
            self.rebase(node::plan(state), wanted);
        }
        let emit = &mut Emit { node: self.node.as_ref(), wanted };
        node::update_peers(&mut self.peers, state, changed, &self.quarantine, emit);
        let port_rules = self.rules.update(state, ledger, changed, &mut self.needs, &self.quarantine, emit);
        self.isolations.update(state, ledger, changed, &self.quarantine, emit);
        let context = pods::Context {
            state,
            rules: &self.rules,
            closed: self.quarantine.closed(),
            quarantine: &self.quarantine,
            complete: state.frame.is_some(),
        };
        pods::update(&mut self.pods, &context, ledger, changed, &port_rules, emit);
        let flipped = self.needs.take_flipped();
        self.addresses.update(state, ledger, changed, &self.needs, &flipped, &self.quarantine, emit);
    }

    /// The node as it is wanted; none while its own facts or ports are missing.
    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// What cannot be realised, and why.
    pub fn quarantine(&self) -> &Quarantine {
        &self.quarantine
    }

    /// The switch does not take this intent: it is left out, and the pods that it was to protect are closed.
    pub fn set_aside(
        &mut self,
        key: IntentKey,
        reason: String,
        state: &State,
        ledger: &mut Ledger,
        wanted: &mut dyn Wanted,
    ) {
        let changed = self.quarantine.set_aside(key, reason, state);
        self.look(state, ledger, &changed, wanted);
    }

    /// Every intent that is wanted, with its name.
    pub fn intents(&self) -> impl Iterator<Item = (IntentKey, Intent)> {
        let node = self.node.iter().map(|node| (IntentKey::Node, Intent::Node(node.clone())));
        let peers = self.peers.iter().map(|(name, peer)| (IntentKey::Peer(name.clone()), Intent::Peer(peer.clone())));
        let pods = self.pods.iter().map(|(key, pod)| (IntentKey::Pod(key.clone()), Intent::Pod(pod.clone())));
        let addresses =
            self.addresses.iter().map(|address| (IntentKey::Address(address.address), Intent::Address(address)));
        let rules = self
            .rules
            .parts()
            .map(|(id, part)| (IntentKey::Rule(id, part.key.clone()), Intent::Rule(part.rule.clone())));
        let isolations = self
            .isolations
            .iter()
            .map(|(id, isolation)| (IntentKey::Isolation(isolation.direction, id), Intent::Isolation(isolation)));
        node.chain(peers).chain(pods).chain(rules).chain(isolations).chain(addresses)
    }

    /// The pods that are wanted, by name.
    pub fn pods(&self) -> &BTreeMap<PodKey, ovs_pipeline::Pod> {
        &self.pods
    }

    /// The other nodes that are wanted.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values()
    }

    /// The node changed: every flow may look different, so all is said again.
    fn rebase(&mut self, node: Option<Node>, wanted: &mut dyn Wanted) {
        if self.node == node {
            return;
        }
        if let Some(old) = self.node.take() {
            self.node = Some(old.clone());
            for (_, intent) in self.intents() {
                wanted.withdraw(&intent, &old);
            }
        }
        self.node = node;
        if let Some(new) = &self.node {
            for (_, intent) in self.intents() {
                wanted.want(&intent, new);
            }
        }
    }
}

/// An address intent from its parts.
fn address_intent(address: IpAddr, identity: IdentityNumber, source: bool, destination: bool) -> Address {
    Address { address, identity, source, destination }
}

/// An isolation intent from its parts.
fn isolation_intent(direction: Direction, identity: IdentityNumber, rule: ovs_pipeline::RuleNumber) -> Isolation {
    Isolation { direction, identity, rule }
}
