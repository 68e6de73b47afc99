//! Label selectors in canonical form: one test a key, so that selectors that mean the same are equal.
//!
//! Source: the Kubernetes documentation of `LabelSelector`. `NotIn` also holds where the key is missing.

use std::collections::BTreeMap;
use std::fmt;

use super::{Labels, Text};

/// Which labels match: all tests must hold. No tests: everything matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelSelector {
    /// Sorted by key, one a key.
    tests: Box<[LabelTest]>,
}

/// What must hold for the value of one key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelTest {
    /// The label's key.
    pub key: Text,
    /// What must hold for it.
    pub operator: Operator,
}

/// The tests there are; value lists are sorted, without repetition, and not empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The label is there with one of these values.
    In(Box<[Text]>),
    /// The label is missing, or has none of these values.
    NotIn(Box<[Text]>),
    /// The label is there, with none of these values.
    ExistsNotIn(Box<[Text]>),
    /// The label is there.
    Exists,
    /// The label is missing.
    DoesNotExist,
    /// Requirements that contradict each other: nothing matches.
    Never,
}

impl LabelSelector {
    /// The canonical form of requirements in any order, several of which may speak of one key.
    pub fn new(requirements: impl IntoIterator<Item = LabelTest>) -> Self {
        let mut tests: BTreeMap<Text, Constraint> = BTreeMap::new();
        for requirement in requirements {
            tests.entry(requirement.key).or_default().add(requirement.operator);
        }
        let tests = tests.into_iter();
        let tests = tests.filter_map(|(key, constraint)| Some(LabelTest { key, operator: constraint.operator()? }));
        let tests: Box<[LabelTest]> = tests.collect();
        // One contradiction is as good as any other: the canonical form keeps the first and nothing else.
        if let Some(never) = tests.iter().find(|test| test.operator == Operator::Never) {
            return Self { tests: Box::new([LabelTest { key: Text::from(""), operator: never.operator.clone() }]) };
        }
        Self { tests }
    }

    /// Whether these labels are selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.tests.iter().all(|test| test.operator.matches(labels.get(&test.key)))
    }

    /// The tests, sorted by key.
    pub fn tests(&self) -> &[LabelTest] {
        &self.tests
    }

    /// Whether everything matches.
    pub fn is_everything(&self) -> bool {
        self.tests.is_empty()
    }
}

impl Operator {
    fn matches(&self, value: Option<&Text>) -> bool {
        match (self, value) {
            (Self::In(values), Some(value)) => values.binary_search(value).is_ok(),
            (Self::NotIn(values) | Self::ExistsNotIn(values), Some(value)) => values.binary_search(value).is_err(),
            (Self::Exists, Some(_)) | (Self::DoesNotExist | Self::NotIn(_), None) => true,
            (Self::DoesNotExist | Self::Never, Some(_))
            | (Self::In(_) | Self::ExistsNotIn(_) | Self::Exists | Self::Never, None) => false,
        }
    }
}

/// What several requirements say of one key together.
#[derive(Default)]
struct Constraint {
    there: bool,
    missing: bool,
    /// None: any value.
    allowed: Option<Vec<Text>>,
    denied: Vec<Text>,
    never: bool,
}

impl Constraint {
    fn add(&mut self, operator: Operator) {
        match operator {
            Operator::In(values) => {
                self.there = true;
                match &mut self.allowed {
                    Some(allowed) => allowed.retain(|value| values.contains(value)),
                    None => self.allowed = Some(values.into_vec()),
                }
            }
            Operator::NotIn(values) => self.denied.extend(values),
            Operator::ExistsNotIn(values) => {
                self.there = true;
                self.denied.extend(values);
            }
            Operator::Exists => self.there = true,
            Operator::DoesNotExist => self.missing = true,
            Operator::Never => self.never = true,
        }
    }

    /// None: no test at all.
    fn operator(self) -> Option<Operator> {
        let Self { there, missing, allowed, denied, never } = self;
        let sorted = |mut values: Vec<Text>| {
            values.sort_unstable();
            values.dedup();
            values.into_boxed_slice()
        };
        if never || (there && missing) {
            return Some(Operator::Never);
        }
        if missing {
            return Some(Operator::DoesNotExist);
        }
        if let Some(mut allowed) = allowed {
            allowed.retain(|value| !denied.contains(value));
            return Some(if allowed.is_empty() { Operator::Never } else { Operator::In(sorted(allowed)) });
        }
        match (there, denied.is_empty()) {
            (true, true) => Some(Operator::Exists),
            (true, false) => Some(Operator::ExistsNotIn(sorted(denied))),
            (false, true) => None,
            (false, false) => Some(Operator::NotIn(sorted(denied))),
        }
    }
}

/// `app=web,tier in (a,b),!legacy`, or `*` for everything.
impl fmt::Display for LabelSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_everything() {
            return formatter.write_str("*");
        }
        for (number, test) in self.tests.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(formatter, "{comma}{test}")?;
        }
        Ok(())
    }
}

impl fmt::Display for LabelTest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.operator {
            Operator::In(values) if values.len() == 1 => write!(formatter, "{key}={}", values[0]),
            Operator::In(values) => write!(formatter, "{key} in ({})", values.join(",")),
            Operator::NotIn(values) => write!(formatter, "{key} notin ({})", values.join(",")),
            Operator::ExistsNotIn(values) => write!(formatter, "{key} exists-notin ({})", values.join(",")),
            Operator::Exists => write!(formatter, "{key}"),
            Operator::DoesNotExist => write!(formatter, "!{key}"),
            Operator::Never => formatter.write_str("nothing"),
        }
    }
}

#[cfg(test)]
#[path = "selector_tests.rs"]
mod tests;
