//! A switch's wanted flows, kept up to date intent by intent, as an agent does.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use openflow::{Action, Match};
use ovs_pipeline::show::Shown;
use ovs_pipeline::{Datapath, Effect, Intent, Node, Part, PolicyMode, Table, base_flows, flows};

use super::Key;

/// What makes a flow the same flow: OpenFlow 1.5.1, 6.4.
type FlowKey = (Table, u16, Match);
/// Who contributes: an intent, or `None` for the base.
type Owner = Option<Key>;

/// Flows that several intents make together.
#[derive(Default, PartialEq, Debug)]
pub struct Switch {
    parts: BTreeMap<FlowKey, BTreeMap<Owner, Vec<Part>>>,
    intents: BTreeMap<Key, (Node, Intent)>,
}

/// A whole flow.
#[derive(Clone, PartialEq, Debug)]
pub struct Flow {
    pub table: Table,
    pub priority: u16,
    pub matches: Match,
    pub actions: Vec<Action>,
    pub next: Option<Table>,
    pub why: Vec<&'static str>,
}

impl Flow {
    pub fn shown(&self) -> Shown<'_> {
        Shown {
            table: self.table,
            priority: self.priority,
            matches: &self.matches,
            actions: &self.actions,
            next: self.next,
        }
    }
}

impl Switch {
    /// A switch with nothing but its base flows.
    pub fn new(datapath: Datapath, mode: PolicyMode) -> Result<Self> {
        let mut switch = Self::default();
        let mut parts = Vec::new();
        base_flows(datapath, mode, &mut |part| parts.push(part))?;
        switch.add(None, parts);
        Ok(switch)
    }

    /// Makes the switch want exactly these intents, changing only what differs.
    pub fn want(&mut self, node: Option<&Node>, wanted: &BTreeMap<Key, Intent>) -> Result<()> {
        let with_node: BTreeMap<Key, (Node, Intent)> = match node {
            Some(node) => wanted.iter().map(|(key, intent)| (key.clone(), (node.clone(), intent.clone()))).collect(),
            None => BTreeMap::new(),
        };
        let gone: Vec<Key> = self
            .intents
            .iter()
            .filter(|(key, old)| with_node.get(*key) != Some(*old))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            let (node, intent) = self.intents.remove(&key).expect("the key was just seen");
            // What an intent wanted is asked again, not remembered: flows are a function of intents.
            for part in parts(&intent, &node)? {
                self.remove(&key, &part);
            }
        }
        for (key, (node, intent)) in with_node {
            if !self.intents.contains_key(&key) {
                self.add(Some(key.clone()), parts(&intent, &node)?);
                self.intents.insert(key, (node, intent));
            }
        }
        Ok(())
    }

    fn add(&mut self, owner: Owner, parts: Vec<Part>) {
        for part in parts {
            let flow = (part.table, part.priority, part.matches.clone());
            self.parts.entry(flow).or_default().entry(owner.clone()).or_default().push(part);
        }
    }

    fn remove(&mut self, owner: &Key, part: &Part) {
        let flow = (part.table, part.priority, part.matches.clone());
        let Some(owners) = self.parts.get_mut(&flow) else { return }; // a second part on one flow went with the first
        owners.remove(&Some(owner.clone()));
        if owners.is_empty() {
            self.parts.remove(&flow);
        }
    }

    /// Every flow, in the order of tables.
    pub fn flows(&self) -> Result<Vec<Flow>> {
        self.parts
            .iter()
            .map(|((table, priority, matches), owners)| whole(*table, *priority, matches, owners))
            .collect()
    }
}

fn parts(intent: &Intent, node: &Node) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    flows(intent, node, &mut |part| parts.push(part))?;
    Ok(parts)
}

/// Joins what several intents contribute to a flow.
fn whole(table: Table, priority: u16, matches: &Match, owners: &BTreeMap<Owner, Vec<Part>>) -> Result<Flow> {
    let parts = || owners.values().flatten();
    let mut why: Vec<&'static str> = parts().map(|part| part.why).collect();
    why.sort_unstable();
    why.dedup();
    let mut clauses: Vec<(u32, u8, u8)> = Vec::new();
    let mut applied: Vec<(&Vec<Action>, Option<Table>)> = Vec::new();
    for part in parts() {
        match &part.effect {
            Effect::Apply { actions, next } => applied.push((actions, *next)),
            Effect::Clause { conjunction, clause, of } => clauses.push((conjunction.0, *clause, *of)),
        }
    }
    let flow = Flow { table, priority, matches: matches.clone(), actions: Vec::new(), next: None, why };
    match (applied.as_slice(), clauses.is_empty()) {
        ([], _) => {
            clauses.sort_unstable();
            clauses.dedup();
            // A packet satisfies one clause of a conjunction by one flow: OVS never counts two (tried).
            if let Some(pair) = clauses.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                bail!(
                    "{table:?} {matches}: conjunction {} has clauses {} and {} in one flow",
                    pair[0].0,
                    pair[0].1,
                    pair[1].1
                );
            }
            let actions =
                clauses.iter().map(|&(id, clause, clauses)| Action::Conjunction { id, clause, clauses }).collect();
            Ok(Flow { actions, ..flow })
        }
        ([first, rest @ ..], true) => {
            // Rules of equal rank may differ in who is named, and any of them is right.
            let rule = matches!(table, Table::EgressRule | Table::IngressRule);
            if !rule && rest.iter().any(|other| other != first) {
                bail!("{table:?} {priority} {matches}: two intents want different actions: {:?}", owners.keys());
            }
            let (actions, next) =
                applied.iter().min_by_key(|(actions, next)| (format!("{actions:?}"), *next)).unwrap_or(first);
            Ok(Flow { actions: (*actions).clone(), next: *next, ..flow })
        }
        _ => bail!("{table:?} {priority} {matches}: clauses and actions in one flow: {:?}", owners.keys()),
    }
}
