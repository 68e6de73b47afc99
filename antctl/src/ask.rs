//! Asking a daemon: one HTTP request over its Unix socket, and its answer, within a bounded time.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::command::{Daemon, Places};

/// How long an answer may take; a dump of a hundred thousand flows takes a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Longest answer that is read, in bytes.
const ANSWER_LIMIT: usize = 512 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("nothing answers at {}: {source}; {}", path.display(), next_step(*daemon, source))]
    NoAnswer {
        /// Who was asked.
        daemon: Daemon,
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It listens, and then nothing.
    #[error("{} at {} did not answer {question}: {what}; its log says more", program(*daemon), path.display())]
    Silent {
        /// Who was asked.
        daemon: Daemon,
        /// Where.
        path: PathBuf,
        /// What.
        question: String,
        /// What happened instead.
        what: String,
    },
    /// It answered that it cannot.
    #[error("{0}")]
    Refused(String),
    /// What was asked for is not there.
    #[error("{0}")]
    NotFound(String),
}

fn program(daemon: Daemon) -> &'static str {
    match daemon {
        Daemon::Agent => "ferrant-agent",
        Daemon::Controller => "ferrant-controller",
    }
}

fn next_step(daemon: Daemon, error: &io::Error) -> String {
    let (flag, variable) = match daemon {
        Daemon::Agent => ("--agent-socket", "FERRANT_AGENT_SOCKET"),
        Daemon::Controller => ("--controller-socket", "FERRANT_CONTROLLER_SOCKET"),
    };
    let program = program(daemon);
    if error.kind() == io::ErrorKind::PermissionDenied {
        return format!("the socket is its owner's only: run antctl as the user that {program} runs as (root)");
    }
    let named = match daemon {
        Daemon::Agent => "its socket is agent.sock in its --run-dir",
        Daemon::Controller => "its socket is what its --serve names",
    };
    format!("is {program} running here? {named}: write {flag} PATH or set {variable}")
}

impl AskError {
    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoAnswer { .. } | Self::Silent { .. } => 3,
            Self::Refused(_) | Self::NotFound(_) => 1,
        }
    }
}

/// A daemon that can be asked.
#[derive(Debug)]
pub struct Asked {
    daemon: Daemon,
    path: PathBuf,
}

impl Asked {
    /// The agent.
    pub fn agent(places: &Places) -> Self {
        Self { daemon: Daemon::Agent, path: places.agent_socket.clone() }
    }

    /// The controller.
    pub fn controller(places: &Places) -> Self {
        Self { daemon: Daemon::Controller, path: places.controller_socket.clone() }
    }

    /// Whoever is meant where both could answer.
    pub fn either(places: &Places) -> Self {
        let controller = || places.controller_socket.exists();
        match places.from {
            Some(Daemon::Agent) => Self::agent(places),
            Some(Daemon::Controller) => Self::controller(places),
            None if controller() => Self::controller(places),
            None => Self::agent(places),
        }
    }

    /// The answer to `GET question`.
    pub async fn get<T: DeserializeOwned>(&self, question: &str) -> Result<T, AskError> {
        let silent = |what: String| AskError::Silent {
            daemon: self.daemon,
            path: self.path.clone(),
            question: question.to_owned(),
            what,
        };
        let stream = UnixStream::connect(&self.path).await.map_err(|source| AskError::NoAnswer {
            daemon: self.daemon,
            path: self.path.clone(),
            source,
        })?;
        let exchange = timeout(ANSWER_WITHIN, exchange(stream, question));
        let (status, body) = match exchange.await {
            Ok(answered) => answered.map_err(|error| silent(chain(&*error)))?,
            Err(_) => return Err(silent(format!("nothing came within {} s", ANSWER_WITHIN.as_secs()))),
        };
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|error| {
                silent(format!(
                    "its answer is not understood ({error}); antctl and daemon may be of different versions"
                ))
            });
        }
        let said = serde_json::from_slice::<apis::query::QueryError>(&body).map(|error| error.error);
        let said = said.unwrap_or_else(|_| format!("{question}: status {status}"));
        Err(if status == StatusCode::NOT_FOUND {
            AskError::Refused(format!("{said}; antctl and {} may be of different versions", program(self.daemon)))
        } else {
            AskError::Refused(said)
        })
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}

async fn exchange(
    stream: UnixStream,
    question: &str,
) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(question).header("host", "ferrant").body(Empty::<Bytes>::new())?;
    // The connection's own end is seen by the request that is under way on it.
    let driven = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await?.to_bytes();
    driven.abort();
    Ok((status, body))
}

/// `a/b` as a value in a question.
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    text.bytes().fold(String::new(), |mut text, byte| {
        if plain(byte) {
            text.push(byte.into());
        } else {
            text += &format!("%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded() {
        assert_eq!(encoded("shop/web"), "shop/web");
        assert_eq!(encoded("a b&c=%"), "a%20b%26c%3D%25");
    }
}
