//! `lab ask`: asks a daemon over its socket, for the sandbox's shell.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::lab::get;

/// What `lab ask` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// The daemon's socket
    pub socket: PathBuf,
    /// What is asked, such as /v1/info
    pub path: String,
}

/// Prints the answer: a list as lines, anything else as it is.
pub async fn run(arguments: Arguments) -> Result<bool> {
    match get(&arguments.socket, &arguments.path, Duration::from_secs(30)).await?.json()? {
        Value::Array(lines) => {
            for line in lines {
                println!("{}", line.as_str().map_or_else(|| line.to_string(), str::to_owned));
            }
        }
        other => println!("{other:#}"),
    }
    Ok(true)
}
