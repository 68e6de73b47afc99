//! `lab bench agents`: a real controller, a directory of a hundred thousand pods, and simulated agents.
//!
//! ```text
//!  a directory of 100,000 pods ─► controller ═TLS═ N agents in this process (digests, no switch)
//!       [in sync after a start]    [memory]        [bytes for one pod's change]
//! ```
//!
//! Two lives of the controller: in the first every agent has nothing and is told everything; then it is killed, started again,
//! and every agent comes back with what it has, as real agents do. Memory is the larger of both.

mod agent;
mod cluster;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use certificates::{Authority, Identity, Role, Validity};

use self::agent::Agent;
use self::cluster::{Size, node_name};
use super::figure::{Figures, Target, largest, median};
use super::process;
use crate::command::say;
use crate::lab::{Binaries, Datapath, get};

const LIMIT: Duration = Duration::from_secs(300);
/// Between two looks at all agents.
const LOOK: Duration = Duration::from_millis(20);
/// Pods that are changed, one after the other.
const CHANGES: usize = 10;
/// After this long without a byte nothing more comes of a change: several times the controller's interval of heads.
const QUIET: Duration = Duration::from_millis(500);

/// What `lab bench agents` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// How many agents
    #[arg(long, short = 'n', default_value_t = 1000, value_parser = clap::value_parser!(u16).range(2..))]
    agents: u16,
    /// How many pods
    #[arg(long, default_value_t = 100_000)]
    pods: usize,
    /// Not used: nothing is drawn by chance
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// A controller process; ends with this value.
struct Controller(Child);

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Controller {
    fn start(folder: &Path, listen: SocketAddr) -> Result<Self> {
        let log = std::fs::File::options().create(true).append(true).open(folder.join("controller.log"))?;
        let mut command = Command::new(Binaries::of_this_build()?.controller);
        command.arg("--source").arg(folder.join("cluster")).arg("--serve").arg(folder.join("serve.sock"));
        command.arg("--listen").arg(listen.to_string()).args(["--log", "warn"]);
        command.arg("--certificates").arg(folder.join("ca"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        Ok(Self(child.context("cannot start the controller")?))
    }

    fn check(&mut self, folder: &Path) -> Result<()> {
        if let Some(status) = self.0.try_wait()? {
            let log = std::fs::read_to_string(folder.join("controller.log")).unwrap_or_default();
            let end: Vec<&str> = log.lines().rev().take(10).collect();
            anyhow::bail!("the controller ended ({status}); the end of its log:\n{}", end.join("\n"));
        }
        Ok(())
    }
}

/// A CA for the controller, and a certificate for each node: what is measured is what runs, TLS included.
fn identities(folder: &Path, nodes: usize) -> Result<Vec<Identity>> {
    Authority::create(&folder.join("ca"))?;
    let authority = Authority::open(&folder.join("ca"))?;
    let issue = |number| {
        let role = Role::Node(node_name(number));
        authority.issue_to(&folder.join("issued"), &role, Validity::from_now(Duration::from_secs(86_400)))
    };
    (0..nodes).map(|number| Ok(issue(number)?)).collect()
}

/// Runs it; true when it measured what it says.
///
/// # Errors
/// When something cannot be started.
pub async fn run(arguments: Arguments) -> Result<bool> {
    let load = process::load()?;
    process::allow_many_files()?;
    let size = Size { nodes: arguments.agents.into(), pods: arguments.pods };
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let folder = folder.path();
    std::fs::create_dir(folder.join("cluster"))?;
    say(&format!("writing a directory of {} pods on {} nodes", size.pods, size.nodes));
    size.write(&folder.join("cluster"))?;
    let listen = free_port()?;
    let identities = identities(folder, size.nodes)?;
    let mut controller = Controller::start(folder, listen)?;
    let start = Instant::now();
    let agents: Vec<Arc<Agent>> = size
        .pods_of()
        .into_iter()
        .zip(identities)
        .enumerate()
        .map(|(number, (pods, identity))| Agent::new(node_name(number), listen, identity, pods))
        .collect();
    let mut lives = tokio::task::JoinSet::new();
    for agent in &agents {
        lives.spawn(Arc::clone(agent).live());
    }
    let mut figures = Figures::default();
    let from_nothing = in_sync(&mut controller, folder, &agents, start).await?;
    settle(folder, &agents).await?;
    let first_peak = process::peak_memory(controller.0.id())?;
    say(&format!("from nothing: {:.1} s, {first_peak:.0} MB", from_nothing.as_secs_f64()));
    agents.iter().for_each(|agent| agent.prepare());

    drop(controller);
    let start = Instant::now();
    let mut controller = Controller::start(folder, listen)?;
    let loaded = loaded(&mut controller, folder, start).await?;
    let restart = in_sync(&mut controller, folder, &agents, start).await?;
    for agent in agents.iter().filter(|agent| agent.was_replaced()) {
        figures.wrong(format!("an agent with {} objects was told everything anew after the restart", agent.objects()));
    }
    settle(folder, &agents).await?;
    let bytes = change_pods(folder, &agents).await?;
    let second_peak = process::peak_memory(controller.0.id())?;
    controller.check(folder)?;

    let objects = agents.iter().map(|agent| agent.objects() as f64).collect::<Vec<_>>();
    figures.add("agents", "agents", agents.len() as f64, "");
    figures.add("pods", "pods", size.pods as f64, "");
    figures.add("objects", "objects an agent has (median)", median(&objects), "");
    let peak = first_peak.max(second_peak);
    figures.promise("controller_peak_mb", "controller's peak memory (VmHWM)", peak, "MB", Target::AtMost(500.0));
    figures.add("controller_peak_restarted_mb", "the same, of the restarted one", second_peak, "MB");
    let seconds = restart.as_secs_f64();
    figures.promise("in_sync_s", "controller's restart to all agents in sync", seconds, "s", Target::AtMost(10.0));
    figures.add("loaded_s", "of that, until it knows the directory", loaded.as_secs_f64(), "s");
    figures.add("from_nothing_s", "the same when no agent has anything", from_nothing.as_secs_f64(), "s");
    let most = largest(&bytes);
    figures.promise(
        "bytes_for_a_pod",
        "bytes to an agent for one pod's change, the most",
        most,
        "B",
        Target::AtMost(300.0),
    );
    figures.add("machine_load", "load average before", load, "");
    Ok(figures.print("agents", arguments.seed, Datapath::Netdev))
}

/// A port of this host that nobody has now.
fn free_port() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Waits until every agent has the first frame of a stream; how long after `start` the last had it.
async fn in_sync(
    controller: &mut Controller,
    folder: &Path,
    agents: &[Arc<Agent>],
    start: Instant,
) -> Result<Duration> {
    loop {
        let since = |agent: &Arc<Agent>| agent.in_sync().filter(|at| *at > start);
        if let Some(last) = agents.iter().map(since).collect::<Option<Vec<_>>>() {
            return Ok(last.into_iter().max().map_or(Duration::ZERO, |last| last - start));
        }
        controller.check(folder)?;
        let there = agents.iter().filter(|agent| since(agent).is_some()).count();
        ensure!(start.elapsed() < LIMIT, "{there} of {} agents are in sync after {LIMIT:?}", agents.len());
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until the controller knows the directory; how long after `start`.
async fn loaded(controller: &mut Controller, folder: &Path, start: Instant) -> Result<Duration> {
    loop {
        let info = get(&folder.join("serve.sock"), "/v1/info", LIMIT).await.and_then(|answer| answer.json());
        if info.is_ok_and(|info| info["in_sync"] == true) {
            return Ok(start.elapsed());
        }
        controller.check(folder)?;
        ensure!(start.elapsed() < LIMIT, "the controller does not know the directory after {LIMIT:?}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until the controller has nothing to say to anyone and all is realised.
async fn settle(folder: &Path, agents: &[Arc<Agent>]) -> Result<()> {
    let after: Vec<String> = agents
        .iter()
        .enumerate()
        .map(|(number, agent)| format!("{}:{}", node_name(number), agent.sequence()))
        .collect();
    let path = format!("/v1/realised?after={}&timeout_ms={}", after.join(","), LIMIT.as_millis());
    let answer = get(&folder.join("serve.sock"), &path, LIMIT).await?;
    ensure!(answer.status == 200, "the agents did not settle: {}", answer.status);
    Ok(())
}

/// Changes pods one after the other; the most bytes that any agent got for each.
async fn change_pods(folder: &Path, agents: &[Arc<Agent>]) -> Result<Vec<f64>> {
    let mut bytes = Vec::new();
    for number in 0..CHANGES {
        quiet(agents).await;
        let changed = number * agents.len() / CHANGES;
        agents[changed].change_a_pod().await?;
        settle(folder, agents).await?;
        let got = quiet(agents).await;
        let told = agents.iter().filter(|agent| agent.knows(&node_name(changed)) == agents[changed].sequence()).count();
        ensure!(told > 0, "nobody was told of the change");
        say(&format!("a pod of {}: {told} agents were told, {} B at most", node_name(changed), largest(&got)));
        bytes.push(largest(&got));
    }
    Ok(bytes)
}

/// Waits until nothing comes any more; what came to each agent.
async fn quiet(agents: &[Arc<Agent>]) -> Vec<f64> {
    let mut came = vec![0.0; agents.len()];
    loop {
        tokio::time::sleep(QUIET).await;
        let more: Vec<u64> = agents.iter().map(|agent| agent.take_bytes()).collect();
        for (came, more) in came.iter_mut().zip(&more) {
            *came += *more as f64;
        }
        if more.iter().all(|bytes| *bytes == 0) {
            return came;
        }
    }
}
