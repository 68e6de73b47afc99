//! Asking a daemon: one HTTP request over its Unix socket, or over TLS, and its answer, within a bounded time.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use certificates::{CertificateError, Connected, Identity, Refusal, Refused, Role};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::command::{Daemon, Places};

/// How long an answer may take; a dump of a hundred thousand flows takes a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long a server may take to be there.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
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
    /// Nobody listens there.
    #[error(
        "nothing answers at {server}: {source}; is ferrant-controller running there, with --listen at that address and port, and does the \
         network let you through?"
    )]
    NoServer {
        /// Where.
        server: String,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody's certificate does not do.
    #[error("no answer from {server}: {refused}")]
    NotTrusted {
        /// Where.
        server: String,
        /// Why.
        refused: Refused,
    },
    /// No certificate to show.
    #[error(
        "--server {0} needs --certificates DIR (or FERRANT_CERTIFICATES): your folder with ca.crt and identity.pem; have it issued where the CA \
         is: `ferrant-controller certificates issue --certificates CA-DIR --client NAME --out DIR`"
    )]
    NoCertificates(String),
    /// A certificate that is none.
    #[error("--certificates {0}")]
    Certificates(CertificateError),
    /// It listens, and then nothing.
    #[error("{} at {place} did not answer {question}: {what}; its log says more", program(*daemon))]
    Silent {
        /// Who was asked.
        daemon: Daemon,
        /// Where.
        place: String,
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
    let elsewhere = match daemon {
        Daemon::Agent => "",
        Daemon::Controller => "; if it runs elsewhere, ask over the network with --server https://ADDRESS:PORT",
    };
    format!("is {program} running here? {named}: write {flag} PATH or set {variable}{elsewhere}")
}

impl AskError {
    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoAnswer { .. } | Self::NoServer { .. } | Self::NotTrusted { .. } | Self::Silent { .. } => 3,
            Self::NoCertificates(_) | Self::Certificates(_) => 2,
            Self::Refused(_) | Self::NotFound(_) => 1,
        }
    }
}

/// A daemon that can be asked.
#[derive(Debug)]
pub struct Asked {
    daemon: Daemon,
    place: Place,
}

/// Where it is.
#[derive(Debug)]
enum Place {
    /// On this machine.
    Socket(PathBuf),
    /// Anywhere; with the folder of the certificate that is shown.
    Server(Uri, Option<PathBuf>),
}

impl Asked {
    /// The agent.
    pub fn agent(places: &Places) -> Self {
        Self { daemon: Daemon::Agent, place: Place::Socket(places.agent_socket.clone()) }
    }

    /// The controller.
    pub fn controller(places: &Places) -> Self {
        let place = match &places.server {
            Some(server) => Place::Server(server.clone(), places.certificates.clone()),
            None => Place::Socket(places.controller_socket.clone()),
        };
        Self { daemon: Daemon::Controller, place }
    }

    /// Whoever is meant where both could answer.
    pub fn either(places: &Places) -> Self {
        let controller = || places.server.is_some() || places.controller_socket.exists();
        match places.from {
            Some(Daemon::Agent) => Self::agent(places),
            Some(Daemon::Controller) => Self::controller(places),
            None if controller() => Self::controller(places),
            None => Self::agent(places),
        }
    }

    /// The answer to `GET question`.
    pub async fn get<T: DeserializeOwned>(&self, question: &str) -> Result<T, AskError> {
        let silent = |what: String| {
            let place = match &self.place {
                Place::Socket(path) => path.display().to_string(),
                Place::Server(server, _) => written(server),
            };
            AskError::Silent { daemon: self.daemon, place, question: question.to_owned(), what }
        };
        let refusal = Refusal::default();
        let exchange = async {
            match &self.place {
                Place::Socket(path) => {
                    let stream = UnixStream::connect(path).await.map_err(|source| AskError::NoAnswer {
                        daemon: self.daemon,
                        path: path.clone(),
                        source,
                    })?;
                    exchange(stream, question).await.map_err(|error| silent(chain(&*error)))
                }
                Place::Server(server, certificates) => {
                    let stream = connect(server, certificates.as_ref(), &refusal).await?;
                    exchange(stream, question).await.map_err(|error| match refusal.said() {
                        // What is wrong with one's own certificate is heard only now.
                        Some(refused) => AskError::NotTrusted { server: written(server), refused },
                        None => silent(chain(&*error)),
                    })
                }
            }
        };
        let (status, body) = match timeout(ANSWER_WITHIN, exchange).await {
            Ok(answered) => answered?,
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

/// As it was written.
fn written(server: &Uri) -> String {
    server.to_string().trim_end_matches('/').to_owned()
}

/// A connection to a controller, both ends with a certificate.
async fn connect(server: &Uri, certificates: Option<&PathBuf>, refusal: &Refusal) -> Result<Connected, AskError> {
    let folder = certificates.ok_or_else(|| AskError::NoCertificates(written(server)))?;
    let identity = Identity::read(folder).map_err(AskError::Certificates)?;
    let no_server = |source| AskError::NoServer { server: written(server), source };
    // The command line takes none without either.
    let (host, port) = (server.host().unwrap_or_default(), server.port_u16().unwrap_or_default());
    let connecting = timeout(CONNECT_WITHIN, TcpStream::connect((host.trim_matches(['[', ']']), port))).await;
    let stream = connecting.map_err(|_| no_server(io::ErrorKind::TimedOut.into()))?.map_err(no_server)?;
    let handshake = identity.connect(stream, &Role::Controller, "http/1.1", refusal.clone());
    match timeout(CONNECT_WITHIN, handshake).await {
        Ok(Ok(connected)) => Ok(connected),
        Ok(Err(CertificateError::Refused(refused))) => Err(AskError::NotTrusted { server: written(server), refused }),
        Ok(Err(error)) => Err(AskError::Certificates(error)),
        Err(_) => Err(no_server(io::ErrorKind::TimedOut.into())),
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
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
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
