//! The CNI plugin: what a container runtime starts to give a pod its interface, and to take it away.
//!
//! Standard input and environment go in, one answer comes out. In between the agent plans (which addresses, which MAC, which
//! MTU), the plugin does the pod's half inside the pod's namespace, and the agent, asked to confirm, does the node's half. The
//! plugin runs as root on the host for a few milliseconds; it decides nothing, keeps nothing and knows no switch.
//!
//! ```text
//! runtime ─stdin, CNI_*─► answer ─► attach  ─► agent: plan ─► interface (in the pod) ─► agent: confirm ─► result on stdout
//!                              ├──► detach  ─► agent: forget (absent: a note for it) ─► interface (in the pod)
//!                              ├──► check   ─► agent: what was made ─► interface (in the pod): is it there
//!                              └──► collect ─► agent: what is not valid any more, or whether it is ready
//! ```

// Input and output are the wrappers' (tidy/tests/wrappers.rs).
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod absent;
mod agent;
mod attach;
mod check;
mod collect;
mod detach;
#[cfg(fuzzing)]
pub mod fuzzing;
mod inspect;
mod interface;
mod namespace;
mod netlink;
mod offload;

use std::ffi::OsString;
use std::io::Read;

use apis::cni::{CniError, Command, ErrorCode, NetworkConfiguration, SpecVersion, version_document};
use serde_json::Value;

/// Longest network configuration that is read, in bytes. Real ones have a few hundred.
const INPUT_LIMIT: usize = 1 << 20;

/// What the plugin says and how it ends.
#[derive(Debug)]
pub struct Answer {
    /// The one JSON document for standard output; what worked and has no result (all but ADD and VERSION) says nothing.
    pub document: Option<Value>,
    /// Whether the exit code is 0.
    pub success: bool,
}

/// Does what the environment asks, with the network configuration that `input` holds.
pub fn answer(variable: impl Fn(&str) -> Option<OsString>, input: impl Read) -> Answer {
    let mut bytes = Vec::new();
    let read = input.take(INPUT_LIMIT as u64 + 1).read_to_end(&mut bytes);
    let version = SpecVersion::of_input(&bytes);
    let outcome = match read {
        Ok(size) if size <= INPUT_LIMIT => obey(variable, &bytes, version),
        Ok(_) => Err(CniError::new(
            ErrorCode::UNDECODABLE,
            format!("the network configuration on standard input is longer than {INPUT_LIMIT} bytes"),
            "a configuration list is handed over one plugin at a time",
        )),
        Err(error) => Err(CniError::new(ErrorCode::IO_FAILURE, "standard input cannot be read", error.to_string())),
    };
    match outcome {
        Ok(document) => Answer { document, success: true },
        Err(error) => Answer { document: Some(error.document(version)), success: false },
    }
}

fn obey(
    variable: impl Fn(&str) -> Option<OsString>,
    input: &[u8],
    version: SpecVersion,
) -> Result<Option<Value>, CniError> {
    let command = Command::parse(variable)?;
    if command == Command::Version {
        return Ok(Some(version_document(version)));
    }
    let configuration = NetworkConfiguration::parse(input)?;
    command.refuse_before(configuration.version)?;
    match command {
        Command::Add(request) => {
            let result = attach::attach(&configuration, &request)?;
            return Ok(Some(result.document(configuration.version)));
        }
        Command::Delete(request) => detach::detach(&configuration, &request)?,
        Command::Check(request) => check::check(&configuration, &request)?,
        Command::Collect => collect::collect(&configuration)?,
        Command::Status => collect::status(&configuration)?,
        Command::Version => {}
    }
    Ok(None)
}
