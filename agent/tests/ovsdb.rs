//! The OVSDB client against a live ovsdb-server: what the real server does, held here so that nobody has to learn it again.
#![allow(clippy::unwrap_used)] // a test's helpers are tests too

mod live;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use agent::ovs::jsonrpc::{Decoder, Message};
use agent::ovs::ovsdb::row::Table;
use agent::ovs::ovsdb::transaction::{Transaction, TransactionError, Values, Where};
use agent::ovs::ovsdb::{
    Bridge, BridgeSpec, CallError, Change, Client, Interface, OpenVSwitch, Port, PortSpec, SwitchError, Uuid,
};
use live::{Database, START_WITHIN, Switch};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SOON: Duration = Duration::from_secs(10);

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn bridge(name: &str) -> BridgeSpec {
    BridgeSpec { name: name.into(), datapath_type: "netdev".into(), other_config: pairs(&[]), external_ids: pairs(&[]) }
}

fn port(name: &str) -> PortSpec {
    PortSpec { name: name.into(), interface_type: "dummy".into(), ..PortSpec::default() }
}

#[tokio::test]
async fn a_bridge_is_created_whole_corrected_and_removed() {
    let database = Database::start().await;
    let client = database.client().await;
    assert!(client.databases().await.unwrap().contains(&"Open_vSwitch".to_owned()));
    let mut wanted = bridge("br");
    wanted.other_config = pairs(&[("hwaddr", "0a:00:00:00:00:01"), ("text", "a \" quote, a \\ and a } brace")]);
    let uuid = client.ensure_bridge(&wanted).await.unwrap();

    // Seen by another program.
    assert_eq!(database.vsctl(&["get", "bridge", "br", "_uuid"]), uuid.to_string());
    assert_eq!(
        database.vsctl(&["get", "bridge", "br", "fail_mode", "datapath_type", "protocols"]),
        "secure\nnetdev\n[OpenFlow15]"
    );
    assert_eq!(database.vsctl(&["get", "interface", "br", "type"]), "internal");
    assert_eq!(database.vsctl(&["get", "bridge", "br", "other_config:hwaddr"]), "\"0a:00:00:00:00:01\"");
    let (_, row) = client.read(|cache| cache.named::<Bridge>("br")).unwrap();
    assert_eq!(row.other_config, wanted.other_config, "quotes and braces travel both ways");

    // Somebody breaks it; keys of others stay.
    database.vsctl(&[
        "set",
        "bridge",
        "br",
        "fail_mode=standalone",
        "other_config:foreign=1",
        "other_config:hwaddr=bad",
    ]);
    let broken = |row: &Bridge| row.fail_mode.as_deref() == Some("standalone");
    client.wait_for(|cache| cache.named::<Bridge>("br").filter(|(_, row)| broken(row)), SOON).await.unwrap();
    assert_eq!(client.ensure_bridge(&wanted).await.unwrap(), uuid);
    let (_, row) = client.read(|cache| cache.named::<Bridge>("br")).unwrap();
    assert_eq!(row.fail_mode.as_deref(), Some("secure"));
    assert_eq!((row.other_config["foreign"].as_str(), row.other_config["hwaddr"].as_str()), ("1", "0a:00:00:00:00:01"));

    // Nothing differs: nothing is written.
    let revision = client.watch().borrow().revision;
    client.ensure_bridge(&wanted).await.unwrap();
    assert_eq!(client.watch().borrow().revision, revision);

    client.remove_bridge("br").await.unwrap();
    assert_eq!(database.vsctl(&["list-br"]), "");
    assert_eq!(client.read(|cache| cache.rows::<Interface>().count()), 0, "the rows below it go with it");
    client.remove_bridge("br").await.unwrap();
}

#[tokio::test]
async fn ones_own_change_is_in_the_cache_when_the_transaction_returns() {
    let database = Database::start().await;
    let client = database.client().await;
    client.ensure_bridge(&bridge("br")).await.unwrap();
    for round in 0..200 {
        let value = pairs(&[("round", &round.to_string())]);
        let mut transaction = Transaction::new();
        transaction.update::<Bridge>(Where::all(), Values::new().with("external_ids", &value));
        client.transact(&transaction).await.unwrap();
        let (_, row) = client.read(|cache| cache.named::<Bridge>("br")).unwrap();
        assert_eq!(row.external_ids, value);
    }
}

#[tokio::test]
async fn columns_with_default_values_are_left_out_by_the_server_and_there_for_the_reader() {
    let database = Database::start().await;
    database.vsctl(&["add-br", "br"]);

    // What the server really sends: no external_ids, no fail_mode, in the first rows of a monitor.
    let mut stream = tokio::net::UnixStream::connect(database.socket()).await.unwrap();
    let columns = json!({"Bridge": [{"columns": ["name", "external_ids", "fail_mode", "protocols"]}]});
    let request = Message::Request {
        id: json!(1),
        method: "monitor_cond_since".into(),
        params: json!(["Open_vSwitch", null, columns, "00000000-0000-0000-0000-000000000000"]),
    };
    stream.write_all(&request.encode()).await.unwrap();
    let Message::Response { result: Ok(answer), .. } = receive(&mut stream, &mut Decoder::default()).await else {
        panic!("no answer")
    };
    assert_eq!(answer[0], json!(false), "a stand-alone server never resumes");
    let row = answer[2]["Bridge"].as_object().unwrap().values().next().unwrap()["initial"].clone();
    assert_eq!(row, json!({"name": "br"}));

    let client = database.client().await;
    let (_, row) = client.read(|cache| cache.named::<Bridge>("br")).unwrap();
    assert_eq!((row.external_ids, row.fail_mode, row.protocols), (pairs(&[]), None, BTreeSet::new()));
}

#[tokio::test]
async fn modify_carries_differences_of_sets_and_maps_and_new_values_of_the_rest() {
    let database = Database::start().await;
    let client = database.client().await;
    client.ensure_bridge(&bridge("br")).await.unwrap();
    type Step = (&'static [&'static str], fn(&Bridge) -> bool);
    let steps: &[Step] = &[
        (&["set", "bridge", "br", "external_ids={a=1,b=2,c=3}"], |row| {
            row.external_ids == pairs(&[("a", "1"), ("b", "2"), ("c", "3")])
        }),
        (&["set", "bridge", "br", "external_ids={a=1,b=4,d=5}"], |row| {
            row.external_ids == pairs(&[("a", "1"), ("b", "4"), ("d", "5")])
        }),
        (&["clear", "bridge", "br", "external_ids"], |row| row.external_ids.is_empty()),
        (&["set", "bridge", "br", "protocols=OpenFlow15,OpenFlow14"], |row| row.protocols.len() == 2),
        (&["set", "bridge", "br", "protocols=OpenFlow13,OpenFlow14"], |row| {
            row.protocols == BTreeSet::from(["OpenFlow13".into(), "OpenFlow14".into()])
        }),
        // An optional column is a set of at most one: its new value comes, not a difference.
        (&["set", "bridge", "br", "fail_mode=standalone"], |row| row.fail_mode.as_deref() == Some("standalone")),
        (&["clear", "bridge", "br", "fail_mode"], |row| row.fail_mode.is_none()),
        (&["set", "bridge", "br", "datapath_type=system"], |row| row.datapath_type == "system"),
        (&["set", "bridge", "br", "datapath_type=\"\""], |row| row.datapath_type.is_empty()),
    ];
    for (command, holds) in steps {
        database.vsctl(command);
        let seen = client.wait_for(|cache| cache.named::<Bridge>("br").filter(|(_, row)| holds(row)), SOON).await;
        assert!(seen.is_some(), "{command:?}: {:?}", client.read(|cache| cache.named::<Bridge>("br")));
    }
}

#[tokio::test]
async fn a_failed_operation_inside_a_successful_call_is_an_error_and_nothing_is_done() {
    let database = Database::start().await;
    let client = database.client().await;
    client.ensure_bridge(&bridge("br")).await.unwrap();

    // The second operation fails.
    let mut transaction = Transaction::new();
    transaction.update::<Bridge>(Where::all(), Values::new().with("external_ids", &pairs(&[("half", "done")])));
    transaction.update::<Bridge>(Where::all(), Values::new().with("no_such_column", &true));
    let error = client.transact(&transaction).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Transaction(TransactionError::Operation { operation, .. }) if operation == "update of Bridge"),
        "{error}"
    );
    assert!(error.to_string().contains("no_such_column"), "{error}");
    assert_eq!(database.vsctl(&["get", "bridge", "br", "external_ids"]), "{}");

    // Every operation succeeds and the commit does not: a second bridge of the same name.
    let mut transaction = Transaction::new();
    let second = transaction.insert::<Bridge>(Values::new().with("name", &"br".to_owned()));
    transaction.add_inserted::<OpenVSwitch>(Where::all(), "bridges", &[second]);
    let error = client.transact(&transaction).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Transaction(TransactionError::Operation { operation, error, .. })
        if operation == "the commit" && error == "constraint violation"),
        "{error}"
    );

    // A requirement that does not hold.
    let mut transaction = Transaction::new();
    transaction.require::<Bridge, _>(Where::equal("name", &"br".to_owned()), "name", &"other".to_owned());
    let error = client.transact(&transaction).await.unwrap_err();
    assert!(error.to_string().contains("timed out"), "{error}");
}

#[tokio::test]
async fn a_named_row_gets_the_id_of_its_own_insert_wherever_that_stands() {
    let database = Database::start().await;
    let client = database.client().await;
    client.ensure_bridge(&bridge("br")).await.unwrap();
    let mut transaction = Transaction::new();
    transaction.comment("an operation that is no insert comes first");
    let counted = transaction.update::<Bridge>(Where::all(), Values::new().with("external_ids", &pairs(&[("a", "1")])));
    let first = transaction.insert::<Interface>(Values::new().with("name", &"p1".to_owned()));
    let port =
        transaction.insert::<Port>(Values::new().with("name", &"p1".to_owned()).with_inserted("interfaces", &first));
    transaction.add_inserted::<Bridge>(Where::all(), "ports", std::slice::from_ref(&port));
    let outcome = client.transact(&transaction).await.unwrap();
    assert_eq!(outcome.count(counted), 1);
    for (table, inserted) in [("interface", &first), ("port", &port)] {
        assert_eq!(database.vsctl(&["get", table, "p1", "_uuid"]), outcome.uuid(inserted).unwrap().to_string());
    }
    let (uuid, _) = client.read(|cache| cache.named::<Port>("p1")).unwrap();
    assert_eq!(outcome.uuid(&port), Some(uuid));
}

#[tokio::test]
async fn after_a_reconnect_the_cache_is_loaded_anew_and_the_difference_told() {
    let mut database = Database::start().await;
    let client = database.client().await;
    client.ensure_bridge(&bridge("kept")).await.unwrap();
    client.ensure_bridge(&bridge("gone")).await.unwrap();
    let mut changes = client.changes();
    let mut status = client.watch();
    let generation = status.borrow().generation;
    database.stop();
    status.wait_for(|status| !status.connected).await.unwrap();
    assert!(
        client.read(|cache| cache.named::<Bridge>("gone")).is_some(),
        "until told otherwise, the last that was known"
    );
    let error = client.ensure_bridge(&bridge("other")).await.unwrap_err();
    assert!(matches!(error, SwitchError::Call { source: CallError::NotConnected { .. }, .. }), "{error}");

    // While nobody watches, the database changes: edited by another server process on the same file.
    database.serve().await;
    database.vsctl(&["del-br", "gone"]);
    database.vsctl(&["add-br", "new"]);
    client.wait_for(|cache| cache.named::<Bridge>("new"), SOON).await.unwrap();
    assert!(status.borrow().generation > generation);
    let names = client.read(|cache| cache.rows::<Bridge>().map(|(_, row)| row.name).collect::<BTreeSet<_>>());
    assert_eq!(names, BTreeSet::from(["kept".into(), "new".into()]));

    // Whatever arrived before and after the reconnect, the feed tells each row once and no unchanged one.
    let mut told = BTreeSet::new();
    let all = BTreeSet::from([("gone".to_owned(), false), ("new".to_owned(), true)]);
    while told != all {
        let batch = tokio::time::timeout(SOON, changes.next()).await.unwrap();
        for (before, after) in batch.iter().filter_map(Change::of::<Bridge>) {
            let (name, there) = (before.or(after.clone()).unwrap().name, after.is_some());
            assert_ne!(name, "kept");
            told.insert((name, there));
        }
    }
}

#[tokio::test]
async fn calls_under_way_fail_when_the_connection_dies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let client = Client::start(&path);
    let (mut stream, mut decoder) = handshake(&listener).await;
    client.connected(SOON).await.unwrap();

    let call = tokio::spawn({
        let client = client.clone();
        async move { client.databases().await }
    });
    assert!(
        matches!(receive(&mut stream, &mut decoder).await, Message::Request { method, .. } if method == "list_dbs")
    );
    drop(stream);
    let error = tokio::time::timeout(SOON, call).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, CallError::Disconnected { method: "list_dbs", .. }), "{error}");

    // And it connects again by itself.
    let _again = handshake(&listener).await;
    client.connected(SOON).await.unwrap();
    assert_eq!(client.watch().borrow().generation, 2);
}

#[tokio::test]
async fn the_servers_echo_is_answered_also_during_the_handshake_and_between_calls() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let client = Client::start(&path);
    let (mut stream, mut decoder) = handshake(&listener).await;
    client.connected(SOON).await.unwrap();

    // Two messages in one write, and one in two.
    let echo = |id: &str| Message::Request { id: json!(id), method: "echo".into(), params: json!(["payload", id]) };
    let bytes = [echo("a").encode(), echo("b").encode(), echo("c").encode()].concat();
    let (first, second) = bytes.split_at(bytes.len() - 9);
    stream.write_all(first).await.unwrap();
    for id in ["a", "b", "c"] {
        if id == "c" {
            stream.write_all(second).await.unwrap();
        }
        let answer = receive(&mut stream, &mut decoder).await;
        assert_eq!(answer, Message::Response { id: json!(id), result: Ok(json!(["payload", id])) });
    }
}

/// The server's side of the opening, with an echo request in the middle of it.
async fn handshake(listener: &tokio::net::UnixListener) -> (tokio::net::UnixStream, Decoder) {
    let (mut stream, _) = tokio::time::timeout(SOON, listener.accept()).await.unwrap().unwrap();
    let mut decoder = Decoder::default();
    let schema: serde_json::Value =
        serde_json::from_slice(&std::fs::read("/usr/share/openvswitch/vswitch.ovsschema").unwrap()).unwrap();
    for expected in ["get_schema", "monitor_cond_since"] {
        let Message::Request { id, method, .. } = receive(&mut stream, &mut decoder).await else {
            panic!("no request")
        };
        assert_eq!(method, expected);
        let echo = Message::Request { id: json!("echo"), method: "echo".into(), params: json!([]) };
        stream.write_all(&echo.encode()).await.unwrap();
        assert_eq!(
            receive(&mut stream, &mut decoder).await,
            Message::Response { id: json!("echo"), result: Ok(json!([])) }
        );
        let result = if method == "get_schema" { schema.clone() } else { json!([false, "", {}]) };
        stream.write_all(&Message::Response { id, result: Ok(result) }.encode()).await.unwrap();
    }
    (stream, decoder)
}

async fn receive(stream: &mut tokio::net::UnixStream, decoder: &mut Decoder) -> Message {
    let mut buffer = [0; 4096];
    loop {
        if let Some(message) = decoder.next().unwrap() {
            return message;
        }
        let read = tokio::time::timeout(SOON, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(read > 0, "the client closed the connection");
        decoder.feed(&buffer[..read]);
    }
}

#[tokio::test]
async fn ports_come_get_corrected_move_and_go() {
    let database = Database::start().await;
    let client = database.client().await;
    client.ensure_bridge(&bridge("br")).await.unwrap();
    client.ensure_bridge(&bridge("other")).await.unwrap();
    let mut tunnel = port("tun0");
    tunnel.interface_type = "geneve".into();
    tunnel.options = pairs(&[("remote_ip", "flow"), ("key", "flow")]);
    tunnel.ofport_request = Some(7);
    tunnel.external_ids = pairs(&[("owner", "ferrant")]);
    client.change_ports("br", &[tunnel.clone(), port("a"), port("b")], &[]).await.unwrap();
    assert_eq!(database.vsctl(&["list-ports", "br"]), "a\nb\ntun0");
    let told = database.vsctl(&["get", "interface", "tun0", "type", "ofport_request", "external_ids", "options"]);
    assert_eq!(told, "geneve\n7\n{owner=ferrant}\n{key=flow, remote_ip=flow}");

    tunnel.interface_type = "vxlan".into();
    tunnel.options = pairs(&[("remote_ip", "flow")]);
    tunnel.mtu_request = Some(1400);
    client.change_ports("br", &[tunnel], &["a".into(), "never there".into()]).await.unwrap();
    assert_eq!(database.vsctl(&["list-ports", "br"]), "b\ntun0");
    assert_eq!(
        database.vsctl(&["get", "interface", "tun0", "type", "options", "mtu_request"]),
        "vxlan\n{remote_ip=flow}\n1400"
    );

    client.ensure_port("other", &port("b")).await.unwrap();
    assert_eq!(
        (database.vsctl(&["list-ports", "br"]), database.vsctl(&["list-ports", "other"])),
        ("tun0".into(), "b".into())
    );
    client.remove_port("br", "b").await.unwrap();
    assert_eq!(database.vsctl(&["list-ports", "other"]), "b", "the port of another bridge is not ours to remove");

    let error = client.ensure_port("none", &port("c")).await.unwrap_err();
    assert!(matches!(error, SwitchError::NoBridge { .. }), "{error}");
    assert_eq!(client.read(|cache| cache.rows::<Port>().count()), 4);
}

#[tokio::test]
async fn two_clients_that_want_the_same_bridge_get_one() {
    let database = Database::start().await;
    let (first, second) = (database.client().await, database.client().await);
    for round in 0..20 {
        let wanted = bridge(&format!("br{round}"));
        let (one, two) = tokio::join!(first.ensure_bridge(&wanted), second.ensure_bridge(&wanted));
        assert_eq!(one.unwrap(), two.unwrap());
    }
    assert_eq!(database.vsctl(&["list-br"]).lines().count(), 20);
}

#[tokio::test]
async fn a_ports_number_or_its_error_comes_as_an_event() {
    let switch = Switch::start().await;
    let client = switch.database.client().await;
    switch.bridge(&client, "br", "dummy").await;
    let (_, root) = client.read(|cache| cache.rows::<OpenVSwitch>().next()).unwrap();
    assert!(root.datapath_types.contains("netdev"));

    switch.dummy_port(&client, "br", "p5", 5).await;
    let missing = PortSpec { name: "nosuchdevice".into(), ..PortSpec::default() };
    client.ensure_port("br", &missing).await.unwrap();
    let error = client.port_number("nosuchdevice", START_WITHIN).await.unwrap_err();
    assert!(matches!(&error, SwitchError::Interface { error, .. } if error.contains("nosuchdevice")), "{error}");

    // Corrected, the old error does not count any more.
    client
        .ensure_port("br", &PortSpec { interface_type: "dummy".into(), ofport_request: Some(9), ..missing })
        .await
        .unwrap();
    assert_eq!(client.port_number("nosuchdevice", START_WITHIN).await.unwrap(), 9);

    let error = client.port_number("p6", Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(error, SwitchError::NoPortNumber { .. }), "{error}");
}

#[tokio::test]
async fn settings_of_the_switch_are_merged() {
    let database = Database::start().await;
    database.vsctl(&["set", "open", ".", "other_config:foreign=1", "other_config:max-idle=5"]);
    let client = database.client().await;
    client.set_other_config(&pairs(&[("max-idle", "10000"), ("flow-restore-wait", "true")])).await.unwrap();
    let told = database.vsctl(&["get", "open", ".", "other_config"]);
    assert_eq!(told, "{flow-restore-wait=\"true\", foreign=\"1\", max-idle=\"10000\"}");
    let error = client.configured(Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(error, SwitchError::NotTaken { .. }), "no vswitchd runs here: {error}");
}

/// Figures, and that the count is right; never how long it took.
#[tokio::test]
async fn many_ports_one_transaction_each() {
    let database = Database::start().await;
    let started = Instant::now();
    let client = database.client().await;
    let connected = started.elapsed();
    client.ensure_bridge(&bridge("br")).await.unwrap();
    let mut took = Vec::new();
    for number in 0..500 {
        let started = Instant::now();
        client.ensure_port("br", &port(&format!("p{number}"))).await.unwrap();
        took.push(started.elapsed());
    }
    took.sort();
    println!("connected with first rows in {connected:?}; a port each in {:?} P50, {:?} P99", took[250], took[495]);
    assert_eq!(database.vsctl(&["list-ports", "br"]).lines().count(), 500);
    let ports: BTreeSet<Uuid> = client.read(|cache| cache.rows::<Port>().map(|(uuid, _)| uuid).collect());
    assert_eq!(client.read(|cache| cache.named::<Bridge>("br")).unwrap().1.ports, ports);

    // A client that comes now gets them all in its first rows.
    let other = database.client().await;
    assert_eq!(other.read(|cache| cache.rows::<Interface>().count()), 501);
    assert_eq!(Interface::NAME, "Interface");
}
