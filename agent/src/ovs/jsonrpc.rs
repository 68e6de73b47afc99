//! JSON-RPC 1.0 as `ovsdb-server` and the unixctl sockets of the OVS daemons speak it (RFC 7047 section 4, `ovs-appctl(8)`).
//!
//! This is the framing only, without I/O: bytes go in with [`Decoder::feed`], whole messages come out of [`Decoder::next`].
//! It is not a client: who may send what, and when, is decided in `ovsdb` and `unixctl`.
//!
//! Messages follow each other in the stream with nothing between them. Where one ends is found by serde_json's stream
//! deserializer, never by counting braces: a brace or an escaped quote inside a string has confused simpler framings.

use serde_json::{Value, json};

/// The largest message accepted, in bytes. A node's whole database is a few megabytes.
const MAX_MESSAGE: usize = 64 << 20;

/// One message of either direction.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A call that wants an answer with the same `id`.
    Request { id: Value, method: String, params: Value },
    /// A call that wants no answer (`id` is null or absent).
    Notification { method: String, params: Value },
    /// The answer to the request with this `id`; an error is whatever JSON value the peer chose.
    Response { id: Value, result: Result<Value, Value> },
}

/// Bytes that are not JSON-RPC. The connection that carried them is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum FramingError {
    #[error("the peer sent bytes that are not JSON: {0}; close the connection and connect again")]
    NotJson(#[from] serde_json::Error),
    #[error("the peer sent JSON that is no JSON-RPC message: {0}; is this the right socket?")]
    NotRpc(String),
    #[error("the peer sent a message of more than {MAX_MESSAGE} bytes; is this the right socket?")]
    TooLarge,
}

/// Cuts a byte stream into messages.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// How much of `buffer` is consumed already; the rest moves to the front only when more bytes arrive.
    consumed: usize,
}

impl Decoder {
    /// Appends what was read from the socket, in pieces of any size.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.consumed > 0 {
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, or `None` until more bytes are fed.
    #[allow(clippy::should_implement_trait)] // an iterator ends at None; this one only pauses
    pub fn next(&mut self) -> Result<Option<Message>, FramingError> {
        let rest = &self.buffer[self.consumed..];
        let mut stream = serde_json::Deserializer::from_slice(rest).into_iter::<Value>();
        match stream.next() {
            None => Ok(None),
            Some(Ok(value)) => {
                self.consumed += stream.byte_offset();
                Message::from_value(value).map(Some)
            }
            Some(Err(error)) if error.is_eof() && rest.len() > MAX_MESSAGE => Err(FramingError::TooLarge),
            Some(Err(error)) if error.is_eof() => Ok(None),
            Some(Err(error)) => Err(error.into()),
        }
    }
}

impl Message {
    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        let value = match self {
            Message::Request { id, method, params } => json!({"id": id, "method": method, "params": params}),
            Message::Notification { method, params } => json!({"id": null, "method": method, "params": params}),
            Message::Response { id, result: Ok(result) } => json!({"id": id, "result": result, "error": null}),
            Message::Response { id, result: Err(error) } => json!({"id": id, "result": null, "error": error}),
        };
        value.to_string().into_bytes()
    }

    fn from_value(value: Value) -> Result<Self, FramingError> {
        let Value::Object(mut object) = value else {
            return Err(FramingError::NotRpc(excerpt(&value)));
        };
        let id = object.remove("id").unwrap_or(Value::Null);
        if let Some(Value::String(method)) = object.get("method") {
            let method = method.clone();
            let params = object.remove("params").unwrap_or(Value::Null);
            return Ok(match id {
                Value::Null => Message::Notification { method, params },
                id => Message::Request { id, method, params },
            });
        }
        let error = object.remove("error").unwrap_or(Value::Null);
        match object.remove("result") {
            Some(result) if error.is_null() => Ok(Message::Response { id, result: Ok(result) }),
            _ if !error.is_null() => Ok(Message::Response { id, result: Err(error) }),
            _ => Err(FramingError::NotRpc(excerpt(&Value::Object(object)))),
        }
    }
}

/// The start of a value, for an error message.
fn excerpt(value: &Value) -> String {
    value.to_string().chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(decoder: &mut Decoder) -> Vec<Message> {
        std::iter::from_fn(|| decoder.next().unwrap()).collect()
    }

    #[test]
    fn messages_are_cut_wherever_the_reads_are_cut() {
        let messages = [
            Message::Request { id: json!(1), method: "echo".into(), params: json!(["brace } and \" quote \\"]) },
            Message::Notification { method: "update3".into(), params: json!([["é", 1], {"a": {}}]) },
            Message::Response { id: json!(7), result: Ok(json!({})) },
            Message::Response { id: json!(8), result: Err(json!({"error": "unknown database"})) },
        ];
        let bytes: Vec<u8> = messages.iter().flat_map(Message::encode).collect();
        for size in 1..bytes.len() {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for chunk in bytes.chunks(size) {
                decoder.feed(chunk);
                seen.extend(drain(&mut decoder));
            }
            assert_eq!(seen, messages, "read {size} bytes at a time");
        }
    }

    #[test]
    fn what_is_not_json_rpc_is_an_error() {
        for bytes in ["nonsense", "[1]", "{\"id\":3}", "{\"id\":1,\"result\":null,\"error\":]}"] {
            let mut decoder = Decoder::default();
            decoder.feed(bytes.as_bytes());
            assert!(decoder.next().is_err(), "{bytes}");
        }
    }

    #[test]
    fn a_null_result_is_an_answer() {
        let mut decoder = Decoder::default();
        decoder.feed(br#"{"id":3,"result":null,"error":null}"#);
        assert_eq!(drain(&mut decoder), [Message::Response { id: json!(3), result: Ok(Value::Null) }]);
    }
}
