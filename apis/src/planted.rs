//! Panics for the fuzzer to find, each in the deepest reader of a target: finding it shows that the fuzzer gets as far. In no other
//! build. `openflow`, which depends on no other crate, has one of its own.

use std::sync::OnceLock;

/// Panics when the fuzzer's own test of this target asks for it, and something is as it must be made to be first.
pub fn planted(target: &str, reached: bool) {
    static ASKED: OnceLock<String> = OnceLock::new();
    if reached {
        let asked = ASKED.get_or_init(|| std::env::var("FERRANT_FUZZ_PLANTED").unwrap_or_default());
        assert!(asked != target, "planted for the fuzzer");
    }
}
