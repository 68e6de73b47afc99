//! A controller that sends the frames that a test gives it and remembers what the agent says.

use std::sync::{Arc, Mutex};

use apis::stream::control_server::{Control, ControlServer};
use apis::stream::{self as wire, from_agent, from_controller};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::Namespace;

/// What the agent said.
#[derive(Default)]
pub struct Heard {
    pub hellos: Vec<wire::Hello>,
    pub pods: Vec<wire::PodReport>,
    pub acknowledged: Vec<u64>,
    pub realised: Vec<wire::Realised>,
    pub takes: Vec<wire::Take>,
}

/// The controller.
pub struct Controller {
    pub port: u16,
    pub heard: Arc<Mutex<Heard>>,
    shared: Arc<Mutex<Shared>>,
    server: tokio::task::JoinHandle<()>,
}

/// What a stream starts with, and where more goes.
#[derive(Default)]
struct Shared {
    /// Everything said so far, as parts of frames: who takes gets it all in one replacing frame.
    number: u64,
    state: Vec<wire::Change>,
    version: u64,
    streams: Vec<Stream>,
}

type Sender = mpsc::UnboundedSender<Result<wire::FromController, Status>>;

struct Stream {
    sender: Sender,
    /// The number of the Take; none while it only listens.
    take: Option<u64>,
}

impl Shared {
    fn head(&self, sender: &Sender) -> bool {
        let head = wire::Head { version: Some(version(self.version)), number: self.number, complete: false };
        let head = from_controller::Message::Head(head);
        sender.send(Ok(wire::FromController { message: Some(head) })).is_ok()
    }
}

struct Service {
    heard: Arc<Mutex<Heard>>,
    shared: Arc<Mutex<Shared>>,
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
        let heard = self.heard.clone();
        let shared = self.shared.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = incoming.next().await {
                match message.message {
                    Some(from_agent::Message::Hello(hello)) => {
                        heard.lock().unwrap().hellos.push(hello);
                        let welcome = wire::Welcome { version: 2, controller: "test".into(), ..Default::default() };
                        let welcome = from_controller::Message::Welcome(welcome);
                        let _ = sender.send(Ok(wire::FromController { message: Some(welcome) }));
                        let mut shared = shared.lock().unwrap();
                        if shared.number > 0 {
                            shared.head(&sender);
                        }
                        shared.streams.push(Stream { sender: sender.clone(), take: None });
                    }
                    Some(from_agent::Message::Take(take)) => {
                        let mut shared = shared.lock().unwrap();
                        for frame in parts(shared.number, true, take.number, shared.state.clone(), shared.version) {
                            let _ = sender.send(Ok(frame));
                        }
                        for stream in shared.streams.iter_mut().filter(|stream| stream.sender.same_channel(&sender)) {
                            stream.take = Some(take.number);
                        }
                        heard.lock().unwrap().takes.push(take);
                    }
                    Some(from_agent::Message::Pod(pod)) => heard.lock().unwrap().pods.push(pod),
                    Some(from_agent::Message::Acknowledge(done)) => heard.lock().unwrap().acknowledged.push(done.frame),
                    Some(from_agent::Message::Realised(realised)) => heard.lock().unwrap().realised.push(realised),
                    _ => {}
                }
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(receiver)))
    }
}

fn version(source: u64) -> wire::Version {
    wire::Version { every: source, whole: true, ..wire::Version::default() }
}

/// A frame in parts of a thousand changes.
fn parts(number: u64, replace: bool, take: u64, changes: Vec<wire::Change>, source: u64) -> Vec<wire::FromController> {
    let mut pieces: Vec<Vec<wire::Change>> = changes.chunks(1000).map(<[_]>::to_vec).collect();
    if pieces.is_empty() {
        pieces.push(Vec::new());
    }
    let last = pieces.len() - 1;
    pieces
        .into_iter()
        .enumerate()
        .map(|(index, changes)| {
            let frame = wire::Frame {
                number,
                replace: replace && index == 0,
                changes,
                last: index == last,
                version: (index == last).then(|| version(source)),
                take,
            };
            wire::FromController { message: Some(from_controller::Message::Frame(frame)) }
        })
        .collect()
}

impl Controller {
    pub async fn listen(namespace: &Namespace) -> Self {
        let listener = namespace.inside(|| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
        let (heard, shared) = (Arc::<Mutex<Heard>>::default(), Arc::<Mutex<Shared>>::default());
        let service = Service { heard: heard.clone(), shared: shared.clone() };
        let server = tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_service(ControlServer::new(service))
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        Self { port, heard, shared, server }
    }

    /// Nobody listens any more.
    pub fn stop(&self) {
        self.server.abort();
    }

    /// Says that all other nodes have heard the agent's reports up to this one.
    pub fn release(&self, sequence: u64) {
        let message =
            || wire::FromController { message: Some(from_controller::Message::Released(wire::Released { sequence })) };
        for stream in &self.shared.lock().unwrap().streams {
            let _ = stream.sender.send(Ok(message()));
        }
    }

    /// Says this in one frame; its number.
    pub fn say(&self, changes: Vec<wire::Change>) -> u64 {
        let mut shared = self.shared.lock().unwrap();
        shared.number += 1;
        shared.version += 1;
        shared.state.extend(changes.clone());
        let (number, version) = (shared.number, shared.version);
        let mut streams = std::mem::take(&mut shared.streams);
        streams.retain(|stream| match stream.take {
            None => shared.head(&stream.sender),
            Some(take) => parts(number, false, take, changes.clone(), version)
                .into_iter()
                .all(|part| stream.sender.send(Ok(part)).is_ok()),
        });
        shared.streams = streams;
        number
    }
}
