//! `lab sandbox`: a lab that stays up until its shell ends.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;
use tokio::process::Command;

use super::{LabArguments, say, summary};
use crate::cluster::{complete, read};
use crate::lab::Binaries;
use crate::stage::Stage;

/// What `lab sandbox` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// The cluster
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/samples/two-nodes"))]
    pub directory: PathBuf,
    /// The lab.
    #[command(flatten)]
    pub lab: LabArguments,
}

/// Runs it; true when nothing is left.
pub async fn run(arguments: Arguments) -> Result<bool> {
    let mut stage = Stage::set(arguments.lab.options(), complete(read(&arguments.directory)?), &say).await?;
    let script = script(&mut stage);
    let rc = stage.lab().folder().join("sandbox.sh");
    std::fs::write(&rc, script).with_context(|| format!("cannot write {}", rc.display()))?;
    let source = stage.lab().source().folder().to_owned();
    let mut shell = Command::new("bash");
    if std::io::stdin().is_terminal() {
        shell.arg("--rcfile").arg(&rc).arg("-i");
    } else {
        shell.arg("-c").arg("source \"$0\"; source /dev/stdin").arg(&rc);
    }
    let status = shell.current_dir(source).kill_on_drop(true).status().await.context("cannot start bash")?;
    say(&format!("the shell ended ({status}); taking everything down"));
    let left_behind = stage.strike();
    for thing in &left_behind {
        say(&format!("left behind: {thing}"));
    }
    summary(arguments.lab.datapath, 0, &json!({ "left_behind": left_behind.len() }));
    Ok(left_behind.is_empty())
}

/// Shell functions for the lab's nodes and pods, and what to try.
fn script(stage: &mut Stage) -> String {
    let lab = stage.lab();
    let mut script = String::from("# The sandbox's commands.\nPS1='sandbox \\W> '\n");
    let mut places = String::new();
    for node in lab.nodes() {
        places.push_str(&format!("    {}) echo {} ;;\n", node.name(), node.namespace().path().display()));
    }
    for (key, pod) in lab.pods() {
        places.push_str(&format!("    {key}) echo {} ;;\n", pod.namespace().path().display()));
    }
    let outside = lab.underlay().outside.path();
    script.push_str(&format!(
        "place() {{\n  case \"$1\" in\n{places}    outside) echo {} ;;\n    *) echo \"no such place: $1\" >&2; return 1 ;;\n  esac\n}}\n",
        outside.display()
    ));
    script.push_str(
        "at() {\n  local where; where=$(place \"$1\") || return; shift\n  nsenter --net=\"$where\" \"${@:-bash}\"\n}\n",
    );
    let mut sockets = String::new();
    for node in lab.nodes() {
        sockets.push_str(&format!("    {}) echo {} ;;\n", node.name(), node.agent_socket().display()));
    }
    script.push_str(&format!(
        "agent() {{\n  case \"$1\" in\n{sockets}    *) echo \"no such node: $1\" >&2; return 1 ;;\n  esac\n}}\n"
    ));
    if let Ok(binaries) = Binaries::of_this_build() {
        script.push_str(&format!("export FERRANT_CONTROLLER_SOCKET={}\n", lab.controller_socket().display()));
        script.push_str(&format!(
            "antctl() {{\n  case \"$1\" in\n    -*|get|version|help) {antctl} \"$@\" ;;\n    *) local socket; socket=$(agent \"$1\") || return; shift; FERRANT_AGENT_SOCKET=$socket {antctl} \"$@\" ;;\n  esac\n}}\n",
            antctl = binaries.antctl.display()
        ));
    }
    let this = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_else(|_| "lab".to_owned());
    script.push_str(&format!("flows() {{ {this} ask \"$(agent \"$1\")\" \"/v1/flows${{2:+?$2}}\"; }}\n"));
    script.push_str("say() {\n  at \"$1\" bash -c 'exec 3<>\"/dev/tcp/$0/$1\" && echo hello >&3 && timeout 2 head -n 1 <&3 || echo nothing' \"$2\" \"$3\"\n}\n");
    script.push_str("try() {\ncat <<'END'\n");
    script.push_str(&things_to_try(stage));
    script.push_str("END\n}\ntry\n");
    script
}

fn things_to_try(stage: &mut Stage) -> String {
    let lab = stage.lab();
    let mut text = String::from("\nThe cluster is up. This shell is in the directory that the controller reads.\n\n");
    for node in lab.nodes() {
        let addresses: Vec<String> = node.plan().addresses.iter().map(ToString::to_string).collect();
        text.push_str(&format!("  {:<24} node  {}\n", node.name(), addresses.join(" ")));
    }
    for (key, pod) in lab.pods() {
        let addresses: Vec<String> = pod.addresses().iter().map(ToString::to_string).collect();
        let ports: Vec<String> = pod.plan().ports.iter().map(|(protocol, port)| format!("{protocol} {port}")).collect();
        text.push_str(&format!("  {key:<24} pod   {}  serves {}\n", addresses.join(" "), ports.join(", ")));
    }
    let mut keys = lab.pods().iter();
    let client = keys.next().map(|(key, _)| key.clone()).unwrap_or_default();
    let server = lab.pods().values().find(|pod| pod.plan().key() != client && !pod.plan().ports.is_empty());
    let (address, port) = server.map_or((String::new(), 0), |pod| {
        (pod.addresses().first().map(ToString::to_string).unwrap_or_default(), pod.plan().ports[0].1)
    });
    let node = lab.nodes().first().map(|node| node.name().to_owned()).unwrap_or_default();
    text.push_str("\nThings to try:\n");
    for (command, what) in [
        (format!("at {client} ip -brief address"), "a command in a pod, a node or `outside`"),
        (format!("say {client} {address} {port}"), "a line to a server; it answers with its name"),
        ("ls; $EDITOR *.yaml".to_owned(), "change a policy and ask again"),
        (
            format!("antctl {node} get ovsflows -T IngressRule"),
            "a switch's flows, with names, counters and where each comes from",
        ),
        (format!("antctl {node} get podinterface"), "the pods of a node"),
        ("antctl get networkpolicy".to_owned(), "what the controller made of the policies"),
        (format!("at {node} ip route"), "a node's own view"),
        ("try".to_owned(), "this text again; `exit` takes everything down"),
    ] {
        text.push_str(&format!("  {command:<44} {what}\n"));
    }
    text.push('\n');
    text
}
