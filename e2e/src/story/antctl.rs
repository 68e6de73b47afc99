//! `antctl` in a story: the real binary, asking the lab's daemons as on a node.

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::lab::Binaries;
use crate::stage::Stage;

/// What it printed, on a node, whatever its exit code: its words with one space between, line by line.
pub async fn ask(stage: &mut Stage, node: &str, arguments: &[String]) -> Result<Vec<String>> {
    let lab = stage.lab();
    let found = lab.nodes().iter().find(|found| found.name() == node);
    let agent_socket = found.with_context(|| format!("there is no node {node}"))?.agent_socket();
    let output = Command::new(Binaries::of_this_build()?.antctl)
        .args(arguments)
        .env("FERRANT_AGENT_SOCKET", agent_socket)
        .env("FERRANT_CONTROLLER_SOCKET", lab.controller_socket())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot start antctl")?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8(printed).context("antctl prints text")?;
    Ok(printed.lines().map(normal).collect())
}

/// Words with one space between.
pub fn normal(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
