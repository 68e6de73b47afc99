//! Flows for tests of the connection that carries them.

use openflow::{Action, Field, Flow, FlowCommand, Match};

/// A flow for one IPv4 destination, by number; `None` matches everything. No action drops.
pub fn flow(table: u8, priority: u16, destination: Option<u32>, action: Option<Action>) -> Flow {
    let matches = match destination {
        Some(destination) => Match::new().with(Field::EthType, 0x0800_u16).with(Field::Ipv4Dst, destination),
        None => Match::new(),
    };
    Flow::new(table, priority, matches).apply(action)
}

/// A flow mod that every switch rejects, as bytes since nobody would encode it: an IPv4 destination in an ARP packet.
pub fn rejected_flow(table: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    flow(table, 1, Some(1), None).encode(FlowCommand::Add, 0, &mut bytes).unwrap();
    let ethernet_type = bytes.windows(2).position(|pair| pair == [8, 0]).unwrap();
    bytes[ethernet_type + 1] = 6;
    bytes
}
