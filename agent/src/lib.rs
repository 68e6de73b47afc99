//! What this node needs, made so in Open vSwitch, links, routes and nft.
//!
//! One loop ([`turn`]) takes events ([`event`]), changes the [`state`], plans it ([`plan`], with the [`ledger`]'s numbers), and
//! makes the switch and the host so ([`apply`]). Facts come in through [`watch`], questions through [`serve`]; [`run`] joins them.

// Input and output are the wrappers' (tidy/tests/wrappers.rs).
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod apply;
mod clock;
pub mod config;
pub mod event;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod ipam;
pub mod ledger;
pub mod metrics;
pub mod ovs;
pub mod plan;
pub mod report;
pub mod run;
pub mod serve;
pub mod state;
pub mod turn;
pub mod watch;
