//! The lab of the draws: two nodes, a few pods that stay, up to [`SLOTS`] that come and go on `node-a`, whose agent and plugin
//! are stopped, and packets that no policy here ever allows.
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

use super::coverage::Coverage;
use super::disk::SmallDisk;
use super::draw::{Draw, Event, SLOTS, Start, next_policy};
use super::manifests::{BASE, NODE, PEER, manifest, many, pod_file, policy};
use super::runtime::{self, Runtime, Sandbox};
use super::traffic::{PORT, Traffic};
use super::upset::upset;
use crate::cluster::{complete, read_texts};
use crate::lab::{Lab, Namespace, Options, PodPlan, get};

/// How long the nodes may take to obey after all that happened. A pod without a controller waits 2 s for its identity.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);
/// For how long a process may still be between reading what it is to do and doing it.
const DISARMED: Duration = Duration::from_millis(10);
/// Between two looks at the agent.
const LOOK: Duration = Duration::from_millis(2);

/// A pod that is there.
pub struct Living {
    pub sandbox: Sandbox,
    pub addresses: Vec<IpAddr>,
    /// None once it was ended before the pod's DEL.
    pub namespace: Option<Arc<Namespace>>,
    /// Those who listen in it.
    listeners: JoinSet<()>,
}

/// The lab and what is known of it.
pub struct Scene {
    // Dropped in this order: what uses namespaces before the lab.
    senders: JoinSet<()>,
    listeners: JoinSet<()>,
    pub(super) pods: BTreeMap<usize, Living>,
    traffic: Traffic,
    start: Start,
    runtime: Runtime,
    /// Counts sandboxes: each has a name of its own.
    sandboxes: usize,
    /// Counts full disks: each brings names that were never there.
    fills: usize,
    /// How often the agent, or the plugin, has stopped at the point.
    stops: usize,
    /// How often it is to.
    wanted_stops: usize,
    /// How often it was started again for that.
    restarts: usize,
    disk: SmallDisk,
    pub(super) lab: Lab,
}

impl Scene {
    /// Brings it up; denied packets are sent from now on.
    pub async fn set(options: Options) -> Result<Self> {
        let cluster = complete(read_texts(vec![("base.yaml".to_owned(), BASE.to_owned())]));
        ensure!(cluster.invalid.is_empty(), "the base is refused: {}", cluster.invalid.join("; "));
        let mut lab = Lab::up(options, cluster.nodes.clone(), &cluster.files).await?;
        lab.settle().await?;
        let folder = lab.folder().to_owned();
        let at = |name: &str| folder.join(name).display().to_string();
        let environment = vec![
            ("FERRANT_FAULT", format!("@{}", at("fault"))),
            ("FERRANT_FAULT_HIT", at("fault.hit")),
            ("FERRANT_FAULT_TRACE", at("fault.trace")),
        ];
        lab.nodes_mut()[0].stop_agent();
        lab.nodes_mut()[0].set_agent_environment(environment);
        let disk = SmallDisk::at(folder.join(NODE).join("agent"))?;
        lab.restart_agent(NODE).await?;
        lab.attach(cluster.pods.clone()).await?;
        lab.settle().await?;
        let plugin = lab.plugin(0);
        let runtime = Runtime {
            node: lab.node(NODE)?.namespace().clone(),
            plugin: plugin.program,
            agent_socket: plugin.agent_socket,
            hit: folder.join("fault.hit"),
            trace: folder.join("fault.trace"),
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
            stops: 0,
            wanted_stops: 1,
            restarts: 0,
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
        (self.stops, self.wanted_stops, self.restarts) = (0, 1 + usize::from(draw.twice), 0);
        let _ = fs::remove_file(&self.runtime.hit);
        self.disk.shorten_log()?;
        let armed = draw.stops_plugin().then(|| draw.armed());
        if armed.is_none() && !draw.point.is_empty() {
            fs::write(self.arm_file(), draw.armed())?;
        }
        for step in &draw.steps {
            let armed = armed.clone().filter(|_| self.stops < self.wanted_stops);
            let outcome = self.happen(step.event, armed.as_deref()).await;
            outcome.with_context(|| format!("at `{}`", step.event))?;
            self.note_stop()?;
            if step.waited_for {
                self.settle().await.with_context(|| format!("after `{}`", step.event))?;
            }
            coverage.passed(step.event.kind(), &self.take_trace());
        }
        self.settle().await.context("after all of it")?;
        // It may be stopping just now.
        let stops = self.stops;
        let _ = fs::remove_file(self.arm_file());
        self.watched(tokio::time::sleep(DISARMED)).await?;
        self.note_stop()?;
        if self.stops != stops {
            self.settle().await.context("after it stopped at the end")?;
        }
        if !draw.point.is_empty() {
            coverage.note(&draw.point, self.stops > 0);
        }
        Ok(self.stops > 0)
    }

    async fn happen(&mut self, event: Event, armed: Option<&str>) -> Result<()> {
        match event {
            Event::Add(slot) => self.add(slot, armed).await?,
            Event::Remove(slot) | Event::Destroy(slot) | Event::Forget(slot) | Event::Alone(slot) => {
                self.remove(slot, armed, event).await?;
            }
            Event::Relabel(slot) => {
                let other = self.start.pods[slot] == Some(false);
                self.lab.source().write(&pod_file(slot), &manifest(slot, other))?;
            }
            Event::Policy(0) => self.lab.source().remove("policy.yaml")?,
            Event::Policy(number) => self.lab.source().write("policy.yaml", &policy(number)?)?,
            Event::Controller => self.lab.start_controller(0)?,
            Event::Vswitchd => self.lab.restart_switch(NODE)?,
            Event::Agent => self.lab.start_agent(0)?,
            Event::Forgetful => {
                self.lab.nodes_mut()[0].stop_agent();
                self.disk.empty()?;
                self.lab.start_agent(0)?;
            }
            Event::Peer if self.start.peer => self.lab.source().remove("peer.yaml")?,
            Event::Peer => self.lab.source().write("peer.yaml", PEER)?,
            Event::Host => {
                self.lab.nodes_mut()[0].stop_agent();
                upset(self.lab.nodes()[0].namespace())?;
                self.lab.start_agent(0)?;
            }
            Event::Full => self.fill_disk().await?,
            Event::Renew => self.renew().await?,
        }
        self.start.after(event);
        Ok(())
    }

    /// Starts the agent again with a certificate that is due, and waits until it is renewed, whatever dies meanwhile.
    async fn renew(&mut self) -> Result<()> {
        self.lab.nodes_mut()[0].stop_agent();
        self.lab.certify_due(NODE)?;
        self.lab.start_agent(0)?;
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
        match next_policy(self.start.policy) {
            0 => drop(self.lab.source().remove("policy.yaml")),
            number => self.lab.source().write("policy.yaml", &policy(number)?)?,
        }
        self.settle().await?;
        self.lab.start_agent(0)?;
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

    async fn remove(&mut self, slot: usize, armed: Option<&str>, how: Event) -> Result<()> {
        let mut living = self.pods.remove(&slot).with_context(|| format!("there is no pod {slot}"))?;
        if matches!(how, Event::Forget(_)) {
            living.sandbox.path = PathBuf::new();
        }
        if matches!(how, Event::Destroy(_)) {
            living.listeners.shutdown().await;
            living.namespace = None;
        }
        if matches!(how, Event::Alone(_)) {
            self.lab.nodes_mut()[0].stop_agent();
        }
        let (runtime, sandbox, armed) = (self.runtime.clone(), living.sandbox.clone(), armed.map(str::to_owned));
        let removed = tokio::task::spawn_blocking(move || runtime.remove(&sandbox, armed.as_deref()));
        if matches!(how, Event::Alone(_)) {
            // The plugin leaves a note for the agent that is to come.
            removed.await.context("removing a pod panicked")??;
            self.lab.start_agent(0)?;
        } else {
            self.watched(removed).await?.context("removing a pod panicked")??;
        }
        self.lab.source().remove(&pod_file(slot))
    }

    /// Waits for something, and starts the agent again when it stops at its point meanwhile.
    async fn watched<T>(&mut self, waited_for: impl Future<Output = T>) -> Result<T> {
        tokio::pin!(waited_for);
        loop {
            tokio::select! {
                done = &mut waited_for => return Ok(done),
                () = tokio::time::sleep(LOOK) => self.look()?,
            }
        }
    }

    /// An agent that has stopped at its point is started again; one that ended otherwise is an error.
    fn look(&mut self) -> Result<()> {
        let agent = self.lab.nodes_mut()[0].agent_mut().context("the agent is not started")?;
        let Err(ended) = agent.check() else { return Ok(()) };
        self.note_stop()?;
        if self.stops <= self.restarts {
            return Err(ended.context("the agent ended by itself"));
        }
        self.restarts += 1;
        if self.stops >= self.wanted_stops {
            let _ = fs::remove_file(self.arm_file());
        }
        self.lab.start_agent(0)
    }

    fn note_stop(&mut self) -> Result<()> {
        match fs::read_to_string(&self.runtime.hit) {
            Ok(text) => self.stops = text.lines().count(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => bail!("{}: {error}", self.runtime.hit.display()),
        }
        Ok(())
    }

    /// Waits until every node obeys the source as it is now and knows every pod as it is now.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let begun = Instant::now();
        let mut last = String::new();
        while begun.elapsed() < self.lab.pace().allow(SETTLED_WITHIN) {
            self.look()?;
            let (question, sockets) = (self.lab.source().version()?, self.sockets());
            let controller = self.lab.controller_socket();
            match self.watched(settled(question, sockets, controller)).await? {
                Ok(()) => return Ok(()),
                Err(error) => last = format!("{error:#}"),
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("the nodes do not obey after {} s: {last}", begun.elapsed().as_secs())
    }

    fn sockets(&self) -> Vec<(String, PathBuf)> {
        self.lab.nodes().iter().map(|node| (node.name().to_owned(), node.agent_socket())).collect()
    }

    fn arm_file(&self) -> PathBuf {
        self.lab.folder().join("fault")
    }

    fn take_trace(&self) -> String {
        let trace = fs::read_to_string(&self.runtime.trace).unwrap_or_default();
        // Written with O_APPEND: what comes next begins at the new end.
        let _ = fs::File::create(&self.runtime.trace);
        trace
    }

    /// Keeps the daemons' logs of a draw that failed, and says where.
    pub fn keep_logs(&self, number: usize) -> Result<()> {
        let kept = std::env::temp_dir().join(format!("crash-{}-{number}", std::process::id()));
        fs::create_dir_all(&kept)?;
        let folder = self.lab.folder();
        for (from, to) in [
            (folder.join(NODE).join("agent/agent.log"), "agent.log"),
            (folder.join(NODE).join("ovs/ovs-vswitchd.log"), "ovs-vswitchd.log"),
            (folder.join("controller.log"), "controller.log"),
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
