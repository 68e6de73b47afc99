//! The gRPC side: streams in, events out. It decides nothing.
//!
//! The service is written by hand, where the generated one would do, for the sake of its codec: frames are put together from
//! encoded changes (`frame`).

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use apis::stream::{FromAgent, from_agent};
use futures::Stream;
use tokio::sync::mpsc;
use tonic::codegen::{Body, BoxFuture, Context, Poll, Service, StdError, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tracing::warn;

use super::admission::{Admission, Admitted};
use super::frame::{ControlCodec, Outgoing};
use super::greeting::{greeted, heard};
use super::outbox::{Answers, Drain, Outbox, outbox};
use crate::event::{AgentEvent, Event, SessionId};
use crate::object::NodeName;

/// The versions of the protocol that are spoken here, newest first.
pub const PROTOCOL_VERSIONS: [u32; 2] = [2, 1];

/// The service that agents call.
#[derive(Clone)]
pub struct ControlService {
    events: mpsc::Sender<Event>,
    admission: Admission,
    sessions: Arc<AtomicU64>,
}

impl ControlService {
    /// A service whose streams become events.
    pub fn new(events: mpsc::Sender<Event>, admission: Admission) -> Self {
        Self { events, admission, sessions: Arc::default() }
    }

    /// Opens a stream: what goes down it. The agent need not have said anything yet.
    fn open(&self, incoming: Streaming<FromAgent>, admitted: Admitted) -> Drain {
        let (outbox, drain) = outbox();
        let session = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        tokio::spawn(converse(session, incoming, admitted, outbox, self.events.clone()));
        drain
    }
}

async fn converse(
    session: SessionId,
    mut incoming: Streaming<FromAgent>,
    admitted: Admitted,
    outbox: Outbox,
    events: mpsc::Sender<Event>,
) {
    let answers = outbox.answers();
    let connected = match incoming.message().await {
        Ok(Some(FromAgent { message: Some(from_agent::Message::Hello(hello)) })) => {
            match admitted.may_greet(&hello.node) {
                Ok(()) => greeted(hello, outbox),
                Err(status) => Err((outbox, status)),
            }
        }
        Ok(_) => {
            let what = "the first message of a stream must be Hello; send it, with the node's name";
            Err((outbox, Status::invalid_argument(what)))
        }
        Err(status) => Err((outbox, status)),
    };
    let connected = match connected {
        Ok(connected) => connected,
        Err((outbox, status)) => {
            warn!(%status, "an agent was refused");
            outbox.end(status);
            return;
        }
    };
    let agent = Agent { session, node: connected.node.clone(), admitted, answers };
    // From here on only the session sends (answers aside), and dropping it ends the stream.
    if events.send(Event::Agent(session, AgentEvent::Connected(connected))).await.is_ok() {
        agent.listen(incoming, events).await;
    }
}

/// Who speaks.
struct Agent {
    session: SessionId,
    node: NodeName,
    admitted: Admitted,
    answers: Answers,
}

impl Agent {
    /// Passes on what it says until its stream ends.
    async fn listen(self, mut incoming: Streaming<FromAgent>, events: mpsc::Sender<Event>) {
        let node = &self.node;
        loop {
            let event = match incoming.message().await {
                Ok(Some(FromAgent { message: Some(from_agent::Message::Renew(renew)) })) => {
                    self.answers.renewed(self.admitted.renew(&renew.request));
                    continue;
                }
                Ok(Some(FromAgent { message: Some(message) })) => match heard(node, message) {
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
            if events.send(Event::Agent(self.session, event)).await.is_err() || gone {
                return;
            }
        }
    }
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
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path() != "/ferrant.v1.Control/Stream" {
                return Ok(Status::unimplemented("this controller serves ferrant.v1.Control/Stream only").into_http());
            }
            match service.admission.admit(request.extensions()) {
                Ok(admitted) => {
                    Ok(Grpc::new(ControlCodec).streaming(StreamMethod { service, admitted }, request).await)
                }
                Err(status) => {
                    warn!(%status, "a connection that is no agent's opens a stream; it is refused");
                    Ok(status.into_http())
                }
            }
        })
    }
}

struct StreamMethod {
    service: ControlService,
    admitted: Admitted,
}

impl StreamingService<FromAgent> for StreamMethod {
    type Response = Outgoing;
    type ResponseStream = std::pin::Pin<Box<dyn Stream<Item = Result<Outgoing, Status>> + Send>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<FromAgent>>) -> Self::Future {
        let outgoing = self.service.open(request.into_inner(), self.admitted.clone());
        let outgoing = Box::pin(outgoing) as Self::ResponseStream;
        Box::pin(async move { Ok(Response::new(outgoing)) })
    }
}
