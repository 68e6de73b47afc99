//! `GET /metrics`: over the agent's socket, and over TCP when `--metrics` names an address, where nothing else is answered.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::query::{Asked, respond};
use crate::event::Query;

/// Where metrics are asked for.
pub const METRICS_PATH: &str = "/metrics";

/// The values, after the loop has looked up what is.
pub(super) async fn measured(asked: &Asked) -> Response<Full<Bytes>> {
    if let Err(refusal) = asked.ask(Query::Measure).await {
        return respond(Err(refusal));
    }
    let mut response = Response::new(Full::new(Bytes::from(asked.metrics.text())));
    let kind = hyper::header::HeaderValue::from_static(metrics::CONTENT_TYPE);
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}

/// Serves metrics alone, until the loop's channel is closed.
pub async fn serve(listener: TcpListener, asked: Asked) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = asked.closed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, asked.clone()));
            }
            Err(error) => {
                // Out of descriptors, most likely: the connections that end give some back.
                tracing::warn!(%error, "the socket for metrics cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, asked: Asked) {
    let service = service_fn(move |request: Request<Incoming>| {
        let asked = asked.clone();
        async move {
            Ok::<_, Infallible>(match (request.method(), request.uri().path()) {
                (&Method::GET, METRICS_PATH) => measured(&asked).await,
                (method, path) => {
                    let what = format!("{method} {path} is not answered here, only GET {METRICS_PATH}");
                    respond(Err((StatusCode::NOT_FOUND, what)))
                }
            })
        }
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection for metrics ended early");
    }
}
