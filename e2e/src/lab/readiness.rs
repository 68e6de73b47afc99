//! When a lab is ready: daemons that serve, nodes that obey. Nothing here waits for a time; it asks until the answer is yes.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Lab, Node, get};

impl Lab {
    /// Kills the agent of a node, starts it again, and waits until the node obeys.
    pub async fn restart_agent(&mut self, node: &str) -> Result<()> {
        let index = self.node_index(node)?;
        self.start_agent(index)?;
        self.wait_for_daemons()?;
        self.settle().await.map(drop)
    }

    /// Kills the switch of a node and starts it again. The agent fills it in its own time. Its interfaces outlive it, with their
    /// addresses: vswitchd makes them persistent.
    pub fn restart_switch(&mut self, node: &str) -> Result<()> {
        let index = self.node_index(node)?;
        self.nodes[index].restart_switch()
    }

    /// Kills a controller, starts it again, and waits until every node obeys the source.
    pub async fn restart_controller(&mut self, index: usize) -> Result<()> {
        self.start_controller(index)?;
        self.wait_for_daemons()?;
        self.settle().await.map(drop)
    }

    /// Waits until all daemons that run answer.
    pub fn wait_for_daemons(&mut self) -> Result<()> {
        let pace = self.pace;
        for (socket, controller) in self.controllers_up() {
            pace.until("the controller to serve", Duration::from_secs(15), || {
                controller.check()?;
                Ok(accepts(&socket))
            })?;
        }
        for node in &mut self.nodes {
            let sockets = [node.agent_socket(), node.cni_socket()];
            let agent = node.agent_mut().context("the agent is not started")?;
            let what = format!("{} to serve", agent.name());
            let waited = self.pace.until(&what, Duration::from_secs(15), || {
                agent.check()?;
                Ok(sockets.iter().try_for_each(|socket| accepts(socket)))
            });
            waited.with_context(|| format!("the end of its log:\n{}", agent.log_end()))?;
        }
        Ok(())
    }

    /// Waits until a node's agent says that it has its switch.
    pub async fn wait_for_switch(&self, index: usize) -> Result<()> {
        let (socket, limit) = (self.nodes[index].agent_socket(), self.pace.allow(Duration::from_secs(10)));
        let connected = async {
            loop {
                let info: Value = get(&socket, "/v1/info", limit).await?.json()?;
                if info["switch_connected"] == true {
                    return Ok(());
                }
                // Between two questions, not instead of one.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(limit, connected).await;
        waited.with_context(|| {
            format!("waited {} s for {} to have its switch", limit.as_secs(), self.nodes[index].name())
        })?
    }

    /// Waits until every node obeys the source as it is now and knows every pod as it is now.
    pub async fn settle(&mut self) -> Result<Value> {
        let limit = self.pace.allow(Duration::from_secs(20));
        let mut after = Vec::new();
        let nodes = || self.nodes.iter().filter(|node| !self.strangers.contains(node.name()));
        for node in nodes() {
            let info = get(&node.agent_socket(), "/v1/info", limit).await?.json()?;
            if let Some(sequence) = info["sequence"].as_u64() {
                after.push(format!("{}:{sequence}", node.name()));
            }
        }
        let path = format!(
            "/v1/realised?version={}&nodes={}&after={}&timeout_ms={}",
            self.source.version()?,
            nodes().map(Node::name).collect::<Vec<_>>().join(","),
            after.join(","),
            limit.as_millis()
        );
        let answer = get(&self.controller_socket(), &path, limit + limit / 4).await;
        for daemon in self.daemons() {
            daemon.check()?;
        }
        let answer = answer.map_err(|error| self.explained(error))?;
        if answer.status != 200 {
            let what = format!("the nodes did not realise the source within {} s: {}", limit.as_secs(), answer.text());
            return Err(self.explained(anyhow::Error::msg(what)));
        }
        answer.json()
    }

    /// An error with what the daemons said last.
    pub(super) fn explained(&self, error: anyhow::Error) -> anyhow::Error {
        anyhow::Error::msg(format!("{error:#}\n{}", self.last_words()))
    }

    /// The end of the log of every daemon of ours that runs.
    pub fn last_words(&self) -> String {
        let agents = self.nodes.iter().filter_map(Node::agent);
        let logs = self
            .controllers
            .iter()
            .filter_map(|controller| controller.daemon.as_ref())
            .chain(agents)
            .map(|daemon| format!("the end of the log of {}:\n{}", daemon.name(), daemon.log_end()));
        logs.collect::<String>().trim_end().to_owned()
    }
}

fn accepts(socket: &Path) -> Option<()> {
    std::os::unix::net::UnixStream::connect(socket).ok().map(drop)
}
