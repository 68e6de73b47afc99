//! `lab crash`: any process may die at any line. A fault point, its passing and a sequence of events are drawn; the agent or the
//! plugin stops there as a kill would stop it; then everything must be as if nothing had happened.
//!
//! ```text
//!  draw ──► arm the point ──► events, one after the other ──► the process stops, is started again ──► settled ──► verify
//!             all the while: packets that policy denies, to every address of the node ──► none may arrive
//! ```
//!
//! One lab serves many draws. Draws favour points that have not been hit; which event passes which point is learnt from the
//! points that the processes say they pass. A draw is told as a line that repeats it.

mod armed;
mod coverage;
mod disk;
mod draw;
mod event;
mod leave;
mod manifests;
mod runtime;
mod scene;
mod traffic;
mod upset;
mod verify;

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::command::{LabArguments, say};
use crate::oracle::random::Random;

use coverage::Coverage;
use draw::Draw;
use scene::Scene;
use verify::Verdict;

/// From this many draws on every known point has to be hit.
const EVERY_POINT: usize = 1000;

/// What `lab crash` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// How many points and event sequences are drawn
    #[arg(long, default_value_t = 200)]
    pub draws: usize,
    /// Repeats a run
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Always this point, and its passing: NAME or NAME:N
    #[arg(long)]
    pub point: Option<String>,
    /// Always these events, as a failure prints them
    #[arg(long)]
    pub events: Option<String>,
    /// The lab.
    #[command(flatten)]
    pub lab: LabArguments,
}

/// What is counted over all draws.
#[derive(Default)]
struct Figures {
    stopped: usize,
    verdict: Verdict,
    /// In the draw that sent fewest.
    fewest_denied: Option<u64>,
    failed_draws: usize,
    left_behind: usize,
}

impl Figures {
    /// What was promised and not kept, given the points that should have been hit.
    fn broken(&self, not_hit: &[&str]) -> Vec<String> {
        let verdict = &self.verdict;
        let none = [
            ("draws failed", self.failed_draws),
            ("things were left behind", self.left_behind),
            ("flows were stale", verdict.stale_flows),
            ("flows were missing", verdict.missing_flows),
            ("flows or objects were planned otherwise anew", verdict.recompute_differences),
            ("addresses leaked", verdict.leaked_addresses),
            ("links leaked", verdict.leaked_links),
            ("allowed packets, or pods, were lost", verdict.not_allowed),
        ];
        let mut broken: Vec<String> =
            none.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")).collect();
        if verdict.forbidden > 0 {
            broken.push(format!("{} packets arrived that policy denies", verdict.forbidden));
        }
        if self.fewest_denied.is_none_or(|fewest| fewest == 0) {
            broken.push("a draw sent no packet that policy denies: it proves nothing".to_owned());
        }
        if !not_hit.is_empty() {
            broken.push(format!("no process stopped at {}", not_hit.join(", ")));
        }
        broken
    }
}

/// Runs it; true when no draw left anything wrong.
///
/// # Errors
/// When the lab cannot be brought up, or cannot be brought back to order after a draw.
pub async fn run(arguments: Arguments) -> Result<bool> {
    let start = Instant::now();
    let mut random = Random::new(arguments.seed);
    let mut coverage = Coverage::default();
    let mut figures = Figures::default();
    let mut scene = Scene::set(arguments.lab.options()).await?;
    scene.control().await.context("before the first draw")?;
    say(&format!("a lab for {} draws; {} points are known", arguments.draws, fault::POINTS.len()));
    for number in 1..=arguments.draws {
        let draw = match (&arguments.events, &arguments.point) {
            (Some(events), point) => Draw::parse(point.as_deref(), events)?,
            (None, point) => Draw::next(&mut random, &scene.start(), &coverage, point.as_deref())?,
        };
        if arguments.events.is_some() {
            scene.be(&draw.start).await?;
        }
        let outcome = play(&mut scene, &draw, &mut coverage, &mut figures).await;
        let complaints = match outcome {
            Ok(complaints) => complaints,
            Err(error) => vec![format!("{error:#}")],
        };
        if !complaints.is_empty() {
            figures.failed_draws += 1;
            say(&format!("draw {number} FAILED: {}", draw.command(arguments.seed)));
            complaints.iter().for_each(|complaint| say(&format!("    {complaint}")));
            scene.keep_logs(number)?;
            // What is wrong now says nothing about the next draw.
            figures.left_behind += scene.strike().await.len();
            scene = Scene::set(arguments.lab.options()).await.context("a new lab after a draw that failed")?;
        }
        if number % 50 == 0 {
            say(&format!("{number} draws, {} of {} points hit", coverage.hit().len(), fault::POINTS.len()));
        }
    }
    for thing in scene.strike().await {
        figures.left_behind += 1;
        say(&format!("left behind: {thing}"));
    }
    let clean = report(&arguments, &coverage, &figures, start);
    Ok(clean)
}

/// One draw; what was wrong after it.
async fn play(scene: &mut Scene, draw: &Draw, coverage: &mut Coverage, figures: &mut Figures) -> Result<Vec<String>> {
    let denied_before = scene.traffic().denied_sent();
    let stopped = scene.play(draw, coverage).await?;
    figures.stopped += usize::from(stopped);
    let verdict = match scene.verify().await {
        // Whoever was asked has stopped at its point: it is asked again.
        Err(_) if scene.has_stopped_late().await? => scene.verify().await?,
        verdict => verdict?,
    };
    let denied = scene.traffic().denied_sent() - denied_before;
    figures.fewest_denied = Some(figures.fewest_denied.map_or(denied, |fewest| fewest.min(denied)));
    let complaints = verdict.complaints.clone();
    figures.verdict.add(verdict);
    figures.verdict.denied_sent += denied;
    Ok(complaints)
}

fn report(arguments: &Arguments, coverage: &Coverage, figures: &Figures, start: Instant) -> bool {
    let hit = coverage.hit();
    let not_hit: Vec<&str> = fault::POINTS.iter().copied().filter(|point| !hit.contains(point)).collect();
    let any_point = arguments.point.is_none() && arguments.events.is_none();
    let every_point = any_point && arguments.draws >= EVERY_POINT;
    let broken = figures.broken(if every_point { &not_hit } else { &[] });
    broken.iter().for_each(|broken| say(broken));
    let verdict = &figures.verdict;
    let own: Value = json!({
        "seed": arguments.seed,
        "datapath": arguments.lab.datapath.to_string(),
        "skipped": 0,
        "points": arguments.draws,
        "points_known": fault::POINTS.len(),
        "points_hit": hit.len(),
        "not_hit": not_hit,
        "stopped": figures.stopped,
        "stale_flows": verdict.stale_flows,
        "missing_flows": verdict.missing_flows,
        "recompute_differences": verdict.recompute_differences,
        "leaked_addresses": verdict.leaked_addresses,
        "leaked_links": verdict.leaked_links,
        "forbidden": verdict.forbidden,
        "denied_sent": verdict.denied_sent,
        "fewest_denied_sent": figures.fewest_denied,
        "not_allowed": verdict.not_allowed,
        "failed_draws": figures.failed_draws,
        "left_behind": figures.left_behind,
        "seconds": start.elapsed().as_secs(),
    });
    println!("{own}");
    broken.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_keeps_its_promises_only_when_nothing_is_wrong_and_all_was_tried() {
        let good = || Figures { fewest_denied: Some(1), ..Figures::default() };
        assert_eq!(good().broken(&[]), Vec::<String>::new());
        let with = |change: fn(&mut Figures)| {
            let mut figures = good();
            change(&mut figures);
            figures.broken(&[])
        };
        for broken in [
            with(|figures| figures.fewest_denied = None),
            with(|figures| figures.fewest_denied = Some(0)),
            with(|figures| figures.failed_draws = 1),
            with(|figures| figures.left_behind = 1),
            with(|figures| figures.verdict.forbidden = 1),
            with(|figures| figures.verdict.stale_flows = 1),
            with(|figures| figures.verdict.missing_flows = 1),
            with(|figures| figures.verdict.recompute_differences = 1),
            with(|figures| figures.verdict.leaked_addresses = 1),
            with(|figures| figures.verdict.leaked_links = 1),
            with(|figures| figures.verdict.not_allowed = 1),
            good().broken(&["cni.answer.before"]),
        ] {
            assert_eq!(broken.len(), 1, "{broken:?}");
        }
    }
}
