//! Labels: sorted pairs, shared between all that have the same.

use std::fmt;
use std::sync::Arc;

use super::{Pool, Text};

/// A sorted set of labels, one value a key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[(Text, Text)]>);

impl Labels {
    /// Labels from pairs in any order; of two with one key the later stays.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>, pool: &mut Pool) -> Self {
        let pairs: std::collections::BTreeMap<&str, &str> = pairs.into_iter().collect();
        let pairs = pairs.into_iter().map(|(key, value)| (pool.text(key), pool.text(value))).collect();
        Self(pool.labels(pairs))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Text> {
        let at = self.0.binary_search_by(|(held, _)| held.as_str().cmp(key)).ok()?;
        Some(&self.0[at].1)
    }

    /// All pairs, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = &(Text, Text)> {
        self.0.iter()
    }

    /// The labels whose keys `keep` accepts; the same allocation when it accepts all.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        if self.0.iter().all(|(key, _)| keep(key)) {
            return self.clone();
        }
        Self(self.0.iter().filter(|(key, _)| keep(key)).cloned().collect())
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

/// `app=web,tier=front`, or `-` for none.
impl fmt::Display for Labels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("-");
        }
        for (number, (key, value)) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(formatter, "{comma}{key}={value}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
