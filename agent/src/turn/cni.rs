//! Pods come and go: what the CNI plugin asks, and when it is answered.
//!
//! ADD is a plan, which needs nothing of the switch. Confirm makes the pod's host end a port and is answered once the switch
//! obeys flows for a pod that the controller knows, or, after a bounded wait, with success and the pod closed. DEL is answered
//! when flows, port and interface are gone; only then may its addresses be given to another.

use std::time::{Duration, Instant};

use apis::cni::{AddRequest, AddResult, CniError, ConfirmRequest, DelRequest, ErrorCode};
use ovs_pipeline::Posture;
use tokio::sync::oneshot;

use super::Agent;
use crate::apply::ports::{GATEWAY, PortOutcome, TUNNEL, Work};
use crate::ipam::attachment::Attachment;
use crate::ipam::gateway_mac;
use crate::serve::cni::CniRequest;
use crate::state::{Addresses, Attached, PodKey, SwitchPorts};
use crate::watch::ovs::{InterfaceFact, Interfaces};

/// How long a pod waits for the controller to say who it is.
const IDENTITY_WITHIN: Duration = Duration::from_secs(2);
/// How long a pod waits for its port and flows before the plugin is told to roll back.
const PORT_WITHIN: Duration = Duration::from_secs(20);

/// Who waits for what.
#[derive(Debug, Default)]
pub struct Waiting {
    confirms: Vec<Confirm>,
    deletes: Vec<Delete>,
    /// The interfaces of the bridge as they were last told.
    interfaces: Interfaces,
}

#[derive(Debug)]
struct Confirm {
    key: PodKey,
    container: String,
    result: AddResult,
    since: Instant,
    answer: oneshot::Sender<Result<AddResult, CniError>>,
}

#[derive(Debug)]
struct Delete {
    request: DelRequest,
    attachment: Attachment,
    /// The worker was asked to take port and interface away.
    handed_on: bool,
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
        let of = |confirm: &&Confirm| confirm.container == pod.container_id;
        self.confirms.iter().find(of).is_some_and(|confirm| confirm.since.elapsed() < time)
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

impl Agent {
    pub(super) fn take_cni(&mut self, request: CniRequest) {
        // Whoever asked may have gone; what it asked for stays until DEL, as CNI wants it.
        match request {
            CniRequest::Add(request, answer) => _ = answer.send(self.add(&request)),
            CniRequest::Confirm(request, answer) => self.confirm(&request, answer),
            CniRequest::Delete(request, answer) => self.delete(request, answer),
        }
    }

    fn add(&mut self, request: &AddRequest) -> Result<apis::cni::Plan, CniError> {
        if self.host.mtu.is_none() {
            return Err(CniError::new(
                ErrorCode::TRY_AGAIN_LATER,
                "the agent is not ready",
                "the controller has not described this node yet, or its links could not be set up; see the agent's log",
            ));
        }
        self.parts.attachments.plan(request)
    }

    fn confirm(&mut self, request: &ConfirmRequest, answer: oneshot::Sender<Result<AddResult, CniError>>) {
        let (attachment, result) = match self.parts.attachments.confirm(request) {
            Ok(confirmed) => confirmed,
            Err(error) => {
                let _ = answer.send(Err(error));
                return;
            }
        };
        let key = pod_key(&attachment);
        let name = &attachment.host_interface;
        let port = self.waiting.interface(name).and_then(|fact| fact.port);
        let port = port.filter(|port| self.switch.has_port(*port, name));
        let pod = state_of(&attachment, port);
        self.parts.uplink.report_pod(&key, &attachment.addresses, attachment.mac.0);
        self.parts.state.set_attached(&key, Some(pod), &mut self.changed);
        let container = attachment.container_id.clone();
        let _ = self.parts.work.send(Work::Attach(Box::new(attachment)));
        self.waiting.confirms.push(Confirm { key, container, result, since: Instant::now(), answer });
    }

    fn delete(&mut self, request: DelRequest, answer: oneshot::Sender<Result<(), CniError>>) {
        if let Some(waiting) = self.waiting.deletes.iter_mut().find(|waiting| waiting.request == request) {
            waiting.answers.push(answer);
            return;
        }
        let found = self.parts.attachments.attached().find(|attachment| {
            attachment.container_id == request.container_id && attachment.interface == request.interface
        });
        let Some(attachment) = found.cloned() else {
            // Never planned, gone already, or planned and not confirmed: there is nothing in the switch.
            self.parts.attachments.remove(&request);
            let _ = answer.send(Ok(()));
            return;
        };
        let key = pod_key(&attachment);
        // A pod of the same name may already have taken its place.
        let current = self.parts.state.attached().get(&key).is_some_and(|pod| pod.container == attachment.container_id);
        if current {
            self.parts.uplink.report_pod(&key, &[], attachment.mac.0);
            self.parts.state.set_attached(&key, None, &mut self.changed);
        }
        self.waiting.deletes.push(Delete { request, attachment, handed_on: false, answers: vec![answer] });
    }

    /// The bridge has these interfaces now.
    pub(super) fn take_interfaces(&mut self, interfaces: Interfaces) {
        // A number counts once the switch itself knows the port by it.
        let known = |name: &str, port: &u32| self.switch.has_port(*port, name);
        let port = |name: &str| interfaces.get(name).and_then(|fact| fact.port).filter(|port| known(name, port));
        let gateway = port(GATEWAY).map(|port| (port, gateway_mac(&self.parts.state.node).0));
        self.parts.state.set_ports(SwitchPorts { tunnel: port(TUNNEL), gateway }, &mut self.changed);
        let pods: Vec<_> = self.parts.state.attached().iter().map(|(key, pod)| (key.clone(), pod.clone())).collect();
        for (key, pod) in pods {
            let port = port(&pod.interface);
            if pod.port != port {
                self.parts.state.set_attached(&key, Some(Attached { port, ..pod }), &mut self.changed);
            }
        }
        self.waiting.interfaces = interfaces;
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
            PortOutcome::Detached(attachment) => {
                self.waiting.interfaces.remove(&attachment.host_interface);
                let done = self.waiting.deletes.extract_if(.., |waiting| waiting.attachment == *attachment);
                for waiting in done.collect::<Vec<_>>() {
                    self.parts.attachments.remove(&waiting.request);
                    waiting.answers.into_iter().for_each(|answer| _ = answer.send(Ok(())));
                }
                self.plan_host();
            }
        }
    }

    /// Tells whoever waits for the attachment that it failed. What is there stays until the plugin's DEL.
    fn fail(&mut self, attachment: &Attachment, error: &str) {
        let message = format!("interface {} of pod {}", attachment.host_interface, pod_key(attachment));
        let container = &attachment.container_id;
        let confirms = self.waiting.confirms.extract_if(.., |waiting| waiting.container == *container);
        for waiting in confirms.collect::<Vec<_>>() {
            let error = CniError::new(ErrorCode::AGENT_FAILED, message.clone(), error);
            let _ = waiting.answer.send(Err(error));
        }
        let deletes = self.waiting.deletes.extract_if(.., |waiting| waiting.attachment == *attachment);
        for waiting in deletes.collect::<Vec<_>>() {
            for answer in waiting.answers {
                let _ = answer.send(Err(CniError::new(ErrorCode::TRY_AGAIN_LATER, message.clone(), error)));
            }
        }
    }

    /// The switch obeys what is planned: answers those who waited for it.
    pub(super) fn settle_cni(&mut self) {
        self.hand_on_deletes();
        let (ready, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting.confirms).into_iter().partition(|confirm| self.is_ready(confirm));
        self.waiting.confirms = waiting;
        for confirm in ready {
            let _ = confirm.answer.send(Ok(confirm.result));
        }
    }

    /// Flows of these pods are gone: port and interface may go.
    fn hand_on_deletes(&mut self) {
        for waiting in self.waiting.deletes.iter_mut().filter(|waiting| !waiting.handed_on) {
            waiting.handed_on = true;
            let _ = self.parts.work.send(Work::Detach(Box::new(waiting.attachment.clone())));
        }
    }

    /// Whether a pod is in the switch, and either the controller has said who it is or it has waited long enough.
    fn is_ready(&self, confirm: &Confirm) -> bool {
        let Some(pod) = self.planner.pods().get(&confirm.key) else {
            return false;
        };
        let closed = pod.egress == Posture::Closed || pod.ingress == Posture::Closed;
        !closed || confirm.since.elapsed() >= IDENTITY_WITHIN
    }

    /// Time passed: who waited too long is told so, and detaching does not wait for a switch that is gone.
    pub(super) fn tick_cni(&mut self) {
        if !self.switch.is_connected() {
            self.hand_on_deletes();
        }
        let late = self.waiting.confirms.extract_if(.., |confirm| confirm.since.elapsed() >= PORT_WITHIN);
        for confirm in late.collect::<Vec<_>>() {
            let interface = self.parts.state.attached().get(&confirm.key).map(|pod| pod.interface.clone());
            let why = interface
                .and_then(|name| self.waiting.interfaces.get(&name).and_then(|fact| fact.error.clone()))
                .unwrap_or_else(|| {
                    "the switch did not take the pod's port and flows in time; is ovs-vswitchd running?".to_owned()
                });
            let message = format!("pod {}", confirm.key);
            let _ = confirm.answer.send(Err(CniError::new(ErrorCode::TRY_AGAIN_LATER, message, why)));
        }
    }
}
