//! Calls to the unixctl socket of an OVS daemon: what `ovs-appctl` does, without a process for each call.
//!
//! Not here: what the answers mean. A command goes out with its arguments, the daemon's text comes back.
//! The daemon works on one command of a connection at a time, and commands such as `revalidator/wait` answer late;
//! whoever needs two at once opens two connections.

#![allow(clippy::disallowed_methods, reason = "a wrapper: calls to vswitchd's control socket")]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::jsonrpc::{Decoder, FramingError, Message};

/// Commands sent before their answers are read.
const TOGETHER: usize = 100;

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub enum UnixctlError {
    #[error("cannot reach the daemon at {path}: {source}; is it running?")]
    Connect { path: PathBuf, source: std::io::Error },
    #[error("'{command}': the connection to {path} broke: {source}; the command may or may not have run")]
    Io { command: String, path: PathBuf, source: std::io::Error },
    #[error("'{command}': {source}")]
    Framing { command: String, source: FramingError },
    #[error("'{command}' was refused by the daemon at {path}: {text}")]
    Refused { command: String, path: PathBuf, text: String },
    #[error("'{command}': the daemon at {path} sent something else than an answer; connect again")]
    Unexpected { command: String, path: PathBuf },
}

/// One open connection; commands run one after the other.
#[derive(Debug)]
pub struct Unixctl {
    path: PathBuf,
    stream: UnixStream,
    decoder: Decoder,
    next_id: u64,
}

impl Unixctl {
    /// Connects to the socket at `path` (the daemon's `--unixctl=`).
    pub async fn connect(path: impl Into<PathBuf>) -> Result<Self, UnixctlError> {
        let path = path.into();
        match UnixStream::connect(&path).await {
            Ok(stream) => Ok(Self { path, stream, decoder: Decoder::default(), next_id: 0 }),
            Err(source) => Err(UnixctlError::Connect { path, source }),
        }
    }

    /// The socket this connection goes to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs one command and returns the daemon's text. Dropped before it answers, the connection still owes that
    /// answer; the next call skips it.
    pub async fn call(&mut self, command: &str, arguments: &[&str]) -> Result<String, UnixctlError> {
        self.start(command, arguments).await?.answer().await
    }

    /// Runs commands in turn, sent together: the daemon takes up to ten of them without doing anything else in between. What it
    /// refuses does not keep it from the next.
    pub async fn call_all(
        &mut self,
        commands: &[(&str, Vec<String>)],
    ) -> Result<Vec<Result<String, UnixctlError>>, UnixctlError> {
        let mut answers = Vec::with_capacity(commands.len());
        // So many answers fit into the socket while nobody reads them.
        for together in commands.chunks(TOGETHER) {
            let first = self.next_id + 1;
            let mut requests = Vec::new();
            for (command, arguments) in together {
                requests.extend(self.request(command, json!(arguments)));
            }
            self.write(together[0].0, &requests).await?;
            for ((command, _), id) in together.iter().zip(first..) {
                match self.answer(command, id).await {
                    answer @ (Ok(_) | Err(UnixctlError::Refused { .. })) => answers.push(answer),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(answers)
    }

    /// Sends a command whose answer is waited for separately: it may have arrived at the daemon, or not, when this returns.
    pub async fn start<'a>(&'a mut self, command: &'a str, arguments: &[&str]) -> Result<Started<'a>, UnixctlError> {
        let request = self.request(command, json!(arguments));
        let id = self.next_id;
        self.write(command, &request).await?;
        Ok(Started { connection: self, command, id })
    }

    fn request(&mut self, command: &str, params: Value) -> Vec<u8> {
        self.next_id += 1;
        Message::Request { id: json!(self.next_id), method: command.into(), params }.encode()
    }

    async fn write(&mut self, command: &str, requests: &[u8]) -> Result<(), UnixctlError> {
        self.stream.write_all(requests).await.map_err(|source| self.broken(command, source))?;
        fault::point("unixctl.call.sent");
        Ok(())
    }

    async fn answer(&mut self, command: &str, wanted: u64) -> Result<String, UnixctlError> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let next = self.decoder.next();
            match next.map_err(|source| UnixctlError::Framing { command: command.into(), source })? {
                Some(Message::Response { id, .. }) if id.as_u64().is_some_and(|id| id < wanted) => {}
                Some(Message::Response { id, result }) if id == json!(wanted) => {
                    return result.map(text).map_err(|error| UnixctlError::Refused {
                        command: command.into(),
                        path: self.path.clone(),
                        text: text(error).trim_end().to_owned(),
                    });
                }
                Some(_) => return Err(UnixctlError::Unexpected { command: command.into(), path: self.path.clone() }),
                None => match self.stream.read(&mut buffer).await {
                    Ok(0) => return Err(self.broken(command, std::io::ErrorKind::UnexpectedEof.into())),
                    Ok(read) => self.decoder.feed(&buffer[..read]),
                    Err(source) => return Err(self.broken(command, source)),
                },
            }
        }
    }

    fn broken(&self, command: &str, source: std::io::Error) -> UnixctlError {
        UnixctlError::Io { command: command.into(), path: self.path.clone(), source }
    }
}

/// A command that was sent.
#[derive(Debug)]
pub struct Started<'a> {
    connection: &'a mut Unixctl,
    command: &'a str,
    id: u64,
}

impl Started<'_> {
    /// Waits for the daemon's text.
    pub async fn answer(self) -> Result<String, UnixctlError> {
        self.connection.answer(self.command, self.id).await
    }
}

/// One command on a connection of its own.
pub async fn call(path: &Path, command: &str, arguments: &[&str]) -> Result<String, UnixctlError> {
    Unixctl::connect(path).await?.call(command, arguments).await
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
