//! The bridge, its own two ports, and pods' ports: work on the database and on links, done beside the loop.
//!
//! The loop says what to do ([`Work`]) and hears what became of it ([`PortOutcome`]) as an event; port numbers come by
//! `watch::ovs`, as every fact of the switch does. What is asked while work is under way is done together: a hundred pods that
//! start at once are one transaction. The order within a piece of work is [`super::order`]'s.

use std::collections::BTreeMap;
use std::net::IpAddr;

use apis::cni::MacAddress;
use tokio::sync::{mpsc, oneshot};

use super::host::HostFacts;
use crate::config::{Config, TunnelType};
use crate::event::Event;
use crate::ipam::attachment::Attachment;
use crate::ovs::ovsdb::monitor::Cache;
use crate::ovs::ovsdb::switch::{bridge_differences, port_differs};
use crate::ovs::ovsdb::{Bridge, BridgeSpec, Client, Interface, PortSpec, SwitchError};
use crate::watch::ovs::{Drifted, Wrong};

/// Where the bridge's external_ids say in which epoch of the ledger it is programmed.
const EPOCH: &str = "ferrant-epoch";
/// The tunnel's interface.
pub const TUNNEL: &str = "tun0";
/// The gateway's interface.
pub const GATEWAY: &str = "gw0";

/// Something to do to ports or to the host.
#[derive(Debug)]
pub enum Work {
    /// The pod's host end becomes a port.
    Attach(Box<Attachment>),
    /// The pod's port and host end go; its flows are gone already.
    Detach(Box<Attachment>),
    /// Links, routes and NAT are to be so.
    Host(Box<HostWork>),
    /// The same, compared with what is there also when nothing else is wanted than before.
    LookAtHost(Box<HostWork>),
    /// The bridge and its own ports are to be as they were made, and these pods' host ends ports of it.
    Repair(Vec<Attachment>),
    /// The numbers of the switch are of this epoch of the ledger from now on.
    Epoch(u8),
    /// vswitchd is away: the next one may wait ([`super::flow_restore`]).
    SwitchAway,
    /// It has what it needs, and is to wait no more; says when it does not.
    FlowsRestored(oneshot::Sender<Result<(), SwitchError>>),
}

/// How the host is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostWork {
    /// What it depends on.
    pub facts: HostFacts,
    /// The node's own addresses tell which link is the uplink.
    pub addresses: Vec<IpAddr>,
    /// The kernel's number of the gateway's device: a restarted switch makes a new one, which has nothing.
    pub gateway: Option<i64>,
}

/// What became of it.
#[derive(Clone, Debug)]
pub enum PortOutcome {
    /// The host end is a port; its number comes from the switch.
    Attached(Box<Attachment>),
    /// It could not be made one.
    Failed(Box<Attachment>, String),
    /// Port and host end are gone.
    Detached(Box<Attachment>),
    /// The pod's host end does not exist any more, so there is nothing to make a port of.
    Gone(Box<Attachment>),
}

/// The bridge as it should be.
pub fn bridge(config: &Config) -> BridgeSpec {
    BridgeSpec {
        name: config.bridge.clone(),
        datapath_type: config.datapath.name().to_owned(),
        // Flows never age by themselves here, and the switch must not forward on its own.
        other_config: BTreeMap::from([("disable-in-band".to_owned(), "true".to_owned())]),
        external_ids: BTreeMap::from([("ferrant-node".to_owned(), config.node.clone())]),
    }
}

/// The tunnel's port: where packets go is in each packet's own metadata.
pub fn tunnel(tunnel: TunnelType) -> PortSpec {
    let mut options =
        BTreeMap::from([("remote_ip".to_owned(), "flow".to_owned()), ("key".to_owned(), "flow".to_owned())]);
    if tunnel != TunnelType::Gre {
        // Over IPv6 a UDP checksum is required (RFC 8200), over IPv4 it costs little and finds damage.
        options.insert("csum".to_owned(), "true".to_owned());
    }
    PortSpec { name: TUNNEL.to_owned(), interface_type: tunnel.name().to_owned(), options, ..PortSpec::default() }
}

/// The gateway's port. Without an MTU of its own the switch would give it the smallest of the bridge.
pub fn gateway(mac: MacAddress, mtu: Option<u32>) -> PortSpec {
    PortSpec {
        name: GATEWAY.to_owned(),
        interface_type: "internal".to_owned(),
        mac: Some(mac.to_string()),
        mtu_request: mtu,
        ..PortSpec::default()
    }
}

/// A pod's port. What is written beside it is how a restarted agent knows the pod.
pub fn pod(attachment: &Attachment) -> PortSpec {
    PortSpec {
        name: attachment.host_interface.clone(),
        external_ids: attachment.external_ids(),
        ofport_request: attachment.port,
        ..PortSpec::default()
    }
}

/// What of the bridge and its own ports is not as it was made.
pub fn wrong(cache: &Cache, config: &Config, gateway_mac: MacAddress) -> Vec<Wrong> {
    let Some(columns) = bridge_differences(cache, &bridge(config)) else {
        return vec![Wrong { object: Drifted::Bridge, what: format!("bridge {} is gone", config.bridge) }];
    };
    let mut wrong = Vec::new();
    if !columns.is_empty() {
        let what = format!("bridge {}: {}", config.bridge, columns.join(", "));
        wrong.push(Wrong { object: Drifted::Bridge, what });
    }
    let mtu = cache.named::<Interface>(GATEWAY).and_then(|(_, row)| row.mtu_request);
    for port in [tunnel(config.tunnel), gateway(gateway_mac, mtu.and_then(|mtu| u32::try_from(mtu).ok()))] {
        if port_differs(cache, &config.bridge, &port) {
            wrong.push(Wrong { object: Drifted::Port, what: format!("port {}", port.name) });
        }
    }
    wrong
}

/// The epoch of the ledger in which the bridge is programmed; none when it never was.
pub fn epoch(cache: &Cache, bridge: &str) -> Option<u8> {
    cache.named::<Bridge>(bridge)?.1.external_ids.get(EPOCH)?.parse().ok()
}

/// Says in which epoch of the ledger the bridge is programmed.
///
/// # Errors
/// What the database says.
pub async fn set_epoch(client: &Client, bridge: &str, epoch: u8) -> Result<(), SwitchError> {
    client.set_bridge_ids(bridge, &BTreeMap::from([(EPOCH.to_owned(), epoch.to_string())])).await
}

/// Makes the bridge and its own ports exist.
///
/// # Errors
/// What the database, or vswitchd through it, says.
pub async fn ensure_switch(client: &Client, config: &Config, gateway_mac: MacAddress) -> Result<(), SwitchError> {
    client.ensure_bridge(&bridge(config)).await?;
    let mtu = client.read(|cache| cache.named::<Interface>(GATEWAY).and_then(|(_, row)| row.mtu_request));
    let mtu = mtu.and_then(|mtu| u32::try_from(mtu).ok());
    client.change_ports(&config.bridge, &[tunnel(config.tunnel), gateway(gateway_mac, mtu)], &[]).await
}

/// Does work until nobody asks any more.
pub async fn work(
    mut worker: super::order::Worker,
    mut inbox: mpsc::UnboundedReceiver<Work>,
    events: mpsc::Sender<Event>,
) {
    let mut batch = Vec::new();
    while inbox.recv_many(&mut batch, 1024).await > 0 {
        for event in worker.run(std::mem::take(&mut batch)).await {
            if events.send(event).await.is_err() {
                return;
            }
        }
    }
}
