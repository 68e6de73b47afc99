//! `lab demo`: a cluster comes up, policies are applied one by one, and at each step real packets show what changed and which
//! rule denied what. The tables are compared with `expected.txt` beside the manifests.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::matrix::{self, Asked, Matrix, Target};
use super::{LabArguments, say, summary};
use crate::cluster::{complete, read};
use crate::lab::get;
use crate::probe::Protocol;
use crate::stage::{Place, Stage};

/// An address of the world (RFC 5737), beyond the outside host.
const WORLD: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10));
/// How many flows are shown of a node.
const FLOWS_SHOWN: usize = 12;

/// What `lab demo` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// The demo: `cluster/`, `policies/` and `expected.txt`
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/demo"))]
    pub directory: PathBuf,
    /// Write `expected.txt` from what is seen; review the difference
    #[arg(long)]
    pub bless: bool,
    /// Nothing is drawn here; taken so that every command takes it
    #[arg(long)]
    pub seed: Option<u64>,
    /// The lab.
    #[command(flatten)]
    pub lab: LabArguments,
}

/// A step: what is done, and the table that must be seen then.
struct Step {
    /// The policy file, none for the cluster as it is at first.
    file: Option<PathBuf>,
    title: String,
}

/// Runs it; true when every table is as expected and nothing is left.
pub async fn run(arguments: Arguments) -> Result<bool> {
    let start = Instant::now();
    let steps = steps(&arguments.directory.join("policies"))?;
    let expected_path = arguments.directory.join("expected.txt");
    let expected = if arguments.bless { Vec::new() } else { read_expected(&expected_path)? };
    let mut stage =
        Stage::set(arguments.lab.options(), complete(read(&arguments.directory.join("cluster"))?), &say).await?;
    say(&format!("up after {:.1} s", start.elapsed().as_secs_f32()));
    for line in stage.lab().how_to_enter() {
        println!("  {line}");
    }
    let (sources, targets) = ends(&mut stage).await?;

    let (mut probes, mut mismatches) = (0, 0);
    let mut seen = String::new();
    let mut before: Option<Matrix> = None;
    for (number, step) in steps.iter().enumerate() {
        println!("\n== Step {number}: {}", step.title);
        let changed_at = Instant::now();
        if let Some(file) = &step.file {
            apply(&mut stage, file).await?;
            println!("   every node obeys {} ms after the file was written", changed_at.elapsed().as_millis());
        }
        let asked = matrix::ask(&stage, &sources, &targets).await?;
        probes += asked.verdicts.values().sum::<usize>();
        print!("\n{}", asked.matrix.text());
        if let Some(before) = &before {
            show_changes(&stage, before, &asked).await?;
        }
        seen.push_str(&format!("== Step {number}: {}\n{}\n", step.title, asked.matrix.text()));
        if !arguments.bless {
            mismatches += compare(&expected, number, &step.title, &asked.matrix);
        }
        before = Some(asked.matrix);
    }
    show_flows(&mut stage).await?;

    if arguments.bless {
        std::fs::write(&expected_path, seen).with_context(|| format!("cannot write {}", expected_path.display()))?;
    }
    let (nodes, pods) = (stage.cluster().nodes.len(), stage.cluster().pods.len());
    say("taking everything down");
    let left_behind = stage.strike();
    for thing in &left_behind {
        say(&format!("left behind: {thing}"));
    }
    let own = json!({
        "probes": probes,
        "mismatches": mismatches,
        "left_behind": left_behind.len(),
        "steps": steps.len(),
        "nodes": nodes,
        "pods": pods,
        "seconds": (start.elapsed().as_secs_f64() * 10.0).round() / 10.0,
    });
    println!();
    summary(arguments.lab.datapath, 0, &own);
    Ok(mismatches == 0 && left_behind.is_empty())
}

/// The cluster as it is at first, then the policies in the order of their files' names.
fn steps(policies: &Path) -> Result<Vec<Step>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(policies)
        .with_context(|| format!("cannot read {}", policies.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    let mut steps = vec![Step { file: None, title: "no policy".to_owned() }];
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let title = text.lines().next().and_then(|line| line.strip_prefix("# "));
        let title = title
            .with_context(|| format!("{} does not begin with a comment that says what it does", file.display()))?;
        steps.push(Step { title: title.to_owned(), file: Some(file) });
    }
    Ok(steps)
}

/// Everyone asks every port that is served, inside and outside, and every node.
async fn ends(stage: &mut Stage) -> Result<(Vec<Place>, Vec<Target>)> {
    let pods: Vec<_> = stage.cluster().pods.clone();
    let sources: Vec<Place> = pods.iter().map(|pod| Place::Pod(pod.key())).collect();
    let mut targets: Vec<Target> = Vec::new();
    for pod in &pods {
        let target = |(protocol, port): &(Protocol, u16)| Target {
            place: Place::Pod(pod.key()),
            protocol: *protocol,
            port: *port,
        };
        targets.extend(pod.ports.iter().map(target));
    }
    stage.serve(&Place::Outside, &[(Protocol::Tcp, 443)]).await?;
    targets.push(Target { place: Place::Outside, protocol: Protocol::Tcp, port: 443 });
    stage.serve_outside(WORLD, Protocol::Tcp, 443).await?;
    targets.push(Target { place: Place::Address(WORLD), protocol: Protocol::Tcp, port: 443 });
    Ok((sources, targets))
}

async fn apply(stage: &mut Stage, file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    for line in text.lines() {
        println!("   {line}");
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    stage.apply(|source| source.write(&name, &text)).await
}

async fn show_changes(stage: &Stage, before: &Matrix, asked: &Asked) -> Result<()> {
    let differences = before.differences(&asked.matrix);
    println!("\n   {} cells changed:", differences.len());
    for (from, to, was, is) in differences {
        let question = &asked.questions[&(from.to_owned(), to.to_owned())];
        let by = stage.decided_by(question).await?;
        let by = if by.is_empty() { "no policy".to_owned() } else { by.join(", ") };
        println!("   {from} -> {to}: {was} -> {is}, by {by}");
    }
    Ok(())
}

fn compare(expected: &[(String, Matrix)], number: usize, title: &str, seen: &Matrix) -> usize {
    let Some((expected_title, matrix)) = expected.get(number) else {
        println!("   MISMATCH: expected.txt has no step {number}");
        return 1;
    };
    let mut mismatches = 0;
    if expected_title != title || matrix.rows != seen.rows || matrix.columns != seen.columns {
        println!("   MISMATCH: step {number} of expected.txt is about something else: {expected_title}");
        mismatches += 1;
    }
    for (from, to, wanted, got) in matrix.differences(seen) {
        println!("   MISMATCH: {from} -> {to}: expected {wanted}, seen {got}");
        mismatches += 1;
    }
    mismatches
}

fn read_expected(path: &Path) -> Result<Vec<(String, Matrix)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let parts = text.split("== Step ").skip(1);
    let expected = parts
        .map(|part| {
            let (head, table) = part.split_once('\n').context("a step ends after its title")?;
            let (_, title) = head.split_once(": ").with_context(|| format!("`{head}` has no title"))?;
            Ok((title.to_owned(), Matrix::parse(table)?))
        })
        .collect::<Result<Vec<_>>>()
        .with_context(|| format!("{} is not as expected tables are", path.display()))?;
    ensure!(!expected.is_empty(), "{} has no steps", path.display());
    Ok(expected)
}

async fn show_flows(stage: &mut Stage) -> Result<()> {
    for node in stage.lab().nodes() {
        let socket = node.agent_socket();
        let answer = get(&socket, "/v1/flows?table=IngressRule", Duration::from_secs(10)).await?.json()?;
        let lines: Vec<String> = serde_json::from_value(answer).context("flows are lines")?;
        println!("\n== Ingress rules in the switch of {}, {} flows", node.name(), lines.len());
        for line in lines.iter().take(FLOWS_SHOWN) {
            println!("   {line}");
        }
        if lines.len() > FLOWS_SHOWN {
            println!("   … and {} more", lines.len() - FLOWS_SHOWN);
        }
    }
    Ok(())
}
