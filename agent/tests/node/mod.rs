//! A node for tests: a network namespace with a real ovsdb-server and ovs-vswitchd, the real agent as a process, and a
//! controller that says what the test tells it to.
//!
//! Everything is a child or a thread of the test and ends with it, also when it fails.
#![allow(dead_code, clippy::unwrap_used)] // every test file uses its own part of this

pub mod controller;
pub mod frames;

use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use controller::Controller;

/// How long anything may take on a busy machine.
pub const WITHIN: Duration = Duration::from_secs(30);

/// A process that is killed when the test ends.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// A thread in a network namespace of its own, which lives as long as the thread.
pub struct Namespace {
    work: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
    pub path: String,
}

impl Namespace {
    pub fn new() -> Self {
        let (work, inbox) = mpsc::channel::<Work>();
        let (entered, path) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests run as root");
            entered.send(format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid())).unwrap();
            inbox.into_iter().for_each(|work| work());
        });
        let namespace = Self { work: Some(work), thread: Some(thread), path: path.recv().unwrap() };
        namespace.run("ip link set lo up");
        namespace
    }

    pub fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let work: Work = Box::new(move || done.send(work()).unwrap());
        self.work.as_ref().unwrap().send(work).unwrap();
        result.recv().unwrap()
    }

    /// Runs a command line inside; it has to work.
    pub fn run(&self, line: &str) -> String {
        let line = line.to_owned();
        self.inside(move || {
            let mut words = line.split_whitespace();
            run(Command::new(words.next().unwrap()).args(words))
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path)).arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.work.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A node with its switch, its agent and its controller.
pub struct Node {
    pub namespace: Namespace,
    pub controller: Controller,
    agent: Option<Process>,
    switch: Option<Process>,
    _database: Process,
    folder: tempfile::TempDir,
    extra: Vec<String>,
}

impl Node {
    /// A node whose agent has been started with these flags beside the usual ones. Told to use the kernel's datapath it gets a dummy
    /// of that name, which has no devices and so no pods.
    pub async fn start(extra: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("ferrant-agent-").tempdir().unwrap();
        let namespace = Namespace::new();
        namespace.run("ip link add eth0 type veth peer name underlay");
        for line in ["link set eth0 up", "link set underlay up", "address add 172.18.0.11/24 dev eth0"] {
            namespace.run(&format!("ip {line}"));
        }
        namespace.run("ip address add fd00:18::11/64 dev eth0 nodad");
        let path = |name: &str| folder.path().join(name);
        run(Command::new("ovsdb-tool").arg("create").arg(path("db")).arg("/usr/share/openvswitch/vswitch.ovsschema"));
        let database = namespace
            .command("ovsdb-server")
            .arg(path("db"))
            .arg(format!("--remote=punix:{}", path("db.sock").display()))
            .arg(format!("--unixctl={}", path("db.ctl").display()))
            .arg(format!("--pidfile={}", path("db.pid").display()))
            .args(quiet(&path("db.log")))
            .spawn()
            .unwrap();
        let controller = Controller::listen(&namespace).await;
        let mut node = Self {
            namespace,
            controller,
            agent: None,
            switch: None,
            _database: Process(database),
            extra: extra.iter().map(|flag| (*flag).to_owned()).collect(),
            folder,
        };
        until("the database answers", || UnixStream::connect(node.path("db.sock")).is_ok()).await;
        run(Command::new("ovs-vsctl")
            .arg(format!("--db=unix:{}", node.path("db.sock").display()))
            .args(["--no-wait", "init"]));
        node.start_switch();
        node.start_agent().await;
        node
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn start_switch(&mut self) {
        self.start_switch_with(&[]);
    }

    /// Starts vswitchd with these flags beside the usual ones.
    pub fn start_switch_with(&mut self, flags: &[&str]) {
        let child = self
            .namespace
            .command("ovs-vswitchd")
            .arg(format!("unix:{}", self.path("db.sock").display()))
            .arg(format!("--unixctl={}", self.path("v.ctl").display()))
            .arg(format!("--pidfile={}", self.path("v.pid").display()))
            .args(quiet(&self.path("v.log")))
            .args(self.is_on_kernel().then_some("--enable-dummy=system"))
            .args(flags)
            .env("OVS_RUNDIR", self.folder.path())
            .spawn()
            .unwrap();
        self.switch = Some(Process(child));
    }

    fn is_on_kernel(&self) -> bool {
        self.extra.iter().any(|flag| flag == "--datapath=system")
    }

    /// `ovs-appctl` to vswitchd; its trimmed output.
    pub fn appctl(&self, arguments: &[&str]) -> String {
        run(Command::new("ovs-appctl").arg("-t").arg(self.path("v.ctl")).args(arguments))
    }

    /// Kills vswitchd as a crash would.
    pub fn kill_switch(&mut self) {
        self.switch = None;
    }

    /// Lets vswitchd stand still, or go on.
    pub fn signal_switch(&self, signal: Signal) {
        let child = &self.switch.as_ref().unwrap().0;
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Starts the agent and waits for its sockets.
    pub async fn start_agent(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.path("agent.log")).unwrap();
        let child = self
            .namespace
            .command(env!("CARGO_BIN_EXE_ferrant-agent"))
            .args(["--node=node-a", "--log=debug,h2=info,hyper=info,tower=info"])
            .args((!self.is_on_kernel()).then_some("--datapath=netdev"))
            .arg(format!("--controller=http://127.0.0.1:{}", self.controller.port))
            .arg("--insecure")
            .arg(format!("--run-dir={}", self.path("run").display()))
            .arg(format!("--ovsdb={}", self.path("db.sock").display()))
            .arg(format!("--ovs-run-dir={}", self.folder.path().display()))
            .arg(format!("--vswitchd-ctl={}", self.path("v.ctl").display()))
            .args(&self.extra)
            .stderr(log)
            .spawn()
            .unwrap();
        self.agent = Some(Process(child));
        let (agent, cni) = (self.path("run/agent.sock"), self.path("run/cni.sock"));
        until("the agent serves", || UnixStream::connect(&agent).is_ok() && UnixStream::connect(&cni).is_ok()).await;
    }

    /// Kills the agent as a crash would.
    pub fn kill_agent(&mut self) {
        self.agent = None;
    }

    pub fn get(&self, path: &str) -> Value {
        let (status, body) = http(&self.path("run/agent.sock"), "GET", path, "");
        assert_eq!(status, 200, "{path}: {body}\n{}", self.log());
        serde_json::from_str(&body).unwrap()
    }

    /// Status and body, whatever they are.
    pub fn ask(&self, method: &str, path: &str) -> (u16, String) {
        http(&self.path("run/agent.sock"), method, path, "")
    }

    pub fn post(&self, path: &str, body: &Value) -> Value {
        let (status, body) = http(&self.path("run/agent.sock"), "POST", path, &body.to_string());
        assert_eq!(status, 200, "{path}: {body}\n{}", self.log());
        serde_json::from_str(&body).unwrap()
    }

    /// What the CNI plugin asks; status and body.
    pub fn cni(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, body) = http(&self.path("run/cni.sock"), "POST", path, &body.to_string());
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Waits until the switch obeys a frame.
    pub async fn realised(&self, frame: u64) -> Value {
        let started = Instant::now();
        loop {
            let answer = self.get("/v1/realised");
            if answer["frame"].as_u64().is_some_and(|found| found >= frame) {
                return answer;
            }
            assert!(started.elapsed() < WITHIN, "frame {frame} is not realised: {answer}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Attaches a pod as the plugin does: plan, a veth pair whose peer stands for the pod's end, confirm.
    pub async fn attach(&self, namespace: &str, name: &str) -> Value {
        self.attach_with(namespace, name, None).await
    }

    /// A pod with a network namespace of its own, and its IPv4 address.
    pub async fn pod(&self, namespace: &str, name: &str) -> (Namespace, IpAddr) {
        let pod = Namespace::new();
        let plan = self.attach_with(namespace, name, Some(&pod)).await;
        let address: IpNet = plan["addresses"][0]["address"].as_str().unwrap().parse().unwrap();
        (pod, address.addr())
    }

    async fn attach_with(&self, namespace: &str, name: &str, pod: Option<&Namespace>) -> Value {
        let request = serde_json::json!({
            "container_id": format!("{namespace}-{name}"), "interface": "eth0", "network_namespace": "/proc/self/ns/net",
            "pod_namespace": namespace, "pod_name": name,
        });
        let started = Instant::now();
        // Both on one connection: the agent takes back what a plugin that ends leaves half-way.
        let mut plugin = UnixStream::connect(self.path("run/cni.sock")).unwrap();
        let plan = loop {
            let (status, plan) = exchange(&mut plugin, "/v1/add", &request.to_string());
            let plan: Value = serde_json::from_str(&plan).unwrap();
            if status == 200 {
                break plan;
            }
            assert!(started.elapsed() < WITHIN, "{plan}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let host = plan["host_interface"].as_str().unwrap();
        match pod {
            None => drop(self.namespace.run(&format!("ip link add {host} type veth peer name p{}", &host[1..]))),
            Some(pod) => {
                self.namespace.run(&format!("ip link add {host} type veth peer name eth0 netns {}", pod.path));
                dress(pod, &plan);
            }
        }
        let confirm = serde_json::json!({"container_id": format!("{namespace}-{name}"), "interface": "eth0"});
        let (status, body) =
            tokio::task::spawn_blocking(move || exchange(&mut plugin, "/v1/confirm", &confirm.to_string()))
                .await
                .unwrap();
        assert_eq!(status, 200, "{body}\n{}", self.log());
        if let Some(pod) = pod {
            pod.run("ethtool eth0"); // as the plugin: the kernel takes note of the carrier at once
        }
        plan
    }

    /// `ovs-ofctl` with OpenFlow 1.5 on the agent's bridge.
    pub fn ofctl(&self, command: &str, arguments: &[&str]) -> String {
        let target = format!("unix:{}", self.path("br-int.mgmt").display());
        run(Command::new("ovs-ofctl").args(["-O", "OpenFlow15", command, &target]).args(arguments))
    }

    /// `ovs-vsctl` on the node's database, without waiting for the switch.
    pub fn vsctl(&self, arguments: &[&str]) -> String {
        let database = format!("--db=unix:{}", self.path("db.sock").display());
        run(Command::new("ovs-vsctl").args([&database, "--no-wait"]).args(arguments))
    }

    /// How much of a kind the agent found changed by somebody else.
    pub fn drift(&self, object: &str) -> u64 {
        self.get("/v1/info")["drift"][object].as_u64().unwrap_or(0)
    }

    /// How many flows the switch has.
    pub fn flow_count(&self) -> usize {
        let text = self.ofctl("dump-aggregate", &[]);
        text.split("flow_count=").nth(1).unwrap().trim().parse().unwrap()
    }

    /// Processor time that the agent and the switch have used, in seconds (proc(5), `stat`).
    pub fn processor_time(&self) -> [f64; 2] {
        let of = |process: &Option<Process>| {
            let id = process.as_ref().unwrap().0.id();
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
            let mut fields = stat.rsplit(") ").next().unwrap().split(' ').skip(11);
            let mut ticks = || fields.next().unwrap().parse::<f64>().unwrap();
            (ticks() + ticks()) / 100.0
        };
        [of(&self.agent), of(&self.switch)]
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }
}

/// The pod's half, as the plugin makes it (IPv4 alone).
fn dress(pod: &Namespace, plan: &Value) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let planned = &plan["addresses"][0];
    let (address, gateway) = (text(&planned["address"]), text(&planned["gateway"]));
    let (mac, gateway_mac) = (text(&plan["mac"]), text(&planned["gateway_mac"]));
    pod.run(&format!("ip link set eth0 address {mac} mtu {}", plan["mtu"]));
    pod.run("ethtool -K eth0 tx off");
    pod.run(&format!("ip address add {address} dev eth0"));
    pod.run("ip link set eth0 up");
    pod.run(&format!("ip route replace {gateway} dev eth0"));
    pod.run(&format!("ip route replace default via {gateway}"));
    pod.run(&format!("ip neighbour replace {gateway} lladdr {gateway_mac} dev eth0 nud permanent"));
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < WITHIN, "not within {WITHIN:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Runs a program to its end; its trimmed standard output.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Logs into a file only.
fn quiet(log: &Path) -> [String; 4] {
    [format!("--log-file={}", log.display()), "-vconsole:off".into(), "-vsyslog:off".into(), "-vfile:info".into()]
}

fn http(socket: &Path, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// One request on a connection that stays.
pub fn exchange(stream: &mut UnixStream, path: &str, body: &str) -> (u16, String) {
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    write!(stream, "POST {path} HTTP/1.1\r\nhost: agent\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let (mut head, mut byte) = (String::new(), [0]);
    while !head.ends_with("\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(char::from(byte[0]));
    }
    let head = head.to_ascii_lowercase();
    let length = head.split("content-length:").nth(1).unwrap().lines().next().unwrap().trim().parse().unwrap();
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), String::from_utf8(answer).unwrap())
}
