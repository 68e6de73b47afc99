//! The register map: what the bits mean and between which tables they live.

use std::fmt::Write;

use ovs_pipeline::register::{CT_ZONE, CT_ZONE_EGRESS_NAT, REGISTERS, RESERVED, Register};
use ovs_pipeline::{IdentityNumber, RuleNumber, Table};

pub fn section() -> String {
    let mut text =
        "## Registers\n\nBits that flows share. A register lives from the table in which it is first written to the \
                    last that reads it; `ct_mark` and `ct_label` live with the connection.\n\n"
            .to_string();
    text += "| name | bits | what it means | lives | written in | read in |\n|---|---|---|---|---|---|\n";
    for register in REGISTERS {
        let written = using(register, |table| table.spec().writes);
        let read = using(register, |table| table.spec().reads);
        let Register { name, purpose, .. } = register;
        let _ =
            writeln!(text, "| `{name}` | {} | {purpose} | {} | {written} | {read} |", bits(register), life(register));
    }
    text += "\n### Values with a fixed meaning\n\n| where | number | shown as | meaning |\n|---|---|---|---|\n";
    for (number, shown, meaning) in
        [(1, "pod", "a pod of this node"), (2, "tunnel", "another node"), (3, "gateway", "the node itself")]
    {
        let _ = writeln!(text, "| `source`, `destination` | {number} | {shown} | {meaning} |");
    }
    for (number, shown, meaning) in
        [(0, "none", "nothing was said: a drop"), (1, "allow", "goes on"), (2, "drop", "stops here")]
    {
        let _ = writeln!(text, "| `egress_verdict`, `ingress_verdict` | {number} | {shown} | {meaning} |");
    }
    for (number, shown, meaning) in [
        (
            IdentityNumber::UNKNOWN,
            "unknown",
            "an address in a pod range that is not mapped on this node; no selector matches it",
        ),
        (IdentityNumber::WORLD, "world", "an address outside every pod range"),
        (IdentityNumber::NODE, "node", "a node or its gateway; no selector matches it"),
    ] {
        let _ = writeln!(text, "| `source_identity`, `destination_identity` | {} | {shown} | {meaning} |", number.0);
    }
    for (number, shown, meaning) in [
        (RuleNumber::HOST_ORIGIN, "host-origin", "the node itself sent the packet to its own pod"),
        (RuleNumber::NO_ISOLATION, "no-isolation", "no policy isolates the pod in this direction"),
        (RuleNumber::CLOSED, "closed", "the pod's identity is not known yet and a policy could select it"),
        (RuleNumber::NOT_APPLICABLE, "not-applicable", "the direction has no pod of this node"),
    ] {
        let _ = writeln!(text, "| `egress_rule`, `ingress_rule` | {} | {shown} | {meaning} |", number.0);
    }
    let _ = writeln!(text, "\nNumbers from {} up stand for names; the agent knows which.\n", IdentityNumber::FIRST.0);
    text += "### Conntrack zones\n\n| zone | what for |\n|---|---|\n";
    let _ = writeln!(text, "| {CT_ZONE} ({CT_ZONE:#x}) | pod traffic, both families |");
    let _ = writeln!(text, "| {CT_ZONE_EGRESS_NAT} ({CT_ZONE_EGRESS_NAT:#x}) | reserved: Egress source addresses |\n");
    text += "### Reserved bits\n\nFeatures to come own these; nothing uses them until then.\n\n| name | bits | what for |\n|---|---|---|\n";
    for register in RESERVED {
        let _ = writeln!(text, "| `{}` | {} | {} |", register.name, bits(register), register.purpose);
    }
    text
}

fn bits(register: &Register) -> String {
    let Register { field, low, bits, .. } = register;
    if u16::from(*bits) == field.bits() {
        format!("`{field}`")
    } else {
        format!("`{field}[{low}..{}]`", low + bits - 1)
    }
}

fn life(register: &Register) -> String {
    register
        .life
        .map_or_else(|| "with the connection".to_string(), |(from, to)| format!("{} to {}", from.name(), to.name()))
}

fn using(register: &Register, tables: impl Fn(Table) -> &'static [Register]) -> String {
    let using = Table::ALL.iter().filter(|table| tables(**table).iter().any(|known| known.name == register.name));
    let names: Vec<&str> = using.map(|table| table.name()).collect();
    match (names.as_slice(), register.name) {
        ([], "suppress_output" | "look") => "the agent's packet-out".to_string(),
        ([], "ct_look") => "the agent".to_string(),
        ([], _) => "logs, counters, traces".to_string(),
        (names, _) => names.join(", "),
    }
}
