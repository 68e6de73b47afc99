//! Names to numbers. What the switch carries (registers, conjunction ids, `ct_label`) is numbers; what everyone else says
//! is names; this is the only place that joins them.
//!
//! An explicit input of `plan`: with the same ledger, the same state gives the same flows. A number is given out once in an
//! epoch and never again, so nothing that still carries it (a connection, a megaflow, a packet in recirculation) can be
//! taken for something else. The top four bits of every number are the epoch: a ledger that is lost starts the next one,
//! which costs a rewrite of the switch, never a wrong verdict or a wrong name.
//!
//! What it is not: I/O. [`store`] keeps it on disk; [`Ledger::take_pending`] is what has to be written before a number may
//! reach the switch.

pub mod store;

use hashbrown::HashMap;
use ovs_pipeline::{ConjunctionNumber, Direction, IdentityNumber, RuleNumber};

use crate::state::{IdentityId, RuleId};

/// The bits of a number below the epoch.
const NUMBER_BITS: u32 = 28;
/// How many epochs there are.
const EPOCHS: u32 = 16;
/// A ledger that has come this far starts a new epoch when it is next opened, long before numbers run out.
const WORN: u32 = 1 << 26;
/// No number reaches this: the bit above is the pipeline's own, for conjunctions that it derives.
const LIMIT: u32 = 1 << 27;
/// The numbers below have fixed meanings (`ovs_pipeline`).
const FIRST: u32 = 16;

/// What a rule number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleName {
    /// A rule.
    Rule(RuleId),
    /// An identity's isolation in a direction.
    Isolation(Direction, IdentityId),
}

/// One name and its number, as it is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An identity's number.
    Identity(IdentityId, u32),
    /// A rule's number.
    Rule(RuleId, u32),
    /// The number of an identity's isolation.
    Isolation(Direction, IdentityId, u32),
    /// The number of a part of a rule; the part is named by its resolved services.
    Conjunction(RuleId, Box<[u8]>, u32),
}

/// The numbers that have been given out.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    epoch: u8,
    identities: HashMap<IdentityId, u32>,
    rules: HashMap<RuleName, u32>,
    conjunctions: HashMap<(RuleId, Box<[u8]>), u32>,
    /// The last number given out of each kind, without the epoch.
    last: [u32; 3],
    pending: Vec<Entry>,
}

/// The kinds of numbers, each with a count of its own.
#[derive(Clone, Copy)]
enum Kind {
    Identity,
    Rule,
    Conjunction,
}

impl Ledger {
    /// An empty ledger of an epoch (modulo 16).
    pub fn new(epoch: u32) -> Self {
        Self { epoch: (epoch % EPOCHS) as u8, last: [FIRST - 1; 3], ..Self::default() }
    }

    /// The epoch of every number in it.
    pub fn epoch(&self) -> u8 {
        self.epoch
    }

    /// How many names it holds.
    pub fn len(&self) -> usize {
        self.identities.len() + self.rules.len() + self.conjunctions.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether so many numbers were given out that the next opening should start a new epoch.
    pub fn is_worn(&self) -> bool {
        self.last.iter().any(|&last| last >= WORN)
    }

    /// The number of an identity.
    pub fn identity(&mut self, id: IdentityId) -> IdentityNumber {
        if let Some(&number) = self.identities.get(&id) {
            return IdentityNumber(number);
        }
        let number = self.next(Kind::Identity);
        self.identities.insert(id, number);
        self.pending.push(Entry::Identity(id, number));
        IdentityNumber(number)
    }

    /// The number of a rule.
    pub fn rule(&mut self, id: RuleId) -> RuleNumber {
        self.rule_name(RuleName::Rule(id))
    }

    /// The number of an identity's isolation.
    pub fn isolation(&mut self, direction: Direction, identity: IdentityId) -> RuleNumber {
        self.rule_name(RuleName::Isolation(direction, identity))
    }

    fn rule_name(&mut self, name: RuleName) -> RuleNumber {
        if let Some(&number) = self.rules.get(&name) {
            return RuleNumber(number);
        }
        let number = self.next(Kind::Rule);
        self.rules.insert(name, number);
        self.pending.push(match name {
            RuleName::Rule(id) => Entry::Rule(id, number),
            RuleName::Isolation(direction, identity) => Entry::Isolation(direction, identity, number),
        });
        RuleNumber(number)
    }

    /// The conjunction id of a part of a rule. Parts are told apart by their resolved services.
    pub fn conjunction(&mut self, rule: RuleId, part: &[u8]) -> ConjunctionNumber {
        let key = (rule, Box::from(part));
        if let Some(&number) = self.conjunctions.get(&key) {
            return ConjunctionNumber(number);
        }
        let number = self.next(Kind::Conjunction);
        self.pending.push(Entry::Conjunction(rule, key.1.clone(), number));
        self.conjunctions.insert(key, number);
        ConjunctionNumber(number)
    }

    /// The number of an identity that already has one.
    pub fn identity_number(&self, id: IdentityId) -> Option<IdentityNumber> {
        self.identities.get(&id).copied().map(IdentityNumber)
    }

    /// What a rule number of this epoch stands for. Looks through all of them: for people's questions.
    pub fn rule_named(&self, number: RuleNumber) -> Option<RuleName> {
        self.rules.iter().find(|(_, given)| **given == number.0).map(|(name, _)| *name)
    }

    /// Which identity a number stands for. Looks through all of them: for people's questions.
    pub fn identity_named(&self, number: IdentityNumber) -> Option<IdentityId> {
        self.identities.iter().find(|(_, given)| **given == number.0).map(|(id, _)| *id)
    }

    /// What was given out since the last call, in order; it must be on disk before the switch sees it.
    pub fn take_pending(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.pending)
    }

    /// Forgets the names that `keep` does not want. Their numbers stay spent.
    pub fn retain(&mut self, mut identity: impl FnMut(IdentityId) -> bool, mut rule: impl FnMut(RuleId) -> bool) {
        self.rules.retain(|name, _| match name {
            RuleName::Rule(id) => rule(*id),
            RuleName::Isolation(_, id) => identity(*id),
        });
        self.conjunctions.retain(|(id, _), _| rule(*id));
        self.identities.retain(|id, _| identity(*id));
    }

    /// Everything in it, in no order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let identities = self.identities.iter().map(|(id, number)| Entry::Identity(*id, *number));
        let rules = self.rules.iter().map(|(name, number)| match name {
            RuleName::Rule(id) => Entry::Rule(*id, *number),
            RuleName::Isolation(direction, id) => Entry::Isolation(*direction, *id, *number),
        });
        let conjunctions =
            self.conjunctions.iter().map(|((rule, part), number)| Entry::Conjunction(*rule, part.clone(), *number));
        identities.chain(rules).chain(conjunctions)
    }

    /// The last number given out of each kind (identities, rules, conjunctions), without the epoch.
    pub fn last(&self) -> [u32; 3] {
        self.last
    }

    /// Takes an entry that was read back. Whoever was given a number keeps it.
    fn restore(&mut self, entry: Entry) {
        let (kind, number) = match entry {
            Entry::Identity(id, number) => {
                self.identities.insert(id, number);
                (Kind::Identity, number)
            }
            Entry::Rule(id, number) => {
                self.rules.insert(RuleName::Rule(id), number);
                (Kind::Rule, number)
            }
            Entry::Isolation(direction, id, number) => {
                self.rules.insert(RuleName::Isolation(direction, id), number);
                (Kind::Rule, number)
            }
            Entry::Conjunction(rule, part, number) => {
                self.conjunctions.insert((rule, part), number);
                (Kind::Conjunction, number)
            }
        };
        let last = &mut self.last[kind as usize];
        *last = (*last).max(number & ((1 << NUMBER_BITS) - 1));
    }

    /// # Panics
    /// When 2^27 names of one kind have come since the process began with at most half of them given out.
    fn next(&mut self, kind: Kind) -> u32 {
        let last = &mut self.last[kind as usize];
        *last += 1;
        assert!(*last < LIMIT, "an epoch has room for 2^27 names and is left at half of it");
        *last | u32::from(self.epoch) << NUMBER_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_a_number_its_name() {
        let mut ledger = Ledger::new(3);
        let first = ledger.identity(IdentityId([1; 16]));
        let second = ledger.identity(IdentityId([2; 16]));
        assert_ne!(first, second);
        assert_eq!(ledger.identity(IdentityId([1; 16])), first);
        assert_eq!(first.0, 3 << 28 | 16);
        let rule = ledger.rule(RuleId([1; 16]));
        assert_eq!(ledger.rule_named(rule), Some(RuleName::Rule(RuleId([1; 16]))));
    }

    #[test]
    fn a_forgotten_name_comes_back_with_another_number() {
        let mut ledger = Ledger::new(0);
        let before = ledger.rule(RuleId([1; 16]));
        ledger.conjunction(RuleId([1; 16]), b"80");
        ledger.retain(|_| true, |_| false);
        assert!(ledger.is_empty());
        assert_ne!(ledger.rule(RuleId([1; 16])), before);
    }

    #[test]
    fn rules_and_isolations_share_one_count() {
        let mut ledger = Ledger::new(0);
        let rule = ledger.rule(RuleId([1; 16]));
        let ingress = ledger.isolation(Direction::Ingress, IdentityId([1; 16]));
        let egress = ledger.isolation(Direction::Egress, IdentityId([1; 16]));
        assert!(rule != ingress && ingress != egress && rule != egress);
    }
}
