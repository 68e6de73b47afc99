//! A controller process over a temporary directory, and agents to talk to it.
#![allow(dead_code)] // not every test file uses all of it

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use apis::stream::change::Change as Kind;
use apis::stream::control_client::ControlClient;
use apis::stream::{
    Acknowledge, Change, Frame, FromAgent, FromController, Head, Hello, PodReport, Realised, Renew, Renewed, Take,
    Version, from_agent, from_controller,
};
use certificates::{Identity, Refusal, Role};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

/// A running controller; ends with this value.
pub struct Controller {
    folder: tempfile::TempDir,
    process: Child,
    pub port: u16,
}

impl Controller {
    /// Starts it over a directory with these files.
    pub fn start(files: &[(&str, &str)]) -> Self {
        Self::start_with(files, &["--insecure"])
    }

    /// The same, with other flags than --insecure.
    pub fn start_with(files: &[(&str, &str)], access: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("cluster");
        std::fs::create_dir(&source).unwrap();
        for (name, text) in files {
            let path = source.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self::launch(folder, &source, None, access)
    }

    /// Starts it over a directory that is there already.
    pub fn start_in(folder: tempfile::TempDir) -> Self {
        let source = folder.path().join("cluster");
        Self::launch(folder, &source, None, &["--insecure"])
    }

    /// Starts another over the same source, with a status directory of its own.
    pub fn start_beside(other: &Self) -> Self {
        Self::launch(tempfile::tempdir().unwrap(), &other.source(), None, &["--insecure"])
    }

    /// Starts another over the same source, with the same status directory.
    pub fn start_sharing(other: &Self) -> Self {
        Self::launch(tempfile::tempdir().unwrap(), &other.source(), Some(other.status()), &["--insecure"])
    }

    pub fn status(&self) -> PathBuf {
        self.folder.path().join("status")
    }

    /// Stops it where it is, or lets it go on.
    pub fn pause(&self, paused: bool) {
        let signal = if paused { nix::sys::signal::Signal::SIGSTOP } else { nix::sys::signal::Signal::SIGCONT };
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.process.id().try_into().unwrap()), signal).unwrap();
    }

    fn launch(folder: tempfile::TempDir, source: &Path, status: Option<PathBuf>, access: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_ferrant-controller"))
            .arg("--source")
            .arg(source)
            .arg("--status")
            .arg(status.unwrap_or_else(|| folder.path().join("status")))
            .arg("--serve")
            .arg(folder.path().join("serve.sock"))
            .args(["--listen", "127.0.0.1:0", "--check-plan", "--log", "info"])
            .args(access)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("started") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the controller ended before it had started");
        }
        let port = line.split("127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        // The rest of its log goes to ours, and is looked at for defects.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                eprintln!("controller: {line}");
                if line.contains("a defect, please report it") {
                    std::process::abort();
                }
            }
        });
        Self { folder, process, port }
    }

    /// Its memory now, in KiB (`VmRSS`).
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Ends it as an operator would; its directory.
    pub fn stop(mut self) -> tempfile::TempDir {
        self.end();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    fn end(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.process.id().try_into().unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.process.wait();
    }

    pub fn source(&self) -> PathBuf {
        self.folder.path().join("cluster")
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.source().join(name), text).unwrap();
    }

    /// The change time of a file, in ns.
    pub fn version_of(&self, name: &str) -> u64 {
        change_time(&self.source().join(name))
    }

    /// Waits until the controller has taken in everything up to a version (no agent has to be connected).
    pub fn wait_for_version(&self, version: u64) {
        let (status, body) = self.get(&format!("/v1/known?version={version}&timeout_ms=10000"));
        assert_eq!(status, 200, "{body}");
    }

    /// Asks; the status and the body.
    pub fn get(&self, path: &str) -> (u16, serde_json::Value) {
        get(&self.folder.path().join("serve.sock"), path)
    }

    pub fn ask_in_background(&self, path: &str) -> tokio::task::JoinHandle<(u16, serde_json::Value)> {
        let (socket, path) = (self.folder.path().join("serve.sock"), path.to_owned());
        tokio::task::spawn_blocking(move || get(&socket, &path))
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.end();
    }
}

pub fn change_time(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(path).unwrap();
    u64::try_from(found.ctime()).unwrap() * 1_000_000_000 + u64::try_from(found.ctime_nsec()).unwrap()
}

fn get(socket: &Path, path: &str) -> (u16, serde_json::Value) {
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: controller\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| serde_json::Value::String(body.to_owned())))
}

/// An agent, as far as the controller can tell.
pub struct Agent {
    up: mpsc::Sender<FromAgent>,
    down: Streaming<FromController>,
    frames: usize,
    protocol: u32,
    pub heads: Vec<Head>,
}

impl Agent {
    pub async fn connect(controller: &Controller, node: &str, pods: Vec<PodReport>) -> Self {
        Self::connect_with_last(controller, node, pods, 0).await
    }

    pub async fn connect_with_last(controller: &Controller, node: &str, pods: Vec<PodReport>, last: u64) -> Self {
        let last = (last > 0).then(|| Version { source: [("Pod".to_owned(), last)].into(), ..Version::default() });
        Self::welcomed(Self::open(controller, node, pods, 0, last, vec![1]).await).await
    }

    /// Connects anew, with the sequence of the last report, which may be of a pod that is gone.
    pub async fn connect_again(controller: &Controller, node: &str, pods: Vec<PodReport>, sequence: u64) -> Self {
        Self::welcomed(Self::open(controller, node, pods, sequence, None, vec![1]).await).await
    }

    /// Connects with what was accepted of an earlier stream.
    pub async fn connect_after(controller: &Controller, node: &str, last: Version) -> Self {
        Self::welcomed(Self::open(controller, node, vec![], 0, Some(last), vec![1]).await).await
    }

    async fn welcomed(mut agent: Self) -> Self {
        match agent.down.message().await.unwrap().unwrap().message {
            Some(from_controller::Message::Welcome(welcome)) => assert_eq!(welcome.version, agent.protocol),
            other => panic!("the first message is {other:?}"),
        }
        agent
    }

    /// One of protocol version 2, which listens until it takes.
    pub async fn listen(controller: &Controller, node: &str, pods: Vec<PodReport>, sequence: u64) -> Self {
        Self::welcomed(Self::open(controller, node, pods, sequence, None, vec![2]).await).await
    }

    /// Wants its frames from here.
    pub async fn take(&mut self, number: u64, digests: Vec<u64>) {
        self.say(from_agent::Message::Take(Take { number, digests })).await;
    }

    /// The next message but Heads.
    pub async fn said(&mut self) -> from_controller::Message {
        loop {
            let message = self.down.message().await.unwrap().expect("the stream goes on").message.unwrap();
            match message {
                from_controller::Message::Head(head) => self.heads.push(head),
                other => return other,
            }
        }
    }

    /// The next Head that is like this; frames before it are acknowledged.
    pub async fn head_with(&mut self, like: impl Fn(&Head) -> bool) -> Head {
        loop {
            let message = self.down.message().await.unwrap().expect("the stream goes on").message.unwrap();
            let head = match message {
                from_controller::Message::Head(head) => head,
                from_controller::Message::Frame(frame) => {
                    self.acknowledge(frame.number).await;
                    continue;
                }
                other => panic!("not a head: {other:?}"),
            };
            self.heads.push(head.clone());
            if like(&head) {
                return head;
            }
        }
    }

    pub async fn acknowledge_head(&mut self, head: u64) {
        self.say(from_agent::Message::Acknowledge(Acknowledge { frame: 0, head })).await;
    }

    /// The reason why the controller does not speak to an agent of other versions.
    pub async fn refused(controller: &Controller, node: &str, versions: Vec<u32>) -> Status {
        let mut agent = Self::open(controller, node, vec![], 0, None, versions).await;
        agent.down.message().await.unwrap_err()
    }

    /// One that shows a certificate and says that it is of this node; what refused it.
    pub async fn show(controller: &Controller, identity: &Identity, node: &str) -> Result<Self, String> {
        let refusal = Refusal::default();
        let opened = async {
            let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", controller.port)).unwrap();
            let (identity, port, refusal) = (identity.clone(), controller.port, refusal.clone());
            let dial = move |_: Uri| {
                let (identity, refusal) = (identity.clone(), refusal.clone());
                async move {
                    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
                    let connected = identity.connect(stream, &Role::Controller, "h2", refusal).await;
                    connected.map(TokioIo::new).map_err(std::io::Error::other)
                }
            };
            let channel = endpoint.connect_with_connector(tower::service_fn(dial)).await;
            let channel = channel.map_err(|error| error.to_string())?;
            let opened = Self::open_on(channel, node, vec![], 0, None, vec![1]).await;
            let mut agent = opened.map_err(|status| status.message().to_owned())?;
            let welcome = agent.down.message().await.map_err(|status| status.message().to_owned())?;
            assert!(matches!(welcome.unwrap().message, Some(from_controller::Message::Welcome(_))));
            Ok::<Self, String>(agent)
        };
        let opened = opened.await;
        opened.map_err(|error| refusal.said().map_or(error, |refused| refused.to_string()))
    }

    /// Asks for a new certificate.
    pub async fn renew(&mut self, request: &[u8]) -> Renewed {
        self.say(from_agent::Message::Renew(Renew { request: request.to_vec().into() })).await;
        loop {
            match self.said().await {
                from_controller::Message::Renewed(renewed) => return renewed,
                from_controller::Message::Frame(frame) => self.acknowledge(frame.number).await,
                other => panic!("no answer: {other:?}"),
            }
        }
    }

    async fn open(
        controller: &Controller,
        node: &str,
        pods: Vec<PodReport>,
        sequence: u64,
        last: Option<Version>,
        versions: Vec<u32>,
    ) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", controller.port)).unwrap();
        // Small, so that what an agent does not read stays with the controller.
        let endpoint = endpoint.initial_stream_window_size(65_535);
        let channel = endpoint.connect().await.unwrap();
        Self::open_on(channel, node, pods, sequence, last, versions).await.unwrap()
    }

    async fn open_on(
        channel: Channel,
        node: &str,
        pods: Vec<PodReport>,
        sequence: u64,
        last: Option<Version>,
        versions: Vec<u32>,
    ) -> Result<Self, Status> {
        let mut client = ControlClient::new(channel);
        let protocol = versions[0];
        let (up, outgoing) = mpsc::channel(16);
        // Opened before anything is said: the controller must not wait for the greeting to answer.
        let down = client.stream(ReceiverStream::new(outgoing)).await?.into_inner();
        let boot = bytes::Bytes::from_static(b"boot");
        let hello = Hello { node: node.to_owned(), versions, boot, last, pods, sequence };
        up.send(FromAgent { message: Some(from_agent::Message::Hello(hello)) }).await.unwrap();
        Ok(Self { up, down, frames: 0, protocol, heads: Vec::new() })
    }

    /// The next frame, all its parts.
    pub async fn frame(&mut self) -> Frame {
        let mut whole: Option<Frame> = None;
        loop {
            let message = self.said().await;
            let from_controller::Message::Frame(part) = message else { panic!("not a frame: {message:?}") };
            let Frame { number, replace, take, .. } = part;
            let frame = whole.get_or_insert_with(|| Frame { number, replace, take, ..Frame::default() });
            assert_eq!(frame.number, part.number);
            frame.changes.extend(part.changes);
            if part.last {
                self.frames += 1;
                frame.version = part.version;
                return whole.take().unwrap();
            }
        }
    }

    /// The next frame that is like this; those before it are acknowledged.
    pub async fn frame_with(&mut self, like: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.frame().await;
            if like(&frame) {
                return frame;
            }
            self.acknowledge(frame.number).await;
        }
    }

    /// The next frame that is like this, acknowledged; those before it are acknowledged and realised.
    pub async fn frame_and_realise_until(&mut self, like: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.frame().await;
            self.acknowledge(frame.number).await;
            if like(&frame) {
                return frame;
            }
            self.realise(&frame).await;
        }
    }

    pub async fn detach(&mut self, sequence: u64, namespace: &str, name: &str) {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        self.report(PodReport { sequence, namespace, name, ..PodReport::default() }).await;
    }

    pub fn frames_before_this_one(&self) -> usize {
        self.frames - 1
    }

    pub async fn has_ended(&mut self) -> bool {
        matches!(self.down.message().await, Ok(None) | Err(_))
    }

    pub async fn acknowledge(&mut self, frame: u64) {
        self.say(from_agent::Message::Acknowledge(Acknowledge { frame, head: 0 })).await;
    }

    pub async fn say_keys(&mut self, keys: apis::stream::Keys) {
        self.say(from_agent::Message::Keys(keys)).await;
    }

    pub async fn realise(&mut self, frame: &Frame) {
        let realised = Realised { frame: frame.number, version: frame.version.clone(), failures: vec![], head: 0 };
        self.say(from_agent::Message::Realised(realised)).await;
    }

    pub async fn report(&mut self, report: PodReport) {
        self.say(from_agent::Message::Pod(report)).await;
    }

    async fn say(&mut self, message: from_agent::Message) {
        self.up.send(FromAgent { message: Some(message) }).await.unwrap();
    }
}

/// A frame as text.
pub trait Summary {
    /// Its changes, sorted, without hashes.
    fn summary(&self) -> Vec<String>;
    /// The version of the source.
    fn source_version(&self) -> u64;
}

impl Summary for Frame {
    fn summary(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.changes.iter().map(line).collect();
        lines.sort();
        lines
    }

    fn source_version(&self) -> u64 {
        *self.version.as_ref().unwrap().source.get("NetworkPolicy").unwrap()
    }
}

fn line(change: &Change) -> String {
    match change.change.as_ref().unwrap() {
        Kind::Node(node) => format!("node {}", node.name),
        Kind::NodeRemoved(name) => format!("removed node {name}"),
        Kind::Endpoint(endpoint) => {
            let addresses = endpoint.addresses.iter();
            let addresses: Vec<Ipv4Addr> =
                addresses.map(|bytes| <[u8; 4]>::try_from(&bytes[..]).unwrap().into()).collect();
            format!("endpoint {}/{} {addresses:?}", endpoint.namespace, endpoint.name)
        }
        Kind::EndpointRemoved(pod) => format!("removed endpoint {}/{}", pod.namespace, pod.name),
        Kind::Identity(identity) => {
            let mut labels: Vec<String> = identity.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            labels.sort();
            format!("identity {}", labels.join(","))
        }
        Kind::IdentityRemoved(_) => "removed identity".to_owned(),
        Kind::Group(group) => format!("group of {}", group.identities.len()),
        Kind::GroupRemoved(_) => "removed group".to_owned(),
        Kind::Rule(rule) => format!("rule {}", rule.names.join(", ")),
        Kind::RuleRemoved(_) => "removed rule".to_owned(),
        Kind::Isolation(isolation) => format!("isolation {}", isolation.names.join(", ")),
        Kind::IsolationRemoved(_) => "removed isolation".to_owned(),
        Kind::Posture(posture) => {
            let ingress = if posture.ingress_selectable { " ingress" } else { "" };
            let egress = if posture.egress_selectable { " egress" } else { "" };
            format!("posture {}{ingress}{egress}", posture.namespace)
        }
        Kind::PostureRemoved(name) => format!("removed posture {name}"),
    }
}
