//! Scenarios: what a cluster is and what happens to it, and what every node then needs, as text.
//!
//! A file in `scenarios/` starts with a sentence (`#`), then has sections:
//!
//! ```text
//! === given                    manifests; later sections of this kind: `=== apply TITLE`
//! === delete KIND/NAME …       objects that go, a name each
//! === report NODE POD ADDRESSES…
//! === node-a                   what the node needs; after the first step, what it needs more (+) and no longer (-)
//! ```
//!
//! The sections named for nodes are written by `BLESS=1 cargo test -p controller --test scenarios`; review the difference.
//!
//! Every scenario lives many lives: as written, each event alone, all at once, every event twice, its outcome built in reverse
//! order, and taken down in several orders; after every step the plan is compared with one computed anew. And its agents live it
//! while they change between two controllers of different histories at every step.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends here

mod replica;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use controller::object::{NodeName, Object, ObjectKey, PodKey, PolicyKey, Pool, Text};
use controller::plan::{Delta, Plan};
use controller::state::{Changed, PodReport, State};
use controller::watch::{SourceEvent, convert};
use replica::{Agent, Replica};

#[derive(Clone, Debug)]
enum Event {
    Upsert(Object),
    Delete(ObjectKey),
    Report { node: NodeName, report: PodReport },
}

struct Step {
    /// The section's head and body as written.
    text: String,
    events: Vec<Event>,
}

struct Scenario {
    path: PathBuf,
    head: String,
    steps: Vec<Step>,
}

#[test]
fn scenarios() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "the scenarios are not where they should be");
    let mut differing = Vec::new();
    for path in paths {
        let written = fs::read_to_string(&path).unwrap();
        let scenario = Scenario::read(&path, &written);
        let shown = scenario.as_written();
        scenario.other_lives();
        scenario.across_replicas();
        if shown != written {
            if std::env::var_os("BLESS").is_some() {
                fs::write(&path, shown).unwrap();
            } else {
                differing.push(format!("{}:\n{}", path.display(), difference(&written, &shown)));
            }
        }
    }
    assert!(differing.is_empty(), "{}\nIf this is meant, BLESS=1 rewrites the files.", differing.join("\n"));
}

fn difference(written: &str, shown: &str) -> String {
    let (written, shown): (Vec<&str>, Vec<&str>) = (written.lines().collect(), shown.lines().collect());
    let missing =
        written.iter().filter(|line| !shown.contains(line)).map(|line| format!("  written, not so: {line}\n"));
    let new = shown.iter().filter(|line| !written.contains(line)).map(|line| format!("  so, not written: {line}\n"));
    missing.chain(new).collect()
}

impl Scenario {
    fn read(path: &Path, text: &str) -> Self {
        let mut sections: Vec<(String, String)> = vec![(String::new(), String::new())];
        for line in text.lines() {
            if let Some(head) = line.strip_prefix("=== ") {
                sections.push((head.to_owned(), String::new()));
            } else {
                sections.last_mut().unwrap().1 += &format!("{line}\n");
            }
        }
        let head = sections.remove(0).1;
        assert!(head.starts_with("# "), "{}: say in a sentence what the scenario is about", path.display());
        let mut pool = Pool::default();
        let steps = sections.into_iter().enumerate().filter_map(|(number, (head, body))| {
            let mut words = head.split(' ');
            let events = match words.next()? {
                "given" | "apply" => manifests(path, &body, &mut pool),
                "delete" => words.map(|name| Event::Delete(key(name))).collect(),
                "report" => vec![report(u64::try_from(number).unwrap(), words)],
                _ => return None, // a node: this is what will be written
            };
            Some(Step { text: format!("=== {head}\n{body}"), events })
        });
        let steps = steps.collect();
        Self { path: path.to_owned(), head, steps }
    }

    /// The life as written; the file as it should be.
    fn as_written(&self) -> String {
        let mut life = Life::default();
        let mut text = self.head.clone();
        let mut before: BTreeMap<NodeName, String> = BTreeMap::new();
        for (number, step) in self.steps.iter().enumerate() {
            life.happen(&self.path, &step.events);
            text += step.text.trim_end();
            text += "\n\n";
            let nodes = self.nodes();
            let after: BTreeMap<NodeName, String> =
                nodes.iter().map(|node| (node.clone(), life.plan.show(node))).collect();
            for node in nodes {
                let (old, new) = (before.remove(&node).unwrap_or_default(), &after[&node]);
                let shown = if number == 0 { new.clone() } else { changes(&old, new) };
                write!(text, "=== {node}\n{shown}\n").unwrap();
            }
            before = after;
        }
        text.truncate(text.trim_end().len());
        text + "\n"
    }

    /// Every node that a step speaks of.
    fn nodes(&self) -> BTreeSet<NodeName> {
        let events = self.steps.iter().flat_map(|step| &step.events);
        events
            .filter_map(|event| match event {
                Event::Upsert(Object::Node(node)) => Some(node.name.clone()),
                Event::Upsert(Object::Pod(pod)) => pod.node.clone(),
                _ => None,
            })
            .collect()
    }

    fn other_lives(&self) {
        let events: Vec<Event> = self.steps.iter().flat_map(|step| step.events.clone()).collect();
        let mut squashed = Life::default();
        squashed.happen(&self.path, &events);
        let outcome = self.show(&squashed);

        let mut split = Life::default();
        events.iter().for_each(|event| drop(split.happen(&self.path, std::slice::from_ref(event))));
        assert_eq!(self.show(&split), outcome, "{}: each event alone", self.path.display());

        let mut doubled = Life::default();
        for event in &events {
            doubled.happen(&self.path, &[event.clone(), event.clone()]);
            doubled.happen(&self.path, std::slice::from_ref(event));
        }
        assert_eq!(self.show(&doubled), outcome, "{}: every event twice", self.path.display());

        let last = outcome_of(&events);
        let mut reversed = Life::default();
        last.iter().rev().for_each(|event| drop(reversed.happen(&self.path, std::slice::from_ref(event))));
        assert_eq!(self.show(&reversed), outcome, "{}: its outcome in reverse order", self.path.display());

        self.take_down(&last, squashed, |keys| keys.sort());
        self.take_down(&last, split, |keys| keys.sort_by(|one, other| other.cmp(one)));
        // What others refer to goes first: pods before their policies, nodes and namespaces before their pods.
        self.take_down(&last, reversed, |keys| {
            keys.sort_by_key(|key| (matches!(key, ObjectKey::NetworkPolicy(_)), key.clone()))
        });
    }

    /// Each step is known to one controller before the other, and the agents change to it; the other has seen all that will ever be
    /// there come and go before, and sees every event twice.
    fn across_replicas(&self) {
        let mut replicas = [Replica::new(), Replica::new()];
        let past = self.steps.iter().flat_map(|step| &step.events);
        for event in past.filter(|event| !matches!(event, Event::Report { .. })) {
            replicas[1].happen(&self.path, std::slice::from_ref(event));
            if let Event::Upsert(object) = event {
                replicas[1].happen(&self.path, &[Event::Delete(object.key())]);
            }
        }
        let nodes = self.nodes();
        let mut agents: Vec<Agent> =
            (0..).zip(&nodes).map(|(number, node)| Agent::connect(number, node, &mut replicas)).collect();
        for (number, step) in self.steps.iter().enumerate() {
            let (first, second) = (number % 2, 1 - number % 2);
            replicas[first].happen(&self.path, &step.events);
            let told: usize = agents.iter_mut().map(|agent| agent.take_from(&mut replicas, first)).sum();
            for event in &step.events {
                replicas[second].happen(&self.path, &[event.clone(), event.clone()]);
            }
            // Both know the same now, so changing costs nothing, there and back again.
            for agent in &mut agents {
                let cost = [second, first].map(|index| agent.take_from(&mut replicas, index));
                assert_eq!(
                    cost,
                    [0, 0],
                    "{} step {}: {told} changes were told before",
                    self.path.display(),
                    number + 1
                );
            }
        }
        for (agent, node) in agents.iter().zip(&nodes) {
            let both = [0, 1].map(|index| replica::anew(node, &mut replicas, index));
            assert!(both[0] == both[1], "{}: {node} is told other bytes by another controller", self.path.display());
            assert!(agent.told == both[0], "{}: {node} has other bytes than a new agent", self.path.display());
        }
    }

    /// Deletes what is there, one by one: nothing may be left, and each plan on the way is the one computed anew.
    fn take_down(&self, last: &[Event], mut life: Life, order: impl Fn(&mut Vec<ObjectKey>)) {
        let mut keys: Vec<ObjectKey> = last
            .iter()
            .filter_map(|event| match event {
                Event::Upsert(object) => Some(object.key()),
                Event::Delete(_) | Event::Report { .. } => None,
            })
            .collect();
        order(&mut keys);
        for key in keys {
            life.happen(&self.path, &[Event::Delete(key)]);
        }
        assert!(life.plan.counts().iter().all(|(_, count)| *count == 0), "{}: something is left", self.path.display());
        assert!(self.show(&life).values().all(String::is_empty), "{}: something is left", self.path.display());
    }

    fn show(&self, life: &Life) -> BTreeMap<NodeName, String> {
        self.nodes().into_iter().map(|node| (node.clone(), life.plan.show(&node))).collect()
    }
}

/// The last word on everything that is there in the end.
fn outcome_of(events: &[Event]) -> Vec<Event> {
    let mut objects: BTreeMap<ObjectKey, Event> = BTreeMap::new();
    let mut reports: BTreeMap<(NodeName, PodKey), Event> = BTreeMap::new();
    for event in events {
        match event {
            Event::Upsert(object) => drop(objects.insert(object.key(), event.clone())),
            Event::Delete(key) => drop(objects.remove(key)),
            Event::Report { node, report } => drop(reports.insert((node.clone(), report.pod.clone()), event.clone())),
        }
    }
    // Pods before what an agent says of them, so that a pod it says is detached is known.
    reports.into_values().chain(objects.into_values()).collect()
}

#[derive(Default)]
struct Life {
    state: State,
    plan: Plan,
}

impl Life {
    fn happen(&mut self, path: &Path, events: &[Event]) -> Vec<Delta> {
        let mut changed = Changed::default();
        for event in events {
            match event.clone() {
                Event::Upsert(object) => self.state.apply(SourceEvent::Upsert(object), &mut changed),
                Event::Delete(key) => self.state.apply(SourceEvent::Delete(key), &mut changed),
                Event::Report { node, report } => {
                    self.state.pod_reported(&node, report, &mut changed);
                }
            }
        }
        let deltas = self.plan.update(&self.state, &changed);
        if let Err(difference) = self.plan.check(&self.state) {
            panic!("{}: incremental is not recompute after {events:?}\n{difference}", path.display());
        }
        deltas
    }
}

fn changes(old: &str, new: &str) -> String {
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) = (old.lines().collect(), new.lines().collect());
    let gone = old.difference(&new).map(|line| format!("- {line}\n"));
    let come = new.difference(&old).map(|line| format!("+ {line}\n"));
    gone.chain(come).collect()
}

fn manifests(path: &Path, text: &str, pool: &mut Pool) -> Vec<Event> {
    let documents = apis::yaml::documents(text).into_iter();
    documents
        .map(|document| {
            let document = document.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            document.validate().unwrap_or_else(|errors| panic!("{}: {errors:?}", path.display()));
            Event::Upsert(convert::object(&document.object, pool).unwrap().expect("a kind that is read"))
        })
        .collect()
}

fn key(name: &str) -> ObjectKey {
    let parts: Vec<Text> = name.split('/').map(Text::from).collect();
    match (parts[0].as_str(), &parts[1..]) {
        ("Namespace", [name]) => ObjectKey::Namespace(name.clone()),
        ("Node", [name]) => ObjectKey::Node(NodeName(name.clone())),
        ("Pod", [namespace, name]) => ObjectKey::Pod(PodKey { namespace: namespace.clone(), name: name.clone() }),
        ("NetworkPolicy", [namespace, name]) => {
            ObjectKey::NetworkPolicy(PolicyKey { namespace: namespace.clone(), name: name.clone() })
        }
        _ => panic!("{name} is not KIND/NAME or KIND/NAMESPACE/NAME"),
    }
}

fn report<'a>(sequence: u64, mut words: impl Iterator<Item = &'a str>) -> Event {
    let node = NodeName(Text::from(words.next().expect("a node")));
    let (namespace, name) = words.next().and_then(|pod| pod.split_once('/')).expect("a pod, as namespace/name");
    let pod = PodKey { namespace: Text::from(namespace), name: Text::from(name) };
    let addresses = words.map(|address| address.parse().unwrap()).collect();
    Event::Report { node, report: PodReport { sequence, pod, addresses } }
}
