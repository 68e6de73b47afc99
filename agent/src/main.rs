//! The agent's process: its flags, its log, its exit code.

use agent::config::Config;
use clap::Parser;
use tracing_subscriber::EnvFilter;

fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let filter = EnvFilter::try_new(&config.log).map_err(|error| anyhow::anyhow!("--log {}: {error}", config.log))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // One thread: the loop is one, and what it waits for is other processes.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(agent::run::run(config))
}
