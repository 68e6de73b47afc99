//! antctl over TLS, against a controller that the test plays: what it prints, and what it says when a certificate, or nobody, does.
#![allow(clippy::unwrap_used)] // a test

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use certificates::{Acceptor, Authority, Role, Validity};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

const DAY: Duration = Duration::from_secs(86_400);

/// A CA, what it issues, and a controller of it.
struct Cluster {
    folder: tempfile::TempDir,
    port: u16,
}

impl Cluster {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca");
        Authority::create(&ca).unwrap();
        let acceptor = Acceptor::new(Authority::open(&ca).unwrap(), DAY).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(answer(listener, acceptor));
        Self { folder, port }
    }

    fn issue(&self, name: &str, role: &Role, lifetime: Duration) -> PathBuf {
        let out = self.folder.path().join(name);
        let authority = Authority::open(&self.folder.path().join("ca")).unwrap();
        authority.issue_to(&out, role, Validity::from_now(lifetime)).unwrap();
        out
    }

    fn client(&self) -> PathBuf {
        self.issue("ann", &Role::Client("ann".to_owned()), DAY)
    }
}

/// Answers clients, and tells others that they ask nothing, as a controller does.
async fn answer(listener: TcpListener, acceptor: Acceptor) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(stream) = acceptor.accept(stream).await else { continue };
        let (status, body) = match Acceptor::peer(&stream) {
            Some(Role::Client(_)) => (
                200,
                r#"{"release":"0.1.0","version":7,"in_sync":true,"has_been_in_sync":true,
                "objects":{"NetworkPolicy":3},"agents":{},"errors":0,"address_groups":2,"applied_to_groups":1}"#,
            ),
            _ => (403, r#"{"error":"the certificate is of node node-a, and only clients ask"}"#),
        };
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).await.unwrap_or(0) > 2 {
            line.clear();
        }
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
        let _ = stream.write_all((head + body).as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

/// The exit code, and what is on standard output and standard error.
async fn antctl(flags: &[&str]) -> (i32, String, String) {
    let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
    let run = move || {
        let nowhere = ["FERRANT_AGENT_SOCKET", "FERRANT_CONTROLLER_SOCKET"].map(|name| (name, "/no/such.sock"));
        Command::new(env!("CARGO_BIN_EXE_antctl")).args(flags).envs(nowhere).output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

async fn ask(port: u16, certificates: &Path) -> (i32, String, String) {
    let server = format!("https://127.0.0.1:{port}");
    antctl(&["get", "controllerinfo", "--server", &server, "--certificates", certificates.to_str().unwrap()]).await
}

/// What is said when it fails, with this code.
async fn refused(port: u16, certificates: &Path, code: i32, parts: &[&str]) {
    let (found, printed, said) = ask(port, certificates).await;
    assert_eq!((found, printed.as_str()), (code, ""), "{said}");
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_answered_over_tls() {
    let cluster = Cluster::start().await;
    let (code, printed, said) = ask(cluster.port, &cluster.client()).await;
    assert_eq!((code, said.as_str()), (0, ""));
    assert!(printed.contains("Ready") && printed.contains("0.1.0"), "{printed}");
    let (server, certificates) = (format!("https://127.0.0.1:{}", cluster.port), cluster.client());
    let (code, printed, said) =
        antctl(&["version", "--server", &server, "--certificates", certificates.to_str().unwrap()]).await;
    assert_eq!((code, said.as_str()), (0, ""));
    assert!(printed.contains("ferrant-controller   0.1.0"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_refused_hears_why_and_what_to_do() {
    let (cluster, other) = (Cluster::start().await, Cluster::start().await);
    // The server is of another CA.
    let client = cluster.client();
    refused(other.port, &client, 3, &["another CA has issued the certificate of who answers", "ca.crt"]).await;
    // One's own certificate is.
    let stranger = other.client();
    std::fs::copy(client.join("ca.crt"), stranger.join("ca.crt")).unwrap();
    refused(cluster.port, &stranger, 3, &["refuses this certificate", "certificates issue"]).await;
    // It has expired.
    let short = cluster.issue("short", &Role::Client("bob".to_owned()), Duration::from_secs(1));
    while !certificates::Identity::read(&short).unwrap().validity().is_over() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    refused(cluster.port, &short, 3, &["the certificate of client bob has expired on", "certificates issue"]).await;
    // It is a node's.
    let node = cluster.issue("node-a", &Role::Node("node-a".to_owned()), DAY);
    refused(cluster.port, &node, 1, &["only clients ask"]).await;
    // Files are missing, or half there.
    refused(cluster.port, Path::new("/no/such"), 2, &["/no/such/ca.crt", "certificates issue"]).await;
    let text = std::fs::read_to_string(client.join("identity.pem")).unwrap();
    std::fs::write(client.join("identity.pem"), &text[..text.len() / 2]).unwrap();
    refused(cluster.port, &client, 2, &["identity.pem", "certificates issue"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_controller_answers_it_says_so() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Something else listens there.
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        stream
    });
    refused(port, &client, 3, &["does not speak TLS", "--insecure"]).await;
    drop(plain.await.unwrap());
    // Nothing does any more.
    refused(port, &client, 3, &["nothing answers at https://127.0.0.1:", "is ferrant-controller running there"]).await;

    let server = format!("https://127.0.0.1:{}", cluster.port);
    let (code, _, said) = antctl(&["get", "controllerinfo", "--server", &server]).await;
    assert!(code == 2 && said.contains("--certificates DIR") && said.contains("--client NAME"), "{said}");
    for wrong in ["http://127.0.0.1:1", "127.0.0.1:1", "https://127.0.0.1", "https://:1", "https://127.0.0.1:1/path"] {
        let (code, _, said) = antctl(&["get", "controllerinfo", "--server", wrong]).await;
        assert!(code == 2 && said.contains("https://ADDRESS:PORT"), "{wrong}: {said}");
    }
}
