//! The layout is laid down once: ids, bits and their lives.

use std::collections::BTreeMap;

use ovs_pipeline::register::{REGISTERS, RESERVED, Register};
use ovs_pipeline::{Datapath, Effect, Miss, Part, PolicyMode, Table, base_flows};

/// Every id ever given to a table. Lines are added, never changed or removed: a recirculating packet may resume there.
const TABLE_IDS: &str = include_str!("table-ids.txt");

#[test]
fn table_ids_equal_the_committed_list() {
    let committed: BTreeMap<&str, u8> = TABLE_IDS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (name, id) = line.split_once(' ').expect("a line is a name and an id");
            (name, id.parse().expect("an id is a number"))
        })
        .collect();
    let declared: BTreeMap<&str, u8> = Table::ALL.iter().map(|table| (table.name(), table.id())).collect();
    assert_eq!(
        declared, committed,
        "a table's id never changes and is never reused; a new table adds a line to table-ids.txt"
    );
}

#[test]
fn tables_are_in_packet_order_and_go_only_forward() {
    for pair in Table::ALL.windows(2) {
        assert!(pair[0].id() < pair[1].id(), "{:?} stands before {:?}", pair[0], pair[1]);
    }
    for &table in Table::ALL {
        let spec = table.spec();
        for next in spec.next {
            assert!(next.id() > table.id(), "{table:?} goes back to {next:?}");
        }
        if let Miss::Goto(next) = spec.miss {
            assert!(spec.next.contains(&next), "{table:?}: the miss goes to {next:?}, which next does not list");
        }
    }
}

/// The bits of a register in the 512 bits of registers, or in its conntrack field.
fn bits(register: &Register) -> (String, std::ops::Range<u32>) {
    use openflow::Field::{Reg, Xreg, Xxreg};
    let low = u32::from(register.low);
    let (space, start) = match register.field {
        Reg(n) => ("registers".to_string(), u32::from(n) * 32 + low),
        // An xreg's high half is the register of the lower number: ovs-fields(7), "xreg0".
        Xreg(n) => ("registers".to_string(), u32::from(n) * 64 + low),
        Xxreg(n) => ("registers".to_string(), u32::from(n) * 128 + low),
        other => (other.to_string(), low),
    };
    (space, start..start + u32::from(register.bits))
}

#[test]
fn no_two_registers_share_a_bit() {
    let all: Vec<&Register> = REGISTERS.iter().chain(RESERVED).collect();
    for (index, one) in all.iter().enumerate() {
        for other in &all[index + 1..] {
            let ((space, a), (other_space, b)) = (bits(one), bits(other));
            let apart = space != other_space || a.end <= b.start || b.end <= a.start;
            let lives_apart = match (one.life, other.life) {
                (Some((_, end)), Some((start, _))) if end < start => true,
                (Some((start, _)), Some((_, end))) if end < start => true,
                _ => false,
            };
            assert!(apart || lives_apart, "{} and {} share bits while both live", one.name, other.name);
        }
    }
}

#[test]
fn what_is_written_is_read_within_its_life() {
    for register in REGISTERS {
        let writers: Vec<Table> = tables(|table| table.spec().writes.iter().any(|r| r.name == register.name));
        let readers: Vec<Table> = tables(|table| table.spec().reads.iter().any(|r| r.name == register.name));
        // Written by the agent's packet-out, or read by the agent, logs, counters and traces of connections.
        let outside = ["suppress_output", "look"].contains(&register.name);
        let for_people = ["ct_ingress_rule", "ct_egress_rule", "ct_look"].contains(&register.name);
        assert!(outside || !writers.is_empty(), "{} is never written", register.name);
        assert!(for_people || !readers.is_empty(), "{} is never read", register.name);
        if let Some((from, to)) = register.life {
            for table in writers.iter().chain(&readers) {
                assert!((from..=to).contains(table), "{} lives {from:?}..{to:?} but {table:?} uses it", register.name);
            }
        }
    }
}

fn tables(wanted: impl Fn(&Table) -> bool) -> Vec<Table> {
    Table::ALL.iter().copied().filter(wanted).collect()
}

fn base(datapath: Datapath) -> Vec<Part> {
    let mut parts = Vec::new();
    base_flows(datapath, PolicyMode::Enforce, &mut |part| parts.push(part)).expect("no base flow is refused");
    parts
}

#[test]
fn every_table_says_what_happens_to_what_nothing_matches() {
    for datapath in [Datapath::Netdev, Datapath::System] {
        let parts = base(datapath);
        for &table in Table::ALL {
            let misses = parts
                .iter()
                .filter(|part| part.table == table && part.priority == 0 && part.matches.is_empty())
                .count();
            assert_eq!(misses, 1, "{table:?} has one miss");
        }
        for verdict in [Table::EgressVerdict, Table::IngressVerdict] {
            assert_eq!(verdict.spec().miss, Miss::Drop, "a verdict table's miss is drop");
        }
    }
}

#[test]
fn from_identity_to_verdict_there_is_no_recirculation() {
    let between = Table::SourceIdentity.id()..=Table::IngressVerdict.id();
    for part in base(Datapath::Netdev) {
        let Effect::Apply { actions, .. } = &part.effect else { continue };
        if between.contains(&part.table.id()) {
            for action in actions {
                if let openflow::Action::Ct(ct) = action {
                    assert_eq!(ct.table, None, "{:?} recirculates between identity and verdict", part.table);
                }
            }
        }
    }
}

#[test]
fn who_is_who_is_written_after_the_packet_was_tracked() {
    // A register that is written before is what the rules of that moment said; a packet that was being tracked while they changed
    // would meet the new rules as somebody of the old ones.
    let policy = Table::EgressTierRule.id()..=Table::IngressVerdict.id();
    let read: Vec<_> = Table::ALL
        .iter()
        .filter(|table| policy.contains(&table.id()))
        .flat_map(|table| table.spec().reads.iter().map(|register| register.name))
        .collect();
    // Where it entered is the packet's own and no rule's.
    let its_own = ["source", "host_origin"];
    for table in Table::ALL.iter().filter(|table| table.id() <= Table::Conntrack.id()) {
        for register in table.spec().writes {
            let name = register.name;
            assert!(!read.contains(&name) || its_own.contains(&name), "{table:?} writes {name} before tracking");
        }
    }
}

#[test]
fn no_two_base_flows_of_one_table_have_one_match() {
    let mut seen = std::collections::HashSet::new();
    for part in base(Datapath::Netdev) {
        assert!(seen.insert((part.table, part.priority, format!("{:?}", part.matches))), "twice: {part:?}");
    }
}
