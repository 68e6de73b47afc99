//! Makes the switch and the host what is wanted, from whatever they are.
//!
//! Flows: [`flows`] holds what is wanted and what the switch has, [`delta`] cuts what differs into slices, [`order`] is the one
//! place that orders. Ports and the host are changed beside the loop ([`ports`], [`host`]), the switch's own routes beside both
//! ([`tunnel_routes`]), [`flow_restore`] says what the kernel does while vswitchd is away; [`reexamine`] looks at connections again.

mod closing;
pub mod delta;
pub mod flow_restore;
pub mod flows;
pub mod host;
pub mod labels;
pub mod links;
pub mod nat;
pub mod order;
pub mod ports;
pub mod reexamine;
pub mod routes;
pub mod sysctl;
pub mod tunnel_routes;
