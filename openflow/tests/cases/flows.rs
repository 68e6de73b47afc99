//! The ways that every case goes.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use openflow::{
    Action, Field, Flow, FlowCommand, FlowFilter, FlowFlags, FlowMod, Instructions, Match, Message, Reply, Request,
};

use crate::connection::Connection;
use crate::exclusions;
use crate::ofctl;
use crate::report::Report;
use crate::switch::{Switch, finish};

/// A flow that must survive every way.
pub struct Case {
    pub name: String,
    pub matches: Match,
    pub instructions: Instructions,
    /// Whether the flow has timeouts and flags.
    pub attributes: bool,
    /// Whether `ovs-ofctl`'s own text of the flow says all that is in it.
    pub text_says_all: bool,
}

impl Case {
    pub fn matching(name: String, matches: Match) -> Self {
        Self { name, matches, instructions: Instructions::default(), attributes: false, text_says_all: true }
    }

    pub fn doing(name: String, matches: Match, action: Action) -> Self {
        Self {
            instructions: Instructions { apply: vec![action], ..Instructions::default() },
            ..Self::matching(name, matches)
        }
    }

    /// The case as a flow that no other case has: its place is its priority and its cookie.
    fn flow(&self, place: usize, table: u8) -> Flow {
        let priority = u16::try_from(place + 1).expect("there are fewer cases than priorities");
        let mut flow = Flow::new(table, priority, self.matches.clone()).cookie(place as u64);
        flow.instructions = self.instructions.clone();
        if self.attributes {
            flow.idle_timeout = 100;
            flow.hard_timeout = 200;
            flow.importance = 7;
            flow.flags = FlowFlags::SEND_FLOW_REMOVED | FlowFlags::NO_PACKET_COUNTS | FlowFlags::NO_BYTE_COUNTS;
        }
        flow
    }
}

fn encoded(flow: &Flow) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    flow.encode(FlowCommand::Add, 1, &mut bytes).map_err(|error| format!("{flow}: {error}"))?;
    Ok(bytes)
}

/// Through `ovs-ofctl` without a switch.
pub fn offline(report: &mut Report, cases: &[Case], switch: &Switch) -> Result<(), String> {
    let flows: Vec<_> = cases.iter().enumerate().map(|(place, case)| case.flow(place, 7)).collect();
    let messages = flows.iter().map(encoded).collect::<Result<Vec<_>, _>>()?;
    for ((case, flow), bytes) in cases.iter().zip(&flows).zip(&messages) {
        match Message::decode(bytes) {
            Ok((1, Message::FlowMod(back))) => {
                report.same(&case.name, "our decoder", &format!("{flow:?}"), &format!("{:?}", back.flow));
            }
            other => report.difference(&case.name, "our decoder", &format!("{flow:?}"), &format!("{other:?}")),
        }
    }
    let printed = ofctl::print_flow_mods(&messages, &switch.file("flow-mods"))?;
    report.same("ofp-parse", "number of answers", &flows.len().to_string(), &printed.len().to_string());
    for ((case, flow), theirs) in cases.iter().zip(&flows).zip(&printed) {
        let ours = format!("OFPT_FLOW_MOD (OF1.5) (xid=0x1): ADD table:7 {}", without_table(flow));
        // without a switch there is no table of tunnel options
        if !case.name.contains("tun_metadata") {
            report.same(&case.name, "ofp-parse", &ours, theirs.trim_end());
        }
    }
    let oxm: Vec<_> = cases.iter().map(|case| oxm_text(case.matches.oxm())).collect();
    compare_oxm(report, cases, &oxm)?;
    let actions = cases.iter().map(|case| actions(&case.instructions.apply)).collect::<Result<Vec<_>, _>>()?;
    compare_actions(report, cases, &actions)
}

fn actions(list: &[Action]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for action in list {
        action.encode(&mut bytes).map_err(|error| format!("{action}: {error}"))?;
    }
    Ok(bytes)
}

/// A flow as `ofp-print` shows a flow mod: the cookie and what else it has behind the match.
fn without_table(flow: &Flow) -> String {
    let matches = flow.matches.to_string();
    let comma = if matches.is_empty() { "" } else { "," };
    let mut parts = vec![format!("priority={}{comma}{matches}", flow.priority)];
    parts.extend((flow.cookie != 0).then(|| format!("cookie:{:#x}", flow.cookie)));
    for (name, value) in [("idle", flow.idle_timeout), ("hard", flow.hard_timeout), ("importance", flow.importance)] {
        parts.extend((value != 0).then(|| format!("{name}:{value}")));
    }
    parts.extend(flow.flags.names().map(str::to_owned));
    parts.push(format!("actions={}", flow.instructions));
    parts.join(" ")
}

fn compare_oxm(report: &mut Report, cases: &[Case], oxm: &[String]) -> Result<(), String> {
    // without a switch there is no table of tunnel options
    let known = |case: &Case| {
        !case
            .matches
            .terms()
            .any(|term| term.field.is_variable() || exclusions::value_taken_for_mask(term.field.info().name))
    };
    let offline = |place: &usize| !oxm[*place].is_empty() && known(&cases[*place]);
    let some: Vec<_> = (0..cases.len()).filter(offline).collect();
    let lines: Vec<_> = some.iter().map(|place| oxm[*place].clone()).collect();
    let answers = ofctl::parse_oxm(&lines)?;
    report.same("parse-oxm", "number of answers", &lines.len().to_string(), &answers.len().to_string());
    for (place, answer) in some.into_iter().zip(&answers) {
        // the switch says "Ethernet" of packets whose match does not; we leave out what goes without saying
        let theirs = answer.strip_prefix("OXM_OF_PACKET_TYPE(00000000), ").unwrap_or(answer);
        report.same(&cases[place].name, "parse-oxm", &oxm[place], theirs);
    }
    Ok(())
}

/// An OXM list in words, read from the bytes anew.
fn oxm_text(mut oxm: &[u8]) -> String {
    let mut parts = Vec::new();
    while let [class_high, class_low, number, length, rest @ ..] = oxm {
        let class = u16::from_be_bytes([*class_high, *class_low]);
        let (experimenter, head) = if class == 0xffff { (&rest[..4], 4) } else { (&rest[..0], 0) };
        let payload = &rest[head..usize::from(*length)];
        oxm = &rest[usize::from(*length)..];
        let name = newest_name(class, experimenter, number >> 1);
        parts.push(if number & 1 == 1 {
            let (value, mask) = payload.split_at(payload.len() / 2);
            format!("{name}_W({}/{})", ofctl::hex(value), ofctl::hex(mask))
        } else {
            format!("{name}({})", ofctl::hex(payload))
        });
    }
    parts.join(", ")
}

fn newest_name(class: u16, experimenter: &[u8], number: u8) -> String {
    let prefixes = [
        (0x0000, &[][..], "NXM_OF_"),
        (0x0001, &[], "NXM_NX_"),
        (0x8000, &[], "OXM_OF_"),
        (0x8001, &[], "OXM_OF_PKT_REG"),
        (0x1000, &[], "ERICOXM_OF_"),
        (0xffff, &[0x00, 0x00, 0x23, 0x20], "NXOXM_ET_"),
    ];
    let prefix = prefixes
        .iter()
        .find(|(known, vendor, _)| (*known, *vendor) == (class, experimenter))
        .map_or("?", |known| known.2);
    let field = Field::all().find(|field| {
        let newest = field.info().numbers.last().expect("every field has a number");
        newest.class.prefix() == prefix && newest.number + field.index() == number
    });
    let Some(field) = field else { return format!("{prefix}?{number}") };
    let label = field.info().numbers.last().expect("every field has a number").label;
    if field.info().count > 0 { format!("{prefix}{label}{}", field.index()) } else { format!("{prefix}{label}") }
}

fn compare_actions(report: &mut Report, cases: &[Case], actions: &[Vec<u8>]) -> Result<(), String> {
    let some: Vec<_> = (0..cases.len())
        .filter(|place| !actions[*place].is_empty() && !cases[*place].name.contains("tun_metadata"))
        .collect();
    let answers = ofctl::parse_actions(&some.iter().map(|place| actions[*place].clone()).collect::<Vec<_>>())?;
    report.same("parse-actions", "number of answers", &some.len().to_string(), &answers.len().to_string());
    for (place, answer) in some.into_iter().zip(&answers) {
        let apply = Instructions { apply: cases[place].instructions.apply.clone(), ..Instructions::default() };
        report.same(&cases[place].name, "parse-actions", &format!("actions={apply}"), answer);
    }
    Ok(())
}

/// Through the switch, in both directions.
pub fn live(report: &mut Report, cases: &[Case], switch: &Switch, connection: &mut Connection) -> Result<(), String> {
    let flows: Vec<_> = cases.iter().enumerate().map(|(place, case)| case.flow(place, 0)).collect();
    let adds: Vec<_> =
        flows.iter().map(|flow| Message::FlowMod(Box::new(FlowMod::new(FlowCommand::Add, flow.clone())))).collect();
    let mut as_expected = BTreeSet::new();
    for (place, refused) in connection.send_all(&adds)? {
        if refused.code.name().is_some() && refused.code.name() == expected_refusal(&cases[place]) {
            as_expected.insert(place);
            continue;
        }
        report.difference(&cases[place].name, "sent to the switch", &flows[place].to_string(), &refused.to_string());
    }
    let dumped = dump(connection)?;
    let (cases, flows): (Vec<_>, Vec<_>) = cases
        .iter()
        .zip(flows)
        .enumerate()
        .filter(|(place, _)| !as_expected.contains(place))
        .map(|(_, case)| case)
        .unzip();
    for (case, flow) in cases.iter().zip(&flows) {
        compare_dumped(report, &case.name, "from our bytes", flow, dumped.get(&flow.cookie));
    }
    compare_dump_text(report, &cases, &flows, switch)?;
    clear(connection)?;
    from_text(report, &cases, &flows, switch, connection)?;
    clear(connection)
}

/// The error with which the switch must refuse a case, if it must.
fn expected_refusal(case: &Case) -> Option<&'static str> {
    let refused =
        exclusions::REFUSED.iter().find(|(name, _)| case.matches.terms().any(|term| term.field.to_string() == *name));
    refused.map(|(_, error)| *error)
}

fn clear(connection: &mut Connection) -> Result<(), String> {
    let delete = Message::FlowMod(Box::new(FlowMod::delete(openflow::flow::ALL_TABLES, Match::new())));
    match connection.send_all(&[delete])?.first() {
        Some((_, refused)) => Err(refused.to_string()),
        None => Ok(()),
    }
}

/// The flows in the switch, by cookie.
fn dump(connection: &mut Connection) -> Result<BTreeMap<u64, Flow>, String> {
    let replies = connection.ask(Request::FlowDesc(FlowFilter::default()).into())?;
    let mut flows = BTreeMap::new();
    for reply in replies {
        let Reply::FlowDesc(entries) = reply else { return Err(format!("instead of flows: {reply:?}")) };
        for entry in entries {
            flows.insert(entry.flow.cookie, entry.flow);
        }
    }
    Ok(flows)
}

/// Equal values, and equal bytes of match and instructions.
fn compare_dumped(report: &mut Report, name: &str, way: &str, sent: &Flow, dumped: Option<&Flow>) {
    let Some(dumped) = dumped else {
        report.difference(name, way, &sent.to_string(), "not in the dump");
        return;
    };
    report.same(name, way, &format!("{sent:?}"), &format!("{dumped:?}"));
    report.same(name, &format!("{way}, bytes"), &key(sent), &key(dumped));
}

fn key(flow: &Flow) -> String {
    let mut bytes = flow.key();
    match flow.instructions.encode(&mut bytes) {
        Ok(()) => ofctl::hex(&bytes),
        Err(error) => error.to_string(),
    }
}

/// What `ovs-ofctl dump-flows` shows of our flows.
fn compare_dump_text(report: &mut Report, cases: &[&Case], flows: &[Flow], switch: &Switch) -> Result<(), String> {
    let mut command = Command::new("ovs-ofctl");
    let text = finish(
        command.args(["-O", "OpenFlow15", "--no-stats", "--no-names", "dump-flows"]).arg(ofctl::management(switch)),
    )?;
    let shown: BTreeMap<u64, &str> = text
        .lines()
        .filter_map(|line| {
            let (cookie, rest) = line.trim().strip_prefix("cookie=0x")?.split_once(", ")?;
            Some((u64::from_str_radix(cookie, 16).ok()?, rest))
        })
        .collect();
    for (case, flow) in cases.iter().zip(flows) {
        // the dump always has the cookie, which is split off above; ours leaves out one that is zero
        let text = flow.to_string();
        let ours = text.strip_prefix(&format!("cookie={:#x}, ", flow.cookie)).unwrap_or(&text);
        report.same(&case.name, "dump-flows", ours, shown.get(&flow.cookie).unwrap_or(&"not shown"));
    }
    Ok(())
}

/// Our text, read by `ovs-ofctl`, through the switch to our decoder.
fn from_text(
    report: &mut Report,
    cases: &[&Case],
    flows: &[Flow],
    switch: &Switch,
    connection: &mut Connection,
) -> Result<(), String> {
    let some: Vec<_> = (0..cases.len()).filter(|place| cases[*place].text_says_all).collect();
    let text: String = some.iter().map(|place| format!("{}\n", flows[*place])).collect();
    let file = switch.file("flows.txt");
    std::fs::write(&file, text).map_err(|error| error.to_string())?;
    finish(
        Command::new("ovs-ofctl").args(["-O", "OpenFlow15", "add-flows"]).arg(ofctl::management(switch)).arg(&file),
    )?;
    let dumped = dump(connection)?;
    for place in some {
        compare_dumped(report, &cases[place].name, "from our text", &flows[place], dumped.get(&flows[place].cookie));
    }
    Ok(())
}
