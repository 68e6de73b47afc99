//! How a pod leaves: its plugin is called until it succeeds, as a runtime does, while the agent, the switch or its database may be
//! away, or hang.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::event::Event;
use super::manifests::{NODE, pod_file};
use super::runtime::{PATIENCE, Sandbox};
use super::scene::{LOOK, Scene};
use crate::lab::{Daemon, Tool};

/// The point that a plugin passes when the agent has its question.
const ASKED: &str = "plugin.request.sent";

impl Scene {
    /// Removes a pod in the way of an event.
    pub(super) async fn remove(&mut self, slot: usize, armed: Option<&str>, how: Event) -> Result<()> {
        let mut living = self.pods.remove(&slot).with_context(|| format!("there is no pod {slot}"))?;
        match how {
            Event::Forget(_) => living.sandbox.path = PathBuf::new(),
            Event::Destroy(_) => {
                living.listeners.shutdown().await;
                living.namespace = None;
            }
            Event::Alone(_) => self.stop_agent()?,
            Event::WithoutOvsdb(_) => self.ovsdb().signal(Signal::SIGSTOP)?,
            Event::WithoutVswitchd(_) => self.vswitchd().kill(),
            _ => {}
        }
        let removed = if let Event::Stalled(_) = how {
            self.removed_by_a_stalled_plugin(living.sandbox, armed).await
        } else {
            let call = self.runtime.start_remove(&living.sandbox, armed)?;
            // Where there is no agent the plugin leaves a note for the one that is to come.
            self.removed(living.sandbox, call, !matches!(how, Event::Alone(_))).await
        };
        // First: whether it was removed or not, nothing hangs any more.
        match how {
            Event::Alone(_) => self.start_agent()?,
            Event::WithoutOvsdb(_) => self.ovsdb().signal(Signal::SIGCONT)?,
            Event::WithoutVswitchd(_) => self.lab.restart_switch(NODE)?,
            _ => {}
        }
        removed?;
        self.lab.source().remove(&pod_file(slot))
    }

    /// Waits until a call, or one after it, has succeeded.
    async fn removed(&mut self, sandbox: Sandbox, call: Tool, agent_runs: bool) -> Result<()> {
        let runtime = self.runtime.clone();
        let removed = tokio::task::spawn_blocking(move || runtime.removed(&sandbox, call));
        let removed = if agent_runs { self.watched(removed).await? } else { removed.await };
        removed.context("removing a pod panicked")?
    }

    /// The agent hangs, and has the plugin's question; then the plugin is kept from the processor until there is another agent. It
    /// finds the first one's connection at its end, leaves a note, and finds that there is somebody to ask.
    async fn removed_by_a_stalled_plugin(&mut self, sandbox: Sandbox, armed: Option<&str>) -> Result<()> {
        self.lab.nodes()[0].agent().context("the agent is not started")?.signal(Signal::SIGSTOP)?;
        let mut call = self.runtime.start_remove(&sandbox, armed)?;
        // One that stops at its point before has asked nothing.
        while !self.armed.has_passed(ASKED) && !call.has_ended()? {
            tokio::time::sleep(LOOK).await;
        }
        if call.has_ended()? {
            self.replace_agent().await?;
        } else {
            call.signal(Signal::SIGSTOP)?;
            let replaced = self.replace_agent().await;
            call.signal(Signal::SIGCONT)?;
            replaced?;
        }
        self.removed(sandbox, call, true).await
    }

    /// Ends the agent, starts it, and waits until it takes questions.
    async fn replace_agent(&mut self) -> Result<()> {
        self.start_agent()?;
        let (begun, socket) = (Instant::now(), self.runtime.agent_socket.clone());
        while UnixStream::connect(&socket).is_err() {
            ensure!(begun.elapsed() < self.lab.pace().allow(PATIENCE), "the agent that was started takes no questions");
            self.watched(tokio::time::sleep(LOOK)).await?;
        }
        Ok(())
    }

    fn vswitchd(&mut self) -> &mut Daemon {
        let [vswitchd, _] = self.lab.nodes_mut()[0].switch().0.daemons();
        vswitchd
    }

    fn ovsdb(&mut self) -> &mut Daemon {
        let [_, ovsdb] = self.lab.nodes_mut()[0].switch().0.daemons();
        ovsdb
    }
}
