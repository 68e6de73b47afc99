//! Who is let in by a running controller, and as whom; certificates that are renewed while streams stand.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends here

mod running;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use apis::stream::change::Change as Kind;
use certificates::{Authority, Identity, Refusal, Request, Role, Validity};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use running::{Agent, Controller};
use tokio::net::TcpStream;

const DAY: Duration = Duration::from_secs(86_400);
const NODES: &str = "\
apiVersion: v1
kind: Node
metadata: {name: node-a}
spec: {podCIDRs: [10.10.1.0/24]}
status: {addresses: [{type: InternalIP, address: 172.18.0.11}]}
";

/// A controller with a CA.
struct Cluster {
    ca: tempfile::TempDir,
    controller: Controller,
}

impl Cluster {
    fn start(lifetime: &str) -> Self {
        let ca = tempfile::tempdir().unwrap();
        Authority::create(ca.path()).unwrap();
        let flags = ["--certificates", ca.path().to_str().unwrap(), "--certificate-lifetime", lifetime];
        Self { controller: Controller::start_with(&[("nodes.yaml", NODES)], &flags), ca }
    }

    fn issue(&self, role: Role) -> Identity {
        issue(self.ca.path(), &role)
    }

    async fn refusal(&self, identity: &Identity, node: &str) -> String {
        match Agent::show(&self.controller, identity, node).await {
            Ok(_) => panic!("{} is let in as {node}", identity.role()),
            Err(refusal) => refusal,
        }
    }

    /// What a question over TLS is answered.
    async fn ask(&self, identity: &Identity, question: &str) -> (u16, String) {
        let stream = TcpStream::connect(("127.0.0.1", self.controller.port)).await.unwrap();
        let stream = identity.connect(stream, &Role::Controller, "http/1.1", Refusal::default()).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driven = tokio::spawn(connection);
        let request = hyper::Request::get(question).header("host", "controller").body(Empty::<bytes::Bytes>::new());
        let response = sender.send_request(request.unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        driven.abort();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

fn issue(ca: &Path, role: &Role) -> Identity {
    let out = tempfile::tempdir().unwrap();
    Authority::open(ca).unwrap().issue_to(out.path(), role, Validity::from_now(DAY)).unwrap()
}

fn node(name: &str) -> Role {
    Role::Node(name.to_owned())
}

#[tokio::test]
async fn an_agent_is_served_as_the_node_of_its_certificate_and_as_no_other() {
    let cluster = Cluster::start("30d");
    let a = cluster.issue(node("node-a"));
    let mut agent = Agent::show(&cluster.controller, &a, "node-a").await.unwrap();
    let frame = agent.frame().await;
    assert!(
        frame.changes.iter().any(|change| matches!(&change.change, Some(Kind::Node(node)) if node.name == "node-a"))
    );

    let refusal = cluster.refusal(&a, "node-b").await;
    assert!(refusal.contains("is of node node-a") && refusal.contains("--node node-b"), "{refusal}");
    let refusal = cluster.refusal(&cluster.issue(Role::Client("ann".to_owned())), "node-a").await;
    assert!(refusal.contains("client ann") && refusal.contains("certificates issue"), "{refusal}");
    let other = Cluster::start("30d");
    let refusal = cluster.refusal(&other.issue(node("node-a")), "node-a").await;
    assert!(refusal.contains("another CA"), "{refusal}");
    // It trusts this CA, and shows a certificate of another.
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(other.ca.path()).unwrap();
    authority.issue_to(folder.path(), &node("node-a"), Validity::from_now(DAY)).unwrap();
    std::fs::copy(cluster.ca.path().join("ca.crt"), folder.path().join("ca.crt")).unwrap();
    let refusal = cluster.refusal(&Identity::read(folder.path()).unwrap(), "node-a").await;
    assert!(refusal.contains("not of its CA"), "{refusal}");
    // One that shows none, in the clear.
    let plain =
        tonic::transport::Endpoint::from_shared(format!("http://127.0.0.1:{}", cluster.controller.port)).unwrap();
    let mut client = apis::stream::control_client::ControlClient::new(plain.connect().await.unwrap());
    client.stream(tokio_stream::empty()).await.unwrap_err();
    // Nobody of these has disturbed the one that may.
    cluster.controller.write("more.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    agent.acknowledge(frame.number).await;
    let said = |kind: &Kind| matches!(kind, Kind::Posture(posture) if posture.namespace == "shop");
    agent.frame_with(|frame| frame.changes.iter().any(|change| change.change.as_ref().is_some_and(said))).await;
}

#[tokio::test]
async fn a_stream_stands_while_its_certificate_is_renewed_and_the_controllers_own_expires() {
    let cluster = Cluster::start("3s");
    let first = cluster.issue(node("node-a"));
    let mut agent = Agent::show(&cluster.controller, &first, "node-a").await.unwrap();
    let begun = std::time::Instant::now();
    let request = Request::new().unwrap();
    let renewed = agent.renew(request.der()).await;
    assert_eq!(renewed.refusal, "");
    let certificates: Vec<&[u8]> = renewed.certificates.iter().map(AsRef::as_ref).collect();
    let text = request.answered(&certificates, &first).unwrap();
    let refused = agent.renew(b"garbage").await;
    assert!(refused.certificates.is_empty() && refused.refusal.contains("not understood"), "{}", refused.refusal);

    // The new one is used by the next stream.
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(cluster.ca.path().join("ca.crt"), folder.path().join("ca.crt")).unwrap();
    std::fs::write(folder.path().join("identity.pem"), text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(folder.path().join("identity.pem"), mode).unwrap();
    let second = Identity::read(folder.path()).unwrap();
    assert!(second.validity().until < first.validity().until, "it counts for three seconds only");
    let replaces = Agent::show(&cluster.controller, &second, "node-a").await.unwrap();
    assert!(agent.has_ended().await);
    drop(replaces);

    // The certificate that the controller began with is over; who comes now sees another, whoever came before goes on.
    let mut agent = Agent::show(&cluster.controller, &first, "node-a").await.unwrap();
    while begun.elapsed() < Duration::from_secs(4) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(second.validity().is_over());
    let ann = cluster.issue(Role::Client("ann".to_owned()));
    assert_eq!(cluster.ask(&ann, "/v1/info").await.0, 200);
    assert_eq!(agent.renew(Request::new().unwrap().der()).await.refusal, "", "the stream stands");
    let refusal = cluster.refusal(&second, "node-a").await;
    assert!(refusal.contains("has expired") && refusal.contains("certificates issue"), "{refusal}");
}

#[tokio::test]
async fn clients_are_answered_over_tls_and_nodes_are_not() {
    let cluster = Cluster::start("30d");
    let (status, body) = cluster.ask(&cluster.issue(Role::Client("ann".to_owned())), "/v1/info").await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap(), cluster.controller.get("/v1/info").1);
    let (status, body) = cluster.ask(&cluster.issue(node("node-a")), "/v1/info").await;
    assert_eq!(status, 403, "{body}");
    assert!(body.contains("node node-a") && body.contains("--client NAME"), "{body}");
}

fn run(flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ferrant-controller")).args(flags).output().unwrap()
}

#[test]
fn the_command_makes_a_ca_once_and_issues_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (ca, out) = (at("ca"), at("out"));
    let issue = |who: &[&str]| run(&[&["certificates", "issue", "--certificates", &ca, "--out", &out], who].concat());
    let missing = issue(&["--node", "node-a"]);
    let said = String::from_utf8(missing.stderr).unwrap();
    assert!(!missing.status.success() && said.contains(&format!("certificates create --certificates {ca}")), "{said}");

    let made = run(&["certificates", "create", "--certificates", &ca]);
    let said = String::from_utf8(made.stdout).unwrap();
    assert!(made.status.success() && said.contains("certificates issue"), "{said}");
    let before = std::fs::read(folder.path().join("ca/ca.crt")).unwrap();
    let again = run(&["certificates", "create", "--certificates", &ca]);
    let said = String::from_utf8(again.stdout).unwrap();
    assert!(again.status.success() && said.contains("as it was"), "{said}");
    assert_eq!(std::fs::read(folder.path().join("ca/ca.crt")).unwrap(), before);

    let issued = issue(&["--node", "node-a", "--lifetime", "12h"]);
    let said = String::from_utf8(issued.stdout).unwrap();
    assert!(issued.status.success() && said.contains("--node node-a"), "{said}");
    let identity = Identity::read(&folder.path().join("out")).unwrap();
    assert_eq!(identity.role(), &node("node-a"));
    let issued = issue(&["--client", "ann"]);
    assert!(issued.status.success() && String::from_utf8(issued.stdout).unwrap().contains("antctl --server"));
    assert!(!issue(&[]).status.success() && !issue(&["--node", "a", "--client", "b"]).status.success());
}
