//! A simulated agent: it speaks the protocol over TLS with a certificate of its own, keeps digests of what it is told, and has no switch.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use apis::digest::Holding;
use apis::stream::control_client::ControlClient;
use apis::stream::{self as wire, FromAgent, from_agent, from_controller::Message};
use certificates::{Identity, Refusal, Role};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::Uri;
use tonic::transport::Endpoint;

/// What a message costs beside its own bytes: gRPC's prefix (5) and the header of an HTTP/2 frame (9). TLS adds 22 bytes a record, which
/// holds one message or more; they are not counted.
const AROUND_A_MESSAGE: u64 = 14;
/// Between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(50);

/// An agent, as the benchmark sees it.
pub struct Agent {
    node: String,
    controller: SocketAddr,
    identity: Identity,
    boot: [u8; apis::boot::LENGTH],
    shared: Mutex<Shared>,
    /// Bytes that came since they were last counted.
    bytes: AtomicU64,
}

#[derive(Default)]
struct Shared {
    pods: Vec<wire::PodReport>,
    sequence: u64,
    holding: Holding,
    /// Of what is held, once nothing comes any more: a real agent works out its own, on a machine of its own.
    digests: Option<Vec<u64>>,
    version: wire::Version,
    /// When the first whole frame of the stream was here.
    in_sync: Option<Instant>,
    replaced: bool,
    up: Option<mpsc::Sender<FromAgent>>,
}

impl Agent {
    /// An agent with these pods, which shows this certificate.
    pub fn new(
        node: String,
        controller: SocketAddr,
        identity: Identity,
        pods: Vec<(String, String, std::net::Ipv4Addr)>,
    ) -> Arc<Self> {
        let report =
            |(index, (namespace, name, address)): (usize, (String, String, std::net::Ipv4Addr))| wire::PodReport {
                sequence: index as u64 + 1,
                namespace,
                name,
                addresses: vec![address.octets().to_vec().into()],
                mac: Vec::new().into(),
            };
        let pods: Vec<wire::PodReport> = pods.into_iter().enumerate().map(report).collect();
        let shared = Shared { sequence: pods.len() as u64, pods, ..Shared::default() };
        let boot = apis::boot::of(1, [0; 8]);
        Arc::new(Self { node, controller, identity, boot, shared: Mutex::new(shared), bytes: AtomicU64::new(0) })
    }

    /// Connects, again and again.
    pub async fn live(self: Arc<Self>) {
        loop {
            // Whatever ended the stream, the next begins with what is known.
            let _ = self.stream().await;
            {
                let mut shared = self.lock();
                (shared.up, shared.in_sync, shared.replaced) = (None, None, false);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn stream(&self) -> Result<()> {
        // To tonic it is plain: the connector makes the TLS connection, as an agent's does.
        let endpoint = Endpoint::from_shared(format!("http://{}", self.controller))?;
        let (identity, controller) = (self.identity.clone(), self.controller);
        let dial = move |_: Uri| {
            let identity = identity.clone();
            async move {
                let stream = TcpStream::connect(controller).await?;
                stream.set_nodelay(true)?;
                let connected = identity.connect(stream, &Role::Controller, "h2", Refusal::default()).await;
                connected.map(TokioIo::new).map_err(std::io::Error::other)
            }
        };
        let channel = endpoint.connect_with_connector(tower::service_fn(dial)).await?;
        let mut client = ControlClient::new(channel).max_decoding_message_size(64 << 20);
        let (up, outgoing) = mpsc::channel(64);
        up.send(said(from_agent::Message::Hello(self.hello()))).await?;
        self.lock().up = Some(up.clone());
        let mut incoming = client.stream(ReceiverStream::new(outgoing)).await?.into_inner();
        let mut taken = false;
        while let Some(message) = incoming.message().await? {
            self.bytes.fetch_add(message.encoded_len() as u64 + AROUND_A_MESSAGE, Ordering::Relaxed);
            match message.message.context("a message that is not known")? {
                Message::Head(_) if !std::mem::replace(&mut taken, true) => {
                    let take = wire::Take { number: 1, digests: self.digests() };
                    up.send(said(from_agent::Message::Take(take))).await?;
                }
                Message::Ask(ask) => up.send(said(from_agent::Message::Keys(self.keys(&ask)))).await?,
                Message::Frame(part) => {
                    if let Some(frame) = self.part(part)? {
                        up.send(said(from_agent::Message::Acknowledge(wire::Acknowledge { frame, head: 0 }))).await?;
                        let version = wire::Version { every: self.lock().version.every, ..wire::Version::default() };
                        let realised = wire::Realised { frame, version: Some(version), ..wire::Realised::default() };
                        up.send(said(from_agent::Message::Realised(realised))).await?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn hello(&self) -> wire::Hello {
        let shared = self.lock();
        wire::Hello {
            node: self.node.clone(),
            versions: vec![2],
            boot: self.boot.to_vec().into(),
            last: Some(shared.version.clone()),
            pods: shared.pods.clone(),
            sequence: shared.sequence,
        }
    }

    fn digests(&self) -> Vec<u64> {
        let shared = self.lock();
        match &shared.digests {
            Some(digests) => digests.clone(),
            None if shared.holding.is_empty() => Vec::new(),
            None => shared.holding.digests(),
        }
    }

    fn keys(&self, ask: &wire::Ask) -> wire::Keys {
        let held = self.lock().holding.in_buckets(|bucket| ask.buckets.contains(&bucket.into()));
        let held = held.into_iter().map(|(name, content)| wire::Held { name, content }).collect();
        wire::Keys { take: ask.take, held, last: true }
    }

    /// Takes a part; the frame's number when it was the last.
    fn part(&self, part: wire::Frame) -> Result<Option<u64>> {
        let mut shared = self.lock();
        if part.replace {
            shared.holding = Holding::default();
            shared.replaced = true;
        }
        if !part.changes.is_empty() {
            shared.digests = None;
        }
        for change in &part.changes {
            if !shared.holding.apply(change) {
                bail!("a change of no known kind");
            }
        }
        if !part.last {
            return Ok(None);
        }
        let version = part.version.unwrap_or_default();
        if version.whole {
            shared.version.nodes.clear();
        }
        (shared.version.every, shared.version.whole) = (version.every, true);
        shared.version.nodes.extend(version.nodes);
        shared.in_sync.get_or_insert_with(Instant::now);
        Ok(Some(part.number))
    }

    /// Works out what is said of what is held when the next stream begins.
    pub fn prepare(&self) {
        let mut shared = self.lock();
        shared.digests = Some(shared.holding.digests());
    }

    /// A pod of this node gets another address.
    pub async fn change_a_pod(&self) -> Result<()> {
        let (report, up) = {
            let mut shared = self.lock();
            shared.sequence += 1;
            let sequence = shared.sequence;
            let pod = shared.pods.first_mut().context("the node has no pods")?;
            let address = pod.addresses.first().context("the pod has no address")?;
            let mut octets = address.to_vec();
            octets[3] = if octets[3] == 254 { 253 } else { 254 };
            (pod.addresses, pod.sequence) = (vec![octets.into()], sequence);
            (pod.clone(), shared.up.clone().context("the agent is not connected")?)
        };
        up.send(said(from_agent::Message::Pod(report))).await.context("the stream has ended")
    }

    /// When the stream's first frame was whole.
    pub fn in_sync(&self) -> Option<Instant> {
        self.lock().in_sync
    }

    /// Whether the stream's first frame replaced everything.
    pub fn was_replaced(&self) -> bool {
        self.lock().replaced
    }

    /// How many objects it has.
    pub fn objects(&self) -> usize {
        self.lock().holding.len()
    }

    /// The sequence up to which it knows a node's reports.
    pub fn knows(&self, node: &str) -> u64 {
        self.lock().version.nodes.get(node).map_or(0, |at| at.sequence)
    }

    /// Its own last report.
    pub fn sequence(&self) -> u64 {
        self.lock().sequence
    }

    /// Bytes that came since this was last asked.
    pub fn take_bytes(&self) -> u64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Nothing that holds the lock leaves the state half-changed.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn said(message: from_agent::Message) -> FromAgent {
    FromAgent { message: Some(message) }
}
