//! The socket that the CNI plugin asks: HTTP/1.1 requests become [`CniRequest`]s for the agent's loop, its replies become answers.
//!
//! Nothing is decided here. A request is read, parsed, and put into the loop's channel with a place for the reply; the plugin
//! waits as long as the loop does. A plugin asks on one connection for as long as it lives: the loop is told of the end of one that
//! asked for an attachment, so a plugin that was killed half-way leaves nothing.

#![allow(clippy::disallowed_methods, reason = "a wrapper: the sockets that are served")]

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use apis::cni::{
    ADD_PATH, AddRequest, AddResult, CHECK_PATH, COLLECT_PATH, CONFIRM_PATH, CheckRequest, CniError, CollectRequest,
    ConfirmRequest, DELETE_PATH, DelRequest, ErrorCode, Plan, STATUS_PATH,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::metrics::Metrics;

/// Longest request that is read, in bytes. Real ones have a few hundred; GC lists every attachment of the node.
const REQUEST_LIMIT: usize = 1 << 20;

/// Where the reply goes.
pub type Reply<T> = oneshot::Sender<Result<T, CniError>>;

/// One plugin's connection. Counts from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session(pub u64);

/// What the plugin asks of the agent's loop.
#[derive(Debug)]
pub enum CniRequest {
    /// Plan and reserve an attachment.
    Add(AddRequest, Session, Reply<Plan>),
    /// The pod's half is made: make the node's, reply when the pod can talk.
    Confirm(ConfirmRequest, Session, Reply<AddResult>),
    /// The container has ended: take the node's half away.
    Delete(DelRequest, Reply<()>),
    /// Is it as it was made?
    Check(CheckRequest, Reply<Plan>),
    /// What is not valid any more is to go.
    Collect(CollectRequest, Reply<()>),
    /// Can an attachment be made?
    Status(Reply<()>),
    /// The connection on which an attachment was asked for has ended.
    Ended {
        /// Whose it was.
        session: Session,
        /// A confirmation was answered with success on it. A reply that came when the plugin was gone already answers nobody.
        confirmed: bool,
    },
}

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process answers there.
    #[error("{0} is served by another process; one agent a node, or another --run-dir")]
    Served(PathBuf),
    /// The file system said no.
    #[error("cannot listen at {path}: {source}")]
    Refused {
        /// The socket's path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Listens at a path, for root alone. A socket file that nobody serves any more is replaced.
pub fn listen(path: &Path) -> Result<UnixListener, ListenError> {
    let refused = |source| ListenError::Refused { path: path.to_owned(), source };
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => return Err(ListenError::Served(path.to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(refused)?;
            fault::point("socket.stale.removed");
        }
        // Nothing there; anything else is told by the bind.
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(refused)?;
    fault::point("socket.bind.done");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(refused)?;
    Ok(listener)
}

/// Serves the socket until the loop's channel is closed. Each connection has a task, so that a pod that waits delays no other.
pub async fn serve<E: From<CniRequest> + Send + 'static>(
    listener: UnixListener,
    events: mpsc::Sender<E>,
    metrics: Metrics,
) {
    let mut sessions = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = events.closed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                sessions += 1;
                tokio::spawn(converse(stream, Session(sessions), events.clone(), metrics.clone()));
            }
            Err(error) => {
                // Out of descriptors, most likely: the connections that end give some back.
                tracing::warn!(%error, "the CNI socket cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse<E: From<CniRequest> + Send + 'static>(
    stream: UnixStream,
    session: Session,
    events: mpsc::Sender<E>,
    metrics: Metrics,
) {
    let plugin = Plugin { session, attaches: AtomicBool::new(false), confirmed: AtomicBool::new(false), events };
    let service = service_fn(|request: Request<Incoming>| {
        let (plugin, metrics) = (&plugin, &metrics);
        async move {
            let (path, since) = (request.uri().path().to_owned(), std::time::Instant::now());
            let answer = plugin.answer(request).await;
            metrics.cni_answered(&path, answer.as_ref().err(), since.elapsed());
            Ok::<_, Infallible>(respond(answer))
        }
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = &served {
        tracing::debug!(%error, "a CNI connection ended early");
    }
    if plugin.attaches.load(Ordering::Relaxed) {
        // A loop that has ended needs to know of nobody.
        // An answer that was not taken ends the connection with an error (EPIPE, or ECONNRESET when it was not read).
        let confirmed = served.is_ok() && plugin.confirmed.load(Ordering::Relaxed);
        let _ = plugin.events.send(E::from(CniRequest::Ended { session, confirmed })).await;
    }
}

/// A plugin that is connected.
struct Plugin<E> {
    session: Session,
    /// It has asked for an attachment.
    attaches: AtomicBool,
    /// The loop has confirmed what it was attached.
    confirmed: AtomicBool,
    events: mpsc::Sender<E>,
}

impl<E: From<CniRequest>> Plugin<E> {
    /// The answer's body, or the error that is its body.
    async fn answer(&self, request: Request<Incoming>) -> Result<Vec<u8>, CniError> {
        let path = request.uri().path().to_owned();
        if request.method() != Method::POST {
            return Err(CniError::new(
                ErrorCode::AGENT_FAILED,
                format!("{} {path} is not a request of the CNI plugin", request.method()),
                "its requests are POSTs",
            ));
        }
        let body = Limited::new(request.into_body(), REQUEST_LIMIT).collect().await.map_err(|error| {
            CniError::new(ErrorCode::UNDECODABLE, format!("the request {path} cannot be read"), error.to_string())
        })?;
        let body = body.to_bytes();
        fault::point("cni.request.read");
        let nothing = |()| Ok(b"{}".to_vec());
        match path.as_str() {
            ADD_PATH => {
                let request = read(&path, &body)?;
                self.attaches.store(true, Ordering::Relaxed);
                written(&self.ask(|reply| CniRequest::Add(request, self.session, reply)).await?)
            }
            CONFIRM_PATH => {
                let request = read(&path, &body)?;
                let result = self.ask(|reply| CniRequest::Confirm(request, self.session, reply)).await?;
                self.confirmed.store(true, Ordering::Relaxed);
                written(&result)
            }
            DELETE_PATH => {
                let request = read(&path, &body)?;
                self.ask(|reply| CniRequest::Delete(request, reply)).await.and_then(nothing)
            }
            CHECK_PATH => {
                let request = read(&path, &body)?;
                written(&self.ask(|reply| CniRequest::Check(request, reply)).await?)
            }
            COLLECT_PATH => {
                let request = read(&path, &body)?;
                self.ask(|reply| CniRequest::Collect(request, reply)).await.and_then(nothing)
            }
            STATUS_PATH => self.ask(CniRequest::Status).await.and_then(nothing),
            _ => Err(CniError::new(
                ErrorCode::AGENT_FAILED,
                format!("the agent does not know {path}"),
                "plugin and agent may be of different versions",
            )),
        }
    }

    async fn ask<A>(&self, kind: impl FnOnce(Reply<A>) -> CniRequest) -> Result<A, CniError> {
        let ends = || {
            let message = "the agent is ending";
            CniError::new(ErrorCode::TRY_AGAIN_LATER, message, "its successor will answer at the same socket")
        };
        let (reply, answer) = oneshot::channel();
        self.events.send(E::from(kind(reply))).await.map_err(|_| ends())?;
        let answer = answer.await.unwrap_or_else(|_| Err(ends()));
        fault::point("cni.answer.before");
        answer
    }
}

fn read<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, CniError> {
    serde_json::from_slice(body).map_err(|error| {
        CniError::new(ErrorCode::UNDECODABLE, format!("the request {path} cannot be decoded"), error.to_string())
    })
}

fn written(answer: &impl Serialize) -> Result<Vec<u8>, CniError> {
    serde_json::to_vec(answer)
        .map_err(|error| CniError::new(ErrorCode::AGENT_FAILED, "the answer cannot be written", error.to_string()))
}

fn respond(answer: Result<Vec<u8>, CniError>) -> Response<Full<Bytes>> {
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        // An error is plain data and always has a text.
        Err(error) => (status(&error), serde_json::to_vec(&error).unwrap_or_default()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}

fn status(error: &CniError) -> StatusCode {
    match error.code {
        ErrorCode::TRY_AGAIN_LATER | ErrorCode::NOT_AVAILABLE | ErrorCode::LIMITED_CONNECTIVITY => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorCode::UNDECODABLE | ErrorCode::INVALID_ENVIRONMENT => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
