//! Cluster intent to what each node needs, and nothing more.
//!
//! ```text
//!  directory of YAML ─► watch ─► state ─► plan ─► publish ═gRPC═► agents
//!                                  ▲                 │
//!                                  └── pod reports ──┘            serve ─► people, tests
//! ```
//!
//! It knows no word of OpenFlow. [`run`] wires the parts; [`event`] lists everything that can wake the one loop.
//!
//! Review notes: refuse a decision in `run`, a clock or a lock in `state` and `plan`, an outside type behind `watch`, an
//! output that is not sorted, and any state of a session that grows with changes instead of objects.

pub mod config;
pub mod credentials;
#[cfg(test)]
mod drawn;
pub mod event;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod lease;
pub mod metrics;
pub mod object;
pub mod plan;
pub mod publish;
pub mod run;
pub mod serve;
pub mod state;
pub mod status;
pub mod watch;
