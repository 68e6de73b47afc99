//! Figures, their targets, and how they are printed.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::lab::Datapath;

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
}

/// A number with its unit, and the target where there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its key in the last line.
    key: &'static str,
    /// For people.
    what: &'static str,
    value: f64,
    unit: &'static str,
    target: Option<Target>,
}

/// The figures of a benchmark, in the order in which they are printed.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    figures: Vec<Figure>,
    facts: Vec<(&'static str, &'static str, String)>,
    wrong: Vec<String>,
    void: bool,
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }

    fn number(self) -> f64 {
        let (Self::AtMost(number) | Self::AtLeast(number)) = self;
        number
    }

    fn sign(self) -> &'static str {
        match self {
            Self::AtMost(_) => "≤",
            Self::AtLeast(_) => "≥",
        }
    }
}

impl Figures {
    /// Adds a figure that promises nothing.
    pub fn add(&mut self, key: &'static str, what: &'static str, value: f64, unit: &'static str) {
        self.figures.push(Figure { key, what, value, unit, target: None });
    }

    /// Adds a figure with its target.
    pub fn promise(&mut self, key: &'static str, what: &'static str, value: f64, unit: &'static str, target: Target) {
        self.figures.push(Figure { key, what, value, unit, target: Some(target) });
    }

    /// Adds what is no number: its key, what it is, and it.
    pub fn tell(&mut self, key: &'static str, what: &'static str, fact: impl Into<String>) {
        self.facts.push((key, what, fact.into()));
    }

    /// The run says nothing, whatever its figures are: what it is compared with was not as it must be. That is wrong as well.
    pub fn void(&mut self, why: impl Into<String>) {
        self.void = true;
        self.wrong.push(format!("void: {}", why.into()));
    }

    /// The benchmark did not measure what it says, or a packet had the wrong verdict.
    pub fn wrong(&mut self, what: impl Into<String>) {
        self.wrong.push(what.into());
    }

    /// Prints the figures, what was wrong, and the last line; true when nothing was wrong.
    pub fn print(&self, benchmark: &str, seed: u64, datapath: Datapath) -> bool {
        let width = self.figures.iter().map(|figure| figure.what.chars().count()).max().unwrap_or(0);
        for figure in &self.figures {
            let value = format!("{} {}", rounded(figure.value), figure.unit);
            let promised = figure.target.map_or(String::new(), |target| {
                let met = if target.is_met(figure.value) { "met" } else { "NOT MET" };
                format!("target {} {}: {met}", target.sign(), rounded(target.number()))
            });
            println!("{:<width$}  {value:>16}  {promised}", figure.what);
        }
        for (_, what, fact) in &self.facts {
            println!("{what}: {fact}");
        }
        for wrong in &self.wrong {
            println!("WRONG: {wrong}");
        }
        println!("{}", self.last_line(benchmark, seed, datapath));
        self.wrong.is_empty()
    }

    fn last_line(&self, benchmark: &str, seed: u64, datapath: Datapath) -> Value {
        let (mut line, mut targets, mut missed) = (Map::new(), Map::new(), Vec::new());
        line.insert("benchmark".to_owned(), json!(benchmark));
        line.insert("seed".to_owned(), json!(seed));
        line.insert("datapath".to_owned(), json!(datapath.to_string()));
        line.insert("skipped".to_owned(), json!(0));
        line.insert("void".to_owned(), json!(self.void));
        line.extend(self.facts.iter().map(|(key, _, fact)| ((*key).to_owned(), json!(fact))));
        for figure in &self.figures {
            line.insert(figure.key.to_owned(), rounded(figure.value));
            if let Some(target) = figure.target {
                targets.insert(figure.key.to_owned(), rounded(target.number()));
                if !target.is_met(figure.value) {
                    missed.push(figure.key);
                }
            }
        }
        line.insert("target".to_owned(), Value::Object(targets));
        line.insert("met".to_owned(), json!(missed.is_empty()));
        line.insert("missed".to_owned(), json!(missed));
        line.insert("wrong".to_owned(), json!(self.wrong));
        Value::Object(line)
    }
}

/// Two digits after the point, none for whole numbers.
fn rounded(value: f64) -> Value {
    let value = (value * 100.0).round() / 100.0;
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}

/// Milliseconds, as figures have them.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The smallest value that at least `percent` of all values do not exceed (nearest rank); 0 for none.
pub fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}

/// The middle value.
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

/// The largest value; 0 for none.
pub fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 99), percentile(&values, 100)), (100.0, 198.0, 200.0));
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[7.0]), median(&[])), (2.0, 7.0, 0.0));
    }

    #[test]
    fn the_last_line_says_which_target_was_missed() {
        let mut figures = Figures::default();
        figures.promise("flows", "flows", 101_000.0, "flows", Target::AtLeast(100_000.0));
        figures.promise("realised_ms", "time", 1500.014, "ms", Target::AtMost(1500.0));
        figures.add("rounds", "rounds", 5.0, "");
        let line = figures.last_line("flows", 7, Datapath::Netdev);
        assert_eq!(line["target"], json!({ "flows": 100_000, "realised_ms": 1500 }));
        assert_eq!((&line["met"], &line["missed"]), (&json!(false), &json!(["realised_ms"])));
        assert_eq!((&line["realised_ms"], &line["rounds"], &line["seed"]), (&json!(1500.01), &json!(5), &json!(7)));
    }

    #[test]
    fn what_is_wrong_is_no_matter_of_targets() {
        let mut figures = Figures::default();
        assert!(figures.print("flows", 0, Datapath::Netdev));
        figures.wrong("the switch has one flow less than the agent says");
        assert!(!figures.print("flows", 0, Datapath::Netdev));
        assert_eq!(figures.last_line("flows", 0, Datapath::Netdev)["void"], json!(false));
    }

    #[test]
    fn a_void_run_fails_and_says_so() {
        let mut figures = Figures::default();
        figures.void("undisturbed, 3 of 6000 packets were lost");
        assert!(!figures.print("restart-agent", 0, Datapath::System));
        let line = figures.last_line("restart-agent", 0, Datapath::System);
        assert_eq!(line["void"], json!(true));
        assert_eq!(line["wrong"], json!(["void: undisturbed, 3 of 6000 packets were lost"]));
    }
}
