//! What the switch alone needs for the same flows: one bundle by ovs-ofctl(8), no agent. Beside it the agent's figure says the
//! same on any machine, however busy.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::count;
use crate::bench::process;
use crate::lab::{Lab, run};

/// The switch's processor time, in milliseconds, for taking all the flows it has now once more while it is empty. The agent is
/// not running afterwards.
pub fn measure(lab: &mut Lab) -> Result<f64> {
    let (pace, file) = (lab.pace(), lab.folder().join("flows.txt"));
    let node = &mut lab.nodes_mut()[0];
    let (switch, namespace) = node.switch();
    let (folder, bridge) = (switch.run_folder().to_owned(), count::bridge(switch.run_folder()));
    let flows = count::flows(namespace, &folder)?;
    std::fs::write(&file, flows.join("\n")).with_context(|| format!("cannot write {}", file.display()))?;
    node.stop_agent();
    node.restart_switch()?;
    let (switch, namespace) = node.switch();
    pace.until("the switch to have its bridges again", Duration::from_secs(10), || {
        Ok(count::aggregate(namespace, &folder).ok().filter(|&flows| flows == 0))
    })?;
    let vswitchd = switch.daemons()[0].id();
    let before = process::processor_time(vswitchd)?;
    run(namespace, &["ovs-ofctl", "-O", "OpenFlow15", "--bundle", "add-flows", &bridge, &text(&file)], "")?;
    let time = process::processor_time(vswitchd)? - before;
    let taken = count::aggregate(namespace, &folder)?;
    ensure!(taken == flows.len(), "of {} flows that were dumped the switch took {taken} again", flows.len());
    Ok(time)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
