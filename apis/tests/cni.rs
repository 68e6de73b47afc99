//! The CNI door: what a runtime may hand in, what it is told when it is wrong, and what it reads back in each version.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use apis::cni::{
    AddResult, Attach, AttachmentName, Command, Detach, ErrorCode, NetworkConfiguration, PodArguments, Requested,
    ResultAddress, ResultInterface, ResultRoute, SpecVersion, version_document,
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

fn pod() -> PodArguments {
    let mac = Some("02:00:00:00:00:01".parse().expect("a MAC"));
    let addresses = vec!["10.10.1.1".parse().expect("an address")];
    PodArguments { namespace: "shop".into(), name: "web".into(), uid: None, addresses, mac }
}

fn shown(wishes: &Requested) -> String {
    let mut words: Vec<String> = wishes.addresses.iter().map(ToString::to_string).collect();
    words.push(match wishes.mac {
        Some(mac) if Some(mac) == pod().mac => "-".to_owned(),
        mac => mac.map_or("none".to_owned(), |mac| mac.to_string()),
    });
    words.join(" ")
}

#[test]
fn a_configuration_as_a_runtime_writes_it() {
    let read = configuration(
        r#"{"cniVersion":"1.0.0","name":"ferrant","type":"ferrant","agentSocket":"/run/a/cni.sock","ipam":{},
            "capabilities":{"portMappings":true},"runtimeConfig":{"ips":["10.10.1.7/32","fd00::7"],"x":1},"cni.dev/attachments":[]}"#,
    )
    .expect("it is valid");
    assert_eq!(
        (read.version, read.name.as_str(), read.agent_socket.as_path()),
        (SpecVersion::V1_0_0, "ferrant", Path::new("/run/a/cni.sock"))
    );
    read.refuse_unsupported().expect("it asks for nothing that the plugin does not do");
    let wishes = read.requested(&pod()).expect("they can be read");
    assert_eq!(shown(&wishes), "10.10.1.7 fd00::7 -");
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
    ];
    for (text, code, part) in cases {
        let (found, message) = configuration(text).expect_err(text);
        assert_eq!(found, *code, "{text}: {message}");
        assert!(message.contains(part), "{text}: {message}");
    }
}

fn with(keys: &str) -> NetworkConfiguration {
    configuration(&format!(r#"{{"cniVersion":"1.1.0","name":"n",{keys}}}"#))
        .expect("a command that does not use them takes it")
}

#[test]
fn what_add_does_not_do_is_refused_with_key_and_value() {
    for (keys, part) in [
        (r#""prevResult":{"ips":[]}"#, r#"prevResult: {"ips":[]}"#),
        (r#""ipam":{"type":"host-local"}"#, "host-local"),
        (r#""runtimeConfig":{"portMappings":[{"hostPort":80}]}"#, r#"runtimeConfig.portMappings: [{"hostPort":80}]"#),
        (r#""runtimeConfig":{"bandwidth":{"ingressRate":5}}"#, r#"runtimeConfig.bandwidth: {"ingressRate":5}"#),
    ] {
        let error = with(keys).refuse_unsupported().expect_err(keys);
        assert_eq!(error.code, ErrorCode::UNSUPPORTED_FIELD);
        assert!(error.message.contains(part) && !error.details.is_empty(), "{error}");
    }
    for nothing in [
        r#""ipam":{},"runtimeConfig":{"portMappings":[],"bandwidth":{"ingressRate":0}}"#,
        r#""ipam":null,"runtimeConfig":null"#,
        r#""runtimeConfig":{"portMappings":null,"dns":{"servers":["10.0.0.1"]}}"#,
    ] {
        with(nothing).refuse_unsupported().expect(nothing);
    }
}

#[test]
fn what_a_pod_would_like_to_have() {
    for (keys, expected) in [
        (r#""args":{}"#, "10.10.1.1 -"),
        (r#""runtimeConfig":{"ips":["10.10.1.7/24"],"mac":"02:00:00:00:00:07"}"#, "10.10.1.7 02:00:00:00:00:07"),
        (r#""args":{"cni":{"ips":["fd00::8"],"mac":"02:00:00:00:00:08"}}"#, "fd00::8 02:00:00:00:00:08"),
        (r#""runtimeConfig":{"ips":["10.10.1.7"]},"args":{"cni":{"ips":["fd00::8"]}}"#, "10.10.1.7 -"),
        (r#""runtimeConfig":{"ips":[],"mac":""}"#, "10.10.1.1 -"),
    ] {
        assert_eq!(shown(&with(keys).requested(&pod()).expect(keys)), expected, "{keys}");
    }
    for (keys, code, part) in [
        (
            r#""runtimeConfig":{"ips":["10.10.1.300"]}"#,
            7,
            "runtimeConfig.ips\" of the network configuration holds \"10.10.1.300\"",
        ),
        (r#""runtimeConfig":{"ips":"10.10.1.3"}"#, 6, "runtimeConfig"),
        (r#""runtimeConfig":{"mac":"x"}"#, 7, "runtimeConfig.mac"),
        (r#""args":{"cni":{"ips":[7]}}"#, 6, "args.cni"),
    ] {
        let error = with(keys).requested(&pod()).expect_err(keys);
        assert_eq!(error.code.0, code, "{error}");
        assert!(error.message.contains(part), "{error}");
    }
}

#[test]
fn the_previous_result_of_check() {
    let previous = with(
        r#""prevResult":{"cniVersion":"0.4.0","interfaces":[{"name":"eth0","mac":"","sandbox":"/n"},{"name":"w"}],
        "ips":[{"version":"4","address":"10.10.1.2/32","gateway":"10.10.1.1","interface":0},{"address":"fd00::2/128","interface":-1},
        {"address":"192.0.2.1/24","interface":1}],"dns":{}}"#,
    );
    let previous = previous.previous_result().expect("it can be read");
    let pod = previous.pod_interface("eth0").expect("it is there");
    let addresses: Vec<String> = previous.addresses_of(pod).map(|address| address.to_string()).collect();
    assert_eq!((pod, addresses), (0, vec!["10.10.1.2/32".to_owned(), "fd00::2/128".to_owned()]));
    assert_eq!((previous.pod_interface("w"), previous.routes.len()), (None, 0), "an end on the node is no pod's");
    for (keys, code) in [
        (r#""other":1"#, 7),
        (r#""prevResult":null"#, 7),
        (r#""prevResult":5"#, 6),
        (r#""prevResult":{"ips":[{"address":"x"}]}"#, 6),
        (r#""prevResult":{"interfaces":{}}"#, 6),
    ] {
        let error = with(keys).previous_result().expect_err(keys);
        assert_eq!(error.code.0, code, "{error}");
        assert!(error.message.contains("prevResult"), "{error}");
    }
}

#[test]
fn the_attachments_that_gc_says_are_valid() {
    let read = |keys: &str| with(keys).valid_attachments().map_err(|error| error.code.0);
    let one = || vec![AttachmentName { container_id: "c1".into(), interface: "eth0".into() }];
    let list = r#"[{"containerID":"c1","ifname":"eth0"}]"#;
    assert_eq!(read(&format!(r#""cni.dev/valid-attachments":{list}"#)), Ok(Some(one())));
    assert_eq!(read(&format!(r#""cni.dev/attachments":{list}"#)), Ok(Some(one())), "as an early text had it");
    assert_eq!(read(&format!(r#""cni.dev/attachments":{list},"cni.dev/valid-attachments":[]"#)), Ok(Some(Vec::new())));
    assert_eq!(read(r#""other":1"#), Ok(None), "not said is not none");
    assert_eq!(read(r#""cni.dev/valid-attachments":null"#), Ok(None));
    for wrong in ["{}", "5", r#"["c1"]"#, r#"[{"containerID":"c1"}]"#] {
        assert_eq!(read(&format!(r#""cni.dev/valid-attachments":{wrong}"#)), Err(6), "{wrong}");
    }
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
            pod: PodArguments {
                namespace: "shop".into(),
                name: "web-0.a".into(),
                uid: Some("12-34".into()),
                addresses: Vec::new(),
                mac: None,
            },
        }))
    );
}

#[test]
fn the_keys_of_cni_args() {
    let pod = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web";
    let read = |more: &str| {
        let arguments = format!("{pod};{more}");
        let read = command(&[
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_NETNS", "/run/netns/x"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_ARGS", &arguments),
        ]);
        read.map(|command| match command {
            Command::Add(attach) => attach.pod,
            other => panic!("{other:?}"),
        })
    };
    let asked =
        read("IP=10.10.1.7,fd00::7/64;MAC=02:00:00:00:00:07;K8S_POD_INFRA_CONTAINER_ID=c1").expect("all are known");
    assert_eq!(
        (asked.addresses.len(), asked.mac.map(|mac| mac.to_string()).as_deref()),
        (2, Some("02:00:00:00:00:07"))
    );
    for fine in ["", ";;", "IgnoreUnknown=1;X=y", "X=y;IgnoreUnknown=true", "IgnoreUnknown=false"] {
        read(fine).expect(fine);
    }
    for (wrong, part) in [
        ("X=y;Z=1", "X, Z is not known"),
        ("IgnoreUnknown=0;X=y", "X is not known"),
        ("IgnoreUnknown=maybe", "IgnoreUnknown"),
        ("IP=10.10.1", "CNI_ARGS IP"),
        ("MAC=7", "CNI_ARGS MAC"),
        ("X", "is not KEY=value"),
    ] {
        let (code, message) = read(wrong).expect_err(wrong);
        assert_eq!(code, 4);
        assert!(message.contains("CNI_ARGS") && message.contains(part), "{wrong}: {message}");
    }
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
fn other_commands_and_what_they_need() {
    for name in ["add", "X", "CHECK ", "UPDATE"] {
        let (code, message) = command(&[("CNI_COMMAND", name)]).expect_err(name);
        assert_eq!(code, 4);
        assert!(message.contains(name) && message.contains("ADD, DEL, CHECK, GC, STATUS and VERSION"), "{message}");
    }
    assert_eq!(command(&[]).expect_err("nothing is set").0, 4);
    for (name, expected) in [("VERSION", Command::Version), ("GC", Command::Collect), ("STATUS", Command::Status)] {
        assert_eq!(command(&[("CNI_COMMAND", name)]), Ok(expected), "it needs nothing else");
    }
    let (code, message) = command(&[("CNI_COMMAND", "CHECK")]).expect_err("it is about an attachment");
    assert_eq!(code, 4);
    assert!(["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"].iter().all(|name| message.contains(name)), "{message}");
    let check = [("CNI_COMMAND", "CHECK"), ("CNI_CONTAINERID", "c"), ("CNI_IFNAME", "eth0"), ("CNI_NETNS", "/n")];
    assert!(matches!(command(&check), Ok(Command::Check(_))), "it needs no pod");
}

#[test]
fn gc_and_status_are_of_version_1_1() {
    for (name, old) in [("GC", false), ("STATUS", false), ("VERSION", true)] {
        let command = command(&[("CNI_COMMAND", name)]).expect(name);
        for version in [SpecVersion::V0_4_0, SpecVersion::V1_0_0] {
            let refused = command.refuse_before(version).map_err(|error| error.code);
            assert_eq!(refused, if old { Ok(()) } else { Err(ErrorCode::INCOMPATIBLE_VERSION) }, "{name} {version}");
        }
        command.refuse_before(SpecVersion::V1_1_0).expect(name);
    }
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
    let keys = prop::sample::select(vec![
        "cniVersion",
        "name",
        "type",
        "agentSocket",
        "prevResult",
        "ipam",
        "runtimeConfig",
        "args",
        "cni.dev/valid-attachments",
        "other",
    ]);
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
            Ok(read) => {
                prop_assert!(read.agent_socket.is_absolute() && !read.name.is_empty());
                let refused = [
                    read.refuse_unsupported().err(),
                    read.requested(&pod()).err(),
                    read.previous_result().err(),
                    read.valid_attachments().err(),
                ];
                for error in refused.into_iter().flatten() {
                    prop_assert!([2, 6, 7].contains(&error.code.0) && !error.details.is_empty(), "{error}");
                }
            }
            Err(error) => prop_assert!([1, 2, 6, 7].contains(&error.code.0) && !error.details.is_empty(), "{error}"),
        }
    }

    #[test]
    fn no_environment_panics(command in "ADD|DEL|CHECK|GC|STATUS|VERSION|.*", id in ".*", path in "/?.*", name in ".{0,20}", arguments in "(K8S_POD_NAME=|;|K8S_POD_NAMESPACE=|.){0,30}") {
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
