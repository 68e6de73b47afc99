//! Asking the agent: HTTP/1.1 requests with JSON bodies over its Unix socket, and their answers, each within a bounded time.
//!
//! One connection for all requests of a call: by its end the agent knows that the plugin is gone. A client for one server of ours,
//! not for the web: an answer has a length.

#![allow(clippy::disallowed_methods, reason = "a wrapper: the connection to the agent")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use apis::cni::{
    ADD_PATH, AddRequest, AddResult, CHECK_PATH, COLLECT_PATH, CONFIRM_PATH, CheckRequest, CniError, CollectRequest,
    ConfirmRequest, DELETE_PATH, DelRequest, ErrorCode, Plan, STATUS_PATH,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// How long an agent that restarts is waited for.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two tries to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);
/// How long one answer may take. The agent bounds its own waiting well below (it then answers a pod that is closed).
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer that is read, in bytes.
const ANSWER_LIMIT: usize = 1 << 20;

/// Why a request brought nothing.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What to answer the runtime.
    pub(crate) error: CniError,
    /// What the agent knows of it.
    pub(crate) heard: Heard,
}

/// What an agent knows of a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing: there is no agent.
    Nothing,
    /// It may have done what it was asked, but its answer did not come, or not as an answer.
    Perhaps,
    /// It said no.
    Refused,
}

impl From<Failure> for CniError {
    fn from(failure: Failure) -> CniError {
        failure.error
    }
}

/// The agent behind a socket.
pub(crate) struct Agent<'path> {
    socket: &'path Path,
    patience: Duration,
    connection: Option<BufReader<Timed>>,
}

impl<'path> Agent<'path> {
    /// Nothing is connected before the first request.
    pub(crate) fn at(socket: &'path Path) -> Agent<'path> {
        Agent { socket, patience: CONNECT_PATIENCE, connection: None }
    }

    /// The same for one who will not wait for an agent that is not there.
    pub(crate) fn there_now(socket: &'path Path) -> Agent<'path> {
        Agent { patience: Duration::ZERO, ..Agent::at(socket) }
    }

    /// What to make in the pod; the agent reserves it.
    pub(crate) fn add(&mut self, request: &AddRequest) -> Result<Plan, Failure> {
        self.ask(ADD_PATH, request)
    }

    /// The pod's half is made: the agent makes the node's, and answers when the pod can talk.
    pub(crate) fn confirm(&mut self, request: &ConfirmRequest) -> Result<AddResult, Failure> {
        self.ask(CONFIRM_PATH, request)
    }

    /// The container has ended: the node's half, and with it the pod's, is to go.
    pub(crate) fn delete(&mut self, request: &DelRequest) -> Result<(), Failure> {
        self.ask::<Value>(DELETE_PATH, request).map(drop)
    }

    /// What was made, when the agent finds its half in order.
    pub(crate) fn check(&mut self, request: &CheckRequest) -> Result<Plan, Failure> {
        self.ask(CHECK_PATH, request)
    }

    /// What is not valid any more is to go.
    pub(crate) fn collect(&mut self, request: &CollectRequest) -> Result<(), Failure> {
        self.ask::<Value>(COLLECT_PATH, request).map(drop)
    }

    /// Whether it can attach a pod.
    pub(crate) fn status(&mut self) -> Result<(), Failure> {
        self.ask::<Value>(STATUS_PATH, &json!({})).map(drop)
    }

    fn ask<A: DeserializeOwned>(&mut self, path: &str, request: &impl Serialize) -> Result<A, Failure> {
        let socket = self.socket.display();
        let failure = |heard, code, message, details| Failure { error: CniError::new(code, message, details), heard };
        let body = serde_json::to_vec(request).map_err(|error| {
            let message = format!("the request {path} cannot be written");
            failure(Heard::Nothing, ErrorCode::AGENT_FAILED, message, error.to_string())
        })?;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(self.socket, self.patience).map_err(|error| {
                let message = format!("Ferrant's agent cannot be reached at {socket}");
                let details =
                    format!("{error}; it is starting or down (see its log), or \"agentSocket\" names another place");
                failure(Heard::Nothing, ErrorCode::TRY_AGAIN_LATER, message, details)
            })?,
        };
        let (status, answer) = exchange(&mut connection, path, &body).map_err(|error| {
            let message = format!("Ferrant's agent at {socket} did not answer {path}");
            failure(Heard::Perhaps, ErrorCode::TRY_AGAIN_LATER, message, error.to_string())
        })?;
        self.connection = Some(connection);
        if status == 200 {
            return serde_json::from_slice(&answer).map_err(|error| {
                let message = format!("the answer of Ferrant's agent at {socket} to {path} cannot be read");
                let details = format!("{error}; plugin and agent may be of different versions");
                failure(Heard::Perhaps, ErrorCode::AGENT_FAILED, message, details)
            });
        }
        let error = serde_json::from_slice(&answer).unwrap_or_else(|_| {
            let message = format!("Ferrant's agent at {socket} answered {path} with status {status}");
            let start = String::from_utf8_lossy(&answer).chars().take(200).collect::<String>();
            CniError::new(ErrorCode::AGENT_FAILED, message, start)
        });
        Err(Failure { error, heard: Heard::Refused })
    }
}

/// Connects; an agent that is just starting has a moment to listen.
fn connect(socket: &Path, patience: Duration) -> io::Result<BufReader<Timed>> {
    let end = Instant::now() + patience;
    loop {
        match UnixStream::connect(socket) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
                    && Instant::now() < end =>
            {
                std::thread::sleep(CONNECT_PAUSE);
            }
            done => return done.map(|stream| BufReader::new(Timed { stream, end: Instant::now() })),
        }
    }
}

/// Sends the request and reads status and body.
fn exchange(connection: &mut BufReader<Timed>, path: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: agent\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    let timed = connection.get_mut();
    timed.end = Instant::now() + ANSWER_PATIENCE;
    timed.stream.set_write_timeout(Some(ANSWER_PATIENCE))?;
    fault::point("plugin.request.before");
    timed.stream.write_all(&[head.as_bytes(), body].concat())?;
    fault::point("plugin.request.sent");
    let answer = read_answer(connection);
    fault::point("plugin.request.answered");
    answer
}

/// An answer as RFC 9112 writes it.
fn read_answer(mut answer: impl BufRead) -> io::Result<(u16, Vec<u8>)> {
    let mut line = String::new();
    read_line(&mut answer, &mut line)?;
    let status = line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| malformed(&format!("its first line is {:?}", line.trim_end())))?;
    let mut length = None;
    loop {
        line.clear();
        if read_line(&mut answer, &mut line)? == 0 {
            return Err(malformed("it ends within its headers"));
        }
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        let Some((name, value)) = header.split_once(':') else {
            return Err(malformed(&format!("it has the header {header:?}")));
        };
        if name.eq_ignore_ascii_case("content-length") {
            let announced = value.trim().parse::<usize>().map_err(|_| malformed("its length is not a number"))?;
            length = Some(announced);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(malformed("it has a transfer encoding"));
        }
    }
    read_body(answer, length).map(|body| (status, body))
}

/// One line, which is not without end.
fn read_line(answer: &mut impl BufRead, line: &mut String) -> io::Result<usize> {
    const LIMIT: u64 = 8 * 1024;
    answer.by_ref().take(LIMIT).read_line(line)
}

fn read_body(answer: impl BufRead, length: Option<usize>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let announced = length.unwrap_or_default();
    if announced > ANSWER_LIMIT {
        return Err(malformed(&format!("its body has {announced} bytes")));
    }
    answer.take(length.unwrap_or(ANSWER_LIMIT) as u64).read_to_end(&mut body)?;
    if body.len() < announced {
        return Err(malformed(&format!("its body has {} bytes of {announced}", body.len())));
    }
    Ok(body)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the answer is not HTTP/1.1 as the agent speaks it: {what}"))
}

/// A stream whose reading ends at one point in time, however slowly bytes trickle in.
struct Timed {
    stream: UnixStream,
    end: Instant,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {ANSWER_PATIENCE:?}")));
        }
        self.stream.set_read_timeout(Some(left))?;
        match self.stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {ANSWER_PATIENCE:?}")))
            }
            done => done,
        }
    }
}

/// An answer, for the fuzzer.
#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    /// Reads it, and its body as each thing that it may be.
    pub(crate) fn answer(bytes: &[u8]) {
        if let Ok((_, body)) = super::read_answer(bytes) {
            let _ = serde_json::from_slice::<super::Plan>(&body);
            let _ = serde_json::from_slice::<super::AddResult>(&body);
            let _ = serde_json::from_slice::<super::CniError>(&body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::read_answer;

    fn read(answer: &str) -> Result<(u16, String), String> {
        let (status, body) = read_answer(answer.as_bytes()).map_err(|error| error.to_string())?;
        Ok((status, String::from_utf8(body).expect("the test wrote text")))
    }

    #[test]
    fn a_body_is_as_long_as_announced_or_goes_to_the_end() {
        let announced = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ndate: x\r\n\r\n{}and more";
        assert_eq!(read(announced), Ok((200, "{}".to_owned())));
        assert_eq!(read("HTTP/1.1 409 Conflict\r\n\r\n{\"code\":11}"), Ok((409, "{\"code\":11}".to_owned())));
    }

    #[test]
    fn anything_else_is_named() {
        for (answer, part) in [
            ("", "first line is \"\""),
            ("SSH-2.0-x\r\n", "SSH-2.0-x"),
            ("HTTP/1.1 é", "first line"),
            ("HTTP/1.1 200 OK\r\n", "within its headers"),
            ("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "nonsense"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}", "2 bytes of 5"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{}", "99999999 bytes"),
            ("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}", "not a number"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer encoding"),
        ] {
            let message = read(answer).expect_err(answer);
            assert!(message.contains(part), "{answer:?}: {message}");
        }
    }
}
