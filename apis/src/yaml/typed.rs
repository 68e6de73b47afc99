//! From a document's tree to typed objects, with errors that name the field and its line.
//!
//! As in the API server's JSON reader, `null` is the same as a missing field, text is never made of numbers or booleans, and
//! a field nobody asks for is passed over (and noted, see [`Reader::unknown_fields`]).

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor, value::StrDeserializer};

use super::tree::{Entry, Position, Tree, Value};

/// What does not fit the type, and where.
#[derive(Debug, Default)]
pub(super) struct Mismatch {
    pub position: Position,
    pub path: String,
    pub what: String,
    pub advice: String,
}

impl Mismatch {
    fn new(tree: &Tree, wanted: &str, advice: &str) -> Self {
        let what = format!("must be {wanted}, but is {}", tree.value.describe());
        Self { position: tree.position, path: String::new(), what, advice: advice.to_owned() }
    }

    fn or_at(mut self, position: Position) -> Self {
        if self.position == Position::default() {
            self.position = position;
        }
        self
    }

    fn inside_field(mut self, key: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{key}{dot}{}", self.path);
        self
    }

    fn inside_item(mut self, index: usize) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("[{index}]{dot}{}", self.path);
        self
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.path, self.what)
    }
}

impl std::error::Error for Mismatch {}

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let advice = "write a value as the Kubernetes API reference has it".to_owned();
        Self { what: format!("cannot be read: {message}"), advice, ..Self::default() }
    }
}

/// What was seen while reading one object.
#[derive(Default)]
pub(super) struct Reader {
    /// Fields that the type does not have.
    pub unknown_fields: RefCell<Vec<(String, Position)>>,
}

impl Reader {
    /// Reads `tree` as a `T`.
    pub fn read<'de, T: de::Deserialize<'de>>(&'de self, tree: &'de Tree) -> Result<T, Mismatch> {
        T::deserialize(Typed { tree, field: None, reader: self })
    }
}

#[derive(Clone, Copy)]
struct Typed<'de> {
    tree: &'de Tree,
    /// The entry whose value this is, where it is one.
    field: Option<&'de Entry>,
    reader: &'de Reader,
}

impl<'de> Typed<'de> {
    fn integer(self) -> Result<i64, Mismatch> {
        match self.tree.value {
            Value::Null => Ok(0),
            Value::Int(number) if i32::try_from(number).is_ok() => Ok(number),
            Value::Float(number) if number.fract() == 0.0 && number.abs() < 2_147_483_648.0 => Ok(number as i64),
            _ => Err(Mismatch::new(self.tree, "a whole number of 32 bits", "write such a number, without quotes")),
        }
    }

    fn text(self) -> Result<&'de str, Mismatch> {
        match &self.tree.value {
            Value::Null => Ok(""),
            Value::Text(text) => Ok(text),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                Err(Mismatch::new(self.tree, "text", "put the value in quotes"))
            }
            _ => Err(Mismatch::new(self.tree, "text", "write one line of text")),
        }
    }

    fn entries<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let entries: &[Entry] = match &self.tree.value {
            Value::Null => &[],
            Value::Mapping(entries) => entries,
            _ => return Err(Mismatch::new(self.tree, "a mapping", "write `key: value` lines under it, or {}")),
        };
        visitor.visit_map(Fields { entries: entries.iter(), current: None, reader: self.reader })
    }

    fn items<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let items: &[Tree] = match &self.tree.value {
            Value::Null => &[],
            Value::List(items) => items,
            _ => return Err(Mismatch::new(self.tree, "a list", "start each item with `- `")),
        };
        visitor.visit_seq(Items { items: items.iter().enumerate(), reader: self.reader })
    }
}

impl<'de> de::Deserializer<'de> for Typed<'de> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let found = match &self.tree.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(_) | Value::Float(_) => visitor.visit_i64(self.integer()?),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(_) => self.items(visitor),
            Value::Mapping(_) => self.entries(visitor),
        };
        found.map_err(|error| error.or_at(self.tree.position))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.tree.value {
            Value::Null => visitor.visit_bool(false),
            Value::Bool(value) => visitor.visit_bool(value),
            _ => Err(Mismatch::new(self.tree, "a boolean", "write true or false, without quotes")),
        }
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_i64(self.integer()?).map_err(|error: Mismatch| error.or_at(self.tree.position))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.tree.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.items(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.entries(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.entries(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        let variant: StrDeserializer<'de, Mismatch> = self.text()?.into_deserializer();
        visitor.visit_enum(variant).map_err(|error| error.or_at(self.tree.position))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if let Some(field) = self.field {
            self.reader.unknown_fields.borrow_mut().push((field.key.clone(), field.position));
        }
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct newtype_struct tuple tuple_struct
        identifier
    }
}

/// The entries of a mapping, one after the other.
struct Fields<'de> {
    entries: std::slice::Iter<'de, Entry>,
    current: Option<&'de Entry>,
    reader: &'de Reader,
}

impl<'de> de::MapAccess<'de> for Fields<'de> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mismatch> {
        self.current = self.entries.next();
        self.current.map(|entry| seed.deserialize(entry.key.as_str().into_deserializer())).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Mismatch> {
        let entry = self.current.ok_or_else(|| de::Error::custom("a value was asked for before its key"))?;
        let value = Typed { tree: &entry.tree, field: Some(entry), reader: self.reader };
        seed.deserialize(value).map_err(|error| error.or_at(entry.tree.position).inside_field(&entry.key))
    }
}

/// The items of a list, one after the other.
struct Items<'de> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Tree>>,
    reader: &'de Reader,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Mismatch;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Mismatch> {
        let Some((index, tree)) = self.items.next() else { return Ok(None) };
        let item = Typed { tree, field: None, reader: self.reader };
        seed.deserialize(item).map(Some).map_err(|error| error.or_at(tree.position).inside_item(index))
    }
}
