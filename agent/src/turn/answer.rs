//! Answers to what people and tools ask over the agent's socket. They read; only a recompute works, and it changes nothing.

use std::collections::BTreeSet;

use apis::query::{AgentInfo, Differences, Names, PodInfo, QueryError};
use hashbrown::HashMap;
use ovs_pipeline::show::{self, Shown};
use ovs_pipeline::{ConjunctionNumber, IdentityNumber, Posture, RuleNumber, Table};
use serde::Serialize;
use serde_json::Value;

use super::{Agent, Desired};
use crate::apply::flows::{FlowId, Flows};
use crate::apply::reexamine::{Affected, Request, Ways};
use crate::event::Query;
use crate::ledger::{Entry, RuleName};
use crate::plan::{IntentKey, Planner};
use crate::report;
use crate::serve::{policies, trace};
use crate::state::{Changed, IdentityId, PodKey, RuleId, State};

pub(super) fn json(answer: &impl Serialize) -> Value {
    // Answers are plain data with text keys.
    serde_json::to_value(answer).unwrap_or_default()
}

impl Agent {
    pub(super) fn answer(&mut self, query: Query) -> Value {
        match query {
            Query::Info => {
                let settled = self.is_settled();
                json(&AgentInfo { switch_settled: settled, ..self.info() })
            }
            Query::Realised => json(&self.realised_answer()),
            Query::Pods => json(&self.pods()),
            Query::Flows { table, pod, policy } => {
                json(&self.shown(table.as_deref(), pod.as_deref(), policy.as_deref()))
            }
            // Answered beside the loop, by `ovs_flows`; once all is planned, by `answer_recomputes`.
            Query::OvsFlows(_) | Query::Recompute => Value::Null,
            Query::Policies => json(&policies::policies(&self.parts.state)),
            Query::AppliedToGroups => json(&policies::applied_to_groups(&self.parts.state)),
            Query::AddressGroups => json(&policies::address_groups(&self.parts.state)),
            Query::OpenFlow => json(&self.openflow()),
            Query::Names(number) => json(&self.names(number)),
            Query::Packet(request) => match trace::packet(&request, &self.parts.state, &self.planner) {
                Ok(packet) => json(&packet),
                Err(error) => json(&QueryError { error: error.to_string() }),
            },
            Query::Measure => {
                self.measure();
                Value::Null
            }
        }
    }

    fn info(&self) -> AgentInfo {
        let Self { parts, .. } = self;
        let counts = policies::counts(&parts.state);
        AgentInfo {
            program: "ferrant-agent".to_owned(),
            node: parts.state.node.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: parts.uplink.boot().iter().map(|byte| format!("{byte:02x}")).collect(),
            sequence: parts.uplink.sequence(),
            controller_connected: self.progress.controller.is_some(),
            controller: self.progress.controller.clone(),
            frame: parts.state.frame.as_ref().map(|frame| frame.number),
            switch_connected: self.switch.answers(),
            switch_connection: self.switch.connection_count(),
            switch_settled: false,
            bridge: parts.config.bridge.clone(),
            datapath: parts.config.datapath.name().to_owned(),
            flows: self.flows.wanted(),
            conjunctive_flows: self.flows.conjunctive(),
            pods: parts.state.attached().len(),
            node_subnets: parts.state.own().map_or_else(Vec::new, |node| node.pod_cidrs.clone()),
            network_policies: counts.policies,
            applied_to_groups: counts.applied_to_groups,
            address_groups: counts.address_groups,
            addresses: parts.attachments.addresses(),
            epoch: parts.ledger.epoch(),
            drift: self.drift.counts(),
            peak_memory_kib: metrics::memory().peak / 1024,
        }
    }

    fn pods(&mut self) -> Vec<PodInfo> {
        let late = self.late_pods();
        let state = &self.parts.state;
        let posture = |posture: Posture| match posture {
            Posture::Policed => "policed".to_owned(),
            Posture::Open => "open".to_owned(),
            Posture::Closed => "closed".to_owned(),
        };
        let info = |(key, pod): (&PodKey, &crate::state::Attached)| {
            let planned = self.planner.pods().get(key);
            PodInfo {
                pod: key.to_string(),
                interface: pod.interface.clone(),
                port: pod.port,
                mac: apis::cni::MacAddress(pod.mac).to_string(),
                addresses: pod.addresses.iter().collect(),
                container: pod.container.clone(),
                identity: state.upstream.endpoints.get(key).map(|endpoint| endpoint.identity.to_string()),
                egress: planned.map(|planned| posture(planned.egress)),
                ingress: planned.map(|planned| posture(planned.ingress)),
                warning: late
                    .iter()
                    .find(|failure| failure.object.strip_prefix("Pod/") == Some(key.as_str()))
                    .map(|failure| failure.reason.clone()),
            }
        };
        state.attached().iter().map(info).collect()
    }

    /// What a rule number stands for.
    fn names(&self, number: u32) -> Names {
        Names { number, names: self.rule_names(RuleNumber(number)) }
    }

    fn rule_names(&self, number: RuleNumber) -> Vec<String> {
        let fixed = match number {
            RuleNumber::NONE => Some("nothing"),
            RuleNumber::HOST_ORIGIN => Some("host origin"),
            RuleNumber::NO_ISOLATION => Some("no isolation"),
            RuleNumber::CLOSED => Some("closed: identity not known"),
            RuleNumber::NOT_APPLICABLE => Some("not applicable"),
            _ => None,
        };
        if let Some(fixed) = fixed {
            return vec![fixed.to_owned()];
        }
        self.parts.ledger.rule_named(number).map_or_else(Vec::new, |name| names_of(name, &self.parts.state))
    }

    /// All that is known is planned: who asked is told whether a plan made anew is the same.
    pub(super) fn answer_recomputes(&mut self) {
        for answer in std::mem::take(&mut self.recomputes) {
            // Whoever asked may have gone.
            let _ = answer.send(json(&self.recompute()));
        }
    }

    /// Plans everything anew and compares.
    fn recompute(&self) -> Differences {
        let mut ledger = self.parts.ledger.clone();
        let mut planner = Planner::default();
        let mut flows = Flows::default();
        let mut affected = Affected::default();
        let mut desired = Desired { flows: &mut flows, affected: &mut affected, unencodable: Vec::new() };
        planner.update(&self.parts.state, &mut ledger, &Changed::everything(), &mut desired);
        let aside: Vec<_> =
            self.planner.quarantine().iter().map(|(key, entry)| (key.clone(), entry.reason.clone())).collect();
        for (key, reason) in aside {
            planner.set_aside(key, reason, &self.parts.state, &mut ledger, &mut desired);
        }
        let mode = self.parts.config.policy_mode();
        // The same base flows were accepted at start.
        let _ = ovs_pipeline::base_flows(self.parts.state.datapath, mode, &mut |part| {
            if part.table != Table::Tick {
                let _ = flows.add(&part, true);
            }
        });
        let (mine, anew): (BTreeSet<_>, BTreeSet<_>) =
            (self.flows.snapshot().into_iter().collect(), flows.snapshot().into_iter().collect());
        let line = |found: &Flows, (record, _): &(&[u8], u8), what: &str| {
            let id = found.iter().find(|id| found.record(*id) == Some(record));
            format!("{what}: {}", id.map_or_else(String::new, |id| self.line(found, id).1))
        };
        let extra = mine.difference(&anew).map(|record| line(&self.flows, record, "only step by step"));
        let missing = anew.difference(&mine).map(|record| line(&flows, record, "only anew"));
        Differences { differences: extra.chain(missing).collect() }
    }

    fn line(&self, flows: &Flows, id: FlowId) -> (Table, String) {
        self.lines(flows, std::iter::once(id)).pop().unwrap_or((Table::Classifier, String::new()))
    }

    fn lines(&self, flows: &Flows, ids: impl Iterator<Item = FlowId>) -> Vec<(Table, String)> {
        let read: Vec<_> = ids.filter_map(|id| flows.read(id)).collect();
        let shown = read.iter().map(|flow| Shown {
            table: flow.table,
            priority: flow.priority,
            matches: &flow.matches,
            actions: &flow.actions,
            next: flow.next,
        });
        show::lines(shown, &Book::of(self))
    }

    /// The wanted flows as lines, narrowed down.
    fn shown(&self, table: Option<&str>, pod: Option<&str>, policy: Option<&str>) -> Vec<String> {
        let narrowed = pod.is_some() || policy.is_some();
        let mut keys = BTreeSet::new();
        if let (true, Some(node)) = (narrowed, self.planner.node()) {
            let wanted = |key: &IntentKey| match (key, pod, policy) {
                (IntentKey::Pod(key), Some(pod), _) => key.as_str() == pod,
                (IntentKey::Rule(..) | IntentKey::Isolation(..), _, Some(policy)) => {
                    report::names(key, &self.parts.state).iter().any(|name| name.contains(policy))
                }
                _ => false,
            };
            for (_, intent) in self.planner.intents().filter(|(key, _)| wanted(key)) {
                // Wanted already, so not refused.
                let _ = ovs_pipeline::flows(&intent, node, &mut |part| {
                    keys.insert((part.table.id(), part.priority, part.matches.oxm().to_vec()));
                });
            }
        }
        let wanted = self.flows.iter().filter(|id| {
            self.flows.key(*id).is_some_and(|key| {
                table.is_none_or(|name| {
                    Table::from_id(key.table).is_some_and(|table| table.name().eq_ignore_ascii_case(name))
                }) && (!narrowed || keys.contains(&(key.table, key.priority, key.oxm.to_vec())))
            })
        });
        self.lines(&self.flows, wanted).into_iter().map(|(table, line)| format!("{}  {line}", table.name())).collect()
    }

    /// The wanted flows as `ovs-ofctl` writes them.
    fn openflow(&self) -> Vec<String> {
        let line = |id| {
            let key = self.flows.key(id)?;
            let instructions = self.flows.instructions(id).ok()?;
            let mut flow = openflow::Flow::new(key.table, key.priority, openflow::Match::from_oxm(key.oxm).ok()?);
            flow.instructions = openflow::Instructions::decode(&instructions).ok()?;
            Some(flow.to_string())
        };
        let mut lines: Vec<String> = self.flows.iter().filter_map(line).collect();
        lines.sort_unstable();
        lines
    }

    /// The switch obeys a change: connections that it may have touched are looked at again.
    pub(super) fn look_again(&mut self) {
        let (Some(connection), Some(ways)) = (self.switch.connection().cloned(), Ways::of(&self.planner)) else {
            return;
        };
        let affected = std::mem::take(&mut self.affected);
        // One who could not look on the last connection is told of this one.
        let is_first = self.switch.is_first_look();
        let touched = Ways::touched(&affected, &self.planner);
        if is_first || !touched.is_empty() {
            // The task ends only with the agent.
            let _ = self.parts.reexamine.send(Request { connection, touched, ways });
        }
    }
}

/// The numbers of the switch, by name: turned around once for an answer.
pub(super) struct Book<'a> {
    agent: &'a Agent,
    identities: HashMap<u32, IdentityId>,
    conjunctions: HashMap<u32, RuleId>,
    rules: HashMap<u32, RuleName>,
}

impl<'a> Book<'a> {
    pub(super) fn of(agent: &'a Agent) -> Self {
        let mut book = Self { agent, identities: HashMap::new(), conjunctions: HashMap::new(), rules: HashMap::new() };
        for entry in agent.parts.ledger.entries() {
            match entry {
                Entry::Identity(id, number) => _ = book.identities.insert(number, id),
                Entry::Rule(id, number) => _ = book.rules.insert(number, RuleName::Rule(id)),
                Entry::Isolation(direction, id, number) => {
                    book.rules.insert(number, RuleName::Isolation(direction, id));
                }
                Entry::Conjunction(id, _, number) => _ = book.conjunctions.insert(number, id),
            }
        }
        book
    }

    fn named(&self, name: RuleName) -> Option<String> {
        let names = names_of(name, &self.agent.parts.state);
        (!names.is_empty()).then(|| names.join(" + "))
    }
}

impl show::Names for Book<'_> {
    fn identity(&self, identity: IdentityNumber) -> Option<String> {
        let id = self.identities.get(&identity.0)?;
        let known = self.agent.parts.state.upstream.identities.get(id);
        let namespace = known.map_or("?", |identity| &identity.namespace);
        let short: String = id.to_string().chars().take(8).collect();
        Some(format!("{namespace}/{short}"))
    }

    fn rule(&self, rule: RuleNumber) -> Option<String> {
        self.rules.get(&rule.0).and_then(|name| self.named(*name))
    }

    fn conjunction(&self, conjunction: ConjunctionNumber) -> Option<String> {
        self.conjunctions.get(&conjunction.0).and_then(|rule| self.named(RuleName::Rule(*rule)))
    }

    fn port(&self, port: u32) -> Option<String> {
        let state = &self.agent.parts.state;
        if state.ports.tunnel == Some(port) {
            return Some("tunnel".to_owned());
        }
        if state.ports.gateway.is_some_and(|(gateway, _)| gateway == port) {
            return Some("gateway".to_owned());
        }
        state.attached().iter().find(|(_, pod)| pod.port == Some(port)).map(|(key, _)| key.to_string())
    }
}

fn names_of(name: RuleName, state: &State) -> Vec<String> {
    match name {
        RuleName::Rule(id) => report::names(&IntentKey::Rule(id, Box::default()), state),
        RuleName::Isolation(direction, identity) => report::isolation_names(direction, identity, state),
    }
}
