//! The sockets that others ask: the CNI plugin, people and tools. Requests become events; nothing is decided here.

pub mod cni;
pub mod metrics;
pub mod policies;
pub mod query;
pub mod trace;
