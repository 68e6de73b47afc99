//! A stream as a connection reads it: cut into messages, each decoded, the rest kept for later.
//!
//! `cargo +nightly fuzz run stream` in the folder `openflow`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use openflow::{HEADER_LENGTH, Message, message_length};

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    while let Some(length) = message_length(rest) {
        assert!(length >= HEADER_LENGTH, "a message that takes nothing from the stream would be read for ever");
        let Some((message, more)) = rest.split_at_checked(length) else { break };
        let _ = Message::decode(message);
        rest = more;
    }
});
