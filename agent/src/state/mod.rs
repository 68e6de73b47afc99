//! What this node knows: what the controller says, which pods are attached, which ports the switch has.
//!
//! Changed by one loop only, one event at a time; everything to the right of it (`plan`, `apply`, `report`, `serve`) is a
//! function of it and of the ledger. How it came about is not in it.

pub mod changed;
pub mod endpoints;
pub mod frame;
pub mod name;
pub mod object;
pub mod upstream;
pub mod wire;

use std::collections::BTreeMap;
use std::net::IpAddr;

pub use changed::Changed;
pub use frame::{Body, Frame, Version};
use hashbrown::HashMap;
pub use name::{GroupId, IdentityId, IsolationId, PodKey, RuleId};
pub use object::Addresses;
use ovs_pipeline::Datapath;
pub use upstream::Upstream;

/// What this node knows.
#[derive(Debug)]
pub struct State {
    /// This node's name.
    pub node: Box<str>,
    /// What kind of datapath its bridge has.
    pub datapath: Datapath,
    /// What the controller says.
    pub upstream: Upstream,
    /// The last complete frame; `None`: no controller has spoken yet, and nothing stale may be removed.
    pub frame: Option<FrameName>,
    /// The pods attached to the switch.
    attached: BTreeMap<PodKey, Attached>,
    /// Their addresses.
    attached_at: HashMap<IpAddr, PodKey>,
    /// The switch's own ports.
    pub ports: SwitchPorts,
}

/// Which frame a state is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameName {
    /// The controller's number.
    pub number: u64,
    /// What the frame was computed from.
    pub version: Version,
    /// Which of this agent's streams brought it; 0: none, it was kept on disk.
    pub stream: u64,
}

/// The OpenFlow ports of the interfaces that are not pods'.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwitchPorts {
    /// The tunnel interface's.
    pub tunnel: Option<u32>,
    /// The gateway interface's, with its link address.
    pub gateway: Option<(u32, [u8; 6])>,
}

/// A pod that the CNI plugin attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The host end of its interface.
    pub interface: String,
    /// Its OpenFlow port; `None` until the switch has given one.
    pub port: Option<u32>,
    /// The link address of its own end.
    pub mac: [u8; 6],
    /// Its addresses.
    pub addresses: Addresses,
    /// The container runtime's id of its sandbox.
    pub container: String,
}

impl State {
    /// Nothing known yet but the node's own name and datapath.
    pub fn new(node: &str, datapath: Datapath) -> Self {
        Self {
            node: node.into(),
            datapath,
            upstream: Upstream::new(node),
            frame: None,
            attached: BTreeMap::new(),
            attached_at: HashMap::new(),
            ports: SwitchPorts::default(),
        }
    }

    /// This node, as the controller describes it.
    pub fn own(&self) -> Option<&object::Node> {
        self.upstream.nodes.get(&self.node)
    }

    /// Takes a complete frame.
    pub fn take_frame(&mut self, frame: Frame, changed: &mut Changed) {
        match frame.body {
            Body::Replace(upstream) => {
                self.upstream = *upstream;
                changed.everything = true;
            }
            Body::Update(changes) => {
                for change in changes {
                    self.upstream.apply(change, changed);
                }
            }
        }
        // With the first frame every closed pod is looked at again.
        changed.everything |= self.frame.is_none();
        self.frame = Some(FrameName { number: frame.number, version: frame.version, stream: frame.stream });
    }

    /// The switch's ports are these now.
    pub fn set_ports(&mut self, ports: SwitchPorts, changed: &mut Changed) {
        if self.ports != ports {
            self.ports = ports;
            changed.ports = true;
        }
    }

    /// A pod is attached so, or (`None`) not at all.
    pub fn set_attached(&mut self, key: &PodKey, attached: Option<Attached>, changed: &mut Changed) {
        let old = match attached.clone() {
            Some(pod) => self.attached.insert(key.clone(), pod),
            None => self.attached.remove(key),
        };
        if old == attached {
            return;
        }
        changed.pods.insert(key.clone());
        for address in old.iter().flat_map(|pod| pod.addresses.iter()) {
            self.attached_at.remove(&address);
            changed.addresses.insert(address);
        }
        for address in attached.iter().flat_map(|pod| pod.addresses.iter()) {
            self.attached_at.insert(address, key.clone());
            changed.addresses.insert(address);
        }
    }

    /// The pods attached to the switch, by name.
    pub fn attached(&self) -> &BTreeMap<PodKey, Attached> {
        &self.attached
    }

    /// The pod of this node that has an address.
    pub fn attached_at(&self, address: IpAddr) -> Option<&PodKey> {
        self.attached_at.get(&address)
    }

    /// Who has an address: this node's own word counts for its own pods, the controller's for all others. An address that
    /// two pods of different identities claim is nobody's.
    pub fn identity_at(&self, address: IpAddr) -> Option<IdentityId> {
        if let Some(key) = self.attached_at(address) {
            return self
                .upstream
                .endpoints
                .get(key)
                .filter(|endpoint| endpoint.local)
                .map(|endpoint| endpoint.identity);
        }
        let mut claims =
            self.upstream.endpoints.at(address).filter(|endpoint| !endpoint.local).map(|found| found.identity);
        let first = claims.next()?;
        claims.all(|other| other == first).then_some(first)
    }
}
