//! The smallest connection to a switch: blocking, one question at a time.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use openflow::switch::Hello;
use openflow::{Message, MultipartRequest, Reply, SwitchError, message_length};

pub struct Connection {
    stream: UnixStream,
    xid: u32,
    bytes: Vec<u8>,
}

impl Connection {
    pub fn open(path: &Path) -> Result<Self, String> {
        let stream = UnixStream::connect(path).map_err(|error| format!("{}: {error}", path.display()))?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).map_err(|error| error.to_string())?;
        let mut connection = Self { stream, xid: 100, bytes: Vec::new() };
        connection.send(&Message::Hello(Hello::only_this_version()))?;
        match connection.receive()? {
            (_, Message::Hello(hello)) if hello.speaks_this_version() => Ok(connection),
            (_, other) => Err(format!("instead of a hello: {other}")),
        }
    }

    /// Sends a message under the next xid.
    pub fn send(&mut self, message: &Message) -> Result<u32, String> {
        self.xid += 1;
        let bytes = message.encode(self.xid).map_err(|error| format!("{message}: {error}"))?;
        self.stream.write_all(&bytes).map_err(|error| error.to_string())?;
        Ok(self.xid)
    }

    /// The next message, of whatever kind.
    pub fn receive(&mut self) -> Result<(u32, Message), String> {
        loop {
            if let Some(length) = message_length(&self.bytes).filter(|length| *length <= self.bytes.len()) {
                let message: Vec<u8> = self.bytes.drain(..length).collect();
                return Message::decode(&message).map_err(|error| format!("{message:02x?}: {error}"));
            }
            let mut chunk = [0; 65536];
            let count = self.stream.read(&mut chunk).map_err(|error| error.to_string())?;
            if count == 0 {
                return Err("the switch closed the connection".to_owned());
            }
            self.bytes.extend_from_slice(&chunk[..count]);
        }
    }

    /// Sends messages and waits until the switch has done them. Gives those it refused, by their place.
    pub fn send_all(&mut self, messages: &[Message]) -> Result<Vec<(usize, SwitchError)>, String> {
        let first = self.xid + 1;
        let mut refused = Vec::new();
        // few enough at a time that neither side's socket fills up
        for chunk in messages.chunks(100) {
            for message in chunk {
                self.send(message)?;
            }
            let barrier = self.send(&Message::BarrierRequest)?;
            self.xid -= 1; // the barrier does not count among the messages
            loop {
                match self.receive()? {
                    (xid, Message::BarrierReply) if xid == barrier => break,
                    (xid, Message::Error(error)) => refused.push(((xid - first) as usize, error)),
                    (_, Message::EchoRequest(body)) => {
                        self.send(&Message::EchoReply(body))?;
                        self.xid -= 1;
                    }
                    _ => {}
                }
            }
        }
        Ok(refused)
    }

    /// Asks a question and gives all parts of the answer.
    pub fn ask(&mut self, question: MultipartRequest) -> Result<Vec<Reply>, String> {
        let asked = self.send(&Message::MultipartRequest(question))?;
        let mut replies = Vec::new();
        loop {
            match self.receive()? {
                (xid, Message::MultipartReply(reply)) if xid == asked => {
                    replies.push(reply.reply);
                    if !reply.more {
                        return Ok(replies);
                    }
                }
                (xid, Message::Error(error)) if xid == asked => return Err(error.to_string()),
                _ => {}
            }
        }
    }

    /// Sends a message and gives the first answer under its xid.
    pub fn call(&mut self, message: &Message) -> Result<Message, String> {
        let asked = self.send(message)?;
        loop {
            let (xid, answer) = self.receive()?;
            if xid == asked {
                return Ok(answer);
            }
        }
    }
}
