//! One scenario, many lives: whatever the order of events, the end is the same, and so is what is planned from scratch.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use ovs_pipeline::{Datapath, PolicyMode};

use super::plan::State;
use super::switch::{Flow, Switch};
use super::{Change, Scenario};

/// Every node's switch, as the events so far left it.
pub struct World {
    pub state: State,
    pub switches: BTreeMap<String, Switch>,
    datapath: Datapath,
    mode: PolicyMode,
}

/// Every node's flows.
pub type Flows = BTreeMap<String, Vec<Flow>>;

impl World {
    pub fn new(scenario: &Scenario) -> Self {
        Self { state: State::default(), switches: BTreeMap::new(), datapath: scenario.datapath, mode: scenario.mode }
    }

    /// Some changes at once, then the plan.
    pub fn change<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>) -> Result<()> {
        for change in changes {
            self.state.change(change);
            if !self.switches.contains_key(&change.key.node) {
                self.switches.insert(change.key.node.clone(), Switch::new(self.datapath, self.mode)?);
            }
        }
        for (node, switch) in &mut self.switches {
            switch.want(self.state.node(node), &self.state.intents(node)).with_context(|| node.clone())?;
        }
        self.check()
    }

    /// Whatever the moment: flows are whole and can be sent, and planning from scratch gives the same.
    fn check(&self) -> Result<()> {
        for (node, switch) in &self.switches {
            for flow in switch.flows()? {
                flow.matches.validate().with_context(|| format!("{node}: {:?} {}", flow.table, flow.matches))?;
            }
            let mut fresh = Switch::new(self.datapath, self.mode)?;
            fresh.want(self.state.node(node), &self.state.intents(node))?;
            ensure!(&fresh == switch, "{node}: planned step by step and planned from scratch differ");
        }
        Ok(())
    }

    pub fn flows(&self) -> Result<Flows> {
        self.switches.iter().map(|(node, switch)| Ok((node.clone(), switch.flows()?))).collect()
    }
}

/// Leads the scenario through its other lives and compares each end with that of the life it is written in.
pub fn all(scenario: &Scenario) -> Result<()> {
    let mut written = World::new(scenario);
    for step in &scenario.steps {
        written.change(&step.changes)?;
    }
    let end = written.flows()?;
    if scenario.once.is_some() {
        return Ok(());
    }
    let kept: Vec<Change> =
        written.state.0.iter().map(|(key, wanted)| Change { key: key.clone(), wanted: Some(wanted.clone()) }).collect();
    // In the order in which the file first wants them.
    let mut ordered = kept.clone();
    ordered.sort_by_key(|change| scenario.changes().position(|known| known.key == change.key));

    let split: Vec<Vec<Change>> = scenario.changes().map(|change| vec![change.clone()]).collect();
    let reversed: Vec<Vec<Change>> = ordered.iter().rev().map(|change| vec![change.clone()]).collect();
    let doubled: Vec<Vec<Change>> = split.iter().flat_map(|one| [one.clone(), one.clone()]).collect();
    for (life, moments) in [("split", split), ("reversed", reversed), ("squashed", vec![kept]), ("doubled", doubled)] {
        let mut world = World::new(scenario);
        // Nodes that the file wants and then no longer have a switch too.
        for node in end.keys() {
            world.switches.insert(node.clone(), Switch::new(scenario.datapath, scenario.mode)?);
        }
        for moment in &moments {
            world.change(moment).with_context(|| life)?;
        }
        ensure!(world.flows()? == end, "the {life} life ends otherwise");
    }
    torn_down(scenario, &ordered)
}

/// Everything goes again, first what the rest refers to, then the other way: only base flows are left.
fn torn_down(scenario: &Scenario, ordered: &[Change]) -> Result<()> {
    let bare = Switch::new(scenario.datapath, scenario.mode)?.flows()?;
    for backwards in [false, true] {
        let mut world = World::new(scenario);
        world.change(ordered)?;
        let mut gone: Vec<Change> = ordered.iter().map(|change| Change { wanted: None, ..change.clone() }).collect();
        if backwards {
            gone.reverse();
        }
        for change in &gone {
            world.change([change])?;
        }
        for (node, flows) in world.flows()? {
            ensure!(flows == bare, "{node}: torn down, it has more than its base flows");
        }
    }
    Ok(())
}
