//! Shared text: names and labels repeat by the thousand, each is kept once.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use hashbrown::HashSet;

/// Immutable text, cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Arc<str>);

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

/// Gives equal values one allocation. What nobody else holds any longer is swept when the pool has doubled, so its size is
/// bounded by what is in use, not by what ever was.
#[derive(Default)]
pub struct Pool {
    texts: Held<str>,
    labels: Held<[(Text, Text)]>,
    ports: Held<[super::NamedPort]>,
}

impl Pool {
    /// The shared copy of a text.
    pub fn text(&mut self, text: &str) -> Text {
        Text(self.texts.share(text, |text| Arc::from(text)))
    }

    /// The shared copy of a sorted list of labels.
    pub(super) fn labels(&mut self, labels: Vec<(Text, Text)>) -> Arc<[(Text, Text)]> {
        self.labels.share(labels.as_slice(), |labels| labels.iter().cloned().collect())
    }

    /// The shared copy of a sorted list of named ports.
    pub fn ports(&mut self, ports: Vec<super::NamedPort>) -> Arc<[super::NamedPort]> {
        self.ports.share(ports.as_slice(), |ports| ports.iter().cloned().collect())
    }
}

struct Held<T: ?Sized> {
    values: HashSet<Arc<T>>,
    sweep_at: usize,
}

impl<T: ?Sized> Default for Held<T> {
    fn default() -> Self {
        Self { values: HashSet::new(), sweep_at: 1024 }
    }
}

impl<T: ?Sized + std::hash::Hash + Eq> Held<T> {
    fn share(&mut self, value: &T, make: impl FnOnce(&T) -> Arc<T>) -> Arc<T> {
        if let Some(held) = self.values.get(value) {
            return Arc::clone(held);
        }
        if self.values.len() >= self.sweep_at {
            self.values.retain(|held| Arc::strong_count(held) > 1);
            self.sweep_at = (self.values.len() * 2).max(1024);
        }
        let made = make(value);
        self.values.insert(Arc::clone(&made));
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_share_one_allocation() {
        let mut pool = Pool::default();
        let (one, two) = (pool.text("web"), pool.text("web"));
        assert!(Arc::ptr_eq(&one.0, &two.0));
    }

    #[test]
    fn what_is_no_longer_used_is_swept() {
        let mut pool = Pool::default();
        let kept = pool.text("kept");
        for number in 0..10_000 {
            pool.text(&format!("gone-{number}"));
        }
        assert!(pool.texts.values.len() <= 2048, "{} texts are held", pool.texts.values.len());
        assert!(Arc::ptr_eq(&kept.0, &pool.text("kept").0));
    }
}
