//! What a flow does, in words.

use openflow::{Action, Ct, CtFlags, CtZone, Field, PortNumber, Subfield, Value};

use super::matching::{bits, mask_of, value};
use super::naming::Naming;
use crate::number::ConjunctionNumber;
use crate::register::{self, REGISTERS, RESERVED};
use crate::table::Table;

/// Every action in order; clauses of conjunctions sorted by name.
pub(super) fn words(actions: &[Action], naming: &mut Naming<'_>) -> Vec<String> {
    let mut words: Vec<String> = actions.iter().flat_map(|action| action_words(action, naming)).collect();
    if actions.iter().all(|action| matches!(action, Action::Conjunction { .. })) {
        words.sort();
    }
    words
}

fn action_words(action: &Action, naming: &mut Naming<'_>) -> Vec<String> {
    vec![match action {
        Action::SetField { field, value, mask } => return set_field(*field, *value, *mask, naming),
        Action::CopyField { source, destination } => format!("{}={}", place(*destination), place(*source)),
        Action::Output { port: PortNumber::IN_PORT, .. } => "output back to in_port".to_string(),
        Action::Output { port, .. } => format!("output to {}", naming.port(port.0)),
        Action::OutputReg { source, .. } => format!("output to {}", place(*source)),
        Action::DecTtl => "dec_ttl".to_string(),
        Action::Conjunction { id, clause, clauses } => {
            format!("clause {clause}/{clauses} of {}", naming.conjunction(ConjunctionNumber(*id)))
        }
        Action::Ct(ct) => conntrack(ct, naming),
        other => other.to_string(),
    }]
}

fn set_field(field: Field, to: Value, mask: Option<Value>, naming: &mut Naming<'_>) -> Vec<String> {
    match bits(field, to.number(), mask.map_or_else(|| mask_of(field), Value::number)) {
        Some(parts) => parts.iter().map(|part| part.text(naming)).collect(),
        None => match mask {
            None => vec![format!("{field}={}", value(field, to))],
            Some(mask) => vec![format!("{field}={}/{}", value(field, to), value(field, mask))],
        },
    }
}

/// Bits by the register they are, or as `field[2..4]`.
fn place(bits: Subfield) -> String {
    if let Some(register) = REGISTERS.iter().chain(RESERVED).find(|register| register.subfield() == bits) {
        return register.name.to_string();
    }
    if bits == bits.field.whole() {
        return bits.field.to_string();
    }
    format!("{}[{}..{}]", bits.field, bits.offset, bits.offset + bits.bits - 1)
}

/// `track` looks the connection up and goes on as a new pass; `commit` keeps it and what is written on it.
fn conntrack(ct: &Ct, naming: &mut Naming<'_>) -> String {
    let mut text = if ct.flags.contains(CtFlags::COMMIT) { "commit".to_string() } else { "track".to_string() };
    match ct.zone {
        CtZone::Number(register::CT_ZONE) => {}
        CtZone::Number(zone) => text += &format!(" zone={zone:#x}"),
        CtZone::Field(bits) => text += &format!(" zone={}", place(bits)),
    }
    if !ct.exec.is_empty() {
        text += &format!("({})", words(&ct.exec, naming).join(", "));
    }
    if let Some(table) = ct.table {
        let name = Table::from_id(table).map_or_else(|| table.to_string(), |table| table.name().to_string());
        text += &format!(", goto {name} as a new pass");
    }
    text
}
