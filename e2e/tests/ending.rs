//! However a lab ends, it leaves nothing: no namespace, no process, no file.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use e2e::lab::{Datapath, LabName, Leftovers, Node, NodePlan, Underlay};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Starts a sandbox, waits until it is up, ends it by `signal`, and says what is left of it.
fn sandbox_ended_by(signal: Signal) -> Vec<String> {
    let mut lab = Command::new(env!("CARGO_BIN_EXE_lab"))
        .arg("sandbox")
        .stdin(Stdio::piped()) // the shell waits for commands for ever
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let id = lab.id();
    // Waiting for the lab would close it, and the shell would end by itself.
    let commands = lab.stdin.take();
    // Read to its end and no further: a closed pipe would end the shell, and the lab with it.
    let mut lines = BufReader::new(lab.stdout.take().unwrap()).lines();
    let up = lines.by_ref().map_while(Result::ok).any(|line| line.contains("Things to try"));
    assert!(up, "the sandbox did not come up");
    let leftovers = Leftovers::watch(format!("ferrant-{id}-"), std::env::temp_dir().join("ferrant-none"));
    assert!(leftovers.find_now().iter().any(|thing| thing.contains("network namespace")), "a lab that is up is found");
    kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
    let status = lab.wait().unwrap();
    drop((commands, lines));
    if signal == Signal::SIGKILL {
        // It had no time to remove names; the next lab does. Its processes went with it.
        drop(LabName::draw());
    } else {
        assert_eq!(status.code(), Some(1), "an interrupted lab says so by its status");
    }
    let folders = std::fs::read_dir(std::env::temp_dir()).unwrap();
    let names = folders.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let folders = names.filter(|name| name.starts_with(&format!("ferrant-{id}-")));
    leftovers.find().into_iter().chain(folders).collect()
}

#[test]
fn an_interrupted_lab_leaves_nothing() {
    assert_eq!(sandbox_ended_by(Signal::SIGINT), Vec::<String>::new());
}

#[test]
fn a_terminated_lab_leaves_nothing() {
    assert_eq!(sandbox_ended_by(Signal::SIGTERM), Vec::<String>::new());
}

#[test]
fn a_killed_lab_leaves_what_the_next_one_removes() {
    assert_eq!(sandbox_ended_by(Signal::SIGKILL), Vec::<String>::new());
}

#[test]
fn a_lab_that_panics_leaves_nothing() {
    let name = LabName::draw();
    let folder = tempfile::Builder::new().prefix(&name.prefix()).tempdir().unwrap();
    let leftovers = Leftovers::watch(name.prefix(), folder.path().to_owned());
    let panicked = std::thread::spawn(move || {
        let underlay = Underlay::create(&name).unwrap();
        let plan = NodePlan {
            name: "node".to_owned(),
            addresses: vec!["172.18.0.11".parse().unwrap()],
            pod_cidrs: Vec::new(),
        };
        let _node = Node::start(&name, plan, 0, &underlay, folder.path(), Datapath::Netdev).unwrap();
        panic!("as a test does");
    });
    assert!(panicked.join().is_err());
    assert_eq!(leftovers.find(), Vec::<String>::new());
}
