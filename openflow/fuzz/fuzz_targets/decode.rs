//! One message of any kind: the first byte is its type, the rest its body. Nothing may panic, and what can be sent again must mean
//! the same.
//!
//! `cargo +nightly fuzz run decode` in the folder `openflow`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use openflow::Message;

fuzz_target!(|data: &[u8]| {
    let Some((kind, body)) = data.split_first() else { return };
    let Ok(length) = u16::try_from(body.len() + 8) else { return };
    let mut bytes = vec![6, *kind];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 0, 0, 1]);
    bytes.extend(body);
    let Ok((xid, message)) = Message::decode(&bytes) else { return };
    let _ = message.to_string();
    if let Ok(again) = message.encode(xid) {
        let (_, back) = Message::decode(&again).expect("what was encoded decodes");
        assert_eq!(back, message);
    }
});
