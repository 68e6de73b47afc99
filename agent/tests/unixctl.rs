//! The unixctl client against a live vswitchd.
#![allow(clippy::unwrap_used)] // a test's helpers are tests too

mod live;

use agent::ovs::unixctl::{self, Unixctl, UnixctlError};
use live::Switch;

#[tokio::test]
async fn commands_of_one_connection_are_answered_in_turn() {
    let switch = Switch::start().await;
    let client = switch.database.client().await;
    switch.bridge(&client, "br", "dummy").await;
    switch.dummy_port(&client, "br", "p1", 1).await;

    let mut connection = Unixctl::connect(switch.control()).await.unwrap();
    assert!(connection.call("version", &[]).await.unwrap().contains("Open vSwitch"));
    let show = connection.call("dpif/show", &[]).await.unwrap();
    assert!(show.lines().any(|line| line.trim().starts_with("p1 1/")), "{show}");
    let trace = connection.call("ofproto/trace", &["br", "in_port=1,ip,nw_src=10.0.0.1"]).await.unwrap();
    assert!(trace.contains("Datapath actions: drop"), "{trace}");
    assert_eq!(connection.call("dpctl/dump-conntrack", &[]).await.unwrap(), "");

    // More than one read's worth of text, with quotes, arrives whole.
    let list = connection.call("list-commands", &[]).await.unwrap();
    assert!(list.starts_with("The available commands are:") && list.contains("revalidator/wait"), "{list}");
}

#[tokio::test]
async fn an_error_names_the_command_and_says_what_the_daemon_said() {
    let switch = Switch::start().await;
    // vswitchd knows its ofproto commands only once it has a bridge.
    switch.bridge(&switch.database.client().await, "br", "dummy").await;
    let error = unixctl::call(&switch.control(), "ofproto/trace", &["nobridge", "ip"]).await.unwrap_err();
    assert!(
        matches!(&error, UnixctlError::Refused { command, text, .. }
        if command == "ofproto/trace" && text.contains("unknown bridge")),
        "{error}"
    );

    let error = unixctl::call(&switch.control(), "no/such", &[]).await.unwrap_err().to_string();
    assert!(error.contains("no/such") && error.contains("is not a valid command"), "{error}");

    let error = unixctl::call(&switch.database.folder().join("nobody"), "version", &[]).await.unwrap_err();
    assert!(matches!(error, UnixctlError::Connect { .. }), "{error}");
}

#[tokio::test]
async fn a_call_given_up_does_not_answer_the_next() {
    let switch = Switch::start().await;
    let client = switch.database.client().await;
    switch.bridge(&client, "br", "dummy").await;
    let mut connection = Unixctl::connect(switch.control()).await.unwrap();
    // Its answer is on the way, and nobody waits for it.
    let _ = connection.start("list-commands", &[]).await.unwrap();
    assert!(connection.call("version", &[]).await.unwrap().contains("Open vSwitch"));
}

#[tokio::test]
async fn a_daemon_that_dies_fails_the_call() {
    let mut switch = Switch::start().await;
    let mut connection = Unixctl::connect(switch.control()).await.unwrap();
    switch.stop();
    let error = connection.call("version", &[]).await.unwrap_err();
    assert!(matches!(error, UnixctlError::Io { .. }), "{error}");
}

#[tokio::test]
async fn many_commands_sent_together_are_answered_each() {
    let switch = Switch::start().await;
    let client = switch.database.client().await;
    switch.bridge(&client, "br", "dummy").await;
    let mut connection = Unixctl::connect(switch.control()).await.unwrap();
    assert!(connection.call_all(&[]).await.unwrap().is_empty());
    let commands: Vec<_> = (0..1050)
        .map(|number| match number % 2 {
            0 => ("ovs/route/lookup", vec![format!("192.0.2.{}", number % 256)]),
            _ => ("version", Vec::new()),
        })
        .collect();
    let answers = connection.call_all(&commands).await.unwrap();
    assert_eq!(answers.len(), commands.len());
    for (number, answer) in answers.iter().enumerate() {
        match answer {
            Ok(text) => assert!(number % 2 == 1 && text.contains("Open vSwitch"), "{number}: {text}"),
            Err(UnixctlError::Refused { command, text, .. }) => {
                assert!(number % 2 == 0 && command == "ovs/route/lookup" && text == "Not found", "{number}: {text}");
            }
            Err(error) => panic!("{number}: {error}"),
        }
    }
    switch.appctl("version", &[]).await;
}
