//! What the agent wants of its bridge and ports, made so in a live ovsdb-server, with and without a vswitchd behind it.
#![allow(clippy::unwrap_used)] // a test's helpers are tests too

mod live;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use agent::ovs::ovsdb::{Bridge, BridgeSpec, Interface, OpenVSwitch, Port, PortSpec, SwitchError, Uuid};
use live::{Database, START_WITHIN, Switch};

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
}
