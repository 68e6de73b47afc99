//! DEL: flows go, then port and interface, then the addresses are free.
//!
//! It succeeds also when the switch or its database is away: what is to be done is noted on disk, the runtime is answered, and it is
//! done when it can be. Until then the addresses are held.

use std::time::Instant;

use apis::cni::{CniError, DelRequest, ErrorCode};
use tokio::sync::oneshot;

use super::{DETACH_WITHIN, Delete, RETRY, not_now, pod_key, state_of};
use crate::apply::ports::Work;
use crate::ipam::attachment::Attachment;
use crate::state::PodKey;
use crate::turn::Agent;

impl Agent {
    /// Takes an attachment away, whatever of it there is.
    pub(super) fn delete(&mut self, request: DelRequest, answer: oneshot::Sender<Result<(), CniError>>) {
        if let Some(waiting) = self.waiting.deletes.iter_mut().find(|waiting| waiting.request == request) {
            waiting.answers.push(answer);
            return;
        }
        self.fail_confirms(&request);
        let found = self.parts.attachments.attached().find(|attachment| {
            attachment.container_id == request.container_id && attachment.interface == request.interface
        });
        let Some(attachment) = found.cloned() else {
            // Never planned, gone already, or planned and not confirmed: it has no port, and nobody was told.
            if let Some(planned) = self.parts.attachments.remove(&request, 0) {
                self.expect_no_more(&planned);
            }
            self.parts.notes.remove(&request);
            let _ = answer.send(Ok(()));
            return;
        };
        let key = pod_key(&attachment);
        // A pod of the same name may already have taken its place.
        let current = self.parts.state.attached().get(&key).is_some_and(|pod| pod.container == attachment.container_id);
        if current {
            self.replace_pod(&key, &attachment);
        }
        self.waiting.deletes.push(Delete {
            request,
            attachment,
            handed_on: false,
            failed: None,
            since: Instant::now(),
            answers: vec![answer],
        });
    }

    /// The same for one that was planned only: its plugin may have made the link, and no more.
    pub(super) fn detach_unattached(&mut self, request: DelRequest, attachment: Attachment) {
        self.expect_no_more(&attachment);
        let _ = self.parts.work.send(Work::Detach(Box::new(attachment.clone())));
        self.waiting.deletes.push(Delete {
            request,
            attachment,
            handed_on: true,
            failed: None,
            since: Instant::now(),
            answers: Vec::new(),
        });
    }

    /// An ADD that still waits for its port hears that it will not be.
    fn fail_confirms(&mut self, request: &DelRequest) {
        let of = |attachment: &Attachment| {
            attachment.container_id == request.container_id && attachment.interface == request.interface
        };
        let confirms = self.waiting.confirms.extract_if(.., |confirm| of(&confirm.attachment));
        for confirm in confirms.collect::<Vec<_>>() {
            let _ = confirm.answer.send(Err(not_now(&confirm.attachment, "a DEL came before the ADD had ended")));
        }
    }

    /// An attachment that was the pod goes: the next younger one of that name that stays is the pod again, if there is one.
    fn replace_pod(&mut self, key: &PodKey, leaving: &Attachment) {
        let leaves = |other: &Attachment| {
            other.host_interface == leaving.host_interface
                || self.waiting.deletes.iter().any(|waiting| waiting.attachment == *other)
        };
        let others = self.parts.attachments.by_age();
        let next = others.into_iter().rev().find(|other| pod_key(other) == *key && !leaves(other)).cloned();
        let (addresses, mac) = next.as_ref().map_or((&[][..], leaving.mac), |next| (&next.addresses[..], next.mac));
        self.parts.uplink.report_pod(key, addresses, mac.0);
        let state = next.map(|next| state_of(&next, self.pod_port(&next.host_interface)));
        self.parts.state.set_attached(key, state, &mut self.changed);
    }

    /// Detaches what an earlier life of the agent, or a DEL without an agent, left to be detached.
    pub(in crate::turn) fn detach_first(&mut self) {
        for request in std::mem::take(&mut self.parts.detach_first) {
            let (nobody, _) = oneshot::channel();
            self.delete(request, nobody);
        }
    }

    /// Flows of these pods are gone: port and interface may go.
    pub(super) fn hand_on_deletes(&mut self) {
        for waiting in self.waiting.deletes.iter_mut().filter(|waiting| !waiting.handed_on) {
            waiting.handed_on = true;
            let _ = self.parts.work.send(Work::Detach(Box::new(waiting.attachment.clone())));
        }
    }

    /// Port and interface are gone: the addresses are free once no node maps them any more.
    pub(super) fn detached(&mut self, attachment: &Attachment) {
        self.waiting.interfaces.remove(&attachment.host_interface);
        self.waiting.added.remove(&attachment.host_interface);
        let done = self.waiting.deletes.extract_if(.., |waiting| waiting.attachment == *attachment);
        for waiting in done.collect::<Vec<_>>() {
            self.parts.attachments.remove(&waiting.request, self.parts.uplink.sequence());
            self.parts.notes.remove(&waiting.request);
            waiting.answers.into_iter().for_each(|answer| _ = answer.send(Ok(())));
        }
        self.plan_host();
        self.retry_adds();
    }

    /// What failed is tried again; who has waited long enough is answered, with a note of what is still to be done.
    pub(super) fn retry_deletes(&mut self) {
        let notes = &self.parts.notes;
        for waiting in &mut self.waiting.deletes {
            if waiting.failed.as_ref().is_some_and(|(at, _)| at.elapsed() >= RETRY) {
                // Its flows were gone before the first attempt.
                let _ = self.parts.work.send(Work::Detach(Box::new(waiting.attachment.clone())));
                waiting.failed = None;
            }
            if waiting.answers.is_empty() || waiting.since.elapsed() < DETACH_WITHIN {
                continue;
            }
            let noted = notes.write(&waiting.request).map_err(|error| {
                let message =
                    format!("container {} cannot be detached now, nor be noted", waiting.request.container_id);
                CniError::new(ErrorCode::TRY_AGAIN_LATER, message, error.to_string())
            });
            if noted.is_ok() {
                let pod = pod_key(&waiting.attachment);
                tracing::warn!(%pod, container = waiting.request.container_id, "the switch or its database is away: the pod is detached later");
            }
            for answer in std::mem::take(&mut waiting.answers) {
                let _ = answer.send(noted.clone());
            }
        }
    }
}
