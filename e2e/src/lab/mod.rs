//! A cluster on one machine: nodes, pods, an outside host, the daemons. Up in seconds; gone without trace.
//!
//! ```text
//!   outside 172.18.0.100 ── br0 (namespace "underlay", controller 172.18.0.1) ── node-a 172.18.0.11, node-b …
//!                                                                                   │ br-phy ─ tun0 ─ br-int ─ gw0
//!                                                                                   └ pods, a namespace each
//! ```
//!
//! The order of life: [`Underlay`] → [`Node`]s → controller → agents → pods through the CNI plugin → [`Lab::settle`].
//! Dropping a [`Lab`] ends it in reverse, also on panic; the commands drop it on SIGINT and SIGTERM. A lab whose process is
//! killed loses its processes with it; its names are removed by the next lab.

mod binaries;
mod certificates;
mod controllers;
mod datapath;
mod http;
mod leftovers;
mod name;
mod namespace;
mod node;
mod pace;
mod pod;
mod process;
mod readiness;
mod reboot;
mod source;
mod switch;
pub mod underlay;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};

pub use binaries::Binaries;
pub use certificates::Authority;
use certificates::lifetime_flag;
use controllers::Controller;
pub use datapath::Datapath;
pub use http::{Answer, get, post};
pub use leftovers::Leftovers;
pub use name::LabName;
pub use namespace::Namespace;
pub use node::{Node, NodePlan, mac_of};
pub use pace::{Pace, is_kernel_vm};
pub use pod::{Plugin, Pod, PodPlan};
pub use process::{Daemon, Tool, ip, run, run_for_output};
pub use source::Source;
pub use switch::Switch;
pub use underlay::Underlay;

/// How many pods are attached at once, over all nodes.
const ATTACHED_AT_ONCE: usize = 8;

/// What a pipeline without policy does instead; it shows which stories notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugVerdict {
    /// Every policy verdict is allow.
    AllowAll,
    /// Every policy verdict is drop.
    DropAll,
}

/// How a lab is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The datapath of every node.
    pub datapath: Datapath,
    /// The tunnel type, when not the agent's default.
    pub tunnel: Option<String>,
    /// Policy verdicts replaced, to test the tests.
    pub debug_verdict: Option<DebugVerdict>,
    /// The daemons' log filter, when not their default.
    pub log: Option<String>,
    /// How many controllers there are.
    pub controllers: usize,
    /// How long certificates count on a machine of ordinary speed, when not as the controller has it.
    pub certificate_lifetime: Option<Duration>,
}

impl Options {
    /// An ordinary lab on this datapath.
    pub fn new(datapath: Datapath) -> Self {
        Self { datapath, tunnel: None, debug_verdict: None, log: None, controllers: 1, certificate_lifetime: None }
    }

    fn agent_flags(&self) -> Vec<String> {
        let verdict = self.debug_verdict.map(|verdict| match verdict {
            DebugVerdict::AllowAll => "allow-all".to_owned(),
            DebugVerdict::DropAll => "drop-all".to_owned(),
        });
        [("--tunnel", self.tunnel.clone()), ("--debug-verdict", verdict), ("--log", self.log.clone())]
            .into_iter()
            .filter_map(|(flag, value)| Some([flag.to_owned(), value?]))
            .flatten()
            .collect()
    }
}

/// A cluster that is up. Fields are dropped in this order.
pub struct Lab {
    pods: BTreeMap<String, Arc<Pod>>,
    controllers: Vec<Controller>,
    nodes: Vec<Node>,
    underlay: Underlay,
    source: Source,
    options: Options,
    pace: Pace,
    binaries: Binaries,
    authority: Authority,
    /// Nodes whose certificates are of another cluster.
    strangers: BTreeSet<String>,
    name: LabName,
    folder: tempfile::TempDir,
    leftovers: Leftovers,
}

impl Lab {
    /// Brings up nodes and daemons; `files` (name, text) is what the controller reads. Pods come with [`Lab::attach`].
    pub async fn up(options: Options, nodes: Vec<NodePlan>, files: &[(String, String)]) -> Result<Self> {
        let binaries = Binaries::of_this_build()?;
        let mut lab = Self::without_daemons(options, nodes, binaries).await?;
        for (file, text) in files {
            lab.source.write(file, text)?;
        }
        for index in 0..lab.controllers.len() {
            lab.start_controller(index)?;
        }
        for index in 0..lab.nodes.len() {
            lab.start_agent(index)?;
        }
        lab.wait_for_daemons()?;
        Ok(lab)
    }

    /// Underlay, nodes and switches only.
    async fn without_daemons(options: Options, plans: Vec<NodePlan>, binaries: Binaries) -> Result<Self> {
        let name = LabName::draw();
        let folder = tempfile::Builder::new()
            .prefix(&name.prefix())
            .tempdir()
            .context("cannot create a temporary folder for the lab")?;
        let leftovers = Leftovers::watch(name.prefix(), folder.path().to_owned());
        let source = Source::create(folder.path())?;
        let authority = Authority::create(&binaries.controller, folder.path().join("ca"))?.of_lifetime(
            options.certificate_lifetime.map(|lifetime| lifetime_flag(Pace::of(options.datapath), lifetime)),
        );
        let datapath = options.datapath;
        let made = {
            let (name, folder) = (name.clone(), folder.path().to_owned());
            tokio::task::spawn_blocking(move || plug_in(&name, plans, &folder, datapath))
        };
        let (underlay, nodes) = made.await.context("starting the nodes panicked")??;
        let pace = Pace::of(datapath);
        let controllers = (0..options.controllers).map(|_| Controller::default()).collect();
        let lab = Self {
            pods: BTreeMap::new(),
            controllers,
            nodes,
            underlay,
            source,
            options,
            pace,
            binaries,
            authority,
            strangers: BTreeSet::new(),
            name,
            folder,
            leftovers,
        };
        lab.nodes.iter().try_for_each(|node| lab.certify(node.name()))?;
        Ok(lab)
    }

    /// Starts the agent of a node, or starts it again.
    pub fn start_agent(&mut self, index: usize) -> Result<()> {
        let controllers = self.controller_urls(index);
        let certificates = self.certificates_of(self.nodes[index].name()).display().to_string();
        let mut flags = self.options.agent_flags();
        flags.extend(["--certificates".to_owned(), certificates]);
        self.nodes[index].start_agent(&self.binaries.agent, &controllers, self.options.datapath, &flags)
    }

    /// Attaches pods through the CNI plugin, several at once. Pods of the host's network and ended ones are passed over.
    pub async fn attach(&mut self, plans: Vec<PodPlan>) -> Result<()> {
        let mut calls = Vec::new();
        for plan in plans {
            if plan.host_network || plan.terminated {
                continue;
            }
            let index = self.node_index(&plan.node)?;
            let plugin = self.plugin(index);
            calls.push((plan, index, plugin));
        }
        let (name, nodes, pace) = (&self.name, &self.nodes, self.pace);
        let attached: Result<Vec<Pod>> = stream::iter(calls)
            .map(|(plan, index, plugin)| async move {
                let namespace = sandbox(name, &plan)?;
                attach_one(plan, namespace, &nodes[index], plugin, pace).await
            })
            .buffer_unordered(ATTACHED_AT_ONCE)
            .try_collect()
            .await;
        let attached = attached.map_err(|error| self.explained(error))?;
        self.pods.extend(attached.into_iter().map(|pod| (pod.plan().key(), Arc::new(pod))));
        Ok(())
    }

    /// The namespace of a pod that is to come, for those who want to be there first.
    pub fn sandbox(&self, plan: &PodPlan) -> Result<Arc<Namespace>> {
        sandbox(&self.name, plan)
    }

    /// Attaches one pod whose namespace is there already.
    pub async fn attach_in(&mut self, plan: PodPlan, namespace: Arc<Namespace>) -> Result<()> {
        let index = self.node_index(&plan.node)?;
        let pod = attach_one(plan, namespace, &self.nodes[index], self.plugin(index), self.pace).await?;
        self.pods.insert(pod.plan().key(), Arc::new(pod));
        Ok(())
    }

    /// Detaches a pod through the CNI plugin and ends its namespace once nothing else holds it.
    pub fn detach(&mut self, key: &str) -> Result<()> {
        let pod = self.pods.remove(key).with_context(|| format!("there is no pod {key} to detach"))?;
        let index = self.node_index(&pod.plan().node)?;
        pod.detach(self.nodes[index].namespace(), &self.plugin(index))
    }

    /// What the controller reads.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The nodes, in the order they were asked for.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The same, to change.
    pub fn nodes_mut(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.node_index(name).map(|index| &self.nodes[index])
    }

    /// The attached pods by `namespace/name`.
    pub fn pods(&self) -> &BTreeMap<String, Arc<Pod>> {
        &self.pods
    }

    /// The pod of this `namespace/name`.
    pub fn pod(&self, key: &str) -> Result<&Arc<Pod>> {
        self.pods.get(key).with_context(|| format!("there is no pod {key} in the lab"))
    }

    /// The wire between the nodes.
    pub fn underlay(&self) -> &Underlay {
        &self.underlay
    }

    /// How the lab was asked to be.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How long things may take.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Its folder, for what a command wants to keep beside it as long as it lives.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Lines that tell a person how to enter everything.
    pub fn how_to_enter(&self) -> Vec<String> {
        let nodes = self.nodes.iter().map(|node| (format!("Node/{}", node.name()), node.namespace()));
        let pods = self.pods.values().map(|pod| (format!("Pod/{}", pod.plan().key()), pod.namespace()));
        let outside = std::iter::once(("outside host".to_owned(), &self.underlay.outside));
        nodes.chain(pods).chain(outside).map(|(what, at)| format!("{what:<28} {}", at.how_to_enter())).collect()
    }

    /// Every daemon of the lab.
    pub fn daemons(&mut self) -> Vec<&mut Daemon> {
        self.controllers
            .iter_mut()
            .filter_map(|one| one.daemon.as_mut())
            .chain(self.nodes.iter_mut().flat_map(Node::daemons))
            .collect()
    }

    /// Takes the lab down and names what it left behind; empty is right.
    pub fn down(mut self) -> Vec<String> {
        for daemon in self.daemons() {
            daemon.kill();
        }
        let Self { pods, controllers, nodes, underlay, folder, leftovers, .. } = self;
        drop((pods, controllers, nodes, underlay));
        if let Err(error) = folder.close() {
            return vec![format!("the lab's folder: {error}")];
        }
        leftovers.find()
    }

    fn node_index(&self, name: &str) -> Result<usize> {
        self.nodes
            .iter()
            .position(|node| node.name() == name)
            .with_context(|| format!("there is no node {name} in the lab"))
    }

    /// How the runtime of a node reaches the plugin.
    pub fn plugin(&self, index: usize) -> Plugin {
        Plugin { program: self.binaries.cni.clone(), agent_socket: self.nodes[index].cni_socket() }
    }
}

/// Builds the underlay and starts all nodes' switches side by side.
fn plug_in(name: &LabName, plans: Vec<NodePlan>, folder: &Path, datapath: Datapath) -> Result<(Underlay, Vec<Node>)> {
    let underlay = Underlay::create(name)?;
    let started = std::thread::scope(|scope| {
        let starting: Vec<_> = plans
            .into_iter()
            .enumerate()
            .map(|(index, plan)| {
                let underlay = &underlay;
                scope.spawn(move || {
                    let what = format!("cannot start node {}", plan.name);
                    Node::start(name, plan, index, underlay, folder, datapath).context(what)
                })
            })
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Node>>| {
            thread.join().unwrap_or_else(|_| bail!("starting a node panicked"))
        };
        starting.into_iter().map(join).collect::<Result<Vec<Node>>>()
    });
    Ok((underlay, started?))
}

/// An empty namespace, as a container runtime makes one for a pod.
fn sandbox(name: &LabName, plan: &PodPlan) -> Result<Arc<Namespace>> {
    Namespace::create(name.namespace(&format!("{}_{}", plan.namespace, plan.name))).map(Arc::new)
}

async fn attach_one(plan: PodPlan, namespace: Arc<Namespace>, node: &Node, plugin: Plugin, pace: Pace) -> Result<Pod> {
    // The call waits for a process; the node's namespace is only needed to start it.
    let key = plan.key();
    let node = node.namespace().clone();
    tokio::task::spawn_blocking(move || Pod::attach(plan, namespace, &node, &plugin, pace))
        .await
        .with_context(|| format!("attaching {key} panicked"))?
}
