//! The OVSDB client against a live ovsdb-server: what the real server does, held here so that nobody has to learn it again.
#![allow(clippy::unwrap_used)] // a test's helpers are tests too

mod live;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use agent::ovs::jsonrpc::{Decoder, Message};
use agent::ovs::ovsdb::transaction::{Transaction, TransactionError, Values, Where};
use agent::ovs::ovsdb::{Bridge, BridgeSpec, CallError, Change, Client, Interface, OpenVSwitch, Port, SwitchError};
use live::Database;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SOON: Duration = Duration::from_secs(10);

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn bridge(name: &str) -> BridgeSpec {
    BridgeSpec { name: name.into(), datapath_type: "netdev".into(), other_config: pairs(&[]), external_ids: pairs(&[]) }
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

#[tokio::test]
async fn an_idle_connection_survives_the_servers_inactivity_probe() {
    let database = Database::start().await;
    let path = database.folder().join("probed.sock");
    database.vsctl(&["set-manager", &format!("punix:{}", path.display())]);
    database.vsctl(&["set", "manager", ".", "inactivity_probe=1000"]);
    let client = Client::start(&path);
    client.connected(SOON).await.unwrap();
    // Somebody who does not answer the probe is cut off; by then the client has been asked at least as often.
    let mut mute = tokio::net::UnixStream::connect(&path).await.unwrap();
    let mut received = Vec::new();
    tokio::time::timeout(SOON, mute.read_to_end(&mut received)).await.unwrap().unwrap();
    assert!(String::from_utf8(received).unwrap().contains("\"echo\""));
    assert_eq!(client.databases().await.unwrap().len(), 2);
    assert_eq!(client.watch().borrow().generation, 1);
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
