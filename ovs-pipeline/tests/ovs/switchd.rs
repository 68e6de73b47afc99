//! One ovsdb-server and one ovs-vswitchd in a folder of their own; both end with the test.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use openflow::Action;

use crate::scenario::book;
use crate::scenario::switch::Flow;

/// Pod ports that every bridge has: OpenFlow ports 3 to 12. The tunnel is port 1, the gateway port 2.
const LAST_PORT: u32 = 12;

pub struct Switchd {
    /// Dropped first: nobody writes to the folder when it goes.
    processes: Vec<Process>,
    folder: tempfile::TempDir,
}

/// Killed when dropped, also when the test panics.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // The process may be gone already; there is nothing to do about a failure.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?} could not start"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {text}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The short name of a node's ports: node-a has `a1`, `a2`, …
fn letter(node: &str) -> &str {
    node.rsplit('-').next().unwrap_or(node)
}

impl Switchd {
    /// A switch with a bridge for each of node-a, node-b and node-c.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut switchd = Self { processes: Vec::new(), folder };
        let database = switchd.path("conf.db");
        run(Command::new("ovsdb-tool").arg("create").arg(&database).arg("/usr/share/openvswitch/vswitch.ovsschema"))?;
        let remote = format!("--remote=punix:{}", switchd.path("db.sock").display());
        let control = format!("--unixctl={}", switchd.path("db.ctl").display());
        let (database, logged) = (database.display().to_string(), switchd.path("db.log"));
        switchd.spawn("ovsdb-server", &[database, remote, control], &logged)?;
        let socket = format!("unix:{}", switchd.path("db.sock").display());
        let control = format!("--unixctl={}", switchd.path("v.ctl").display());
        let (dummy, logged) = (["--enable-dummy", "--disable-system"].map(str::to_string), switchd.path("v.log"));
        switchd.vsctl(&["--no-wait", "init"])?;
        switchd.spawn("ovs-vswitchd", &[socket, control, dummy[0].clone(), dummy[1].clone()], &logged)?;
        for node in ["node-a", "node-b", "node-c"] {
            switchd.add_bridge(node)?;
        }
        switchd.underlay()?;
        Ok(switchd)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn spawn(&mut self, program: &str, arguments: &[String], log: &Path) -> Result<()> {
        let mut command = Command::new(program);
        command.args(arguments).env("OVS_RUNDIR", self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(std::fs::File::create(log)?);
        self.processes.push(Process(command.spawn().with_context(|| format!("{program} could not start"))?));
        Ok(())
    }

    /// One transaction; waits until the switch has done it.
    pub fn vsctl(&self, arguments: &[&str]) -> Result<String> {
        let database = format!("--db=unix:{}", self.path("db.sock").display());
        run(Command::new("ovs-vsctl").args([database.as_str(), "--retry", "--timeout=20"]).args(arguments))
    }

    fn add_bridge(&self, node: &str) -> Result<()> {
        let index = book::index(node)?;
        let letter = letter(node);
        let mut words: Vec<String> = Vec::new();
        let mut add = |text: String| words.extend(text.split(' ').map(str::to_string));
        add(format!("add-br {node} -- set bridge {node} datapath_type=dummy fail_mode=secure protocols=OpenFlow15"));
        // Bridges of one process share a datapath, so each needs a tunnel port of its own.
        let tunnel =
            format!("type=geneve options:remote_ip=flow options:key=flow options:dst_port={}", 6080 + u32::from(index));
        add(format!("-- add-port {node} {letter}1 -- set interface {letter}1 ofport_request=1 {tunnel}"));
        for port in 2..=LAST_PORT {
            let capture = self.path(&format!("{letter}{port}.pcap"));
            let options = format!("type=dummy options:pcap={}", capture.display());
            add(format!(
                "-- add-port {node} {letter}{port} -- set interface {letter}{port} ofport_request={port} {options}"
            ));
        }
        self.vsctl(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(())
    }

    /// A bridge through which tunnel packets leave, so that a trace shows them leave.
    fn underlay(&self) -> Result<()> {
        let bridge = "add-br br-phy -- set bridge br-phy datapath_type=dummy";
        let wire = "-- add-port br-phy phy1 -- set interface phy1 type=dummy";
        self.vsctl(&format!("{bridge} {wire}").split(' ').collect::<Vec<_>>())?;
        self.control("netdev-dummy/ip4addr", &["br-phy", "172.18.0.250/24"])?;
        self.control("netdev-dummy/ip6addr", &["br-phy", "fd00:18::250/64"])?;
        for range in ["172.18.0.0/24", "fd00:18::/64"] {
            self.control("ovs/route/add", &[range, "br-phy"])?;
        }
        for index in 1..=3 {
            for address in book::node_addresses(index) {
                self.control("tnl/neigh/set", &["br-phy", &address.to_string(), "0a:00:00:00:ff:01"])?;
            }
        }
        Ok(())
    }

    /// A command on the switch's control socket: JSON-RPC 1.0 over a stream (ovs-appctl(8)).
    pub fn control(&self, method: &str, parameters: &[&str]) -> Result<String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut stream = loop {
            match UnixStream::connect(self.path("v.ctl")) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > deadline => bail!("{method}: no control socket: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let request = serde_json::json!({ "id": 0, "method": method, "params": parameters });
        stream.write_all(request.to_string().as_bytes())?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut text = Vec::new();
        let mut buffer = [0; 65536];
        loop {
            let read = stream.read(&mut buffer)?;
            ensure!(read > 0, "{method}: the switch closed the connection");
            text.extend_from_slice(&buffer[..read]);
            if let Ok(answer) = serde_json::from_slice::<serde_json::Value>(&text) {
                ensure!(
                    answer["error"].is_null(),
                    "{method} {parameters:?}: {}",
                    answer["error"].as_str().unwrap_or("?")
                );
                return Ok(answer["result"].as_str().unwrap_or_default().to_string());
            }
        }
    }

    fn ofctl(&self, node: &str, arguments: &[&str], file: &str) -> Result<String> {
        let path = self.path("flows.txt");
        std::fs::write(&path, file)?;
        let bridge = format!("unix:{}", self.path(&format!("{node}.mgmt")).display());
        let [command, rest @ ..] = arguments else { bail!("a command is missing") };
        let mut ofctl = Command::new("ovs-ofctl");
        run(ofctl.args(["-O", "OpenFlow15", *command]).args(rest).arg(bridge).arg(&path)).map_err(|error| {
            let line = error
                .to_string()
                .split("flows.txt:")
                .nth(1)
                .and_then(|text| text.split(':').next()?.parse::<usize>().ok());
            let flow = line.and_then(|line| file.lines().nth(line - 1)).unwrap_or_default();
            error.context(format!("{node}: {flow}"))
        })
    }

    /// Makes the bridge hold exactly these flows, in one bundle.
    pub fn replace(&self, node: &str, flows: &[Flow]) -> Result<()> {
        self.ofctl(node, &["replace-flows", "--bundle"], &flows.iter().map(line).collect::<String>()).map(drop)
    }

    /// Brings the bridge from one set of flows to another by what differs, in one bundle.
    pub fn change(&self, node: &str, old: &[Flow], new: &[Flow]) -> Result<()> {
        let key = |flow: &Flow| (flow.table, flow.priority, flow.matches.clone());
        let kept: std::collections::HashSet<_> = new.iter().map(key).collect();
        let gone = old.iter().filter(|flow| !kept.contains(&key(flow)));
        let gone = gone.map(|flow| format!("delete_strict {}\n", matched(flow))).collect::<String>();
        let added =
            new.iter().filter(|flow| !old.contains(flow)).map(|flow| format!("add {}", line(flow))).collect::<String>();
        self.ofctl(node, &["add-flows", "--bundle"], &(gone + &added)).map(drop)
    }

    /// Whether the bridge holds exactly these flows.
    pub fn holds(&self, node: &str, flows: &[Flow]) -> Result<()> {
        self.ofctl(node, &["diff-flows"], &flows.iter().map(line).collect::<String>()).map(drop)
    }

    /// A packet's way through a bridge.
    pub fn trace(&self, node: &str, packet: &str, connection: &str) -> Result<String> {
        self.control("ofproto/trace", &[node, packet, "--ct-next", connection])
    }

    /// Sends a packet into a port, as if it had come from the wire.
    pub fn receive(&self, node: &str, port: u32, packet: &[u8]) -> Result<()> {
        let packet: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
        self.control("netdev-dummy/receive", &[&format!("{}{port}", letter(node)), &packet]).map(drop)
    }

    /// Sends a packet through the tables as if from a port, with bits of `reg0` set, as an agent's packet-out does.
    pub fn packet_out(&self, node: &str, port: u32, reg0: u32, metadata: u64, packet: &[u8]) -> Result<()> {
        let packet: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
        let bridge = format!("unix:{}", self.path(&format!("{node}.mgmt")).display());
        let message = format!(
            "in_port={port},packet={packet},actions=set_field:{reg0:#x}/{reg0:#x}->reg0,set_field:{metadata}->metadata,resubmit(,0)"
        );
        run(Command::new("ovs-ofctl").args(["-O", "OpenFlow15", "packet-out"]).arg(bridge).arg(message)).map(drop)
    }

    /// Where everything that a port received and sent is written.
    pub fn capture(&self, node: &str, port: u32) -> PathBuf {
        self.path(&format!("{}{port}.pcap", letter(node)))
    }
}

fn matched(flow: &Flow) -> String {
    let matches = flow.matches.to_string();
    let comma = if matches.is_empty() { "" } else { "," };
    format!("table={},priority={}{comma}{matches}", flow.table.id(), flow.priority)
}

/// A flow as `ovs-ofctl` takes it.
fn line(flow: &Flow) -> String {
    let mut actions: Vec<String> = flow.actions.iter().map(Action::to_string).collect();
    actions.extend(flow.next.map(|next| format!("goto_table:{}", next.id())));
    let actions = if actions.is_empty() { "drop".to_string() } else { actions.join(",") };
    format!("{} actions={actions}\n", matched(flow))
}
