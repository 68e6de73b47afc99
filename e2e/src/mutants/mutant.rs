//! One way to break the system, read from a file.
//!
//! ```text
//! # why this matters
//! file: ovs-pipeline/src/feature/policy.rs
//! breaks: exceptions of address blocks
//! catcher: oracle            (or: story NAME)
//! --- find
//! the exact text, once in the file
//! --- replace
//! what it becomes
//! ```

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// Who must notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Catcher {
    /// `lab oracle`.
    Oracle,
    /// `lab stories NAME`.
    Story(String),
}

impl fmt::Display for Catcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oracle => f.write_str("the oracle"),
            Self::Story(name) => write!(f, "story {name}"),
        }
    }
}

/// A break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// The file's name without its ending.
    pub name: String,
    /// The source file, from the root.
    pub file: String,
    /// What is forgotten, in words.
    pub breaks: String,
    /// Who must notice.
    pub catcher: Catcher,
    /// The text that goes.
    pub find: String,
    /// The text that comes.
    pub replace: String,
}

/// Every mutant of a folder, by name.
pub fn read_all(folder: &Path) -> Result<Vec<Mutant>> {
    let mut mutants = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".mutant"))
        else {
            continue;
        };
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        mutants.push(parse(name, &text).with_context(|| format!("{}", path.display()))?);
    }
    mutants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(mutants)
}

fn parse(name: &str, text: &str) -> Result<Mutant> {
    let (head, rest) = text.split_once("--- find\n").context("there is no line '--- find'")?;
    let (find, replace) = rest.split_once("--- replace\n").context("there is no line '--- replace'")?;
    let field = |key: &str| {
        let line = head
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .with_context(|| format!("there is no line '{key} …'"))?;
        anyhow::Ok(line.trim().to_owned())
    };
    let catcher = match field("catcher:")?.split_once(' ') {
        None if field("catcher:")? == "oracle" => Catcher::Oracle,
        Some(("story", story)) => Catcher::Story(story.trim().to_owned()),
        _ => bail!("the catcher is 'oracle' or 'story NAME'"),
    };
    ensure!(!find.trim().is_empty(), "the text to find is empty");
    let (find, replace) = (find.trim_end_matches('\n').to_owned(), replace.trim_end_matches('\n').to_owned());
    ensure!(find != replace, "the mutant changes nothing");
    Ok(Mutant { name: name.to_owned(), file: field("file:")?, breaks: field("breaks:")?, catcher, find, replace })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_of_the_repository_applies_exactly_once() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for mutant in read_all(&root.join("e2e/mutants")).expect("the mutants are readable") {
            let text = std::fs::read_to_string(root.join(&mutant.file)).expect("the file it breaks is there");
            assert_eq!(
                text.matches(&mutant.find).count(),
                1,
                "mutant {} must find its text once in {}",
                mutant.name,
                mutant.file
            );
        }
    }

    #[test]
    fn a_mutant_says_what_it_lacks() {
        for (text, lacks) in [
            ("file: a\n", "'--- find'"),
            ("file: a\n--- find\nx\n", "'--- replace'"),
            ("file: a\nbreaks: b\n--- find\nx\n--- replace\ny\n", "catcher:"),
            ("file: a\nbreaks: b\ncatcher: golden\n--- find\nx\n--- replace\ny\n", "'oracle' or 'story NAME'"),
        ] {
            let error = format!("{:#}", parse("m", text).expect_err("it lacks something"));
            assert!(error.contains(lacks), "{error}");
        }
    }
}
