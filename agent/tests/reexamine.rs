//! Connections that were admitted before policy changed: a look at them that fails, or whose packet is lost, is made again, until
//! each has met policy.
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
/// The same when a look has allowed it.
const ALLOWED: &str = "udp,orig=(src=10.10.1.2,dst=10.0.0.7,sport=1,dport=2),reply=(src=10.0.0.7,dst=10.10.1.2,sport=2,dport=1),zone=65520,mark=16777217";

/// Accepts one question; answers it when there is something to say. What was asked.
async fn asked(control: &UnixListener, answer: Option<&str>) -> (String, Vec<String>) {
    let asked = tokio::time::timeout(START_WITHIN, control.accept()).await;
    let (mut stream, _) = asked.expect("nobody asks which connections there are").unwrap();
    let mut asked = vec![0; 4096];
    let length = stream.read(&mut asked).await.unwrap();
    let asked: serde_json::Value = serde_json::from_slice(&asked[..length]).unwrap();
    if let Some(answer) = answer {
        let answer = serde_json::json!({"id": asked["id"], "result": answer, "error": null});
        stream.write_all(answer.to_string().as_bytes()).await.unwrap();
    }
    (asked["method"].as_str().unwrap().to_owned(), serde_json::from_value(asked["params"].clone()).unwrap())
}

/// The same, where it is asked which connections there are.
async fn question(control: &UnixListener, answer: Option<&str>) {
    assert_eq!(asked(control, answer).await.0, "dpctl/dump-conntrack");
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

/// Waits until so many were looked at: the answer to a packet-out comes when it is taken, and counters a moment later.
async fn settles(switch: &Switch, looks: usize) {
    let started = Instant::now();
    while looked_at(switch) < looks {
        assert!(started.elapsed() < START_WITHIN, "no packet is sent again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A switch whose first table counts what is looked at, a listener in the place of vswitchd's control socket, and one who looks.
struct Scene {
    switch: Switch,
    control: UnixListener,
    connection: Connection,
    asker: mpsc::UnboundedSender<Request>,
    task: tokio::task::JoinHandle<()>,
    _session: Session,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let switch = Switch::start().await;
        let client = switch.database.client().await;
        switch.bridge(&client, BRIDGE, "netdev").await;
        let (session, connection) = connect(&switch).await;
        let mut batch = Batch::new();
        batch.push_flow(&flow(0, 10, Some(0x0a00_0007), None), FlowCommand::Add).unwrap();
        connection.bundle(&batch).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let control = UnixListener::bind(&path).unwrap();
        let (asker, inbox) = mpsc::unbounded_channel();
        let task = tokio::spawn(follow(path, inbox));
        Self { switch, control, connection, asker, task, _session: session, _folder: folder }
    }

    fn ask(&self, connection: &Connection, touched: &[&str]) {
        let touched = Touched::Some(touched.iter().map(|text| text.parse().unwrap()).collect());
        let request = Request { connection: connection.clone(), touched, ways: Ways::default() };
        self.asker.send(request).unwrap();
    }

    /// The connection shows nothing of a look; another packet of it is sent, which makes so many.
    async fn shows_no_verdict(&self, looks: usize) {
        question(&self.control, Some(TRACKED)).await;
        settles(&self.switch, looks).await;
    }

    /// Nobody asks anything any more, and the looks were so many.
    async fn is_at_rest_after(&self, looks: usize) {
        let again = tokio::time::timeout(Duration::from_secs(2), asked(&self.control, Some(TRACKED))).await;
        assert!(again.is_err() && looked_at(&self.switch) == looks, "{} looks, {again:?}", looked_at(&self.switch));
    }

    async fn end(self) {
        drop(self.asker);
        tokio::time::timeout(START_WITHIN, self.task).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_failed_is_made_again_also_on_the_next_connection() {
    let scene = Scene::new().await;
    let (gone, former) = connect(&scene.switch).await;
    drop(gone);

    // Nobody is touched: nobody is asked for.
    scene.ask(&former, &[]);
    scene.ask(&former, &["10.10.1.2"]);
    // The switch says nothing; then the connection to it is gone.
    question(&scene.control, None).await;
    question(&scene.control, Some(TRACKED)).await;
    question(&scene.control, Some(TRACKED)).await;
    assert_eq!(looked_at(&scene.switch), 0);
    // Whoever tells of the next connection touches nobody else.
    scene.ask(&scene.connection, &[]);
    let started = Instant::now();
    while looked_at(&scene.switch) == 0 {
        assert!(started.elapsed() < START_WITHIN, "the connection did not meet policy again");
        question(&scene.control, Some(TRACKED)).await;
        // Nothing happens before the next question is answered.
        let _ = tokio::time::timeout(Duration::from_millis(500), settles(&scene.switch, 1)).await;
    }
    // Once it is known that it has, nothing is left to be tried.
    question(&scene.control, Some(ALLOWED)).await;
    scene.is_at_rest_after(1).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_that_was_lost_is_sent_again() {
    let scene = Scene::new().await;
    scene.ask(&scene.connection, &["10.10.1.2"]);
    for looks in 0..3 {
        assert_eq!(looked_at(&scene.switch), looks);
        scene.shows_no_verdict(looks + 1).await;
    }
    question(&scene.control, Some(ALLOWED)).await;
    scene.is_at_rest_after(3).await;
    // The next change looks again, with the next number: the answer to the former look is none to this one.
    scene.ask(&scene.connection, &["10.10.1.2"]);
    question(&scene.control, Some(ALLOWED)).await;
    question(&scene.control, Some(ALLOWED)).await;
    question(&scene.control, Some(&ALLOWED.replace("16777217", "3"))).await;
    scene.is_at_rest_after(5).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ends_is_looked_at_no_more() {
    let scene = Scene::new().await;
    scene.ask(&scene.connection, &["10.10.1.2"]);
    scene.shows_no_verdict(1).await;
    scene.shows_no_verdict(2).await;
    question(&scene.control, Some("")).await;
    scene.is_at_rest_after(2).await;
    // Nor is one that policy has blocked.
    scene.ask(&scene.connection, &["10.10.1.2"]);
    question(&scene.control, Some(TRACKED)).await;
    question(&scene.control, Some(&TRACKED.replace("mark=1", "mark=3"))).await;
    scene.is_at_rest_after(3).await;
    scene.end().await;
}
