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
pub async fn run(arguments: Arguments) -> Result<bool> {
    let load = process::load()?;
    let many = arguments.kind == Kind::Vswitchd && !arguments.few_flows;
    let mut scene = Scene::set(arguments.lab.options(), many).await?;
    let flows = scene.info().await?.flows;
    let mut measured = Measured::default();
    for number in 1..=arguments.kills {
        let control = control(&mut scene, arguments.kind).await?;
        let round = kill::round(&mut scene, arguments.kind, number, control).await?;
        say(&format!("kill {number}: {}", in_words(&round)));
        measured.rounds.push(round);
        if arguments.kind == Kind::Vswitchd {
            let floor = bare::round(&mut scene).await?;
            say(&format!("bare switch {number}: silent for {:.0} ms", milliseconds(floor)));
            measured.floors.push(milliseconds(floor));
        }
    }
    let mut figures = Figures::default();
    report(&measured, &scene, arguments.kind, &mut figures);
    figures.add("flows", "flows on the node", flows as f64, "");
    figures.add("machine_load", "load average before", load, "");
    let Scene { stage, traffic, .. } = scene;
    drop(traffic);
    for left in stage.strike() {
        figures.wrong(format!("left behind: {left}"));
    }
    let name = format!("restart-{}", format!("{:?}", arguments.kind).to_lowercase());
    Ok(figures.print(&name, arguments.seed, arguments.lab.datapath))
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
    fn loses_nothing(self, round: u16) -> bool {
        match self {
            Self::Agent | Self::Controller => true,
            // With its database it loses its ports too.
            Self::Ovsdb => !kill::wipes(round),
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

fn report(measured: &Measured, scene: &Scene, kind: Kind, figures: &mut Figures) {
    let rounds = &measured.rounds;
    let total = rounds.iter().map(|round| round.seen.with(round.control)).fold(Seen::default(), Seen::with);
    let lost = rounds.iter().map(|round| round.seen.lost).sum::<u64>();
    let promised: u64 =
        (1..).zip(rounds).filter(|(number, _)| kind.loses_nothing(*number)).map(|(_, round)| round.seen.lost).sum();
    let forbidden = total.forbidden + scene.late_forbidden as u64;
    if forbidden > 0 {
        figures.wrong(format!("{forbidden} packets arrived that policy denies"));
    }
    if promised > 0 {
        figures.wrong(format!("{promised} packets were lost where none may be"));
    }
    figures.add("lost", "packets lost after kills", lost as f64, "");
    figures.promise("forbidden", "packets that arrived and are denied", forbidden as f64, "", Target::AtMost(0.0));
    figures.add("sent", "allowed packets sent", total.sent as f64, "");
    figures.add("denied_sent", "denied packets sent", total.denied_sent as f64, "");
    let of =
        |value: fn(&Round) -> Duration| rounds.iter().map(|round| milliseconds(value(round))).collect::<Vec<f64>>();
    let gap = median(&of(|round| round.seen.silence));
    figures.add("gap_ms", "longest silence after a kill, median", gap, "ms");
    figures.add("gap_worst_ms", "the same, worst", largest(&of(|round| round.seen.silence)), "ms");
    if kind == Kind::Vswitchd {
        let floor = median(&measured.floors);
        figures.add("floor_ms", "the same of a bare switch with ten flows, median", floor, "ms");
        figures.promise("gap_to_floor", "gap to floor", gap / floor, "", Target::AtMost(1.3));
    } else {
        let undisturbed = median(&of(|round| round.control.silence));
        figures.add("floor_ms", "longest silence undisturbed, median", undisturbed, "ms");
    }
    let (back, worst) = (median(&of(|round| round.back)), largest(&of(|round| round.back)));
    match kind.back_within() {
        Some(bound) => {
            let bound = milliseconds(bound);
            figures.promise("back_ms", "kill to all as it should be, median", back, "ms", Target::AtMost(bound));
            if back > bound {
                figures.wrong(format!("all is as it should be after {back:.0} ms, {bound:.0} ms are promised"));
            }
        }
        None => figures.add("back_ms", "kill to all as it should be, median", back, "ms"),
    }
    figures.add("back_worst_ms", "the same, worst", worst, "ms");
    figures.add("kills", "kills", rounds.len() as f64, "");
    figures.add("pods_added", "pods added meanwhile", scene.late as f64, "");
    figures.add("rate", "packets a second and direction", f64::from(traffic::RATE), "/s");
}

impl Kind {
    /// How soon all must be as it should be.
    fn back_within(self) -> Option<Duration> {
        (self == Self::Vswitchd).then_some(Duration::from_secs(3))
    }
}
