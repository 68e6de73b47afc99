//! The values of a database column (RFC 7047 section 5.1) and how they look in JSON.
//!
//! Every column holds a [`Datum`]: a set of atoms, or a map of atoms. A plain column is a set of exactly one, an optional
//! column a set of none or one. Not here: which type a column has ([`super::schema`]) and Rust types ([`super::row`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

/// The database's name of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(u128);

/// A text that is not a UUID.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a UUID such as 550e8400-e29b-41d4-a716-446655440000")]
pub struct NotUuid(String);

impl FromStr for Uuid {
    type Err = NotUuid;

    fn from_str(text: &str) -> Result<Self, NotUuid> {
        let error = || NotUuid(text.chars().take(60).collect());
        let lengths: Vec<usize> = text.split('-').map(str::len).collect();
        if lengths != [8, 4, 4, 4, 12] || !text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()) {
            return Err(error());
        }
        u128::from_str_radix(&text.replace('-', ""), 16).map(Uuid).map_err(|_| error())
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(formatter, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

/// A 64-bit float with a total order, so that it can be a member of a set.
#[derive(Debug, Clone, Copy)]
pub struct Real(pub f64);

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Real {}

impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Real {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Atom {
    Integer(i64),
    Real(Real),
    Boolean(bool),
    String(String),
    Uuid(Uuid),
    /// A row that the same transaction inserts; only ever sent, never received.
    NamedUuid(String),
}

/// The type of an atom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtomKind {
    Integer,
    Real,
    Boolean,
    String,
    Uuid,
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datum {
    Set(BTreeSet<Atom>),
    Map(BTreeMap<Atom, Atom>),
}

/// JSON that does not fit the type its column has.
#[derive(Debug, thiserror::Error)]
#[error("the value {0} does not fit the column's type {1}")]
pub struct DatumError(pub(super) String, pub(super) String);

impl Atom {
    pub(super) fn from_json(value: &Value, kind: AtomKind) -> Result<Self, DatumError> {
        let atom = match kind {
            AtomKind::Integer => value.as_i64().map(Atom::Integer),
            AtomKind::Real => value.as_f64().map(|real| Atom::Real(Real(real))),
            AtomKind::Boolean => value.as_bool().map(Atom::Boolean),
            AtomKind::String => value.as_str().map(|text| Atom::String(text.to_owned())),
            AtomKind::Uuid => {
                tagged(value, "uuid").and_then(Value::as_str).and_then(|text| text.parse().ok()).map(Atom::Uuid)
            }
        };
        atom.ok_or_else(|| DatumError(value.to_string().chars().take(80).collect(), format!("{kind:?}")))
    }

    pub(super) fn to_json(&self) -> Value {
        match self {
            Atom::Integer(integer) => json!(integer),
            Atom::Real(real) => json!(real.0),
            Atom::Boolean(boolean) => json!(boolean),
            Atom::String(text) => json!(text),
            Atom::Uuid(uuid) => json!(["uuid", uuid.to_string()]),
            Atom::NamedUuid(name) => json!(["named-uuid", name]),
        }
    }

    /// The value that a column without a value of its own holds (RFC 7047 section 5.2.1).
    pub(super) fn default_of(kind: AtomKind) -> Self {
        match kind {
            AtomKind::Integer => Atom::Integer(0),
            AtomKind::Real => Atom::Real(Real(0.0)),
            AtomKind::Boolean => Atom::Boolean(false),
            AtomKind::String => Atom::String(String::new()),
            AtomKind::Uuid => Atom::Uuid(Uuid(0)),
        }
    }
}

impl Datum {
    /// Reads a set, which of one element may also be written as that element alone.
    pub(super) fn set_from_json(value: &Value, kind: AtomKind) -> Result<Self, DatumError> {
        match tagged(value, "set").and_then(Value::as_array) {
            Some(members) => {
                members.iter().map(|member| Atom::from_json(member, kind)).collect::<Result<_, _>>().map(Datum::Set)
            }
            None => Ok(Datum::Set(BTreeSet::from([Atom::from_json(value, kind)?]))),
        }
    }

    pub(super) fn map_from_json(value: &Value, key: AtomKind, content: AtomKind) -> Result<Self, DatumError> {
        let error = || DatumError(value.to_string().chars().take(80).collect(), "Map".into());
        let pairs = tagged(value, "map").and_then(Value::as_array).ok_or_else(error)?;
        let mut map = BTreeMap::new();
        for pair in pairs {
            let [first, second] = pair.as_array().map(Vec::as_slice).unwrap_or_default() else { return Err(error()) };
            map.insert(Atom::from_json(first, key)?, Atom::from_json(second, content)?);
        }
        Ok(Datum::Map(map))
    }

    /// The JSON form, accepted by the server for every column type.
    pub fn to_json(&self) -> Value {
        match self {
            Datum::Set(members) if members.len() == 1 => {
                members.first().map(Atom::to_json).expect("a set of one has a first member")
            }
            Datum::Set(members) => json!(["set", members.iter().map(Atom::to_json).collect::<Vec<_>>()]),
            Datum::Map(map) => json!([
                "map",
                map.iter().map(|(key, value)| json!([key.to_json(), value.to_json()])).collect::<Vec<_>>()
            ]),
        }
    }

    /// Applies the symmetric difference that `modify` carries for sets of more than one and for maps (`ovsdb-server(7)`,
    /// section 4.1.14): a member of both goes, a member of one stays, a map key with another value takes the new value.
    pub(super) fn apply_difference(&mut self, difference: Datum) {
        match (self, difference) {
            (Datum::Set(members), Datum::Set(changed)) => {
                for atom in changed {
                    if !members.remove(&atom) {
                        members.insert(atom);
                    }
                }
            }
            (Datum::Map(map), Datum::Map(changed)) => {
                for (key, value) in changed {
                    if map.get(&key) == Some(&value) {
                        map.remove(&key);
                    } else {
                        map.insert(key, value);
                    }
                }
            }
            (this, other) => *this = other,
        }
    }
}

/// `[tag, value]` → `value`.
fn tagged<'a>(value: &'a Value, tag: &str) -> Option<&'a Value> {
    match value.as_array().map(Vec::as_slice) {
        Some([Value::String(found), inner]) if found == tag => Some(inner),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(members: &[&str]) -> Datum {
        Datum::Set(members.iter().map(|member| Atom::String((*member).into())).collect())
    }

    fn map(pairs: &[(&str, &str)]) -> Datum {
        Datum::Map(
            pairs.iter().map(|(key, value)| (Atom::String((*key).into()), Atom::String((*value).into()))).collect(),
        )
    }

    #[test]
    fn a_difference_takes_the_old_value_to_the_new() {
        let mut members = set(&["a", "b"]);
        members.apply_difference(set(&["b", "c"]));
        assert_eq!(members, set(&["a", "c"]));

        let mut pairs = map(&[("kept", "1"), ("gone", "2"), ("changed", "3")]);
        pairs.apply_difference(map(&[("gone", "2"), ("changed", "4"), ("new", "5")]));
        assert_eq!(pairs, map(&[("kept", "1"), ("changed", "4"), ("new", "5")]));
    }

    #[test]
    fn json_forms_of_sets() {
        for (json, expected) in [
            (json!("a"), set(&["a"])),
            (json!(["set", ["a"]]), set(&["a"])),
            (json!(["set", []]), set(&[])),
            (json!(["set", ["b", "a"]]), set(&["a", "b"])),
        ] {
            let read = Datum::set_from_json(&json, AtomKind::String).unwrap();
            assert_eq!(read, expected, "{json}");
            assert_eq!(
                Datum::set_from_json(&read.to_json(), AtomKind::String).unwrap(),
                expected,
                "written and read again"
            );
        }
        assert!(Datum::set_from_json(&json!(1), AtomKind::String).is_err());
    }

    #[test]
    fn uuids_are_read_strictly_and_written_as_read() {
        let text = "00000000-e29b-41d4-a716-446655440000";
        assert_eq!(text.parse::<Uuid>().unwrap().to_string(), text);
        for wrong in [
            "",
            "550e8400",
            "550e8400e29b41d4a716446655440000",
            "550e8400-e29b-41d4-a716-44665544000g",
            "+50e8400-e29b-41d4-a716-446655440000",
        ] {
            assert!(wrong.parse::<Uuid>().is_err(), "{wrong}");
        }
    }
}
