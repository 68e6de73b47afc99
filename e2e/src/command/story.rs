//! `lab story`: see [`crate::story`].

use anyhow::Result;

use super::LabArguments;

/// What `lab story` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArguments,
}

/// Runs it.
pub async fn run(_arguments: Arguments) -> Result<bool> {
    anyhow::bail!("to come")
}
