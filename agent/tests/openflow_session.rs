//! The OpenFlow session against a live vswitchd.
#![allow(clippy::unwrap_used)] // a test's helpers are tests too

mod live;

use std::time::{Duration, Instant};

use agent::ovs::openflow::{Batch, BundleError, Connection, Event, Events, RequestError, Session};
use live::flow::{Command, Does, flow, refused_flow};
use live::{START_WITHIN, Switch};

const SOON: Duration = Duration::from_secs(20);
/// `OFPMP_FLOW_DESC` of every flow: all tables, any port, any group, any cookie, an empty match.
const FLOW_DESC: u16 = 1;
const ALL_FLOWS: [u8; 40] = {
    let mut body = [0; 40];
    body[0] = 0xff;
    let mut index = 4;
    while index < 12 {
        body[index] = 0xff;
        index += 1;
    }
    body[33] = 1;
    body[35] = 4;
    body
};

async fn switch() -> (Switch, Connection, Events, Session) {
    let switch = Switch::start().await;
    let client = switch.database.client().await;
    switch.bridge(&client, "br", "dummy").await;
    let (session, events) = Session::connect(switch.management("br"));
    let connection = session.connected(START_WITHIN).await.unwrap();
    (switch, connection, events, session)
}

fn batch(messages: impl IntoIterator<Item = Vec<u8>>) -> Batch {
    let mut batch = Batch::new();
    for message in messages {
        batch.push(&message).unwrap();
    }
    batch
}

fn many(count: u32) -> Batch {
    batch((0..count).map(|number| flow(Command::Add, 10, 200, Some(0x0a00_0000 + number), Does::Output(1))))
}

/// Counts flows by walking the descriptions of each part; also the number of parts and the longest.
async fn count_flows(connection: &Connection) -> (usize, usize, usize) {
    let (mut flows, mut parts, mut longest) = (0, 0, 0);
    let part = |body: &[u8]| {
        let mut rest = body;
        while rest.len() >= 2 {
            rest = &rest[usize::from(u16::from_be_bytes([rest[0], rest[1]]))..];
            flows += 1;
        }
        assert!(rest.is_empty());
        (parts, longest) = (parts + 1, longest.max(body.len()));
        Ok::<_, RequestError>(())
    };
    connection.multipart(FLOW_DESC, &ALL_FLOWS, part).await.unwrap();
    (flows, parts, longest)
}

async fn next_event(events: &mut Events) -> Event {
    tokio::time::timeout(SOON, events.next()).await.unwrap()
}

#[tokio::test]
async fn a_bundle_happens_in_order_and_whole() {
    let (switch, connection, _events, _session) = switch().await;
    let flows = batch([
        flow(Command::Add, 0, 10, Some(1), Does::Output(1)),
        flow(Command::Add, 0, 10, Some(2), Does::Output(1)),
        flow(Command::Delete, 0, 0, Some(1), Does::Drop),
        flow(Command::Add, 0, 10, Some(2), Does::Output(2)),
    ]);
    connection.bundle(&flows).await.unwrap();
    let dump = switch.ofctl("dump-flows", "br", &["--no-stats"]);
    assert_eq!(dump, "priority=10,ip,nw_dst=0.0.0.2 actions=output:2");
    connection.bundle(&Batch::new()).await.unwrap();
    assert!(switch.ofctl("show", "br", &[]).contains(&format!("{:016x}", connection.datapath_id())));
}

#[tokio::test]
async fn a_rejected_message_is_named_and_nothing_of_its_bundle_happens() {
    let (switch, connection, _events, _session) = switch().await;
    connection.bundle(&many(3)).await.unwrap();
    let before = switch.ofctl("dump-flows", "br", &["--no-stats"]);

    // Found when it is added (a bad prerequisite), twice.
    let bad = batch([
        flow(Command::Delete, 10, 0, None, Does::Drop),
        refused_flow(10),
        flow(Command::Add, 0, 1, None, Does::Drop),
        refused_flow(10),
    ]);
    let error = connection.bundle(&bad).await.unwrap_err();
    let BundleError::Rejected(rejected) = &error else { panic!("{error}") };
    let found: Vec<_> =
        rejected.iter().map(|rejected| (rejected.index, rejected.error.kind, rejected.error.code)).collect();
    assert_eq!(found, [(1, 4, 9), (3, 4, 9)], "OFPBMC_BAD_PREREQ");

    // Found when it is committed: there is no such group.
    let bad = batch([
        flow(Command::Delete, 10, 0, None, Does::Drop),
        flow(Command::Add, 0, 1, None, Does::Drop),
        flow(Command::Add, 0, 2, None, Does::Group(77)),
    ]);
    let error = connection.bundle(&bad).await.unwrap_err();
    let BundleError::Rejected(rejected) = &error else { panic!("{error}") };
    assert_eq!(
        rejected.iter().map(|rejected| (rejected.index, rejected.error.kind)).collect::<Vec<_>>(),
        [(2, 2)],
        "{error}"
    );
    assert_eq!(switch.ofctl("dump-flows", "br", &["--no-stats"]), before);

    // What cannot be in a bundle at all is told before anything is sent.
    let mut long = flow(Command::Add, 0, 1, None, Does::Drop);
    long.resize(65_528, 0);
    let length = (long.len() as u16).to_be_bytes();
    long[2..4].copy_from_slice(&length);
    let error = connection.bundle(&batch([flow(Command::Add, 0, 1, None, Does::Drop), long])).await.unwrap_err();
    assert!(matches!(error, BundleError::TooLong { index: 1, .. }), "{error}");

    // And the connection goes on.
    connection.bundle(&many(5)).await.unwrap();
    assert_eq!(count_flows(&connection).await.0, 5);
}

#[tokio::test]
async fn a_hundred_thousand_rejected_flows_do_not_stop_the_connection() {
    let (_switch, connection, _events, _session) = switch().await;
    let bad = batch((0..100_000).map(|number| {
        if number % 1000 == 7 { flow(Command::Add, 0, 1, Some(number), Does::Drop) } else { refused_flow(0) }
    }));
    let started = Instant::now();
    let rejected = tokio::time::timeout(Duration::from_secs(60), connection.send(&bad)).await.unwrap().unwrap();
    println!("100,000 flows, 99,900 of them rejected, in {:?}", started.elapsed());
    assert_eq!(rejected.len(), 99_900);
    let mut expected = (0..100_000).filter(|number| number % 1000 != 7);
    assert!(rejected.iter().all(|rejected| Some(rejected.index) == expected.next() && rejected.error.code == 9));
    assert_eq!(count_flows(&connection).await.0, 100, "the good ones between them are in");

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
    let slices: Vec<_> = (0..10_u32)
        .map(|slice| {
            batch((0..10_000).map(|number| flow(Command::Add, 10, 200, Some(slice << 16 | number), Does::Output(1))))
        })
        .collect();
    let started = Instant::now();
    for slice in &slices {
        connection.bundle(slice).await.unwrap();
    }
    println!("100,000 flows in ten bundles in {:?}", started.elapsed());
    let started = Instant::now();
    let (flows, parts, longest) = count_flows(&connection).await;
    println!("{flows} flows dumped in {:?}: {parts} parts of at most {longest} bytes", started.elapsed());
    assert_eq!(flows, 100_000);
    assert!(parts > 10 && longest <= 1 << 16, "handed out as they come");
}

#[tokio::test]
async fn a_slow_reader_of_a_dump_holds_up_nothing_for_good() {
    let (_switch, connection, _events, _session) = switch().await;
    let flows = many(20_000);
    connection.bundle(&flows).await.unwrap();
    // A dump that is given up after its first part …
    let given_up = connection.multipart(FLOW_DESC, &ALL_FLOWS, |_| Err(RequestError::Disconnected)).await;
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
    assert_eq!((first.0, second.0), (20_000, 20_000));
}

#[tokio::test]
async fn an_error_answers_the_request_it_is_about() {
    let (_switch, connection, _events, _session) = switch().await;
    let dump = connection.multipart(0x7777, &[], |_| Ok::<_, RequestError>(()));
    let request = connection.request(18, &[0xff, 0xff, 0, 0, 0, 0, 0, 0]);
    let (barrier, dump, request) = tokio::join!(connection.barrier(), dump, request);
    barrier.unwrap();
    for error in [dump.unwrap_err(), request.unwrap_err()] {
        assert!(matches!(&error, RequestError::Rejected(rejection) if rejection.kind == 1), "{error}");
    }
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
            Event::PortStatus(_) => {}
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
    assert_eq!(count_flows(&second).await.0, 0, "secure: nothing of its own accord, and nothing left");
    let error = connection.barrier().await.unwrap_err();
    assert!(matches!(error, RequestError::Disconnected), "the old connection stays dead: {error}");
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
    connection.bundle(&batch([flow(Command::Add, 0, 1, None, Does::Controller)])).await.unwrap();
    let packet = "in_port(1),eth(src=50:54:00:00:00:09,dst=50:54:00:00:00:0a),eth_type(0x0800),\
        ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src=1,dst=2)";
    switch.appctl("netdev-dummy/receive", &["p1", packet]).await;
    let (mut port, mut packets) = (false, 0);
    while !port || packets == 0 {
        match next_event(&mut events).await {
            Event::PortStatus(frame) => port |= frame[16..20] == 1_u32.to_be_bytes(),
            Event::Message(frame) => {
                // NXT_PACKET_IN2: an experimenter message of Nicira's, subtype 30.
                assert_eq!((frame[1], &frame[8..16]), (4, [0, 0, 0x23, 0x20, 0, 0, 0, 30].as_slice()));
                packets += 1;
            }
            Event::Connected(_) => {}
            other => panic!("{other:?}"),
        }
    }
}
