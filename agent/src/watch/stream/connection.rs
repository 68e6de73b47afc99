//! One controller: connected to again and again, for as long as somebody listens to what it says.

#![allow(clippy::disallowed_methods, reason = "a wrapper: the connections to controllers")]

use std::time::Duration;

use apis::stream::control_client::ControlClient;
use apis::stream::{self as wire, from_controller::Message};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

use super::uplink::{Uplink, VERSIONS};

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
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Broken(#[from] Box<tonic::Status>),
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

/// Keeps a stream to a controller until nobody listens.
pub(super) async fn keep(controller: usize, url: String, uplink: Uplink, inbox: mpsc::Sender<Said>) {
    let mut wait = FIRST_WAIT;
    loop {
        let mut answered = None;
        let error = match run(controller, &url, &uplink, &inbox, &mut answered).await {
            Ok(()) => StreamError::Closed,
            Err(StreamError::Ending) => return,
            Err(error) => error,
        };
        if let Some(stream) = answered {
            tracing::warn!(controller = %url, error = %chain(&error), "a controller's stream ended, trying again");
            wait = FIRST_WAIT;
            if inbox.send(Said { controller, stream, what: What::Ended }).await.is_err() {
                return;
            }
        } else {
            tracing::debug!(controller = %url, error = %chain(&error), "no controller yet");
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// One stream, from connecting to its end; its number once the controller has answered.
async fn run(
    controller: usize,
    url: &str,
    uplink: &Uplink,
    inbox: &mpsc::Sender<Said>,
    answered: &mut Option<u64>,
) -> Result<(), StreamError> {
    let endpoint = Endpoint::from_shared(url.to_owned())?
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    let channel = endpoint.connect().await?;
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
