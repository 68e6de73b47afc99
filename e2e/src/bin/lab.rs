//! `lab`: the commands behind `make demo`, `make try`, `make sandbox` and `make e2e`.
//!
//! Progress goes to standard error, results to standard output, and the last line there is one JSON object. The exit status
//! is 0 only when everything was as it should be.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use e2e::bench;
use e2e::command::{ask, checks, demo, kernel, sandbox, story, trial};
use e2e::{crash, mutants, restart};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(name = "lab", about = "A cluster of network namespaces, with real Open vSwitch and real packets")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Three nodes, a handful of pods, policies applied one by one
    Demo(demo::Arguments),
    /// The lab from a directory of manifests, and what becomes of packets in it
    Try(trial::Arguments),
    /// A lab that stays up, with a shell and things to try
    Sandbox(sandbox::Arguments),
    /// The user stories
    #[command(name = "stories")]
    Story(story::Arguments),
    /// Draw clusters, policies and packets; compare the system with the evaluator
    Oracle(checks::OracleArguments),
    /// Break the system on purpose; every break must be noticed
    Mutants(mutants::Arguments),
    /// Manifests, CNI calls and flags that are wrong
    BadInput(checks::BadInputArguments),
    /// Stop the agent or the plugin at any line; nothing may be left of it
    Crash(crash::Arguments),
    /// Figures beside their targets
    Bench(bench::Arguments),
    /// Kill a daemon under traffic and see what is lost, and that nothing forbidden gets through
    Restart(restart::Arguments),
    /// Call the CNI plugin as runtimes do, and hold it against the specification
    CniConformance(checks::CniConformanceArguments),
    /// Ask a daemon over its socket
    #[command(hide = true)]
    Ask(ask::Arguments),
}

impl Command {
    fn datapath(&self) -> e2e::lab::Datapath {
        match self {
            Self::Demo(arguments) => arguments.lab.datapath,
            Self::Try(arguments) => arguments.lab.datapath,
            Self::Sandbox(arguments) => arguments.lab.datapath,
            Self::Story(arguments) => arguments.lab.datapath,
            Self::Oracle(arguments) => arguments.lab.datapath,
            Self::Mutants(_) | Self::Ask(_) => e2e::lab::Datapath::Netdev,
            Self::BadInput(arguments) => arguments.lab.datapath,
            Self::Crash(arguments) => arguments.lab.datapath,
            Self::Bench(arguments) => arguments.datapath(),
            Self::CniConformance(arguments) => arguments.lab.datapath,
            Self::Restart(arguments) => arguments.options.lab.datapath,
        }
    }

    /// True when all was as it should be.
    async fn run(self) -> Result<bool> {
        match self {
            Self::Demo(arguments) => demo::run(arguments).await,
            Self::Try(arguments) => trial::run(arguments).await,
            Self::Sandbox(arguments) => sandbox::run(arguments).await,
            Self::Story(arguments) => story::run(arguments).await,
            Self::Oracle(arguments) => checks::oracle(arguments).await,
            Self::Mutants(arguments) => checks::mutants(&arguments),
            Self::BadInput(arguments) => checks::bad_input(arguments).await,
            Self::Crash(arguments) => crash::run(arguments).await,
            Self::Bench(arguments) => bench::run(arguments).await,
            Self::CniConformance(arguments) => checks::cni_conformance(arguments).await,
            Self::Restart(arguments) => restart::run(arguments).await,
            Self::Ask(arguments) => ask::run(arguments).await,
        }
    }
}

/// Whoever reads the output may have read enough, as in `lab demo | head`: printing then ends the run as any panic does, the lab is
/// taken down on the way, and nothing is said about it.
fn end_quietly_when_nobody_reads() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.payload_as_str().is_some_and(|text| text.starts_with("failed printing to stdout: Broken pipe")) {
            usual(panic);
        }
    }));
}

fn main() -> ExitCode {
    end_quietly_when_nobody_reads();
    let arguments = Arguments::parse();
    match kernel::elsewhere(arguments.command.datapath()) {
        Ok(None) => {}
        Ok(Some(code)) => return code,
        Err(error) => return failed(&error),
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    // Whatever ends the run drops the lab, and dropping it takes it down.
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = arguments.command.run() => outcome,
            interrupted = interrupted() => interrupted,
        }
    });
    drop(runtime);
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("lab: {error:#}");
    ExitCode::FAILURE
}

async fn interrupted() -> Result<bool> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    bail!("interrupted; the lab is taken down")
}
