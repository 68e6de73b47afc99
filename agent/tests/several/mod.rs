//! Controllers that know what a test lets them know, and an agent's streams without the rest of the agent.

#![allow(dead_code)] // not every test file uses all of it

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use agent::event::Event;
use agent::state::{Body, FrameName, PodKey, Upstream, Version};
use agent::watch::certificate::Access;
use agent::watch::journal::Journal;
use agent::watch::stream::{Uplink, follow};
use apis::digest::Holding;
use apis::stream::change::Change as Kind;
use apis::stream::control_server::{Control, ControlServer};
use apis::stream::{self as wire, from_agent, from_controller::Message};
use certificates::{Acceptor, Role};
use futures::StreamExt;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};

/// How long anything may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(30);

/// Waits until it is so.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < WITHIN, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a controller knows: namespaces, of a version of the source and of what nodes reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    version: u64,
    namespaces: BTreeSet<String>,
    nodes: BTreeMap<String, (u64, u64)>,
}

impl World {
    pub fn new(version: u64) -> Self {
        Self { version, namespaces: BTreeSet::new(), nodes: BTreeMap::new() }
    }

    pub fn with(mut self, namespace: &str) -> Self {
        self.namespaces.insert(namespace.to_owned());
        self
    }

    pub fn without(mut self, namespace: &str) -> Self {
        self.namespaces.remove(namespace);
        self
    }

    pub fn at(mut self, version: u64) -> Self {
        self.version = version;
        self
    }

    pub fn node(mut self, node: &str, boot: u64, sequence: u64) -> Self {
        self.nodes.insert(node.to_owned(), (boot, sequence));
        self
    }

    fn changes(&self) -> Vec<wire::Change> {
        let posture = |namespace: &String| wire::Posture { namespace: namespace.clone(), ..wire::Posture::default() };
        self.namespaces
            .iter()
            .map(|namespace| wire::Change { change: Some(Kind::Posture(posture(namespace))) })
            .collect()
    }

    fn version(&self) -> wire::Version {
        let node = |(boot, sequence): (u64, u64)| wire::NodeVersion {
            boot: apis::boot::of(boot, [0; 8]).to_vec().into(),
            sequence,
        };
        let nodes = self.nodes.iter().map(|(name, at)| (name.clone(), node(*at)));
        wire::Version { every: self.version, nodes: nodes.collect(), whole: true, ..wire::Version::default() }
    }
}

#[derive(Default)]
struct Heard {
    connected: usize,
    /// Streams that were ever opened.
    opened: usize,
    taken: bool,
    pods: Vec<String>,
    acknowledged_head: u64,
    realised_head: u64,
    frames: u64,
    changes: usize,
    claims: Option<u64>,
    streams: Vec<mpsc::UnboundedSender<Result<wire::FromController, Status>>>,
}

/// A controller. It compares by digests, as real ones do.
pub struct Server {
    address: SocketAddr,
    world: watch::Sender<Option<World>>,
    paused: watch::Sender<bool>,
    heard: Arc<Mutex<Heard>>,
    server: tokio::task::JoinHandle<()>,
    end: watch::Sender<bool>,
}

struct Service {
    world: watch::Receiver<Option<World>>,
    paused: watch::Receiver<bool>,
    end: watch::Receiver<bool>,
    heard: Arc<Mutex<Heard>>,
    name: String,
    acceptor: Option<Acceptor>,
}

/// One stream's side of the controller.
struct Conversation {
    sender: mpsc::UnboundedSender<Result<wire::FromController, Status>>,
    heard: Arc<Mutex<Heard>>,
    take: Option<u64>,
    /// What was told; none before the first frame.
    told: Option<World>,
    /// The buckets that differ, and what the agent has in them.
    comparing: Option<(BTreeSet<u8>, BTreeMap<bytes::Bytes, u64>)>,
    acknowledged: bool,
    number: u64,
    acceptor: Option<Acceptor>,
}

impl Conversation {
    fn say(&self, message: Message) {
        let _ = self.sender.send(Ok(wire::FromController { message: Some(message) }));
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap()
    }

    fn head(&self, world: &World) {
        let mut version = world.version();
        if let Some(claims) = self.lock().claims {
            version.every = claims;
        }
        self.say(Message::Head(wire::Head { version: Some(version), number: world.version, complete: false }));
    }

    fn frame(&mut self, replace: bool, changes: Vec<wire::Change>, world: &World) {
        self.number += 1;
        {
            let mut heard = self.lock();
            heard.frames += 1;
            heard.changes += changes.len();
        }
        let (number, take) = (self.number, self.take.unwrap());
        let version = Some(world.version());
        self.say(Message::Frame(wire::Frame { number, replace, changes, last: true, version, take }));
        (self.told, self.acknowledged) = (Some(world.clone()), false);
    }

    /// The world is so now.
    fn know(&mut self, world: &World) {
        self.head(world);
        let Some(told) = self.told.clone().filter(|told| self.acknowledged && self.take.is_some() && told != world)
        else {
            return;
        };
        let mut changes = world.changes();
        changes.retain(|change| !told.changes().contains(change));
        for gone in told.namespaces.difference(&world.namespaces) {
            changes.push(wire::Change { change: Some(Kind::PostureRemoved(gone.clone())) });
        }
        self.frame(false, changes, world);
    }

    fn hear(&mut self, message: from_agent::Message, world: Option<&World>) {
        match message {
            from_agent::Message::Pod(pod) => self.lock().pods.push(format!("{}/{}", pod.namespace, pod.name)),
            from_agent::Message::Acknowledge(acknowledge) if acknowledge.frame > 0 => {
                self.acknowledged |= acknowledge.frame == self.number;
                if let Some(world) = world {
                    self.know(world);
                }
            }
            from_agent::Message::Acknowledge(acknowledge) => self.lock().acknowledged_head = acknowledge.head,
            from_agent::Message::Realised(realised) => self.lock().realised_head = realised.head,
            from_agent::Message::Take(take) => {
                self.take = Some(take.number);
                (self.told, self.comparing) = (None, None);
                self.lock().taken = true;
                let Some(world) = world else { return };
                if take.digests.is_empty() {
                    self.frame(true, world.changes(), world);
                    return;
                }
                let mut holding = Holding::default();
                assert!(world.changes().iter().all(|change| holding.apply(change)));
                let own = holding.digests();
                let differ =
                    (0..=u8::MAX).zip(own.iter().zip(&take.digests)).filter(|(_, (own, theirs))| own != theirs);
                let differ: BTreeSet<u8> = differ.map(|(bucket, _)| bucket).collect();
                if differ.is_empty() {
                    self.frame(false, Vec::new(), world);
                    return;
                }
                let buckets = differ.iter().map(|bucket| u32::from(*bucket)).collect();
                self.comparing = Some((differ, BTreeMap::new()));
                self.say(Message::Ask(wire::Ask { take: take.number, buckets }));
            }
            from_agent::Message::Keys(keys) if Some(keys.take) == self.take => {
                let Some((_, comparing)) = &mut self.comparing else { return };
                comparing.extend(keys.held.into_iter().map(|held| (held.name, held.content)));
                if let (true, Some(world)) = (keys.last, world) {
                    self.compared(world);
                }
            }
            from_agent::Message::Renew(renew) => {
                let acceptor = self.acceptor.as_ref().expect("only an agent with a certificate asks");
                let renewed = acceptor.renew(&renew.request, &Role::Node("node-a".to_owned())).unwrap();
                let renewed = wire::Renewed { certificates: vec![renewed.into()], refusal: String::new() };
                self.say(Message::Renewed(renewed));
            }
            from_agent::Message::Listen(_) => {
                (self.take, self.told) = (None, None);
                self.lock().taken = false;
            }
            _ => {}
        }
    }

    /// In buckets that are the same nothing needs to be said.
    fn compared(&mut self, world: &World) {
        let (buckets, mut held) = self.comparing.take().unwrap();
        let mut changes = Vec::new();
        for change in world.changes() {
            let name = bytes::Bytes::from(apis::digest::removal(&change).unwrap().encode_to_vec());
            let content = apis::digest::content(&change.encode_to_vec());
            if buckets.contains(&apis::digest::bucket(&name)) && held.remove(&name) != Some(content) {
                changes.push(change);
            }
        }
        changes.extend(held.into_keys().map(|name| wire::Change::decode(name).unwrap()));
        self.frame(false, changes, world);
    }
}

#[tonic::async_trait]
impl Control for Service {
    type StreamStream = UnboundedReceiverStream<Result<wire::FromController, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<wire::FromAgent>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let mut incoming = request.into_inner();
        let (sender, receiver) = mpsc::unbounded_channel();
        let (mut world, mut paused, mut end) = (self.world.clone(), self.paused.clone(), self.end.clone());
        let (heard, name, acceptor) = (Arc::clone(&self.heard), self.name.clone(), self.acceptor.clone());
        tokio::spawn(async move {
            let mut conversation = Conversation {
                sender: sender.clone(),
                heard: Arc::clone(&heard),
                take: None,
                told: None,
                comparing: None,
                acknowledged: false,
                number: 0,
                acceptor,
            };
            let welcome = wire::Welcome { version: 2, controller: name, ..wire::Welcome::default() };
            conversation.say(Message::Welcome(welcome));
            {
                let mut heard = heard.lock().unwrap();
                heard.connected += 1;
                heard.opened += 1;
                heard.streams.push(sender);
            }
            world.mark_changed();
            loop {
                if paused.wait_for(|paused| !paused).await.is_err() {
                    break;
                }
                tokio::select! {
                    said = incoming.next() => match said {
                        Some(Ok(wire::FromAgent { message: Some(message) })) => {
                            let world = world.borrow().clone();
                            conversation.hear(message, world.as_ref());
                        }
                        _ => break,
                    },
                    changed = world.changed() => {
                        if changed.is_err() {
                            break;
                        }
                        let world = world.borrow_and_update().clone();
                        if let Some(world) = world.filter(|_| !*paused.borrow()) {
                            conversation.know(&world);
                        }
                    }
                    _ = end.changed() => break,
                    _ = paused.changed() => {}
                }
            }
            let mut heard = heard.lock().unwrap();
            heard.connected -= 1;
            heard.taken &= conversation.take.is_none();
        });
        Ok(Response::new(UnboundedReceiverStream::new(receiver)))
    }
}

impl Server {
    pub async fn start(world: World) -> Self {
        let server = Self::start_silent().await;
        server.knows(world);
        server
    }

    /// One that wants to see certificates.
    pub async fn start_over_tls(world: World, acceptor: Acceptor) -> Self {
        let server = Self::start_with(Some(acceptor)).await;
        server.knows(world);
        server
    }

    /// One whose source has not been in sync.
    pub async fn start_silent() -> Self {
        Self::start_with(None).await
    }

    async fn start_with(acceptor: Option<Acceptor>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ((world, world_receiver), (paused, paused_receiver)) = (watch::channel(None), watch::channel(false));
        let (end, end_receiver) = watch::channel(false);
        let heard = Arc::<Mutex<Heard>>::default();
        let service = Service {
            world: world_receiver,
            paused: paused_receiver,
            end: end_receiver,
            heard: Arc::clone(&heard),
            name: format!("test/{address}"),
            acceptor: acceptor.clone(),
        };
        let server = tokio::spawn(async move {
            let server = tonic::transport::Server::builder().add_service(ControlServer::new(service));
            match acceptor {
                None => server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap(),
                Some(acceptor) => {
                    let (sender, incoming) = mpsc::channel(1);
                    tokio::spawn(handshakes(listener, acceptor, sender));
                    server.serve_with_incoming(ReceiverStream::new(incoming)).await.unwrap();
                }
            }
        });
        Self { address, world, paused, heard, server, end }
    }

    pub fn knows(&self, world: World) {
        self.world.send_replace(Some(world));
    }

    /// Its heads say that they are of this version, whatever its frames are of.
    pub fn claims(&self, version: u64) {
        self.lock().claims = Some(version);
    }

    /// It hears and says nothing, and its connections stand.
    pub fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Its connections break, and nobody listens any more.
    pub fn kill(self) {
        self.server.abort();
        self.end.send_replace(true);
        for stream in self.lock().streams.drain(..) {
            let _ = stream.send(Err(Status::unavailable("killed")));
        }
    }

    /// Its streams break, and it listens.
    pub fn break_streams(&self) {
        for stream in self.lock().streams.drain(..) {
            let _ = stream.send(Err(Status::unavailable("broken")));
        }
    }

    pub fn streams_opened(&self) -> usize {
        self.lock().opened
    }

    pub fn releases(&self, sequence: u64) {
        for stream in &self.lock().streams {
            let message = Some(Message::Released(wire::Released { sequence }));
            let _ = stream.send(Ok(wire::FromController { message }));
        }
    }

    pub fn is_connected(&self) -> bool {
        self.lock().connected > 0
    }

    pub fn is_taken_from(&self) -> bool {
        self.lock().taken
    }

    pub fn reports(&self) -> Vec<String> {
        self.lock().pods.clone()
    }

    pub fn head(&self) -> u64 {
        self.world.borrow().as_ref().map_or(0, |world| world.version)
    }

    pub fn acknowledged_head(&self) -> u64 {
        self.lock().acknowledged_head
    }

    pub fn realised_head(&self) -> u64 {
        self.lock().realised_head
    }

    pub fn frames_sent(&self) -> u64 {
        self.lock().frames
    }

    pub fn changes_sent(&self) -> usize {
        self.lock().changes
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap()
    }
}

type Incoming = mpsc::Sender<std::io::Result<tokio_rustls::server::TlsStream<tokio::net::TcpStream>>>;

async fn handshakes(listener: tokio::net::TcpListener, acceptor: Acceptor, sender: Incoming) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(stream) = acceptor.accept(stream).await
            && sender.send(Ok(stream)).await.is_err()
        {
            return;
        }
    }
}

#[derive(Default)]
struct Seen {
    namespaces: BTreeSet<String>,
    versions: Vec<Version>,
    replaced: usize,
    frame: Option<FrameName>,
    taken_from: Option<String>,
    released: u64,
}

/// An agent's streams, with what they bring.
pub struct Following {
    uplink: Uplink,
    seen: Arc<Mutex<Seen>>,
    folder: Arc<tempfile::TempDir>,
    access: Access,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Following {
    pub async fn start(servers: &[Server]) -> Self {
        Self::start_with(servers, Access::Insecure).await
    }

    /// One that reaches them so.
    pub async fn start_with(servers: &[Server], access: Access) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        Self::begin(folder, &servers.iter().collect::<Vec<_>>(), access, 1)
    }

    /// Ends as a killed process would, and starts again with what is on disk.
    pub async fn restart(mut self, servers: &[&Server]) -> Self {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            let _ = task.await;
        }
        // A controller that has not noticed yet would tell the former life too.
        until("the streams to end", || servers.iter().all(|server| !server.is_connected())).await;
        Self::begin(Arc::clone(&self.folder), servers, self.access.clone(), 2)
    }

    fn begin(folder: Arc<tempfile::TempDir>, servers: &[&Server], access: Access, boot: u64) -> Self {
        let uplink = Uplink::new("node-a", apis::boot::of(boot, [0; 8]));
        let (journal, frame) = Journal::open(&folder.path().join("frames"), "node-a");
        let mut seen = Seen::default();
        let mut upstream = Upstream::new("node-a");
        let mut accepted = Version::default();
        if let Some(frame) = frame {
            accepted.clone_from(&frame.version);
            uplink.accepted(&accepted);
            seen.versions.push(accepted.clone());
            if let Body::Replace(found) = frame.body {
                upstream = *found;
            }
        }
        seen.namespaces = upstream.postures.keys().map(ToString::to_string).collect();
        let seen = Arc::new(Mutex::new(seen));
        let (events, inbox) = mpsc::channel(16);
        let urls = servers.iter().map(|server| format!("http://{}", server.address)).collect();
        let following = follow((urls, access.clone()), "node-a".to_owned(), uplink.clone(), journal, accepted, events);
        let tasks = vec![tokio::spawn(following), tokio::spawn(watch(inbox, upstream, Arc::clone(&seen)))];
        Self { uplink, seen, folder, access, tasks }
    }

    pub fn report(&self, pod: &str, address: &str) {
        self.uplink.report_pod(&PodKey::new("shop", pod), &[address.parse().unwrap()], [2; 6]);
    }

    /// The switch obeys the last frame.
    pub fn obeys_what_it_has(&self) {
        let frame = self.lock().frame.clone().unwrap();
        let said =
            wire::Realised { frame: frame.number, version: Some(frame.version.of_source()), ..Default::default() };
        self.uplink.realised(&frame, said);
    }

    /// Waits until it has what this world says, of its version.
    pub async fn has(&self, world: &World) {
        until(&format!("version {}", world.version), || {
            let seen = self.lock();
            let newest = seen.versions.last().map_or(0, Version::newest_source);
            seen.namespaces == world.namespaces && newest == world.version
        })
        .await;
    }

    pub async fn takes_from(&self, server: Option<&Server>) {
        let url = server.map(|server| format!("http://{}", server.address));
        until("its word of its controller", || self.lock().taken_from == url).await;
    }
    pub async fn released(&self, sequence: u64) {
        until("the release", || self.lock().released == sequence).await;
    }

    /// How many frames replaced everything.
    pub fn replaced(&self) -> usize {
        self.lock().replaced
    }

    /// Of all that was accepted, nothing is older than what was before.
    pub fn never_went_back(&self) {
        for pair in self.lock().versions.windows(2) {
            assert_eq!(pair[1].follows(&pair[0]), Ok(()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn watch(mut inbox: mpsc::Receiver<Event>, mut upstream: Upstream, seen: Arc<Mutex<Seen>>) {
    while let Some(event) = inbox.recv().await {
        let mut seen = seen.lock().unwrap();
        match event {
            Event::Controller { taken_from } => seen.taken_from = taken_from,
            Event::Released { sequence } => seen.released = sequence,
            Event::Frame(frame, _) => {
                let frame = *frame;
                match frame.body {
                    Body::Replace(anew) => {
                        upstream = *anew;
                        seen.replaced += 1;
                    }
                    Body::Update(changes) => {
                        let mut ignored = agent::state::Changed::default();
                        changes.into_iter().for_each(|change| upstream.apply(change, &mut ignored));
                    }
                }
                seen.namespaces = upstream.postures.keys().map(ToString::to_string).collect();
                seen.versions.push(frame.version.clone());
                seen.frame = Some(FrameName { number: frame.number, version: frame.version, stream: frame.stream });
            }
            _ => {}
        }
    }
}
