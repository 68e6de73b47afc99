//! A real `ovs-vswitchd` on the dummy datapath, and what it says of packets: `ofproto/trace` (ovs-vswitchd(8)).
//!
//! How a trace goes through connection tracking: the packet's state comes from `--ct-next`, and `ct_mark` and `ct_label` from the
//! traced flow itself. They are the fields of a packet that no table before `Conntrack` reads, and `ct(table=…)` carries them over
//! to where the packet goes on, as it would those of the connection that it finds (tried on OVS 3.1).
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test that runs a switch needs sockets and processes"
)]

pub mod capture;
pub mod packet;
pub mod reading;
pub mod switchd;
pub mod verdict;
pub mod wire;
