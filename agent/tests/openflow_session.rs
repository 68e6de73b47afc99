//! The OpenFlow session against a live vswitchd.
#![allow(clippy::unwrap_used)] // a test's helpers are tests too

mod live;

use std::time::{Duration, Instant};

use agent::ovs::openflow::{Batch, BundleError, Connection, Event, Events, RequestError, Session};
use live::flow::{flow, rejected_flow};
use live::{START_WITHIN, Switch};
use openflow::{
    Action, Bucket, ErrorCode, Field, Flow, FlowCommand, FlowFilter, FlowMod, Group, GroupKind, GroupMod, Message,
    Meter, MeterBand, MeterFlags, MeterMod, PacketOut, PortNumber, Reply, Request,
};

const SOON: Duration = Duration::from_secs(20);
async fn switch() -> (Switch, Connection, Events, Session) {
    let switch = Switch::start().await;
    let client = switch.database.client().await;
    switch.bridge(&client, "br", "dummy").await;
    let (session, events) = Session::connect(switch.management("br"));
    let connection = session.connected(START_WITHIN).await.unwrap();
    (switch, connection, events, session)
}

fn output(port: u32) -> Option<Action> {
    Some(Action::output(PortNumber(port)))
}

fn batch(messages: impl IntoIterator<Item = Vec<u8>>) -> Batch {
    let mut batch = Batch::new();
    for message in messages {
        batch.push(&message).unwrap();
    }
    batch
}

fn add(flow: Flow) -> Vec<u8> {
    Message::FlowMod(Box::new(FlowMod::new(FlowCommand::Add, flow))).encode(0).unwrap()
}

fn delete(flow: Flow) -> Vec<u8> {
    Message::FlowMod(Box::new(FlowMod::new(FlowCommand::Delete, flow))).encode(0).unwrap()
}

fn many(count: u32) -> Batch {
    let mut batch = Batch::new();
    for number in 0..count {
        batch.push_flow(&flow(10, 200, Some(0x0a00_0000 + number), output(1)), FlowCommand::Add).unwrap();
    }
    batch
}

async fn count_flows(connection: &Connection) -> usize {
    let mut flows = 0;
    connection.dump_flows(|_| flows += 1).await.unwrap();
    flows
}

async fn next_event(events: &mut Events) -> Event {
    tokio::time::timeout(SOON, events.next()).await.unwrap()
}

#[tokio::test]
async fn a_bundle_happens_in_order_and_whole() {
    let (switch, connection, _events, _session) = switch().await;
    let flows = batch([
        add(flow(0, 10, Some(1), output(1))),
        add(flow(0, 10, Some(2), output(1))),
        delete(flow(0, 0, Some(1), None)),
        add(flow(0, 10, Some(2), output(2))),
    ]);
    connection.bundle(&flows).await.unwrap();
    let dump = switch.ofctl("dump-flows", "br", &["--no-stats"]);
    assert_eq!(dump, "priority=10,ip,nw_dst=0.0.0.2 actions=output:2");
    connection.bundle(&Batch::new()).await.unwrap();
    assert!(switch.ofctl("show", "br", &[]).contains(&format!("{:016x}", connection.features().datapath_id)));
}

#[tokio::test]
async fn a_rejected_message_is_named_and_nothing_of_its_bundle_happens() {
    let (switch, connection, _events, _session) = switch().await;
    connection.bundle(&many(3)).await.unwrap();
    let before = switch.ofctl("dump-flows", "br", &["--no-stats"]);

    // Found when it is added (a bad prerequisite), twice.
    let bad =
        batch([delete(flow(10, 0, None, None)), rejected_flow(10), add(flow(0, 1, None, None)), rejected_flow(10)]);
    let error = connection.bundle(&bad).await.unwrap_err();
    let BundleError::Rejected(rejected) = &error else { panic!("{error}") };
    let found: Vec<_> = rejected.iter().map(|rejected| (rejected.index, rejected.error.code.name())).collect();
    assert_eq!(found, [(1, Some("OFPBMC_BAD_PREREQ")), (3, Some("OFPBMC_BAD_PREREQ"))]);
    assert!(error.to_string().contains("first number 1: OFPBMC_BAD_PREREQ"), "{error}");

    // Found when it is committed: there is no such group.
    let bad = batch([
        delete(flow(10, 0, None, None)),
        add(flow(0, 1, None, None)),
        add(flow(0, 2, None, Some(Action::Group(77)))),
    ]);
    let error = connection.bundle(&bad).await.unwrap_err();
    let BundleError::Rejected(rejected) = &error else { panic!("{error}") };
    let found: Vec<_> = rejected.iter().map(|rejected| (rejected.index, rejected.error.code.name())).collect();
    assert_eq!(found, [(2, Some("OFPBAC_BAD_OUT_GROUP"))], "{error}");
    assert_eq!(switch.ofctl("dump-flows", "br", &["--no-stats"]), before);

    // What cannot be in a bundle at all is told before anything is sent.
    let mut long = add(flow(0, 1, None, None));
    long.resize(65_528, 0);
    let length = (long.len() as u16).to_be_bytes();
    long[2..4].copy_from_slice(&length);
    let error = connection.bundle(&batch([add(flow(0, 1, None, None)), long])).await.unwrap_err();
    assert!(matches!(error, BundleError::TooLong { index: 1, .. }), "{error}");

    // And the connection goes on.
    connection.bundle(&many(5)).await.unwrap();
    assert_eq!(count_flows(&connection).await, 5);
}

#[tokio::test]
async fn a_hundred_thousand_rejected_flows_do_not_stop_the_connection() {
    let (_switch, connection, _events, _session) = switch().await;
    let bad = batch(
        (0..100_000).map(
            |number| {
                if number % 1000 == 7 { add(flow(0, 1, Some(number), None)) } else { rejected_flow(0) }
            },
        ),
    );
    let started = Instant::now();
    let rejected = tokio::time::timeout(Duration::from_secs(60), connection.send(&bad)).await.unwrap().unwrap();
    println!("100,000 flows, 99,900 of them rejected, in {:?}", started.elapsed());
    assert_eq!(rejected.len(), 99_900);
    let mut expected = (0..100_000).filter(|number| number % 1000 != 7);
    assert!(rejected.iter().all(|rejected| Some(rejected.index) == expected.next()));
    let prerequisite = ErrorCode::Standard { kind: 4, code: 9 };
    assert!(rejected.iter().all(|rejected| rejected.error.code == prerequisite));
    assert_eq!(count_flows(&connection).await, 100, "the good ones between them are in");

    // The same in one bundle: every add is answered with an error while the next are still being written.
    let started = Instant::now();
    let error = tokio::time::timeout(Duration::from_secs(60), connection.bundle(&bad)).await.unwrap().unwrap_err();
    println!("the same as a bundle in {:?}", started.elapsed());
    assert!(matches!(error, BundleError::Rejected(rejected) if rejected.len() == 99_900));
    connection.barrier().await.unwrap();
}

#[tokio::test]
async fn a_hundred_thousand_flows_in_and_out() {
    let (_switch, connection, _events, _session) = switch().await;
    let slice = |slice: u32| {
        let mut batch = Batch::new();
        for number in 0..10_000 {
            batch.push_flow(&flow(10, 200, Some(slice << 16 | number), output(1)), FlowCommand::Add).unwrap();
        }
        batch
    };
    let slices: Vec<_> = (0..10).map(slice).collect();
    let started = Instant::now();
    for slice in &slices {
        connection.bundle(slice).await.unwrap();
    }
    println!("100,000 flows in ten bundles in {:?}", started.elapsed());
    let started = Instant::now();
    let (mut flows, mut parts, mut most) = (0, 0, 0);
    let part = |reply| {
        let Reply::FlowDesc(entries) = reply else { return Err(RequestError::OtherAnswer) };
        (flows, parts, most) = (flows + entries.len(), parts + 1, most.max(entries.len()));
        Ok(())
    };
    connection.multipart(Request::FlowDesc(FlowFilter::default()), part).await.unwrap();
    println!("{flows} flows read in {:?}: {parts} parts of at most {most} flows", started.elapsed());
    assert_eq!(flows, 100_000);
    assert!(parts > 100 && most < 1000, "handed out as they come");
    assert_eq!(connection.count_flows(FlowFilter::default()).await.unwrap().flows, Some(100_000));
}

#[tokio::test]
async fn a_slow_reader_of_a_dump_holds_up_nothing_for_good() {
    let (_switch, connection, _events, _session) = switch().await;
    let flows = many(20_000);
    connection.bundle(&flows).await.unwrap();
    // A dump that is given up after its first part …
    let all = Request::FlowDesc(FlowFilter::default());
    let given_up = connection.multipart(all, |_| Err(RequestError::OtherAnswer)).await;
    assert!(given_up.is_err());
    // … and others at the same time as everything else.
    let (first, second, bundle, barrier) = tokio::join!(
        count_flows(&connection),
        count_flows(&connection),
        connection.bundle(&flows),
        connection.barrier()
    );
    bundle.unwrap();
    barrier.unwrap();
    assert_eq!((first, second), (20_000, 20_000));
}

#[tokio::test]
async fn an_error_answers_the_request_it_is_about() {
    let (_switch, connection, _events, _session) = switch().await;
    let unknown = || Request::Raw { part: 0x7777, body: Vec::new() };
    let dump = connection.multipart(unknown(), |_| Ok::<_, RequestError>(()));
    let ask = Message::MultipartRequest(unknown().into());
    let tell = Message::FlowMod(Box::new(FlowMod::new(FlowCommand::Add, flow(0, 1, None, Some(Action::Group(5))))));
    let (barrier, dump, ask, tell) =
        tokio::join!(connection.barrier(), dump, connection.ask(&ask), connection.tell(&tell));
    barrier.unwrap();
    for (error, name) in [
        (dump.unwrap_err(), "OFPBRC_BAD_STAT"),
        (ask.unwrap_err(), "OFPBRC_BAD_STAT"),
        (tell.unwrap_err(), "OFPBAC_BAD_OUT_GROUP"),
    ] {
        assert!(matches!(&error, RequestError::Rejected(error) if error.code.name() == Some(name)), "{error}");
    }
}

#[tokio::test]
async fn groups_meters_and_ports_are_read_as_they_were_written() {
    let (switch, connection, _events, _session) = switch().await;
    switch.dummy_port(&switch.database.client().await, "br", "p1", 1).await;
    let bucket = |id: u32| Bucket { weight: Some(100), ..Bucket::new(id, vec![Action::output(PortNumber(id))]) };
    let group = Group { id: 7, kind: GroupKind::Select, selection: None, buckets: vec![bucket(1), bucket(2)] };
    let meter = Meter { id: 3, flags: MeterFlags::PKTPS, bands: vec![MeterBand::Drop { rate: 100, burst: 100 }] };
    let mut batch = Batch::new();
    batch.push_message(&Message::MeterMod(MeterMod::Add(meter.clone()))).unwrap();
    batch.push_message(&Message::GroupMod(GroupMod::Add(group.clone()))).unwrap();
    batch.push_message(&Message::GroupMod(GroupMod::Add(group.clone()))).unwrap();
    let rejected = connection.send(&batch).await.unwrap();
    let found: Vec<_> = rejected.iter().map(|rejected| (rejected.index, rejected.error.code.name())).collect();
    assert_eq!(found, [(2, Some("OFPGMFC_GROUP_EXISTS"))], "the others have happened");
    let groups = connection.dump_groups().await.unwrap();
    assert_eq!(groups.iter().map(|group| (group.id, group.buckets.len())).collect::<Vec<_>>(), [(7, 2)]);
    let meters = connection.dump_meters().await.unwrap();
    assert_eq!(meters.iter().map(|meter| (meter.id, meter.bands.clone())).collect::<Vec<_>>(), [(3, meter.bands)]);
    let ports = connection.ports().await.unwrap();
    assert!(ports.iter().any(|port| port.number == PortNumber(1) && port.name == "p1"), "{ports:?}");
}

#[tokio::test]
async fn a_switch_that_restarts_is_a_new_connection() {
    let (mut switch, connection, mut events, session) = switch().await;
    assert!(matches!(next_event(&mut events).await, Event::Connected(first) if first.generation() == 1));
    connection.bundle(&many(10)).await.unwrap();
    let big = many(50_000);
    switch.stop();
    let error = connection.bundle(&big).await.unwrap_err();
    assert!(matches!(error, BundleError::Request(RequestError::Disconnected)), "{error}");
    loop {
        match next_event(&mut events).await {
            Event::Disconnected { generation: 1 } => break,
            Event::Port(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let error = session.connection().unwrap_err();
    assert!(matches!(error, RequestError::NotConnected { .. }), "{error}");

    let started = Instant::now();
    switch.serve().await;
    let second = session.connected(START_WITHIN).await.unwrap();
    println!("connected again {:?} after the start of vswitchd", started.elapsed());
    assert_eq!(second.generation(), 2);
    assert!(matches!(next_event(&mut events).await, Event::Connected(second) if second.generation() == 2));
    assert_eq!(count_flows(&second).await, 0, "secure: nothing of its own accord, and nothing left");
    let error = connection.barrier().await.unwrap_err();
    assert!(matches!(error, RequestError::Disconnected), "the old connection stays dead: {error}");
}

#[tokio::test]
async fn the_connection_ends_with_the_session() {
    let (_switch, connection, _events, session) = switch().await;
    connection.barrier().await.unwrap();
    let other = session.clone();
    drop(session);
    connection.barrier().await.unwrap();
    drop(other);
    let ended = async { while connection.barrier().await.is_ok() {} };
    tokio::time::timeout(SOON, ended).await.unwrap();
}

#[tokio::test]
async fn a_bridge_without_openflow_1_5_is_refused_with_the_reason() {
    let switch = Switch::start().await;
    let client = switch.database.client().await;
    switch.bridge(&client, "br", "dummy").await;
    switch.database.vsctl(&["set", "bridge", "br", "protocols=OpenFlow10,OpenFlow13"]);
    client.configured(START_WITHIN).await.unwrap();
    let (session, _events) = Session::connect(switch.management("br"));
    let error = session.connected(Duration::from_millis(500)).await.unwrap_err().to_string();
    assert!(
        error.contains("1.5") && error.contains("protocols=OpenFlow15") || error.contains("refused the connection"),
        "{error}"
    );

    // Once it does, the session is there by itself.
    switch.database.vsctl(&["set", "bridge", "br", "protocols=OpenFlow15"]);
    session.connected(START_WITHIN).await.unwrap();
}

#[tokio::test]
async fn packets_and_ports_come_as_events() {
    let (switch, connection, mut events, _session) = switch().await;
    let client = switch.database.client().await;
    switch.dummy_port(&client, "br", "p1", 1).await;
    connection.bundle(&batch([add(flow(0, 1, None, Some(Action::to_controller())))])).await.unwrap();

    // A packet-out through the tables comes back, with the register it was given.
    let packet = [[0x50, 0x54, 0, 0, 0, 9].as_slice(), &[0x50, 0x54, 0, 0, 0, 10], &[0x88, 0xb5], &[7; 46]].concat();
    let out = PacketOut::new(PortNumber(1), packet.clone(), vec![Action::resubmit(0)]).with(Field::Reg(3), 0xabc_u32);
    connection.tell(&Message::PacketOut(out)).await.unwrap();
    let (mut port, mut received) = (false, None);
    while !port || received.is_none() {
        match next_event(&mut events).await {
            Event::Port(status) => port |= status.port.number == PortNumber(1),
            Event::Packet(packet) => received = Some(packet),
            Event::Connected(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let received = received.unwrap();
    assert_eq!((received.in_port(), received.packet), (Some(PortNumber(1)), packet));
    assert_eq!(received.metadata.get(Field::Reg(3)).map(|term| term.value.number()), Some(0xabc));
}
