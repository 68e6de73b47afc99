//! The order in which the switch and the host are changed. Nothing else decides order.
//!
//! A flow may be added only when all it names exists, and removed before what it names goes. Read it as a packet would:
//! nothing may send a packet to a place that is not ready, and nothing may enter by a door that is not guarded.
//!
//! ```text
//!  a pod comes   the node's kernel is closed on its interface (netdev) ─► interface up ─► port ─┬► answer
//!                flows, for the port number that it asks for and nobody has (closed without them) ─► realised ─┘
//!  a pod goes    flows ─► realised ─► port ─► kernel opened, interface removed ─► address free
//!  a hand was here the bridge and its own ports ─► as a pod that comes; links, routes, NAT compared whole
//!  vswitchd is away  a port that goes ends what is left to the kernel; one that comes waits for that ([`super::flow_restore`])
//!  flows change  [`super::delta`]: one bundle, or what closes ─► realised ─► what opens
//! ```
//!
//! (Meters and groups, when a feature brings them: meters first, since a bundle can not hold them, then groups, then flows, and
//! back in the opposite order: so what somebody else left goes, [`unwanted`].)

use std::collections::{BTreeMap, BTreeSet};

use openflow::{EncodeError, EncodedFlow, FlowCommand, Group, GroupMod, Message, Meter, MeterMod};
use ovs_pipeline::Datapath;

use super::delta::Change;
use super::flow_restore::FlowRestore;
use super::flows::Flows;
use super::host::{self, HostFacts};
use super::ports::{self, HostWork, PortOutcome, Work};
use super::{labels, links, nat};
use crate::clock;
use crate::config::Config;
use crate::event::Event;
use crate::ipam::attachment::Attachment;
use crate::ipam::freed::{self, Record};
use crate::ipam::gateway_mac;
use crate::ovs::openflow::Batch;
use crate::ovs::ovsdb::Client;
use crate::watch::ovs::Drifted;

/// Does what is asked of ports and of the host, in order.
#[derive(Debug)]
pub struct Worker {
    client: Client,
    config: Config,
    datapath: Datapath,
    tunnel: links::Tunnel,
    netlink: rtnetlink::Handle,
    netfilter: nat::Netfilter,
    /// The facts that the host was last made to obey.
    host: Option<HostWork>,
    /// The ledger's, which the bridge's row has to name.
    epoch: u8,
    flow_restore: FlowRestore,
}

impl Worker {
    /// A worker that knows nothing of the host yet.
    pub fn new(client: Client, config: Config, tunnel: links::Tunnel, netlink: rtnetlink::Handle, epoch: u8) -> Self {
        let netfilter = nat::Netfilter::default();
        let flow_restore = FlowRestore::new(client.clone(), config.clone());
        let datapath = config.datapath.into();
        Self { client, config, datapath, tunnel, netlink, netfilter, host: None, epoch, flow_restore }
    }

    /// Does all of it; what became of it.
    pub async fn run(&mut self, work: Vec<Work>) -> Vec<Event> {
        let mut events = Vec::new();
        let (mut attach, mut detach, mut facts, mut look, mut repair) = (Vec::new(), Vec::new(), None, false, None);
        let mut restored = None;
        for piece in work {
            match piece {
                Work::Attach(attachment) => attach.push(*attachment),
                Work::Detach(attachment) => detach.push(*attachment),
                Work::Host(wanted) => facts = Some(*wanted),
                Work::LookAtHost(wanted) => (facts, look) = (Some(*wanted), true),
                Work::Repair(pods) => repair = Some(pods),
                Work::Epoch(epoch) => {
                    self.epoch = epoch;
                    self.name_epoch().await;
                }
                Work::SwitchAway => {
                    self.flow_restore.switch_is_away().await;
                    restored = None;
                }
                Work::FlowsRestored(answer) => restored = Some(answer),
            }
        }
        if let Some(answer) = restored {
            // Whoever asked may have gone with its switch.
            let _ = answer.send(self.flow_restore.end().await);
        }
        // What was asked for after the repair holds.
        if let Some(mut pods) = repair {
            pods.retain(|pod| !detach.contains(pod));
            events.extend(self.repair(pods).await);
        }
        // The host first: its facts may be older than what is asked of ports, never newer.
        if let Some(wanted) = facts {
            events.extend(self.look_at_host(wanted, look).await);
        }
        self.flow_restore.before_ports_go(&detach).await;
        let attach = self.flow_restore.hold_back(attach);
        let (ready, mut outcomes) = self.close_and_raise(attach).await;
        outcomes.extend(self.exchange_ports(ready, detach).await);
        events.extend(outcomes.into_iter().map(Event::Ports));
        events
    }

    /// Makes the bridge and its own ports as they were, then those pods ports whose host ends are there.
    async fn repair(&mut self, pods: Vec<Attachment>) -> Vec<Event> {
        self.flow_restore.before_ports_are_written().await;
        if let Err(error) = ports::ensure_switch(&self.client, &self.config, gateway_mac(&self.config.node)).await {
            // It is tried again as long as it is not as it was made.
            tracing::warn!(%error, "the bridge cannot be made as it was");
            return Vec::new();
        }
        self.name_epoch().await;
        let (mut there, mut outcomes) = (Vec::new(), Vec::new());
        for pod in pods {
            match links::exists(&self.netlink, &pod.host_interface).await {
                Ok(false) => outcomes.push(PortOutcome::Gone(Box::new(pod))),
                Ok(true) | Err(_) => there.push(pod), // what does not work is told by the next step
            }
        }
        let there = self.flow_restore.hold_back(there);
        let (ready, failed) = self.close_and_raise(there).await;
        outcomes.extend(failed);
        outcomes.extend(self.exchange_ports(ready, Vec::new()).await);
        outcomes.into_iter().map(Event::Ports).collect()
    }

    /// Should this fail, the file beside the ledger still knows the epoch.
    async fn name_epoch(&self) {
        if let Err(error) = ports::set_epoch(&self.client, &self.config.bridge, self.epoch).await {
            tracing::warn!(%error, "the switch's database does not take the ledger's epoch");
        }
    }

    async fn look_at_host(&mut self, wanted: HostWork, look: bool) -> Vec<Event> {
        let before = self.host.take_if(|_| look);
        let outcome = self.obey(wanted).await;
        // With other facts than before, pods come or go, and what is done is the agent's own work.
        let same = before.is_some() && before == self.host;
        let (outcome, changed) = match outcome {
            Ok((mtu, changed)) => (Ok(mtu), changed),
            Err(error) => (Err(error), Vec::new()),
        };
        let mut events = Vec::new();
        if same && !changed.is_empty() {
            events.push(Event::Drift(Drifted::Host, changed));
        } else {
            changed.iter().for_each(|line| tracing::debug!("{line}"));
            if !changed.is_empty() {
                tracing::info!(changes = changed.len(), "links, routes and NAT are as planned");
            }
        }
        events.push(Event::Host(outcome));
        events
    }

    /// Closes the node's kernel on the interfaces, then brings them up; those that are ready, and what failed.
    async fn close_and_raise(&mut self, attach: Vec<Attachment>) -> (Vec<Attachment>, Vec<PortOutcome>) {
        let (mut ready, mut failed) = (Vec::new(), Vec::new());
        let closed = self.close(attach.iter().map(|attachment| attachment.host_interface.clone()).collect()).await;
        for (attachment, closed) in attach.into_iter().zip(closed) {
            let raised = match closed {
                Ok(()) => {
                    let label = attachment.label();
                    let promiscuous = self.datapath == Datapath::Netdev;
                    let raised = labels::bring_up(&self.netlink, &attachment.host_interface, &label, promiscuous);
                    raised.await.map_err(|error| error.to_string())
                }
                Err(error) => Err(error),
            };
            match raised {
                Ok(()) => ready.push(attachment),
                Err(error) => failed.push(PortOutcome::Failed(Box::new(attachment), error)),
            }
        }
        (ready, failed)
    }

    /// Closes the node's kernel on interfaces, in one go; where one of them cannot be closed, each for itself.
    async fn close(&self, interfaces: Vec<String>) -> Vec<Result<(), String>> {
        if self.datapath == Datapath::System
            || interfaces.is_empty()
            || nat::close(&self.netfilter, &interfaces).await.is_ok()
        {
            return interfaces.iter().map(|_| Ok(())).collect();
        }
        let mut outcomes = Vec::new();
        for interface in interfaces {
            outcomes.push(nat::close(&self.netfilter, &[interface]).await.map_err(|error| error.to_string()));
        }
        outcomes
    }

    /// Ports come and go in one transaction; then the interfaces of those that went.
    async fn exchange_ports(&mut self, attach: Vec<Attachment>, detach: Vec<Attachment>) -> Vec<PortOutcome> {
        let mut outcomes = Vec::new();
        if attach.is_empty() && detach.is_empty() {
            return outcomes;
        }
        let ensure: Vec<_> = attach.iter().map(ports::pod).collect();
        let remove: Vec<_> = detach.iter().map(|attachment| attachment.host_interface.clone()).collect();
        let freed = |ids: &BTreeMap<String, String>| record_with(&detach, ids);
        let changed = self.client.exchange_ports(&self.config.bridge, &ensure, &remove, freed).await;
        let changed = changed.map_err(|error| error.to_string());
        for attachment in attach {
            outcomes.push(match &changed {
                Ok(()) => PortOutcome::Attached(Box::new(attachment)),
                Err(error) => PortOutcome::Failed(Box::new(attachment), error.clone()),
            });
        }
        for attachment in detach {
            outcomes.push(self.remove_interface(attachment, changed.clone()).await);
        }
        outcomes
    }

    async fn remove_interface(&mut self, attachment: Attachment, port_removed: Result<(), String>) -> PortOutcome {
        let interface = &attachment.host_interface;
        let opened = match (port_removed, self.datapath) {
            (Err(error), _) => Err(error),
            (Ok(()), Datapath::Netdev) => {
                nat::open(&self.netfilter, interface).await.map_err(|error| error.to_string())
            }
            (Ok(()), Datapath::System) => Ok(()),
        };
        let removed = match opened {
            Ok(()) => links::remove(&self.netlink, interface).await.map(drop).map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => PortOutcome::Detached(Box::new(attachment)),
            Err(error) => PortOutcome::Failed(Box::new(attachment), error),
        }
    }

    /// Links, routes and NAT as planned; the MTU that pods are to have, and what was changed.
    async fn obey(&mut self, mut wanted: HostWork) -> Result<(u32, Vec<String>), String> {
        let HostWork { facts, addresses, .. } = &mut wanted;
        let uplink = links::uplink(&self.netlink, addresses).await.map_err(|error| error.to_string())?;
        let Some(uplink) = uplink else {
            return Err(format!(
                "no interface of this node has one of the addresses that the cluster knows it by ({addresses:?}); \
                 correct the Node's InternalIP, or give the address to an interface"
            ));
        };
        facts.mtu = links::pod_mtu(uplink.mtu, self.tunnel, uplink.address);
        facts.uplink = Some(uplink.name);
        // Which interfaces are closed is kept step by step as pods come and go; the rest is compared whole.
        let closed_only = self.host.as_ref().is_some_and(|before| but_closed(before) == but_closed(&wanted));
        let (facts, mut changed) = (&wanted.facts, Vec::new());
        if !closed_only {
            let gateway = ports::gateway(facts.gateway_mac, Some(facts.mtu));
            self.client.ensure_port(&self.config.bridge, &gateway).await.map_err(|error| error.to_string())?;
            changed = host::reconcile(&self.netlink, &host::host(facts)).await.map_err(|error| error.to_string())?;
        }
        let mtu = facts.mtu;
        self.host = Some(wanted);
        Ok((mtu, changed))
    }
}

/// Without the interfaces that are closed, which come and go with pods.
fn but_closed(work: &HostWork) -> HostWork {
    let facts = HostFacts { closed_interfaces: BTreeSet::new(), ..work.facts.clone() };
    HostWork { facts, ..work.clone() }
}

/// What is written beside the bridge of freed addresses, once these pods are gone too.
fn record_with(detach: &[Attachment], ids: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    if detach.is_empty() {
        return BTreeMap::new();
    }
    let now = clock::milliseconds();
    let mut record = Record::read(ids.get(freed::KEY)).unwrap_or_else(|| Record::lost(now));
    record.add(detach.iter().flat_map(|pod| pod.addresses.iter().copied()), now);
    BTreeMap::from([(freed::KEY.to_owned(), record.to_string())])
}

/// The messages that take away what nobody wants: groups before meters, after the flows that use them.
///
/// # Errors
/// Never for what a switch has told.
pub fn unwanted(groups: &[Group], meters: &[Meter]) -> Result<Batch, EncodeError> {
    let mut batch = Batch::new();
    for group in groups {
        batch.push_message(&Message::GroupMod(GroupMod::Delete(group.id)))?;
    }
    for meter in meters {
        batch.push_message(&Message::MeterMod(MeterMod::Delete(meter.id)))?;
    }
    Ok(batch)
}

/// Appends the message of one flow's change; the command it carries.
///
/// # Errors
/// When it is longer than a message may be; `out` is then as it was.
pub fn message(flows: &Flows, change: Change, out: &mut Vec<u8>) -> Result<FlowCommand, EncodeError> {
    let (id, command) = match change {
        Change::Put(id) => (id, FlowCommand::Add),
        Change::Delete(id) => (id, FlowCommand::DeleteStrict),
    };
    let Some(key) = flows.key(id) else {
        return Err(EncodeError::Invalid { what: "flow", problem: "forgotten before its change was sent" });
    };
    let instructions = flows.instructions(id)?;
    EncodedFlow::new(key.table, key.priority, key.oxm, &instructions).encode(command, 0, out)?;
    Ok(command)
}
