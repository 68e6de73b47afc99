//! A container runtime and its kubelet: they add and remove pods through the plugin, and go on where a plugin was killed.
//!
//! A failed ADD is followed by DEL of the same container, again until it succeeds; then a new sandbox and a new ADD. A DEL that
//! fails is asked for again. That is all a runtime does, so it is all that may be needed.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::lab::{Namespace, Tool};

/// How long a pod may take to come or go, every attempt included.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// Between two attempts; kubelet waits longer.
const AGAIN: Duration = Duration::from_millis(20);

/// How the runtime of a node reaches the plugin.
#[derive(Clone)]
pub struct Runtime {
    pub node: Arc<Namespace>,
    pub plugin: PathBuf,
    pub agent_socket: PathBuf,
    /// Where a stopped plugin says at which point it was.
    pub hit: PathBuf,
    /// Where it leaves a line for every point it passes.
    pub trace: PathBuf,
}

/// A container's sandbox.
#[derive(Clone)]
pub struct Sandbox {
    pub container: String,
    pub pod: String,
    /// The file of its network namespace, which may be gone.
    pub path: PathBuf,
}

/// One answer of the plugin.
enum Answer {
    Success(Value),
    Failure(String),
}

impl Runtime {
    /// One ADD; the addresses, or none when it failed or was killed. Then whatever is left is removed before this returns.
    pub fn add(&self, sandbox: &Sandbox, armed: Option<&str>) -> Result<Option<Vec<IpAddr>>> {
        match answer(self.start("ADD", sandbox, armed)?)? {
            Answer::Success(answer) => addresses(&answer).map(Some),
            Answer::Failure(_) => {
                self.removed(sandbox, self.start_remove(sandbox, None)?)?;
                Ok(None)
            }
        }
    }

    /// Starts a DEL.
    pub fn start_remove(&self, sandbox: &Sandbox, armed: Option<&str>) -> Result<Tool> {
        self.start("DEL", sandbox, armed)
    }

    /// The end of a DEL that was started, and more of them until one succeeds.
    pub fn removed(&self, sandbox: &Sandbox, mut call: Tool) -> Result<()> {
        let start = Instant::now();
        loop {
            match answer(call)? {
                Answer::Success(_) => return Ok(()),
                Answer::Failure(why) if start.elapsed() > PATIENCE => bail!("CNI DEL of {} fails: {why}", sandbox.pod),
                Answer::Failure(_) => std::thread::sleep(AGAIN),
            }
            call = self.start_remove(sandbox, None)?;
        }
    }

    fn start(&self, command: &str, sandbox: &Sandbox, armed: Option<&str>) -> Result<Tool> {
        let configuration = json!({
            "cniVersion": "1.1.0",
            "name": "ferrant",
            "type": "ferrant",
            "agentSocket": self.agent_socket,
        });
        let (namespace, name) = sandbox.pod.split_once('/').context("a pod is namespace/name")?;
        let container = &sandbox.container;
        let mut environment = vec![
            ("CNI_COMMAND", command.to_owned()),
            ("CNI_CONTAINERID", container.clone()),
            ("CNI_NETNS", sandbox.path.display().to_string()),
            ("CNI_IFNAME", "eth0".to_owned()),
            ("CNI_PATH", "/opt/cni/bin".to_owned()),
            (
                "CNI_ARGS",
                format!(
                    "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_UID={container};\
                     K8S_POD_INFRA_CONTAINER_ID={container}"
                ),
            ),
            ("FERRANT_FAULT_HIT", self.hit.display().to_string()),
            ("FERRANT_FAULT_TRACE", self.trace.display().to_string()),
        ];
        if let Some(armed) = armed {
            environment.push(("FERRANT_FAULT", armed.to_owned()));
        }
        let program = self.plugin.display().to_string();
        Tool::start(&self.node, &[&program], &environment, &configuration.to_string())
    }
}

/// What a plugin says in the end.
fn answer(call: Tool) -> Result<Answer> {
    let output = call.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        let answer = if text.trim().is_empty() { Value::Null } else { serde_json::from_str(&text)? };
        return Ok(Answer::Success(answer));
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Ok(Answer::Failure(format!("{}: {} {}", output.status, text.trim_end(), errors.trim_end())))
}

fn addresses(answer: &Value) -> Result<Vec<IpAddr>> {
    let ips = answer["ips"].as_array().with_context(|| format!("CNI ADD answered {answer}"))?;
    ips.iter()
        .map(|ip| {
            let text = ip["address"].as_str().context("an address is text")?;
            Ok(text.parse::<IpNet>().with_context(|| format!("`{text}` is not an address with a prefix"))?.addr())
        })
        .collect()
}
