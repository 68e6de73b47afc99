//! A document as a tree in which every value knows its line.
//!
//! Scalars are typed as Kubernetes tools type them (`yes` is a boolean, `0400` is 256, `"80"` is text), because those tools
//! turn YAML into JSON before anything looks at it. A key is its text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A place in a text, both counted from 1; 0 where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub line: u32,
    pub column: u32,
}

/// A value and where it starts.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub position: Position,
    pub value: Value,
}

/// A mapping's entry; `position` is the key's.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub position: Position,
    pub key: String,
    pub tree: Tree,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    Mapping(Vec<Entry>),
}

impl Value {
    /// What it is, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".into(),
            Self::Bool(value) => format!("the boolean {value}"),
            Self::Int(value) => format!("the number {value}"),
            Self::Float(value) => format!("the number {value}"),
            Self::Text(value) => format!("the text {:?}", super::shortened(value)),
            Self::List(_) => "a list".into(),
            Self::Mapping(_) => "a mapping".into(),
        }
    }
}

impl Tree {
    /// The entries of a mapping; none of anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of a mapping.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// Takes the value of a mapping's entry out of it.
    pub fn take(&mut self, key: &str) -> Option<Tree> {
        let Value::Mapping(entries) = &mut self.value else { return None };
        let at = entries.iter().position(|entry| entry.key == key)?;
        Some(entries.swap_remove(at).tree)
    }

    /// The value of a mapping's entry.
    pub fn get(&self, key: &str) -> Option<&Tree> {
        self.entry(key).map(|entry| &entry.tree)
    }

    /// The text of a mapping's entry.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)?.value {
            Value::Text(ref text) => Some(text),
            _ => None,
        }
    }

    /// The position of `spec.ingress[0].ports[1]`, or of the deepest part of that path that is there.
    ///
    /// A part in brackets is an index, or else a key that may hold dots (`metadata.labels[example.com/app]`).
    pub fn locate(&self, path: &str) -> Position {
        let mut tree = self;
        let mut position = self.position;
        for part in path.split_inclusive(['.', '[', ']']).scan(Split::default(), Split::next).flatten() {
            match tree.step(&part) {
                Some((at, next)) => (position, tree) = (at, next),
                None => break,
            }
        }
        position
    }

    fn step(&self, part: &str) -> Option<(Position, &Tree)> {
        match &self.value {
            Value::List(items) => items.get(part.parse::<usize>().ok()?).map(|item| (item.position, item)),
            Value::Mapping(_) => self.entry(part).map(|entry| (entry.position, &entry.tree)),
            _ => None,
        }
    }
}

/// Cuts a path into parts: dots separate outside brackets only.
#[derive(Default)]
struct Split {
    part: String,
    bracket: bool,
}

impl Split {
    /// Takes one piece that ends in a separator (or is the last); the outer option is always there.
    #[allow(clippy::unnecessary_wraps, reason = "the shape that Iterator::scan asks for")]
    fn next(&mut self, piece: &str) -> Option<Option<String>> {
        let (text, separator) = match piece.char_indices().next_back() {
            Some((at, separator @ ('.' | '[' | ']'))) => (&piece[..at], Some(separator)),
            _ => (piece, None),
        };
        self.part.push_str(text);
        if self.bracket && separator == Some('.') {
            self.part.push('.');
            return Some(None);
        }
        self.bracket = separator == Some('[');
        let part = std::mem::take(&mut self.part);
        Some((!part.is_empty()).then_some(part))
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { position: position(&spanned), value: spanned.value })
    }
}

fn position<T>(spanned: &Spanned<T>) -> Position {
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Position { line: narrow(spanned.referenced.line()), column: narrow(spanned.referenced.column()) }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value that JSON knows")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Text(String::from_utf8_lossy(value).into_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries: Vec<Entry> = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let position = position(&key);
            entries.push(Entry { position, key: key.value, tree: map.next_value()? });
        }
        let mut keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
        keys.sort_unstable();
        if let Some(twice) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(A::Error::custom(format!("the key {:?} is there twice", super::shortened(twice[0]))));
        }
        Ok(Value::Mapping(entries))
    }
}
