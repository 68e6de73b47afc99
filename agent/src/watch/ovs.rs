//! The switch's facts: which interfaces the bridge has, with the port numbers that vswitchd gave them, and what of the bridge and
//! its own ports is not as the agent made it.
//!
//! Told whole each time something changed, as the database has it now: a restarted database or vswitchd, a port that came or
//! went, a port that got another number and a hand that changed a setting are all the same event. (The OpenFlow connection tells
//! its own coming and going.)

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
    /// Why vswitchd could not make it, or that it has lost it.
    pub error: Option<String>,
    /// The kernel's number of the device: another number is another device, with nothing of what the old one was given.
    pub device: Option<i64>,
    /// What was written beside it.
    pub external_ids: BTreeMap<String, String>,
}

/// Every interface of the bridge, by name.
pub type Interfaces = BTreeMap<String, InterfaceFact>;

/// What the database says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The interfaces of the bridge.
    pub interfaces: Interfaces,
    /// What of the bridge and its own ports is not as it was made, in words.
    pub wrong: Vec<Wrong>,
}

/// Something that somebody else changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wrong {
    /// What kind of thing.
    pub object: Drifted,
    /// Which, and how.
    pub what: String,
}

/// What may be otherwise than it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drifted {
    /// A flow of the switch.
    Flow,
    /// A group.
    Group,
    /// A meter.
    Meter,
    /// A port of the bridge, or its interface.
    Port,
    /// The bridge, or a setting of it.
    Bridge,
    /// A link, address, route, rule or nft table of the host.
    Host,
}

impl Drifted {
    /// In logs, metrics and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Group => "group",
            Self::Meter => "meter",
            Self::Port => "port",
            Self::Bridge => "bridge",
            Self::Host => "host",
        }
    }
}

/// Tells the database's facts whenever they changed, for as long as somebody takes the events. `wrong` compares.
pub async fn facts(
    client: Client,
    bridge: String,
    wrong: impl Fn(&Cache) -> Vec<Wrong> + Send,
    events: mpsc::Sender<Event>,
) {
    let mut changes = client.changes();
    let mut told = None;
    loop {
        let now = client.read(|cache| Facts { interfaces: read(cache, &bridge), wrong: wrong(cache) });
        if told.as_ref() != Some(&now) {
            if events.send(Event::Facts(now.clone())).await.is_err() {
                return;
            }
            told = Some(now);
        }
        changes.next().await;
    }
}

/// The interfaces that the database's copy has for the bridge.
pub fn read(cache: &Cache, bridge: &str) -> Interfaces {
    interfaces(cache, bridge)
        .map(|interface| {
            #[cfg(fuzzing)]
            apis::planted::planted("ovsdb", interface.ofport.is_some_and(|port| (3..100).contains(&port)));
            // vswitchd keeps the port of a system device that has vanished, and its number.
            let gone = interface.interface_type.is_empty() && interface.ifindex == Some(0);
            let fact = InterfaceFact {
                // −1 is vswitchd's word for an interface that it could not make.
                port: interface.ofport.and_then(|port| u32::try_from(port).ok()).filter(|port| *port > 0 && !gone),
                error: interface.error.or_else(|| gone.then(|| "its device is gone".to_owned())),
                device: interface.ifindex,
                external_ids: interface.external_ids,
            };
            (interface.name, fact)
        })
        .collect()
}

/// Whether an interface of the bridge is written that vswitchd has not made yet, nor said why not.
pub fn has_unmade(cache: &Cache, bridge: &str) -> bool {
    interfaces(cache, bridge).any(|interface| interface.ofport.is_none())
}

fn interfaces(cache: &Cache, bridge: &str) -> impl Iterator<Item = Interface> {
    let ports = cache.named::<Bridge>(bridge).map(|(_, bridge)| bridge.ports).unwrap_or_default();
    let ports = ports.into_iter().filter_map(|port| cache.row::<Port>(port));
    ports.flat_map(|port| port.interfaces).filter_map(|interface| cache.row::<Interface>(interface))
}
