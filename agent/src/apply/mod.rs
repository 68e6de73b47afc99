//! Makes the switch and the host what is wanted, from whatever they are.

pub mod host;
pub mod links;
pub mod nat;
pub mod routes;
pub mod sysctl;
