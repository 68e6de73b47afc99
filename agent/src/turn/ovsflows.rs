//! The flows of this node as `antctl get ovsflows` shows them: what is wanted and what each comes from is known here, what each
//! has counted is asked of the switch, beside the loop.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use apis::query::{OvsFlow, QueryError, is_of_policy};
use hashbrown::HashMap;
use openflow::{FlowFilter, Match};
use ovs_pipeline::show::Printer;
use ovs_pipeline::{Intent, Table};
use serde_json::Value;
use tokio::sync::oneshot;

use super::Agent;
use super::answer::{Book, json};
use crate::apply::flows::{FlowId, Key};
use crate::event::Narrowed;
use crate::ovs::openflow::Connection;
use crate::plan::IntentKey;
use crate::report;
use crate::state::{IdentityId, PodKey};

/// Table, priority and match.
type FlowKey = (u8, u16, Vec<u8>);

/// Flows that are shown, and the tables they are in.
struct Listed {
    flows: Vec<(FlowKey, OvsFlow)>,
    /// All flows of these tables are shown, also those that nobody wants.
    whole: bool,
    tables: BTreeSet<u8>,
}

impl Agent {
    /// Answers once the switch has said what it counted.
    pub(super) fn ovs_flows(&self, narrowed: &Narrowed, answer: oneshot::Sender<Value>) {
        let listed = match self.listed(narrowed) {
            Ok(listed) => listed,
            Err(error) => {
                // Whoever asked may have gone.
                let _ = answer.send(json(&QueryError { error }));
                return;
            }
        };
        let connection = self.switch.connection().cloned();
        tokio::spawn(async move {
            let _ = answer.send(match counted(listed, connection).await {
                Ok(flows) => json(&flows),
                Err(error) => json(&QueryError { error }),
            });
        });
    }

    fn listed(&self, narrowed: &Narrowed) -> Result<Listed, String> {
        let table = narrowed.table.as_deref().map(table_named).transpose()?;
        let pod = narrowed.pod.as_deref().map(|name| self.attached_pod(name)).transpose()?;
        let policy = narrowed.policy.as_deref();
        let mut from: HashMap<FlowKey, BTreeSet<String>> = HashMap::new();
        let whole = pod.is_none() && policy.is_none();
        // What is asked for first, then whatever else wants the same flows.
        for asked_for in [true, false] {
            for (key, intent) in self.planner.intents() {
                let names = report::names(&key, &self.parts.state);
                let of_pod = pod.as_ref().is_none_or(|(pod, identity)| self.concerns(&key, pod, *identity));
                let of_policy = policy.is_none_or(|policy| names.iter().any(|name| is_of_policy(name, policy)));
                if (of_pod && of_policy) == asked_for {
                    self.note_flows(&intent, table, asked_for, &names, &mut from);
                }
            }
        }
        if let Some(policy) = policy
            && from.is_empty()
            && table.is_none()
        {
            return Err(format!(
                "no policy {policy} has flows on this node: it is not known here, or selects no pod here (antctl get networkpolicy)"
            ));
        }
        let wanted = self.flows.iter().filter_map(|id| {
            let Key { table: number, priority, oxm } = self.flows.key(id)?;
            let key = (number, priority, oxm.to_vec());
            let of_table = table.is_none_or(|table| table.id() == number);
            (of_table && (whole || from.contains_key(&key))).then_some((id, key))
        });
        let flows = self.shown_flows(wanted.collect(), &from);
        let tables = match table {
            Some(table) => BTreeSet::from([table.id()]),
            None if whole => Table::ALL.iter().map(|table| table.id()).collect(),
            None => flows.iter().map(|((table, ..), _)| *table).collect(),
        };
        Ok(Listed { flows, whole, tables })
    }

    /// Notes what wants an intent's flows: all of them, or only those that are noted already.
    fn note_flows(
        &self,
        intent: &Intent,
        table: Option<Table>,
        all: bool,
        names: &[String],
        from: &mut HashMap<FlowKey, BTreeSet<String>>,
    ) {
        let Some(node) = self.planner.node() else { return };
        // Wanted already, so not refused.
        let _ = ovs_pipeline::flows(intent, node, &mut |part| {
            let key = (part.table.id(), part.priority, part.matches.oxm().to_vec());
            if table.is_none_or(|table| table == part.table) && (all || from.contains_key(&key)) {
                from.entry(key).or_default().extend(names.iter().cloned());
            }
        });
    }

    /// An attached pod by `namespace/name`, with its identity where that is known.
    fn attached_pod(&self, name: &str) -> Result<(PodKey, Option<IdentityId>), String> {
        let key = PodKey::parse(name).ok_or_else(|| format!("{name} is not namespace/name of a pod"))?;
        if !self.parts.state.attached().contains_key(&key) {
            let node = &self.parts.state.node;
            return Err(format!("pod {key} is not attached on {node}; antctl get podinterface lists those that are"));
        }
        let identity = self.parts.state.upstream.endpoints.get(&key).map(|endpoint| endpoint.identity);
        Ok((key, identity))
    }

    /// Whether an intent is about a pod of this node.
    fn concerns(&self, intent: &IntentKey, pod: &PodKey, identity: Option<IdentityId>) -> bool {
        let upstream = &self.parts.state.upstream;
        match intent {
            IntentKey::Pod(key) => key == pod,
            IntentKey::Address(address) => self.parts.state.attached_at(*address) == Some(pod),
            IntentKey::Isolation(_, isolated) => Some(*isolated) == identity,
            IntentKey::Rule(id, _) => upstream.rules.get(id).is_some_and(|rule| {
                let members = upstream.groups.get(&rule.applied_to);
                identity.zip(members).is_some_and(|(identity, members)| members.binary_search(&identity).is_ok())
            }),
            IntentKey::Node | IntentKey::Peer(_) => false,
        }
    }

    /// Flows in the order of the tables, highest priority first, as text with names.
    fn shown_flows(
        &self,
        wanted: Vec<(FlowId, FlowKey)>,
        from: &HashMap<FlowKey, BTreeSet<String>>,
    ) -> Vec<(FlowKey, OvsFlow)> {
        let book = Book::of(self);
        let mut flows: Vec<_> = wanted
            .into_iter()
            .filter_map(|(id, key)| {
                let flow = self.flows.read(id)?;
                let mut printer = Printer::new(&book);
                let shown = OvsFlow {
                    table: flow.table.name().to_owned(),
                    priority: flow.priority,
                    matches: printer.matches(&flow.matches),
                    actions: printer.actions(&flow.actions, flow.next),
                    from: match from.get(&key) {
                        Some(names) => names.iter().cloned().collect(),
                        None if self.flows.is_base(id) => vec!["base".to_owned()],
                        None => Vec::new(),
                    },
                    ..OvsFlow::default()
                };
                Some((key, shown))
            })
            .collect();
        let place = |number: u8| Table::ALL.iter().position(|table| table.id() == number);
        flows.sort_by_cached_key(|(key, flow)| (place(key.0), Reverse(key.1), flow.matches.clone()));
        flows
    }
}

fn table_named(name: &str) -> Result<Table, String> {
    let found = Table::ALL.iter().copied().find(|table| table.name().eq_ignore_ascii_case(name));
    found.ok_or_else(|| {
        let names: Vec<&str> = Table::ALL.iter().map(|table| table.name()).collect();
        format!("there is no table {name}; the tables are {}", names.join(", "))
    })
}

/// What the switch has counted for each flow, and what it has that nobody wants.
async fn counted(mut listed: Listed, connection: Option<Connection>) -> Result<Vec<OvsFlow>, String> {
    let Some(connection) = connection else {
        return Err("the switch is not connected: is ovs-vswitchd running? see the agent's log".to_owned());
    };
    let places: BTreeMap<FlowKey, usize> =
        listed.flows.iter().enumerate().map(|(place, (key, _))| (key.clone(), place)).collect();
    let mut unwanted = Vec::new();
    // What is in this table comes and goes with every wait for the switch to obey.
    for table in listed.tables.iter().copied().filter(|table| *table != Table::Tick.id()) {
        let filter = FlowFilter { table, ..FlowFilter::default() };
        let flows = &mut listed.flows;
        let dump = connection.dump_flow_entries(filter, |entry| {
            let (packets, bytes) = (entry.stats.packets, entry.stats.bytes);
            let flow = entry.flow;
            match places.get(&(flow.table, flow.priority, flow.matches.oxm().to_vec())) {
                Some(place) => (flows[*place].1.packets, flows[*place].1.bytes) = (packets, bytes),
                None if listed.whole => unwanted.push(OvsFlow {
                    table: Table::from_id(flow.table).map_or_else(String::new, |table| table.name().to_owned()),
                    priority: flow.priority,
                    packets,
                    bytes,
                    matches: matches_text(&flow.matches),
                    actions: flow.instructions.to_string(),
                    from: Vec::new(),
                }),
                None => {}
            }
        });
        dump.await.map_err(|error| format!("the switch did not say what it counted: {error}"))?;
    }
    Ok(listed.flows.into_iter().map(|(_, flow)| flow).chain(unwanted).collect())
}

/// As `ovs-ofctl` writes it: what nobody wants has no names.
fn matches_text(matches: &Match) -> String {
    let text = matches.to_string();
    if text.is_empty() { "any".to_owned() } else { text }
}
