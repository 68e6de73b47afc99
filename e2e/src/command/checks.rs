//! `lab oracle`, `lab mutants`, `lab bad-input` and `lab cni-conformance`: run, and print the last line.

use anyhow::Result;
use serde_json::Value;

use super::LabArguments;
use crate::{bad_input, conformance, mutants, oracle};

/// What `lab oracle` takes.
#[derive(clap::Args)]
pub struct OracleArguments {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArguments,
    /// The run.
    #[command(flatten)]
    pub run: oracle::Arguments,
}

/// What `lab bad-input` takes.
#[derive(clap::Args)]
pub struct BadInputArguments {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArguments,
    /// Nothing is drawn here; taken so that every check takes it.
    #[arg(long)]
    pub seed: Option<u64>,
}

/// What `lab cni-conformance` takes.
#[derive(clap::Args)]
pub struct CniConformanceArguments {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArguments,
    /// Nothing is drawn here; taken so that every check takes it.
    #[arg(long)]
    pub seed: Option<u64>,
}

/// True when the plugin did in every case what the specification says.
///
/// # Errors
/// When the lab fails.
pub async fn cni_conformance(arguments: CniConformanceArguments) -> Result<bool> {
    let (figures, conforms) = conformance::run(arguments.lab.options()).await?;
    println!("{figures}");
    Ok(conforms)
}

/// True when the system did what policies mean, and the run covered what it promises.
///
/// # Errors
/// When the lab or a node fails.
pub async fn oracle(arguments: OracleArguments) -> Result<bool> {
    let figures = oracle::run(&arguments.run, &arguments.lab.options()).await?;
    println!("{figures}");
    Ok(["differences", "shortfalls", "left_behind"].iter().all(|&key| is_zero(&figures[key])))
}

/// True when every mutant was caught.
///
/// # Errors
/// When a mutant does not apply or does not build.
pub fn mutants(arguments: &mutants::Arguments) -> Result<bool> {
    let figures = mutants::run(arguments)?;
    println!("{figures}");
    Ok(figures["mutants"] == figures["caught"])
}

/// True when every wrong input was refused well.
///
/// # Errors
/// When the lab fails.
pub async fn bad_input(arguments: BadInputArguments) -> Result<bool> {
    let (figures, clean) = bad_input::run(arguments.lab.options()).await?;
    println!("{figures}");
    Ok(clean)
}

fn is_zero(figure: &Value) -> bool {
    figure.as_u64() == Some(0)
}
