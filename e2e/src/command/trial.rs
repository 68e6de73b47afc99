//! `lab try`: the lab from a directory of manifests that a person already has.
//!
//! With `--probes`, each line of that file is sent as a real packet and answered by the same object with `verdict` and `by`;
//! without, the table of all pods and ports is shown.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::matrix::{self, Target};
use super::{LabArguments, say, summary};
use crate::cluster::{Cluster, complete, read};
use crate::probe::{Protocol, Verdict};
use crate::stage::{Place, Question, Stage};

/// What `lab try` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// The directory: Namespaces, Pods, NetworkPolicies, and Nodes where they matter
    #[arg(long = "dir", value_name = "DIR")]
    pub directory: PathBuf,
    /// A JSON object a line: {"from":"ns/pod","to":"ns/pod or address","protocol":"TCP","port":80,"family":"IPv4"}
    #[arg(long)]
    pub probes: Option<PathBuf>,
    /// The lab.
    #[command(flatten)]
    pub lab: LabArguments,
}

/// A line of the probes' file.
struct Line {
    number: usize,
    text: String,
    wanted: Wanted,
}

#[derive(Deserialize)]
struct Wanted {
    from: String,
    to: String,
    #[serde(default = "tcp")]
    protocol: Protocol,
    #[serde(default)]
    port: u16,
    family: Option<Family>,
}

#[derive(Deserialize, PartialEq, Eq, Clone, Copy)]
enum Family {
    #[serde(alias = "ipv4")]
    IPv4,
    #[serde(alias = "ipv6")]
    IPv6,
}

fn tcp() -> Protocol {
    Protocol::Tcp
}

/// Runs it; true when nothing was wrong.
pub async fn run(arguments: Arguments) -> Result<bool> {
    let lines = arguments.probes.as_ref().map(read_lines).transpose()?;
    let cluster = complete(read(&arguments.directory)?);
    for note in &cluster.notes {
        say(note);
    }
    for (kind, number) in &cluster.skipped_kinds {
        say(&format!("skipped {number} of kind {kind}: not known here"));
    }
    for error in &cluster.invalid {
        say(&format!("left out: {error}"));
    }
    if let Some(lines) = &lines {
        check_places(lines, &cluster)?;
    }
    let mut stage = Stage::set(arguments.lab.options(), cluster, &say).await?;
    let verdicts = match &lines {
        Some(lines) => answer_lines(&mut stage, lines).await?,
        None => show_matrix(&stage).await?,
    };
    let cluster = stage.cluster().clone();
    let left_behind = stage.strike();
    for thing in &left_behind {
        say(&format!("left behind: {thing}"));
    }
    let count = |verdict| verdicts.get(&verdict).copied().unwrap_or(0);
    let own = json!({
        "probes": verdicts.values().sum::<usize>(),
        "reached": count(Verdict::Reached),
        "refused": count(Verdict::Refused),
        "timed_out": count(Verdict::TimedOut),
        "nodes": cluster.nodes.len(),
        "pods": cluster.pods.len(),
        "policies": cluster.policies,
        "skipped_kinds": cluster.skipped_kinds,
        "invalid": cluster.invalid,
        "left_behind": left_behind.len(),
    });
    summary(arguments.lab.datapath, 0, &own);
    Ok(left_behind.is_empty() && cluster.invalid.is_empty())
}

fn read_lines(path: &PathBuf) -> Result<Vec<Line>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let wanted = serde_json::from_str(line).with_context(|| {
            format!("{} line {number} is no probe; write {{\"from\":\"ns/pod\",\"to\":\"ns/pod\",\"protocol\":\"TCP\",\"port\":80}}", path.display())
        })?;
        lines.push(Line { number, text: line.trim().to_owned(), wanted });
    }
    Ok(lines)
}

/// Refuses names that are nothing before anything is started.
fn check_places(lines: &[Line], cluster: &Cluster) -> Result<()> {
    for line in lines {
        for name in [&line.wanted.from, &line.wanted.to] {
            let known = cluster.pods.iter().any(|pod| pod.key() == *name)
                || cluster.nodes.iter().any(|node| node.name == *name)
                || name == "outside"
                || name.parse::<std::net::IpAddr>().is_ok();
            if !known {
                bail!(
                    "probe in line {}: `{name}` is no pod (namespace/name) of the directory and no address",
                    line.number
                );
            }
        }
    }
    Ok(())
}

async fn answer_lines(stage: &mut Stage, lines: &[Line]) -> Result<BTreeMap<Verdict, usize>> {
    let mut questions = Vec::new();
    for line in lines {
        questions.push(question(stage, &line.wanted).await?);
    }
    say(&format!("sending {} probes", lines.len()));
    let mut verdicts = BTreeMap::new();
    for (line, answer) in lines.iter().zip(stage.ask(&questions, true).await) {
        let answer = answer.with_context(|| format!("probe in line {}", line.number))?;
        *verdicts.entry(answer.reply.verdict).or_default() += 1;
        println!("{}", answered(&line.text, &json!(answer.reply.verdict), &json!(answer.by)));
    }
    Ok(verdicts)
}

/// The person's own object, with `verdict` and `by` at its end.
fn answered(object: &str, verdict: &Value, by: &Value) -> String {
    let open = object.trim_end().strip_suffix('}').unwrap_or(object).trim_end();
    format!("{open},\"verdict\":{verdict},\"by\":{by}}}")
}

async fn question(stage: &mut Stage, wanted: &Wanted) -> Result<Question> {
    let (from, to) = (stage.place(&wanted.from)?, stage.place(&wanted.to)?);
    let literal = wanted.to.parse::<std::net::IpAddr>().ok();
    let ipv6 = match literal {
        Some(address) => address.is_ipv6(),
        None => wanted.family == Some(Family::IPv6),
    };
    // Addresses outside the cluster, and nodes, serve whatever they are asked for; pods serve what they declare.
    match &to {
        Place::Address(address) if stage.is_world(*address) => {
            stage.serve_outside(*address, wanted.protocol, wanted.port).await?;
        }
        Place::Outside | Place::Node(_) => stage.serve(&to, &[(wanted.protocol, wanted.port)]).await?,
        Place::Address(_) | Place::Pod(_) => {}
    }
    Ok(Question { from, to, protocol: wanted.protocol, port: wanted.port, ipv6, size: 0 })
}

async fn show_matrix(stage: &Stage) -> Result<BTreeMap<Verdict, usize>> {
    let pods = || stage.cluster().pods.iter().filter(|pod| !pod.terminated);
    let sources: Vec<Place> = pods().map(|pod| Place::Pod(pod.key())).collect();
    let mut targets = Vec::new();
    for pod in pods() {
        for (protocol, port) in &pod.ports {
            targets.push(Target { place: Place::Pod(pod.key()), protocol: *protocol, port: *port });
        }
    }
    say(&format!("asking {} pods about {} ports", sources.len(), targets.len()));
    let asked = matrix::ask(stage, &sources, &targets).await?;
    println!("{}", asked.matrix.text());
    Ok(asked.verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_the_same_object_with_more() {
        let object = r#"{ "to": "b/web",  "from": "a/client", "note": "kept" }"#;
        let text = answered(object, &json!("Reached"), &json!(["NetworkPolicy/b/allow ingress[0]"]));
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["verdict"], "Reached");
        assert_eq!(value["note"], "kept");
        assert!(text.starts_with(r#"{ "to": "b/web",  "from""#));
    }

    #[test]
    fn lines_have_defaults_and_are_refused_with_their_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("probes");
        std::fs::write(
            &path,
            "{\"from\":\"a/b\",\"to\":\"1.2.3.4\",\"port\":80}\n\n{\"from\":\"a/b\",\"protocol\":\"UDP\"}\n",
        )
        .unwrap();
        let error = format!("{:#}", read_lines(&path).err().unwrap());
        assert!(error.contains("line 3"), "{error}");
        std::fs::write(&path, "{\"from\":\"a/b\",\"to\":\"1.2.3.4\",\"port\":80,\"family\":\"IPv6\"}\n").unwrap();
        let lines = read_lines(&path).unwrap();
        assert!(lines[0].wanted.protocol == Protocol::Tcp && lines[0].wanted.family == Some(Family::IPv6));
    }
}
