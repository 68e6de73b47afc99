//! Which of Open vSwitch's datapaths the lab's nodes use.

use std::fmt;

/// A datapath of Open vSwitch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Datapath {
    /// The kernel's, as in production; needs the openvswitch module.
    System,
    /// In vswitchd itself; works everywhere.
    Netdev,
}

impl fmt::Display for Datapath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::System => "system",
            Self::Netdev => "netdev",
        })
    }
}
