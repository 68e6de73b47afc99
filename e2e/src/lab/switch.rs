//! Open vSwitch of one node: its own ovsdb-server and ovs-vswitchd, every socket and file in one folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::process::{Daemon, run};
use super::{Datapath, Namespace, Pace};

const DATABASE: &str = "conf.db";
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// A running Open vSwitch.
pub struct Switch {
    folder: PathBuf,
    /// Ended in this order: the switch before its database.
    vswitchd: Daemon,
    database: Daemon,
    datapath: Datapath,
}

impl Switch {
    /// Starts both daemons inside `namespace`; they have answered once when this returns.
    pub fn start(namespace: &Namespace, folder: &Path, datapath: Datapath, pace: Pace) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        // A node that starts again has the database that it had.
        if !folder.join(DATABASE).exists() {
            create_database(&folder.join(DATABASE))?;
        }
        let database = start_database(namespace, folder)?;
        // vswitchd waits for its database by itself.
        let vswitchd = start_vswitchd(namespace, folder, datapath)?;
        let mut switch = Self { folder: folder.to_owned(), vswitchd, database, datapath };
        switch.wait_for_database(namespace, pace)?;
        Ok(switch)
    }

    fn wait_for_database(&mut self, namespace: &Namespace, pace: Pace) -> Result<()> {
        let socket = self.database_socket();
        pace.until("ovsdb-server to listen", Duration::from_secs(10), || {
            self.database.check()?;
            Ok(std::os::unix::net::UnixStream::connect(&socket).ok())
        })?;
        self.configure(namespace, &["init"]).context("ovs-vswitchd did not take its first configuration")?;
        Ok(())
    }

    /// Kills ovsdb-server and starts it again, with an empty database if `wiped`.
    pub fn restart_database(&mut self, namespace: &Namespace, wiped: bool, pace: Pace) -> Result<()> {
        self.database.kill();
        if wiped {
            let path = self.folder.join(DATABASE);
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            create_database(&path)?;
        }
        self.database = start_database(namespace, &self.folder)?;
        self.wait_for_database(namespace, pace)
    }

    /// Kills ovs-vswitchd and starts it again: its flows are gone, its database stays.
    pub fn restart(&mut self, namespace: &Namespace) -> Result<()> {
        self.vswitchd.kill();
        self.vswitchd = start_vswitchd(namespace, &self.folder, self.datapath)?;
        Ok(())
    }

    /// Runs ovs-vsctl(8) and waits until the switch has done what it says.
    pub fn configure(&mut self, namespace: &Namespace, commands: &[&str]) -> Result<String> {
        self.vswitchd.check()?;
        let database = format!("--db=unix:{}", self.database_socket().display());
        let mut command = vec!["ovs-vsctl", &database, "--timeout=60"];
        command.extend(commands);
        run(namespace, &command, "")
    }

    /// Where the database listens.
    pub fn database_socket(&self) -> PathBuf {
        self.folder.join("db.sock")
    }

    /// Where ovs-vswitchd takes ovs-appctl(8) commands.
    pub fn control_socket(&self) -> PathBuf {
        self.folder.join("ovs-vswitchd.ctl")
    }

    /// Where the bridges' management sockets lie.
    pub fn run_folder(&self) -> &Path {
        &self.folder
    }

    /// Its daemons.
    pub fn daemons(&mut self) -> [&mut Daemon; 2] {
        [&mut self.vswitchd, &mut self.database]
    }
}

fn start_database(namespace: &Namespace, folder: &Path) -> Result<Daemon> {
    let at = |name: &str| folder.join(name).display().to_string();
    Daemon::start_with(
        namespace,
        format!("ovsdb-server of {}", namespace.name()),
        &[
            "ovsdb-server".to_owned(),
            at(DATABASE),
            format!("--remote=punix:{}", at("db.sock")),
            format!("--unixctl={}", at("ovsdb-server.ctl")),
            "-vconsole:off".to_owned(),
            "-vsyslog:off".to_owned(),
            "-vfile:info".to_owned(),
            format!("--log-file={}", at("ovsdb-server.log")),
        ],
        &environment(folder),
        &folder.join("ovsdb-server.log"),
    )
}

fn start_vswitchd(namespace: &Namespace, folder: &Path, datapath: Datapath) -> Result<Daemon> {
    let at = |name: &str| folder.join(name).display().to_string();
    let mut command = vec![
        "ovs-vswitchd".to_owned(),
        format!("unix:{}", at("db.sock")),
        format!("--unixctl={}", at("ovs-vswitchd.ctl")),
        "-vconsole:off".to_owned(),
        "-vsyslog:off".to_owned(),
        "-vfile:info".to_owned(),
        format!("--log-file={}", at("ovs-vswitchd.log")),
    ];
    if datapath == Datapath::Netdev {
        // It would look for a kernel module that need not be there.
        command.push("--disable-system".to_owned());
        // What it copies of the node's routes is gone for a moment whenever a link changes; tunnels have the agent's own.
        command.push("--disable-system-route".to_owned());
    }
    let name = format!("ovs-vswitchd of {}", namespace.name());
    Daemon::start_with(namespace, name, &command, &environment(folder), &folder.join("ovs-vswitchd.log"))
}

fn environment(folder: &Path) -> [(&'static str, String); 3] {
    ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"].map(|variable| (variable, folder.display().to_string()))
}

/// An empty database. Made once a lab would be enough, but it takes 5 ms.
fn create_database(path: &Path) -> Result<()> {
    let output = Command::new("ovsdb-tool")
        .arg("create")
        .arg(path)
        .arg(SCHEMA)
        .output()
        .context("cannot start ovsdb-tool; is Open vSwitch installed?")?;
    ensure!(
        output.status.success(),
        "ovsdb-tool create {}: {}",
        path.display(),
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(())
}
