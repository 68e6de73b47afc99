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

/// Counts the flows of the pipeline by dumping them.
pub fn count(node: &Namespace, run_folder: &Path) -> Result<Count> {
    let bridge = format!("unix:{}", run_folder.join(format!("{BRIDGE}.mgmt")).display());
    let dump = run(node, &["ovs-ofctl", "-O", "OpenFlow15", "dump-flows", "--no-stats", &bridge], "")?;
    let count = in_dump(&dump);
    let aggregate = run(node, &["ovs-ofctl", "-O", "OpenFlow15", "dump-aggregate", &bridge], "")?;
    let all = aggregated(&aggregate).with_context(|| format!("ovs-ofctl dump-aggregate said {aggregate}"))?;
    let lines = dump.lines().filter(|line| is_flow(line)).count();
    anyhow::ensure!(all == lines, "the switch says that it has {all} flows, but dumps {lines}");
    Ok(count)
}

fn in_dump(dump: &str) -> Count {
    let tick = format!("table={TICK},");
    let flows = || dump.lines().filter(|line| is_flow(line) && !line.trim_start().starts_with(&tick));
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
        assert_eq!(in_dump(dump), Count { flows: 3, conjunctive: 1 });
        assert_eq!(
            aggregated("OFPST_AGGREGATE reply (OF1.5) (xid=0x4): packet_count=0 byte_count=0 flow_count=104\n"),
            Some(104)
        );
    }
}
