//! CHECK, GC and STATUS: answered from what is known; GC takes away what the runtime does not list.

use std::collections::BTreeSet;

use apis::cni::{AttachmentName, CheckRequest, CniError, CollectRequest, DelRequest, ErrorCode, Plan};
use tokio::sync::oneshot;

use super::pod_key;
use crate::ipam::attachment::Attachment;
use crate::turn::Agent;

impl Agent {
    /// What was made for an attachment, when the node's half of it is in order.
    pub(super) fn check(&self, request: &CheckRequest) -> Result<Plan, CniError> {
        let CheckRequest { container_id, interface } = request;
        let of =
            |attachment: &&Attachment| attachment.container_id == *container_id && attachment.interface == *interface;
        let Some(attachment) = self.parts.attachments.attached().find(of) else {
            let message = format!("container {container_id} has no interface {interface} that Ferrant attached");
            return Err(CniError::new(
                ErrorCode::UNKNOWN_CONTAINER,
                message,
                "it was detached, or never attached on this node",
            ));
        };
        let wrong = |code, why: String| {
            let message = format!("container {container_id}, interface {interface} of pod {}: {why}", attachment.pod());
            Err(CniError::new(code, message, "see the agent's log and its /v1/pods"))
        };
        if !self.switch.answers() {
            return wrong(ErrorCode::TRY_AGAIN_LATER, "the switch does not answer".to_owned());
        }
        let host = &attachment.host_interface;
        let Some(fact) = self.waiting.interfaces.get(host) else {
            return wrong(ErrorCode::NOT_AS_MADE, format!("its end on the node, {host}, is not a port of the bridge"));
        };
        if let Some(error) = &fact.error {
            return wrong(ErrorCode::NOT_AS_MADE, format!("its port {host} does not work: {error}"));
        }
        let key = pod_key(attachment);
        let current = self.parts.state.attached().get(&key).is_some_and(|pod| pod.container == *container_id);
        if !current {
            return wrong(ErrorCode::NOT_AS_MADE, "a later container of that pod has taken its place".to_owned());
        }
        if fact.port.is_none() || !self.planner.pods().contains_key(&key) {
            return wrong(ErrorCode::TRY_AGAIN_LATER, "it is not in the switch yet".to_owned());
        }
        self.parts.attachments.made(attachment)
    }

    /// Whether an ADD could be done now.
    pub(super) fn status(&self) -> Result<(), CniError> {
        let refused = |code, message: &str, why: String| Err(CniError::new(code, message, why));
        if !self.switch.is_connected() {
            let why = "no OpenFlow connection to ovs-vswitchd; is it running?".to_owned();
            return refused(ErrorCode::LIMITED_CONNECTIVITY, "the switch does not answer", why);
        }
        let database = self.parts.database.borrow();
        if !database.connected {
            let why = database.last_error.as_deref().unwrap_or("not connected yet").to_owned();
            return refused(ErrorCode::NOT_AVAILABLE, "the switch's database does not answer", why);
        }
        if !self.switch.answers() {
            let why = "ovs-vswitchd has its OpenFlow connection and says nothing; does it stand still?".to_owned();
            return refused(ErrorCode::LIMITED_CONNECTIVITY, "the switch does not answer", why);
        }
        if self.host.mtu.is_none() {
            let why = "the controller has not described this node yet, or its links could not be set up".to_owned();
            return refused(ErrorCode::NOT_AVAILABLE, "the agent is not ready", why);
        }
        match self.parts.attachments.room() {
            Ok(()) => Ok(()),
            Err(error) => refused(ErrorCode::NOT_AVAILABLE, "no pod can get an address", error.to_string()),
        }
    }

    /// Attachments of a network that the runtime does not list go. One whose ADD is under way was begun after the list was made.
    pub(super) fn collect(&mut self, request: CollectRequest, answer: oneshot::Sender<Result<(), CniError>>) {
        let Some(valid) = request.valid else {
            let _ = answer.send(Ok(()));
            return;
        };
        let valid: BTreeSet<AttachmentName> = valid.into_iter().collect();
        let under_way: Vec<&Attachment> = self.waiting.sessions.values().map(|begun| &begun.attachment).collect();
        let stale = self.parts.attachments.attached().filter(|attachment| {
            let name = AttachmentName {
                container_id: attachment.container_id.clone(),
                interface: attachment.interface.clone(),
            };
            attachment.network == request.network && !valid.contains(&name) && !under_way.contains(attachment)
        });
        let stale: Vec<DelRequest> = stale.map(super::name_of).collect();
        let mut ends = Vec::new();
        for request in stale {
            tracing::warn!(
                container = request.container_id,
                interface = request.interface,
                "the runtime does not list it any more: it is detached"
            );
            let (end, ended) = oneshot::channel();
            self.delete(request, end);
            ends.push(ended);
        }
        tokio::spawn(async move {
            let mut outcome = Ok(());
            for ended in ends {
                // A loop that ends drops what it holds, and whoever asked is told that by its connection.
                if let Ok(Err(error)) = ended.await {
                    outcome = outcome.and(Err(error));
                }
            }
            let _ = answer.send(outcome);
        });
    }
}
