//! The agent's process: its flags, its log, its exit code.

use agent::config::{Config, LogFormat};
use clap::Parser;
use tracing_subscriber::EnvFilter;

fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let filter = EnvFilter::try_new(&config.log).map_err(|error| anyhow::anyhow!("--log {}: {error}", config.log))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    // One thread: the loop is one, and what it waits for is other processes.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(agent::run::run(config))
}
