//! What this node needs, made so in Open vSwitch, links, routes and nft.

pub mod apply;
pub mod ipam;
pub mod ovs;
pub mod serve;
