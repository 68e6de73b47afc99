//! The switch's facts: which interfaces the bridge has, with the port numbers that vswitchd gave them.
//!
//! Told whole each time something changed, as the database has it now: a restarted database or vswitchd, a port that came or
//! went and a port that got another number are all the same event. (The OpenFlow connection tells its own coming and going.)

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use crate::event::Event;
use crate::ovs::ovsdb::monitor::Cache;
use crate::ovs::ovsdb::{Bridge, Client, Interface, Port};

/// An interface of the bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceFact {
    /// The OpenFlow port; none while vswitchd has given none.
    pub port: Option<u32>,
    /// Why vswitchd could not make it.
    pub error: Option<String>,
    /// The kernel's number of the device: another number is another device, with nothing of what the old one was given.
    pub device: Option<i64>,
    /// What was written beside it.
    pub external_ids: BTreeMap<String, String>,
}

/// Every interface of the bridge, by name.
pub type Interfaces = BTreeMap<String, InterfaceFact>;

/// Tells what interfaces the bridge has whenever that changed, for as long as somebody takes the events.
pub async fn interfaces(client: Client, bridge: String, events: mpsc::Sender<Event>) {
    let mut changes = client.changes();
    let mut told = None;
    loop {
        let now = client.read(|cache| read(cache, &bridge));
        if told.as_ref() != Some(&now) {
            if events.send(Event::Interfaces(now.clone())).await.is_err() {
                return;
            }
            told = Some(now);
        }
        changes.next().await;
    }
}

/// The interfaces that the database's copy has for the bridge.
pub fn read(cache: &Cache, bridge: &str) -> Interfaces {
    let Some((_, bridge)) = cache.named::<Bridge>(bridge) else {
        return Interfaces::new();
    };
    bridge
        .ports
        .iter()
        .filter_map(|port| cache.row::<Port>(*port))
        .flat_map(|port| port.interfaces)
        .filter_map(|interface| cache.row::<Interface>(interface))
        .map(|interface| {
            let fact = InterfaceFact {
                // −1 is vswitchd's word for an interface that it could not make.
                port: interface.ofport.and_then(|port| u32::try_from(port).ok()).filter(|port| *port > 0),
                error: interface.error,
                device: interface.ifindex,
                external_ids: interface.external_ids,
            };
            (interface.name, fact)
        })
        .collect()
}
