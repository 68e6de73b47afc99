//! `lab restart`: daemons are killed while packets flow, and it is counted what is lost and what gets through.
//!
//! Two pods of two nodes send each other [`RATE`] packets a second each way, two others send as much that policy denies,
//! and pods come while something is down. Before every kill the same traffic runs undisturbed for as long: where that loses a
//! packet the machine is too busy to say anything, and the run is *void*. Forbidden packets are never right; whether lost ones
//! are depends on what is killed. On the emulated machine ([`Pace`]) it is [`EMULATED_RATE`], and limits of time are longer there.
//!
//! - the agent, the database, the controller: the switch goes on by itself, so nothing may be lost,
//! - vswitchd: there is a gap, which is put beside that of a bare vswitchd with ten flows, killed in turns with it,
//! - the node: its namespaces are made again, its pods are gone, and what is kept on disk is of another life.

mod bare;
mod failover;
mod kill;
mod report;
mod scene;
mod traffic;

use std::time::Duration;

use anyhow::Result;

use crate::bench::figure::{Figures, milliseconds};
use crate::bench::process;
use crate::command::{LabArguments, say};
use crate::lab::{Datapath, Pace};
use failover::Failover;
use scene::Scene;
use traffic::{Seen, Tempo};

/// Packets a second and lane.
const RATE: u32 = 2000;
/// The same on an emulated machine, which is far from carrying as many. The control says whether it carries these.
const EMULATED_RATE: u32 = 200;
/// How long a packet may be under way on an ordinary machine.
const UNDER_WAY: Duration = Duration::from_millis(300);

/// What dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// The agent of a node.
    Agent,
    /// ovs-vswitchd of a node with a hundred thousand flows.
    Vswitchd,
    /// ovsdb-server of a node; every other time its database is lost too.
    Ovsdb,
    /// The controller.
    Controller,
    /// A node: every process, its namespace, its pods.
    Node,
}

/// What `lab restart` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// What dies
    #[arg(value_enum)]
    kind: Kind,
    /// How.
    #[command(flatten)]
    pub options: Options,
}

/// What is common to all kinds.
#[derive(clap::Args)]
pub struct Options {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArguments,
    /// Nothing is drawn by chance here; kept in the last line
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How often it is killed; figures are medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    kills: u16,
    /// Packets a second and direction, when not as many as this machine carries
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,
    /// For a quick look on a busy machine: kill although the run is void, which it stays
    #[arg(long)]
    though_void: bool,
    /// For a quick look: vswitchd without the hundred thousand flows
    #[arg(long)]
    few_flows: bool,
}

/// One kill and what became of the traffic.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// The same length of time before, undisturbed.
    pub control: Seen,
    /// From the kill on.
    pub seen: Seen,
    /// From the kill until all was as it should be.
    pub back: Duration,
    /// How the other controller took over, where one was killed.
    pub failover: Option<Failover>,
}

/// Everything that was measured.
#[derive(Default)]
struct Measured {
    rounds: Vec<Round>,
    /// Gaps of the bare switch.
    floors: Vec<f64>,
}

/// Runs it; true when nothing forbidden got through and what is promised held, and the undisturbed control lost nothing.
///
/// # Errors
/// When the lab fails.
pub async fn run(Arguments { kind, options }: Arguments) -> Result<bool> {
    let mut figures = Figures::default();
    measure(kind, &options, true, &mut figures).await?;
    Ok(figures.print(&format!("restart-{}", format!("{kind:?}").to_lowercase()), options.seed, options.lab.datapath))
}

/// The same of vswitchd as a benchmark: what takes longer than promised is a target missed, nothing wrong.
///
/// # Errors
/// When the lab fails.
pub async fn bench(options: Options) -> Result<bool> {
    let mut figures = Figures::default();
    measure(Kind::Vswitchd, &options, false, &mut figures).await?;
    Ok(figures.print("vswitchd", options.seed, options.lab.datapath))
}

async fn measure(kind: Kind, options: &Options, strict: bool, figures: &mut Figures) -> Result<()> {
    let load = process::load()?;
    let many = kind == Kind::Vswitchd && !options.few_flows;
    let controllers = if kind == Kind::Controller { 2 } else { 1 };
    let pace = Pace::of(options.lab.datapath);
    let tempo = tempo(options.rate, pace);
    let mut scene = Scene::set(crate::lab::Options { controllers, ..options.lab.options() }, many, tempo).await?;
    let flows = scene.info().await?.flows;
    let mut measured = Measured::default();
    for why in kills(&mut scene, kind, options, &mut measured).await? {
        figures.void(why);
    }
    if !measured.rounds.is_empty() {
        report::figures(&measured, &scene, kind, strict, figures);
    }
    for (number, round) in (1..).zip(&measured.rounds) {
        if kind.loses_nothing(number, options.lab.datapath) && round.seen.lost > 0 {
            figures.wrong(format!("{} packets were lost after kill {number}, where none may be", round.seen.lost));
        }
    }
    figures.add("rate", "packets a second and direction", f64::from(tempo.rate), "/s");
    figures.add("flows", "flows on the node", flows as f64, "");
    figures.add("machine_load", "load average before", load, "");
    figures.tell("machine", "machine", if pace.is_slow() { "emulated" } else { "as it is" });
    figures.add("pace", "limits of time are allowed this many times", f64::from(pace.factor()), "x");
    let Scene { stage, traffic, .. } = scene;
    drop(traffic);
    for left in stage.strike() {
        figures.wrong(format!("left behind: {left}"));
    }
    Ok(())
}

/// How fast it is sent here, unless somebody asks for another rate.
fn tempo(rate: Option<u32>, pace: Pace) -> Tempo {
    let usual = if pace.is_slow() { EMULATED_RATE } else { RATE };
    Tempo { rate: rate.unwrap_or(usual), under_way: pace.allow(UNDER_WAY) }
}

/// Kill after kill, each with its control before it; why the run is void, if it is: then it ends there, unless it is to go on.
async fn kills(scene: &mut Scene, kind: Kind, options: &Options, measured: &mut Measured) -> Result<Vec<String>> {
    let mut reasons = Vec::new();
    for number in 1..=options.kills {
        let control = control(scene, kind).await?;
        if let Some(why) = void(control, scene.traffic.due(kind.window())) {
            reasons.push(format!("undisturbed, before kill {number}, {why}; this machine is too busy"));
            if !options.though_void {
                break;
            }
        }
        let round = kill::round(scene, kind, number, control).await?;
        say(&format!("kill {number}: {}", report::in_words(&round)));
        measured.rounds.push(round);
        if kind == Kind::Vswitchd || (kind == Kind::Ovsdb && !kill::wipes(number)) {
            let floor = bare::round(scene, kind == Kind::Ovsdb).await?;
            say(&format!("bare switch {number}: silent for {:.0} ms", milliseconds(floor)));
            measured.floors.push(milliseconds(floor));
        }
    }
    Ok(reasons)
}

/// The same traffic for as long, undisturbed.
async fn control(scene: &mut Scene, kind: Kind) -> Result<Seen> {
    scene.flows().await?;
    Ok(scene.traffic.window(kind.window()).await)
}

/// Why a control that ended so says that nothing can be measured, where `due` packets were to be sent.
fn void(control: Seen, due: u64) -> Option<String> {
    let Seen { sent, lost, .. } = control;
    if lost > 0 {
        return Some(format!("{lost} of {sent} packets were lost"));
    }
    // Some are on their way to be sent when the window ends.
    (sent < due - due / 20).then(|| format!("only {sent} packets were sent where {due} were due"))
}

impl Kind {
    /// How long what follows a kill is watched.
    fn window(self) -> Duration {
        match self {
            Self::Agent | Self::Controller => Duration::from_secs(3),
            Self::Vswitchd | Self::Ovsdb | Self::Node => Duration::from_secs(5),
        }
    }

    /// Whether the switch forwards without what is killed, so that nothing may be lost.
    fn loses_nothing(self, round: u16, datapath: Datapath) -> bool {
        match self {
            Self::Agent | Self::Controller => true,
            // With its database it loses its ports too. A userspace switch does nothing at all while it has no database: its main
            // thread, which moves the packets, waits for the lock there.
            Self::Ovsdb => datapath == Datapath::System && !kill::wipes(round),
            Self::Vswitchd | Self::Node => false,
        }
    }

    /// How soon all must be as it should be.
    fn back_within(self) -> Option<Duration> {
        match self {
            Self::Vswitchd => Some(Duration::from_secs(3)),
            // From the kill until every agent names the other controller and obeys a policy made after the kill.
            Self::Controller => Some(Duration::from_millis(500)),
            Self::Agent | Self::Ovsdb | Self::Node => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_that_loses_or_does_not_send_makes_the_run_void() {
        let control = |sent, lost| Seen { sent, lost, ..Seen::default() };
        assert_eq!(void(control(6000, 0), 6000), None);
        assert_eq!(void(control(5990, 0), 6000), None);
        assert_eq!(void(control(6000, 1), 6000).as_deref(), Some("1 of 6000 packets were lost"));
        let slow = void(control(4000, 0), 6000);
        assert_eq!(slow.as_deref(), Some("only 4000 packets were sent where 6000 were due"));
    }
}
