//! What the switch tells on its own: packets, paused ones that go on, and flows that go.

use openflow::{
    Action, Controller, Field, Flow, FlowCommand, FlowFlags, FlowMod, FlowRemovedReason, Match, Message, PacketIn,
    PacketInFormat, PacketInReason, PacketOut, PortNumber, Reply, Request,
};

use crate::connection::Connection;
use crate::report::Report;

const USERDATA: [u8; 5] = [1, 2, 3, 4, 5];

pub fn live(report: &mut Report, connection: &mut Connection) -> Result<(), String> {
    let controller = Controller { userdata: USERDATA.to_vec(), pause: true, ..Controller::default() };
    let matches = Match::new().with(Field::InPort, 1u32).with(Field::Reg(2), 5u32);
    let mut flow = Flow::new(0, 9, matches.clone()).cookie(0x99);
    flow.flags = FlowFlags::SEND_FLOW_REMOVED;
    let flow =
        flow.apply([Action::load(Field::Reg(3), 7u8), Action::Controller(Box::new(controller)), Action::output(2)]);
    let change = |command, flow| Message::FlowMod(Box::new(FlowMod::new(command, flow)));
    // without room for buffering a packet comes whole
    let packet = PacketOut::new(1, frame(), vec![Action::output(PortNumber::TABLE)]).with(Field::Reg(2), 5u32);
    let messages = [Message::SetPacketInFormat(PacketInFormat::Nicira2), change(FlowCommand::Add, flow.clone())];
    for (place, refused) in connection.send_all(&messages)? {
        report.difference(&messages[place].to_string(), "sent to the switch", "taken", &refused.to_string());
    }
    connection.send(&Message::PacketOut(packet))?;
    let paused = loop {
        match connection.receive()? {
            (_, Message::PacketIn(packet_in)) => break *packet_in,
            (_, Message::Error(error)) => return Err(format!("packet-out: {error}")),
            _ => {}
        }
    };
    compare(report, &paused, &matches.with(Field::Reg(3), 7u32));
    let before = sent_to_port(connection, 2)?;
    for (_, refused) in connection.send_all(&[Message::Resume(Box::new(paused))])? {
        report.difference("resume", "sent to the switch", "taken", &refused.to_string());
    }
    report.same("resume", "packets that left", &(before + 1).to_string(), &sent_to_port(connection, 2)?.to_string());
    removed(report, connection, &flow)
}

/// A frame that is as long as the shortest there is.
fn frame() -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5];
    frame.resize(60, 0);
    frame
}

fn compare(report: &mut Report, paused: &PacketIn, metadata: &Match) {
    let expected = PacketIn {
        packet: frame(),
        full_len: None,
        buffer_id: None,
        table: 0,
        // on its way from a packet-out through the tables the switch has forgotten the flow when it pauses
        cookie: None,
        reason: PacketInReason::Action,
        metadata: metadata.clone(),
        userdata: USERDATA.to_vec(),
        continuation: paused.continuation.clone(),
    };
    report.same("packet-in", "what it says", &format!("{expected:?}"), &format!("{paused:?}"));
    report.same("packet-in", "paused", "true", &paused.continuation.is_some().to_string());
}

fn sent_to_port(connection: &mut Connection, port: u32) -> Result<u64, String> {
    let replies = connection.ask(Request::PortStats(port.into()).into())?;
    let stats = replies
        .into_iter()
        .find_map(|reply| if let Reply::PortStats(ports) = reply { ports.into_iter().next() } else { None });
    stats.map(|stats| stats.tx_packets).ok_or_else(|| format!("no statistics of port {port}"))
}

fn removed(report: &mut Report, connection: &mut Connection, flow: &Flow) -> Result<(), String> {
    connection.send(&Message::FlowMod(Box::new(FlowMod::new(FlowCommand::DeleteStrict, flow.clone()))))?;
    let told = loop {
        match connection.receive()? {
            (_, Message::FlowRemoved(removed)) => break *removed,
            (_, Message::Error(error)) => return Err(format!("delete: {error}")),
            _ => {}
        }
    };
    let expected = (flow.table, flow.priority, flow.cookie, &flow.matches, FlowRemovedReason::Delete);
    let found = (told.table, told.priority, told.cookie, &told.matches, told.reason);
    report.same("flow removed", "what it says", &format!("{expected:?}"), &format!("{found:?}"));
    Ok(())
}
