//! What this node needs, made so in Open vSwitch, links, routes and nft.

pub mod ovs;
