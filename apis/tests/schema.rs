//! The protocol's schema may grow; what version 1 said keeps its numbers and types.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

/// A field: message, name → number, type, label, type's name.
type Fields = BTreeMap<(String, String), (i32, i32, i32, String)>;

struct Schema {
    fields: Fields,
    /// Numbers that no field may have again.
    reserved: BTreeSet<(String, i32)>,
    /// Values of enums: enum, name → number.
    values: BTreeMap<(String, String), i32>,
}

fn schema(file: &str) -> Schema {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let set = protox::compile([file], [folder]).unwrap();
    let mut schema = Schema { fields: Fields::new(), reserved: BTreeSet::new(), values: BTreeMap::new() };
    for message in &set.file[0].message_type {
        let name = message.name().to_owned();
        for field in &message.field {
            let said = (field.number(), field.r#type().into(), field.label().into(), field.type_name().to_owned());
            schema.fields.insert((name.clone(), field.name().to_owned()), said);
        }
        for range in &message.reserved_range {
            schema.reserved.extend((range.start()..range.end()).map(|number| (name.clone(), number)));
        }
    }
    for kind in &set.file[0].enum_type {
        for value in &kind.value {
            schema.values.insert((kind.name().to_owned(), value.name().to_owned()), value.number());
        }
    }
    schema
}

#[test]
fn every_field_of_the_previous_schema_keeps_its_number_and_type() {
    let (before, now) = (schema("stream-1.proto"), schema("stream.proto"));
    assert!(before.fields.len() > 60, "{} fields were read", before.fields.len());
    for ((message, field), said) in &before.fields {
        match now.fields.get(&(message.clone(), field.clone())) {
            Some(kept) => assert_eq!(kept, said, "{message}.{field} is not what it was"),
            None => assert!(
                now.reserved.contains(&(message.clone(), said.0)),
                "{message}.{field} is gone: write `reserved {};` in {message}, so that nothing else takes its number",
                said.0
            ),
        }
    }
    for ((kind, value), number) in &before.values {
        assert_eq!(now.values.get(&(kind.clone(), value.clone())), Some(number), "{kind}.{value}");
    }
}

#[test]
fn no_number_is_used_twice_or_again() {
    let now = schema("stream.proto");
    let mut used = BTreeSet::new();
    for ((message, field), (number, ..)) in &now.fields {
        assert!(used.insert((message.clone(), *number)), "{message}.{field}: {number} is used twice");
        assert!(!now.reserved.contains(&(message.clone(), *number)), "{message}.{field}: {number} is reserved");
    }
}
