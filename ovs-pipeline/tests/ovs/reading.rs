//! What `ofproto/trace` prints, read: passes (one more after each recirculation), tables, fields at the end, datapath actions.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use ovs_pipeline::Table;
use ovs_pipeline::register::Register;

/// A packet's way through one bridge.
#[derive(Debug)]
pub struct Trace {
    pub passes: Vec<Pass>,
}

/// From entry or recirculation to the end or the next recirculation.
#[derive(Debug, Default)]
pub struct Pass {
    /// The tables met, in order, and what each did.
    pub tables: Vec<(Table, String)>,
    /// The packet's fields at the end.
    pub end: BTreeMap<String, String>,
    /// The key of the megaflow.
    pub megaflow: String,
    /// What the datapath is told.
    pub actions: String,
}

impl Trace {
    pub fn read(text: &str) -> Result<Self> {
        let passes: Vec<Pass> = text.split("\nrecirc(").map(pass).collect::<Result<_>>()?;
        Ok(Self { passes })
    }

    pub fn last(&self) -> &Pass {
        self.passes.last().expect("a trace has at least one pass")
    }

    /// Every table met, over all passes.
    pub fn tables(&self) -> impl Iterator<Item = &(Table, String)> {
        self.passes.iter().flat_map(|pass| &pass.tables)
    }

    /// What the datapath is told, over all passes.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        self.passes.iter().map(|pass| pass.actions.as_str())
    }
}

impl Pass {
    /// A field at the end; the fields that trace leaves out are zero.
    pub fn field(&self, name: &str) -> &str {
        self.end.get(name).map_or("0", String::as_str)
    }

    pub fn number(&self, name: &str) -> Result<u64> {
        let text = self.field(name);
        let parsed = text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16));
        parsed.with_context(|| format!("{name}={text}"))
    }

    /// A register's value at the end.
    pub fn register(&self, register: &Register) -> Result<u32> {
        let whole = self.number(&register.field.to_string())?;
        Ok(u32::try_from(register.read(whole.into()))?)
    }
}

fn pass(text: &str) -> Result<Pass> {
    let mut pass = Pass::default();
    let mut start = BTreeMap::new();
    let mut elsewhere = false; // in the bridge through which a tunnel packet leaves
    for line in text.lines() {
        if let Some(flow) = line.strip_prefix("Flow: ") {
            start = fields(flow);
        } else if let Some(flow) = line.strip_prefix("Final flow: ") {
            pass.end = if flow == "unchanged" { start.clone() } else { fields(flow) };
        } else if let Some(megaflow) = line.strip_prefix("Megaflow: ") {
            pass.megaflow = megaflow.to_string();
        } else if let Some(actions) = line.strip_prefix("Datapath actions: ") {
            pass.actions = actions.to_string();
        } else if let Some(bridge) = line.strip_prefix("bridge(") {
            elsewhere = bridge.contains("br-phy");
        } else if elsewhere {
            continue;
        } else if let Some((id, _)) = table_line(line) {
            ensure!(!line.contains("No match"), "a table without a miss flow: {line}");
            let table = Table::from_id(id).with_context(|| format!("no table has the id {id}"))?;
            pass.tables.push((table, String::new()));
        } else if let (Some((_, did)), true) = (pass.tables.last_mut(), line.starts_with("    ")) {
            *did += line;
            did.push('\n');
        }
    }
    ensure!(!pass.actions.is_empty(), "a trace without datapath actions:\n{text}");
    Ok(pass)
}

/// ` 0. in_port=3, priority 100`, or with more digits.
fn table_line(line: &str) -> Option<(u8, &str)> {
    let (number, rest) = line.split_once(". ")?;
    Some((number.trim_start().parse().ok()?, rest))
}

fn fields(text: &str) -> BTreeMap<String, String> {
    text.split(',')
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}
