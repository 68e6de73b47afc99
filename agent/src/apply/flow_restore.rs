//! What the kernel goes on forwarding while vswitchd is away.
//!
//! When vswitchd dies the kernel datapath goes on with the flows that it has cached. The next vswitchd throws them away as it
//! starts, before it has any flow of ours, unless `other_config:flow-restore-wait` is true then
//! (`ovs-vswitchd.conf.db(5)`): so it leaves the kernel alone, and takes no packet up, until the key is false. A vswitchd that runs does not look
//! at the key any more. So it is true while all is well, for a crash comes unannounced:
//!
//! ```text
//!  true ── vswitchd dies, another starts and waits ── its flows are there, or took too long ─► false ─► obeyed ─► true
//!                                                └─ a port goes ─► false ─┘
//! ```
//!
//! Cached flows do what this node last acknowledged, so they open nothing. They name ports by the kernel's own numbers, which it
//! gives anew; a new vswitchd itself takes the tunnel's port away as it starts, and makes it again when it comes to it. A port that
//! came before would have the tunnel's number, and all that the node sends to others. So no port comes while vswitchd may wait
//! (`super::order`), and where one may that is written already, or one goes, nothing is left to the kernel.
//!
//! The key is of the whole vswitchd. Where it serves bridges of somebody else it is left false: they would stand still until this
//! agent comes. On the userspace datapath nothing is cached outside vswitchd, and waiting would only be silence.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ports;
use crate::config::{Config, DatapathType};
use crate::ipam::attachment::Attachment;
use crate::ipam::gateway_mac;
use crate::ovs::ovsdb::monitor::Cache;
use crate::ovs::ovsdb::{Bridge, Client, OpenVSwitch, SwitchError};
use crate::watch;

const KEY: &str = "flow-restore-wait";
/// How long vswitchd may take to see that the key is false.
const SEEN_WITHIN: Duration = Duration::from_secs(2);

/// Whether the kernel keeps flows when vswitchd dies.
pub fn is_kept(datapath: DatapathType) -> bool {
    datapath == DatapathType::System
}

/// Before an agent writes anything: what another left is given up where it may not be so here.
///
/// # Errors
/// What the database says.
pub async fn begin(client: &Client, config: &Config) -> Result<(), SwitchError> {
    let waits = |cache: &Cache| {
        cache.rows::<OpenVSwitch>().any(|(_, row)| row.other_config.get(KEY).is_some_and(|value| value == "true"))
    };
    let allowed = is_kept(config.datapath) && !client.read(|cache| may_bring_ports(cache, config));
    if !allowed && client.read(waits) { give_up(client).await } else { Ok(()) }
}

/// What the worker of ports knows of it.
#[derive(Debug)]
pub struct FlowRestore {
    client: Client,
    config: Config,
    /// vswitchd may be one that waits, while the kernel sends by the numbers that its ports had.
    may_wait: bool,
    /// It must not.
    to_give_up: bool,
    /// Pods whose ports come once it does not wait any more.
    held: Vec<Attachment>,
}

impl FlowRestore {
    /// Nothing is known of vswitchd.
    pub fn new(client: Client, config: Config) -> Self {
        let may_wait = is_kept(config.datapath);
        Self { client, config, may_wait, to_give_up: false, held: Vec::new() }
    }

    /// vswitchd is gone.
    pub async fn switch_is_away(&mut self) {
        self.may_wait = is_kept(self.config.datapath);
        self.before_ports_are_written().await;
    }

    /// The bridge and its ports are to be as they were made.
    pub async fn before_ports_are_written(&mut self) {
        let brings = self.may_wait && self.client.read(|cache| may_bring_ports(cache, &self.config));
        self.give_up_if(brings).await;
    }

    /// These ports go.
    pub async fn before_ports_go(&mut self, pods: &[Attachment]) {
        self.held.retain(|held| !pods.contains(held));
        self.give_up_if(!pods.is_empty()).await;
    }

    /// The pods whose ports may come now, of these and of those that were held back.
    pub fn hold_back(&mut self, pods: Vec<Attachment>) -> Vec<Attachment> {
        let new: Vec<_> = pods.into_iter().filter(|pod| !self.held.contains(pod)).collect();
        self.held.extend(new);
        if self.may_wait { Vec::new() } else { std::mem::take(&mut self.held) }
    }

    /// The switch has what it needs: vswitchd goes on, if it waits. The next one waits again.
    ///
    /// # Errors
    /// What the database says, or that vswitchd does not answer; it waits then still.
    pub async fn end(&mut self) -> Result<(), SwitchError> {
        give_up(&self.client).await?;
        self.client.configured(SEEN_WITHIN).await?;
        (self.may_wait, self.to_give_up) = (false, false);
        let alone = self.client.read(|cache| cache.rows::<Bridge>().all(|(_, row)| row.name == self.config.bridge));
        if alone { set(&self.client, true).await } else { Ok(()) }
    }

    async fn give_up_if(&mut self, needed: bool) {
        self.to_give_up = self.may_wait && (self.to_give_up || needed);
        if self.to_give_up {
            match give_up(&self.client).await {
                Ok(()) => self.to_give_up = false,
                Err(error) => {
                    tracing::warn!(%error, "an ovs-vswitchd that starts might wait (flow-restore-wait) and must not, trying again");
                }
            }
        }
    }
}

/// Whether a vswitchd that starts would make a port that the last one did not have.
fn may_bring_ports(cache: &Cache, config: &Config) -> bool {
    watch::ovs::has_unmade(cache, &config.bridge) || !ports::wrong(cache, config, gateway_mac(&config.node)).is_empty()
}

/// A vswitchd that starts waits no more; one that waits goes on, and throws away what the kernel has cached, before it looks at
/// anything that is written later.
async fn give_up(client: &Client) -> Result<(), SwitchError> {
    set(client, false).await
}

async fn set(client: &Client, waits: bool) -> Result<(), SwitchError> {
    client.set_other_config(&BTreeMap::from([(KEY.to_owned(), waits.to_string())])).await
}
