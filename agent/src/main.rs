//! The agent's process: its flags, its log, its exit code.

// Input and output are the wrappers' (tidy/tests/wrappers.rs).
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

use agent::config::{Config, LogFormat};
use clap::Parser;
use tracing_subscriber::EnvFilter;

/// A task that panics is a part that no longer works: the process ends, and whoever watches it starts it again.
fn end_at_a_panic() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        say(panic);
        std::process::abort();
    }));
}

fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    config.check()?;
    let filter = EnvFilter::try_new(&config.log).map_err(|error| anyhow::anyhow!("--log {}: {error}", config.log))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A log that cannot be written (its disk is full) must not end the task that writes it.
    let log = log.log_internal_errors(false);
    match config.log_format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    end_at_a_panic();
    // One thread: the loop is one, and what it waits for is other processes.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(agent::run::run(config))
}
