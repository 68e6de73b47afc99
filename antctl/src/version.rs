//! `antctl version`: this program's, and that of each daemon that answers.

use apis::query::{AgentInfo, ControllerInfo, INFO_PATH};
use serde::Serialize;

use crate::Failure;
use crate::ask::Asked;
use crate::command::{Daemon, Output, Places};
use crate::print::{Table, print};

/// Versions, by who has them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    antctl_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    controller_version: Option<String>,
}

/// Asks both and prints; one that does not answer is left out.
///
/// # Errors
/// Somebody should answer and nobody does.
pub async fn version(client: bool, places: &Places, output: Output) -> Result<(), Failure> {
    let mut versions = Versions {
        antctl_version: env!("CARGO_PKG_VERSION").to_owned(),
        agent_version: None,
        controller_version: None,
    };
    let mut failed = None;
    if !client && places.from != Some(Daemon::Controller) {
        match Asked::agent(places).get::<AgentInfo>(INFO_PATH).await {
            Ok(info) => versions.agent_version = Some(info.version),
            Err(error) => failed = Some(error),
        }
    }
    if !client && places.from != Some(Daemon::Agent) {
        match Asked::controller(places).get::<ControllerInfo>(INFO_PATH).await {
            Ok(info) => versions.controller_version = Some(info.release),
            // Whoever names a server wants to hear from it.
            Err(error) if places.server.is_some() => return Err(error.into()),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    print(&versions, output, |versions| {
        let rows = [
            ("antctl", Some(&versions.antctl_version)),
            ("ferrant-agent", versions.agent_version.as_ref()),
            ("ferrant-controller", versions.controller_version.as_ref()),
        ];
        let rows = rows.into_iter().filter_map(|(program, version)| Some(vec![program.to_owned(), version?.clone()]));
        Table { columns: &["PROGRAM", "VERSION"], rows: rows.collect() }
    })?;
    match failed {
        Some(error) if versions.agent_version.is_none() && versions.controller_version.is_none() => Err(error.into()),
        _ => Ok(()),
    }
}
