//! Asking the agent: one HTTP/1.1 request with a JSON body over its Unix socket, and its answer, within a bounded time.
//!
//! A client for one server of ours, not for the web: the answer has a length or ends with the connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use apis::cni::{
    ADD_PATH, AddRequest, AddResult, CONFIRM_PATH, CniError, ConfirmRequest, DELETE_PATH, DelRequest, ErrorCode, Plan,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How long an agent that restarts is waited for.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two tries to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);
/// How long one answer may take. The agent bounds its own waiting well below (it then answers a pod that is closed).
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer that is read, in bytes.
const ANSWER_LIMIT: u64 = 1 << 20;

/// Why a request brought nothing.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What to answer the runtime.
    pub(crate) error: CniError,
    /// The request was sent and no answer came: the agent may have done what it was asked.
    pub(crate) undecided: bool,
}

impl From<Failure> for CniError {
    fn from(failure: Failure) -> CniError {
        failure.error
    }
}

/// The agent behind a socket.
pub(crate) struct Agent<'path> {
    socket: &'path Path,
}

impl<'path> Agent<'path> {
    /// Nothing is connected before the first request.
    pub(crate) fn at(socket: &'path Path) -> Agent<'path> {
        Agent { socket }
    }

    /// What to make in the pod; the agent reserves it.
    pub(crate) fn add(&self, request: &AddRequest) -> Result<Plan, Failure> {
        self.ask(ADD_PATH, request)
    }

    /// The pod's half is made: the agent makes the node's, and answers when the pod can talk.
    pub(crate) fn confirm(&self, request: &ConfirmRequest) -> Result<AddResult, Failure> {
        self.ask(CONFIRM_PATH, request)
    }

    /// The pod's half is gone.
    pub(crate) fn delete(&self, request: &DelRequest) -> Result<(), Failure> {
        self.ask::<Value>(DELETE_PATH, request).map(drop)
    }

    fn ask<A: DeserializeOwned>(&self, path: &str, request: &impl Serialize) -> Result<A, Failure> {
        let socket = self.socket.display();
        let failure =
            |undecided, code, message, details| Failure { error: CniError::new(code, message, details), undecided };
        let body = serde_json::to_vec(request).map_err(|error| {
            let message = format!("the request {path} cannot be written");
            failure(false, ErrorCode::AGENT_FAILED, message, error.to_string())
        })?;
        let stream = connect(self.socket).map_err(|error| {
            let message = format!("Ferrant's agent cannot be reached at {socket}");
            let details =
                format!("{error}; it is starting or down (see its log), or \"agentSocket\" names another place");
            failure(false, ErrorCode::TRY_AGAIN_LATER, message, details)
        })?;
        let (status, answer) = exchange(stream, path, &body).map_err(|error| {
            let message = format!("Ferrant's agent at {socket} did not answer {path}");
            failure(true, ErrorCode::TRY_AGAIN_LATER, message, error.to_string())
        })?;
        if status == 200 {
            return serde_json::from_slice(&answer).map_err(|error| {
                let message = format!("the answer of Ferrant's agent at {socket} to {path} cannot be read");
                let details = format!("{error}; plugin and agent may be of different versions");
                failure(true, ErrorCode::AGENT_FAILED, message, details)
            });
        }
        let error = serde_json::from_slice(&answer).unwrap_or_else(|_| {
            let message = format!("Ferrant's agent at {socket} answered {path} with status {status}");
            let start = String::from_utf8_lossy(&answer).chars().take(200).collect::<String>();
            CniError::new(ErrorCode::AGENT_FAILED, message, start)
        });
        Err(Failure { error, undecided: false })
    }
}

/// Connects; an agent that is just starting has a moment to listen.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let end = Instant::now() + CONNECT_PATIENCE;
    loop {
        match UnixStream::connect(socket) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
                    && Instant::now() < end =>
            {
                std::thread::sleep(CONNECT_PAUSE);
            }
            done => return done,
        }
    }
}

/// Sends the request and reads status and body.
fn exchange(stream: UnixStream, path: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = Timed { stream, end: Instant::now() + ANSWER_PATIENCE };
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: agent\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.stream.set_write_timeout(Some(ANSWER_PATIENCE))?;
    fault::point("plugin.request.before");
    stream.stream.write_all(&[head.as_bytes(), body].concat())?;
    fault::point("plugin.request.sent");
    let answer = read_answer(BufReader::new(stream.take(ANSWER_LIMIT)));
    fault::point("plugin.request.answered");
    answer
}

/// An answer as RFC 9112 writes it.
fn read_answer(mut answer: impl BufRead) -> io::Result<(u16, Vec<u8>)> {
    let mut line = String::new();
    answer.read_line(&mut line)?;
    let status = line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| malformed(&format!("its first line is {:?}", line.trim_end())))?;
    let mut length = None;
    loop {
        line.clear();
        if answer.read_line(&mut line)? == 0 {
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
            length = Some(value.trim().parse::<usize>().map_err(|_| malformed("its length is not a number"))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(malformed("it has a transfer encoding"));
        }
    }
    read_body(answer, length).map(|body| (status, body))
}

fn read_body(answer: impl BufRead, length: Option<usize>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let announced = length.unwrap_or_default();
    answer.take(length.map_or(u64::MAX, |length| length as u64)).read_to_end(&mut body)?;
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
            ("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}", "not a number"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer encoding"),
        ] {
            let message = read(answer).expect_err(answer);
            assert!(message.contains(part), "{answer:?}: {message}");
        }
    }
}
