//! The part of a database schema (RFC 7047 section 3.2) that reading rows needs: the type of each column.
//!
//! Constraints are not read; the server holds them. A column's type tells how its JSON is read, which value it has when
//! the server leaves it out, and whether `modify` carries a new value or a difference.

use std::collections::BTreeMap;

use serde_json::Value;

use super::datum::{Atom, AtomKind, Datum, DatumError};

/// The columns of every table.
#[derive(Debug, Default)]
pub struct Schema {
    /// The schema's version, such as `8.3.1`.
    pub version: String,
    tables: BTreeMap<String, BTreeMap<String, ColumnType>>,
}

/// The type of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnType {
    pub key: AtomKind,
    /// The type of a map's values; `None` for sets.
    pub value: Option<AtomKind>,
    /// 1 if a set must not be empty, otherwise 0 (the schema allows no more).
    pub min: u64,
    /// `u64::MAX` for unlimited.
    pub max: u64,
}

/// A schema that cannot be read, or is not what the typed rows of this crate expect.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("the database schema cannot be read at {0}; is this an Open_vSwitch database?")]
    Malformed(String),
    #[error(
        "the database has no column {table}.{column}; it needs the schema of Open vSwitch 2.17 or later (ovsdb-tool convert)"
    )]
    Missing { table: &'static str, column: &'static str },
    #[error("the database's column {table}.{column} has another type ({found:?}) than this program reads")]
    OtherType { table: &'static str, column: &'static str, found: ColumnType },
}

impl Schema {
    /// Reads the answer to `get_schema`.
    pub fn from_json(value: &Value) -> Result<Self, SchemaError> {
        let malformed = |place: &str| SchemaError::Malformed(place.to_owned());
        let mut schema = Self { version: value["version"].as_str().unwrap_or_default().to_owned(), ..Self::default() };
        for (table, definition) in value["tables"].as_object().ok_or_else(|| malformed("tables"))? {
            let mut columns = BTreeMap::new();
            for (column, definition) in definition["columns"].as_object().ok_or_else(|| malformed(table))? {
                let place = || malformed(&format!("{table}.{column}"));
                columns.insert(column.clone(), ColumnType::from_json(&definition["type"]).ok_or_else(place)?);
            }
            schema.tables.insert(table.clone(), columns);
        }
        Ok(schema)
    }

    /// The type of a column, if there is such a column.
    pub fn column(&self, table: &str, column: &str) -> Option<ColumnType> {
        self.tables.get(table)?.get(column).copied()
    }
}

impl ColumnType {
    fn from_json(value: &Value) -> Option<Self> {
        if let Some(key) = atom_kind(value) {
            return Some(Self { key, value: None, min: 1, max: 1 });
        }
        let value_kind = match value.get("value") {
            Some(value) => Some(atom_kind(value)?),
            None => None,
        };
        let max = match value.get("max") {
            Some(Value::String(text)) if text == "unlimited" => u64::MAX,
            Some(number) => number.as_u64()?,
            None => 1,
        };
        let min = value.get("min").map_or(Some(1), Value::as_u64)?;
        Some(Self { key: atom_kind(value.get("key")?)?, value: value_kind, min, max })
    }

    /// Whether `modify` carries a difference and not the new value.
    pub(super) fn changes_by_difference(&self) -> bool {
        self.value.is_some() || self.max > 1
    }

    pub(super) fn read(&self, value: &Value) -> Result<Datum, DatumError> {
        match self.value {
            Some(content) => Datum::map_from_json(value, self.key, content),
            None => Datum::set_from_json(value, self.key),
        }
    }

    /// What the column holds when the server leaves it out of a row.
    pub(super) fn default(&self) -> Datum {
        match self.value {
            Some(_) => Datum::Map(BTreeMap::new()),
            None if self.min == 0 => Datum::Set([].into()),
            None => Datum::Set([Atom::default_of(self.key)].into()),
        }
    }
}

/// `"string"` or `{"type": "string", …}`.
fn atom_kind(value: &Value) -> Option<AtomKind> {
    match value.as_str().or_else(|| value.get("type")?.as_str())? {
        "integer" => Some(AtomKind::Integer),
        "real" => Some(AtomKind::Real),
        "boolean" => Some(AtomKind::Boolean),
        "string" => Some(AtomKind::String),
        "uuid" => Some(AtomKind::Uuid),
        _ => None,
    }
}
