//! `ferrant-controller`: flags, log, and off it goes.

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches};
use controller::config::{Config, Flags, LogFormat};
use controller::credentials::{self, Certificates};
use tracing_subscriber::EnvFilter;

/// The controller's own flags, or `certificates` and its.
fn command() -> clap::Command {
    let command = Flags::command().args_conflicts_with_subcommands(true).subcommand_negates_reqs(true);
    command.subcommand(Certificates::command())
}

fn main() -> anyhow::Result<()> {
    let matches = command().get_matches();
    if let Some((_, matches)) = matches.subcommand() {
        let certificates = Certificates::from_arg_matches(matches).unwrap_or_else(|error| error.exit());
        println!("{}", credentials::run(&certificates.command)?);
        return Ok(());
    }
    let flags = Flags::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let filter = EnvFilter::try_new(&flags.log)
        .with_context(|| format!("--log {}: not a filter; write it as `info` or `controller=debug`", flags.log))?;
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A log that cannot be written (its disk is full) must not end the task that writes it.
    let log = log.log_internal_errors(false);
    match flags.log_format {
        LogFormat::Text => log.with_ansi(colours).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    let config = Config::new(flags)?;
    allow_many_agents();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(controller::run::run(config))?;
    // The source's thread may be waiting for the file system: it holds nothing that needs a farewell.
    runtime.shutdown_background();
    Ok(())
}

/// Every agent is an open file: as many as the system allows, not the usual 1024.
fn allow_many_agents() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit on open files stays as it is; raise it for more than a thousand agents");
    }
}
