//! Flows as text: `flows TABLE` sections, compared or, with `BLESS=1`, rewritten.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use ovs_pipeline::show;

use super::life::World;
use super::switch::Flow;
use super::{Golden, Scenario};

/// Whether golden and generated files are rewritten instead of compared.
pub fn bless() -> bool {
    std::env::var_os("BLESS").is_some_and(|value| value != "0")
}

/// Compares every `flows` section; returns what differs, or rewrites the file.
pub fn check(scenario: &Scenario) -> Result<()> {
    let mut world = World::new(scenario);
    let mut blessed: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut differences = Vec::new();
    for step in &scenario.steps {
        world.change(&step.changes).with_context(|| format!("{}:{}", scenario.path.display(), step.line))?;
        for golden in &step.goldens {
            let lines = lines(scenario, &world, golden)?;
            if lines != golden.lines {
                let place = format!("{}:{}: flows {}", scenario.path.display(), golden.line, golden.table.name());
                differences.push(format!(
                    "{place}\n  have:\n{}\n  written:\n{}",
                    indented(&lines),
                    indented(&golden.lines)
                ));
            }
            blessed.insert(golden.line, lines);
        }
    }
    if bless() {
        return rewrite(scenario, &blessed);
    }
    ensure!(differences.is_empty(), "{}\n\nreview the flows; BLESS=1 rewrites the file", differences.join("\n"));
    Ok(())
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

fn lines(scenario: &Scenario, world: &World, golden: &Golden) -> Result<Vec<String>> {
    let switch = world.switches.get(&golden.node).with_context(|| format!("{} is no node here", golden.node))?;
    let flows = switch.flows()?;
    let names = scenario.book.names(&golden.node);
    let shown =
        show::lines(flows.iter().filter(|flow| flow.table == golden.table && !is_miss(flow)).map(Flow::shown), &names);
    Ok(shown.into_iter().map(|(_, line)| line).collect())
}

/// What a table does with what nothing matches is declared with the table and held by `layout.rs`.
fn is_miss(flow: &Flow) -> bool {
    flow.priority == 0 && flow.matches.is_empty()
}

/// Replaces the lines of each section by the given ones.
fn rewrite(scenario: &Scenario, blessed: &BTreeMap<usize, Vec<String>>) -> Result<()> {
    let old = std::fs::read_to_string(&scenario.path)?;
    let mut new = String::new();
    let mut replaced = false;
    for (number, line) in (1..).zip(old.lines()) {
        let within = line.starts_with(' ') && !line.trim().is_empty();
        replaced &= within;
        if !replaced {
            new += line;
            new.push('\n');
        }
        if let Some(lines) = blessed.get(&number) {
            for line in lines {
                new += &format!("  {line}\n");
            }
            replaced = true;
        }
    }
    if new != old {
        std::fs::write(&scenario.path, new)?;
    }
    Ok(())
}
