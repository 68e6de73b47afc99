//! A real ovsdb-server and ovs-vswitchd in a folder of their own, for as long as a test holds them.
//!
//! They are started in the foreground as children and killed by their process id when dropped, also when a test fails.
//! Readiness is waited for by asking (does the socket answer?), not by sleeping a fixed time.
#![allow(dead_code, clippy::unwrap_used)] // every test file uses its own part of this

pub mod flow;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent::ovs::ovsdb::{BridgeSpec, Client, PortSpec};
use agent::ovs::unixctl;

/// How long a daemon may take to answer on a busy machine.
pub const START_WITHIN: Duration = Duration::from_secs(20);

/// A database server alone.
pub struct Database {
    folder: tempfile::TempDir,
    server: Option<Daemon>,
}

/// A switch daemon on a database.
pub struct Switch {
    pub database: Database,
    daemon: Option<Daemon>,
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Database {
    /// Creates an empty database, with its root row, and serves it.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("ferrant-ovs-").tempdir().unwrap();
        run(Command::new("ovsdb-tool")
            .arg("create")
            .arg(folder.path().join("db"))
            .arg("/usr/share/openvswitch/vswitch.ovsschema"));
        let mut database = Self { folder, server: None };
        database.serve().await;
        run(Command::new("ovs-vsctl")
            .arg(format!("--db=unix:{}", database.socket().display()))
            .args(["--no-wait", "init"]));
        database
    }

    /// Starts the server again after [`Database::stop`].
    pub async fn serve(&mut self) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let child = Command::new("ovsdb-server")
            .arg(path("db"))
            .arg(format!("--remote=punix:{}", path("db.sock")))
            .arg("--remote=db:Open_vSwitch,Open_vSwitch,manager_options")
            .arg(format!("--unixctl={}", path("db.ctl")))
            .arg(format!("--pidfile={}", path("db.pid")))
            .args(quiet(&self.folder.path().join("db.log")))
            .env("OVS_RUNDIR", self.folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.server = Some(Daemon(child));
        answers(&self.folder.path().join("db.ctl")).await;
    }

    /// Kills the server; the database file stays.
    pub fn stop(&mut self) {
        self.server = None;
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("db.sock")
    }

    pub fn control(&self) -> PathBuf {
        self.folder.path().join("db.ctl")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A connected client.
    pub async fn client(&self) -> Client {
        let client = Client::start(self.socket());
        client.connected(START_WITHIN).await.unwrap();
        client
    }

    /// `ovs-vsctl` on this database, without waiting for a switch; its trimmed output.
    pub fn vsctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("ovs-vsctl");
        command.arg(format!("--db=unix:{}", self.socket().display())).arg("--no-wait").args(arguments);
        run(&mut command)
    }
}

impl Switch {
    /// A switch that has the userspace datapath, and dummy ones (`--enable-dummy`).
    pub async fn start() -> Self {
        let mut switch = Self { database: Database::start().await, daemon: None };
        switch.serve().await;
        switch
    }

    /// Starts vswitchd again after [`Switch::stop`].
    pub async fn serve(&mut self) {
        let folder = self.database.folder();
        // In a network namespace of its own, which ends with it: the netdev datapath makes tap devices of fixed names.
        let child = Command::new("unshare")
            .args(["--net", "ovs-vswitchd"])
            .arg(format!("unix:{}", self.database.socket().display()))
            .arg(format!("--unixctl={}", self.control().display()))
            .arg(format!("--pidfile={}", folder.join("v.pid").display()))
            .arg("--enable-dummy")
            .args(quiet(&folder.join("v.log")))
            .env("OVS_RUNDIR", folder)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.daemon = Some(Daemon(child));
        answers(&self.control()).await;
    }

    /// Kills vswitchd; the database goes on.
    pub fn stop(&mut self) {
        self.daemon = None;
    }

    pub fn control(&self) -> PathBuf {
        self.database.folder().join("v.ctl")
    }

    /// The OpenFlow socket of a bridge.
    pub fn management(&self, bridge: &str) -> PathBuf {
        self.database.folder().join(format!("{bridge}.mgmt"))
    }

    /// A bridge, as the agent makes it.
    pub async fn bridge(&self, client: &Client, name: &str, datapath_type: &str) {
        let bridge = BridgeSpec {
            name: name.into(),
            datapath_type: datapath_type.into(),
            other_config: [("disable-in-band".to_owned(), "true".to_owned())].into(),
            external_ids: [].into(),
        };
        client.ensure_bridge(&bridge).await.unwrap();
        client.configured(START_WITHIN).await.unwrap();
    }

    /// A dummy device as a port with this number.
    pub async fn dummy_port(&self, client: &Client, bridge: &str, name: &str, number: u32) {
        let port = PortSpec {
            name: name.into(),
            interface_type: "dummy".into(),
            ofport_request: Some(number),
            ..PortSpec::default()
        };
        client.ensure_port(bridge, &port).await.unwrap();
        let given = client.port_number(name, START_WITHIN).await;
        let log = || std::fs::read_to_string(self.database.folder().join("v.log")).unwrap();
        assert!(given.as_ref().is_ok_and(|given| *given == number), "{given:?}; the switch says:\n{}", log());
    }

    /// `ovs-ofctl` with OpenFlow 1.5; its trimmed output.
    pub fn ofctl(&self, command: &str, bridge: &str, arguments: &[&str]) -> String {
        let target = format!("unix:{}", self.management(bridge).display());
        run(Command::new("ovs-ofctl").args(["-O", "OpenFlow15", command, &target]).args(arguments))
    }

    /// One command to vswitchd's control socket.
    pub async fn appctl(&self, command: &str, arguments: &[&str]) -> String {
        unixctl::call(&self.control(), command, arguments).await.unwrap()
    }
}

/// Logs into a file only.
fn quiet(log: &Path) -> [String; 4] {
    [format!("--log-file={}", log.display()), "-vconsole:off".into(), "-vsyslog:off".into(), "-vfile:info".into()]
}

async fn answers(control: &Path) {
    let started = Instant::now();
    while let Err(error) = unixctl::call(control, "version", &[]).await {
        assert!(started.elapsed() < START_WITHIN, "{error}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Runs a program to its end; its trimmed standard output.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
