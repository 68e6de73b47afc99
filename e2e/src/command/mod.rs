//! The commands of the `lab` binary.

pub mod ask;
pub mod checks;
pub mod demo;
pub mod kernel;
pub mod matrix;
pub mod sandbox;
pub mod story;
pub mod trial;

use serde_json::{Value, json};

use crate::lab::{Datapath, Options};

/// What every command takes.
#[derive(Clone, Debug, clap::Args)]
pub struct LabArguments {
    /// The datapath of Open vSwitch; `system` runs in a small emulated machine where the kernel has no openvswitch
    #[arg(long, value_enum, env = "DATAPATH", default_value_t = Datapath::Netdev)]
    pub datapath: Datapath,
    /// The tunnel between nodes: geneve, vxlan or gre
    #[arg(long)]
    pub tunnel: Option<String>,
    /// The log filter of the daemons
    #[arg(long)]
    pub log: Option<String>,
}

impl LabArguments {
    /// As the lab takes them.
    pub fn options(&self) -> Options {
        Options { tunnel: self.tunnel.clone(), log: self.log.clone(), ..Options::new(self.datapath) }
    }
}

/// Says on standard error what is being done.
pub fn say(text: &str) {
    eprintln!("lab: {text}");
}

/// The last line of standard output: what is common to all commands and what is this one's. Nothing is drawn by chance in
/// the lab's commands, so their seed is 0.
pub fn summary(datapath: Datapath, skipped: usize, own: &Value) {
    let mut all = json!({ "seed": 0, "datapath": datapath.to_string(), "skipped": skipped });
    if let (Some(all), Some(own)) = (all.as_object_mut(), own.as_object()) {
        all.extend(own.clone());
    }
    println!("{all}");
}
