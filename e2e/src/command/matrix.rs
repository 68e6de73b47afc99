//! Who reaches whom, as a table that people read and that `manifests/demo/expected.txt` is written in.
//!
//! A column is a destination with protocol and port, a row is a source. A cell is `yes` (reached), `no` (nothing came back),
//! `refused`, `4only` or `6only` where the families differ, `-` from a pod to itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use crate::probe::{Protocol, Verdict};
use crate::stage::{Answer, Place, Question, Stage};

/// A destination.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Where.
    pub place: Place,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

impl Target {
    /// `shop/web:80`, `kube-system/dns:53/UDP`.
    pub fn title(&self) -> String {
        match self.protocol {
            Protocol::Tcp => format!("{}:{}", self.place, self.port),
            Protocol::Udp => format!("{}:{}/UDP", self.place, self.port),
            Protocol::Sctp => format!("{}:{}/SCTP", self.place, self.port),
            Protocol::Icmp => format!("{}/ICMP", self.place),
        }
    }
}

/// Cells by source and destination, both by their titles.
pub type Cells = BTreeMap<(String, String), String>;

/// A table: its rows and columns in order, and its cells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix {
    /// Titles of the sources.
    pub rows: Vec<String>,
    /// Titles of the destinations.
    pub columns: Vec<String>,
    /// The cells.
    pub cells: Cells,
}

/// What was asked for a table, to say why a cell is as it is.
pub struct Asked {
    /// The table.
    pub matrix: Matrix,
    /// How many packets were sent and how they ended.
    pub verdicts: BTreeMap<Verdict, usize>,
    /// A question for each cell.
    pub questions: BTreeMap<(String, String), Question>,
}

/// Asks every source about every destination, in every family that both have.
pub async fn ask(stage: &Stage, sources: &[Place], targets: &[Target]) -> Result<Asked> {
    let mut questions = Vec::new();
    let mut keys = Vec::new();
    for source in sources {
        for target in targets.iter().filter(|target| target.place != *source) {
            for ipv6 in [false, true] {
                let question = Question {
                    from: source.clone(),
                    to: target.place.clone(),
                    protocol: target.protocol,
                    port: target.port,
                    ipv6,
                    size: 0,
                };
                if stage.probe(&question)?.is_some() {
                    questions.push(question);
                    keys.push((source.to_string(), target.title()));
                }
            }
        }
    }
    let answers = stage.ask(&questions, false).await;
    let mut verdicts: BTreeMap<Verdict, usize> = BTreeMap::new();
    let mut by_family: BTreeMap<(String, String), Vec<(bool, Verdict)>> = BTreeMap::new();
    for ((answer, question), key) in answers.into_iter().zip(&questions).zip(&keys) {
        let Answer { reply, .. } = answer?;
        *verdicts.entry(reply.verdict).or_default() += 1;
        by_family.entry(key.clone()).or_default().push((question.ipv6, reply.verdict));
    }
    let matrix = Matrix {
        rows: sources.iter().map(Place::to_string).collect(),
        columns: targets.iter().map(Target::title).collect(),
        cells: by_family.into_iter().map(|(key, verdicts)| (key, cell(&verdicts).to_owned())).collect(),
    };
    Ok(Asked { matrix, verdicts, questions: keys.into_iter().zip(questions).collect() })
}

fn cell(verdicts: &[(bool, Verdict)]) -> &'static str {
    let reached: Vec<bool> =
        verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Reached).map(|(ipv6, _)| *ipv6).collect();
    match (reached.as_slice(), verdicts.len()) {
        (list, all) if list.len() == all => "yes",
        ([false], _) => "4only",
        ([true], _) => "6only",
        _ if verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Refused) => "refused",
        _ => "no",
    }
}

impl Matrix {
    /// The table; columns by number with a legend where their titles would not fit on a screen.
    pub fn text(&self) -> String {
        let by_title = self.columns.iter().map(|column| column.len() + 2).sum::<usize>() <= 120;
        let heads: Vec<String> = if by_title {
            self.columns.clone()
        } else {
            (1..=self.columns.len()).map(|number| number.to_string()).collect()
        };
        let first = self.rows.iter().map(String::len).max().unwrap_or(0);
        let mut text = format!("{:<first$}", "from \\ to");
        for head in &heads {
            let _ = write!(text, "  {head}");
        }
        for row in &self.rows {
            let _ = write!(text, "\n{row:<first$}");
            for (column, head) in self.columns.iter().zip(&heads) {
                let cell = self.cells.get(&(row.clone(), column.clone())).map_or("-", String::as_str);
                let shown = if by_title { cell } else { short(cell) };
                let _ = write!(text, "  {shown:<width$}", width = head.len());
            }
            text.truncate(text.trim_end().len());
        }
        text.push('\n');
        if !by_title {
            for (number, column) in self.columns.iter().enumerate() {
                let _ = writeln!(text, "{:>6} {column}", number + 1);
            }
            text.push_str("+ reached, . nothing came back, x refused, 4 or 6 reached by that family only\n");
        }
        text
    }

    /// Reads a table with titles, as [`Matrix::text`] writes it.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let head = lines.next().context("the table has no first line")?;
        let columns = head.strip_prefix("from \\ to").with_context(|| format!("`{head}` does not begin a table"))?;
        let mut matrix = Self { columns: columns.split_whitespace().map(str::to_owned).collect(), ..Self::default() };
        for line in lines {
            let mut words = line.split_whitespace();
            let row = words.next().context("a line of the table is empty")?.to_owned();
            let cells: Vec<&str> = words.collect();
            ensure!(
                cells.len() == matrix.columns.len(),
                "`{line}` has {} cells for {} columns",
                cells.len(),
                matrix.columns.len()
            );
            for (column, cell) in matrix.columns.iter().zip(cells).filter(|(_, cell)| *cell != "-") {
                matrix.cells.insert((row.clone(), column.clone()), cell.to_owned());
            }
            matrix.rows.push(row);
        }
        Ok(matrix)
    }

    /// Cells in which `other` is different: source, destination, here, there.
    pub fn differences<'a>(&'a self, other: &'a Self) -> Vec<(&'a str, &'a str, &'a str, &'a str)> {
        let keys: std::collections::BTreeSet<_> = self.cells.keys().chain(other.cells.keys()).collect();
        let of = |cells: &'a Cells, key: &(String, String)| cells.get(key).map_or("-", String::as_str);
        keys.into_iter()
            .map(|key| (key.0.as_str(), key.1.as_str(), of(&self.cells, key), of(&other.cells, key)))
            .filter(|(_, _, here, there)| here != there)
            .collect()
    }
}

fn short(cell: &str) -> &'static str {
    match cell {
        "yes" => "+",
        "no" => ".",
        "refused" => "x",
        "4only" => "4",
        "6only" => "6",
        _ => " ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Matrix {
        let cell = |from: &str, to: &str, cell: &str| ((from.to_owned(), to.to_owned()), cell.to_owned());
        Matrix {
            rows: vec!["shop/web".to_owned(), "shop/client".to_owned()],
            columns: vec!["shop/web:80".to_owned(), "dns:53/UDP".to_owned()],
            cells: Cells::from([
                cell("shop/web", "dns:53/UDP", "no"),
                cell("shop/client", "shop/web:80", "yes"),
                cell("shop/client", "dns:53/UDP", "refused"),
            ]),
        }
    }

    #[test]
    fn a_table_is_read_as_it_is_written() {
        let matrix = sample();
        assert_eq!(Matrix::parse(&matrix.text()).unwrap(), matrix);
    }

    #[test]
    fn differences_name_the_cell() {
        let mut other = sample();
        other.cells.insert(("shop/web".to_owned(), "dns:53/UDP".to_owned()), "yes".to_owned());
        assert_eq!(sample().differences(&other), [("shop/web", "dns:53/UDP", "no", "yes")]);
        assert!(sample().differences(&sample()).is_empty());
    }

    #[test]
    fn families_that_differ_show() {
        use Verdict::{Reached, Refused, TimedOut};
        assert_eq!(cell(&[(false, Reached), (true, Reached)]), "yes");
        assert_eq!(cell(&[(false, Reached), (true, TimedOut)]), "4only");
        assert_eq!(cell(&[(false, Refused), (true, Reached)]), "6only");
        assert_eq!(cell(&[(false, TimedOut), (true, Refused)]), "refused");
        assert_eq!(cell(&[(false, TimedOut), (true, TimedOut)]), "no");
        assert_eq!(cell(&[(true, Reached)]), "yes");
    }
}
