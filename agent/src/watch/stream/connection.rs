//! One controller: connected to again and again, for as long as somebody listens to what it says.

#![allow(clippy::disallowed_methods, reason = "a wrapper: the connections to controllers")]

use std::time::Duration;

use apis::stream::control_client::ControlClient;
use apis::stream::{self as wire, from_controller::Message};
use certificates::{Identity, Refusal, Refused, Role};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::uplink::{Uplink, VERSIONS};
use crate::watch::certificate::Access;

/// A frame's part may be as large as a controller likes to make it, up to this.
const MESSAGE_LIMIT: usize = 64 << 20;
/// Waits between attempts: at first hardly at all, since a restarted controller is soon back.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// A connection on which nothing comes back for this long, twice, is dead. (HTTP/2 pings; a paused controller answers none.)
const KEEP_ALIVE: Duration = Duration::from_millis(700);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// What a controller said, or that it says nothing any more.
#[derive(Debug)]
pub(super) struct Said {
    /// Which of the configured controllers.
    pub controller: usize,
    /// On which stream.
    pub stream: u64,
    pub what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Message(Message),
    Ended,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    /// No connection.
    #[error("it cannot be reached: {0}")]
    Connect(#[from] tonic::transport::Error),
    /// No connection, or none any more, because of somebody's certificate.
    #[error("{0}")]
    Refused(Refused),
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Broken(#[from] Box<tonic::Status>),
    /// The same, before the controller said anything, without TLS.
    #[error(
        "the stream broke before it began: {0}; a controller with --certificates does not hear an agent with --insecure"
    )]
    Plain(Box<tonic::Status>),
    /// The controller closed it.
    #[error("it closed the stream")]
    Closed,
    /// Not spoken here.
    #[error("it speaks protocol version {0}, this agent speaks {VERSIONS:?}; upgrade the older of the two")]
    Version(u32),
    /// The agent is ending.
    #[error("the agent is ending")]
    Ending,
}

impl StreamError {
    /// Whether somebody must do something about it.
    fn is_refusal(&self) -> bool {
        let refused = [tonic::Code::PermissionDenied, tonic::Code::Unauthenticated];
        match self {
            Self::Refused(_) | Self::Version(_) | Self::Plain(_) => true,
            Self::Broken(status) => refused.contains(&status.code()),
            Self::Connect(_) | Self::Closed | Self::Ending => false,
        }
    }
}

/// Keeps a stream to a controller until nobody listens.
pub(super) async fn keep(controller: usize, url: String, access: Access, uplink: Uplink, inbox: mpsc::Sender<Said>) {
    let mut wait = FIRST_WAIT;
    // What was last said of why there is none, so that it is said once.
    let mut refused = None;
    loop {
        let mut answered = None;
        let refusal = Refusal::default();
        let ended = run(controller, &url, (&access, &refusal), &uplink, &inbox, &mut answered).await;
        let error = match (ended, refusal.said()) {
            (Err(StreamError::Ending), _) => return,
            (_, Some(refused)) => StreamError::Refused(refused),
            (Ok(()), None) => StreamError::Closed,
            (Err(StreamError::Broken(status)), None) if answered.is_none() && matches!(access, Access::Insecure) => {
                StreamError::Plain(status)
            }
            (Err(error), None) => error,
        };
        let text = chain(&error);
        if let Some(stream) = answered {
            tracing::warn!(controller = %url, error = text, "a controller's stream ended, trying again");
            (wait, refused) = (FIRST_WAIT, None);
            if inbox.send(Said { controller, stream, what: What::Ended }).await.is_err() {
                return;
            }
        } else if error.is_refusal() && refused.as_ref() != Some(&text) {
            tracing::error!(controller = %url, error = text, "no stream to this controller; it is tried again and again");
            refused = Some(text);
        } else {
            tracing::debug!(controller = %url, error = text, "no controller yet");
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// One stream, from connecting to its end; its number once the controller has answered.
async fn run(
    controller: usize,
    url: &str,
    (access, refusal): (&Access, &Refusal),
    uplink: &Uplink,
    inbox: &mpsc::Sender<Said>,
    answered: &mut Option<u64>,
) -> Result<(), StreamError> {
    let channel = connect(url, access, refusal).await?;
    let mut client = ControlClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT);
    fault::point("stream.hello.before");
    let (stream, outgoing) = uplink.open();
    let closing = Closing { uplink, stream };
    let mut incoming = client.stream(ReceiverStream::new(outgoing)).await.map_err(Box::new)?.into_inner();
    while let Some(wire::FromController { message }) = incoming.message().await.map_err(Box::new)? {
        let Some(message) = message else {
            tracing::debug!(controller = %url, "a controller said something that this version does not know");
            continue;
        };
        if let Message::Welcome(welcome) = &message {
            if !VERSIONS.contains(&welcome.version) {
                return Err(StreamError::Version(welcome.version));
            }
            *answered = Some(stream);
        }
        fault::point("stream.message.received");
        let said = Said { controller, stream, what: What::Message(message) };
        inbox.send(said).await.map_err(|_| StreamError::Ending)?;
    }
    drop(closing);
    Ok(())
}

async fn connect(url: &str, access: &Access, refusal: &Refusal) -> Result<Channel, tonic::transport::Error> {
    // To tonic it is plain: the connector below does what https:// asks for, and knows who must answer.
    let endpoint = Endpoint::from_shared(url.replacen("https://", "http://", 1))?
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    match access {
        Access::Insecure => endpoint.connect().await,
        Access::Certificates(certificate) => {
            let (identity, refusal) = (certificate.newest(), refusal.clone());
            endpoint.connect_with_connector(service_fn(move |uri| dial(uri, identity.clone(), refusal.clone()))).await
        }
    }
}

/// A TLS connection to a controller, in this node's name.
async fn dial(
    uri: Uri,
    identity: Identity,
    refusal: Refusal,
) -> Result<TokioIo<certificates::Connected>, Box<dyn std::error::Error + Send + Sync>> {
    // A URL without either is refused as a flag.
    let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or_default());
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(identity.connect(stream, &Role::Controller, "h2", refusal).await?))
}

/// Gives the stream up, however it ends.
struct Closing<'a> {
    uplink: &'a Uplink,
    stream: u64,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.uplink.close(self.stream);
    }
}

/// An error with what caused it: transport errors say little by themselves.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
