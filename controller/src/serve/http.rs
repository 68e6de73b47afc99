//! Requests to questions, answers to responses.

use std::convert::Infallible;
use std::time::Duration;

use apis::query::{ADDRESS_GROUPS_PATH, APPLIED_TO_GROUPS_PATH, INFO_PATH, NETWORK_POLICIES_PATH};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::query::{Query, RealisedQuestion};
use crate::event::Event;
use crate::metrics::Metrics;
use crate::object::{NodeName, Text};

/// How long `/v1/realised` waits when the request does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest it waits.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// Where metrics are asked for.
const METRICS_PATH: &str = "/metrics";

/// What went wrong with a request.
struct Refusal(StatusCode, String);

pub(super) async fn answer(
    request: Request<Incoming>,
    events: mpsc::Sender<Event>,
    metrics: Metrics,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(route(&request, &events, &metrics).await.unwrap_or_else(|Refusal(status, what)| {
        respond(status, "application/json", json!({ "error": what }).to_string())
    }))
}

/// The same for who may ask for metrics only.
pub(super) async fn answer_metrics(
    request: Request<Incoming>,
    events: mpsc::Sender<Event>,
    metrics: Metrics,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() == Method::GET && request.uri().path() == METRICS_PATH {
        return answer(request, events, metrics).await;
    }
    let what = format!("{} {} is not answered here, only GET {METRICS_PATH}", request.method(), request.uri().path());
    Ok(respond(StatusCode::NOT_FOUND, "application/json", json!({ "error": what }).to_string()))
}

/// The answer to who may ask nothing.
pub(super) fn forbidden(who: &str) -> Response<Full<Bytes>> {
    let what = format!(
        "the certificate is of {who}, and only clients ask; issue one: `ferrant-controller certificates issue --certificates DIR \
         --client NAME --out DIR`"
    );
    respond(StatusCode::FORBIDDEN, "application/json", json!({ "error": what }).to_string())
}

async fn route(
    request: &Request<Incoming>,
    events: &mpsc::Sender<Event>,
    metrics: &Metrics,
) -> Result<Response<Full<Bytes>>, Refusal> {
    const PATHS: &str = "ask GET /v1/info, /v1/known, /v1/realised, /v1/errors, /v1/plan?node=NAME, /v1/networkpolicies, \
        /v1/appliedtogroups, /v1/addressgroups or /metrics";
    if request.method() != Method::GET {
        let what = format!("{} is not answered here; {PATHS}", request.method());
        return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, what));
    }
    let parameters = parameters(request.uri().query().unwrap_or_default())?;
    let json = |value: serde_json::Value| respond(StatusCode::OK, "application/json", value.to_string());
    match request.uri().path() {
        INFO_PATH => listed(&ask(events, Query::Info).await?),
        NETWORK_POLICIES_PATH => listed(&ask(events, Query::Policies).await?),
        APPLIED_TO_GROUPS_PATH => listed(&ask(events, Query::AppliedToGroups).await?),
        ADDRESS_GROUPS_PATH => listed(&ask(events, Query::AddressGroups).await?),
        METRICS_PATH => {
            ask(events, |answer| Query::Measure(metrics.clone(), answer)).await?;
            Ok(respond(StatusCode::OK, metrics::CONTENT_TYPE, metrics.text()))
        }
        "/v1/errors" => Ok(json(ask(events, Query::Errors).await?)),
        "/v1/plan" => {
            let node = find(&parameters, "node").filter(|node| !node.is_empty());
            let node = node.ok_or_else(|| bad("node is missing; write /v1/plan?node=NAME".to_owned()))?;
            let node = NodeName(Text::from(node));
            let text = ask(events, |answer| Query::Plan(node, answer)).await?;
            Ok(respond(StatusCode::OK, "text/plain", text))
        }
        "/v1/known" => known(&parameters, events).await,
        "/v1/realised" => realised(&parameters, events).await,
        other => Err(Refusal(StatusCode::NOT_FOUND, format!("there is no {other}; {PATHS}"))),
    }
}

async fn known(
    parameters: &[(String, String)],
    events: &mpsc::Sender<Event>,
) -> Result<Response<Full<Bytes>>, Refusal> {
    let (version, timeout) = version_and_timeout(parameters)?;
    let wait = ask(events, |answer| Query::Known(version, answer));
    let (status, version) = match tokio::time::timeout(timeout, wait).await {
        Ok(known) => (StatusCode::OK, known?),
        Err(_) => (StatusCode::GATEWAY_TIMEOUT, ask(events, |answer| Query::Known(0, answer)).await?),
    };
    Ok(respond(status, "application/json", json!({ "version": version }).to_string()))
}

fn version_and_timeout(parameters: &[(String, String)]) -> Result<(u64, Duration), Refusal> {
    let number = |name: &str, unit: &str| {
        let parse = |text: &str| {
            text.parse::<u64>().map_err(|_| bad(format!("{name}={text} is not a number; write it in {unit}")))
        };
        find(parameters, name).map(parse).transpose()
    };
    let version = number("version", "nanoseconds since 1970")?.unwrap_or(0);
    let timeout = number("timeout_ms", "milliseconds")?.map_or(DEFAULT_TIMEOUT, Duration::from_millis);
    Ok((version, timeout.min(MAX_TIMEOUT)))
}

async fn realised(
    parameters: &[(String, String)],
    events: &mpsc::Sender<Event>,
) -> Result<Response<Full<Bytes>>, Refusal> {
    let (version, timeout) = version_and_timeout(parameters)?;
    let nodes = find(parameters, "nodes").filter(|nodes| !nodes.is_empty());
    let nodes = nodes.map(|nodes| nodes.split(',').map(str::to_owned).collect());
    let after = find(parameters, "after").unwrap_or_default().split(',').filter(|pair| !pair.is_empty());
    let after = after.map(|pair| {
        let read = pair.rsplit_once(':').and_then(|(node, number)| Some((node.to_owned(), number.parse().ok()?)));
        read.ok_or_else(|| bad(format!("after={pair} is not a node and a sequence; write it as node-a:7,node-b:3")))
    });
    let after = after.collect::<Result<Vec<(String, u64)>, Refusal>>()?;
    let question = RealisedQuestion { version, nodes, after };
    let wait = ask(events, |answer| Query::Realised(question.clone(), answer));
    let (status, body) = match tokio::time::timeout(timeout, wait).await {
        Ok(answer) => (StatusCode::OK, answer?),
        Err(_) => {
            let now = ask(events, |answer| Query::RealisedNow(question, answer)).await?;
            (StatusCode::GATEWAY_TIMEOUT, now)
        }
    };
    let mut response = listed(&body)?;
    *response.status_mut() = status;
    Ok(response)
}

async fn ask<T>(events: &mpsc::Sender<Event>, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Result<T, Refusal> {
    let stopping =
        || Refusal(StatusCode::SERVICE_UNAVAILABLE, "the controller is stopping; ask again later".to_owned());
    let (answer, answered) = oneshot::channel();
    events.send(Event::Query(query(answer))).await.map_err(|_| stopping())?;
    answered.await.map_err(|_| stopping())
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

fn listed(answer: &impl Serialize) -> Result<Response<Full<Bytes>>, Refusal> {
    let body =
        serde_json::to_string(answer).map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(respond(StatusCode::OK, "application/json", body))
}

fn bad(what: String) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, what)
}

fn find<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    parameters.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_str())
}

/// `a=1&b=2`, with `%2C` and the like decoded.
fn parameters(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

fn decoded(text: &str) -> Result<String, Refusal> {
    let refuse = || bad(format!("`{text}` is not a well-formed part of a query; write % as %25"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first == b'%' {
            let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or_else(refuse)?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| refuse())?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let read = parameters("nodes=a%2Cb&version=7&flag").ok().unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read, [pair("nodes", "a,b"), pair("version", "7"), pair("flag", "")]);
    }

    #[test]
    fn a_broken_escape_is_refused() {
        for text in ["%", "%2", "%zz", "%ff"] {
            assert!(decoded(text).is_err(), "{text}");
        }
    }
}
