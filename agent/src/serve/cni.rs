//! The socket that the CNI plugin asks: HTTP/1.1 requests become [`CniRequest`]s for the agent's loop, its replies become answers.
//!
//! Nothing is decided here. A request is read, parsed, and put into the loop's channel with a place for the reply; the plugin
//! waits as long as the loop does. When the plugin goes away, the reply has no reader and the loop sees that when it sends.

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use apis::cni::{
    ADD_PATH, AddRequest, AddResult, CONFIRM_PATH, CniError, ConfirmRequest, DELETE_PATH, DelRequest, ErrorCode, Plan,
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

/// Longest request that is read, in bytes. Real ones have a few hundred.
const REQUEST_LIMIT: usize = 64 * 1024;

/// Where the reply goes.
pub type Reply<T> = oneshot::Sender<Result<T, CniError>>;

/// What the plugin asks of the agent's loop.
#[derive(Debug)]
pub enum CniRequest {
    /// Plan and reserve an attachment.
    Add(AddRequest, Reply<Plan>),
    /// The pod's half is made: make the node's, reply when the pod can talk.
    Confirm(ConfirmRequest, Reply<AddResult>),
    /// The pod's half is gone: take the node's away.
    Delete(DelRequest, Reply<()>),
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
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = events.closed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, events.clone(), metrics.clone()));
            }
            Err(error) => {
                // Out of descriptors, most likely: the connections that end give some back.
                tracing::warn!(%error, "the CNI socket cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse<E: From<CniRequest> + Send + 'static>(stream: UnixStream, events: mpsc::Sender<E>, metrics: Metrics) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (events, metrics) = (events.clone(), metrics.clone());
        async move {
            let (path, since) = (request.uri().path().to_owned(), std::time::Instant::now());
            let answer = answer(request, &events).await;
            metrics.cni_answered(&path, answer.as_ref().err(), since.elapsed());
            Ok::<_, Infallible>(respond(answer))
        }
    });
    if let Err(error) = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
    {
        tracing::debug!(%error, "a CNI connection ended early");
    }
}

/// The answer's body, or the error that is its body.
async fn answer<E: From<CniRequest>>(
    request: Request<Incoming>,
    events: &mpsc::Sender<E>,
) -> Result<Vec<u8>, CniError> {
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
    match path.as_str() {
        ADD_PATH => written(&ask(events, CniRequest::Add, read(&path, &body)?).await?),
        CONFIRM_PATH => written(&ask(events, CniRequest::Confirm, read(&path, &body)?).await?),
        DELETE_PATH => {
            ask(events, CniRequest::Delete, read(&path, &body)?).await?;
            Ok(b"{}".to_vec())
        }
        _ => Err(CniError::new(
            ErrorCode::AGENT_FAILED,
            format!("the agent does not know {path}"),
            "plugin and agent may be of different versions",
        )),
    }
}

async fn ask<E: From<CniRequest>, Q, A>(
    events: &mpsc::Sender<E>,
    kind: impl FnOnce(Q, Reply<A>) -> CniRequest,
    request: Q,
) -> Result<A, CniError> {
    let ends = || {
        CniError::new(ErrorCode::TRY_AGAIN_LATER, "the agent is ending", "its successor will answer at the same socket")
    };
    let (reply, answer) = oneshot::channel();
    events.send(E::from(kind(request, reply))).await.map_err(|_| ends())?;
    let answer = answer.await.unwrap_or_else(|_| Err(ends()));
    fault::point("cni.answer.before");
    answer
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
        ErrorCode::TRY_AGAIN_LATER => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::UNDECODABLE | ErrorCode::INVALID_ENVIRONMENT => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
