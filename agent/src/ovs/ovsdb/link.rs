//! One connection to `ovsdb-server`: opened with the handshake, then run by a reader and a writer that never wait for
//! each other.
//!
//! Opening is: schema, check, monitor of all tables, first rows. Only then does anybody else get to use the connection,
//! so nobody sees a half-filled cache. When either side of it dies, all of it does; [`super::client`] opens the next.

#![allow(clippy::disallowed_methods, reason = "a wrapper: the connection to ovsdb-server")]

use std::io;
use std::path::Path;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::monitor::{self, Cache, UpdateError};
use super::row;
use super::schema::{Schema, SchemaError};
use crate::ovs::jsonrpc::{Decoder, FramingError, Message};

/// The one database of the server that is ours.
pub(super) const DATABASE: &str = "Open_vSwitch";

/// Why a connection could not be opened, or ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("ovsdb-server does not answer: {0}")]
    Io(#[from] io::Error),
    #[error("ovsdb-server closed the connection")]
    Closed,
    #[error(transparent)]
    Framing(#[from] FramingError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    Update(#[from] UpdateError),
    #[error("ovsdb-server refused {method}: {error}; is {DATABASE} among its databases?")]
    Refused { method: &'static str, error: String },
}

/// An open connection whose first rows are read.
pub(super) struct Link {
    pub(super) receiver: Receiver,
    pub(super) outgoing: mpsc::UnboundedSender<Vec<u8>>,
    pub(super) writer: tokio::task::JoinHandle<()>,
    pub(super) cache: Cache,
}

/// The reading half.
pub(super) struct Receiver {
    stream: OwnedReadHalf,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Link {
    pub(super) async fn open(path: &Path) -> Result<Self, LinkError> {
        let (reader, writer) = UnixStream::connect(path).await?.into_split();
        // Unbounded, so that the reader can always answer an echo; calls are bounded by the client.
        let (outgoing, messages) = mpsc::unbounded_channel();
        let mut link = Self {
            receiver: Receiver { stream: reader, decoder: Decoder::default(), buffer: vec![0; 64 << 10] },
            outgoing,
            writer: tokio::spawn(write(writer, messages)),
            cache: Cache::default(),
        };
        match link.handshake().await {
            Ok(()) => Ok(link),
            Err(error) => {
                link.writer.abort();
                Err(error)
            }
        }
    }

    async fn handshake(&mut self) -> Result<(), LinkError> {
        let schema = Schema::from_json(&self.ask("get_schema", json!([DATABASE])).await?)?;
        row::check(&schema)?;
        self.cache = Cache::new(&schema);
        let request = monitor::requests();
        // The all-zero id asks for everything; a stand-alone server has nothing to resume from anyway.
        let since = json!([DATABASE, Value::Null, request, "00000000-0000-0000-0000-000000000000"]);
        let rows = match self.ask("monitor_cond_since", since).await {
            Ok(mut answer) => answer[2].take(),
            Err(LinkError::Refused { .. }) => self.ask("monitor_cond", json!([DATABASE, Value::Null, request])).await?,
            Err(error) => return Err(error),
        };
        self.cache.apply(&rows)?;
        Ok(())
    }

    /// A call while nobody else uses the connection.
    async fn ask(&mut self, method: &'static str, params: Value) -> Result<Value, LinkError> {
        let request = Message::Request { id: json!(method), method: method.into(), params };
        self.outgoing.send(request.encode()).map_err(|_| LinkError::Closed)?;
        loop {
            match self.receiver.next().await? {
                Message::Response { id, result } if id == json!(method) => {
                    return result.map_err(|error| LinkError::Refused { method, error: error.to_string() });
                }
                message => answer_echo(&message, &self.outgoing),
            }
        }
    }
}

impl Receiver {
    /// The next message. May be dropped while waiting; nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Message, LinkError> {
        loop {
            if let Some(message) = self.decoder.next()? {
                return Ok(message);
            }
            self.stream.readable().await?;
            // Everything that is there is taken before the next attempt to parse, so that a large dump is not parsed
            // from its start for every piece of it.
            loop {
                match self.stream.try_read(&mut self.buffer) {
                    Ok(0) => return Err(LinkError::Closed),
                    Ok(read) => self.decoder.feed(&self.buffer[..read]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}

/// The rows in a notification, if it is one of our monitor's.
pub(super) fn updates(message: &Message) -> Option<&Value> {
    match message {
        Message::Notification { method, params } if method == "update3" => params.get(2),
        Message::Notification { method, params } if method == "update2" => params.get(1),
        _ => None,
    }
}

/// Answers the server's inactivity probe.
pub(super) fn answer_echo(message: &Message, outgoing: &mpsc::UnboundedSender<Vec<u8>>) {
    if let Message::Request { id, method, params } = message {
        let result = if method == "echo" { Ok(params.clone()) } else { Err(json!({"error": "unknown method"})) };
        // A writer that is gone is noticed by the reader's next read.
        let _ = outgoing.send(Message::Response { id: id.clone(), result }.encode());
    }
}

async fn write(mut stream: OwnedWriteHalf, mut messages: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(message) = messages.recv().await {
        let written = stream.write_all(&message).await;
        fault::point("ovsdb.message.written");
        if let Err(error) = written {
            tracing::debug!(%error, "writing to ovsdb-server");
            return; // dropping the half shuts the socket down, which ends the reader too
        }
    }
}
