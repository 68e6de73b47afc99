//! `lab story`: tells the user stories, several at once, and says which failed and which notice nothing.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, stream};
use serde_json::json;

use super::{LabArguments, say, summary};
use crate::lab::Options;
use crate::story::{Outcome, Story, parse_file, tell_once, tell_thrice};

/// What `lab story` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// The folder of the stories
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/stories"))]
    pub folder: PathBuf,
    /// Only stories whose name contains this
    pub name: Option<String>,
    /// How many are told at once
    #[arg(long, default_value_t = 2)]
    pub at_once: usize,
    /// Tell each story once, and not again against pipelines without policy: whether a story is sensitive depends on no datapath
    #[arg(long)]
    pub once: bool,
    /// Nothing is drawn here; taken so that every command takes it
    #[arg(long)]
    pub seed: Option<u64>,
    /// The lab.
    #[command(flatten)]
    pub lab: LabArguments,
}

/// Runs it; true when every story came out as written and each notices when there is no policy.
pub async fn run(arguments: Arguments) -> Result<bool> {
    let start = Instant::now();
    let stories = stories(&arguments)?;
    say(&format!("telling {} stories on the {} datapath", stories.len(), arguments.lab.datapath));
    let options = arguments.lab.options();
    let mut told = stream::iter(stories.iter().map(|story| told(story, &options, arguments.once)))
        .buffer_unordered(arguments.at_once.max(1));
    let (mut failed, mut insensitive, mut judged, mut left_behind) = (0, 0, 0, 0);
    while let Some((story, outcome)) = told.next().await {
        match outcome {
            Ok(outcome) => {
                failed += usize::from(!outcome.plain.differences.is_empty() || !outcome.plain.left_behind.is_empty());
                insensitive += usize::from(!outcome.insensitive_to.is_empty());
                judged += outcome.plain.judged;
                left_behind += outcome.plain.left_behind.len();
                show(story, &outcome);
            }
            Err(error) => {
                failed += 1;
                println!("FAILED  {}: {error:#}", story.name);
            }
        }
    }
    let insensitive_stories = if arguments.once { json!("not asked") } else { json!(insensitive) };
    let own = json!({
        "stories": stories.len(),
        "failed": failed,
        "insensitive": insensitive_stories,
        "judged": judged,
        "left_behind": left_behind,
        "seconds": (start.elapsed().as_secs_f64() * 10.0).round() / 10.0,
    });
    summary(arguments.lab.datapath, 0, &own);
    Ok(failed == 0 && insensitive == 0)
}

async fn told<'a>(story: &'a Story, options: &Options, once: bool) -> (&'a Story, Result<Outcome>) {
    let outcome = if once { tell_once(story, options).await } else { tell_thrice(story, options).await };
    (story, outcome)
}

fn show(story: &Story, outcome: &Outcome) {
    let seconds: Vec<String> = outcome.took.iter().map(|took| format!("{:.1}", took.as_secs_f64())).collect();
    let seconds = seconds.join(" + ");
    let word = if outcome.plain.differences.is_empty() { "ok" } else { "FAILED" };
    println!("{word:<7} {} ({} judged, {seconds} s): {}", story.name, outcome.plain.judged, story.about);
    for difference in &outcome.plain.differences {
        println!("          {difference}");
    }
    for line in outcome.plain.last_words.lines() {
        println!("          {line}");
    }
    for thing in &outcome.plain.left_behind {
        println!("          left behind: {thing}");
    }
    for verdict in &outcome.insensitive_to {
        println!("          INSENSITIVE: it also passes with {verdict:?}");
    }
}

fn stories(arguments: &Arguments) -> Result<Vec<Story>> {
    let folder = &arguments.folder;
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "story"));
    paths.sort();
    let mut stories = paths.iter().map(|path| parse_file(path)).collect::<Result<Vec<_>>>()?;
    if let Some(name) = &arguments.name {
        stories.retain(|story| story.name.contains(name.as_str()));
    }
    ensure!(!stories.is_empty(), "there is no such story in {}", folder.display());
    Ok(stories)
}
