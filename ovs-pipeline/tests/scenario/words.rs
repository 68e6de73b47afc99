//! A line's words: positions, `key=value` and flags; what nobody asked for is an error.

use anyhow::{Context, Result, bail};

/// What is left of a line.
pub struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    pub fn new(line: &'a str) -> Self {
        Self(line.split_whitespace().collect())
    }

    /// The next word.
    pub fn first(&mut self, what: &str) -> Result<&'a str> {
        if self.0.is_empty() {
            bail!("{what} is missing");
        }
        Ok(self.0.remove(0))
    }

    /// The value of `key=…`.
    pub fn value(&mut self, key: &str) -> Option<&'a str> {
        let at = self.0.iter().position(|word| word.split_once('=').is_some_and(|(left, _)| left == key))?;
        self.0.remove(at).split_once('=').map(|(_, right)| right)
    }

    /// The value of `key=…`, parsed, or a default.
    pub fn parsed<T: std::str::FromStr>(&mut self, key: &str, default: T) -> Result<T>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        self.value(key).map_or(Ok(default), |text| text.parse().with_context(|| format!("{key}={text}")))
    }

    /// Values of `key=…,…`, parsed, or a default.
    pub fn list<T: std::str::FromStr>(&mut self, key: &str, default: Vec<T>) -> Result<Vec<T>>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        let Some(text) = self.value(key) else { return Ok(default) };
        text.split(',').map(|item| item.parse().with_context(|| format!("{key}={item}"))).collect()
    }

    /// Whether a word stands alone.
    pub fn flag(&mut self, flag: &str) -> bool {
        let at = self.0.iter().position(|word| *word == flag);
        at.map(|at| self.0.remove(at)).is_some()
    }

    /// The rest, in order.
    pub fn rest(&mut self) -> Vec<&'a str> {
        std::mem::take(&mut self.0)
    }

    /// Nothing may be left.
    pub fn done(self) -> Result<()> {
        if !self.0.is_empty() {
            bail!("what is {:?}?", self.0.join(" "));
        }
        Ok(())
    }
}

/// `0a:00:00:00:01:03`.
pub fn mac(text: &str) -> Result<[u8; 6]> {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
    bytes.try_into().map_err(|_| anyhow::anyhow!("{text:?} is no link address"))
}
