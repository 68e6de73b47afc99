//! The agent's socket for people and tools (`agent.sock`): HTTP/1.1 requests become queries for the loop, its JSON becomes
//! answers. A trace is the one question that is asked of the switch: the loop makes the packet and names what decided.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use apis::query::{
    ADDRESS_GROUPS_PATH, APPLIED_TO_GROUPS_PATH, FLOWS_PATH, INFO_PATH, NAMES_PATH, NETWORK_POLICIES_PATH, Names,
    OPENFLOW_PATH, OVS_FLOWS_PATH, PODS_PATH, PodInfo, QueryError, REALISED_PATH, RECOMPUTE_PATH, TRACE_PATH,
    TraceAnswer, TraceRequest,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::metrics::{METRICS_PATH, measured};
use super::trace::{self, Packet};
use crate::event::{Event, Narrowed, Query};
use crate::metrics::Metrics;
use crate::ovs::unixctl::Unixctl;

/// Longest request that is read, in bytes.
const REQUEST_LIMIT: usize = 64 * 1024;

/// What is answered to a GET.
const KNOWN: &[&str] = &[
    INFO_PATH,
    REALISED_PATH,
    PODS_PATH,
    FLOWS_PATH,
    OPENFLOW_PATH,
    OVS_FLOWS_PATH,
    NETWORK_POLICIES_PATH,
    APPLIED_TO_GROUPS_PATH,
    ADDRESS_GROUPS_PATH,
    NAMES_PATH,
    METRICS_PATH,
];

/// What answering needs.
#[derive(Clone, Debug)]
pub struct Asked {
    events: mpsc::Sender<Event>,
    bridge: String,
    control: PathBuf,
    /// One open connection: a trace is 0.4 ms, connecting for each would be as much again.
    switch: Arc<Mutex<Option<Unixctl>>>,
    pub(super) metrics: Metrics,
}

impl Asked {
    /// Answers with what the loop and the switch say.
    pub fn new(events: mpsc::Sender<Event>, bridge: &str, control: PathBuf, metrics: Metrics) -> Self {
        Self { events, bridge: bridge.to_owned(), control, switch: Arc::default(), metrics }
    }

    /// The loop has ended.
    pub(super) async fn closed(&self) {
        self.events.closed().await;
    }

    /// What the loop answers.
    pub(super) async fn ask(&self, query: Query) -> Result<Value, Refusal> {
        let ending = |()| (StatusCode::SERVICE_UNAVAILABLE, "the agent is ending".to_owned());
        let (answer, answered) = oneshot::channel();
        self.events.send(Event::Query(query, answer)).await.map_err(|_| ending(()))?;
        let value = answered.await.map_err(|_| ending(()))?;
        match value.get("error").and_then(Value::as_str) {
            Some(error) => Err(bad(error)),
            None => Ok(value),
        }
    }
}

/// Serves the socket until the loop's channel is closed.
pub async fn serve(listener: UnixListener, asked: Asked) {
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
                tracing::warn!(%error, "the agent's socket cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, asked: Asked) {
    let service = service_fn(move |request| {
        let asked = asked.clone();
        async move { Ok::<_, Infallible>(reply(request, &asked).await) }
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the agent's socket ended early");
    }
}

async fn reply(request: Request<Incoming>, asked: &Asked) -> Response<Full<Bytes>> {
    if request.method() == Method::GET && request.uri().path() == METRICS_PATH {
        return measured(asked).await;
    }
    respond(answer(request, asked).await)
}

/// A status and what is wrong.
pub(super) type Refusal = (StatusCode, String);

fn bad(what: impl Into<String>) -> Refusal {
    (StatusCode::BAD_REQUEST, what.into())
}

async fn answer(request: Request<Incoming>, asked: &Asked) -> Result<Value, Refusal> {
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or("").to_owned());
    let method = request.method().clone();
    let body =
        Limited::new(request.into_body(), REQUEST_LIMIT).collect().await.map_err(|error| bad(error.to_string()))?;
    let body = body.to_bytes();
    match (&method, path.as_str()) {
        (&Method::GET, INFO_PATH) => asked.ask(Query::Info).await,
        (&Method::GET, REALISED_PATH) => asked.ask(Query::Realised).await,
        (&Method::GET, PODS_PATH) => asked.ask(Query::Pods).await,
        (&Method::GET, FLOWS_PATH) => {
            let table = parameter(&query, "table");
            let (pod, policy) = (parameter(&query, "pod"), parameter(&query, "policy"));
            asked.ask(Query::Flows { table, pod, policy }).await
        }
        (&Method::GET, OPENFLOW_PATH) => asked.ask(Query::OpenFlow).await,
        (&Method::GET, OVS_FLOWS_PATH) => {
            let table = parameter(&query, "table");
            let (pod, policy) = (parameter(&query, "pod"), parameter(&query, "policy"));
            asked.ask(Query::OvsFlows(Narrowed { table, pod, policy })).await
        }
        (&Method::GET, NETWORK_POLICIES_PATH) => asked.ask(Query::Policies).await,
        (&Method::GET, APPLIED_TO_GROUPS_PATH) => asked.ask(Query::AppliedToGroups).await,
        (&Method::GET, ADDRESS_GROUPS_PATH) => asked.ask(Query::AddressGroups).await,
        (&Method::GET, NAMES_PATH) => {
            let number = parameter(&query, "rule").ok_or_else(|| bad("write ?rule=N with a rule's number"))?;
            let number = number.parse().map_err(|error| bad(format!("rule={number}: {error}")))?;
            asked.ask(Query::Names(number)).await
        }
        (&Method::POST, RECOMPUTE_PATH) => asked.ask(Query::Recompute).await,
        (&Method::POST, TRACE_PATH) => {
            let request: TraceRequest = serde_json::from_slice(&body)
                .map_err(|error| bad(format!("the packet is not described as it has to be: {error}")))?;
            let found = follow(request, asked).await?;
            serde_json::to_value(found).map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
        }
        _ => {
            let known = KNOWN.join(", ");
            let what = format!("{method} {path} is not asked here; GET {known}; POST {TRACE_PATH}, {RECOMPUTE_PATH}");
            Err((StatusCode::NOT_FOUND, what))
        }
    }
}

/// A parameter of the query, with `%XX` and `+` decoded.
fn parameter(query: &str, name: &str) -> Option<String> {
    let (_, text) = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

async fn ask_for<T: DeserializeOwned>(asked: &Asked, query: Query) -> Result<T, Refusal> {
    let value = asked.ask(query).await?;
    serde_json::from_value(value).map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// Follows a packet through the switch, and names what it met.
async fn follow(request: TraceRequest, asked: &Asked) -> Result<TraceAnswer, Refusal> {
    let packet: Packet = ask_for(asked, Query::Packet(request)).await?;
    let text = switch(asked, &packet).await.map_err(|error| (StatusCode::BAD_GATEWAY, error))?;
    let mut found = trace::read(&text).map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))?;
    found.egress = ask_for::<Names>(asked, Query::Names(found.egress.number)).await?;
    found.ingress = ask_for::<Names>(asked, Query::Names(found.ingress.number)).await?;
    if found.outcome == "Delivered" {
        let pods: Vec<PodInfo> = ask_for(asked, Query::Pods).await?;
        found.pod = pods.into_iter().find(|pod| pod.port == found.port).map(|pod| pod.pod);
    }
    Ok(found)
}

async fn switch(asked: &Asked, packet: &Packet) -> Result<String, String> {
    let arguments = [asked.bridge.as_str(), &packet.flow, "--ct-next", &packet.connection];
    let mut kept = asked.switch.lock().await;
    // A kept connection may be one to a vswitchd that is gone: then once more on a new one.
    if let Some(mut open) = kept.take()
        && let Ok(text) = open.call("ofproto/trace", &arguments).await
    {
        *kept = Some(open);
        return Ok(text);
    }
    let mut open = Unixctl::connect(&asked.control).await.map_err(|error| error.to_string())?;
    let text = open.call("ofproto/trace", &arguments).await.map_err(|error| error.to_string())?;
    *kept = Some(open);
    Ok(text)
}

pub(super) fn respond(answer: Result<Value, Refusal>) -> Response<Full<Bytes>> {
    let (status, body) = match answer {
        Ok(value) => (StatusCode::OK, value),
        Err((status, error)) => (status, serde_json::to_value(QueryError { error }).unwrap_or_default()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}
