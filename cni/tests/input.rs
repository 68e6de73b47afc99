//! Whatever stands on standard input and in the environment, the plugin answers with one document and does not panic.

use std::ffi::OsString;
use std::io;

use apis::cni::CniError;
use proptest::prelude::*;
use serde_json::Value;

/// What a call with this input is answered; no pod and no agent is there, so nothing can be changed.
fn error(command: &str, input: impl io::Read) -> Option<CniError> {
    let answer = cni::answer(
        |name| {
            let value = match name {
                "CNI_COMMAND" => command,
                "CNI_CONTAINERID" => "c1",
                "CNI_NETNS" => "/run/netns/of-nobody",
                "CNI_IFNAME" => "eth0",
                "CNI_ARGS" => "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web",
                _ => return None,
            };
            Some(OsString::from(value))
        },
        input,
    );
    let document = answer.document.expect("VERSION, and whatever fails, answers");
    assert!(["0.4.0", "1.0.0", "1.1.0"].map(Value::from).contains(&document["cniVersion"]), "{document}");
    if answer.success { None } else { Some(serde_json::from_value(document).expect("a CNI error")) }
}

struct Broken;

impl io::Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the pipe is broken"))
    }
}

#[test]
fn input_that_cannot_be_read_or_never_ends_is_named() {
    let broken = error("ADD", Broken).expect("it fails");
    assert_eq!(broken.code.0, 5);
    assert!(broken.details.contains("the pipe is broken"), "{broken}");
    let endless = error("ADD", io::repeat(b' ')).expect("it fails");
    assert_eq!(endless.code.0, 6);
    assert!(endless.message.contains("1048576 bytes"), "{endless}");
}

#[test]
fn nesting_is_no_danger() {
    let deep = format!("{{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"prevResult\":{}", "[".repeat(200_000));
    let refused = error("ADD", deep.as_bytes()).expect("it fails");
    assert_eq!(refused.code.0, 6);
    assert!(refused.details.contains("line 1"), "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(command in "ADD|DEL|CHECK|GC|STATUS|VERSION", bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let answered = error(&command, bytes.as_slice());
        prop_assert_eq!(answered.is_some(), command != "VERSION");
        prop_assert!(answered.is_none_or(|error| error.code.0 == 6), "bytes are hardly a configuration");
    }

    #[test]
    fn a_damaged_configuration_is_answered(cut in 0usize..120, insert in ".{0,6}") {
        let whole = r#"{"cniVersion":"1.1.0","name":"ferrant","type":"ferrant","agentSocket":"/nowhere/cni.sock","runtimeConfig":{"ips":[]}}"#;
        let text = format!("{}{insert}{}", &whole[..cut.min(whole.len())], &whole[cut.min(whole.len())..]);
        // Whole or damaged: there is no such namespace, so ADD always fails, by a code of the specification.
        let answered = error("ADD", text.as_bytes()).expect("it fails");
        prop_assert!([1, 2, 3, 6, 7].contains(&answered.code.0), "{answered}");
    }
}
