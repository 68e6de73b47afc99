//! The wiring: what runs, and what feeds what. Nothing is decided here.
//!
//! ```text
//!  controllers ═ stream::follow ──┐                       ┌──► order::Worker (ports, links, routes, NAT) ─┐
//!  ovsdb ─────── ovs::interfaces ─┤                       ├──► reexamine::follow (connections)            │
//!  vswitchd ──── switch events ───┼─► inbox ─► turn::Agent┼──► Uplink ══► controllers                     │
//!  kernel ────── host::follow ────┤     ▲                 ├──► tunnel_routes::follow (the switch's routes)│
//!  CNI ───────── serve::cni ──────┤     ▲                 └──► OpenFlow bundles ══► vswitchd              │
//!  people ────── serve::query ────┤     └───────────────────────────────────────────────────────────────┘
//!  clock ─────── ticks ───────────┘
//! ```

#![allow(clippy::disallowed_methods, reason = "a wrapper: the run directory and the metrics' listener")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use apis::cni::DelRequest;
use tokio::sync::mpsc;

use crate::apply::links::{self, Tunnel};
use crate::apply::order::Worker;
use crate::apply::{flow_restore, labels, ports, reexamine, tunnel_routes};
use crate::clock;
use crate::config::{Config, DatapathType, TunnelType};
use crate::event::{Event, SwitchEvent};
use crate::ipam::attachment::{Attachments, PodNetwork, restore as attachment_restore};
use crate::ipam::freed::{self, Record};
use crate::ipam::gateway_mac;
use crate::ledger::store::{Found, Store};
use crate::metrics::Metrics;
use crate::ovs::openflow::{self, Session};
use crate::ovs::ovsdb::monitor::Cache;
use crate::ovs::ovsdb::{Bridge, Client, SwitchError};
use crate::plan;
use crate::serve::{cni, query};
use crate::state::{Changed, State, Version};
use crate::turn::{Agent, Parts, TICK, pod_key, state_of};
use crate::watch::boot;
use crate::watch::certificate::Access;
use crate::watch::detached::Notes;
use crate::watch::journal::Journal;
use crate::watch::stream::{self, Uplink};
use crate::watch::{self};

/// Events that may wait. Whoever sends more waits: frames stay with the controller, requests with who asks.
const INBOX: usize = 256;
/// How long vswitchd and the database may take to be there at start, each time before it is tried again.
const AT_START: Duration = Duration::from_secs(5);

/// Runs the agent until it is told to end.
///
/// # Errors
/// When it cannot start, or its ledger cannot be written.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let metrics = Metrics::default();
    let access = Access::of(&config, &metrics)?;
    std::fs::create_dir_all(&config.run_dir)
        .with_context(|| format!("the run directory {}", config.run_dir.display()))?;
    let boot = boot::draw(&config.run_dir.join("boot"))?;
    let client = Client::start(&config.ovsdb);
    let gateway_mac = gateway_mac(&config.node);
    ready_switch(&client, &config).await;
    let programmed_in = client.read(|cache| ports::epoch(cache, &config.bridge));
    let (store, ledger, found) = Store::open(&config.run_dir.join("ledger"), programmed_in)?;
    if found == Found::NewEpoch {
        tracing::warn!(epoch = ledger.epoch(), "the ledger was lost or is worn: a new epoch, the switch is rewritten");
    }
    // Nothing of an earlier life is here.
    let is_new = found == Found::Nothing && programmed_in.is_none();
    ready_epoch(&client, &config, ledger.epoch()).await;

    let (events, inbox) = mpsc::channel(INBOX);
    let (work, work_inbox) = mpsc::unbounded_channel();
    let (reexamine, reexamine_inbox) = mpsc::unbounded_channel();
    let uplink = Uplink::new(&config.node, boot);
    let datapath = config.datapath.into();
    let network = PodNetwork { pod_cidrs: Vec::new(), gateway_mac, mtu: 0, transmit_checksum_offload: true };
    let (asker, asked_routes) = tunnel_routes::Asker::new();
    let mut parts = Parts {
        state: State::new(&config.node, datapath),
        attachments: Attachments::new(network),
        config: config.clone(),
        uplink: uplink.clone(),
        ledger,
        store,
        detach_first: Vec::new(),
        notes: Notes::in_run_directory(&config.run_dir),
        database: client.watch(),
        work,
        reexamine,
        tunnel_routes: asker,
        metrics: metrics.clone(),
    };
    let netlink = links::connect()?;
    restore(&mut parts, &client, &netlink, is_new).await;
    // Listened to before notes are read: a plugin that could not connect by then has left its note.
    let plugins = listen(&config.run_dir, "cni.sock")?;
    parts.detach_first.extend(parts.notes.read());
    let (journal, frame) = Journal::open(&config.run_dir.join("frames"), &config.node);
    let mut accepted = Version::default();
    if let Some(frame) = frame {
        accepted.clone_from(&frame.version);
        uplink.accepted(&accepted);
        parts.state.take_frame(frame, &mut Changed::default()); // the loop begins with a look at everything
    }

    let epoch = parts.ledger.epoch();
    keep_tunnel_routes(&config, &parts.state, &netlink, asked_routes);
    let worker = Worker::new(client.clone(), config.clone(), tunnel(config.tunnel), netlink, epoch);
    tokio::spawn(ports::work(worker, work_inbox, events.clone()));
    tokio::spawn(reexamine::follow(config.vswitchd_ctl.clone(), reexamine_inbox));
    watch::host::follow(&events).context("cannot be told of the host's changes")?;
    let own = config.clone();
    let wrong = move |cache: &Cache| ports::wrong(cache, &own, gateway_mac);
    tokio::spawn(watch::ovs::facts(client, config.bridge.clone(), wrong, events.clone()));
    let (session, switch_events) = Session::connect(config.ovs_run_dir.join(format!("{}.mgmt", config.bridge)));
    tokio::spawn(tell_switch(session, switch_events, events.clone()));
    tokio::spawn(tick(events.clone()));
    let asked = query::Asked::new(events.clone(), &config.bridge, config.vswitchd_ctl.clone(), metrics.clone());
    serve_metrics(config.metrics, &asked).await?;
    tokio::spawn(query::serve(listen(&config.run_dir, "agent.sock")?, asked));
    tokio::spawn(cni::serve(plugins, events.clone(), metrics));
    let streams =
        stream::follow((config.controllers.clone(), access), config.node.clone(), uplink, journal, accepted, events);
    in_a_thread("controllers", streams)?;
    Ok(Agent::new(parts)?.run(inbox).await?)
}

/// Has the userspace switch given its own routes; the kernel's has the kernel's.
fn keep_tunnel_routes(
    config: &Config,
    state: &State,
    netlink: &rtnetlink::Handle,
    asked: tokio::sync::watch::Receiver<tunnel_routes::Wanted>,
) {
    if config.datapath == DatapathType::Netdev {
        let earlier = plan::tunnel_endpoints(state);
        tokio::spawn(tunnel_routes::follow(netlink.clone(), config.vswitchd_ctl.clone(), earlier, asked));
    }
}

async fn serve_metrics(address: Option<std::net::SocketAddr>, asked: &query::Asked) -> anyhow::Result<()> {
    if let Some(address) = address {
        let listener = tokio::net::TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("--metrics {address}: name a free port of this host"))?;
        tokio::spawn(crate::serve::metrics::serve(listener, asked.clone()));
    }
    Ok(())
}

fn listen(run_dir: &Path, name: &str) -> Result<tokio::net::UnixListener, cni::ListenError> {
    cni::listen(&run_dir.join(name))
}

/// Makes the bridge and its own ports exist, however long the switch takes to be there.
async fn ready_switch(client: &Client, config: &Config) {
    loop {
        let ready = match client.connected(AT_START).await {
            Ok(()) => own_switch(client, config).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match ready {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "the switch is not ready, trying again"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn own_switch(client: &Client, config: &Config) -> Result<(), SwitchError> {
    flow_restore::begin(client, config).await?;
    ports::ensure_switch(client, config, gateway_mac(&config.node)).await
}

/// Writes beside the bridge in which epoch it is programmed: before any flow of that epoch is.
async fn ready_epoch(client: &Client, config: &Config, epoch: u8) {
    while let Err(error) = ports::set_epoch(client, &config.bridge, epoch).await {
        tracing::warn!(%error, "the switch's database does not take the ledger's epoch, trying again");
        tokio::time::sleep(Duration::from_millis(50)).await;
        ready_switch(client, config).await;
    }
}

/// The pods that an earlier life of the agent attached are those written beside the bridge's interfaces, or, where the database
/// was lost, on their links; the loop finds that those have no ports, and has them made again.
async fn restore(parts: &mut Parts, client: &Client, netlink: &rtnetlink::Handle, is_new: bool) {
    let interfaces = client.read(|cache| watch::ovs::read(cache, &parts.config.bridge));
    let links = labels::read(netlink).await;
    if let Err(error) = &links {
        tracing::error!(%error, "links cannot be listed: pods that the database does not know are not found");
    }
    let ids = interfaces.iter().map(|(name, fact)| (name.as_str(), &fact.external_ids));
    let found = attachment_restore::found(ids, links.as_ref().ok());
    for problem in &found.problems {
        tracing::error!(problem, "a pod's interface is not understood and stays closed");
    }
    let ports = found.attached.iter().map(|attachment| interfaces.get(&attachment.host_interface));
    let ports: Vec<_> = ports.map(|fact| fact.map(|fact| fact.port)).collect();
    for (attachment, port) in found.attached.into_iter().zip(ports) {
        let key = pod_key(&attachment);
        parts.uplink.report_pod(&key, &attachment.addresses, attachment.mac.0);
        let pod = state_of(&attachment, port.flatten());
        // The oldest comes first: of two with one name the newest stays.
        parts.state.set_attached(&key, Some(pod), &mut Changed::default());
        if port.is_none() {
            tracing::warn!(interface = attachment.host_interface, pod = %key, "the database does not know this pod, its link does");
        }
        parts.attachments.restore(attachment);
    }
    for attachment in found.gone {
        tracing::warn!(interface = attachment.host_interface, pod = %attachment.pod(), "the pod's link is gone, it is detached");
        let (container_id, interface) = (attachment.container_id.clone(), attachment.interface.clone());
        parts.detach_first.push(DelRequest { container_id, interface });
        parts.attachments.restore(attachment);
    }
    restore_freed(parts, client, is_new).await;
}

/// What an earlier life of the agent gave back last is not given again before the nodes that map it have heard that it is nobody's.
/// Where it is not written down, that is everything but what is attached; on a node that is new, nothing.
async fn restore_freed(parts: &mut Parts, client: &Client, is_new: bool) {
    let (bridge, now) = (&parts.config.bridge, clock::milliseconds());
    let written = client.read(|cache| {
        let (_, row) = cache.named::<Bridge>(bridge)?;
        Record::read(row.external_ids.get(freed::KEY))
    });
    let record = match &written {
        Some(record) => record.clone(),
        None if is_new => Record::default(),
        None => {
            tracing::warn!(
                "it is not known which addresses were freed last: they wait until other nodes have heard of this start"
            );
            Record::lost(now)
        }
    };
    if written.is_none() {
        let ids = BTreeMap::from([(freed::KEY.to_owned(), record.to_string())]);
        if let Err(error) = client.set_bridge_ids(bridge, &ids).await {
            tracing::warn!(%error, "the switch's database does not take which addresses were freed last");
        }
    }
    parts.attachments.restore_freed(&record, parts.uplink.begun(), now);
}

/// Tells the loop of each OpenFlow connection. The session lives as long as this does.
async fn tell_switch(_session: Session, mut from: openflow::Events, events: mpsc::Sender<Event>) {
    loop {
        let event = match from.next().await {
            openflow::Event::Connected(connection) => SwitchEvent::Connected(connection),
            openflow::Event::Disconnected { .. } => SwitchEvent::Disconnected,
            openflow::Event::Port(status) => SwitchEvent::Port(status),
            openflow::Event::Flows(updates) => SwitchEvent::Flows(updates),
            openflow::Event::Lost(_) => SwitchEvent::Missed,
            // No flow sends packets to a controller, and none ages.
            openflow::Event::Packet(_) | openflow::Event::FlowRemoved(_) | openflow::Event::Message(_) => continue,
        };
        if events.send(Event::Switch(event)).await.is_err() {
            return;
        }
    }
}

async fn tick(events: mpsc::Sender<Event>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        // A full inbox has better to do.
        if let Err(mpsc::error::TrySendError::Closed(_)) = events.try_send(Event::Tick) {
            return;
        }
    }
}

fn tunnel(tunnel: TunnelType) -> Tunnel {
    match tunnel {
        TunnelType::Geneve => Tunnel::Geneve,
        TunnelType::Vxlan => Tunnel::Vxlan,
        TunnelType::Gre => Tunnel::Gre,
    }
}

/// Runs beside the loop, which may plan for longer than a keepalive may wait.
fn in_a_thread(name: &str, work: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || runtime.block_on(work)).context("a thread for the controllers' streams")?;
    Ok(())
}
