//! The network configuration a runtime writes to the plugin's standard input.
//!
//! What every command needs is read at once; what only some need (addresses asked for, the previous result, the attachments that
//! are still valid) is read when they ask, so that a DEL is not refused for what only an ADD would have used.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::environment::address;
use super::{AttachmentName, CniError, ErrorCode, MacAddress, PodArguments, PreviousResult, SpecVersion};

/// Where the agent listens unless `agentSocket` says otherwise.
pub const DEFAULT_AGENT_SOCKET: &str = "/run/ferrant/cni.sock";

/// Longest path of a Unix socket in bytes, unix(7) `sun_path` less its final zero.
const SOCKET_PATH_LIMIT: usize = 107;

/// What the plugin uses of a network configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfiguration {
    /// `cniVersion`: the version of the configuration and of the answer.
    pub version: SpecVersion,
    /// `name`: the network's, unique on the node.
    pub name: String,
    /// `agentSocket`: the absolute path of the agent's CNI socket.
    pub agent_socket: PathBuf,
    /// Not read yet.
    rest: Rest,
}

/// What a pod would like to have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requested {
    /// Given when they are this node's and free.
    pub addresses: Vec<IpAddr>,
    /// Given when no other pod has it.
    pub mac: Option<MacAddress>,
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
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Rest {
    #[serde(rename = "prevResult")]
    previous_result: Option<Value>,
    ipam: Option<Value>,
    #[serde(rename = "runtimeConfig")]
    runtime: Option<Value>,
    args: Option<Value>,
    #[serde(rename = "cni.dev/valid-attachments")]
    valid_attachments: Option<Value>,
    /// As an early text of the specification had it; runtimes write both.
    #[serde(rename = "cni.dev/attachments")]
    attachments: Option<Value>,
}

impl NetworkConfiguration {
    /// Reads a configuration; every error names the key and what to write there.
    pub fn parse(input: &[u8]) -> Result<NetworkConfiguration, CniError> {
        let written = decode(input)?;
        let version = SpecVersion::parse(written.cni_version.as_deref())?;
        let name = network_name(written.name)?;
        let agent_socket = socket_path(written.agent_socket)?;
        Ok(NetworkConfiguration { version, name, agent_socket, rest: written.rest })
    }

    /// What ADD can not do is refused rather than left out: another giver of addresses, port mappings, a bandwidth, and a place
    /// behind a plugin that has made the interface.
    pub fn refuse_unsupported(&self) -> Result<(), CniError> {
        let Rest { ipam, runtime, previous_result, .. } = &self.rest;
        let refused = |key: &str, value: &Value, advice: &str| {
            let message = format!("network {:?}: unsupported field {key}: {}", self.name, abbreviated(value));
            Err(CniError::new(ErrorCode::UNSUPPORTED_FIELD, message, advice))
        };
        if let Some(ipam) = ipam.as_ref().filter(|ipam| !is_empty(ipam)) {
            return refused("ipam", ipam, "remove it: Ferrant's agent gives addresses from the node's pod CIDRs");
        }
        for (capability, plugin) in [("portMappings", "portmap"), ("bandwidth", "bandwidth")] {
            let asked = runtime.as_ref().and_then(|runtime| runtime.get(capability)).filter(|asked| !is_empty(asked));
            if let Some(asked) = asked {
                let advice = format!(
                    "remove the capability {capability} from Ferrant's plugin and chain the plugin {plugin} after it"
                );
                return refused(&format!("runtimeConfig.{capability}"), asked, &advice);
            }
        }
        match previous_result {
            Some(previous) => refused("prevResult", previous, "list the plugin first in its network's plugins"),
            None => Ok(()),
        }
    }

    /// What the pod would like to have: `runtimeConfig` (the capabilities `ips` and `mac`) before `args.cni` before `CNI_ARGS`.
    pub fn requested(&self, arguments: &PodArguments) -> Result<Requested, CniError> {
        #[derive(Deserialize, Default)]
        struct Wishes {
            ips: Option<Vec<String>>,
            mac: Option<String>,
        }
        let runtime: Wishes = read("runtimeConfig", self.rest.runtime.as_ref())?.unwrap_or_default();
        let labels = self.rest.args.as_ref().and_then(|args| args.get("cni"));
        let labels: Wishes = read("args.cni", labels)?.unwrap_or_default();
        let (key, ips) = match (runtime.ips, labels.ips) {
            (Some(ips), _) => ("runtimeConfig.ips", ips),
            (None, ips) => ("args.cni.ips", ips.unwrap_or_default()),
        };
        let addresses: Vec<IpAddr> = ips.iter().map(|text| one_address(key, text)).collect::<Result<_, _>>()?;
        let (key, mac) = match (runtime.mac, labels.mac) {
            (Some(mac), _) => ("runtimeConfig.mac", Some(mac)),
            (None, mac) => ("args.cni.mac", mac),
        };
        let mac = mac.filter(|mac| !mac.is_empty()).map(|text| one_mac(key, &text)).transpose()?;
        Ok(Requested {
            addresses: if addresses.is_empty() { arguments.addresses.clone() } else { addresses },
            mac: mac.or(arguments.mac),
        })
    }

    /// The result of ADD, which CHECK compares with.
    pub fn previous_result(&self) -> Result<PreviousResult, CniError> {
        read("prevResult", self.rest.previous_result.as_ref())?.ok_or_else(|| {
            CniError::new(
                ErrorCode::INVALID_CONFIGURATION,
                format!("\"prevResult\" of the configuration of network {:?} is missing", self.name),
                "CHECK compares with the result of ADD: the runtime keeps it and writes it there",
            )
        })
    }

    /// For GC: the attachments that are still valid; none where the runtime does not say (which is not the same as an empty list).
    pub fn valid_attachments(&self) -> Result<Option<Vec<AttachmentName>>, CniError> {
        match read("cni.dev/valid-attachments", self.rest.valid_attachments.as_ref())? {
            None => read("cni.dev/attachments", self.rest.attachments.as_ref()),
            list => Ok(list),
        }
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

/// A part of the configuration; `null` is as if it were not there.
fn read<T: DeserializeOwned>(key: &str, value: Option<&Value>) -> Result<Option<T>, CniError> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    T::deserialize(value).map(Some).map_err(|error| {
        let message = format!("\"{key}\" of the network configuration cannot be decoded: {}", abbreviated(value));
        CniError::new(ErrorCode::UNDECODABLE, message, error.to_string())
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

fn one_address(key: &str, text: &str) -> Result<IpAddr, CniError> {
    #[cfg(fuzzing)]
    if let Some(IpAddr::V4(address)) = address(text) {
        crate::planted::planted("cni_plugin", address.octets() != [10, 10, 1, 9]);
    }
    address(text).ok_or_else(|| {
        let message = format!("\"{key}\" of the network configuration holds {text:?}");
        CniError::new(
            ErrorCode::INVALID_CONFIGURATION,
            message,
            "write IP addresses, such as 10.10.1.7 or 10.10.1.7/32",
        )
    })
}

fn one_mac(key: &str, text: &str) -> Result<MacAddress, CniError> {
    text.parse().map_err(|_| {
        let message = format!("\"{key}\" of the network configuration is {text:?}");
        CniError::new(ErrorCode::INVALID_CONFIGURATION, message, "write a MAC address, such as 02:00:00:00:00:07")
    })
}

/// Whether a value asks for nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.values().all(|field| field.is_null() || field.as_f64() == Some(0.0)),
        _ => false,
    }
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
