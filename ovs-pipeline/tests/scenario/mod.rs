//! Scenarios: one text file says what is wanted of the switches, what happens, the flows and what becomes of packets.
//!
//! [`parse`] reads the file; [`plan`] is the small part of an agent that turns what is wanted into intents; [`switch`] merges the
//! intents' parts into flows; [`life`] leads one scenario through many orders of events; [`golden`] holds the flows against the
//! text. What becomes of packets is asked of a real switch, in `tests/trace.rs`.
#![allow(clippy::disallowed_methods, reason = "the harness reads and rewrites scenario files")]

pub mod ask;
pub mod book;
pub mod golden;
pub mod life;
pub mod parse;
pub mod plan;
pub mod switch;
pub mod want;
pub mod words;

use std::path::{Path, PathBuf};

use ovs_pipeline::{Datapath, Intent, PolicyMode, Table};

pub use ask::Ask;
pub use book::Book;

/// A scenario file.
pub struct Scenario {
    /// The file.
    pub path: PathBuf,
    /// What every bridge has.
    pub datapath: Datapath,
    /// Whether the file says so; otherwise the packets are asked for on both.
    pub one_datapath: bool,
    /// Whether policy is enforced.
    pub mode: PolicyMode,
    /// Why the scenario runs in the order it is written in only.
    pub once: Option<String>,
    /// What happens, in order. The first step is what stands before any `step`.
    pub steps: Vec<Step>,
    /// Who is who.
    pub book: Book,
}

/// A moment: what changes, and what then holds.
#[derive(Default)]
pub struct Step {
    /// The line of the file.
    pub line: usize,
    /// What is wanted, or no longer.
    pub changes: Vec<Change>,
    /// Packets and what becomes of them.
    pub asks: Vec<Ask>,
    /// Tables and their flows.
    pub goldens: Vec<Golden>,
}

/// One thing is wanted, or no longer.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which.
    pub key: Key,
    /// What it now is; `None`: gone.
    pub wanted: Option<Wanted>,
}

/// What names a wanted thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// On which node.
    pub node: String,
    /// Its kind, which is also the order of a node's things.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// The kinds of wanted things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Node,
    Peer,
    Pod,
    Address,
    Rule,
    Isolation,
}

/// A wanted thing.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The intent, but for what follows from other intents.
    pub intent: Intent,
    /// For pods: whether some rule names ports follows from the rules.
    pub derive_port_rules: bool,
}

/// A table's flows, as the file has them.
pub struct Golden {
    /// The line of `flows`.
    pub line: usize,
    /// The table.
    pub table: Table,
    /// The node.
    pub node: String,
    /// All flows but the miss.
    pub lines: Vec<String>,
}

/// Every scenario, by name; those whose file does not say which datapath it has, with this one.
pub fn all(datapath: Datapath) -> anyhow::Result<Vec<Scenario>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "scenario"));
    paths.sort();
    let only = std::env::var("SCENARIO").unwrap_or_default();
    paths.retain(|path| path.to_string_lossy().contains(&only));
    anyhow::ensure!(!paths.is_empty(), "no scenario is named like {only:?}");
    paths.iter().map(|path| parse::scenario(path, datapath)).collect()
}

impl Scenario {
    /// The file's name without folder and ending.
    pub fn name(&self) -> String {
        self.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Every change in the order of the file.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.steps.iter().flat_map(|step| &step.changes)
    }
}
