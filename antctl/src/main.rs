//! `antctl`: asks the daemons and prints. It shows nothing that they did not say.

mod ask;
mod command;
mod get;
mod print;
mod version;

use std::process::ExitCode;

use clap::Parser;

use ask::AskError;
use command::{Arguments, Command};
use print::PrintError;

/// Why antctl ends with another code than 0.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// No answer, or one that says no.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The answer could not be printed.
    #[error(transparent)]
    Print(#[from] PrintError),
    /// Flags that do not go together.
    #[error("{0}")]
    Usage(String),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Ask(error) => error.exit_code(),
            Self::Print(_) => 1,
            Self::Usage(_) => 2,
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Get(get) => get::get(get, &arguments.places, arguments.output).await,
        Command::Version { client } => version::version(*client, &arguments.places, arguments.output).await,
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("antctl: cannot start: {error}");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("antctl: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
