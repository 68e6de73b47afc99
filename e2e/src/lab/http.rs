//! HTTP/1.1 over a unix socket: how the daemons are asked.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// An answer: its status and its body.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, whatever it is.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; an error unless the status is 200.
    pub fn json(&self) -> Result<Value> {
        ensure!(self.status == 200, "status {}: {}", self.status, self.text());
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a series (name and labels, as Prometheus' text format writes them) in an answer to `GET /metrics`; none when it
    /// is not there.
    pub fn sample(&self, series: &str) -> Option<f64> {
        let text = self.text();
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }
}

/// `GET path`.
pub async fn get(socket: &Path, path: &str, limit: Duration) -> Result<Answer> {
    exchange(socket, Method::GET, path, String::new(), limit).await
}

/// `POST path` with a JSON body.
pub async fn post(socket: &Path, path: &str, body: &Value, limit: Duration) -> Result<Answer> {
    exchange(socket, Method::POST, path, body.to_string(), limit).await
}

async fn exchange(socket: &Path, method: Method, path: &str, body: String, limit: Duration) -> Result<Answer> {
    let what = || format!("{method} {path} on {}", socket.display());
    match tokio::time::timeout(limit, send(socket, method.clone(), path, body)).await {
        Ok(answer) => answer.with_context(what),
        Err(_) => bail!("{}: no answer within {} s", what(), limit.as_secs_f32()),
    }
}

async fn send(socket: &Path, method: Method, path: &str, body: String) -> Result<Answer> {
    let stream = UnixStream::connect(socket).await.context("cannot connect")?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::<Bytes>::from(body))?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes().to_vec();
        anyhow::Ok(Answer { status, body })
    };
    // The connection moves the bytes; it lives as long as the exchange.
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = connection => {
            ended?;
            exchange.await
        }
    }
}
