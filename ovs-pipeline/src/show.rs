//! The one printer: flows as text with names instead of numbers, for golden files, the agent's answers and antctl.
//!
//! Registers go by the names of [`crate::register`], tables by theirs; identities, rules, conjunctions and ports by what the
//! caller's [`Names`] say. A number without a name is shown as `#1`, `#2`, … in the order in which such numbers first appear, so
//! that equal flows give equal text whatever numbers a ledger happened to hand out. It prints for people: nothing parses it.
//!
//! ```
//! use openflow::{Action, Field, Match};
//! use ovs_pipeline::show::{NoNames, Printer, Shown};
//! use ovs_pipeline::{Table, register};
//! let matches = Match::new().with(Field::Reg(2), 16u32);
//! let actions = [register::INGRESS_VERDICT.write(1)];
//! let shown = Shown { table: Table::IngressRule, priority: 100, matches: &matches, actions: &actions, next: Some(Table::IngressVerdict) };
//! assert_eq!(Printer::new(&NoNames).flow(&shown), "100  source_identity=#1 -> ingress_verdict=allow, goto IngressVerdict");
//! ```

mod acting;
mod matching;
mod naming;

use openflow::{Action, Match};

use crate::flow::{Effect, Part};
use crate::number::{ConjunctionNumber, IdentityNumber, RuleNumber};
use crate::table::Table;
use naming::Naming;

/// What the caller calls the switch's numbers. `None`: no name is known.
///
/// Numbers with a fixed meaning ([`IdentityNumber::UNKNOWN`], [`RuleNumber::NO_ISOLATION`], …) are named by the printer and never
/// asked for.
pub trait Names {
    /// An identity, such as `client`.
    fn identity(&self, identity: IdentityNumber) -> Option<String>;
    /// A rule or isolation, such as `NetworkPolicy/shop/web ingress[0]`.
    fn rule(&self, rule: RuleNumber) -> Option<String>;
    /// A conjunction, by the rule (part) it belongs to.
    fn conjunction(&self, conjunction: ConjunctionNumber) -> Option<String>;
    /// An OpenFlow port, such as the pod behind it.
    fn port(&self, port: u32) -> Option<String>;
}

/// Nothing has a name.
pub struct NoNames;

impl Names for NoNames {
    fn identity(&self, _: IdentityNumber) -> Option<String> {
        None
    }

    fn rule(&self, _: RuleNumber) -> Option<String> {
        None
    }

    fn conjunction(&self, _: ConjunctionNumber) -> Option<String> {
        None
    }

    fn port(&self, _: u32) -> Option<String> {
        None
    }
}

/// A flow to print: wanted, or read from a switch.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The table.
    pub table: Table,
    /// The priority.
    pub priority: u16,
    /// What it matches.
    pub matches: &'a Match,
    /// What it does; clauses are [`Action::Conjunction`].
    pub actions: &'a [Action],
    /// The table in which the packet goes on.
    pub next: Option<Table>,
}

/// Prints flows; remembers which nameless numbers it has met.
pub struct Printer<'a> {
    naming: Naming<'a>,
}

impl<'a> Printer<'a> {
    /// A printer that has met no number yet.
    pub fn new(names: &'a dyn Names) -> Self {
        Self { naming: Naming::new(names) }
    }

    /// A line without its table: `100  source_identity=client -> ingress_verdict=allow, goto IngressVerdict`.
    pub fn flow(&mut self, flow: &Shown<'_>) -> String {
        let matches = self.matches(flow.matches);
        let actions = self.actions(flow.actions, flow.next);
        format!("{}  {matches} -> {actions}", flow.priority)
    }

    /// A match alone; `any` when every packet matches.
    pub fn matches(&mut self, matches: &Match) -> String {
        let words = matching::words(matches, &mut self.naming);
        if words.is_empty() { "any".to_string() } else { words.join(", ") }
    }

    /// What a flow does; `drop` when that is nothing.
    pub fn actions(&mut self, actions: &[Action], next: Option<Table>) -> String {
        let mut words = acting::words(actions, &mut self.naming);
        if let Some(next) = next {
            words.push(format!("goto {}", next.name()));
        }
        if words.is_empty() { "drop".to_string() } else { words.join(", ") }
    }

    /// What a part contributes to its flow.
    pub fn effect(&mut self, effect: &Effect) -> String {
        match effect {
            Effect::Apply { actions, next } => self.actions(actions, *next),
            Effect::Clause { conjunction, clause, of } => {
                let clause = Action::Conjunction { id: conjunction.0, clause: *clause, clauses: *of };
                self.actions(&[clause], None)
            }
        }
    }

    /// A part, as [`Printer::flow`] prints a flow.
    pub fn part(&mut self, part: &Part) -> String {
        let matches = self.matches(&part.matches);
        let effect = self.effect(&part.effect);
        format!("{}  {matches} -> {effect}", part.priority)
    }

    /// A rule's name, such as what a verdict is put down to.
    pub fn rule(&mut self, rule: RuleNumber) -> String {
        self.naming.rule(rule)
    }

    /// An identity's name.
    pub fn identity(&mut self, identity: IdentityNumber) -> String {
        self.naming.identity(identity)
    }
}

/// Flows in the order of the tables, highest priority first, then by their text: equal flows give equal lines in equal order.
/// Each comes with its table.
pub fn lines<'a>(flows: impl IntoIterator<Item = Shown<'a>>, names: &dyn Names) -> Vec<(Table, String)> {
    let mut sorted: Vec<(Table, std::cmp::Reverse<u16>, String, Shown<'a>)> = flows
        .into_iter()
        .map(|flow| {
            // A printer of its own gives a text that does not depend on what came before: a fit key for sorting.
            let key = Printer::new(names).flow(&flow);
            (flow.table, std::cmp::Reverse(flow.priority), key, flow)
        })
        .collect();
    sorted.sort_by(|a, b| (a.0, a.1, &a.2, a.3.matches).cmp(&(b.0, b.1, &b.2, b.3.matches)));
    let mut printer = Printer::new(names);
    sorted.iter().map(|(table, .., flow)| (*table, printer.flow(flow))).collect()
}
