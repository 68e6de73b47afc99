//! `lab bench flows`: a real controller feeds a real agent whose switch is empty.
//!
//! ```text
//!  a directory of 30,000 pods ─► controller ─gRPC─► agent ─OpenFlow─► ovs-vswitchd (empty)
//!      [load]                             [decoding]   └───[realised]───┘  counted, and traced
//! ```
//!
//! Each round starts from nothing: controller, switch and agent are started anew, and the agent has no ledger. The time is the
//! agent's own, from the last decoded object of its first frame to the switch obeying; how long it took from the start of the
//! process, as seen from outside, stands beside it.

pub(crate) mod cluster;
pub(crate) mod count;
mod floor;
mod question;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use apis::query::{AgentInfo, AgentRealised, INFO_PATH, REALISED_PATH};

use self::count::Count;
use super::figure::{Figures, Target, largest, median, milliseconds};
use super::process;
use crate::command::{LabArguments, say};
use crate::lab::{Lab, get};
use crate::oracle::random::Random;

/// What the benchmark claims to measure.
const FLOWS: usize = 100_000;
/// Packets that are traced at the end of each round.
const QUESTIONS: usize = 40;
const LIMIT: Duration = Duration::from_secs(60);
/// Between two questions whether the switch obeys.
const PAUSE: Duration = Duration::from_millis(5);

/// What `lab bench flows` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArguments,
    /// Which packets are traced
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often the switch is filled; figures are medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

/// One round's figures.
struct Round {
    controller_load: Duration,
    since_start: Duration,
    realised: AgentRealised,
    info: AgentInfo,
    counted: Count,
    agent_peak: f64,
    controller_peak: f64,
    agent_processor: f64,
    switch_processor: f64,
}

/// Runs it; true when the switch has what the agent says and every traced verdict is right.
///
/// # Errors
/// When the lab fails.
pub async fn run(arguments: Arguments) -> Result<bool> {
    let load = process::load()?;
    let files = cluster::files();
    say(&format!("{} tenant pods, {} services, {} files", cluster::tenants().count(), cluster::SERVICES, files.len()));
    let meaning = crate::cluster::read_texts(files.clone());
    ensure!(meaning.invalid.is_empty(), "the benchmark's own manifests are refused: {:?}", meaning.invalid);
    let meaning: policy::Cluster = meaning.files.into_iter().flat_map(|file| file.objects).collect();
    let mut lab = Lab::up(arguments.lab.options(), vec![cluster::node_plan()], &files).await?;
    in_sync(&mut lab).await?;
    first_realised(&mut lab).await?;
    lab.attach(cluster::pod_plans()).await?;
    lab.settle().await?;
    let mut random = Random::new(arguments.seed);
    let (mut figures, mut rounds, mut denied) = (Figures::default(), Vec::new(), 0);
    for number in 1..=arguments.rounds {
        let round = fill(&mut lab).await.with_context(|| format!("in round {number}"))?;
        say(&format!("round {number}: {}", round.in_words()));
        check(&round, &mut figures);
        let (dropped, wrong) = question::ask(&lab, &meaning, &mut random, QUESTIONS).await?;
        wrong.into_iter().for_each(|what| figures.wrong(what));
        denied += dropped;
        rounds.push(round);
    }
    let asked = QUESTIONS * rounds.len();
    if denied < asked / 5 || denied > asked * 4 / 5 {
        figures.wrong(format!("{denied} of {asked} traced packets are denied: they show little"));
    }
    report(&rounds, &mut figures);
    let floor = floor::measure(&mut lab)?;
    figures.add("floor_switch_processor_ms", "the same flows in one bundle by ovs-ofctl", floor, "ms");
    figures.add("traced", "traced packets", asked as f64, "");
    figures.add("traced_denied", "of them denied", denied as f64, "");
    figures.add("machine_load", "load average before", load, "");
    for left in lab.down() {
        figures.wrong(format!("left behind: {left}"));
    }
    Ok(figures.print("flows", arguments.seed, arguments.lab.datapath))
}

/// Everything anew, until the switch obeys.
async fn fill(lab: &mut Lab) -> Result<Round> {
    let node = &mut lab.nodes_mut()[0];
    node.stop_agent();
    node.forget_agent_state()?;
    node.restart_switch()?;
    let start = Instant::now();
    lab.start_controller(0)?;
    in_sync(lab).await?;
    let controller_load = start.elapsed();
    let agent = lab.nodes()[0].agent_socket();
    let switch_idle = processor_time_of_switch(lab)?;
    let start = Instant::now();
    lab.start_agent(0)?;
    let realised = first_realised(lab).await?;
    let since_start = start.elapsed();
    let switch_processor = processor_time_of_switch(lab)? - switch_idle;
    let agent_process = lab.nodes_mut()[0].agent().context("the agent is running")?.id();
    let agent_processor = process::processor_time(agent_process)?;
    // What came after the first frame, if anything did, is in before the flows are counted.
    lab.settle().await?;
    let info: AgentInfo = serde_json::from_value(get(&agent, INFO_PATH, LIMIT).await?.json()?)?;
    let agent_peak = process::peak_memory(agent_process)?;
    let node = &mut lab.nodes_mut()[0];
    let (switch, namespace) = node.switch();
    let counted = count::count(namespace, switch.run_folder())?;
    let controller_peak = process::peak_memory(lab.daemons()[0].id())?;
    Ok(Round {
        controller_load,
        since_start,
        realised,
        info,
        counted,
        agent_peak,
        controller_peak,
        agent_processor,
        switch_processor,
    })
}

/// Waits until the controller knows the directory.
async fn in_sync(lab: &mut Lab) -> Result<()> {
    let controller = lab.controller_socket();
    until(lab, "the controller to know the directory", async || {
        let info = get(&controller, INFO_PATH, LIMIT).await.ok()?.json().ok()?;
        (info["in_sync"] == true).then_some(())
    })
    .await
}

/// Waits until the switch obeys a frame; what the agent says of it.
async fn first_realised(lab: &mut Lab) -> Result<AgentRealised> {
    let agent = lab.nodes()[0].agent_socket();
    until(lab, "the switch to obey", async || {
        let answer = get(&agent, REALISED_PATH, LIMIT).await.ok()?.json().ok()?;
        let realised: AgentRealised = serde_json::from_value(answer).ok()?;
        realised.frame.map(|_| realised)
    })
    .await
}

fn processor_time_of_switch(lab: &mut Lab) -> Result<f64> {
    let (switch, _) = lab.nodes_mut()[0].switch();
    process::processor_time(switch.daemons()[0].id())
}

/// Asks until there is an answer; fails when a daemon has ended.
async fn until<T>(lab: &mut Lab, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        for daemon in lab.daemons() {
            daemon.check()?;
        }
        ensure!(start.elapsed() < LIMIT, "waited {} s for {what}", LIMIT.as_secs());
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether the round measured what the benchmark says.
fn check(round: &Round, figures: &mut Figures) {
    let said = Count { flows: round.info.flows, conjunctive: round.info.conjunctive_flows };
    let counted = round.counted;
    if said != counted {
        figures.wrong(format!("the agent says {said:?}, but in the switch are {counted:?}"));
    }
    if counted.flows < FLOWS || counted.conjunctive * 3 < counted.flows {
        figures.wrong(format!("{counted:?}: this is not {FLOWS} flows, a third of them conjunctive"));
    }
    for failure in &round.realised.failures {
        figures.wrong(format!("not realised: {}: {}", failure.object, failure.reason));
    }
}

fn report(rounds: &[Round], figures: &mut Figures) {
    let of = |value: fn(&Round) -> f64| rounds.iter().map(value).collect::<Vec<f64>>();
    let realised = median(&of(|round| round.realised.timing.realised));
    let flows = median(&of(|round| round.counted.flows as f64));
    figures.promise("flows", "flows counted in the switch", flows, "", Target::AtLeast(FLOWS as f64));
    figures.add("conjunctive_flows", "of them conjunctive", median(&of(|round| round.counted.conjunctive as f64)), "");
    figures.promise("realised_ms", "last decoded object to realised", realised, "ms", Target::AtMost(1500.0));
    figures.add(
        "realised_ms_worst",
        "the same, slowest round",
        largest(&of(|round| round.realised.timing.realised)),
        "ms",
    );
    figures.add("flows_per_second", "flows per second", flows / realised * 1000.0, "/s");
    figures.add("plan_ms", "last decoded object to planned", median(&of(|round| round.realised.timing.plan)), "ms");
    figures.add(
        "committed_ms",
        "last decoded object to committed",
        median(&of(|round| round.realised.timing.committed)),
        "ms",
    );
    figures.add(
        "decoding_ms",
        "first part of the frame to its last object",
        median(&of(|round| round.realised.timing.decode)),
        "ms",
    );
    figures.add(
        "agent_start_to_realised_ms",
        "agent's start to realised",
        median(&of(|round| milliseconds(round.since_start))),
        "ms",
    );
    figures.add(
        "controller_load_ms",
        "controller's start to in sync",
        median(&of(|round| milliseconds(round.controller_load))),
        "ms",
    );
    figures.add(
        "agent_processor_ms",
        "agent's processor time from its start",
        median(&of(|round| round.agent_processor)),
        "ms",
    );
    figures.add(
        "switch_processor_ms",
        "the switch's processor time meanwhile",
        median(&of(|round| round.switch_processor)),
        "ms",
    );
    figures.promise(
        "agent_peak_mb",
        "agent's peak memory (VmHWM)",
        largest(&of(|round| round.agent_peak)),
        "MB",
        Target::AtMost(48.0),
    );
    figures.add(
        "controller_peak_mb",
        "controller's peak memory (VmHWM)",
        largest(&of(|round| round.controller_peak)),
        "MB",
    );
    figures.add("rounds", "rounds", rounds.len() as f64, "");
}

impl Round {
    fn in_words(&self) -> String {
        let timing = self.realised.timing;
        format!(
            "{} flows, {} conjunctive, planned {:.0} ms, committed {:.0} ms, realised {:.0} ms (decoding {:.0} ms before, {:.0} ms since the \
             agent's start), processor {:.0} ms agent and {:.0} ms switch, agent {:.1} MB, controller {:.1} MB, loaded in {:.0} ms",
            self.counted.flows,
            self.counted.conjunctive,
            timing.plan,
            timing.committed,
            timing.realised,
            timing.decode,
            milliseconds(self.since_start),
            self.agent_processor,
            self.switch_processor,
            self.agent_peak,
            self.controller_peak,
            milliseconds(self.controller_load),
        )
    }
}
