//! ADD: planned at once where it can be, confirmed when the switch obeys.

use std::time::Instant;

use apis::cni::{AddRequest, AddResult, CniError, ConfirmRequest, ErrorCode};
use apis::query::Failure;
use ovs_pipeline::Posture;
use tokio::sync::oneshot;

use super::{Add, Begun, Confirm, IDENTITY_WITHIN, PLAN_WITHIN, PORT_WITHIN, name_of, not_now, pod_key, state_of};
use crate::apply::ports::Work;
use crate::clock;
use crate::ipam::attachment::Attachment;
use crate::serve::cni::Session;
use crate::state::PodKey;
use crate::turn::Agent;

impl Agent {
    /// Plans an attachment, now or as soon as it can be.
    pub(super) fn add(&mut self, add: Add) {
        let planned = match self.must_wait(&add) {
            Some(why) => Err(why),
            None => self.parts.attachments.plan(&add.request, clock::milliseconds()),
        };
        match planned {
            Err(error) if error.code == ErrorCode::TRY_AGAIN_LATER && add.since.elapsed() < PLAN_WITHIN => {
                self.waiting.adds.push(add);
            }
            Ok(plan) => {
                let AddRequest { container_id, interface, .. } = &add.request;
                if let Some(attachment) = self.parts.attachments.get(container_id, interface).cloned() {
                    self.parts.metrics.cni_phase_seconds.took(["plan"], add.since.elapsed());
                    let begun = Begun { attachment: attachment.clone(), planned: Instant::now() };
                    self.waiting.sessions.insert(add.session, begun);
                    self.expect(&attachment);
                }
                let _ = add.answer.send(Ok(plan));
            }
            Err(error) => _ = add.answer.send(Err(error)),
        }
    }

    /// The pod's flows are sent while the plugin makes the pod's half. Where another pod has its name still, they wait for the
    /// confirmation.
    fn expect(&mut self, attachment: &Attachment) {
        let key = pod_key(attachment);
        if !self.parts.state.attached().contains_key(&key) {
            let pod = state_of(attachment, self.pod_port(&attachment.host_interface));
            self.parts.state.set_attached(&key, Some(pod), &mut self.changed);
        }
    }

    /// A pod that was planned and not confirmed will not come.
    pub(super) fn expect_no_more(&mut self, attachment: &Attachment) {
        let key = pod_key(attachment);
        if self.parts.state.attached().get(&key).is_some_and(|pod| pod.interface == attachment.host_interface) {
            self.parts.state.set_attached(&key, None, &mut self.changed);
        }
    }

    /// Why it can not be planned yet.
    fn must_wait(&self, add: &Add) -> Option<CniError> {
        if self.host.mtu.is_none() {
            return Some(CniError::new(
                ErrorCode::TRY_AGAIN_LATER,
                "the agent is not ready",
                "the controller has not described this node yet, or its links could not be set up; see the agent's log",
            ));
        }
        let AddRequest { container_id, interface, .. } = &add.request;
        let same = |container: &str, other: &str| container == container_id && other == interface;
        let others = self.waiting.sessions.iter().any(|(session, begun)| {
            *session != add.session && same(&begun.attachment.container_id, &begun.attachment.interface)
        });
        let goes = self.waiting.deletes.iter().any(|each| same(&each.request.container_id, &each.request.interface));
        let what = if goes { "a DEL" } else { "another ADD" };
        (others || goes).then(|| {
            let message = format!("container {container_id}: {what} for interface {interface} is under way");
            CniError::new(ErrorCode::TRY_AGAIN_LATER, message, "the runtime has to wait for its end")
        })
    }

    /// Plans those that had to wait, or tells them that it took too long.
    pub(in crate::turn) fn retry_adds(&mut self) {
        for add in std::mem::take(&mut self.waiting.adds) {
            self.add(add);
        }
    }

    /// The pod's half is made: its host end becomes a port. Its flows, for the port that it asks for, were sent before where that
    /// was possible.
    pub(super) fn confirm(
        &mut self,
        request: &ConfirmRequest,
        session: Session,
        answer: oneshot::Sender<Result<AddResult, CniError>>,
    ) {
        let (attachment, result) = match self.parts.attachments.confirm(request) {
            Ok(confirmed) => confirmed,
            Err(error) => {
                let _ = answer.send(Err(error));
                return;
            }
        };
        let key = pod_key(&attachment);
        self.parts.uplink.report_pod(&key, &attachment.addresses, attachment.mac.0);
        let _ = self.parts.work.send(Work::Attach(Box::new(attachment.clone())));
        let since = Instant::now();
        if let Some(begun) = self.waiting.sessions.get(&session) {
            self.parts.metrics.cni_phase_seconds.took(["pod"], since - begun.planned);
        }
        self.waiting.late.remove(&key);
        let (key_of_pod, port, flows) = (key.clone(), None, None);
        self.waiting.confirms.push(Confirm {
            key: key_of_pod,
            attachment,
            session,
            result,
            since,
            port,
            flows,
            answer,
        });
        let attached = self.waiting.confirms.last().map(|confirm| &confirm.attachment);
        let pod = attached.map(|attachment| state_of(attachment, self.pod_port(&attachment.host_interface)));
        self.parts.state.set_attached(&key, pod, &mut self.changed);
    }

    /// Answers those whose pods are in the switch.
    pub(super) fn answer_confirms(&mut self) {
        let planned = self.planner.pods();
        let now = Instant::now();
        for confirm in self.waiting.confirms.iter_mut().filter(|confirm| planned.contains_key(&confirm.key)) {
            confirm.flows.get_or_insert(now);
        }
        let (ready, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting.confirms).into_iter().partition(|confirm| self.is_ready(confirm));
        self.waiting.confirms = waiting;
        for confirm in ready {
            self.note_phases(&confirm);
            if self.is_closed(&confirm.key) && self.is_unknown(&confirm.key) {
                tracing::warn!(
                    pod = %confirm.key, waited_ms = IDENTITY_WITHIN.as_millis(),
                    "the pod is attached and stays closed: the controller has not said who it is"
                );
                self.waiting.late.insert(confirm.key);
            }
            // Whether the plugin was still there is told when its session ends.
            let _ = confirm.answer.send(Ok(confirm.result));
        }
    }

    /// Which pods' ports the switch has got by now.
    pub(super) fn note_ports(&mut self) {
        let now = Instant::now();
        let waiting = self.waiting.confirms.iter().map(|confirm| &confirm.attachment.host_interface);
        let there: Vec<bool> = waiting.map(|interface| self.known_port(interface).is_some()).collect();
        for (confirm, there) in self.waiting.confirms.iter_mut().zip(there) {
            confirm.port = confirm.port.or(there.then_some(now));
        }
    }

    fn note_phases(&self, confirm: &Confirm) {
        let seconds = &self.parts.metrics.cni_phase_seconds;
        let (Some(port), Some(flows)) = (confirm.port, confirm.flows) else { return };
        seconds.took(["port"], port - confirm.since);
        seconds.took(["flows"], flows - confirm.since);
        seconds.took(["answer"], port.max(flows).elapsed());
    }

    /// Whether a pod is in the switch, and either the controller has said who it is or it has waited long enough.
    fn is_ready(&self, confirm: &Confirm) -> bool {
        let port = self.known_port(&confirm.attachment.host_interface);
        let planned = self.planner.pods().get(&confirm.key).map(|pod| pod.port);
        port.is_some()
            && planned == port
            && (!self.is_closed(&confirm.key) || confirm.since.elapsed() >= IDENTITY_WITHIN)
    }

    fn is_closed(&self, key: &PodKey) -> bool {
        let closed = |pod: &ovs_pipeline::Pod| pod.egress == Posture::Closed || pod.ingress == Posture::Closed;
        self.planner.pods().get(key).is_none_or(closed)
    }

    /// Whether the controller has not said who a pod is. One that is known and closed is so for a failure of its policy, which is told
    /// by that policy's name.
    fn is_unknown(&self, key: &PodKey) -> bool {
        self.parts.state.upstream.endpoints.get(key).is_none_or(|endpoint| !endpoint.local)
    }

    /// Who waited too long for its port is told so.
    pub(super) fn give_up_confirms(&mut self) {
        let late = self.waiting.confirms.extract_if(.., |confirm| confirm.since.elapsed() >= PORT_WITHIN);
        for confirm in late.collect::<Vec<_>>() {
            let fact = self.waiting.interfaces.get(&confirm.attachment.host_interface);
            let why = fact.and_then(|fact| fact.error.clone()).unwrap_or_else(|| {
                "the switch did not take the pod's port and flows in time; is ovs-vswitchd running?".to_owned()
            });
            let _ = confirm.answer.send(Err(not_now(&confirm.attachment, why)));
        }
    }

    /// Pods that were answered before the controller had said who they are, as failures by name.
    pub(in crate::turn) fn late_pods(&mut self) -> Vec<Failure> {
        let late = std::mem::take(&mut self.waiting.late);
        self.waiting.late = late
            .into_iter()
            .filter(|key| self.parts.state.attached().contains_key(key) && self.is_closed(key) && self.is_unknown(key))
            .collect();
        let failure = |key: &PodKey| Failure {
            object: format!("Pod/{key}"),
            reason: format!(
                "attached and closed: the controller did not say within {} s who it is; it opens when the controller does",
                IDENTITY_WITHIN.as_secs()
            ),
        };
        self.waiting.late.iter().map(failure).collect()
    }

    /// A plugin that asked for an attachment is gone. One whose attachment was not confirmed was killed half-way: what is there of
    /// it goes.
    pub(super) fn ended(&mut self, session: Session, confirmed: bool) {
        self.waiting.adds.retain(|add| add.session != session);
        self.waiting.confirms.retain(|confirm| confirm.session != session);
        let Some(begun) = self.waiting.sessions.remove(&session) else { return };
        if !confirmed {
            self.take_back(begun.attachment);
        }
        self.retry_adds();
    }

    fn take_back(&mut self, attachment: Attachment) {
        let request = name_of(&attachment);
        let held = self.parts.attachments.get(&request.container_id, &request.interface);
        if held.is_some_and(|held| *held != attachment) {
            return; // another attachment of that name
        }
        tracing::info!(pod = %pod_key(&attachment), container = attachment.container_id, "its plugin ended half-way: the attachment is taken back");
        let (nobody, _) = oneshot::channel();
        if self.parts.attachments.attached().any(|attached| *attached == attachment) {
            self.delete(request, nobody);
        } else {
            self.detach_unattached(request, attachment);
        }
    }
}
