//! `lab restart`: daemons are killed while packets flow, and it is counted what is lost and what gets through.
//!
//! Two pods of two nodes send each other [`traffic::RATE`] packets a second each way, two others send as much that policy denies,
//! and pods come while something is down. Before every kill the same traffic runs undisturbed for as long: where that loses a
//! packet the machine is too busy to say anything, and the run is *void*. Forbidden packets are never right; whether lost ones
//! are depends on what is killed.
//!
//! - the agent, the database, the controller: the switch goes on by itself, so nothing may be lost,
//! - vswitchd: there is a gap, which is put beside that of a bare vswitchd with ten flows, killed in turns with it,
//! - the node: its namespaces are made again, its pods are gone, and what is kept on disk is of another life.

mod bare;
mod kill;
mod scene;
mod traffic;

use std::time::Duration;

use anyhow::{Result, bail};

use crate::bench::figure::{Figures, Target, largest, median, milliseconds};
use crate::bench::process;
use crate::command::{LabArguments, say};
use crate::lab::Datapath;
use scene::Scene;
use traffic::Seen;

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
}

/// Everything that was measured.
#[derive(Default)]
struct Measured {
    rounds: Vec<Round>,
    /// Gaps of the bare switch.
    floors: Vec<f64>,
}

/// Runs it; true when nothing forbidden got through and what is promised held.
///
/// # Errors
/// When the lab fails, and when the undisturbed control lost packets.
pub async fn run(Arguments { kind, options }: Arguments) -> Result<bool> {
    let mut figures = Figures::default();
    measure(kind, &options, true, &mut figures).await?;
    Ok(figures.print(&format!("restart-{}", format!("{kind:?}").to_lowercase()), options.seed, options.lab.datapath))
}

/// The same of vswitchd as a benchmark: what takes longer than promised is a target missed, nothing wrong.
///
/// # Errors
/// When the lab fails, and when the undisturbed control lost packets.
pub async fn bench(options: Options) -> Result<bool> {
    let mut figures = Figures::default();
    measure(Kind::Vswitchd, &options, false, &mut figures).await?;
    Ok(figures.print("vswitchd", options.seed, options.lab.datapath))
}

async fn measure(kind: Kind, options: &Options, strict: bool, figures: &mut Figures) -> Result<()> {
    let load = process::load()?;
    let many = kind == Kind::Vswitchd && !options.few_flows;
    let controllers = if kind == Kind::Controller { 2 } else { 1 };
    let mut scene = Scene::set(crate::lab::Options { controllers, ..options.lab.options() }, many).await?;
    let flows = scene.info().await?.flows;
    let mut measured = Measured::default();
    for number in 1..=options.kills {
        let control = control(&mut scene, kind).await?;
        let round = kill::round(&mut scene, kind, number, control).await?;
        say(&format!("kill {number}: {}", in_words(&round)));
        measured.rounds.push(round);
        if kind == Kind::Vswitchd || (kind == Kind::Ovsdb && !kill::wipes(number)) {
            let floor = bare::round(&mut scene, kind == Kind::Ovsdb).await?;
            say(&format!("bare switch {number}: silent for {:.0} ms", milliseconds(floor)));
            measured.floors.push(milliseconds(floor));
        }
    }
    report(&measured, &scene, kind, strict, figures);
    for (number, round) in (1..).zip(&measured.rounds) {
        if kind.loses_nothing(number, options.lab.datapath) && round.seen.lost > 0 {
            figures.wrong(format!("{} packets were lost after kill {number}, where none may be", round.seen.lost));
        }
    }
    figures.add("flows", "flows on the node", flows as f64, "");
    figures.add("machine_load", "load average before", load, "");
    let Scene { stage, traffic, .. } = scene;
    drop(traffic);
    for left in stage.strike() {
        figures.wrong(format!("left behind: {left}"));
    }
    Ok(())
}

/// The same traffic for as long, undisturbed.
async fn control(scene: &mut Scene, kind: Kind) -> Result<Seen> {
    scene.traffic.flows(Duration::from_secs(20)).await?;
    let seen = scene.traffic.window(kind.window()).await;
    if seen.lost > 0 {
        bail!("void: undisturbed, {} of {} packets were lost; this machine is too busy", seen.lost, seen.sent);
    }
    Ok(seen)
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
}

fn in_words(round: &Round) -> String {
    let Round { control, seen, back } = round;
    format!(
        "{} of {} lost, silent for {:.0} ms ({:.0} ms undisturbed), all as it should be after {:.0} ms, {} of {} denied ones arrived",
        seen.lost,
        seen.sent,
        milliseconds(seen.silence),
        milliseconds(control.silence),
        milliseconds(*back),
        seen.forbidden,
        seen.denied_sent,
    )
}

fn report(measured: &Measured, scene: &Scene, kind: Kind, strict: bool, figures: &mut Figures) {
    let rounds = &measured.rounds;
    let total = rounds.iter().map(|round| round.seen.with(round.control)).fold(Seen::default(), Seen::with);
    let lost = rounds.iter().map(|round| round.seen.lost).sum::<u64>();
    let forbidden = total.forbidden + scene.late_forbidden as u64;
    if forbidden > 0 {
        figures.wrong(format!("{forbidden} packets arrived that policy denies"));
    }
    figures.add("lost", "packets lost after kills", lost as f64, "");
    figures.promise("forbidden", "packets that arrived and are denied", forbidden as f64, "", Target::AtMost(0.0));
    figures.add("sent", "allowed packets sent", total.sent as f64, "");
    figures.add("denied_sent", "denied packets sent", total.denied_sent as f64, "");
    gaps(measured, kind, figures);
    let back: Vec<f64> = rounds.iter().map(|round| milliseconds(round.back)).collect();
    let (middle, what) = (median(&back), "kill to all as it should be, median");
    match kind.back_within() {
        Some(bound) => {
            let bound = milliseconds(bound);
            figures.promise("back_ms", what, middle, "ms", Target::AtMost(bound));
            if strict && middle > bound {
                figures.wrong(format!("all is as it should be after {middle:.0} ms, {bound:.0} ms are promised"));
            }
        }
        None => figures.add("back_ms", what, middle, "ms"),
    }
    figures.add("back_worst_ms", "the same, worst", largest(&back), "ms");
    figures.add("kills", "kills", rounds.len() as f64, "");
    figures.add("pods_added", "pods added meanwhile", scene.late as f64, "");
    figures.add("rate", "packets a second and direction", f64::from(traffic::RATE), "/s");
}

/// How long nothing came after kills, and what there is to compare it with.
fn gaps(measured: &Measured, kind: Kind, figures: &mut Figures) {
    let silent = |wiped: bool| -> Vec<f64> {
        let of = |(number, _): &(u16, &Round)| (kind == Kind::Ovsdb && kill::wipes(*number)) == wiped;
        (1..).zip(&measured.rounds).filter(of).map(|(_, round)| milliseconds(round.seen.silence)).collect()
    };
    let gap = median(&silent(false));
    figures.add("gap_ms", "longest silence after a kill, median", gap, "ms");
    figures.add("gap_worst_ms", "the same, worst", largest(&silent(false)), "ms");
    if kind == Kind::Ovsdb {
        figures.add("wiped_gap_ms", "the same where the database was lost too, median", median(&silent(true)), "ms");
    }
    let undisturbed: Vec<f64> = measured.rounds.iter().map(|round| milliseconds(round.control.silence)).collect();
    if measured.floors.is_empty() {
        figures.add("floor_ms", "longest silence undisturbed, median", median(&undisturbed), "ms");
        return;
    }
    let floor = median(&measured.floors);
    figures.add("floor_ms", "the same of a bare switch with ten flows, median", floor, "ms");
    if kind == Kind::Vswitchd {
        figures.promise("gap_to_floor", "gap to floor", gap / floor, "", Target::AtMost(1.3));
    } else {
        figures.add("gap_to_floor", "gap to floor", gap / floor, "");
    }
    figures.add("undisturbed_ms", "longest silence undisturbed, median", median(&undisturbed), "ms");
}

impl Kind {
    /// How soon all must be as it should be.
    fn back_within(self) -> Option<Duration> {
        match self {
            Self::Vswitchd => Some(Duration::from_secs(3)),
            // From a change to every node obeying it, from the other controller.
            Self::Controller => Some(Duration::from_millis(500)),
            Self::Agent | Self::Ovsdb | Self::Node => None,
        }
    }
}
