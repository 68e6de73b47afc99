//! Wrong flags: each binary must refuse with a text that names the flag or the value, and start nothing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Found, certificates};
use crate::lab::{Binaries, Lab};

/// A binary that has not ended by then took the flags for right.
const LIMIT: Duration = Duration::from_secs(5);

pub(super) fn run(lab: &Lab, found: &mut Found) -> Result<()> {
    let binaries = Binaries::of_this_build()?;
    let folder = tempfile::tempdir()?;
    let own = folder.path().display().to_string();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "not a directory")?;
    let file = file.display().to_string();
    let source = lab.source().folder().display().to_string();
    let socket = format!("{own}/controller.sock");
    let (ca, node) = (format!("{own}/ca"), format!("{own}/node-a"));
    certificates::run(found, &binaries, folder.path())?;
    let right =
        ["--source", &source, "--status", &own, "--listen", "127.0.0.1:0", "--serve", &socket, "--certificates", &ca];
    for (flag, value) in [
        ("--listen", "nowhere"),
        ("--listen", "127.0.0.1"),
        ("--listen", "127.0.0.1:99999"),
        ("--listen", "192.0.2.1:1"),
        ("--source", file.as_str()),
        ("--source", ""),
        ("--serve", "/no/such/folder/controller.sock"),
        ("--status", file.as_str()),
        ("--certificates", file.as_str()),
        ("--certificates", "/no/such/folder"),
        ("--certificates", node.as_str()),
        ("--certificate-lifetime", "forever"),
        ("--certificate-lifetime", "0s"),
        ("--log", "agent=loud=louder"),
    ] {
        refused(found, &binaries.controller, &changed(&right, flag, value), &[flag, value])?;
    }
    refused(found, &binaries.controller, &["--sauce".to_owned(), source.clone()], &["--sauce"])?;
    refused(found, &binaries.controller, &[], &["--source"])?;
    agent(found, &binaries, &own, &file)
}

/// The agent's.
fn agent(found: &mut Found, binaries: &Binaries, own: &str, file: &str) -> Result<()> {
    let (ca, node) = (format!("{own}/ca"), format!("{own}/node-a"));
    let (database, control) = (format!("{own}/db.sock"), format!("{own}/v.ctl"));
    let run = format!("{own}/run");
    let right = [
        "--node",
        "node-a",
        "--controller",
        "https://127.0.0.1:1",
        "--certificates",
        &node,
        "--run-dir",
        &run,
        "--ovsdb",
        &database,
        "--ovs-run-dir",
        own,
        "--vswitchd-ctl",
        &control,
        "--datapath",
        "netdev",
    ];
    for (flag, value) in [
        ("--node", "Node_A"),
        ("--node", ""),
        ("--controller", "127.0.0.1:1"),
        ("--controller", "ftp://127.0.0.1:1"),
        ("--controller", "https://"),
        ("--controller", "http://127.0.0.1:1"),
        ("--certificates", file),
        ("--certificates", "/no/such/folder"),
        ("--certificates", ca.as_str()),
        ("--datapath", "fast"),
        ("--tunnel", "stt"),
        ("--bridge", "a-bridge-with-too-long-a-name"),
        ("--bridge", ""),
        ("--run-dir", file),
        ("--debug-verdict", "perhaps"),
        ("--log", "agent=loud=louder"),
    ] {
        refused(found, &binaries.agent, &changed(&right, flag, value), &[flag, value])?;
    }
    refused(found, &binaries.agent, &["--nod".to_owned(), "node-a".to_owned()], &["--nod"])
}

/// The right flags with one of them changed, or added.
pub(super) fn changed(right: &[&str], flag: &str, value: &str) -> Vec<String> {
    let mut flags: Vec<String> = right.iter().map(|&text| text.to_owned()).collect();
    match flags.iter().position(|text| text == flag) {
        Some(at) => flags[at + 1] = value.to_owned(),
        None => flags.extend([flag.to_owned(), value.to_owned()]),
    }
    flags
}

/// Starts a binary that must end by itself, soon, unsuccessfully, and with a text that has one of `names` in it.
pub(super) fn refused(found: &mut Found, program: &Path, flags: &[String], names: &[&str]) -> Result<()> {
    found.inputs += 1;
    let name = format!("{} {}", program.file_name().unwrap_or_default().to_string_lossy(), flags.join(" "));
    let child = Command::new(program)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let id = Pid::from_raw(i32::try_from(child.id()).context("a process id is small")?);
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    let Ok(output) = end.recv_timeout(LIMIT) else {
        kill(id, Signal::SIGKILL).with_context(|| format!("cannot end {name}"))?;
        found.accepted.push(format!("{name}: it runs"));
        return Ok(());
    };
    let output = output?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    found.read(&name, &text);
    if output.status.success() {
        found.accepted.push(format!("{name}: it ended as if all were well"));
    }
    if !names.iter().any(|name| !name.is_empty() && text.contains(name)) {
        found.without_location.push(format!("{name}: {text}"));
    }
    Ok(())
}
