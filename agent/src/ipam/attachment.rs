//! What CNI attached on this node: which pod holds which addresses behind which interface; pure data.
//!
//! An attachment is *reserved* when the agent has answered a plan and *attached* when the plugin has confirmed it. What is
//! attached survives the agent: it is written in `external_ids` of the pod's OVSDB interface ([`record`]) and, against the loss of
//! the database, on the link itself ([`alias`]), and restored from there.

pub mod alias;
mod answer;
pub mod record;
pub mod restore;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use apis::cni::{AddRequest, AddResult, CniError, ConfirmRequest, DelRequest, MacAddress, Plan};
use ipnet::IpNet;

use super::freed::Record;
use super::{Freed, Ipam, IpamError, name};
pub use record::{Attachment, InvalidExternalIds};

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

/// Container id and interface: what the runtime knows an attachment by.
type Key = (String, String);

/// OpenFlow ports that pods ask for: above those that vswitchd gives by itself, from 1 on, and below `OFPP_MAX` (0xff00).
const FIRST_PORT: u32 = 0x1000;
const LAST_PORT: u32 = 0xfeff;

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
    /// Of the last one that was planned or restored.
    since: u64,
    /// The last port that was asked for.
    port: u32,
}

impl Attachments {
    /// None yet.
    pub fn new(network: PodNetwork) -> Attachments {
        let ipam = Ipam::new(&network.pod_cidrs);
        Attachments { ipam, network, entries: BTreeMap::new(), since: 0, port: LAST_PORT }
    }

    /// The node's facts changed: pods to come get the new ones, pods that are keep what they have.
    pub fn set_network(&mut self, network: PodNetwork) {
        self.ipam.set_pod_cidrs(&network.pod_cidrs);
        self.network = network;
    }

    /// It is attached since before this agent started.
    pub fn restore(&mut self, attachment: Attachment) {
        attachment.addresses.iter().for_each(|address| self.ipam.hold(*address));
        // Numbers go on behind the last one, so that one whose packets may still be under way is not given again at once.
        if attachment.since >= self.since {
            self.since = attachment.since;
            self.port = attachment.port.filter(|port| (FIRST_PORT..=LAST_PORT).contains(port)).unwrap_or(self.port);
        }
        let key = (attachment.container_id.clone(), attachment.interface.clone());
        self.entries.insert(key, Entry { attachment, attached: true });
    }

    /// What an earlier life of the agent gave back, once all that it had attached is restored; `sequence` is the last report of this
    /// life's beginning, `clock` milliseconds since 1970.
    pub fn restore_freed(&mut self, record: &Record, sequence: u64, clock: u64) {
        self.ipam.restore(record, sequence, Instant::now(), clock);
    }

    /// Reserves addresses and names for a pod, and says what the plugin has to make. Asked again before the confirmation, it says
    /// the same. `clock`: milliseconds since 1970.
    ///
    /// # Errors
    /// When it is attached already, or there is no address for it.
    pub fn plan(&mut self, request: &AddRequest, clock: u64) -> Result<Plan, CniError> {
        let key = (request.container_id.clone(), request.interface.clone());
        if let Some(entry) = self.entries.get(&key) {
            return if entry.attached {
                Err(answer::attached_already(&key))
            } else {
                answer::plan(&self.network, &entry.attachment)
            };
        }
        let addresses = self.ipam.allocate(&request.requested_addresses, Instant::now());
        let addresses = addresses.map_err(|error| answer::refusal(request, &error))?;
        self.since = clock.max(self.since + 1);
        let attachment = self.attachment(request, addresses);
        let plan = answer::plan(&self.network, &attachment);
        self.entries.insert(key, Entry { attachment, attached: false });
        plan
    }

    /// The plugin has made the pod's half: from here on it is attached.
    ///
    /// # Errors
    /// When it is not planned.
    pub fn confirm(&mut self, request: &ConfirmRequest) -> Result<(Attachment, AddResult), CniError> {
        let key = (request.container_id.clone(), request.interface.clone());
        let entry = self.entries.get_mut(&key).ok_or_else(|| answer::unknown(&key))?;
        let plan = answer::plan(&self.network, &entry.attachment)?;
        entry.attached = true;
        let result = answer::result(&entry.attachment, &plan);
        Ok((entry.attachment.clone(), result))
    }

    /// What the plugin made for it.
    ///
    /// # Errors
    /// When its addresses are in none of the node's pod CIDRs any more.
    pub fn made(&self, attachment: &Attachment) -> Result<Plan, CniError> {
        answer::plan(&self.network, attachment)
    }

    /// Its addresses are free, and given again once the report of that sequence is [released](Attachments::released); 0 when none
    /// was made. Nothing happens where there is no such attachment.
    pub fn remove(&mut self, request: &DelRequest, sequence: u64) -> Option<Attachment> {
        let key = (request.container_id.clone(), request.interface.clone());
        let entry = self.entries.remove(&key)?;
        self.ipam.free(&entry.attachment.addresses, Freed { sequence, at: Instant::now() });
        Some(entry.attachment)
    }

    /// Every node that mapped the addresses which were reported free up to this sequence has heard of it.
    pub fn released(&mut self, sequence: u64) {
        self.ipam.released(sequence);
    }

    /// How many addresses are free and not released yet.
    pub fn waiting_addresses(&self) -> usize {
        self.ipam.waiting()
    }

    /// Whether another pod could get addresses.
    ///
    /// # Errors
    /// When it could not, with the ranges.
    pub fn room(&self) -> Result<(), IpamError> {
        self.ipam.room(Instant::now())
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

    /// All that are attached, the oldest first: of several of one pod name the last is the pod.
    pub fn by_age(&self) -> Vec<&Attachment> {
        let mut all: Vec<&Attachment> = self.attached().collect();
        all.sort_by_key(|attachment| (attachment.since, &attachment.container_id));
        all
    }

    fn attachment(&mut self, request: &AddRequest, addresses: Vec<IpAddr>) -> Attachment {
        let (container_id, interface) = (&request.container_id, &request.interface);
        let port = self.next_port();
        let others = || self.entries.values().map(|entry| &entry.attachment);
        let host_interface = unmet(
            |salt| name::host_interface(&request.pod_name, container_id, interface, salt),
            |name| others().any(|other| other.host_interface == *name),
        );
        let taken = |mac: &MacAddress| *mac == self.network.gateway_mac || others().any(|other| other.mac == *mac);
        let requested = request.requested_mac.filter(|mac| name::is_for_pods(*mac) && !taken(mac));
        let made = |salt| name::pod_mac(&request.pod_namespace, &request.pod_name, container_id, interface, salt);
        Attachment {
            namespace: request.pod_namespace.clone(),
            name: request.pod_name.clone(),
            container_id: container_id.clone(),
            interface: interface.clone(),
            network_namespace: request.network_namespace.clone(),
            network: request.network.clone(),
            host_interface,
            addresses,
            mac: requested.unwrap_or_else(|| unmet(made, taken)),
            port,
            since: self.since,
        }
    }

    /// The port after the last one that nobody asks for.
    fn next_port(&mut self) -> Option<u32> {
        for _ in FIRST_PORT..=LAST_PORT {
            self.port = if self.port >= LAST_PORT { FIRST_PORT } else { self.port + 1 };
            if !self.entries.values().any(|entry| entry.attachment.port == Some(self.port)) {
                return Some(self.port);
            }
        }
        None
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

#[cfg(test)]
mod tests;
