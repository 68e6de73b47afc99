//! Pods come and go: what the CNI plugin asks, and when it is answered.
//!
//! ADD is a plan ([`attach`]), which waits for nothing of the switch; the pod's flows are sent while the plugin makes its half.
//! Confirm makes the pod's host end a port and is answered once the switch obeys flows for a pod that the controller knows, or, after
//! a bounded wait, with success and the pod closed, which is then told as a failure. DEL ([`detach`]) is answered when flows, port and
//! interface are gone; only then may its addresses be given to another. CHECK, GC and STATUS ([`inspect`]) are answered from what is known.
//!
//! A plugin asks on one connection, a *session*. While the session of an ADD lasts, its container's interface is *busy*: another ADD
//! for it waits. A session that ends before its confirmation was answered is a plugin that was killed: all is taken back.

mod attach;
mod detach;
mod inspect;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use apis::cni::{AddRequest, AddResult, CniError, DelRequest, ErrorCode, Plan};
use tokio::sync::oneshot;

use super::Agent;
use crate::apply::ports::{GATEWAY, PortOutcome, TUNNEL};
use crate::ipam::attachment::Attachment;
use crate::ipam::gateway_mac;
use crate::serve::cni::{CniRequest, Session};
use crate::state::{Addresses, Attached, PodKey, SwitchPorts};
use crate::watch::ovs::{InterfaceFact, Interfaces};

/// How long an ADD waits for what it needs before it can be planned: the node's description, a released address, another call.
const PLAN_WITHIN: Duration = Duration::from_secs(10);
/// How long a pod waits for the controller to say who it is.
const IDENTITY_WITHIN: Duration = Duration::from_secs(2);
/// How long a pod waits for its port and flows before the plugin is told to roll back.
const PORT_WITHIN: Duration = Duration::from_secs(20);
/// How long a DEL waits for the switch and its database before it is answered with success and done later.
const DETACH_WITHIN: Duration = Duration::from_secs(5);
/// Between a failed detachment and the next attempt.
const RETRY: Duration = Duration::from_secs(1);

/// Who waits for what.
#[derive(Debug, Default)]
pub struct Waiting {
    adds: Vec<Add>,
    confirms: Vec<Confirm>,
    deletes: Vec<Delete>,
    /// ADDs that were planned and whose plugins are still there.
    sessions: BTreeMap<Session, Begun>,
    /// Pods that were answered before the controller had said who they are.
    late: BTreeSet<PodKey>,
    /// The interfaces of the bridge as they were last told.
    interfaces: Interfaces,
    /// Ports that the switch has said it added for those that wait, until the database names them too.
    added: BTreeMap<String, u32>,
}

#[derive(Debug)]
struct Add {
    request: AddRequest,
    session: Session,
    since: Instant,
    answer: oneshot::Sender<Result<Plan, CniError>>,
}

#[derive(Debug)]
struct Begun {
    attachment: Attachment,
    /// When its plan was answered.
    planned: Instant,
}

#[derive(Debug)]
struct Confirm {
    key: PodKey,
    attachment: Attachment,
    session: Session,
    result: AddResult,
    since: Instant,
    /// When the switch was seen to have the port, and to obey the flows.
    port: Option<Instant>,
    flows: Option<Instant>,
    answer: oneshot::Sender<Result<AddResult, CniError>>,
}

#[derive(Debug)]
struct Delete {
    request: DelRequest,
    attachment: Attachment,
    /// The worker was asked to take port and interface away.
    handed_on: bool,
    /// When it could not.
    failed: Option<(Instant, String)>,
    since: Instant,
    answers: Vec<oneshot::Sender<Result<(), CniError>>>,
}

impl Waiting {
    /// The kernel's number of the gateway's device.
    pub(super) fn gateway_device(&self) -> Option<i64> {
        self.interfaces.get(GATEWAY).and_then(|fact| fact.device)
    }

    /// An interface of the bridge as it was last told.
    pub(super) fn interface(&self, name: &str) -> Option<&InterfaceFact> {
        self.interfaces.get(name)
    }

    /// Whether DEL of the pod is under way.
    pub(super) fn is_leaving(&self, pod: &Attachment) -> bool {
        self.deletes.iter().any(|waiting| waiting.attachment == *pod)
    }

    /// Whether ADD of the pod is under way, and not for longer than this.
    pub(super) fn arrived_within(&self, pod: &Attachment, time: Duration) -> bool {
        let of = |confirm: &&Confirm| confirm.attachment == *pod;
        self.confirms.iter().find(of).is_some_and(|confirm| confirm.since.elapsed() < time)
    }

    /// The switch has added a port; which counts for whoever waits for one. (A device that has vanished keeps its port, and a port
    /// that was there before may be that of such a device.)
    pub(super) fn port_added(&mut self, number: u32, interface: &str) {
        if self.confirms.iter().any(|confirm| confirm.attachment.host_interface == interface) {
            self.added.insert(interface.to_owned(), number);
        }
    }

    /// The port that an interface asks for, while its ADD is under way and no other has it.
    fn asked_port(&self, interface: &str) -> Option<u32> {
        let mut coming = self.sessions.values().map(|begun| &begun.attachment);
        let attachment = coming.find(|attachment| attachment.host_interface == interface)?;
        let others =
            |port: &u32| self.interfaces.iter().any(|(name, fact)| name != interface && fact.port == Some(*port));
        attachment.port.filter(|port| !others(port))
    }
}

/// The pod that an attachment is of.
pub fn pod_key(attachment: &Attachment) -> PodKey {
    PodKey::new(&attachment.namespace, &attachment.name)
}

/// An attachment as the state knows it.
pub fn state_of(attachment: &Attachment, port: Option<u32>) -> Attached {
    Attached {
        interface: attachment.host_interface.clone(),
        port,
        mac: attachment.mac.0,
        addresses: attachment.addresses.iter().copied().collect::<Addresses>(),
        container: attachment.container_id.clone(),
    }
}

/// What the runtime knows an attachment by.
fn name_of(attachment: &Attachment) -> DelRequest {
    DelRequest { container_id: attachment.container_id.clone(), interface: attachment.interface.clone() }
}

/// An interface that cannot be as wanted now.
fn not_now(attachment: &Attachment, why: impl Into<String>) -> CniError {
    let message = format!("interface {} of pod {}", attachment.host_interface, attachment.pod());
    CniError::new(ErrorCode::TRY_AGAIN_LATER, message, why)
}

impl Agent {
    pub(super) fn take_cni(&mut self, request: CniRequest) {
        // Whoever asked may have gone; what it asked for is then taken back when its session ends.
        match request {
            CniRequest::Add(request, session, answer) => {
                self.add(Add { request, session, since: Instant::now(), answer });
            }
            CniRequest::Confirm(request, session, answer) => self.confirm(&request, session, answer),
            CniRequest::Delete(request, answer) => self.delete(request, answer),
            CniRequest::Check(request, answer) => _ = answer.send(self.check(&request)),
            CniRequest::Collect(request, answer) => self.collect(request, answer),
            CniRequest::Status(answer) => _ = answer.send(self.status()),
            CniRequest::Ended { session, confirmed } => self.ended(session, confirmed),
        }
    }

    /// An interface's port, from the database or, a moment earlier, from the switch. A number counts once the switch itself knows
    /// the port by it.
    fn known_port(&self, interface: &str) -> Option<u32> {
        let named = self.waiting.interface(interface).and_then(|fact| fact.port);
        let port = named.or_else(|| self.waiting.added.get(interface).copied())?;
        self.switch.has_port(port, interface).then_some(port)
    }

    /// A pod's port; while it is about to be made, the one it asks for, so that its flows are there before it.
    fn pod_port(&self, interface: &str) -> Option<u32> {
        self.known_port(interface).or_else(|| self.waiting.asked_port(interface))
    }

    /// The bridge has these interfaces now.
    pub(super) fn take_interfaces(&mut self, interfaces: Interfaces) {
        let named =
            |name: &String| interfaces.get(name).is_some_and(|fact| fact.port.is_some() || fact.error.is_some());
        self.waiting.added.retain(|name, _| !named(name));
        self.waiting.interfaces = interfaces;
        let gateway = self.known_port(GATEWAY).map(|port| (port, gateway_mac(&self.parts.state.node).0));
        let ports = SwitchPorts { tunnel: self.known_port(TUNNEL), gateway };
        self.parts.state.set_ports(ports, &mut self.changed);
        let pods: Vec<_> = self.parts.state.attached().iter().map(|(key, pod)| (key.clone(), pod.clone())).collect();
        for (key, pod) in pods {
            let port = self.pod_port(&pod.interface);
            if pod.port != port {
                self.parts.state.set_attached(&key, Some(Attached { port, ..pod }), &mut self.changed);
            }
        }
        self.note_ports();
        self.plan_host();
    }

    /// The switch's own ports changed, while the database says what it said.
    pub(super) fn look_at_ports(&mut self) {
        let interfaces = std::mem::take(&mut self.waiting.interfaces);
        self.take_interfaces(interfaces);
    }

    pub(super) fn take_port_outcome(&mut self, outcome: PortOutcome) {
        match outcome {
            PortOutcome::Attached(_) => {}
            PortOutcome::Gone(attachment) => self.pod_is_gone(&attachment),
            PortOutcome::Failed(attachment, error) => {
                tracing::error!(interface = %attachment.host_interface, pod = %pod_key(&attachment), %error, "the pod's port is not as wanted");
                self.fail(&attachment, &error);
            }
            PortOutcome::Detached(attachment) => self.detached(&attachment),
        }
    }

    /// Tells whoever waits for the attachment that it failed. What is there stays until the plugin's DEL; what could not be
    /// detached is tried again.
    fn fail(&mut self, attachment: &Attachment, error: &str) {
        self.waiting.added.remove(&attachment.host_interface);
        let confirms = self.waiting.confirms.extract_if(.., |waiting| waiting.attachment == *attachment);
        for waiting in confirms.collect::<Vec<_>>() {
            let _ = waiting.answer.send(Err(not_now(attachment, error)));
        }
        for waiting in self.waiting.deletes.iter_mut().filter(|waiting| waiting.attachment == *attachment) {
            waiting.failed = Some((Instant::now(), error.to_owned()));
        }
    }

    /// The switch obeys what is planned: answers those who waited for it.
    pub(super) fn settle_cni(&mut self) {
        self.hand_on_deletes();
        self.answer_confirms();
    }

    /// Time passed: who waited too long is told so, and detaching does not wait for a switch that is gone.
    pub(super) fn tick_cni(&mut self) {
        if !self.switch.is_connected() || !self.switch_answers() {
            self.hand_on_deletes();
        }
        self.retry_deletes();
        self.give_up_confirms();
        self.retry_adds();
    }
}
