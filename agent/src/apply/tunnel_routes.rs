//! The switch's own routes to the other nodes' tunnel endpoints, on the userspace datapath.
//!
//! There vswitchd itself looks up by which bridge a tunnel packet leaves, in a copy of the node's routes. It throws the copy away and
//! reads it anew whenever a link or route of the node changes, so whenever a pod comes or goes, and a flow that it translates in
//! between drops its packets until the next round. A route given by `ovs/route/add` (ovs-vswitchd(8)) stays. So there is one for
//! every peer, a host route, the way that the node's own kernel would send; nothing is planned here that the kernel does not do.
//!
//! It learns by ARP who takes a tunnel packet. One that starts again is given what the last one had learned.
//!
//! ```text
//!  peers ──────────┐                  ┌─ kernel: the way to each peer ──┐
//!  a connection ───┼─► Wanted ─► look ┤                                 ├─► difference ─► ovs/route/add, ovs/route/del
//!  the host ───────┘                  └─ ovs/route/show: what is there ─┘
//! ```
//!
//! Beside the loop and beside the worker: a switch that does not answer holds up nobody else. What is no host route to a peer is
//! somebody else's and stays.

mod difference;
mod kernel;
mod neighbours;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rtnetlink::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::ovs::unixctl::{Unixctl, UnixctlError};
use difference::{Desired, difference};
use neighbours::Neighbours;

/// How long vswitchd may take for an answer before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks that nothing caused.
const EVERY: Duration = Duration::from_secs(5);
/// After a failure or a change: vswitchd may have known an older address of its bridge.
const AGAIN: Duration = Duration::from_secs(1);
/// After the first failure; doubled up to [`AGAIN`].
const SOON: Duration = Duration::from_millis(20);
/// vswitchd takes ten commands of a connection before it does anything else, and ten connections: a route for each of hundreds of
/// nodes is there some turns later.
const TOGETHER: usize = 10;
const CONNECTIONS: usize = 10;
/// Between two looks because the host was touched, at least, and as a multiple of what one took.
const PAUSE: Duration = Duration::from_millis(100);
const SPARED: u32 = 20;

/// What there is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Where other nodes' tunnels end; none while that is not known.
    peers: Option<BTreeSet<IpAddr>>,
    /// Which connection to the switch stands.
    connection: Option<u64>,
    /// How often the host was touched.
    touched: u64,
}

impl Wanted {
    /// Nothing else may wait for a look.
    fn is_urgent(&self, seen: &Self) -> bool {
        self.peers != seen.peers || self.connection != seen.connection
    }
}

/// Tells what there is to do. Cheap, and never waits.
#[derive(Debug)]
pub struct Asker(watch::Sender<Wanted>);

impl Asker {
    /// Who tells, and what [`follow`] hears.
    pub fn new() -> (Self, watch::Receiver<Wanted>) {
        let (sender, receiver) = watch::channel(Wanted::default());
        (Self(sender), receiver)
    }

    /// These are the peers now.
    pub fn peers(&self, peers: BTreeSet<IpAddr>) {
        self.0.send_if_modified(|wanted| {
            let peers = Some(peers);
            let changed = wanted.peers != peers;
            wanted.peers = peers;
            changed
        });
    }

    /// The switch is connected, the how-many-th time, or it is gone.
    pub fn connection(&self, connection: Option<u64>) {
        self.0.send_modify(|wanted| wanted.connection = connection);
    }

    /// Somebody touched the host's links, addresses or routes.
    pub fn host_touched(&self) {
        self.0.send_modify(|wanted| wanted.touched += 1);
    }
}

/// Why a tunnel's route is not as it has to be.
#[derive(Debug, thiserror::Error)]
enum TunnelRouteError {
    #[error(
        "the node itself has no way to the node at {peer} ({reason}), so the switch keeps what it had; look at `ip route get {peer}` and \
         give this node a route"
    )]
    NoWay { peer: IpAddr, reason: String },
    #[error(
        "the switch does not take the way to a node's tunnel, {change}: {source}; the bridge needs an address in the network of that \
         node or of the gateway"
    )]
    Refused { change: String, source: UnixctlError },
    #[error("the switch's routes of tunnels are not known: {0}")]
    Switch(#[from] UnixctlError),
    #[error(
        "vswitchd at {path} did not say within {PATIENCE:?} which routes it has; tunnels have those that they had; see whether it is \
         stuck"
    )]
    Silent { path: PathBuf },
    #[error("cannot {step}: {source}")]
    Kernel { step: String, source: rtnetlink::Error },
}

/// Keeps the switch's routes for as long as somebody tells of what there is to do. `earlier` are the peers of the agent's last life:
/// those of them that are none any more have left routes.
pub async fn follow(netlink: Handle, control: PathBuf, earlier: BTreeSet<IpAddr>, mut inbox: watch::Receiver<Wanted>) {
    let devices = BTreeMap::new();
    let mut keeper = Keeper {
        netlink,
        control,
        ours: earlier,
        devices,
        told: Vec::new(),
        connection: None,
        kernel: None,
        neighbours: None,
    };
    let mut failures = 0_u32;
    loop {
        let wanted = inbox.borrow_and_update().clone();
        let started = Instant::now();
        let outcome = match (&wanted.peers, wanted.connection) {
            (Some(peers), Some(connection)) => keeper.look(peers, connection).await,
            _ => Outcome::default(),
        };
        failures = if outcome.is_to_be_tried_again() { failures.saturating_add(1) } else { 0 };
        let late = match (failures, outcome.changed) {
            (0, true) => AGAIN,
            (0, false) => EVERY,
            _ => AGAIN.min(SOON * 2_u32.saturating_pow(failures - 1)),
        };
        keeper.tell(outcome);
        let ended = Instant::now();
        let soon = ended + PAUSE.max((ended - started) * SPARED);
        let mut until = ended + late;
        loop {
            tokio::select! {
                changed = inbox.changed() => match changed {
                    Err(_) => return,
                    Ok(()) if inbox.borrow_and_update().is_urgent(&wanted) => break,
                    Ok(()) => until = until.min(soon),
                },
                () = tokio::time::sleep_until(until) => break,
            }
        }
    }
}

/// How a look went.
#[derive(Debug, Default)]
struct Outcome {
    changed: bool,
    errors: Vec<TunnelRouteError>,
}

impl Outcome {
    /// A way that the kernel gets is told by the kernel.
    fn is_to_be_tried_again(&self) -> bool {
        self.errors.iter().any(|error| !matches!(error, TunnelRouteError::NoWay { .. }))
    }
}

impl From<TunnelRouteError> for Outcome {
    fn from(error: TunnelRouteError) -> Self {
        Self { changed: false, errors: vec![error] }
    }
}

type Answer = Result<String, UnixctlError>;

/// Has vswitchd run commands that do not depend on each other, over several connections; their answers in order.
async fn call_all(control: &Path, commands: &[(&str, Vec<String>)]) -> Result<Vec<Answer>, UnixctlError> {
    let share = commands.len().div_ceil(CONNECTIONS).next_multiple_of(TOGETHER).max(TOGETHER);
    let shares = commands.chunks(share).map(async |share| Unixctl::connect(control).await?.call_all(share).await);
    Ok(futures::future::try_join_all(shares).await?.into_iter().flatten().collect())
}

/// What is remembered between two looks.
struct Keeper {
    netlink: Handle,
    control: PathBuf,
    /// Peers that were wanted at some time and whose routes may be there.
    ours: BTreeSet<IpAddr>,
    /// For which devices routes were set, by name and index: of one that was made anew vswitchd has forgotten that tunnels end there.
    devices: BTreeMap<String, u32>,
    /// The failures that were told last.
    told: Vec<String>,
    /// The connection at the last look.
    connection: Option<u64>,
    /// What the kernel said then.
    kernel: Option<kernel::Kernel>,
    /// What the switch had learned then.
    neighbours: Option<Neighbours>,
}

impl Keeper {
    /// Compares all of it once. A switch that was just connected first gets what the last look found: no tunnel works before, and
    /// asking the kernel about hundreds of peers takes longer than the switch needs for its first flows.
    async fn look(&mut self, peers: &BTreeSet<IpAddr>, connection: u64) -> Outcome {
        self.ours.extend(peers);
        if self.ours.is_empty() {
            return Outcome::default();
        }
        let is_new = self.connection.replace(connection) != Some(connection);
        let mut changed = false;
        let holds = |kernel: &kernel::Kernel| is_new && kernel.ways.keys().all(|peer| peers.contains(peer));
        let (kernel, neighbours) = (self.kernel.take().filter(holds), self.neighbours.take().filter(|_| is_new));
        if let Some(kernel) = kernel {
            let (control, learned) =
                (self.control.clone(), neighbours.map(|neighbours| neighbours.commands(Instant::now())));
            let learned = learned.unwrap_or_default();
            let neighbours = tokio::time::timeout(PATIENCE, call_all(&control, &learned));
            // Neighbours that it does not take it learns itself; what else goes wrong goes wrong again below.
            let (routes, _) = tokio::join!(self.apply_in_time(peers, &kernel), neighbours);
            changed = routes.changed;
        }
        let kernel = match kernel::read(&self.netlink, peers).await {
            Ok(kernel) => kernel,
            Err(error) => return error.into(),
        };
        let mut outcome = self.apply_in_time(peers, &kernel).await;
        outcome.changed |= changed;
        let no_way =
            |(peer, reason): &(IpAddr, String)| TunnelRouteError::NoWay { peer: *peer, reason: reason.clone() };
        outcome.errors.extend(kernel.without_way.iter().map(no_way));
        self.kernel = Some(kernel);
        outcome
    }

    async fn apply_in_time(&mut self, peers: &BTreeSet<IpAddr>, kernel: &kernel::Kernel) -> Outcome {
        match tokio::time::timeout(PATIENCE, self.apply(peers, kernel)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => TunnelRouteError::Switch(error).into(),
            Err(_) => TunnelRouteError::Silent { path: self.control.clone() }.into(),
        }
    }

    async fn apply(&mut self, peers: &BTreeSet<IpAddr>, kernel: &kernel::Kernel) -> Result<Outcome, UnixctlError> {
        let mut switch = Unixctl::connect(self.control.clone()).await?;
        let shows = ["ovs/route/show", "tnl/neigh/show"].map(|command| (command, Vec::new()));
        let mut shown = Vec::new();
        for answer in switch.call_all(&shows).await? {
            shown.push(answer?);
        }
        let found = difference::found(&shown[0]);
        self.neighbours = Some(Neighbours::of(&shown[1], kernel.ways.iter()));
        let devices: BTreeMap<String, u32> =
            kernel.devices.iter().map(|device| (device.name.clone(), device.index)).collect();
        let gone = self.ours.difference(peers).copied().collect();
        let desired = Desired {
            ways: &kernel.ways,
            gone: &gone,
            addresses: kernel
                .devices
                .iter()
                .map(|device| (device.name.as_str(), device.addresses.as_slice()))
                .collect(),
            remade: devices
                .iter()
                .filter(|(name, index)| self.devices.get(*name) != Some(index))
                .map(|(name, _)| name.as_str())
                .collect(),
        };
        let changes = difference(&desired, &found);
        let arguments: Vec<(&str, Vec<String>)> = changes.iter().map(difference::Change::command).collect();
        let (mut errors, mut told) = (Vec::new(), BTreeSet::new());
        for (change, answer) in changes.iter().zip(call_all(&self.control, &arguments).await?) {
            tracing::debug!(%change, ok = answer.is_ok(), "a tunnel's route in the switch");
            match answer {
                Ok(_) => told.extend(change.device()),
                Err(source) => errors.push(TunnelRouteError::Refused { change: change.to_string(), source }),
            }
        }
        if errors.is_empty() {
            self.ours.clone_from(peers);
        }
        let known = |name: &str, index| told.contains(name) || self.devices.get(name) == Some(&index);
        self.devices = devices.into_iter().filter(|(name, index)| known(name, *index)).collect();
        Ok(Outcome { changed: !changes.is_empty(), errors })
    }

    /// Logs what went wrong, once as long as it stays so.
    fn tell(&mut self, outcome: Outcome) {
        let now: Vec<String> = outcome.errors.iter().map(ToString::to_string).collect();
        for error in now.iter().filter(|error| !self.told.contains(error)) {
            tracing::warn!(%error, "a tunnel's route in the switch is not as planned, trying again");
        }
        if now.is_empty() && !self.told.is_empty() {
            tracing::info!("tunnels' routes in the switch are as planned");
        }
        self.told = now;
    }
}
