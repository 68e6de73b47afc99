//! `ovs-ofctl`, offline and against the switch.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::expand;
use crate::switch::{Switch, finish};

/// What the switch says its first table can do.
pub struct Features {
    pub matched: Vec<String>,
    pub written: Vec<String>,
    pub actions: Vec<String>,
}

pub fn table_features(switch: &Switch) -> Result<Features, String> {
    let text =
        finish(Command::new("ovs-ofctl").args(["-O", "OpenFlow15", "dump-table-features"]).arg(management(switch)))?;
    let list = |title: &str| -> Result<Vec<String>, String> {
        let line = text.lines().map(str::trim).find_map(|line| line.strip_prefix(title));
        line.map(expand::names).ok_or_else(|| format!("no {title:?} in the table features:\n{text}"))
    };
    let mut matched = list("arbitrary mask:")?;
    matched.extend(list("exact match or wildcard:")?);
    Ok(Features { matched, written: list("supported on Set-Field:")?, actions: list("actions:")? })
}

pub fn management(switch: &Switch) -> String {
    format!("unix:{}", switch.management().display())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What `ovs-ofctl` makes of a message.
pub fn print(message: &[u8]) -> Result<String, String> {
    finish(Command::new("ovs-ofctl").args(["ofp-print", &hex(message)]))
}

/// What `ovs-ofctl` makes of each of many flow mods, one line each.
pub fn print_flow_mods(messages: &[Vec<u8>], file: &Path) -> Result<Vec<String>, String> {
    std::fs::write(file, messages.concat()).map_err(|error| format!("{}: {error}", file.display()))?;
    let text = finish(Command::new("ovs-ofctl").arg("ofp-parse").arg(file))?;
    Ok(text.lines().filter(|line| line.starts_with("OFPT_")).map(str::to_owned).collect())
}

/// What `ovs-ofctl` makes of each line.
fn lines(command: &str, input: &[String]) -> Result<Vec<String>, String> {
    let mut process = Command::new("ovs-ofctl")
        .args([command, "OpenFlow15"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("ovs-ofctl: {error}; is Open vSwitch installed?"))?;
    let mut stdin = process.stdin.take().ok_or("ovs-ofctl has no standard input")?;
    let text = input.iter().map(|line| format!("{line}\n")).collect::<String>();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = process.wait_with_output().map_err(|error| error.to_string())?;
    writer.join().map_err(|_| "the writer ended".to_owned())?.map_err(|error| error.to_string())?;
    let answers = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("ovs-ofctl {command}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(answers.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// The text of each list of actions.
pub fn parse_actions(actions: &[Vec<u8>]) -> Result<Vec<String>, String> {
    lines("parse-actions", &actions.iter().map(|bytes| hex(bytes)).collect::<Vec<_>>())
}

/// The canonical form of each OXM list in text.
pub fn parse_oxm(matches: &[String]) -> Result<Vec<String>, String> {
    lines("parse-oxm", matches)
}
