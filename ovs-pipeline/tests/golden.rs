//! Scenarios without a process: the flows they write down, and the many lives of each.

#[allow(dead_code, reason = "each test target uses its part of the harness")]
mod scenario;

use ovs_pipeline::Datapath;
use scenario::{golden, life};

/// Runs every scenario and reports all failures together.
fn each(run: impl Fn(&scenario::Scenario) -> anyhow::Result<()>) {
    let scenarios = scenario::all(Datapath::Netdev).unwrap_or_else(|error| panic!("{error:#}"));
    let failures: Vec<String> = scenarios
        .iter()
        .filter_map(|scenario| run(scenario).err().map(|error| format!("{}: {error:#}", scenario.name())))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn flows_are_as_written() {
    each(golden::check);
}

#[test]
fn every_life_of_a_scenario_ends_the_same() {
    each(life::all);
}
