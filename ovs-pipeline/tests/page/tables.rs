//! A section a table, in packet order.

use std::fmt::Write;

use openflow::Field;
use ovs_pipeline::register::Register;
use ovs_pipeline::{Datapath, Miss, Table};

use super::{Line, Lines};

fn link(table: Table) -> String {
    format!("[{0}](#{1})", table.name(), anchor(table))
}

/// As headings get it: lower case, without what is no letter.
pub fn anchor(table: Table) -> String {
    format!("table-{}-{}", table.id(), table.name().to_lowercase())
}

fn links(tables: &[Table]) -> String {
    tables.iter().map(|table| link(*table)).collect::<Vec<_>>().join(", ")
}

fn purpose(table: Table) -> &'static str {
    table.purpose().trim()
}

fn miss(table: Table) -> String {
    match table.spec().miss {
        Miss::Drop => "the packet is dropped".to_string(),
        Miss::Goto(next) => format!("the packet goes on to {}", link(next)),
    }
}

/// All tables at a glance.
pub fn overview() -> String {
    let mut text = "## The way of a packet\n\n| id | table | what for | goes on to | a miss |\n|---|---|---|---|---|\n"
        .to_string();
    for &table in Table::ALL {
        let next = links(table.spec().next);
        let miss = if table.spec().miss == Miss::Drop { "**drop**" } else { "goes on" };
        let _ = writeln!(text, "| {} | {} | {} | {next} | {miss} |", table.id(), link(table), purpose(table));
    }
    text
}

/// Every table in full.
pub fn sections(lines: &Lines) -> String {
    Table::ALL
        .iter()
        .map(|&table| section(table, lines.get(&table).map_or(&[], Vec::as_slice)))
        .collect::<Vec<_>>()
        .join("\n")
}

fn section(table: Table, lines: &[Line]) -> String {
    let spec = table.spec();
    let mut text = format!("## Table {} {}\n\n{}\n\n", table.id(), table.name(), purpose(table));
    let fields: Vec<String> = spec.matches.iter().map(|field| format!("`{}`", word(*field))).collect();
    for (what, words) in [("Matches", fields), ("Reads", names(spec.reads)), ("Writes", names(spec.writes))] {
        if !words.is_empty() {
            let _ = writeln!(text, "- {what}: {}", words.join(", "));
        }
    }
    if !spec.next.is_empty() {
        let _ = writeln!(text, "- Next: {}", links(spec.next));
    }
    let _ = writeln!(text, "- Nothing matches: {}\n", miss(table));
    let flows: Vec<&Line> = lines.iter().filter(|line| line.priority > 0).collect();
    if flows.is_empty() {
        text += "It has no flows yet: every packet takes the miss.\n";
        return text;
    }
    text += "| priority | match | actions | why |\n|---|---|---|---|\n";
    for Line { priority, matches, actions, why, only } in flows {
        let only = match only {
            Some(Datapath::Netdev) => " *(netdev only)*",
            Some(Datapath::System) => " *(system only)*",
            None => "",
        };
        let _ = writeln!(text, "| {priority} | `{matches}` | `{actions}` | {why}{only} |");
    }
    text
}

/// A field as flows show it: the port goes by its short name.
fn word(field: Field) -> String {
    if field == Field::InPort { "in_port".to_string() } else { field.to_string() }
}

fn names(registers: &[Register]) -> Vec<String> {
    registers.iter().map(|register| format!("`{}`", register.name)).collect()
}
