//! Names made of content: whoever computes the same thing gives it the same name.

use std::fmt;

/// The first 16 bytes of a BLAKE3 hash over what an object says. Wide enough that two contents never share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId(pub [u8; 16]);

/// Gathers content. Every part is written with its length, so no two different sequences of parts read the same.
pub(super) struct Content(blake3::Hasher);

impl Content {
    /// Content of one kind; kinds never share names.
    pub fn of(kind: &str) -> Self {
        Self(blake3::Hasher::new()).text(kind)
    }

    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.0.update(&number.to_le_bytes());
        self
    }

    #[must_use]
    pub fn id(mut self, id: ContentId) -> Self {
        self.0.update(&id.0);
        self
    }

    /// A list: its length and then each of its items.
    #[must_use]
    pub fn list<T>(self, items: impl ExactSizeIterator<Item = T>, each: impl Fn(Self, T) -> Self) -> Self {
        let content = self.number(items.len() as u64);
        items.fold(content, each)
    }

    pub fn finish(&self) -> ContentId {
        let mut id = [0; 16];
        self.0.finalize_xof().fill(&mut id);
        ContentId(id)
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
