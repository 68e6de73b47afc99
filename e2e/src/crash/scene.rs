//! The lab of the draws: two nodes, two controllers, a few pods that stay, up to [`SLOTS`] that come and go on `node-a`, whose
//! agent and plugin are stopped, and packets that no policy here ever allows.
//!
//! Whoever works here is watched: an agent that stops at its point is started again at once, as a DaemonSet does, and then no
//! longer armed.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::task::JoinSet;

use super::armed::Armed;
use super::coverage::Coverage;
use super::disk::SmallDisk;
use super::draw::Draw;
use super::event::{CONTROLLERS, Event, SLOTS, Start, next_policy};
use super::manifests::{BASE, NODE, PEER, manifest, many, pod_file, policy};
use super::runtime::{self, Runtime, Sandbox};
use super::traffic::{PORT, Traffic};
use super::upset::upset;
use crate::cluster::{complete, read_texts};
use crate::lab::{Daemon, Lab, Namespace, Options, PodPlan, get};

/// How long the nodes may take to obey after all that happened. A pod without a controller waits 2 s for its identity.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks at the agent.
pub const LOOK: Duration = Duration::from_millis(2);

/// A pod that is there.
pub struct Living {
    pub sandbox: Sandbox,
    pub addresses: Vec<IpAddr>,
    /// None once it was ended before the pod's DEL.
    pub namespace: Option<Arc<Namespace>>,
    /// Those who listen in it.
    pub listeners: JoinSet<()>,
}

/// The lab and what is known of it.
pub struct Scene {
    // Dropped in this order: what uses namespaces before the lab.
    senders: JoinSet<()>,
    listeners: JoinSet<()>,
    pub(super) pods: BTreeMap<usize, Living>,
    traffic: Traffic,
    start: Start,
    pub(super) runtime: Runtime,
    /// Counts sandboxes: each has a name of its own.
    sandboxes: usize,
    /// Counts full disks: each brings names that were never there.
    fills: usize,
    /// Counts how often the agent was started again because it had stopped at its point.
    restarts: usize,
    pub(super) armed: Armed,
    disk: SmallDisk,
    pub(super) lab: Lab,
}

impl Scene {
    /// Brings it up; denied packets are sent from now on.
    pub async fn set(options: Options) -> Result<Self> {
        let cluster = complete(read_texts(vec![("base.yaml".to_owned(), BASE.to_owned())]));
        ensure!(cluster.invalid.is_empty(), "the base is refused: {}", cluster.invalid.join("; "));
        let options = Options { controllers: CONTROLLERS, ..options };
        let mut lab = Lab::up(options, cluster.nodes.clone(), &cluster.files).await?;
        lab.settle().await?;
        let folder = lab.folder().to_owned();
        let armed = Armed::in_folder(&folder);
        lab.nodes_mut()[0].stop_agent();
        lab.nodes_mut()[0].set_agent_environment(armed.environment());
        let disk = SmallDisk::at(folder.join(NODE).join("agent"))?;
        lab.restart_agent(NODE).await?;
        lab.attach(cluster.pods.clone()).await?;
        lab.settle().await?;
        let plugin = lab.plugin(0);
        let runtime = Runtime {
            node: lab.node(NODE)?.namespace().clone(),
            plugin: plugin.program,
            agent_socket: plugin.agent_socket,
            hit: armed.hit.clone(),
            trace: armed.trace.clone(),
        };
        let mut scene = Self {
            senders: JoinSet::new(),
            listeners: JoinSet::new(),
            pods: BTreeMap::new(),
            traffic: Traffic::default(),
            start: Start::default(),
            runtime,
            sandboxes: 0,
            fills: 0,
            restarts: 0,
            armed,
            disk,
            lab,
        };
        scene.send_and_listen().await?;
        Ok(scene)
    }

    async fn send_and_listen(&mut self) -> Result<()> {
        for (key, pod) in self.lab.pods().clone() {
            self.traffic.listen(&mut self.listeners, pod.namespace(), &key).await?;
        }
        let address = |lab: &Lab, pod: &str, ipv6| {
            lab.pod(pod)?.address(ipv6).map(|ip| SocketAddr::new(ip, PORT)).context("a pod here has both families")
        };
        // Every address a pod of the node can have, whether one has it or not: whoever gets one is under fire at once.
        let range: Vec<SocketAddr> =
            (2..=14).map(|host| SocketAddr::new(Ipv4Addr::new(10, 10, 1, host).into(), PORT)).collect();
        let others = [false, true].map(|ipv6| address(&self.lab, "guard/server-b", ipv6));
        let [other, other_v6] = others;
        let (other, other_v6) = (other?, other_v6?);
        let own_v6 = address(&self.lab, "guard/server-a", true)?;
        let mut closed_port = address(&self.lab, "guard/server-a", false)?;
        closed_port.set_port(PORT + 1);
        let plans: [(&str, Vec<SocketAddr>); 4] = [
            ("guard/stranger-a", [range.clone(), vec![own_v6, other, other_v6]].concat()),
            ("guard/stranger-b", [range, vec![own_v6]].concat()),
            ("guard/mute-a", vec![other, other_v6]),
            ("guard/friend-b", vec![closed_port]),
        ];
        for (sender, targets) in plans {
            let namespace = self.lab.pod(sender)?.namespace().clone();
            let own = self.lab.pod(sender)?.addresses().to_vec();
            let targets = targets.into_iter().filter(|target| !own.contains(&target.ip())).collect();
            self.traffic.deny(&mut self.senders, &namespace, sender, targets).await?;
        }
        Ok(())
    }

    /// What there is, as far as draws change it.
    pub fn start(&self) -> Start {
        self.start.clone()
    }

    /// What is sent and arrives.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Makes what there is equal to `wanted`, with nothing armed.
    pub async fn be(&mut self, wanted: &Start) -> Result<()> {
        if self.start.peer != wanted.peer {
            self.happen(Event::Peer, None).await?;
        }
        for slot in 0..SLOTS {
            match (self.start.pods[slot], wanted.pods[slot]) {
                (Some(_), None) => self.happen(Event::Remove(slot), None).await?,
                (None, Some(_)) => self.happen(Event::Add(slot), None).await?,
                _ => {}
            }
            if self.start.pods[slot] != wanted.pods[slot] {
                self.happen(Event::Relabel(slot), None).await?;
            }
        }
        if self.start.policy != wanted.policy {
            self.happen(Event::Policy(wanted.policy), None).await?;
        }
        self.settle().await
    }

    /// Plays a draw to its end, when every node obeys; whether a process stopped at the point.
    pub async fn play(&mut self, draw: &Draw, coverage: &mut Coverage) -> Result<bool> {
        self.disk.shorten_log()?;
        self.armed.arm(draw)?;
        for step in &draw.steps {
            let plugin = self.armed.of_plugin()?;
            let outcome = self.happen(step.event, plugin.as_deref()).await;
            outcome.with_context(|| format!("at `{}`", step.event))?;
            if step.waited_for {
                self.settle().await.with_context(|| format!("after `{}`", step.event))?;
            }
            coverage.passed(step.event.kind(), &self.armed.take_trace());
        }
        self.settle().await.context("after all of it")?;
        // Nobody stops from here on: what is asked next is answered. One that has stopped just now is started again first.
        self.armed.disarm()?;
        if self.look()? {
            self.settle().await.context("after it stopped at the end")?;
        }
        let stopped = self.armed.has_stopped()?;
        if !draw.point.is_empty() {
            coverage.note(&draw.point, stopped);
        }
        Ok(stopped)
    }

    async fn happen(&mut self, event: Event, armed: Option<&str>) -> Result<()> {
        match event {
            Event::Add(slot) => self.add(slot, armed).await?,
            Event::Remove(slot)
            | Event::Destroy(slot)
            | Event::Forget(slot)
            | Event::Alone(slot)
            | Event::WithoutOvsdb(slot)
            | Event::WithoutVswitchd(slot)
            | Event::Stalled(slot) => self.remove(slot, armed, event).await?,
            Event::Relabel(slot) => {
                let other = self.start.pods[slot] == Some(false);
                self.lab.source().write(&pod_file(slot), &manifest(slot, other))?;
            }
            Event::Policy(number) => self.change_policy(number)?,
            Event::Controller => {
                // Both are away before one is back.
                (0..CONTROLLERS).try_for_each(|index| self.lab.stop_controller(index))?;
                (0..CONTROLLERS).try_for_each(|index| self.lab.start_controller(index))?;
            }
            Event::Failover(index) => {
                self.lab.stop_controller(index)?;
                self.change_policy(next_policy(self.start.policy))?;
                self.settle().await.with_context(|| format!("without controller {index}"))?;
                self.lab.start_controller(index)?;
            }
            Event::Vswitchd => self.lab.restart_switch(NODE)?,
            Event::Agent => self.start_agent()?,
            Event::Forgetful => {
                self.stop_agent()?;
                self.disk.empty()?;
                self.start_agent()?;
            }
            Event::Peer if self.start.peer => self.lab.source().remove("peer.yaml")?,
            Event::Peer => self.lab.source().write("peer.yaml", PEER)?,
            Event::Host => {
                self.stop_agent()?;
                upset(self.lab.nodes()[0].namespace())?;
                self.start_agent()?;
            }
            Event::Full => self.fill_disk().await?,
            Event::Renew => self.renew().await?,
        }
        self.start.after(event);
        Ok(())
    }

    /// Another policy takes the place of what is there.
    fn change_policy(&self, number: usize) -> Result<()> {
        match number {
            0 => self.lab.source().remove("policy.yaml"),
            number => self.lab.source().write("policy.yaml", &policy(number)?),
        }
    }

    /// Starts the agent again with a certificate that is due, and waits until it is renewed, whatever dies meanwhile.
    async fn renew(&mut self) -> Result<()> {
        self.stop_agent()?;
        self.lab.certify_due(NODE)?;
        self.start_agent()?;
        let begun = Instant::now();
        while self.lab.is_due(NODE)? {
            ensure!(begun.elapsed() < self.lab.pace().allow(SETTLED_WITHIN), "the agent's certificate is not renewed");
            self.watched(tokio::time::sleep(LOOK)).await?;
        }
        Ok(())
    }

    /// Changes the policy and starts the agent again on a full disk, and frees it when all nodes obey.
    async fn fill_disk(&mut self) -> Result<()> {
        self.disk.fill()?;
        let outcome = self.on_full_disk().await;
        self.disk.free()?;
        outcome.context("on a full disk")
    }

    async fn on_full_disk(&mut self) -> Result<()> {
        self.fills += 1;
        self.lab.source().write("many.yaml", &many(self.fills))?;
        self.change_policy(next_policy(self.start.policy))?;
        self.settle().await?;
        self.start_agent()?;
        self.settle().await?;
        self.lab.source().remove("many.yaml")?;
        self.settle().await
    }

    async fn add(&mut self, slot: usize, armed: Option<&str>) -> Result<()> {
        self.lab.source().write(&pod_file(slot), &manifest(slot, false))?;
        let (begun, mut armed) = (Instant::now(), armed.map(str::to_owned));
        loop {
            self.sandboxes += 1;
            let plan = PodPlan::new("guard", format!("p{slot}-{}", self.sandboxes), NODE);
            let namespace = self.lab.sandbox(&plan)?;
            let pod = format!("guard/p{slot}");
            let sandbox = Sandbox { container: namespace.name().to_owned(), pod: pod.clone(), path: namespace.path() };
            let mut listeners = JoinSet::new();
            self.traffic.listen(&mut listeners, &namespace, &pod).await?;
            let (runtime, asked, armed) = (self.runtime.clone(), sandbox.clone(), armed.take());
            let added = tokio::task::spawn_blocking(move || runtime.add(&asked, armed.as_deref()));
            let added = self.watched(added).await?.context("adding a pod panicked")??;
            if let Some(addresses) = added {
                self.pods.insert(slot, Living { sandbox, addresses, namespace: Some(namespace), listeners });
                return Ok(());
            }
            ensure!(begun.elapsed() < runtime::PATIENCE, "pod {pod} cannot be added");
        }
    }

    /// Waits for something, and starts the agent again when it stops at its point meanwhile.
    pub(super) async fn watched<T>(&mut self, waited_for: impl Future<Output = T>) -> Result<T> {
        tokio::pin!(waited_for);
        loop {
            tokio::select! {
                done = &mut waited_for => return Ok(done),
                () = tokio::time::sleep(LOOK) => drop(self.look()?),
            }
        }
    }

    /// Whether the agent has stopped at its point since that was looked at last; it is there again then.
    pub async fn has_stopped_late(&mut self) -> Result<bool> {
        let stopped = self.look()?;
        if stopped {
            self.settle().await.context("after it stopped while it was asked")?;
        }
        Ok(stopped)
    }

    /// An agent that has stopped at its point is started again, and true is answered; one that ended otherwise is an error.
    fn look(&mut self) -> Result<bool> {
        let agent = self.lab.nodes_mut()[0].agent_mut().context("the agent is not started")?;
        // Asked first: one that has ended at its point has said so before.
        let ended = agent.check();
        if self.armed.agent_has_stopped()? {
            self.restarts += 1;
            return self.lab.start_agent(0).map(|()| true);
        }
        ended.map(|()| false).context("the agent ended by itself")
    }

    /// Ends the agent. It may have stopped at its point before.
    pub(super) fn stop_agent(&mut self) -> Result<()> {
        let ended = self.lab.nodes_mut()[0].agent_mut().map_or(Ok(()), Daemon::check);
        self.lab.nodes_mut()[0].stop_agent();
        if self.armed.agent_has_stopped()? {
            return Ok(());
        }
        ended.context("the agent ended by itself")
    }

    /// Ends the agent if it runs, and starts it.
    pub(super) fn start_agent(&mut self) -> Result<()> {
        self.stop_agent()?;
        self.lab.start_agent(0)
    }

    /// Waits until every node obeys the source as it is now and knows every pod as it is now.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let begun = Instant::now();
        let mut last = String::new();
        while begun.elapsed() < self.lab.pace().allow(SETTLED_WITHIN) {
            self.look()?;
            let (question, sockets) = (self.lab.source().version()?, self.sockets());
            let (controller, restarts) = (self.lab.controller_socket(), self.restarts);
            match self.watched(settled(question, sockets, controller)).await? {
                Ok(()) if self.restarts == restarts => return Ok(()),
                // It had said yes, and then it stopped while the others were asked.
                Ok(()) => "the agent stopped at its point while all were asked".clone_into(&mut last),
                Err(error) => last = format!("{error:#}"),
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("the nodes do not obey after {} s: {last}", begun.elapsed().as_secs())
    }

    fn sockets(&self) -> Vec<(String, PathBuf)> {
        self.lab.nodes().iter().map(|node| (node.name().to_owned(), node.agent_socket())).collect()
    }

    /// Keeps the daemons' logs of a draw that failed, and says where.
    pub fn keep_logs(&self, number: usize) -> Result<()> {
        let kept = std::env::temp_dir().join(format!("crash-{}-{number}", std::process::id()));
        fs::create_dir_all(&kept)?;
        let folder = self.lab.folder();
        for (from, to) in [
            (folder.join(NODE).join("agent/agent.log"), "agent.log"),
            (folder.join(NODE).join("ovs/ovs-vswitchd.log"), "ovs-vswitchd.log"),
            (folder.join("controller-0.log"), "controller-0.log"),
            (folder.join("controller-1.log"), "controller-1.log"),
        ] {
            // A log that is not there says nothing.
            let _ = fs::copy(from, kept.join(to));
        }
        crate::command::say(&format!("    the logs are in {}", kept.display()));
        Ok(())
    }

    /// Takes all down; what was left behind.
    pub async fn strike(self) -> Vec<String> {
        let Self { mut senders, mut listeners, pods, runtime, disk, mut lab, .. } = self;
        lab.nodes_mut()[0].stop_agent();
        drop((runtime, disk));
        senders.shutdown().await;
        listeners.shutdown().await;
        for (_, mut living) in pods {
            living.listeners.shutdown().await;
        }
        lab.down()
    }
}

/// One question to all: do you obey this version, and know the pods as they are?
async fn settled(version: u64, agents: Vec<(String, PathBuf)>, controller: PathBuf) -> Result<()> {
    const SHORT: Duration = Duration::from_millis(300);
    let (mut names, mut after) = (Vec::new(), Vec::new());
    for (name, socket) in &agents {
        let info: Value = get(socket, "/v1/info", SHORT).await?.json()?;
        if let Some(sequence) = info["sequence"].as_u64() {
            after.push(format!("{name}:{sequence}"));
        }
        ensure!(info["switch_connected"] == true, "{name} has no switch");
        names.push(name.as_str());
    }
    let (names, after) = (names.join(","), after.join(","));
    let path = format!("/v1/realised?version={version}&nodes={names}&after={after}&timeout_ms=200");
    let answer = get(&controller, &path, SHORT * 2).await?;
    ensure!(answer.status == 200, "{}", answer.text());
    Ok(())
}
