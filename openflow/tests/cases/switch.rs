//! A switch of our own: ovsdb-server and ovs-vswitchd with the dummy datapath, in a directory that goes with them.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use openflow::meter::MeterMod;
use openflow::switch::{TlvMap, TlvTableMod};
use openflow::{Action, Bucket, Group, GroupKind, GroupMod, Message, Meter, MeterBand, MeterFlags};

use crate::connection::Connection;

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// Ends its process when dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // the process may be gone already; then there is nothing to end
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Switch {
    // daemons before the directory: they end before their files go
    _vswitchd: Daemon,
    _ovsdb: Daemon,
    directory: tempfile::TempDir,
}

impl Switch {
    pub fn start() -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| format!("a temporary directory: {error}"))?;
        let path = |name: &str| directory.path().join(name).display().to_string();
        let log = |name: &str| format!("--log-file={}", path(name));
        finish(Command::new("ovsdb-tool").args(["create", &path("conf.db"), SCHEMA]))?;
        let mut ovsdb = Command::new("ovsdb-server");
        ovsdb.args([&path("conf.db"), &format!("--remote=punix:{}", path("db.sock"))]);
        ovsdb.args([&format!("--unixctl={}", path("ovsdb.ctl")), &log("ovsdb.log")]);
        let mut ovsdb = daemon(&mut ovsdb, &directory)?;
        appears(&path("db.sock"), &mut ovsdb)?;
        let database = format!("unix:{}", path("db.sock"));
        finish(Command::new("ovs-vsctl").args([&format!("--db={database}"), "--no-wait", "init"]))?;
        let mut vswitchd = Command::new("ovs-vswitchd");
        vswitchd.args([
            &database,
            "--enable-dummy",
            "--disable-system",
            &format!("--unixctl={}", path("vswitchd.ctl")),
        ]);
        vswitchd.arg(log("vswitchd.log"));
        let mut vswitchd = daemon(&mut vswitchd, &directory)?;
        appears(&path("vswitchd.ctl"), &mut vswitchd)?;
        finish(
            Command::new("ovs-vsctl").args([&format!("--db={database}"), "--timeout=20"]).args(
                "add-br br0 -- set bridge br0 datapath_type=dummy fail_mode=secure protocols=OpenFlow15 \
             -- add-port br0 p1 -- set interface p1 type=dummy ofport_request=1 \
             -- add-port br0 p2 -- set interface p2 type=dummy ofport_request=2"
                    .split_whitespace(),
            ),
        )?;
        Ok(Self { _vswitchd: vswitchd, _ovsdb: ovsdb, directory })
    }

    /// The bridge's management socket.
    pub fn management(&self) -> PathBuf {
        self.directory.path().join("br0.mgmt")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn connect(&self) -> Result<Connection, String> {
        Connection::open(&self.management())
    }

    /// What cases refer to: groups, meters, tunnel options.
    pub fn prepare(&self, connection: &mut Connection) -> Result<(), String> {
        let options =
            (0..64).map(|index| TlvMap { class: 0xffff, kind: index, length: 4, index: index.into() }).collect();
        let group = Group::new(1, GroupKind::All, vec![Bucket::new(0, vec![Action::output(1)])]);
        let meter = Meter { id: 1, flags: MeterFlags::PKTPS, bands: vec![MeterBand::Drop { rate: 100, burst: 0 }] };
        let messages = [
            Message::TlvTableMod(TlvTableMod::Add(options)),
            Message::GroupMod(GroupMod::Add(group)),
            Message::MeterMod(MeterMod::Add(meter)),
        ];
        match connection.send_all(&messages)?.first() {
            Some((_, refused)) => Err(format!("the switch could not be prepared: {refused}")),
            None => Ok(()),
        }
    }
}

/// Runs a command to its end and gives what it printed.
pub fn finish(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}; is Open vSwitch installed?"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn daemon(command: &mut Command, directory: &tempfile::TempDir) -> Result<Daemon, String> {
    command.env("OVS_RUNDIR", directory.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().map_err(|error| format!("{command:?}: {error}; is Open vSwitch installed?"))?;
    Ok(Daemon(child))
}

/// Waits until the daemon has made its socket.
fn appears(path: &str, daemon: &mut Daemon) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !std::path::Path::new(path).exists() {
        if let Ok(Some(status)) = daemon.0.try_wait() {
            return Err(format!("{path}: its process ended, {status}"));
        }
        if Instant::now() > deadline {
            return Err(format!("{path}: not there after 20 s"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
