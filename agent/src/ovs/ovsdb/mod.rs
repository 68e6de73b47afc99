//! The client of the node's `ovsdb-server`: rows, changes, transactions, and the few operations the agent needs.
//!
//! It is small and ours because no crate holds (RFC 7047 and `ovsdb-server(7)` are the reference). It knows four tables
//! and speaks over a unix socket; it is no general OVSDB library.
//!
//! An update passes: socket → [`link`] → [`client`] → [`monitor`] (whole rows) → [`row`] (typed) → whoever reads the cache
//! or a [`monitor::Changes`] feed. A transaction passes: [`switch`] (what the agent wants) → [`transaction`] → socket.

pub mod client;
pub mod datum;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod link;
pub mod monitor;
pub mod row;
pub mod schema;
pub mod switch;
pub mod transaction;

pub use client::{CallError, Client, Status};
pub use datum::Uuid;
pub use monitor::{Change, Changes};
pub use row::{Bridge, Interface, OpenVSwitch, Port};
pub use switch::{BridgeSpec, PortSpec, SwitchError};
