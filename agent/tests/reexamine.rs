//! Connections that were admitted before policy changed: a look at them that fails is made again, until each has met policy.
#![allow(clippy::unwrap_used)]

mod live;

use std::time::{Duration, Instant};

use agent::apply::reexamine::{Request, Touched, Ways, follow};
use agent::ovs::openflow::{Batch, Connection, Session};
use live::flow::flow;
use live::{START_WITHIN, Switch};
use openflow::FlowCommand;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

const BRIDGE: &str = "br";
/// Admitted, and not blocked.
const TRACKED: &str = "udp,orig=(src=10.10.1.2,dst=10.0.0.7,sport=1,dport=2),reply=(src=10.0.0.7,dst=10.10.1.2,sport=2,dport=1),zone=65520,mark=1";

/// Accepts one question; answers it when there is something to say.
async fn question(control: &UnixListener, answer: Option<&str>) {
    let asked = tokio::time::timeout(START_WITHIN, control.accept()).await;
    let (mut stream, _) = asked.expect("nobody asks which connections there are").unwrap();
    let mut asked = vec![0; 4096];
    let length = stream.read(&mut asked).await.unwrap();
    let asked: serde_json::Value = serde_json::from_slice(&asked[..length]).unwrap();
    assert_eq!(asked["method"], "dpctl/dump-conntrack");
    if let Some(answer) = answer {
        let answer = serde_json::json!({"id": asked["id"], "result": answer, "error": null});
        stream.write_all(answer.to_string().as_bytes()).await.unwrap();
    }
}

/// How many packets to the other end of the tracked connection have met the tables.
fn looked_at(switch: &Switch) -> usize {
    let flows = switch.ofctl("dump-flows", BRIDGE, &["table=0"]);
    let (_, count) = flows.split_once("n_packets=").unwrap();
    count.split(',').next().unwrap().parse().unwrap()
}

async fn connect(switch: &Switch) -> (Session, Connection) {
    let (session, _events) = Session::connect(switch.management(BRIDGE));
    let connection = session.connected(START_WITHIN).await.unwrap();
    (session, connection)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_failed_is_made_again_also_on_the_next_connection() {
    let switch = Switch::start().await;
    let client = switch.database.client().await;
    switch.bridge(&client, BRIDGE, "netdev").await;
    let (gone, former) = connect(&switch).await;
    let (_session, connection) = connect(&switch).await;
    let mut batch = Batch::new();
    batch.push_flow(&flow(0, 10, Some(0x0a00_0007), None), FlowCommand::Add).unwrap();
    connection.bundle(&batch).await.unwrap();
    drop(gone);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control");
    let control = UnixListener::bind(&path).unwrap();
    let (asker, inbox) = mpsc::unbounded_channel();
    let task = tokio::spawn(follow(path, inbox));
    let touched = |addresses: &[&str]| Touched::Some(addresses.iter().map(|text| text.parse().unwrap()).collect());
    let request =
        |connection: &Connection, touched| Request { connection: connection.clone(), touched, ways: Ways::default() };

    // Nobody is touched: nobody is asked for.
    asker.send(request(&former, touched(&[]))).unwrap();
    asker.send(request(&former, touched(&["10.10.1.2"]))).unwrap();
    // The switch says nothing; then the connection to it is gone.
    question(&control, None).await;
    question(&control, Some(TRACKED)).await;
    question(&control, Some(TRACKED)).await;
    assert_eq!(looked_at(&switch), 0);
    // Whoever tells of the next connection touches nobody else.
    asker.send(request(&connection, touched(&[]))).unwrap();
    let started = Instant::now();
    while looked_at(&switch) == 0 {
        assert!(started.elapsed() < START_WITHIN, "the connection did not meet policy again");
        let _ = tokio::time::timeout(Duration::from_millis(50), question(&control, Some(TRACKED))).await;
    }
    // Once it has, nothing is left to be tried.
    let again = tokio::time::timeout(Duration::from_secs(2), question(&control, Some(TRACKED))).await;
    assert!(again.is_err() && looked_at(&switch) == 1, "{} looks", looked_at(&switch));
    drop(asker);
    tokio::time::timeout(START_WITHIN, task).await.unwrap().unwrap();
}
