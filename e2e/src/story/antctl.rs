//! `antctl` in a story: the real binary, asking the lab's daemons as on a node, over their sockets or over the network.

use std::path::Path;

use anyhow::{Context, Result};

use crate::lab::{Binaries, run_for_output};
use crate::stage::Stage;

/// What a story writes for the address of the controller, to be asked over the network with a client's certificate.
const CONTROLLER: &str = "CONTROLLER";

/// What it printed, on a node, whatever its exit code: its words with one space between, line by line.
pub async fn ask(stage: &mut Stage, node: &str, arguments: &[String]) -> Result<Vec<String>> {
    let lab = stage.lab();
    let (index, found) = lab
        .nodes()
        .iter()
        .enumerate()
        .find(|(_, found)| found.name() == node)
        .with_context(|| format!("there is no node {node}"))?;
    let text = |path: &Path| path.display().to_string();
    let mut environment = vec![
        ("FERRANT_AGENT_SOCKET", text(&found.agent_socket())),
        ("FERRANT_CONTROLLER_SOCKET", text(&lab.controller_socket())),
    ];
    let program = text(&Binaries::of_this_build()?.antctl);
    let mut command = vec![program.as_str()];
    let url = lab.controller_urls(index).into_iter().next().context("a lab has a controller")?;
    if arguments.iter().any(|argument| argument == CONTROLLER) {
        environment.push(("FERRANT_CERTIFICATES", text(&lab.client("story")?)));
    }
    command.extend(arguments.iter().map(|argument| if argument == CONTROLLER { &url } else { argument.as_str() }));
    let output = run_for_output(found.namespace(), &command, &environment, "")?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8(printed).context("antctl prints text")?;
    Ok(printed.lines().map(normal).collect())
}

/// Words with one space between.
pub fn normal(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
