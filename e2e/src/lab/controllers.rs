//! The lab's controllers: one, unless asked for more. They read one source, each on a port of its own, and share the status
//! directory, into which only the holder of its lease writes.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::certificates::lifetime_flag;
use super::process::{Daemon, run};
use super::{Lab, underlay};

/// The first controller's gRPC port; the next have the ports after it.
const CONTROLLER_PORT: u16 = 10350;

/// A controller, running or not.
#[derive(Default)]
pub(super) struct Controller {
    pub daemon: Option<Daemon>,
    paused: bool,
    /// How many nodes it does not hear.
    parted: usize,
}

impl Controller {
    /// Running, and not paused.
    pub fn is_up(&self) -> bool {
        self.daemon.is_some() && !self.paused
    }
}

impl Lab {
    /// Starts a controller, or starts it again.
    pub fn start_controller(&mut self, index: usize) -> Result<()> {
        self.stop_controller(index)?;
        let text = |path: &Path| path.display().to_string();
        let mut command = vec![
            text(&self.binaries.controller),
            "--source".to_owned(),
            text(self.source.folder()),
            "--status".to_owned(),
            text(&self.folder.path().join("status")),
            "--listen".to_owned(),
            format!("[::]:{}", port(index)),
            "--certificates".to_owned(),
            text(self.authority.folder()),
            "--serve".to_owned(),
            text(&self.socket_of_controller(index)),
        ];
        if let Some(lifetime) = self.options.certificate_lifetime {
            command.extend(["--certificate-lifetime".to_owned(), lifetime_flag(self.pace, lifetime)]);
        }
        if let Some(filter) = &self.options.log {
            command.extend(["--log".to_owned(), filter.clone()]);
        }
        let log = self.folder.path().join(format!("controller-{index}.log"));
        let name = format!("controller {index}");
        let daemon = Daemon::start(&self.underlay.namespace, name, &command, &log)?;
        self.controllers[index].daemon = Some(daemon);
        Ok(())
    }

    /// Ends a controller as a failing machine would.
    pub fn stop_controller(&mut self, index: usize) -> Result<()> {
        let controller = self.controller_mut(index)?;
        (controller.daemon, controller.paused) = (None, false);
        Ok(())
    }

    /// Stops a controller where it is: its connections stand, and nothing comes from it.
    pub fn pause_controller(&mut self, index: usize) -> Result<()> {
        self.signal_controller(index, Signal::SIGSTOP, true)
    }

    /// Lets a paused controller go on.
    pub fn resume_controller(&mut self, index: usize) -> Result<()> {
        self.signal_controller(index, Signal::SIGCONT, false)
    }

    fn signal_controller(&mut self, index: usize, signal: Signal, paused: bool) -> Result<()> {
        let controller = self.controller_mut(index)?;
        let daemon = controller.daemon.as_ref().with_context(|| format!("controller {index} is not running"))?;
        daemon.signal(signal)?;
        controller.paused = paused;
        Ok(())
    }

    /// Loses what a node and a controller send each other, without a word to either.
    pub fn part(&mut self, node: &str, controller: usize) -> Result<()> {
        self.controller_mut(controller)?.parted += 1;
        let rules = format!(
            "table inet parted{controller} {{\n  chain out {{ type filter hook output priority 0; tcp dport {port} drop; }}\n  chain in {{ type \
             filter hook input priority 0; tcp sport {port} drop; }}\n}}\n",
            port = port(controller)
        );
        run(self.node(node)?.namespace(), &["nft", "-f", "-"], &rules).map(drop)
    }

    /// Ends that.
    pub fn rejoin(&mut self, node: &str, controller: usize) -> Result<()> {
        self.controller_mut(controller)?.parted -= 1;
        let table = format!("parted{controller}");
        run(self.node(node)?.namespace(), &["nft", "delete", "table", "inet", &table], "").map(drop)
    }

    /// Where a node finds the controllers, which are at both addresses of their leg.
    pub fn controller_urls(&self, node: usize) -> Vec<String> {
        let ipv4 = self.nodes[node].plan().addresses.iter().any(IpAddr::is_ipv4);
        let leg = if ipv4 { IpAddr::V4(underlay::CONTROLLER) } else { IpAddr::V6(underlay::CONTROLLER_V6) };
        (0..self.controllers.len()).map(|index| format!("https://{}", SocketAddr::new(leg, port(index)))).collect()
    }

    /// Where a controller that is up and hears every node answers questions: the first of them; of several any knows all.
    pub fn controller_socket(&self) -> PathBuf {
        let up = self.controllers.iter().position(|controller| controller.is_up() && controller.parted == 0);
        self.socket_of_controller(up.unwrap_or(0))
    }

    fn socket_of_controller(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("controller-{index}.sock"))
    }

    /// The sockets of those that are up, with their daemons.
    pub(super) fn controllers_up(&mut self) -> Vec<(PathBuf, &mut Daemon)> {
        let folder = self.folder.path().to_owned();
        let up = self.controllers.iter_mut().enumerate().filter(|(_, controller)| controller.is_up());
        up.filter_map(|(index, controller)| {
            Some((folder.join(format!("controller-{index}.sock")), controller.daemon.as_mut()?))
        })
        .collect()
    }

    fn controller_mut(&mut self, index: usize) -> Result<&mut Controller> {
        let count = self.controllers.len();
        ensure!(index < count, "there is no controller {index}: the lab has {count}");
        Ok(&mut self.controllers[index])
    }
}

fn port(index: usize) -> u16 {
    CONTROLLER_PORT + u16::try_from(index).expect("a lab has a handful of controllers")
}
