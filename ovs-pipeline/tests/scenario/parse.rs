//! The scenario file: sections at the margin, their lines indented; a line that starts with `#`
//! is a comment, and so is what follows two spaces and `# `.

use std::path::Path;

use anyhow::{Context, Result, bail};
use ovs_pipeline::{Datapath, PolicyMode, Table};

use super::{Book, Change, Golden, Key, Scenario, Step, ask, want};

/// What an indented line belongs to.
enum Section {
    None,
    Want,
    Unwant,
    Ask,
    Flows,
}

struct Parser {
    scenario: Scenario,
    section: Section,
    node: String,
}

/// Reads a scenario file.
pub fn scenario(path: &Path, datapath: Datapath) -> Result<Scenario> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let scenario = Scenario {
        path: path.to_path_buf(),
        datapath,
        one_datapath: false,
        mode: PolicyMode::Enforce,
        once: None,
        steps: vec![Step::default()],
        book: Book::default(),
    };
    let mut parser = Parser { scenario, section: Section::None, node: String::new() };
    // Twice: the first time only to learn where the pods are, since an address may name a pod that a later node has.
    for round in 0..2 {
        parser.scenario.steps = vec![Step::default()];
        for (number, line) in (1..).zip(text.lines()) {
            let result = parser.line(number, line);
            if round == 1 {
                result.with_context(|| format!("{}:{number}: {}", path.display(), line.trim()))?;
            }
        }
    }
    Ok(parser.scenario)
}

impl Parser {
    fn line(&mut self, number: usize, line: &str) -> Result<()> {
        let line = line.split("  # ").next().unwrap_or_default();
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            return Ok(());
        }
        if line.starts_with(' ') { self.within(number, line.trim()) } else { self.margin(number, line.trim()) }
    }

    fn step(&mut self) -> &mut Step {
        self.scenario.steps.last_mut().expect("a scenario has at least the first step")
    }

    fn margin(&mut self, number: usize, line: &str) -> Result<()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (word, rest) {
            ("datapath", "netdev") => (self.scenario.datapath, self.scenario.one_datapath) = (Datapath::Netdev, true),
            ("datapath", "system") => (self.scenario.datapath, self.scenario.one_datapath) = (Datapath::System, true),
            ("policy", "enforce") => self.scenario.mode = PolicyMode::Enforce,
            ("policy", "allow-all") => self.scenario.mode = PolicyMode::AllowAll,
            ("policy", "drop-all") => self.scenario.mode = PolicyMode::DropAll,
            ("once", reason) if reason.len() > 10 => self.scenario.once = Some(reason.to_string()),
            ("step", name) if !name.is_empty() => {
                self.scenario.steps.push(Step { line: number, ..Step::default() });
                self.section = Section::None;
            }
            ("want", "") => self.section = Section::Want,
            ("unwant", "") => self.section = Section::Unwant,
            ("ask", "") => self.section = Section::Ask,
            ("flows", table) => {
                let (table, node) = table.split_once(' ').unwrap_or((table, &self.node));
                let golden =
                    Golden { line: number, table: self::table(table)?, node: node.to_string(), lines: Vec::new() };
                self.step().goldens.push(golden);
                self.section = Section::Flows;
            }
            _ => {
                bail!("sections are datapath, policy, once REASON, want, unwant, step NAME, ask and flows TABLE [NODE]")
            }
        }
        Ok(())
    }

    fn within(&mut self, number: usize, line: &str) -> Result<()> {
        if let Some(node) = line.strip_prefix("on ") {
            self.node = node.to_string();
            return Ok(());
        }
        match self.section {
            Section::Want => {
                if let Some(name) = line.strip_prefix("node ") {
                    self.node = name.split(' ').next().unwrap_or_default().to_string();
                }
                let (node, datapath) = (self.node.clone(), self.scenario.datapath);
                let wanted = want::line(line, &node, datapath, &mut self.scenario.book)?;
                self.step()
                    .changes
                    .extend(wanted.into_iter().map(|(key, wanted)| Change { key, wanted: Some(wanted) }));
            }
            Section::Unwant => self.unwant(line)?,
            Section::Ask => {
                let ask = ask::ask(number, line)?;
                self.step().asks.push(ask);
            }
            Section::Flows => {
                let golden = self.step().goldens.last_mut().expect("the section began with one");
                golden.lines.push(line.to_string());
            }
            Section::None => bail!("an indented line needs a section before it"),
        }
        Ok(())
    }

    /// Removes every wanted thing of this kind and name; an endpoint with several addresses is several.
    fn unwant(&mut self, line: &str) -> Result<()> {
        let key = want::key(line, &self.node)?;
        let mut found: Vec<Key> = self
            .scenario
            .changes()
            .map(|change| &change.key)
            .filter(|known| known.node == key.node && known.kind == key.kind)
            .filter(|known| known.name == key.name || known.name.starts_with(&format!("{} ", key.name)))
            .cloned()
            .collect();
        found.sort();
        found.dedup();
        anyhow::ensure!(!found.is_empty(), "nothing of this name was wanted on {}", key.node);
        self.step().changes.extend(found.into_iter().map(|key| Change { key, wanted: None }));
        Ok(())
    }
}

/// A table by its name.
pub fn table(name: &str) -> Result<Table> {
    Table::ALL.iter().copied().find(|table| table.name() == name).with_context(|| format!("{name:?} is no table"))
}
