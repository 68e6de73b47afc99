//! The controller that serves the first node is killed: how soon the other serves every node.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::scene::{Scene, says};

/// From the kill, on every node.
#[derive(Clone, Copy, Debug)]
pub struct Failover {
    /// Until the agents say that they take their state from the other.
    pub named: Duration,
    /// Until they obey a policy that was made after the kill.
    pub obeyed: Duration,
}

impl Failover {
    /// Until the other serves in every respect.
    pub fn served(self) -> Duration {
        self.named.max(self.obeyed)
    }
}

/// Kills whom the first node's agent takes from, and starts it again once the other serves.
///
/// # Errors
/// When the lab fails, or when an agent is not served by the other.
pub async fn round(scene: &mut Scene) -> Result<Failover> {
    let first = scene.stage.lab().nodes()[0].agent_socket();
    says(&first, scene.pace, "it takes its state from a controller", |now| now.controller.is_some()).await?;
    let taken = scene.info().await?.controller.context("the first node's agent takes its state from no controller")?;
    let lab = scene.stage.lab();
    let index = lab.controller_urls(0).iter().position(|url| *url == taken);
    let index =
        index.with_context(|| format!("the first node's agent takes from {taken}, which is none of the lab's"))?;
    let from = Instant::now();
    lab.stop_controller(index)?;
    let named = named(scene, index, from);
    scene.obey_a_new_policy().await?;
    let obeyed = from.elapsed();
    let named = named.await.context("asking the agents panicked")??;
    let lab = scene.stage.lab();
    lab.start_controller(index)?;
    lab.wait_for_daemons()?;
    Ok(Failover { named, obeyed })
}

/// How long from `since` until every agent names a controller other than this one. Runs beside everything else.
fn named(scene: &mut Scene, killed: usize, since: Instant) -> tokio::task::JoinHandle<Result<Duration>> {
    let (pace, lab) = (scene.pace, scene.stage.lab());
    let agents: Vec<_> = (0..lab.nodes().len())
        .map(|node| (lab.nodes()[node].agent_socket(), lab.controller_urls(node).swap_remove(killed)))
        .collect();
    tokio::spawn(async move {
        for (socket, killed) in agents {
            let other = |now: &apis::query::AgentInfo| now.controller.as_ref().is_some_and(|url| *url != killed);
            says(&socket, pace, "it takes its state from the other controller", other).await?;
        }
        Ok(since.elapsed())
    })
}
