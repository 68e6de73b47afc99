//! What CNI attached on this node: which pod holds which addresses behind which interface; pure data.
//!
//! An attachment is *reserved* when the agent has answered a plan and *attached* when the plugin has confirmed it. What is
//! attached survives the agent: it is written in `external_ids` of the pod's OVSDB interface and restored from there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use apis::cni::{
    AddRequest, AddResult, CniError, ConfirmRequest, DelRequest, ErrorCode, MacAddress, Plan, PlannedAddress,
    PlannedRoute, ResultAddress, ResultInterface, ResultRoute,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Ipam, IpamError, gateway, name};

/// What all pods of this node have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodNetwork {
    /// The node's own pod CIDRs.
    pub pod_cidrs: Vec<IpNet>,
    /// The link-layer address of the gateway interface.
    pub gateway_mac: MacAddress,
    /// MTU of pods in bytes.
    pub mtu: u32,
    /// Whether the datapath takes packets with a partial checksum: the kernel's does, the userspace one does not.
    pub transmit_checksum_offload: bool,
}

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
    /// The veth's end on the node.
    pub host_interface: String,
    /// The pod's addresses, at most one a family.
    pub addresses: Vec<IpAddr>,
    /// The link-layer address of the pod's end.
    pub mac: MacAddress,
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
const ADDRESSES: &str = "ferrant-addresses";
const MAC: &str = "ferrant-mac";

impl Attachment {
    /// What to write on the OVSDB interface of the host end.
    pub fn external_ids(&self) -> BTreeMap<String, String> {
        let addresses = self.addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",");
        let pairs = [
            (NAMESPACE, self.namespace.clone()),
            (NAME, self.name.clone()),
            (CONTAINER_ID, self.container_id.clone()),
            (INTERFACE, self.interface.clone()),
            (NETWORK_NAMESPACE, self.network_namespace.to_string_lossy().into_owned()),
            (ADDRESSES, addresses),
            (MAC, self.mac.to_string()),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Reads it back; none when the interface is not a pod's.
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
        let addresses = text(ADDRESSES)?.split(',').map(str::parse).collect::<Result<Vec<_>, _>>();
        Ok(Some(Attachment {
            namespace: text(NAMESPACE)?,
            name: text(NAME)?,
            container_id: text(CONTAINER_ID)?,
            interface: text(INTERFACE)?,
            network_namespace: PathBuf::from(text(NETWORK_NAMESPACE)?),
            host_interface: host_interface.to_owned(),
            addresses: addresses.map_err(|_| invalid(ADDRESSES, "a list of addresses with commas"))?,
            mac: text(MAC)?.parse().map_err(|_| invalid(MAC, "a MAC address"))?,
        }))
    }
}

/// Container id and interface: what the runtime knows an attachment by.
type Key = (String, String);

#[derive(Debug)]
struct Entry {
    attachment: Attachment,
    attached: bool,
}

/// All attachments of this node, and the addresses they hold. The agent's loop owns it.
#[derive(Debug)]
pub struct Attachments {
    network: PodNetwork,
    ipam: Ipam,
    entries: BTreeMap<Key, Entry>,
}

impl Attachments {
    /// None yet.
    pub fn new(network: PodNetwork) -> Attachments {
        Attachments { ipam: Ipam::new(&network.pod_cidrs), network, entries: BTreeMap::new() }
    }

    /// The node's facts changed: pods to come get the new ones, pods that are keep what they have.
    pub fn set_network(&mut self, network: PodNetwork) {
        self.ipam.set_pod_cidrs(&network.pod_cidrs);
        self.network = network;
    }

    /// It is attached since before this agent started.
    pub fn restore(&mut self, attachment: Attachment) {
        attachment.addresses.iter().for_each(|address| self.ipam.hold(*address));
        let key = (attachment.container_id.clone(), attachment.interface.clone());
        self.entries.insert(key, Entry { attachment, attached: true });
    }

    /// Reserves addresses and names for a pod, and says what the plugin has to make. Asked again before the confirmation, it says
    /// the same.
    pub fn plan(&mut self, request: &AddRequest) -> Result<Plan, CniError> {
        let key = (request.container_id.clone(), request.interface.clone());
        if self.entries.get(&key).is_some_and(|entry| entry.attached) {
            return Err(CniError::new(
                ErrorCode::INVALID_ENVIRONMENT,
                format!("CNI_CONTAINERID={} has an interface CNI_IFNAME={} already", key.0, key.1),
                "the runtime has to send DEL before another ADD",
            ));
        }
        if !self.entries.contains_key(&key) {
            let addresses =
                self.ipam.allocate(&request.requested_addresses).map_err(|error| refusal(request, &error))?;
            let attachment = self.attachment(request, addresses);
            self.entries.insert(key.clone(), Entry { attachment, attached: false });
        }
        self.entries.get(&key).map(|entry| self.plan_of(&entry.attachment)).unwrap_or_else(|| Err(unknown(&key)))
    }

    /// The plugin has made the pod's half: from here on it is attached.
    pub fn confirm(&mut self, request: &ConfirmRequest) -> Result<(Attachment, AddResult), CniError> {
        let key = (request.container_id.clone(), request.interface.clone());
        let entry = self.entries.get_mut(&key).ok_or_else(|| unknown(&key))?;
        entry.attached = true;
        let attachment = entry.attachment.clone();
        let plan = self.plan_of(&attachment)?;
        let result = result(&attachment, &plan);
        Ok((attachment, result))
    }

    /// Its addresses are free. Nothing happens where there is none.
    pub fn remove(&mut self, request: &DelRequest) -> Option<Attachment> {
        let key = (request.container_id.clone(), request.interface.clone());
        let entry = self.entries.remove(&key)?;
        self.ipam.release(&entry.attachment.addresses);
        Some(entry.attachment)
    }

    /// One attachment, reserved or attached.
    pub fn get(&self, container_id: &str, interface: &str) -> Option<&Attachment> {
        self.entries.get(&(container_id.to_owned(), interface.to_owned())).map(|entry| &entry.attachment)
    }

    /// How many addresses are held, reserved or attached.
    pub fn addresses(&self) -> usize {
        self.entries.values().map(|entry| entry.attachment.addresses.len()).sum()
    }

    /// All that are attached, by container id and interface.
    pub fn attached(&self) -> impl Iterator<Item = &Attachment> {
        self.entries.values().filter(|entry| entry.attached).map(|entry| &entry.attachment)
    }

    fn attachment(&self, request: &AddRequest, addresses: Vec<IpAddr>) -> Attachment {
        let others = || self.entries.values().map(|entry| &entry.attachment);
        let (container_id, interface) = (&request.container_id, &request.interface);
        let host_interface = unmet(
            |salt| name::host_interface(&request.pod_name, container_id, interface, salt),
            |name| others().any(|other| other.host_interface == *name),
        );
        let mac = unmet(
            |salt| name::pod_mac(&request.pod_namespace, &request.pod_name, container_id, interface, salt),
            |mac| *mac == self.network.gateway_mac || others().any(|other| other.mac == *mac),
        );
        Attachment {
            namespace: request.pod_namespace.clone(),
            name: request.pod_name.clone(),
            container_id: container_id.clone(),
            interface: interface.clone(),
            network_namespace: request.network_namespace.clone(),
            host_interface,
            addresses,
            mac,
        }
    }

    fn plan_of(&self, attachment: &Attachment) -> Result<Plan, CniError> {
        let mut addresses = Vec::new();
        let mut routes = Vec::new();
        for address in &attachment.addresses {
            let Some(cidr) = self.network.pod_cidrs.iter().find(|cidr| cidr.contains(address)) else {
                return Err(CniError::new(
                    ErrorCode::TRY_AGAIN_LATER,
                    format!(
                        "pod {}/{}: {address} is in no pod CIDR of this node any more",
                        attachment.namespace, attachment.name
                    ),
                    "the node's pod CIDRs changed meanwhile",
                ));
            };
            let gateway = gateway(cidr);
            addresses.push(PlannedAddress {
                address: IpNet::from(*address),
                gateway,
                gateway_mac: self.network.gateway_mac,
            });
            let everything =
                if address.is_ipv4() { IpNet::V4(Ipv4Net::default()) } else { IpNet::V6(Ipv6Net::default()) };
            routes.push(PlannedRoute { destination: everything, gateway });
        }
        Ok(Plan {
            host_interface: attachment.host_interface.clone(),
            mac: attachment.mac,
            mtu: self.network.mtu,
            addresses,
            routes,
            transmit_checksum_offload: self.network.transmit_checksum_offload,
        })
    }
}

/// The first name, by rising salt, that nobody has.
fn unmet<T>(make: impl Fn(u32) -> T, taken: impl Fn(&T) -> bool) -> T {
    let mut salt = 0;
    loop {
        let name = make(salt);
        if !taken(&name) {
            return name;
        }
        salt += 1;
    }
}

fn result(attachment: &Attachment, plan: &Plan) -> AddResult {
    let pod = ResultInterface {
        name: attachment.interface.clone(),
        mac: Some(attachment.mac),
        mtu: Some(plan.mtu),
        sandbox: Some(attachment.network_namespace.to_string_lossy().into_owned()),
    };
    let host = ResultInterface { name: plan.host_interface.clone(), mac: None, mtu: Some(plan.mtu), sandbox: None };
    let address = |planned: &PlannedAddress| ResultAddress {
        address: planned.address,
        gateway: Some(planned.gateway),
        interface: Some(0),
    };
    let route =
        |planned: &PlannedRoute| ResultRoute { destination: planned.destination, gateway: Some(planned.gateway) };
    AddResult {
        interfaces: vec![pod, host],
        ips: plan.addresses.iter().map(address).collect(),
        routes: plan.routes.iter().map(route).collect(),
    }
}

fn refusal(request: &AddRequest, error: &IpamError) -> CniError {
    let code = match error {
        IpamError::NoRange => ErrorCode::TRY_AGAIN_LATER,
        IpamError::Exhausted { .. } => ErrorCode::ADDRESSES_EXHAUSTED,
    };
    let message = format!("no address for pod {}/{}", request.pod_namespace, request.pod_name);
    CniError::new(code, message, error.to_string())
}

fn unknown((container_id, interface): &Key) -> CniError {
    CniError::new(
        ErrorCode::TRY_AGAIN_LATER,
        format!("no plan is known for interface {interface} of container {container_id}"),
        "the agent has restarted since it planned, or a DEL came between",
    )
}

#[cfg(test)]
mod tests;
