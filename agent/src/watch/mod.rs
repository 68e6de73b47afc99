//! Where facts come in: the controllers' streams and the switch. Each becomes an [`crate::event::Event`]; what outside types
//! say is checked here, and nothing behind this folder meets them.

pub mod boot;
pub mod certificate;
pub mod detached;
pub mod host;
pub mod journal;
pub mod ovs;
pub mod stream;
