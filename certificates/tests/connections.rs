//! Real connections between those who hold certificates, and those who hold none that count.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use certificates::{Acceptor, Authority, Identity, Refusal, Request, Role, Validity};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn node(name: &str) -> Role {
    Role::Node(name.to_owned())
}

struct Cluster {
    folder: tempfile::TempDir,
    acceptor: Acceptor,
}

impl Cluster {
    fn new(lifetime: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca");
        Authority::create(&ca).unwrap();
        Self { acceptor: Acceptor::new(Authority::open(&ca).unwrap(), lifetime).unwrap(), folder }
    }

    fn folder_of(&self, role: &Role) -> PathBuf {
        self.folder.path().join(role.to_string())
    }

    fn issue(&self, role: &Role, lifetime: Duration) -> Identity {
        let authority = Authority::open(&self.folder.path().join("ca")).unwrap();
        authority.issue_to(&self.folder_of(role), role, Validity::from_now(lifetime)).unwrap()
    }

    /// Connects; who the controller says it was, or what both sides say went wrong.
    async fn connect(&self, identity: &Identity, to: &Role) -> Result<Role, (String, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = self.acceptor.clone();
        let accepting = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.map_err(|error| error.to_string())?;
            stream.write_all(b"x").await.map_err(|error| error.to_string())?;
            Acceptor::peer(&stream).ok_or_else(|| "nobody".to_owned())
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let refusal = Refusal::default();
        let connecting = async {
            let mut stream =
                identity.connect(stream, to, "h2", refusal.clone()).await.map_err(|error| error.to_string())?;
            // In TLS 1.3 the client hears only now that its certificate is refused.
            stream.write_all(b"hello").await.map_err(|error| error.to_string())?;
            stream.read_exact(&mut [0]).await.map_err(|error| error.to_string())
        };
        let heard = connecting.await;
        let accepted = accepting.await.unwrap();
        match (heard, accepted) {
            (Ok(_), Ok(role)) => Ok(role),
            (heard, accepted) => {
                let said = refusal.said().map(|refused| refused.to_string());
                Err((said.unwrap_or_else(|| format!("{heard:?}")), format!("{accepted:?}")))
            }
        }
    }
}

#[tokio::test]
async fn both_ends_know_who_the_other_is() {
    let cluster = Cluster::new(DAY);
    let (a, ann) = (cluster.issue(&node("node-a"), DAY), cluster.issue(&Role::Client("ann".into()), DAY));
    assert_eq!(cluster.connect(&a, &Role::Controller).await, Ok(node("node-a")));
    assert_eq!(cluster.connect(&ann, &Role::Controller).await, Ok(Role::Client("ann".to_owned())));
    let (connecting, _) = cluster.connect(&a, &node("node-b")).await.unwrap_err();
    assert!(connecting.contains("is no controller"), "{connecting}");
}

#[tokio::test]
async fn who_has_no_certificate_of_this_ca_is_refused_and_both_say_why() {
    let (ours, theirs) = (Cluster::new(DAY), Cluster::new(DAY));
    let stranger = theirs.issue(&node("node-a"), DAY);
    let (connecting, accepting) = ours.connect(&stranger, &Role::Controller).await.unwrap_err();
    assert!(connecting.contains("another CA has issued the certificate of who answers"), "{connecting}");
    assert!(accepting.contains("does not trust this controller"), "{accepting}");
    // It trusts our CA, but its own certificate is of another.
    let friend = ours.issue(&node("node-b"), DAY);
    drop(friend);
    let theirs = theirs.folder_of(&node("node-a"));
    std::fs::copy(ours.folder_of(&node("node-b")).join("ca.crt"), theirs.join("ca.crt")).unwrap();
    let stranger = Identity::read(&theirs).unwrap();
    let (connecting, accepting) = ours.connect(&stranger, &Role::Controller).await.unwrap_err();
    assert!(connecting.contains("not of its CA") && connecting.contains("certificates issue"), "{connecting}");
    assert!(accepting.contains("another CA has issued its certificate"), "{accepting}");
}

#[tokio::test]
async fn who_shows_no_certificate_is_refused() {
    let cluster = Cluster::new(DAY);
    let pem = std::fs::read(cluster.folder.path().join("ca/ca.crt")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let connecting = async {
        let name = Role::Controller.dns_name().unwrap().try_into().unwrap();
        let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap_err().to_string()
    };
    let (heard, accepted) = tokio::join!(connecting, cluster.acceptor.accept(accepted));
    assert!(heard.contains("CertificateRequired"), "{heard}");
    assert!(accepted.unwrap_err().to_string().contains("shows no certificate"));
}

#[tokio::test]
async fn who_does_not_speak_tls_is_refused() {
    let cluster = Cluster::new(DAY);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut plain = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let accepting = cluster.acceptor.accept(stream);
    let closing = async {
        let mut bytes = Vec::new();
        plain.read_to_end(&mut bytes).await.map(drop).unwrap_or_default();
        drop(plain);
    };
    let (accepted, ()) = tokio::join!(accepting, closing);
    let refused = accepted.unwrap_err().to_string();
    assert!(refused.contains("does not speak TLS") && refused.contains("--certificates"), "{refused}");
    // And a server that does not.
    let a = cluster.issue(&node("node-a"), DAY);
    let connecting = async {
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        a.connect(stream, &Role::Controller, "h2", Refusal::default()).await.map(drop).unwrap_err().to_string()
    };
    let answering = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    };
    let (refused, _stream) = tokio::join!(connecting, answering);
    assert!(refused.contains("does not speak TLS") && refused.contains("--insecure"), "{refused}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_says_what_to_do() {
    let cluster = Cluster::new(DAY);
    let short = cluster.issue(&node("node-a"), Duration::from_secs(1));
    while !short.validity().is_over() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (connecting, _) = cluster.connect(&short, &Role::Controller).await.unwrap_err();
    assert!(connecting.contains("has expired on") && connecting.contains("certificates issue"), "{connecting}");
    let read = Identity::read(&cluster.folder_of(&node("node-a"))).unwrap();
    assert!(read.validity().is_over(), "it is there to be read, and says what it is");
}

#[tokio::test]
async fn certificates_are_renewed_with_a_new_key_and_a_controllers_own_while_it_serves() {
    let lifetime = Duration::from_secs(3);
    let cluster = Cluster::new(lifetime);
    let first = cluster.issue(&node("node-a"), lifetime);
    let own = cluster.acceptor.validity();
    assert!(!cluster.acceptor.renew_own().unwrap(), "it is not time yet");
    let request = Request::new().unwrap();
    // Until both have one third of their lives left; what is renewed then counts after the first ones are over.
    while std::time::SystemTime::now() < first.validity().renew_at().max(own.renew_at()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let renewed = cluster.acceptor.renew(request.der(), &node("node-a")).unwrap();
    let text = request.answered(&[&renewed], &first).unwrap();
    let folder = cluster.folder_of(&node("node-a"));
    let old = std::fs::read_to_string(folder.join("identity.pem")).unwrap();
    std::fs::write(folder.join("identity.pem"), &text).unwrap();
    assert!(key(&text) != key(&old), "the key is another");
    let second = Identity::read(&folder).unwrap();
    assert!(cluster.acceptor.renew_own().unwrap());
    while !first.validity().is_over() || !own.is_over() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.acceptor.renew_own().unwrap();
    assert_eq!(cluster.connect(&second, &Role::Controller).await, Ok(node("node-a")), "both first ones are over");
}

fn key(text: &str) -> String {
    text.split("-----BEGIN PRIVATE KEY").nth(1).unwrap().to_owned()
}

#[test]
fn what_does_not_answer_a_request_is_not_taken() {
    let (cluster, other) = (Cluster::new(DAY), Cluster::new(DAY));
    let identity = cluster.issue(&node("node-a"), DAY);
    let request = Request::new().unwrap();
    let answered = |certificates: &[&[u8]]| request.answered(certificates, &identity).unwrap_err().to_string();
    let of_another_node = cluster.acceptor.renew(request.der(), &node("node-b")).unwrap();
    assert!(answered(&[&of_another_node]).contains("node node-b, not of node node-a"));
    let of_another_ca = other.acceptor.renew(request.der(), &node("node-a")).unwrap();
    assert!(answered(&[&of_another_ca]).contains("UnknownIssuer"));
    let of_another_key = cluster.acceptor.renew(Request::new().unwrap().der(), &node("node-a")).unwrap();
    assert!(answered(&[&of_another_key]).contains("do not fit"));
    assert!(answered(&[]).contains("no certificate") && answered(&[b"garbage"]).contains("stays"));
    let refused = cluster.acceptor.renew(b"garbage", &node("node-a")).unwrap_err().to_string();
    assert!(refused.contains("not understood"), "{refused}");
    // Signed with another key than the one it asks a certificate for.
    let mut forged = request.der().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert!(cluster.acceptor.renew(&forged, &node("node-a")).is_err());
}

#[tokio::test]
async fn while_a_ca_is_changed_for_another_both_are_trusted() {
    let (mut old, new) = (Cluster::new(DAY), Cluster::new(DAY));
    let early = old.issue(&node("node-a"), DAY);
    assert_eq!(old.connect(&early, &Role::Controller).await, Ok(node("node-a")));
    // Each CA's certificate with the other's behind it, in the old controller's folder, the node's, and the new CA's.
    let text = |cluster: &Cluster| std::fs::read_to_string(cluster.folder.path().join("ca/ca.crt")).unwrap();
    let (own, other) = (text(&old), text(&new));
    let early = old.folder_of(&node("node-a"));
    std::fs::write(early.join("ca.crt"), format!("{own}{other}")).unwrap();
    std::fs::write(old.folder.path().join("ca/ca.crt"), format!("{own}{other}")).unwrap();
    std::fs::write(new.folder.path().join("ca/ca.crt"), format!("{other}{own}")).unwrap();
    let early = Identity::read(&early).unwrap();
    let late = new.issue(&node("node-b"), DAY);
    let restarted =
        |cluster: &Cluster| Acceptor::new(Authority::open(&cluster.folder.path().join("ca")).unwrap(), DAY).unwrap();
    // The old controller, and then the new one, started again.
    old.acceptor = restarted(&old);
    assert_eq!(old.connect(&early, &Role::Controller).await, Ok(node("node-a")));
    assert_eq!(old.connect(&late, &Role::Controller).await, Ok(node("node-b")));
    old.acceptor = restarted(&new);
    assert_eq!(old.connect(&early, &Role::Controller).await, Ok(node("node-a")));
    assert_eq!(old.connect(&late, &Role::Controller).await, Ok(node("node-b")));
}
