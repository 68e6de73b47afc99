//! Calls that meet: twice at once, one after the other in the wrong order, one during another, and a plugin that is killed.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use super::runtime::Ended;
use super::{Guest, NETWORK, Tally, World, refused, silent, worked};
use crate::lab::get;

/// How long after its start a plugin is killed, in milliseconds: before it has said anything, in the middle, towards its end.
const KILLED_AFTER: [u64; 8] = [0, 1, 2, 4, 6, 9, 13, 20];

pub(super) async fn run(world: &mut World, tally: &mut Tally) -> Result<()> {
    world.speak("1.1.0")?;
    repeated(world, tally).await?;
    at_once(world, tally).await?;
    during(world, tally).await?;
    killed(world, tally).await?;
    replaced(world, tally).await?;
    many(world, tally).await
}

async fn repeated(world: &mut World, tally: &mut Tally) -> Result<()> {
    let guest = world.guest()?;
    let deleted = world.containerd().delete(NETWORK, &guest.sandbox)?;
    tally.case("DEL before ADD", silent(&deleted));
    let added = world.containerd().add(NETWORK, &guest.sandbox)?;
    tally.case("ADD after DEL", worked(&added));
    let again = world.containerd().call(NETWORK, "ADD", Some(&guest.sandbox), &[])?;
    tally.case("ADD after ADD is refused", refused(&again, 4, "CNI_IFNAME"));
    let checked = world.containerd().check(NETWORK, &guest.sandbox)?;
    tally.case("and the first stays as it was", silent(&checked));
    for round in 1..=3 {
        worked(&world.containerd().delete(NETWORK, &guest.sandbox)?)?;
        let added = world.containerd().add(NETWORK, &guest.sandbox)?;
        tally.case(format!("DEL and ADD of the same container, round {round}"), worked(&added));
    }
    worked(&world.containerd().delete(NETWORK, &guest.sandbox)?)?;
    let again = world.containerd().delete(NETWORK, &guest.sandbox)?;
    tally.case("DEL three times", silent(&again));
    tally.case("nothing is left of all that", world.nothing_is_left(&guest).await);
    Ok(())
}

async fn at_once(world: &mut World, tally: &mut Tally) -> Result<()> {
    for round in 1..=3 {
        let guest = world.guest()?;
        let begin = || world.containerd().begin(NETWORK, "ADD", Some(&guest.sandbox), &[]);
        let (first, second) = (begin()?, begin()?);
        let ended = [Ended::wait(first)?, Ended::wait(second)?];
        let one = ended.iter().filter(|ended| ended.success).count() == 1;
        let other = ended.iter().any(|ended| ended.code() == Some(4));
        let said = || anyhow!("{} and {}", ended[0].said.trim(), ended[1].said.trim());
        let title = format!("one ADD of two at once succeeds, the other has code 4, round {round}");
        tally.case(title, if one && other { Ok(()) } else { Err(said()) });
        let result = ended.iter().find(|ended| ended.success).and_then(|ended| ended.document.clone());
        let previous = [("prevResult", result.unwrap_or_default())];
        let checked = world.containerd().call(NETWORK, "CHECK", Some(&guest.sandbox), &previous)?;
        tally.case(format!("and what it made is whole, round {round}"), silent(&checked));
        let begin = || world.containerd().begin(NETWORK, "DEL", Some(&guest.sandbox), &[]);
        let (first, second) = (begin()?, begin()?);
        for ended in [Ended::wait(first)?, Ended::wait(second)?] {
            tally.case(format!("each DEL of two at once succeeds, round {round}"), silent(&ended));
        }
        tally.case(format!("and nothing is left, round {round}"), world.nothing_is_left(&guest).await);
    }
    Ok(())
}

async fn during(world: &mut World, tally: &mut Tally) -> Result<()> {
    for milliseconds in [0, 2, 5, 10] {
        let guest = world.guest()?;
        let adding = world.containerd().begin(NETWORK, "ADD", Some(&guest.sandbox), &[])?;
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        let deleted = world.containerd().call(NETWORK, "DEL", Some(&guest.sandbox), &[])?;
        tally.case(format!("DEL {milliseconds} ms after ADD began"), silent(&deleted));
        let added = Ended::wait(adding)?;
        let known = added.success || matches!(added.code(), Some(11 | 100));
        let title = format!("the ADD that DEL met after {milliseconds} ms succeeds or is put off");
        tally.case(title, if known { Ok(()) } else { Err(anyhow!("{}", added.said.trim())) });
        if added.success {
            // It came after the DEL.
            worked(&world.containerd().call(NETWORK, "DEL", Some(&guest.sandbox), &[])?)?;
        }
        tally.case(format!("and nothing is left ({milliseconds} ms)"), world.nothing_is_left(&guest).await);
    }
    Ok(())
}

async fn killed(world: &mut World, tally: &mut Tally) -> Result<()> {
    for milliseconds in KILLED_AFTER {
        let guest = world.guest()?;
        let confirmed = confirmed(world).await?;
        let mut adding = world.containerd().begin(NETWORK, "ADD", Some(&guest.sandbox), &[])?;
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        adding.kill().context("the plugin cannot be killed")?;
        let ended = Ended::wait(adding)?;
        if ended.success {
            worked(&world.containerd().call(NETWORK, "DEL", Some(&guest.sandbox), &[])?)?;
        }
        // A pod's end that the killed plugin had made, and of which it had not told, goes with the pod's namespace; here it stays.
        let gone = no_attachment(world, &guest, confirmed).await;
        let title =
            format!("a plugin killed {milliseconds} ms after its start leaves no attachment that was not confirmed");
        tally.case(title, gone);
        let deleted = world.containerd().call(NETWORK, "DEL", Some(&guest.sandbox), &[])?;
        tally.case(format!("DEL after it ({milliseconds} ms)"), silent(&deleted));
        tally.case(format!("nothing is left of it ({milliseconds} ms)"), world.nothing_is_left(&guest).await);
        let added = world.containerd().add(NETWORK, &guest.sandbox)?;
        tally.case(format!("ADD after it ({milliseconds} ms)"), worked(&added));
        worked(&world.containerd().delete(NETWORK, &guest.sandbox)?)?;
    }
    Ok(())
}

/// How many ADDs the agent has confirmed. A plugin that is killed between that and its own end leaves what the runtime's DEL takes.
async fn confirmed(world: &World) -> Result<f64> {
    let limit = world.lab.pace().allow(Duration::from_secs(5));
    let metrics = get(&world.lab.nodes()[0].agent_socket(), "/metrics", limit).await?;
    let counter = "ferrant_agent_cni_calls_total{command=\"confirm\",outcome=\"success\"}";
    metrics.sample(counter).context("no ADD was ever confirmed")
}

async fn no_attachment(world: &World, guest: &Guest, confirmed_before: f64) -> Result<()> {
    let pod = format!("{}/{}", guest.sandbox.pod.0, guest.sandbox.pod.1);
    let started = std::time::Instant::now();
    while world.attached().await?.contains(&pod) && confirmed(world).await? <= confirmed_before {
        ensure!(started.elapsed() < world.lab.pace().allow(Duration::from_secs(10)), "{pod} stays attached");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// A pod whose sandbox is made anew before the old one is gone.
async fn replaced(world: &mut World, tally: &mut Tally) -> Result<()> {
    let old = world.guest()?;
    let mut new = world.guest()?;
    new.sandbox.pod = old.sandbox.pod.clone();
    worked(&world.containerd().add(NETWORK, &old.sandbox)?)?;
    let added = world.containerd().add(NETWORK, &new.sandbox)?;
    tally.case("a second container of one pod is attached", worked(&added));
    let checked = world.containerd().check(NETWORK, &new.sandbox)?;
    tally.case("the newer one is the pod", silent(&checked));
    let checked = world.containerd().check(NETWORK, &old.sandbox)?;
    tally.case("and the older one is told so", refused(&checked, 103, "a later container"));
    let index = 0;
    world.lab.start_agent(index)?;
    super::absent::ready(world).await?;
    let checked = world.containerd().check(NETWORK, &new.sandbox)?;
    tally.case("the newer one is the pod after a restart of the agent", silent(&checked));
    let deleted = world.containerd().delete(NETWORK, &new.sandbox)?;
    tally.case("DEL of the newer one", silent(&deleted));
    let checked = world.containerd().check(NETWORK, &old.sandbox)?;
    tally.case("makes the older one the pod again", silent(&checked));
    worked(&world.containerd().delete(NETWORK, &old.sandbox)?)?;
    tally.case("and nothing is left of either", world.nothing_is_left(&old).await);
    Ok(())
}

/// A node that starts forty pods at the same moment, and ends them so.
async fn many(world: &mut World, tally: &mut Tally) -> Result<()> {
    let guests: Vec<Guest> = (0..40).map(|_| world.guest()).collect::<Result<_>>()?;
    for command in ["ADD", "DEL"] {
        let calls = guests.iter().map(|guest| world.containerd().begin(NETWORK, command, Some(&guest.sandbox), &[]));
        let calls: Vec<_> = calls.collect::<Result<_>>()?;
        let mut failed = Vec::new();
        for call in calls {
            let ended = Ended::wait(call)?;
            if !ended.success {
                failed.push(ended.said.trim().to_owned());
            }
        }
        let outcome = if failed.is_empty() { Ok(()) } else { Err(anyhow!("{failed:?}")) };
        tally.case(format!("forty {command} at once"), outcome);
    }
    let left = world.attached().await?;
    tally.case("leave nothing", if left.is_empty() { Ok(()) } else { Err(anyhow!("{left:?}")) });
    Ok(())
}
