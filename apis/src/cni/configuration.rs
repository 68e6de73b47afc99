//! The network configuration a runtime writes to the plugin's standard input.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use super::{CniError, ErrorCode, SpecVersion};

/// Where the agent listens unless `agentSocket` says otherwise.
pub const DEFAULT_AGENT_SOCKET: &str = "/run/ferrant/cni.sock";

/// Longest path of a Unix socket in bytes, unix(7) `sun_path` less its final zero.
const SOCKET_PATH_LIMIT: usize = 107;

/// What the plugin uses of a network configuration, valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfiguration {
    /// `cniVersion`: the version of the configuration and of the answer.
    pub version: SpecVersion,
    /// `name`: the network's, unique on the node.
    pub name: String,
    /// `agentSocket`: the absolute path of the agent's CNI socket.
    pub agent_socket: PathBuf,
    /// `prevResult` as it was given: the plugin stands behind another in a chain, or the runtime repeats the result of ADD.
    pub previous_result: Option<Value>,
    /// `runtimeConfig.ips` (the conventional capability `ips`): addresses the pod would like to have.
    pub requested_addresses: Vec<IpAddr>,
}

/// As it is written; keys the plugin does not use are left to the runtime and to other plugins.
#[derive(Deserialize)]
struct Written {
    #[serde(rename = "cniVersion")]
    cni_version: Option<String>,
    name: Option<String>,
    #[serde(rename = "type")]
    _plugin_type: Option<String>,
    #[serde(rename = "agentSocket")]
    agent_socket: Option<String>,
    #[serde(rename = "prevResult")]
    previous_result: Option<Value>,
    ipam: Option<Value>,
    #[serde(rename = "runtimeConfig")]
    runtime: Option<WrittenRuntime>,
}

#[derive(Deserialize)]
struct WrittenRuntime {
    ips: Option<Vec<String>>,
}

impl NetworkConfiguration {
    /// Reads a configuration; every error names the key and what to write there.
    pub fn parse(input: &[u8]) -> Result<NetworkConfiguration, CniError> {
        let written = decode(input)?;
        let version = SpecVersion::parse(written.cni_version.as_deref())?;
        let name = network_name(written.name)?;
        let agent_socket = socket_path(written.agent_socket)?;
        refuse_delegated_addresses(written.ipam.as_ref())?;
        let requested_addresses = requested_addresses(written.runtime)?;
        let previous_result = written.previous_result;
        Ok(NetworkConfiguration { version, name, agent_socket, previous_result, requested_addresses })
    }

    /// ADD makes an interface of its own, so it cannot stand behind a plugin that has made one.
    pub fn refuse_chained(&self) -> Result<(), CniError> {
        let Some(previous) = &self.previous_result else { return Ok(()) };
        Err(CniError::new(
            ErrorCode::UNSUPPORTED_FIELD,
            format!("network {:?}: unsupported field prevResult: {}", self.name, abbreviated(previous)),
            "list the plugin first in its network's plugins",
        ))
    }
}

fn decode(input: &[u8]) -> Result<Written, CniError> {
    if input.trim_ascii().is_empty() {
        return Err(CniError::new(
            ErrorCode::UNDECODABLE,
            "standard input is empty",
            "the runtime writes the network configuration there as JSON",
        ));
    }
    // A list would be read as a struct by position; a configuration is an object.
    if input.trim_ascii().first() != Some(&b'{') {
        return Err(CniError::new(
            ErrorCode::UNDECODABLE,
            "the network configuration on standard input is not a JSON object",
            "line 1, column 1: it has to start with \"{\"",
        ));
    }
    serde_json::from_slice(input).map_err(|error| {
        CniError::new(
            ErrorCode::UNDECODABLE,
            "the network configuration on standard input cannot be decoded",
            format!("line {}, column {}: {error}", error.line(), error.column()),
        )
    })
}

fn network_name(name: Option<String>) -> Result<String, CniError> {
    let name = name.unwrap_or_default();
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if starts_well && name.chars().all(|each| each.is_ascii_alphanumeric() || "_.-".contains(each)) {
        return Ok(name);
    }
    Err(CniError::new(
        ErrorCode::INVALID_CONFIGURATION,
        format!("\"name\" of the network configuration is {name:?}"),
        "write a name that starts with a letter or digit and goes on with letters, digits, \"_\", \".\" and \"-\"",
    ))
}

fn socket_path(path: Option<String>) -> Result<PathBuf, CniError> {
    let path = path.unwrap_or_else(|| DEFAULT_AGENT_SOCKET.to_owned());
    if path.starts_with('/') && path.len() <= SOCKET_PATH_LIMIT && !path.contains('\0') {
        return Ok(PathBuf::from(path));
    }
    Err(CniError::new(
        ErrorCode::INVALID_CONFIGURATION,
        format!("\"agentSocket\" of the network configuration is {path:?}"),
        format!("write the absolute path of the agent's cni.sock, at most {SOCKET_PATH_LIMIT} bytes"),
    ))
}

/// The agent gives the addresses. A configuration that names another giver would be obeyed in part only.
fn refuse_delegated_addresses(ipam: Option<&Value>) -> Result<(), CniError> {
    match ipam {
        None => Ok(()),
        Some(Value::Object(empty)) if empty.is_empty() => Ok(()),
        Some(asked) => Err(CniError::new(
            ErrorCode::UNSUPPORTED_FIELD,
            format!("unsupported field ipam: {}", abbreviated(asked)),
            "remove it: Ferrant's agent gives addresses from the node's pod CIDRs",
        )),
    }
}

/// Each is an address, with or without a prefix length (the agent gives host prefixes whatever it says).
fn requested_addresses(runtime: Option<WrittenRuntime>) -> Result<Vec<IpAddr>, CniError> {
    let texts = runtime.and_then(|runtime| runtime.ips).unwrap_or_default();
    let parse = |text: &String| {
        let address = text.parse().or_else(|_| text.parse::<IpNet>().map(|prefix| prefix.addr()));
        address.map_err(|_| {
            CniError::new(
                ErrorCode::INVALID_CONFIGURATION,
                format!("\"runtimeConfig.ips\" of the network configuration holds {text:?}"),
                "write IP addresses, such as 10.10.1.7 or 10.10.1.7/32",
            )
        })
    };
    texts.iter().map(parse).collect()
}

/// A value as JSON, short enough for a message.
fn abbreviated(value: &Value) -> String {
    const LIMIT: usize = 120;
    let text = value.to_string();
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
