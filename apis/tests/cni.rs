//! The CNI door: what a runtime may hand in, what it is told when it is wrong, and what it reads back in each version.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use apis::cni::{
    AddResult, Attach, Command, Detach, ErrorCode, NetworkConfiguration, PodArguments, ResultAddress, ResultInterface,
    ResultRoute, SpecVersion, version_document,
};
use proptest::prelude::*;
use serde_json::json;

fn configuration(text: &str) -> Result<NetworkConfiguration, (u32, String)> {
    NetworkConfiguration::parse(text.as_bytes()).map_err(|error| (error.code.0, error.to_string()))
}

fn command(variables: &[(&str, &str)]) -> Result<Command, (u32, String)> {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    Command::parse(|name| variables.get(name).map(OsString::from)).map_err(|error| (error.code.0, error.to_string()))
}

#[test]
fn a_configuration_as_a_runtime_writes_it() {
    let read = configuration(
        r#"{"cniVersion":"1.0.0","name":"ferrant","type":"ferrant","agentSocket":"/run/a/cni.sock","ipam":{},
            "capabilities":{"portMappings":true},"runtimeConfig":{"ips":["10.10.1.7/32","fd00::7"],"x":1},"cni.dev/attachments":[]}"#,
    )
    .expect("it is valid");
    assert_eq!(
        read,
        NetworkConfiguration {
            version: SpecVersion::V1_0_0,
            name: "ferrant".into(),
            agent_socket: PathBuf::from("/run/a/cni.sock"),
            previous_result: None,
            requested_addresses: vec!["10.10.1.7".parse().expect("an address"), "fd00::7".parse().expect("an address")],
        }
    );
    let short = configuration(r#"{"cniVersion":"1.1.0","name":"n"}"#).expect("it is valid");
    assert_eq!(short.agent_socket, Path::new("/run/ferrant/cni.sock"));
}

#[test]
fn a_wrong_configuration_is_named_with_its_code() {
    let long_socket = format!(r#"{{"cniVersion":"1.1.0","name":"n","agentSocket":"/{}"}}"#, "s".repeat(107));
    let cases: &[(&str, u32, &str)] = &[
        ("", 6, "standard input is empty"),
        (" \n", 6, "standard input is empty"),
        ("[]", 6, "not a JSON object"),
        ("{", 6, "line 1, column 1"),
        ("{\n \"name\": 5}", 6, "line 2, column 10"),
        (r#"{"name":"a","name":"b"}"#, 6, "duplicate field `name`"),
        (r#"{"name":"n"}"#, 1, "without \"cniVersion\""),
        (r#"{"cniVersion":"0.3.1","name":"n"}"#, 1, "0.4.0, 1.0.0, 1.1.0"),
        (r#"{"cniVersion":"2.0.0","name":"n"}"#, 1, "2.0.0"),
        (r#"{"cniVersion":"1.1.0"}"#, 7, "\"name\""),
        (r#"{"cniVersion":"1.1.0","name":"-a"}"#, 7, "\"-a\""),
        (r#"{"cniVersion":"1.1.0","name":"a/b"}"#, 7, "\"a/b\""),
        (r#"{"cniVersion":"1.1.0","name":"n","agentSocket":"cni.sock"}"#, 7, "absolute path"),
        (&long_socket, 7, "at most 107 bytes"),
        (r#"{"cniVersion":"1.1.0","name":"n","ipam":{"type":"host-local"}}"#, 2, "host-local"),
        (r#"{"cniVersion":"1.1.0","name":"n","runtimeConfig":{"ips":["10.10.1.300"]}}"#, 7, "\"10.10.1.300\""),
    ];
    for (text, code, part) in cases {
        let (found, message) = configuration(text).expect_err(text);
        assert_eq!(found, *code, "{text}: {message}");
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn a_plugin_behind_another_refuses_to_add() {
    let chained = configuration(r#"{"cniVersion":"1.1.0","name":"n","prevResult":{"ips":[]}}"#).expect("DEL takes it");
    let error = chained.refuse_chained().expect_err("ADD does not");
    assert_eq!(error.code, ErrorCode::UNSUPPORTED_FIELD);
    assert!(error.message.contains(r#"prevResult: {"ips":[]}"#), "{error}");
}

#[test]
fn the_environment_of_add() {
    let add = command(&[
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c0ffee"),
        ("CNI_NETNS", "/run/netns/x"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0.a;K8S_POD_UID=12-34;X=a=b"),
    ]);
    assert_eq!(
        add,
        Ok(Command::Add(Attach {
            container_id: "c0ffee".into(),
            network_namespace: "/run/netns/x".into(),
            interface: "eth0".into(),
            pod: PodArguments { namespace: "shop".into(), name: "web-0.a".into(), uid: Some("12-34".into()) },
        }))
    );
}

#[test]
fn an_error_names_every_variable_that_is_wrong() {
    let (code, message) = command(&[
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", ".."),
        ("CNI_IFNAME", "a-name-too-long-x"),
        ("CNI_ARGS", "K8S_POD_NAMESPACE=Shop"),
    ])
    .expect_err("all of them are wrong");
    assert_eq!(code, 4);
    for name in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "K8S_POD_NAMESPACE", "K8S_POD_NAME"] {
        assert!(message.contains(name), "{name} is not in: {message}");
    }
}

#[test]
fn del_needs_neither_namespace_nor_pod() {
    let delete =
        command(&[("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "c"), ("CNI_IFNAME", "eth0"), ("CNI_NETNS", "")]);
    let expected = Detach { container_id: "c".into(), network_namespace: None, interface: "eth0".into() };
    assert_eq!(delete, Ok(Command::Delete(expected)));
}

#[test]
fn commands_of_later_issues_are_refused_by_name() {
    for name in ["CHECK", "GC", "STATUS", "add", "X"] {
        let (code, message) = command(&[("CNI_COMMAND", name)]).expect_err(name);
        assert_eq!(code, 4);
        assert!(message.contains(name) && message.contains("ADD, DEL and VERSION"), "{message}");
    }
    assert_eq!(command(&[]).expect_err("nothing is set").0, 4);
    assert_eq!(command(&[("CNI_COMMAND", "VERSION")]), Ok(Command::Version));
}

fn example() -> AddResult {
    let net = |text: &str| text.parse().expect("a prefix");
    let address = |text: &str| Some(text.parse().expect("an address"));
    AddResult {
        interfaces: vec![
            ResultInterface {
                name: "eth0".into(),
                mac: Some("0a:00:00:00:00:02".parse().expect("a MAC")),
                mtu: Some(1450),
                sandbox: Some("/run/netns/x".into()),
            },
            ResultInterface { name: "web-1".into(), mac: None, mtu: Some(1450), sandbox: None },
        ],
        ips: vec![
            ResultAddress { address: net("10.10.1.2/32"), gateway: address("10.10.1.1"), interface: Some(0) },
            ResultAddress {
                address: net("fd00:10:0:1::2/128"),
                gateway: address("fd00:10:0:1::1"),
                interface: Some(0),
            },
        ],
        routes: vec![ResultRoute { destination: net("0.0.0.0/0"), gateway: address("10.10.1.1") }],
    }
}

#[test]
fn a_result_is_written_for_each_version() {
    let newest = json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            {"name": "eth0", "mac": "0a:00:00:00:00:02", "mtu": 1450, "sandbox": "/run/netns/x"},
            {"name": "web-1", "mtu": 1450},
        ],
        "ips": [
            {"address": "10.10.1.2/32", "gateway": "10.10.1.1", "interface": 0},
            {"address": "fd00:10:0:1::2/128", "gateway": "fd00:10:0:1::1", "interface": 0},
        ],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.10.1.1"}],
    });
    assert_eq!(example().document(SpecVersion::V1_1_0), newest);

    let mut middle = newest;
    middle["cniVersion"] = json!("1.0.0");
    for index in [0, 1] {
        middle["interfaces"][index].as_object_mut().expect("an object").remove("mtu");
    }
    assert_eq!(example().document(SpecVersion::V1_0_0), middle);

    let mut oldest = middle;
    oldest["cniVersion"] = json!("0.4.0");
    oldest["ips"][0]["version"] = json!("4");
    oldest["ips"][1]["version"] = json!("6");
    assert_eq!(example().document(SpecVersion::V0_4_0), oldest);
}

#[test]
fn a_result_survives_the_protocol() {
    let text = serde_json::to_string(&example()).expect("it is plain data");
    assert_eq!(serde_json::from_str::<AddResult>(&text).expect("it reads what it wrote"), example());
}

#[test]
fn the_version_document_speaks_the_version_it_was_asked_in() {
    let document = version_document(SpecVersion::of_input(br#"{"cniVersion":"0.4.0","x":1}"#));
    assert_eq!(document, json!({"cniVersion": "0.4.0", "supportedVersions": ["0.4.0", "1.0.0", "1.1.0"]}));
    assert_eq!(SpecVersion::of_input(b"not JSON"), SpecVersion::CURRENT);
}

/// JSON objects with the keys a configuration has and values of every shape.
fn near_configurations() -> impl Strategy<Value = String> {
    let keys = prop::sample::select(vec!["cniVersion", "name", "type", "agentSocket", "prevResult", "ipam", "other"]);
    let values = prop_oneof![
        Just("\"1.1.0\"".to_owned()),
        Just("\"/run/x.sock\"".to_owned()),
        Just("{}".to_owned()),
        Just("[[{\"a\":null}]]".to_owned()),
        Just("1e999".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        ".*".prop_map(|text| serde_json::to_string(&text).expect("a string is JSON")),
    ];
    prop::collection::vec((keys, values), 0..8).prop_map(|pairs| {
        let inner = pairs.iter().map(|(key, value)| format!("{}:{value}", json!(key))).collect::<Vec<_>>();
        format!("{{{}}}", inner.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_input_panics(input in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = SpecVersion::of_input(&input);
        prop_assert!(NetworkConfiguration::parse(&input).is_err());
    }

    #[test]
    fn near_configurations_are_read_or_named(text in near_configurations()) {
        match NetworkConfiguration::parse(text.as_bytes()) {
            Ok(read) => prop_assert!(read.agent_socket.is_absolute() && !read.name.is_empty()),
            Err(error) => prop_assert!([1, 2, 6, 7].contains(&error.code.0) && !error.details.is_empty(), "{error}"),
        }
    }

    #[test]
    fn no_environment_panics(command in "ADD|DEL|VERSION|.*", id in ".*", path in "/?.*", name in ".{0,20}", arguments in "(K8S_POD_NAME=|;|K8S_POD_NAMESPACE=|.){0,30}") {
        let variables = [
            ("CNI_COMMAND", command), ("CNI_CONTAINERID", id), ("CNI_NETNS", path), ("CNI_IFNAME", name), ("CNI_ARGS", arguments),
        ];
        let read = Command::parse(|key| variables.iter().find(|(known, _)| *known == key).map(|(_, value)| value.into()));
        match read {
            Ok(Command::Add(attach)) => prop_assert!(attach.interface.len() <= 15 && attach.network_namespace.is_absolute()),
            Ok(_) => {}
            Err(error) => prop_assert_eq!(error.code, ErrorCode::INVALID_ENVIRONMENT),
        }
    }
}
