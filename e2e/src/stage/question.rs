//! Questions and their answers: packets sent between places.

use anyhow::{Context, Result};
use futures::{StreamExt, stream};

use super::{Place, Stage};
use crate::probe::{Probe, Protocol, Reply, Verdict, send};

/// How many questions are under way at once.
const AT_ONCE: usize = 128;

/// Does a packet from here get there?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where it starts.
    pub from: Place,
    /// Where it is to end.
    pub to: Place,
    /// The protocol.
    pub protocol: Protocol,
    /// The destination's port; unused for ICMP.
    pub port: u16,
    /// IPv6, or else IPv4.
    pub ipv6: bool,
    /// How large the request is; 0 is small.
    pub size: usize,
}

/// What became of it.
#[derive(Debug)]
pub struct Answer {
    /// The verdict, and what the server saw.
    pub reply: Reply,
    /// The rules or isolations that decided, when they were asked for: egress, then ingress.
    pub by: Vec<String>,
}

impl Stage {
    /// The packet of a question. None when one end has no address of the family, as a pod that has
    /// ended has none: then nothing can arrive.
    pub fn probe(&self, question: &Question) -> Result<Option<Probe>> {
        let is_world = matches!(question.from, Place::Outside | Place::Address(_));
        let has_family =
            |place: &Place| anyhow::Ok(self.addresses(place)?.iter().any(|at| at.is_ipv6() == question.ipv6));
        if !has_family(&question.to)? || (!is_world && !has_family(&question.from)?) {
            return Ok(None);
        }
        let from = self.namespace(&question.from)?;
        let to = self.address(&question.to, question.ipv6)?;
        let mut probe = Probe::new(from, to, question.protocol, question.port).of_size(question.size);
        probe.owner = Some(self.owner(&question.to));
        Ok(Some(probe))
    }

    /// Sends the packet of one question.
    pub async fn ask_one(&self, question: &Question) -> Result<Reply> {
        match self.probe(question)? {
            Some(probe) => send(&probe, self.patience()).await,
            None => Ok(Reply::only(Verdict::TimedOut)),
        }
    }

    /// Sends the packets of all questions, many at once, and asks the agents why when `why`. Answers are in the questions'
    /// order.
    pub async fn ask(&self, questions: &[Question], why: bool) -> Vec<Result<Answer>> {
        stream::iter(questions)
            .map(|question| async move {
                let ends = || format!("{} -> {}", question.from, question.to);
                let reply = self.ask_one(question).await.with_context(ends)?;
                let by = if why { self.decided_by(question).await.with_context(ends)? } else { Vec::new() };
                anyhow::Ok(Answer { reply, by })
            })
            .buffered(AT_ONCE)
            .collect()
            .await
    }
}

/// Asks one question after the other, where each must see the one before.
pub async fn ask_in_order(stage: &Stage, questions: &[Question]) -> Vec<Result<Reply>> {
    let mut replies = Vec::new();
    for question in questions {
        replies.push(stage.ask_one(question).await);
    }
    replies
}
