//! The kills: what is done to the first node, or to the controller, and when all is as it should be again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use apis::query::{PODS_PATH, PodInfo};

use super::scene::{NODES, Scene, pod};
use super::traffic::{Seen, Traffic};
use super::{Kind, Round, failover};
use crate::command::say;
use crate::lab::get;

/// Whether this round takes the database away as well.
pub fn wipes(round: u16) -> bool {
    round.is_multiple_of(2)
}

/// One kill; the traffic goes on all the while, and a pod comes.
///
/// # Errors
/// When the lab fails, or what should be is not within a minute.
pub async fn round(scene: &mut Scene, kind: Kind, number: u16, control: Seen) -> Result<Round> {
    let before = scene.info().await?;
    let (from, mut failover) = (Instant::now(), None);
    let back = match kind {
        Kind::Agent => {
            scene.stage.lab().start_agent(0)?;
            let settled = scene.settled_after(before, from);
            scene.add_late_pod().await?;
            settled.await.context("waiting for the agent panicked")??
        }
        Kind::Vswitchd => {
            scene.stage.lab().nodes_mut()[0].restart_switch()?;
            let settled = scene.settled_after(before, from);
            scene.add_late_pod().await?;
            settled.await.context("waiting for the switch panicked")??
        }
        Kind::Ovsdb => {
            scene.stage.lab().nodes_mut()[0].restart_database(wipes(number))?;
            scene.add_late_pod().await?;
            scene.flows().await?;
            from.elapsed()
        }
        Kind::Controller => {
            let served = failover::round(scene).await?;
            failover = Some(served);
            scene.add_late_pod().await?;
            served.served()
        }
        Kind::Node => return node(scene, control).await,
    };
    // A silence that has not ended has no length.
    scene.flows().await?;
    tokio::time::sleep(kind.window().saturating_sub(from.elapsed())).await;
    let to = Instant::now();
    scene.traffic.arrive().await;
    for losses in scene.traffic.losses(from, to) {
        say(&losses);
    }
    Ok(Round { control, seen: scene.traffic.seen(from, to), back, failover })
}

/// The node starts again: its pods are gone, the runtime says so and starts new ones of the same names.
async fn node(scene: &mut Scene, control: Seen) -> Result<Round> {
    let from = Instant::now();
    // What is sent to the old pods goes on until the new ones have sockets of their own.
    let gone = scene.stage.lab().reboot_node(NODES[0])?;
    let mut returning: Vec<_> = gone.into_iter().filter(|plan| !plan.name.starts_with("late")).collect();
    returning.sort_by_key(|plan| plan.name.clone());
    for plan in &returning {
        scene.late_forbidden += scene.stage.attach_under_fire(plan.clone(), &["shop/stranger".to_owned()]).await?;
    }
    let tempo = scene.traffic.tempo();
    let old = std::mem::replace(&mut scene.traffic, Traffic::at(tempo));
    let during = old.seen(from, Instant::now());
    drop(old);
    scene.open_lanes()?;
    scene.flows().await?;
    let back = from.elapsed();
    scene.add_late_pod().await?;
    no_leak(scene, returning.len() + 1).await?;
    let again = Instant::now();
    tokio::time::sleep(Kind::Node.window()).await;
    let to = Instant::now();
    scene.traffic.arrive().await;
    let after = scene.traffic.seen(again, to);
    Ok(Round { control, seen: Seen { silence: back, ..during.with(after) }, back, failover: None })
}

/// The agent, the database and the host know these pods and no others.
async fn no_leak(scene: &mut Scene, pods: usize) -> Result<()> {
    let (patience, lab) = (scene.pace.allow(Duration::from_secs(5)), scene.stage.lab());
    let answer = get(&lab.nodes()[0].agent_socket(), PODS_PATH, patience).await?.json()?;
    let known: Vec<PodInfo> = serde_json::from_value(answer).context("the agent's pods")?;
    ensure!(known.len() == pods, "{} pods are known where {pods} are: {known:?}", known.len());
    let (switch, namespace) = lab.nodes_mut()[0].switch();
    let ports = switch.configure(namespace, &["list-ports", "br-int"])?;
    // The gateway's and the tunnel's are there as well.
    ensure!(ports.lines().count() == pods + 2, "the bridge has other ports than those of {pods} pods:\n{ports}");
    for name in ["server", "spy"] {
        let plan = pod(name);
        let held = lab.pod(&plan.key())?.addresses() == plan.addresses;
        ensure!(held, "{} has other addresses than before: {:?}", plan.key(), lab.pod(&plan.key())?.addresses());
    }
    Ok(())
}
