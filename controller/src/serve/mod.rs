//! Answers questions over a unix socket, and over TLS to clients: HTTP/1.1, JSON. It asks the loop and prints; it knows nothing
//! itself.
//!
//! - `GET /v1/info`: how far the source is, what there is, who is connected.
//! - `GET /v1/known?version=NS&timeout_ms=N`: answers once everything in the source up to `version` has been taken in.
//! - `GET /v1/realised?version=NS&nodes=a,b&timeout_ms=N`: answers once those nodes (default: all connected) have realised a
//!   frame whose source version is at least `version`; 504 with the same body when the time is up. With
//!   `&after=node-a:7,node-b:3` also not before these reports of these nodes (by sequence) are realised by all who need them.
//! - `GET /v1/errors`: what is wrong with the source, and which reports of agents do not count.
//! - `GET /v1/plan?node=NAME`: what a node needs, as text.
//! - `GET /v1/networkpolicies`, `/v1/appliedtogroups`, `/v1/addressgroups`: what was planned, by policy and by group.
//! - `GET /metrics`: for Prometheus; the only thing answered over plain TCP, where `--metrics` names an address.

mod http;
mod query;
pub mod secure;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::{fs, io};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;

use crate::event::Event;
use crate::metrics::Metrics;
pub use query::{Answers, Query, RealisedAnswer, RealisedQuestion};

/// How long after a failed accept the next is tried.
const RETRY: std::time::Duration = std::time::Duration::from_millis(100);

/// Opens the socket, for its owner only; takes over the file that a process that has ended left behind.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(error);
            }
            fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        other => other?,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers until the process ends.
pub async fn serve(listener: UnixListener, events: mpsc::Sender<Event>, metrics: Metrics) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: only time (an open connection that ends) helps, and nothing tells of it.
            tokio::time::sleep(RETRY).await;
            continue;
        };
        let (events, metrics) = (events.clone(), metrics.clone());
        let answer = move |request| http::answer(request, events.clone(), metrics.clone());
        let service = hyper::service::service_fn(answer);
        tokio::spawn(async move {
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a connection of the query socket failed");
            }
        });
    }
}

/// Answers for metrics alone, until the process ends.
pub async fn serve_metrics(listener: TcpListener, events: mpsc::Sender<Event>, metrics: Metrics) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // As above.
            tokio::time::sleep(RETRY).await;
            continue;
        };
        let (events, metrics) = (events.clone(), metrics.clone());
        let answer = move |request| http::answer_metrics(request, events.clone(), metrics.clone());
        let service = hyper::service::service_fn(answer);
        tokio::spawn(async move {
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a connection for metrics failed");
            }
        });
    }
}
