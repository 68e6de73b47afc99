//! How many flows the switch has, as Open vSwitch itself says (ovs-ofctl(8)).

use std::path::Path;

use anyhow::{Context, Result};

use crate::lab::{Namespace, run};

/// The bridge that the agent owns.
const BRIDGE: &str = "br-int";
/// The table in which the agent makes the switch look again; its flow is not one of the pipeline.
const TICK: u8 = 250;

/// How many flows there are, and how many of them are clauses of conjunctions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All of them.
    pub flows: usize,
    /// Those with `conjunction(…)` actions.
    pub conjunctive: usize,
}

/// Where the agent's bridge takes OpenFlow connections.
pub fn bridge(run_folder: &Path) -> String {
    format!("unix:{}", run_folder.join(format!("{BRIDGE}.mgmt")).display())
}

/// Counts the flows of the pipeline by dumping them.
pub fn count(node: &Namespace, run_folder: &Path) -> Result<Count> {
    let lines = flows(node, run_folder)?;
    let all = aggregate(node, run_folder)?;
    anyhow::ensure!(all == lines.len(), "the switch says that it has {all} flows, but dumps {}", lines.len());
    Ok(of_the_pipeline(&lines))
}

/// Every flow as ovs-ofctl prints it.
pub fn flows(node: &Namespace, run_folder: &Path) -> Result<Vec<String>> {
    let command = ["ovs-ofctl", "-O", "OpenFlow15", "dump-flows", "--no-stats", &bridge(run_folder)];
    Ok(run(node, &command, "")?.lines().map(str::trim).filter(|line| is_flow(line)).map(str::to_owned).collect())
}

/// How many flows the switch says that it has.
pub fn aggregate(node: &Namespace, run_folder: &Path) -> Result<usize> {
    let text = run(node, &["ovs-ofctl", "-O", "OpenFlow15", "dump-aggregate", &bridge(run_folder)], "")?;
    aggregated(&text).with_context(|| format!("ovs-ofctl dump-aggregate said {text}"))
}

fn of_the_pipeline(lines: &[String]) -> Count {
    let tick = format!("table={TICK},");
    let flows = || lines.iter().filter(|line| !line.starts_with(&tick));
    Count { flows: flows().count(), conjunctive: flows().filter(|line| line.contains("conjunction(")).count() }
}

/// Every flow has actions; the reply's heading has none.
fn is_flow(line: &str) -> bool {
    line.contains("actions=")
}

fn aggregated(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once("flow_count=")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_told_from_headings_and_clauses_from_other_flows() {
        let dump = "OFPST_FLOW reply (OF1.5) (xid=0x2):\n priority=1 actions=drop\n \
                    table=30, priority=100,reg1=0x10 actions=conjunction(3,1/2),conjunction(4,2/3)\n table=30, conj_id=3 actions=goto_table:40\n \
                    table=250, priority=0 actions=drop\n";
        let lines: Vec<String> = dump.lines().map(str::trim).filter(|line| is_flow(line)).map(str::to_owned).collect();
        assert_eq!((lines.len(), of_the_pipeline(&lines)), (4, Count { flows: 3, conjunctive: 1 }));
        assert_eq!(
            aggregated("OFPST_AGGREGATE reply (OF1.5) (xid=0x4): packet_count=0 byte_count=0 flow_count=104\n"),
            Some(104)
        );
    }
}
