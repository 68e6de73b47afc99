//! The agent's CNI socket, asked as the plugin asks it: plain HTTP/1.1 over a Unix socket.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use agent::ipam::attachment::{Attachments, PodNetwork};
use agent::serve::cni::{CniRequest, ListenError, Session, listen, serve};
use apis::cni::{AddResult, CniError, ErrorCode, MacAddress};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

/// The loop's events; the agent has more kinds.
struct Event(CniRequest);

impl From<CniRequest> for Event {
    fn from(request: CniRequest) -> Event {
        Event(request)
    }
}

struct Agent {
    folder: tempfile::TempDir,
    events: mpsc::Receiver<Event>,
}

impl Agent {
    fn start() -> Agent {
        let folder = tempfile::tempdir().expect("a folder");
        let (sender, events) = mpsc::channel(8);
        let listener = listen(&folder.path().join("cni.sock")).expect("a fresh path");
        tokio::spawn(serve(listener, sender, agent::metrics::Metrics::default()));
        Agent { folder, events }
    }

    /// Whose connection ended next, and whether it was confirmed.
    async fn ended(&mut self) -> (Session, bool) {
        let event = self.events.recv().await;
        let Some(Event(CniRequest::Ended { session, confirmed })) = event else { panic!("a connection ends") };
        (session, confirmed)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("cni.sock")
    }

    /// A loop with addresses to give, as the real one does it.
    fn attaching(mut self) -> tempfile::TempDir {
        let network = PodNetwork {
            pod_cidrs: vec!["10.10.1.0/24".parse().expect("a prefix")],
            gateway_mac: MacAddress([0x0a, 0, 0, 0, 0, 1]),
            mtu: 1450,
            transmit_checksum_offload: false,
        };
        tokio::spawn(async move {
            let mut attachments = Attachments::new(network);
            while let Some(Event(request)) = self.events.recv().await {
                match request {
                    CniRequest::Add(request, _, reply) => drop(reply.send(attachments.plan(&request, 0))),
                    CniRequest::Confirm(request, _, reply) => {
                        drop(reply.send(attachments.confirm(&request).map(|(_, result)| result)));
                    }
                    CniRequest::Delete(request, reply) => {
                        attachments.remove(&request, 0);
                        drop(reply.send(Ok(())));
                    }
                    CniRequest::Check(request, reply) => {
                        let found = attachments.get(&request.container_id, &request.interface);
                        let unknown = CniError::new(ErrorCode::UNKNOWN_CONTAINER, "no such container", "");
                        drop(reply.send(found.ok_or(unknown).and_then(|found| attachments.made(found))));
                    }
                    CniRequest::Collect(_, reply) => drop(reply.send(Ok(()))),
                    CniRequest::Status(reply) => {
                        drop(reply.send(Err(CniError::new(ErrorCode::NOT_AVAILABLE, "not yet", "wait"))));
                    }
                    CniRequest::Ended { .. } => {}
                }
            }
        });
        self.folder
    }
}

/// Sends a request; status and body of the answer.
async fn ask(socket: &Path, method: &str, path: &str, body: &str) -> (u16, Value) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: agent\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let socket = socket.to_owned();
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(socket).expect("it is served");
        // The agent may answer, and close, before it has read a body that is too long.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    });
    let answer = answer.await.expect("no panic");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("not HTTP: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    assert!(
        head.to_ascii_lowercase().contains("\r\ncontent-length:"),
        "the plugin reads as much as is announced: {head}"
    );
    (status, serde_json::from_str(body).expect("JSON"))
}

fn add(container_id: &str) -> String {
    json!({
        "container_id": container_id, "interface": "eth0", "network_namespace": "/run/netns/x",
        "pod_namespace": "shop", "pod_name": "web", "pod_uid": "u",
    })
    .to_string()
}

#[tokio::test]
async fn a_pod_is_planned_confirmed_and_deleted() {
    let folder = Agent::start().attaching();
    let socket = folder.path().join("cni.sock");
    let (status, plan) = ask(&socket, "POST", "/v1/add", &add("c1")).await;
    assert_eq!((status, &plan["addresses"][0]["address"]), (200, &json!("10.10.1.2/32")));
    assert_eq!((&plan["mtu"], &plan["transmit_checksum_offload"]), (&json!(1450), &json!(false)));
    let key = json!({"container_id": "c1", "interface": "eth0"}).to_string();
    let (status, result) = ask(&socket, "POST", "/v1/confirm", &key).await;
    assert_eq!((status, &result["ips"][0]["address"]), (200, &json!("10.10.1.2/32")));
    assert_eq!(ask(&socket, "POST", "/v1/check", &key).await, (200, plan));
    assert_eq!(ask(&socket, "POST", "/v1/gc", r#"{"network":"ferrant","valid":null}"#).await, (200, json!({})));
    let (status, error) = ask(&socket, "POST", "/v1/status", "{}").await;
    assert_eq!((status, &error["code"]), (503, &json!(50)), "{error}");
    assert_eq!(ask(&socket, "POST", "/v1/del", &key).await, (200, json!({})));
    let (status, error) = ask(&socket, "POST", "/v1/confirm", &key).await;
    assert_eq!((status, &error["code"]), (503, &json!(11)), "{error}");
}

#[tokio::test]
async fn wrong_requests_are_answered_with_cni_errors() {
    let folder = Agent::start().attaching();
    let socket = folder.path().join("cni.sock");
    let long = "x".repeat(2_000_000);
    for (method, path, body, status, code) in [
        ("POST", "/v1/add", "{", 400, 6),
        ("POST", "/v1/add", "", 400, 6),
        ("POST", "/v1/add", "[1]", 400, 6),
        ("POST", "/v1/confirm", r#"{"container_id":"c"}"#, 400, 6),
        ("POST", "/v1/del", r#"{"container_id":5,"interface":"eth0"}"#, 400, 6),
        ("POST", "/v1/add", long.as_str(), 400, 6),
        ("POST", "/v1/check", "{}", 400, 6),
        ("POST", "/v1/gc", r#"{"network":"n","valid":{}}"#, 400, 6),
        ("POST", "/v1/move", "{}", 500, 102),
        ("GET", "/v1/add", "", 500, 102),
    ] {
        let (found, error) = ask(&socket, method, path, body).await;
        assert_eq!((found, &error["code"]), (status, &json!(code)), "{method} {path}: {error}");
        assert!(error["msg"].as_str().is_some_and(|message| message.contains(path)), "{error}");
    }
}

#[tokio::test]
async fn a_pod_that_waits_delays_no_other() {
    let mut agent = Agent::start();
    let socket = agent.socket();
    let key = json!({"container_id": "slow", "interface": "eth0"}).to_string();
    let slow = tokio::spawn({
        let socket = socket.clone();
        async move { ask(&socket, "POST", "/v1/confirm", &key).await }
    });
    let Some(Event(CniRequest::Confirm(_, _, held))) = agent.events.recv().await else { panic!("it was asked first") };
    let quick =
        tokio::spawn(async move { ask(&socket, "POST", "/v1/del", r#"{"container_id":"c","interface":"e"}"#).await });
    let Some(Event(CniRequest::Delete(_, reply))) = agent.events.recv().await else { panic!("it is asked meanwhile") };
    reply.send(Ok(())).expect("it waits");
    assert_eq!(quick.await.expect("no panic").0, 200);
    assert!(!slow.is_finished());
    // A loop that ends drops what it holds: the plugin is told to come again.
    drop(held);
    let (status, error) = slow.await.expect("no panic");
    assert_eq!((status, &error["code"]), (503, &json!(11)));
}

#[tokio::test]
async fn a_plugin_that_goes_away_is_seen_by_the_loop() {
    let mut agent = Agent::start();
    let mut stream = UnixStream::connect(agent.socket()).expect("it is served");
    let body = add("c1");
    write!(stream, "POST /v1/add HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .expect("it is read");
    let Some(Event(CniRequest::Add(_, session, mut reply))) = agent.events.recv().await else { panic!("it was asked") };
    drop(stream);
    reply.closed().await;
    assert!(reply.is_closed());
    assert_eq!(agent.ended().await, (session, false));
    // Who asked for no attachment ends unheard.
    let other = ask(&agent.socket(), "POST", "/v1/add", "{").await;
    assert_eq!(other.0, 400);
    assert!(agent.events.try_recv().is_err());
}

#[tokio::test]
async fn only_a_plugin_that_was_there_to_hear_it_has_its_attachment_confirmed() {
    let mut agent = Agent::start();
    for goes_first in [false, true] {
        let mut stream = UnixStream::connect(agent.socket()).expect("it is served");
        let mut send = |path: &str, body: &str| {
            write!(stream, "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .expect("it is read");
        };
        send("/v1/add", &add("c1"));
        let Some(Event(CniRequest::Add(_, session, reply))) = agent.events.recv().await else { panic!("it was asked") };
        reply.send(Err(CniError::new(ErrorCode::TRY_AGAIN_LATER, "later", ""))).expect("it waits");
        send("/v1/confirm", r#"{"container_id":"c1","interface":"eth0"}"#);
        let confirm = agent.events.recv().await;
        let Some(Event(CniRequest::Confirm(_, _, reply))) = confirm else { panic!("it was asked") };
        let result = AddResult { interfaces: Vec::new(), ips: Vec::new(), routes: Vec::new() };
        if goes_first {
            // The loop sends before anybody has seen that the plugin is gone.
            drop(stream);
            reply.send(Ok(result)).expect("nobody has looked yet");
        } else {
            reply.send(Ok(result)).expect("it waits");
            let heard = tokio::task::spawn_blocking(move || {
                let (mut heard, mut part) = (Vec::new(), [0; 4096]);
                while !heard.ends_with(br#""routes":[]}"#) {
                    let size = stream.read(&mut part).expect("an answer");
                    assert!(size > 0, "it ends early: {}", String::from_utf8_lossy(&heard));
                    heard.extend(&part[..size]);
                }
                stream
            });
            drop(heard.await.expect("no panic"));
        }
        assert_eq!(agent.ended().await, (session, !goes_first));
    }
}

#[tokio::test]
async fn the_socket_is_roots_and_taken_over_from_the_dead_only() {
    let agent = Agent::start();
    let mode = std::fs::metadata(agent.socket()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(matches!(listen(&agent.socket()), Err(ListenError::Served(_))));

    let stale = agent.folder.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).expect("a fresh path"));
    listen(&stale).expect("nobody serves it");
    let missing = listen(Path::new("/nowhere/cni.sock")).expect_err("there is no such folder").to_string();
    assert!(missing.contains("/nowhere/cni.sock"), "{missing}");
}

#[tokio::test]
async fn serving_ends_with_the_loop() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sender, events) = mpsc::channel::<Event>(1);
    let listener = listen(&folder.path().join("cni.sock")).expect("a fresh path");
    let (ended, end) = oneshot::channel();
    tokio::spawn(async move {
        serve(listener, sender, agent::metrics::Metrics::default()).await;
        let _ = ended.send(());
    });
    drop(events);
    end.await.expect("it returns");
}
