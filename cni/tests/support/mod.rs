//! Network namespaces and an agent for the plugin's tests. The namespaces belong to threads and end with them, so that nothing is
//! left behind however a test ends, and nothing outside is touched.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use apis::cni::{AddResult, CniError, MacAddress, Plan, PlannedAddress, PlannedRoute, ResultInterface};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

type Work = Box<dyn FnOnce() + Send>;

/// A network namespace with a thread that works in it.
pub struct Place {
    work: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl Place {
    pub fn new() -> Place {
        let (work, inbox) = mpsc::channel::<Work>();
        let (entered, path) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests run as root");
            let path = format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid());
            entered.send(PathBuf::from(path)).expect("the test waits for it");
            inbox.into_iter().for_each(|work| work());
        });
        let path = path.recv().expect("the thread has entered a namespace");
        Place { work: Some(work), thread: Some(thread), path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let work: Work = Box::new(move || done.send(work()).expect("the test waits for it"));
        self.work.as_ref().expect("it lives as long as the place").send(work).expect("the thread lives");
        result.recv().expect("the work ended without a panic")
    }

    /// Runs a command line inside; it has to work.
    pub fn run(&self, line: &str) -> String {
        let output = self.try_run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("tools print text")
    }

    pub fn try_run(&self, line: &str) -> Output {
        let words = line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        self.inside(move || Command::new(&words[0]).args(&words[1..]).output().expect("the tool is installed"))
    }

    /// What `ip -j` says.
    pub fn ip(&self, line: &str) -> Value {
        let text = self.run(&format!("ip -j -d {line}"));
        if text.trim().is_empty() { json!([]) } else { serde_json::from_str(&text).expect("ip prints JSON") }
    }

    pub fn has_link(&self, name: &str) -> bool {
        self.ip("link").as_array().expect("a list").iter().any(|link| link["ifname"] == name)
    }

    /// Starts the plugin here.
    pub fn plugin(&self, variables: &[(&str, &str)], configuration: &str) -> Answered {
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<Vec<_>>();
        let configuration = configuration.to_owned();
        self.inside(move || {
            let mut child = Command::new(env!("CARGO_BIN_EXE_ferrant-cni"))
                .env_clear()
                .envs(variables)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the plugin is built");
            // It may answer without reading everything.
            let _ = child.stdin.take().expect("it is piped").write_all(configuration.as_bytes());
            let output = child.wait_with_output().expect("it ends");
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "the plugin talks on standard output only");
            let text = String::from_utf8(output.stdout).expect("it prints text");
            let document = if text.is_empty() {
                None
            } else {
                Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("not one document: {error}: {text}")))
            };
            Answered { code: output.status.code().expect("it is not killed"), document }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.work.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How the plugin ended.
#[derive(Debug)]
pub struct Answered {
    pub code: i32,
    pub document: Option<Value>,
}

impl Answered {
    pub fn worked(self) -> Option<Value> {
        assert_eq!(self.code, 0, "{:?}", self.document);
        self.document
    }

    /// The CNI error it answered.
    pub fn failed(self) -> (u64, String) {
        assert_eq!(self.code, 1, "{:?}", self.document);
        let document = self.document.expect("an error is a document");
        let code = document["code"].as_u64().expect("a code");
        (code, format!("{} | {}", document["msg"].as_str().expect("a message"), document["details"]))
    }
}

/// What the fake agent answers to one path.
pub type Reply = Result<Value, CniError>;

/// An agent that answers as told and remembers what it was asked.
pub struct FakeAgent {
    folder: tempfile::TempDir,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl FakeAgent {
    pub fn new(reply: impl Fn(&str) -> Reply + Send + 'static) -> FakeAgent {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("cni.sock")).expect("a fresh path");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let memory = Arc::clone(&asked);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.expect("a connection"), &memory, &reply);
            }
        });
        FakeAgent { folder, asked }
    }

    /// An agent that gives this plan and confirms it.
    pub fn with(plan: Plan) -> FakeAgent {
        let result = AddResult {
            interfaces: vec![ResultInterface {
                name: "eth0".into(),
                mac: Some(plan.mac),
                mtu: Some(plan.mtu),
                sandbox: None,
            }],
            ips: Vec::new(),
            routes: Vec::new(),
        };
        FakeAgent::new(move |path| {
            Ok(match path {
                "/v1/add" | "/v1/check" => json!(plan),
                "/v1/confirm" => json!(result),
                _ => json!({}),
            })
        })
    }

    /// Where it would look for notes at its start.
    pub fn notes(&self) -> PathBuf {
        self.folder.path().join("detached")
    }

    pub fn configuration(&self) -> String {
        let socket = self.folder.path().join("cni.sock");
        json!({"cniVersion": "1.1.0", "name": "ferrant", "type": "ferrant", "agentSocket": socket}).to_string()
    }

    /// The paths asked so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic holds it").iter().map(|(path, _)| path.clone()).collect()
    }

    /// The body of the first request to that path.
    pub fn body(&self, path: &str) -> Value {
        let asked = self.asked.lock().expect("no panic holds it");
        asked.iter().find(|(known, _)| known == path).expect("it was asked").1.clone()
    }
}

/// Answers every request of a connection.
fn answer(stream: UnixStream, memory: &Mutex<Vec<(String, Value)>>, reply: &impl Fn(&str) -> Reply) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let path = line.split(' ').nth(1).expect("a path").to_owned();
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line).expect("a header");
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the body announced");
        memory.lock().expect("no panic holds it").push((path.clone(), serde_json::from_slice(&body).expect("JSON")));
        let (status, body) = match reply(&path) {
            Ok(value) => ("200 OK", value.to_string()),
            Err(error) => ("409 Conflict", serde_json::to_string(&error).expect("plain data")),
        };
        // The plugin may be gone.
        let _ = write!(reader.get_mut(), "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    }
}

pub const GATEWAY_MAC: MacAddress = MacAddress([0x0a, 0, 0, 0, 0x01, 0x01]);
pub const POD_MAC: MacAddress = MacAddress([0x0a, 0, 0, 0, 0x01, 0x02]);

/// A plan with the addresses of the named families ("4", "6").
pub fn plan(families: &[&str], transmit_checksum_offload: bool) -> Plan {
    let mut addresses = Vec::new();
    let mut routes = Vec::new();
    for family in families {
        let (address, gateway, everything) = match *family {
            "4" => ("10.10.1.2/32", "10.10.1.1", "0.0.0.0/0"),
            _ => ("fd00:10:0:1::2/128", "fd00:10:0:1::1", "::/0"),
        };
        let gateway = gateway.parse().expect("an address");
        let address = address.parse().expect("a prefix");
        addresses.push(PlannedAddress { address, gateway, gateway_mac: GATEWAY_MAC });
        routes.push(PlannedRoute { destination: everything.parse().expect("a prefix"), gateway });
    }
    Plan { host_interface: "web-0a1b2c".into(), mac: POD_MAC, mtu: 1450, addresses, routes, transmit_checksum_offload }
}

/// The environment of a call for container `c1`.
pub fn variables<'a>(command: &'a str, namespace: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", namespace),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin"),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=u-1"),
    ]
}
