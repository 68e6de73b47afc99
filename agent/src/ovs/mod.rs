//! The node's Open vSwitch: its database, its control sockets and its OpenFlow connection.
//!
//! Only how to talk to it. What it should contain is decided in `plan`, and made so by `apply`, which is the caller of
//! everything here; facts (ports, packets, restarts) come out as events.

mod backoff;
pub mod jsonrpc;
pub mod openflow;
pub mod ovsdb;
pub mod realised;
pub mod unixctl;
