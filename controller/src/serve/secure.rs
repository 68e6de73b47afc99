//! The port that is reached over the network: TLS, both ends with a certificate of the cluster's CA.
//!
//! ```text
//!  TCP ─► handshake, many at once ─┬ h2 (agents) ──────────► gRPC, which asks whose the certificate is (publish::admission)
//!                                  └ http/1.1 (antctl) ────► the answers of the Unix socket, to clients only
//! ```
//!
//! Which of the two it is to be, the handshake says (ALPN, RFC 7301).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use certificates::{Acceptor, Role};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::server::TlsStream;
use tracing::{debug, error, info, warn};

use super::http;
use crate::event::Event;
use crate::metrics::Metrics;

/// How many handshakes may be under way.
const HANDSHAKES: usize = 256;
/// How long after what failed (an accept, a renewal) it is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// Between two looks at the own certificate at most: clocks are set, and sleeps do not know.
const LOOK: Duration = Duration::from_secs(60);

/// A connection on which an agent speaks, whoever it is.
pub type Agent = TlsStream<TcpStream>;

/// Accepts until the process ends: agents are passed on, clients answered.
pub async fn accept(
    listener: TcpListener,
    acceptor: Acceptor,
    agents: mpsc::Sender<std::io::Result<Agent>>,
    events: mpsc::Sender<Event>,
    metrics: Metrics,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of file descriptors, most likely: only time (an open connection that ends) helps, and nothing tells of it.
            tokio::time::sleep(RETRY).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (acceptor, agents, events, metrics) = (acceptor.clone(), agents.clone(), events.clone(), metrics.clone());
        tokio::spawn(async move {
            let accepted = acceptor.accept(stream).await;
            drop(permit);
            match accepted {
                Err(refused) => {
                    metrics.connections_refused.inc();
                    warn!(%peer, %refused, "a connection is refused");
                }
                Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => drop(agents.send(Ok(stream)).await),
                Ok(stream) => answer(stream, events, metrics).await,
            }
        });
    }
}

async fn answer(stream: Agent, events: mpsc::Sender<Event>, metrics: Metrics) {
    let role = Acceptor::peer(&stream);
    let is_client = matches!(role, Some(Role::Client(_)));
    let who = role.map_or_else(|| "nobody".to_owned(), |role| role.to_string());
    let answer = move |request| {
        let (who, events, metrics) = (who.clone(), events.clone(), metrics.clone());
        async move { if is_client { http::answer(request, events, metrics).await } else { Ok(http::forbidden(&who)) } }
    };
    let service = hyper::service::service_fn(answer);
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
        debug!(%error, "a connection of a client failed");
    }
}

/// Renews the controller's own certificate whenever it is time, as long as the process runs. Connections that stand keep the one
/// that they were made with.
pub async fn renew(acceptor: Acceptor, metrics: Metrics) {
    let mut failed = false;
    loop {
        let until = acceptor.validity().until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        metrics.certificate_until_seconds.set(i64::try_from(until).unwrap_or(i64::MAX));
        let wait = acceptor.validity().renew_at().duration_since(SystemTime::now()).unwrap_or_default();
        tokio::time::sleep(wait.clamp(RETRY, LOOK)).await;
        match acceptor.renew_own() {
            Ok(renewed) => {
                if renewed {
                    info!(until = acceptor.validity().until_text(), "the controller's own certificate is renewed");
                }
                failed = false;
            }
            Err(error) => {
                // Said once, however often it is tried.
                if !std::mem::replace(&mut failed, true) {
                    error!(%error, "the controller's own certificate is not renewed; it is tried again");
                }
            }
        }
    }
}
