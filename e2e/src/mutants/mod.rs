//! Mutants: the system, broken on purpose in one place each. Every break must be noticed, and by a packet: a difference from the
//! oracle or a failed story. A changed golden file does not count.
//!
//! A mutant is a file in `e2e/mutants`: which text of which source file becomes what, and who is expected to notice. It is
//! built in a copy of the work tree below `target/mutants`, so the work tree itself is never touched, and a mutant whose text is no
//! longer there is an error: it must be kept as the code moves.

mod mutant;
mod tree;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

pub use mutant::{Catcher, Mutant};
use tree::Tree;

/// Verdicts that the oracle compares at most to notice a mutant.
const VERDICTS: &str = "6000";
/// The seed of every run, so that a mutant is caught today and tomorrow.
const SEED: &str = "7";

/// What a run is to do.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Only mutants whose name contains this.
    pub only: Option<String>,
    /// Taken for the last line; the runs have a seed of their own.
    #[arg(long)]
    pub seed: Option<u64>,
}

/// Builds and tries every mutant; the answer is the last line's object.
///
/// # Errors
/// When a mutant no longer applies, does not build, or the unbroken system is not clean.
pub fn run(arguments: &Arguments) -> Result<Value> {
    let root = root()?;
    let mut mutants = mutant::read_all(&root.join("e2e/mutants"))?;
    if let Some(only) = &arguments.only {
        mutants.retain(|mutant| mutant.name.contains(only.as_str()));
    }
    ensure!(!mutants.is_empty(), "no mutant has that name; look in e2e/mutants");
    let tree = Tree::copy(&root)?;
    eprintln!("mutants: building the unbroken system");
    tree.build()?;
    let mut caught = 0;
    for mutant in &mutants {
        let broken = tree.apply(mutant)?;
        tree.build().with_context(|| format!("mutant {} does not build", mutant.name))?;
        let by = notice(&tree, mutant)?;
        drop(broken);
        match by {
            Some(by) => {
                caught += 1;
                println!("{}: caught by {by}", mutant.name);
            }
            None => println!("{}: NOT CAUGHT (breaks {}: {})", mutant.name, mutant.file, mutant.breaks),
        }
    }
    let outside = mutants.iter().filter(|mutant| !mutant.file.starts_with("ovs-pipeline/")).count();
    Ok(json!({
        "mutants": mutants.len(), "caught": caught, "outside_pipeline": outside,
        "seed": arguments.seed.unwrap_or(0), "datapath": "netdev", "skipped": 0,
    }))
}

/// Who notices the mutant that is built now, if anyone.
fn notice(tree: &Tree, mutant: &Mutant) -> Result<Option<String>> {
    let arguments: Vec<&str> = match &mutant.catcher {
        Catcher::Oracle => vec!["oracle", "--quick", "--verdicts", VERDICTS, "--seed", SEED],
        Catcher::Story(story) => vec!["stories", story],
    };
    let output = Command::new(tree.lab())
        .args(&arguments)
        .env("DATAPATH", "netdev")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("cannot run {}", tree.lab().display()))?;
    let last = String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned();
    let errors = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let Ok(figures) = serde_json::from_str::<Value>(&last) else {
        bail!("mutant {}: the run broke off instead of telling a verdict:\n{errors}", mutant.name);
    };
    let noticed = figures["differences"].as_u64().or(figures["failed"].as_u64()).unwrap_or(0);
    Ok((noticed > 0).then(|| format!("{}: {}", mutant.catcher, first_difference(&errors))))
}

/// The line that says what was different.
fn first_difference(errors: &str) -> String {
    let mut lines = errors.lines();
    lines
        .find(|line| line.contains("DIFFERENCE") || line.contains("FAILED"))
        .map(|line| if line.ends_with("DIFFERENCE") { lines.next().unwrap_or(line) } else { line })
        .unwrap_or("see above")
        .chars()
        .take(160)
        .collect()
}

/// The repository's root, from where `lab` was built.
fn root() -> Result<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().context("the source tree from which this was built is gone; run make mutants in a clone")
}
