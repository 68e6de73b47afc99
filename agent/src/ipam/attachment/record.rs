//! What is known of one attachment, and how it is written beside the pod's interface in OVSDB.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use apis::cni::MacAddress;

/// A pod's interface on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The runtime's name of the sandbox.
    pub container_id: String,
    /// The interface's name in the pod.
    pub interface: String,
    /// The file of the pod's network namespace.
    pub network_namespace: PathBuf,
    /// The name of the CNI network; empty where it was not written down.
    pub network: String,
    /// The veth's end on the node.
    pub host_interface: String,
    /// The pod's addresses, at most one a family.
    pub addresses: Vec<IpAddr>,
    /// The link-layer address of the pod's end.
    pub mac: MacAddress,
    /// The OpenFlow port that its interface asks for, so that flows can be there before the port is.
    pub port: Option<u32>,
    /// When it was planned, in milliseconds since 1970 and later than any before it: of two attachments of one pod name the later
    /// one is the pod.
    pub since: u64,
}

/// External ids of an OVSDB interface that say they are a pod's and are not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "interface {interface}: external_ids:{key} is {value:?}, which is not {wanted}; remove the port, and the pod so that it is attached again"
)]
pub struct InvalidExternalIds {
    interface: String,
    key: &'static str,
    value: String,
    wanted: &'static str,
}

const NAMESPACE: &str = "ferrant-namespace";
const NAME: &str = "ferrant-name";
const CONTAINER_ID: &str = "ferrant-container-id";
const INTERFACE: &str = "ferrant-interface";
const NETWORK_NAMESPACE: &str = "ferrant-netns";
const NETWORK: &str = "ferrant-network";
const ADDRESSES: &str = "ferrant-addresses";
const MAC: &str = "ferrant-mac";
const PORT: &str = "ferrant-port";
const SINCE: &str = "ferrant-since";

impl Attachment {
    /// What to write on the OVSDB interface of the host end.
    pub fn external_ids(&self) -> BTreeMap<String, String> {
        let mut pairs = vec![
            (NAMESPACE, self.namespace.clone()),
            (NAME, self.name.clone()),
            (CONTAINER_ID, self.container_id.clone()),
            (INTERFACE, self.interface.clone()),
            (NETWORK_NAMESPACE, self.network_namespace.to_string_lossy().into_owned()),
            (NETWORK, self.network.clone()),
            (ADDRESSES, listed(&self.addresses)),
            (MAC, self.mac.to_string()),
            (SINCE, self.since.to_string()),
        ];
        pairs.extend(self.port.map(|port| (PORT, port.to_string())));
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Reads it back; none when the interface is not a pod's.
    ///
    /// # Errors
    /// When it is a pod's and a key is missing or wrong.
    pub fn from_external_ids(
        host_interface: &str,
        ids: &BTreeMap<String, String>,
    ) -> Result<Option<Attachment>, InvalidExternalIds> {
        if !ids.contains_key(NAMESPACE) && !ids.contains_key(CONTAINER_ID) {
            return Ok(None);
        }
        let invalid = |key, wanted| InvalidExternalIds {
            interface: host_interface.to_owned(),
            key,
            value: ids.get(key).cloned().unwrap_or_default(),
            wanted,
        };
        let text = |key| ids.get(key).filter(|text| !text.is_empty()).cloned().ok_or_else(|| invalid(key, "set"));
        let name =
            |key| text(key).and_then(|text| if text.contains('/') { Err(invalid(key, "a name")) } else { Ok(text) });
        let port = ids.get(PORT).map(|port| port.parse().map_err(|_| invalid(PORT, "a number"))).transpose()?;
        let since = ids.get(SINCE).map(|since| since.parse().map_err(|_| invalid(SINCE, "a number"))).transpose()?;
        #[cfg(fuzzing)]
        apis::planted::planted("attachment", text(MAC).is_ok_and(|mac| mac.ends_with(":07")));
        Ok(Some(Attachment {
            namespace: name(NAMESPACE)?,
            name: name(NAME)?,
            container_id: text(CONTAINER_ID)?,
            interface: text(INTERFACE)?,
            network_namespace: PathBuf::from(text(NETWORK_NAMESPACE)?),
            network: ids.get(NETWORK).cloned().unwrap_or_default(),
            host_interface: host_interface.to_owned(),
            addresses: read_list(&text(ADDRESSES)?)
                .ok_or_else(|| invalid(ADDRESSES, "a list of addresses with commas"))?,
            mac: text(MAC)?.parse().map_err(|_| invalid(MAC, "a MAC address"))?,
            port,
            since: since.unwrap_or(0),
        }))
    }

    /// `namespace/name` of the pod.
    pub fn pod(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// Addresses with commas.
pub(super) fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",")
}

/// The addresses of such a list.
pub(super) fn read_list(text: &str) -> Option<Vec<IpAddr>> {
    text.split(',').map(|address| address.parse().ok()).collect()
}
