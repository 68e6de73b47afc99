//! Promises as numbers: each figure is printed beside its target, from real daemons in the lab.
//!
//! - [`agents`]: what a thousand agents cost a controller, and how soon all are in sync after it restarts,
//! - [`flows`]: how fast an empty switch is filled with a hundred thousand flows, and what agent and controller need for it,
//! - [`file_to_packet`]: how long after a policy file has changed a packet on another node obeys it,
//! - [`cni`]: how long a runtime waits for a pod's interface, with the pod's policy in force,
//! - [`rule_cost`]: how many flows one more rule changes,
//! - `vswitchd`: how long pods are silent when vswitchd with a hundred thousand flows dies, beside a bare one ([`crate::restart`]).
//!
//! A benchmark is never a timed test: whatever the figures are, it succeeds. It fails when it measured the wrong thing: the
//! switch has other flows than the agent says, or a packet had the wrong verdict.

pub mod agents;
pub mod cni;
pub(crate) mod figure;
pub mod file_to_packet;
pub mod flows;
pub(crate) mod process;
pub mod rule_cost;

use anyhow::Result;

use crate::lab::Datapath;
use crate::restart;

/// What `lab bench` takes.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(clap::Subcommand)]
enum Benchmark {
    /// A thousand agents of one controller
    Agents(agents::Arguments),
    /// A hundred thousand flows into an empty switch
    Flows(flows::Arguments),
    /// From a changed policy file to the first packet that obeys it on another node
    FileToPacket(file_to_packet::Arguments),
    /// Attaching pods, with their policy in force
    Cni(cni::Arguments),
    /// How many flows one more rule changes, over pods that are alike and over pods that are not
    RuleCost(rule_cost::Arguments),
    /// How long pods are silent when vswitchd with a hundred thousand flows dies, beside a bare one
    Vswitchd(restart::Options),
}

impl Arguments {
    /// The datapath it measures.
    pub fn datapath(&self) -> Datapath {
        match &self.benchmark {
            Benchmark::Agents(_) => Datapath::Netdev,
            Benchmark::Flows(arguments) => arguments.lab.datapath,
            Benchmark::FileToPacket(arguments) => arguments.lab.datapath,
            Benchmark::Cni(arguments) => arguments.lab.datapath,
            Benchmark::RuleCost(arguments) => arguments.lab.datapath,
            Benchmark::Vswitchd(options) => options.lab.datapath,
        }
    }
}

/// Runs a benchmark and prints its figures; true when it measured what it says, whatever the figures are.
///
/// # Errors
/// When the lab fails.
pub async fn run(arguments: Arguments) -> Result<bool> {
    match arguments.benchmark {
        Benchmark::Agents(arguments) => agents::run(arguments).await,
        Benchmark::Flows(arguments) => flows::run(arguments).await,
        Benchmark::FileToPacket(arguments) => file_to_packet::run(arguments).await,
        Benchmark::Cni(arguments) => cni::run(arguments).await,
        Benchmark::RuleCost(arguments) => rule_cost::run(arguments).await,
        Benchmark::Vswitchd(options) => restart::bench(options).await,
    }
}
