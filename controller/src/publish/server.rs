//! The gRPC side: streams in, events out. It decides nothing.
//!
//! The service is written by hand, where the generated one would do, for the sake of its codec: frames are put together from
//! encoded changes (`frame`).

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use apis::stream::{FromAgent, Hello, Welcome, from_agent};
use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::codegen::{Body, BoxFuture, Context, Poll, Service, StdError, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tracing::warn;

use super::frame::{ControlCodec, Outgoing};
use super::session::{Failure, RealisedFrame};
use crate::event::{AgentEvent, Connected, Event, SessionId};
use crate::object::{NodeName, PodKey, Text};
use crate::state::PodReport;

/// The version of the protocol that is spoken here.
pub const PROTOCOL_VERSION: u32 = 1;

/// The service that agents call.
#[derive(Clone)]
pub struct ControlService {
    events: mpsc::Sender<Event>,
    sessions: Arc<AtomicU64>,
    name: Arc<str>,
}

impl ControlService {
    /// A service whose streams become events; `name` tells agents which controller they talk to.
    pub fn new(events: mpsc::Sender<Event>, name: &str) -> Self {
        Self { events, sessions: Arc::default(), name: Arc::from(name) }
    }

    /// Opens a stream: what goes down it. The agent need not have said anything yet.
    fn open(&self, incoming: Streaming<FromAgent>) -> impl Stream<Item = Result<Outgoing, Status>> + Send + use<> {
        let (frames, outgoing) = mpsc::unbounded_channel();
        let session = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        tokio::spawn(converse(session, incoming, frames, self.events.clone(), Arc::clone(&self.name)));
        UnboundedReceiverStream::new(outgoing).map(|item| match item {
            Outgoing::End(status) => Err(status),
            item => Ok(item),
        })
    }
}

async fn converse(
    session: SessionId,
    mut incoming: Streaming<FromAgent>,
    frames: mpsc::UnboundedSender<Outgoing>,
    events: mpsc::Sender<Event>,
    name: Arc<str>,
) {
    let connected = match incoming.message().await {
        Ok(Some(FromAgent { message: Some(from_agent::Message::Hello(hello)) })) => greeted(hello, frames.clone()),
        Ok(_) => {
            Err(Status::invalid_argument("the first message of a stream must be Hello; send it, with the node's name"))
        }
        Err(status) => Err(status),
    };
    let connected = match connected {
        Ok(connected) => connected,
        Err(status) => {
            warn!(%status, "an agent was refused");
            // The stream may be gone already: then nobody is left to tell.
            let _ = frames.send(Outgoing::End(status));
            return;
        }
    };
    let node = connected.node.clone();
    let _ = frames.send(Outgoing::Welcome(Welcome { version: PROTOCOL_VERSION, controller: name.to_string() }));
    drop(frames); // from here on only the session sends, and dropping it ends the stream
    if events.send(Event::Agent(session, AgentEvent::Connected(connected))).await.is_ok() {
        listen(session, node, incoming, events).await;
    }
}

/// Passes on what an agent says until its stream ends.
async fn listen(session: SessionId, node: NodeName, mut incoming: Streaming<FromAgent>, events: mpsc::Sender<Event>) {
    loop {
        let event = match incoming.message().await {
            Ok(Some(FromAgent { message: Some(message) })) => match heard(&node, message) {
                Some(event) => event,
                None => continue,
            },
            Ok(Some(FromAgent { message: None })) => {
                warn!(%node, "an agent says something this version does not know; ignored");
                continue;
            }
            Ok(None) => AgentEvent::Gone,
            Err(status) => {
                tracing::debug!(%node, %status, "stream failed");
                AgentEvent::Gone
            }
        };
        let gone = matches!(event, AgentEvent::Gone);
        if events.send(Event::Agent(session, event)).await.is_err() || gone {
            return;
        }
    }
}

fn heard(node: &NodeName, message: from_agent::Message) -> Option<AgentEvent> {
    match message {
        from_agent::Message::Hello(_) => {
            warn!(%node, "an agent says Hello twice on one stream; the second is ignored");
            None
        }
        from_agent::Message::Pod(report) => pod_report(node, report).map(AgentEvent::Pod),
        from_agent::Message::Acknowledge(acknowledge) => Some(AgentEvent::Acknowledged(acknowledge.frame)),
        from_agent::Message::Realised(realised) => {
            let mut failures: Vec<Failure> = realised
                .failures
                .into_iter()
                .map(|failure| Failure { object: failure.object, reason: failure.reason })
                .collect();
            failures.sort();
            let version = realised.version.map_or(0, |version| oldest(&version));
            Some(AgentEvent::Realised(RealisedFrame { frame: realised.frame, version, failures }))
        }
    }
}

fn greeted(hello: Hello, frames: mpsc::UnboundedSender<Outgoing>) -> Result<Connected, Status> {
    if hello.node.is_empty() {
        return Err(Status::invalid_argument("Hello.node is empty; start the agent with its node's name"));
    }
    if !hello.versions.contains(&PROTOCOL_VERSION) {
        let spoken = hello.versions;
        let message = format!(
            "the agent of node {} speaks protocol versions {spoken:?}, this controller speaks {PROTOCOL_VERSION}; upgrade the older of the two",
            hello.node
        );
        return Err(Status::failed_precondition(message));
    }
    let node = NodeName(Text::from(hello.node.as_str()));
    let pods = hello.pods.into_iter().filter_map(|report| pod_report(&node, report)).collect();
    let last = hello.last.unwrap_or_default();
    let seen = last.nodes.iter();
    let seen = seen.map(|(name, at)| (NodeName(Text::from(name.as_str())), at.boot.clone(), at.sequence)).collect();
    Ok(Connected { node, boot: hello.boot, last: oldest(&last), seen, pods, frames })
}

/// The version up to which all kinds are known. In a directory they are all the same.
fn oldest(version: &apis::stream::Version) -> u64 {
    version.source.values().copied().min().unwrap_or(0)
}

/// A report as the state keeps it; None, and a word in the log, for one that cannot be read.
fn pod_report(node: &NodeName, report: apis::stream::PodReport) -> Option<PodReport> {
    let pod = PodKey { namespace: Text::from(report.namespace.as_str()), name: Text::from(report.name.as_str()) };
    let mut addresses: Vec<IpAddr> = Vec::with_capacity(report.addresses.len());
    for bytes in &report.addresses {
        if let Ok(octets) = <[u8; 4]>::try_from(&bytes[..]) {
            addresses.push(octets.into());
        } else if let Ok(octets) = <[u8; 16]>::try_from(&bytes[..]) {
            addresses.push(octets.into());
        } else {
            let length = bytes.len();
            warn!(%node, %pod, length, "an agent reports an address that has neither 4 nor 16 bytes; the report is refused");
            return None;
        }
    }
    addresses.sort_by_key(IpAddr::is_ipv6);
    Some(PodReport { sequence: report.sequence, pod, addresses: addresses.into_boxed_slice() })
}

impl NamedService for ControlService {
    const NAME: &'static str = "ferrant.v1.Control";
}

impl<B> Service<http::Request<B>> for ControlService
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let method = StreamMethod(self.clone());
        Box::pin(async move {
            if request.uri().path() != "/ferrant.v1.Control/Stream" {
                return Ok(Status::unimplemented("this controller serves ferrant.v1.Control/Stream only").into_http());
            }
            Ok(Grpc::new(ControlCodec).streaming(method, request).await)
        })
    }
}

struct StreamMethod(ControlService);

impl StreamingService<FromAgent> for StreamMethod {
    type Response = Outgoing;
    type ResponseStream = std::pin::Pin<Box<dyn Stream<Item = Result<Outgoing, Status>> + Send>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<FromAgent>>) -> Self::Future {
        let outgoing = Box::pin(self.0.open(request.into_inner())) as Self::ResponseStream;
        Box::pin(async move { Ok(Response::new(outgoing)) })
    }
}
