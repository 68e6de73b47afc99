//! Questions as the loop sees them, and its answers.

use std::collections::{BTreeMap, BTreeSet};

use apis::query::{ControllerInfo, GroupInfo, PolicyInfo, SessionInfo};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::metrics::Metrics;
use crate::object::NodeName;
use crate::plan::Plan;
use crate::publish::Publish;
use crate::state::State;

/// A question, and where its answer goes.
pub enum Query {
    /// How things are.
    Info(oneshot::Sender<ControllerInfo>),
    /// Fills in the gauges.
    Measure(Metrics, oneshot::Sender<()>),
    /// What is wrong with the source.
    Errors(oneshot::Sender<Value>),
    /// Every policy.
    Policies(oneshot::Sender<Vec<PolicyInfo>>),
    /// The groups that policies apply to.
    AppliedToGroups(oneshot::Sender<Vec<GroupInfo>>),
    /// The groups at the other end of rules.
    AddressGroups(oneshot::Sender<Vec<GroupInfo>>),
    /// What a node needs, as text.
    Plan(NodeName, oneshot::Sender<String>),
    /// Answered with the source's version once it is at least this.
    Known(u64, oneshot::Sender<u64>),
    /// Answered once it is so.
    Realised(RealisedQuestion, oneshot::Sender<RealisedAnswer>),
    /// Answered at once, so or not.
    RealisedNow(RealisedQuestion, oneshot::Sender<RealisedAnswer>),
}

/// Which nodes, up to which version of the source and after which reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealisedQuestion {
    /// The version of the source.
    pub version: u64,
    /// None: all that are connected.
    pub nodes: Option<Vec<String>>,
    /// Nodes, and the sequence of a report of each that must have been taken in.
    pub after: Vec<(String, u64)>,
}

/// Someone who waits for nodes to realise something.
struct Waiting {
    question: RealisedQuestion,
    answer: oneshot::Sender<RealisedAnswer>,
    /// The change of the state by which all that was asked for was taken in; None while it has not been.
    change: Option<u64>,
}

/// What the nodes have realised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RealisedAnswer {
    /// The version that all of them have realised; 0 where one has realised nothing or is not connected.
    pub version: u64,
    /// By name; those that are asked for and not connected are missing.
    pub nodes: BTreeMap<String, crate::publish::RealisedFrame>,
}

/// Answers that wait for something to become so.
#[derive(Default)]
pub struct Answers {
    waiting: Vec<Waiting>,
    waiting_to_know: Vec<(u64, oneshot::Sender<u64>)>,
}

impl Answers {
    /// Answers a question now, or keeps it until it can be answered.
    pub fn ask(&mut self, query: Query, state: &State, plan: &Plan, publish: &Publish) {
        // Where nobody waits for the answer any longer, it is dropped.
        let _ = match query {
            Query::Info(answer) => answer.send(info(state, plan, publish)).is_ok(),
            Query::Measure(metrics, answer) => {
                metrics.measure(state, plan, publish);
                answer.send(()).is_ok()
            }
            Query::Errors(answer) => answer.send(errors(state)).is_ok(),
            Query::Policies(answer) => answer.send(plan.policies()).is_ok(),
            Query::AppliedToGroups(answer) => answer.send(plan.applied_to_groups()).is_ok(),
            Query::AddressGroups(answer) => answer.send(plan.address_groups()).is_ok(),
            Query::Plan(node, answer) => answer.send(plan.show(&node)).is_ok(),
            Query::Known(version, answer) => {
                self.waiting_to_know.push((version, answer));
                self.check(state, publish);
                true
            }
            Query::RealisedNow(question, answer) => answer.send(realised(&question, publish)).is_ok(),
            Query::Realised(question, answer) => {
                self.waiting.push(Waiting { question, answer, change: None });
                self.check(state, publish);
                true
            }
        };
    }

    /// Answers what has become so; forgets who waits no longer.
    pub fn check(&mut self, state: &State, publish: &Publish) {
        let known = state.source().version;
        for (version, answer) in std::mem::take(&mut self.waiting_to_know) {
            if known >= version {
                let _ = answer.send(known);
            } else if !answer.is_closed() {
                self.waiting_to_know.push((version, answer));
            }
        }
        for mut waiting in std::mem::take(&mut self.waiting) {
            if waiting.answer.is_closed() {
                continue;
            }
            if waiting.is_so(state, publish) {
                let _ = waiting.answer.send(realised(&waiting.question, publish));
            } else {
                self.waiting.push(waiting);
            }
        }
    }
}

impl Waiting {
    fn is_so(&mut self, state: &State, publish: &Publish) -> bool {
        let Self { question, change, .. } = self;
        let taken_in = |(node, sequence): &(String, u64)| state.sequence_of(node) >= Some(*sequence);
        if state.source().version < question.version || !question.after.iter().all(taken_in) {
            return false;
        }
        let now = state.change();
        let change = *change.get_or_insert(now);
        let sessions = publish.sessions();
        let asked = sessions.iter().filter(|(node, _)| question.asks_for(node));
        let mut found = 0;
        for (_, session) in asked {
            found += 1;
            let version = session.realised().map_or(0, |realised| realised.version);
            // A node that needs nothing of what was reported gets no frame for it, and obeys it all the same.
            if version < question.version || (!question.after.is_empty() && session.obeys(now) < change) {
                return false;
            }
        }
        question.nodes.as_ref().is_none_or(|nodes| nodes.iter().collect::<BTreeSet<_>>().len() == found)
    }
}

impl RealisedQuestion {
    fn asks_for(&self, node: &NodeName) -> bool {
        self.nodes.as_ref().is_none_or(|nodes| nodes.iter().any(|name| name == node.0.as_str()))
    }
}

fn realised(question: &RealisedQuestion, publish: &Publish) -> RealisedAnswer {
    let sessions = publish.sessions();
    let nodes: BTreeMap<String, _> = sessions
        .iter()
        .filter(|(node, _)| question.asks_for(node))
        .map(|(node, session)| (node.to_string(), session.realised().cloned().unwrap_or_default()))
        .collect();
    let missing = question.nodes.as_ref().is_some_and(|names| names.iter().any(|name| !nodes.contains_key(name)));
    let version = if missing { 0 } else { nodes.values().map(|frame| frame.version).min().unwrap_or(0) };
    RealisedAnswer { version, nodes }
}

fn info(state: &State, plan: &Plan, publish: &Publish) -> ControllerInfo {
    let sessions = publish.sessions();
    let agents = sessions.iter().map(|(node, session)| {
        let realised = session.realised();
        let said = SessionInfo {
            takes: session.takes(),
            sent_frame: session.sent(),
            acknowledged_frame: session.acknowledged_frame(),
            pending_changes: session.pending(),
            realised_frame: realised.map_or(0, |realised| realised.frame),
            realised_version: realised.map_or(0, |realised| realised.version),
            failures: realised.map_or(0, |realised| realised.failures.len()),
        };
        (node.to_string(), said)
    });
    let named = |counts: [(&'static str, usize); 4]| counts.map(|(kind, count)| (kind.to_owned(), count)).into();
    let (applied_to_groups, address_groups) = plan.group_counts();
    let source = state.source();
    ControllerInfo {
        program: "ferrant-controller".to_owned(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        version: source.version,
        in_sync: source.in_sync,
        has_been_in_sync: source.has_been_in_sync,
        errors: source.errors.len(),
        objects: named(state.counts()),
        plan: named(plan.counts()),
        applied_to_groups,
        address_groups,
        agents: agents.collect(),
    }
}

fn errors(state: &State) -> Value {
    let refused: Vec<Value> = state
        .refused_reports()
        .into_iter()
        .map(|(node, pod, refused)| {
            json!({ "node": node.to_string(), "pod": pod.to_string(), "what": refused.to_string() })
        })
        .collect();
    let source = state.source();
    json!({ "in_sync": source.in_sync, "errors": source.errors, "refused_reports": refused })
}
