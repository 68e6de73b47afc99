//! Messages other than flow mods: read by `ovs-ofctl`, and answered by the switch.

use openflow::group::BucketPlace;
use openflow::multipart::{FlowMonitorCommand, FlowMonitorFlags, FlowMonitorRequest, FlowUpdate, FlowUpdateEvent};
use openflow::port::{PortConfig, PortMod};
use openflow::switch::{AsyncConfig, Hello, Role, RoleMessage, SwitchConfig, TlvMap, TlvTableMod};
use openflow::table::TableConfig;
use openflow::{
    Action, Bucket, BundleAdd, BundleControl, BundleFlags, BundleStep, Field, Flow, FlowCommand, FlowFilter, FlowMod,
    Group, GroupKind, GroupMod, Match, Message, Meter, MeterBand, MeterFlags, MeterMod, MultipartReply, PacketInFormat,
    PacketOut, PortNumber, Reply, Request, SelectionMethod, Value,
};

use crate::connection::Connection;
use crate::ofctl;
use crate::report::Report;
use crate::switch::Switch;

fn groups() -> Vec<Group> {
    let bucket = |id: u32| Bucket::new(id, vec![Action::set_field(Field::Reg(0), id), Action::output(1)]);
    let select = |id, selection| Group {
        selection,
        ..Group::new(id, GroupKind::Select, vec![bucket(1).weight(1), bucket(2).weight(50)])
    };
    let fields = vec![(Field::Ipv4Src, Value::from(u32::MAX)), (Field::TcpDst, Value::from(u16::MAX))];
    let watching = |id, port: u32| Bucket { watch_port: Some(port.into()), ..bucket(id) };
    vec![
        Group::new(10, GroupKind::All, vec![bucket(0), bucket(1)]),
        Group::new(11, GroupKind::Indirect, vec![bucket(7)]),
        select(12, None),
        select(13, Some(SelectionMethod::DpHash { parameter: 0 })),
        select(14, Some(SelectionMethod::DpHash { parameter: 1 })),
        select(15, Some(SelectionMethod::Hash { parameter: 0, fields: fields.clone() })),
        select(16, Some(SelectionMethod::Hash { parameter: 9, fields: fields[..1].to_vec() })),
        Group::new(17, GroupKind::FastFailover, vec![watching(1, 1), watching(2, 2)]),
        Group::new(18, GroupKind::All, Vec::new()),
    ]
}

fn meters() -> Vec<Meter> {
    let drop = |rate, burst| MeterBand::Drop { rate, burst };
    vec![
        Meter { id: 10, flags: MeterFlags::KBPS, bands: vec![drop(1000, 1000)] },
        Meter { id: 11, flags: MeterFlags::PKTPS | MeterFlags::BURST | MeterFlags::STATS, bands: vec![drop(50, 5)] },
    ]
}

/// Every message that a controller sends, and the start of what `ovs-ofctl` must make of it.
fn sent() -> Vec<(Message, String)> {
    let line = |words: &str| words.to_owned();
    let mut all: Vec<(Message, String)> = vec![
        (Message::Hello(Hello::only_this_version()), line("OFPT_HELLO (OF1.5) (xid=0x1):\n version bitmap: 0x06")),
        (Message::EchoRequest(vec![1, 2]), line("OFPT_ECHO_REQUEST (OF1.5) (xid=0x1): 2 bytes of payload")),
        (Message::FeaturesRequest, line("OFPT_FEATURES_REQUEST (OF1.5) (xid=0x1):")),
        (Message::GetConfigRequest, line("OFPT_GET_CONFIG_REQUEST (OF1.5) (xid=0x1):")),
        (
            Message::SetConfig(SwitchConfig { flags: 0, miss_send_len: 128 }),
            line("OFPT_SET_CONFIG (OF1.5) (xid=0x1): frags=normal miss_send_len=128"),
        ),
        (Message::BarrierRequest, line("OFPT_BARRIER_REQUEST (OF1.5) (xid=0x1):")),
        (
            Message::RoleRequest(RoleMessage { role: Role::Primary, generation: 7 }),
            line("OFPT_ROLE_REQUEST (OF1.5) (xid=0x1): role=primary generation_id=7"),
        ),
        (Message::GetAsyncRequest, line("OFPT_GET_ASYNC_REQUEST (OF1.5) (xid=0x1):")),
        (
            Message::SetAsync(AsyncConfig { masks: vec![(AsyncConfig::PACKET_IN, 2), (AsyncConfig::PORT_STATUS, 7)] }),
            line(
                "OFPT_SET_ASYNC (OF1.5) (xid=0x1):\n primary:\n       PACKET_IN: action\n     PORT_STATUS: add delete modify",
            ),
        ),
        (
            Message::TableMod(TableConfig { table: 3, config: 4, properties: Vec::new() }),
            line("OFPT_TABLE_MOD (OF1.5) (xid=0x1): table_id=3, eviction=on"),
        ),
        (
            Message::PortMod(port_mod()),
            line("OFPT_PORT_MOD (OF1.5) (xid=0x1): port: 1: addr:aa:55:aa:55:00:01\n     config: NO_FWD"),
        ),
        (
            Message::SetPacketInFormat(PacketInFormat::Nicira2),
            line("NXT_SET_PACKET_IN_FORMAT (OF1.5) (xid=0x1): format=nxt_packet_in2"),
        ),
        (Message::SetControllerId(123), line("NXT_SET_CONTROLLER_ID (OF1.5) (xid=0x1): id=123")),
        (Message::TlvTableRequest, line("NXT_TLV_TABLE_REQUEST (OF1.5) (xid=0x1):")),
        (
            Message::TlvTableMod(TlvTableMod::Add(vec![TlvMap { class: 0xffff, kind: 2, length: 8, index: 5 }])),
            line(
                "NXT_TLV_TABLE_MOD (OF1.5) (xid=0x1):\n ADD mapping table:\n  class  type  length  match field\n ------  ----  ------  --------------\n 0xffff   0x2       8  tun_metadata5",
            ),
        ),
        (Message::CtFlushZone(65520), line("NXT_CT_FLUSH_ZONE (OF1.5) (xid=0x1): zone_id=65520")),
        (
            Message::BundleControl(BundleControl {
                id: 5,
                step: BundleStep::Open,
                flags: BundleFlags::ATOMIC | BundleFlags::ORDERED,
            }),
            line("OFPT_BUNDLE_CONTROL (OF1.5) (xid=0x1):\n bundle_id=0x5 type=OPEN_REQUEST flags=atomic ordered"),
        ),
    ];
    all.extend(changes());
    all
}

fn port_mod() -> PortMod {
    PortMod {
        port: 1.into(),
        mac: [0xaa, 0x55, 0xaa, 0x55, 0, 1],
        config: PortConfig::NO_FORWARD,
        mask: PortConfig::NO_FORWARD,
        properties: Vec::new(),
    }
}

fn changes() -> Vec<(Message, String)> {
    let group = |words: &str, text: String| format!("OFPT_GROUP_MOD (OF1.5) (xid=0x1):\n {words} {text}");
    let mut all = Vec::new();
    for one in groups() {
        let text = group("ADD", one.to_string());
        all.push((Message::GroupMod(GroupMod::Add(one)), text));
    }
    for one in meters() {
        let text = format!("OFPT_METER_MOD (OF1.5) (xid=0x1): ADD {one}");
        all.push((Message::MeterMod(MeterMod::Add(one)), text));
    }
    let insert = Group::new(10, GroupKind::All, vec![Bucket::new(3, vec![Action::output(2)])]);
    all.extend([
        (Message::GroupMod(GroupMod::Delete(9)), group("DEL", "group_id=9".to_owned())),
        (
            Message::GroupMod(GroupMod::InsertBuckets(BucketPlace::Last, insert)),
            group("INSERT_BUCKET", "command_bucket_id:last,group_id=10,bucket=bucket_id:3,actions=output:2".to_owned()),
        ),
        (
            Message::GroupMod(GroupMod::RemoveBuckets(BucketPlace::Id(3), 10)),
            group("REMOVE_BUCKET", "command_bucket_id:3,group_id=10".to_owned()),
        ),
        (Message::MeterMod(MeterMod::Delete(4)), "OFPT_METER_MOD (OF1.5) (xid=0x1): DEL meter=4 bands=".to_owned()),
        (
            Message::PacketOut(
                PacketOut::new(3, vec![0; 60], vec![Action::output(PortNumber::TABLE)]).with(Field::Reg(2), 5u32),
            ),
            "OFPT_PACKET_OUT (OF1.5) (xid=0x1): reg2=0x5,in_port=3 actions=TABLE data_len=60".to_owned(),
        ),
        (
            Message::FlowMod(Box::new(FlowMod {
                cookie_mask: 0xff,
                out_port: 7.into(),
                ..FlowMod::delete(255, Match::new())
            })),
            "OFPT_FLOW_MOD (OF1.5) (xid=0x1): DEL table:255 priority=0 cookie:0x0/0xff out_port:7 actions=drop"
                .to_owned(),
        ),
        (
            Message::MultipartRequest(Request::PortDesc(PortNumber::ANY).into()),
            "OFPST_PORT_DESC request (OF1.5) (xid=0x1): port=ANY".to_owned(),
        ),
        (
            Message::MultipartRequest(Request::FlowDesc(FlowFilter::default()).into()),
            "OFPST_FLOW request (OF1.5) (xid=0x1):".to_owned(),
        ),
    ]);
    let inner = Flow::new(4, 5, Match::new().with(Field::InPort, 1u32)).apply([Action::output(2)]);
    let add = BundleAdd {
        id: 5,
        flags: BundleFlags::ATOMIC | BundleFlags::ORDERED,
        message: Box::new(Message::FlowMod(Box::new(FlowMod::new(FlowCommand::Add, inner)))),
    };
    all.push((
        Message::BundleAdd(add),
        "OFPT_BUNDLE_ADD_MESSAGE (OF1.5) (xid=0x1):\n bundle_id=0x5 flags=atomic ordered\nOFPT_FLOW_MOD (OF1.5) (xid=0x1): ADD table:4 priority=5,in_port=1 actions=output:2".to_owned(),
    ));
    all
}

pub fn offline(report: &mut Report) -> Result<(), String> {
    for (message, expected) in sent() {
        let bytes = message.encode(1).map_err(|error| format!("{message}: {error}"))?;
        let name = format!("message {message}");
        report.same(
            &name,
            "our decoder",
            &format!("{:?}", Ok::<_, ()>((1, &message))),
            &format!("{:?}", Message::decode(&bytes).map_err(|_| ())),
        );
        let text = ofctl::print(&bytes)?;
        if !text.trim_end().starts_with(&expected) {
            report.difference(&name, "ofp-print", &expected, text.trim_end());
        }
    }
    Ok(())
}

pub fn live(report: &mut Report, switch: &Switch, connection: &mut Connection) -> Result<(), String> {
    settings(report, connection)?;
    groups_and_meters(report, connection)?;
    bundles(report, connection)?;
    statistics(report, connection)?;
    monitors(report, switch, connection)
}

/// The switch's answer must decode to what is expected, and encode back to the very bytes it came as.
fn answers(
    report: &mut Report,
    connection: &mut Connection,
    question: &Message,
    right: impl Fn(&Message) -> bool,
) -> Result<(), String> {
    let answer = connection.call(question)?;
    if !right(&answer) {
        report.difference(&question.to_string(), "answer of the switch", "another answer", &format!("{answer:?}"));
    }
    Ok(())
}

fn settings(report: &mut Report, connection: &mut Connection) -> Result<(), String> {
    answers(
        report,
        connection,
        &Message::FeaturesRequest,
        |answer| matches!(answer, Message::FeaturesReply(it) if it.tables == 254),
    )?;
    answers(report, connection, &Message::GetConfigRequest, |answer| matches!(answer, Message::GetConfigReply(_)))?;
    answers(report, connection, &Message::EchoRequest(vec![7; 9]), |answer| *answer == Message::EchoReply(vec![7; 9]))?;
    let role = RoleMessage { role: Role::Primary, generation: 3 };
    answers(report, connection, &Message::RoleRequest(role), |answer| *answer == Message::RoleReply(role))?;
    let masks = vec![(AsyncConfig::PACKET_IN, 2), (AsyncConfig::PORT_STATUS, 7), (AsyncConfig::FLOW_REMOVED, 15)];
    for refused in connection.send_all(&[Message::SetAsync(AsyncConfig { masks: masks.clone() })])? {
        report.difference("set async", "sent to the switch", "taken", &refused.1.to_string());
    }
    answers(
        report,
        connection,
        &Message::GetAsyncRequest,
        |answer| matches!(answer, Message::GetAsyncReply(it) if masks.iter().all(|mask| it.masks.contains(mask))),
    )?;
    answers(
        report,
        connection,
        &Message::TlvTableRequest,
        |answer| matches!(answer, Message::TlvTableReply(it) if it.maps.len() == 64),
    )
}

fn groups_and_meters(report: &mut Report, connection: &mut Connection) -> Result<(), String> {
    let adds = groups().into_iter().map(|group| Message::GroupMod(GroupMod::Add(group)));
    let adds: Vec<_> = adds.chain(meters().into_iter().map(|meter| Message::MeterMod(MeterMod::Add(meter)))).collect();
    for (place, refused) in connection.send_all(&adds)? {
        report.difference(&adds[place].to_string(), "sent to the switch", "taken", &refused.to_string());
    }
    let replies = connection.ask(Request::GroupDesc(openflow::flow::ALL_GROUPS).into())?;
    let dumped: Vec<_> = replies
        .into_iter()
        .flat_map(|reply| if let Reply::GroupDesc(groups) = reply { groups } else { Vec::new() })
        .collect();
    for group in groups() {
        let theirs = dumped.iter().find(|dumped| dumped.id == group.id);
        report.same(&format!("group {}", group.id), "dump", &format!("{:?}", Some(&group)), &format!("{theirs:?}"));
    }
    let replies = connection.ask(Request::MeterConfig(openflow::meter::ALL_METERS).into())?;
    let dumped: Vec<_> = replies
        .into_iter()
        .flat_map(|reply| if let Reply::MeterConfig(meters) = reply { meters } else { Vec::new() })
        .collect();
    for meter in meters() {
        let theirs = dumped.iter().find(|dumped| dumped.id == meter.id);
        report.same(&format!("meter {}", meter.id), "dump", &format!("{:?}", Some(&meter)), &format!("{theirs:?}"));
    }
    Ok(())
}

/// Whether this is a step of our bundle. The switch answers without the flags.
fn is_step(message: &Message, step: BundleStep) -> bool {
    matches!(message, Message::BundleControl(control) if (control.id, control.step) == (9, step))
}

/// A bundle with a bad flow does nothing and says which; one without does all.
fn bundles(report: &mut Report, connection: &mut Connection) -> Result<(), String> {
    let flags = BundleFlags::ATOMIC | BundleFlags::ORDERED;
    let control = |step| Message::BundleControl(BundleControl { id: 9, step, flags });
    let good = Flow::new(40, 1, Match::new()).apply([Action::output(1)]).cookie(1);
    let bad = Flow::new(40, 2, Match::new()).apply([Action::Group(0xdead)]).cookie(2);
    for (flows, committed) in [(vec![good.clone(), bad], false), (vec![good], true)] {
        answers(report, connection, &control(BundleStep::Open), |answer| is_step(answer, BundleStep::Opened))?;
        let adds: Vec<_> = flows
            .iter()
            .map(|flow| {
                let message = Box::new(Message::FlowMod(Box::new(FlowMod::new(FlowCommand::Add, flow.clone()))));
                Message::BundleAdd(BundleAdd { id: 9, flags, message })
            })
            .collect();
        for (place, refused) in connection.send_all(&adds)? {
            report.difference(&adds[place].to_string(), "added to a bundle", "taken", &refused.to_string());
        }
        let answer = connection.call(&control(BundleStep::Commit))?;
        report.same("bundle", "commit", &committed.to_string(), &is_step(&answer, BundleStep::Committed).to_string());
        let filter = FlowFilter { table: 40, ..FlowFilter::default() };
        let there = connection.ask(Request::Aggregate(filter).into())?;
        let count = there.iter().find_map(|reply| if let Reply::Aggregate(stats) = reply { stats.flows } else { None });
        report.same("bundle", "flows after it", &format!("{:?}", Some(u32::from(committed))), &format!("{count:?}"));
    }
    Ok(())
}

/// Each kind of question gets its kind of answer, which encodes to bytes that decode to the same.
fn statistics(report: &mut Report, connection: &mut Connection) -> Result<(), String> {
    let any = PortNumber::ANY;
    let questions = [
        Request::Desc,
        Request::FlowDesc(FlowFilter::default()),
        Request::Aggregate(FlowFilter::default()),
        Request::TableStats,
        Request::PortStats(any),
        Request::QueueStats { port: any, queue: u32::MAX },
        Request::GroupStats(openflow::flow::ALL_GROUPS),
        Request::GroupDesc(openflow::flow::ALL_GROUPS),
        Request::GroupFeatures,
        Request::MeterStats(openflow::meter::ALL_METERS),
        Request::MeterConfig(openflow::meter::ALL_METERS),
        Request::MeterFeatures,
        Request::TableFeatures(Vec::new()),
        Request::PortDesc(any),
        Request::TableDesc,
        Request::QueueDesc { port: any, queue: u32::MAX },
    ];
    for question in questions {
        let name = format!("question {question:?}");
        let replies = connection.ask(question.into())?;
        for reply in replies {
            if matches!(reply, Reply::Raw { .. }) {
                report.difference(&name, "answer of the switch", "known", &format!("{reply:?}"));
            }
            let message = Message::MultipartReply(MultipartReply { more: false, reply });
            let bytes = message.encode(1).map_err(|error| format!("{name}: {error}"))?;
            report.same(
                &name,
                "our decoder",
                &format!("{:?}", Ok::<_, String>((1, message))),
                &format!("{:?}", Message::decode(&bytes).map_err(|error| error.to_string())),
            );
        }
    }
    Ok(())
}

/// A monitor on one connection tells of a flow that another adds.
fn monitors(report: &mut Report, switch: &Switch, connection: &mut Connection) -> Result<(), String> {
    let mut watcher = switch.connect()?;
    let flags = FlowMonitorFlags::ADD | FlowMonitorFlags::REMOVED | FlowMonitorFlags::INSTRUCTIONS;
    let filter = FlowFilter { table: 41, ..FlowFilter::default() };
    let request = FlowMonitorRequest { id: 1, command: FlowMonitorCommand::Add, flags, filter };
    watcher.ask(Request::FlowMonitor(vec![request]).into())?;
    let flow = Flow::new(41, 7, Match::new().with(Field::InPort, 1u32)).apply([Action::output(2)]).cookie(0x41);
    connection.send_all(&[Message::FlowMod(Box::new(FlowMod::new(FlowCommand::Add, flow.clone())))])?;
    let told = loop {
        if let (_, Message::MultipartReply(MultipartReply { reply: Reply::FlowMonitor(updates), .. })) =
            watcher.receive()?
        {
            break updates;
        }
    };
    let expected = FlowUpdate::Full {
        event: FlowUpdateEvent::Added,
        table: 41,
        priority: 7,
        idle_timeout: 0,
        hard_timeout: 0,
        cookie: 0x41,
        matches: flow.matches,
        instructions: flow.instructions,
    };
    report.same("flow monitor", "what it tells", &format!("{:?}", [expected]), &format!("{told:?}"));
    Ok(())
}
