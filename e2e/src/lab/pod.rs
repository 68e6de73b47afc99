//! A pod: an empty namespace that the real CNI plugin attaches, called as a container runtime calls it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use serde_json::{Value, json};

use super::process::run_for_output;
use super::{Namespace, Pace};

/// A well-known error code of the CNI specification 1.1.
const TRY_AGAIN_LATER: u32 = 11;
/// For how long a plugin may say so.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a pod is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPlan {
    /// Its namespace in the cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The node it runs on.
    pub node: String,
    /// It has no network of its own but its node's.
    pub host_network: bool,
    /// It has ended: it has no network at all.
    pub terminated: bool,
    /// The ports its containers declare.
    pub ports: Vec<(crate::probe::Protocol, u16)>,
    /// Addresses that the manifest says it has; the lab asks for them.
    pub addresses: Vec<IpAddr>,
}

impl PodPlan {
    /// A pod that runs, declares no ports, and takes the address it gets.
    pub fn new(namespace: &str, name: impl Into<String>, node: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.into(),
            node: node.to_owned(),
            host_network: false,
            terminated: false,
            ports: Vec::new(),
            addresses: Vec::new(),
        }
    }

    /// `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// A pod that is attached.
pub struct Pod {
    sandbox: Sandbox,
    addresses: Vec<IpAddr>,
    namespace: Arc<Namespace>,
}

/// What a runtime knows of a pod's network, also when the network is gone.
#[derive(Clone, Debug)]
pub struct Sandbox {
    plan: PodPlan,
    container: String,
    /// Where its namespace is, or was.
    path: PathBuf,
}

/// How a runtime reaches the plugin on one node.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// The plugin's binary.
    pub program: PathBuf,
    /// The agent's socket for it.
    pub agent_socket: PathBuf,
}

impl Pod {
    /// Has the plugin attach a pod's namespace (CNI ADD). `node` is where the runtime runs. As a kubelet does, asks again
    /// while the plugin says "try again later" (a node that has only just started says so).
    pub fn attach(
        plan: PodPlan,
        namespace: Arc<Namespace>,
        node: &Namespace,
        plugin: &Plugin,
        pace: Pace,
    ) -> Result<Self> {
        static SANDBOXES: AtomicU64 = AtomicU64::new(1);
        // Every sandbox has an id of its own, also that of a pod that comes back.
        let container = format!("{}-{}", namespace.name(), SANDBOXES.fetch_add(1, Ordering::Relaxed));
        let sandbox = Sandbox { plan, container, path: namespace.path() };
        let key = sandbox.plan.key();
        let what = format!("{key} to be attached");
        let answer = pace.until(&what, PATIENCE, || sandbox.call("ADD", node, plugin))?;
        let addresses = addresses_of(&answer).with_context(|| format!("CNI ADD of {key} answered {answer}"))?;
        Ok(Self { sandbox, addresses, namespace })
    }

    /// Has the plugin detach the pod (CNI DEL).
    pub fn detach(&self, node: &Namespace, plugin: &Plugin) -> Result<()> {
        let put_off = || format!("CNI DEL of {} is put off", self.plan().key());
        self.sandbox.call("DEL", node, plugin)?.with_context(put_off).map(drop)
    }

    /// What its runtime remembers when it is gone.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// What it was to be.
    pub fn plan(&self) -> &PodPlan {
        &self.sandbox.plan
    }

    /// Its addresses, as the plugin's answer gave them.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Its address of one family.
    pub fn address(&self, ipv6: bool) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| address.is_ipv6() == ipv6)
    }

    /// Its network.
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }
}

impl Sandbox {
    /// What the pod was to be.
    pub fn plan(&self) -> &PodPlan {
        &self.plan
    }

    /// Has the plugin detach what is gone with its node (CNI DEL). As a kubelet does, asks again while the plugin says "try again
    /// later".
    pub fn detach(&self, node: &Namespace, plugin: &Plugin, pace: Pace) -> Result<()> {
        let what = format!("{} to be detached", self.plan.key());
        pace.until(&what, PATIENCE, || self.call("DEL", node, plugin)).map(drop)
    }

    /// One call of the plugin: variables and standard input as the CNI specification 1.1 has them. None: try again later.
    fn call(&self, command: &str, node: &Namespace, plugin: &Plugin) -> Result<Option<Value>> {
        let mut configuration = json!({
            "cniVersion": "1.1.0",
            "name": "ferrant",
            "type": "ferrant",
            "agentSocket": plugin.agent_socket,
        });
        if !self.plan.addresses.is_empty() {
            // The conventional capability `ips`: addresses that the runtime wants.
            let ips: Vec<String> =
                self.plan.addresses.iter().map(|address| IpNet::from(*address).to_string()).collect();
            configuration["runtimeConfig"] = json!({ "ips": ips });
        }
        let environment = [
            ("CNI_COMMAND", command.to_owned()),
            ("CNI_CONTAINERID", self.container.clone()),
            ("CNI_NETNS", self.path.display().to_string()),
            ("CNI_IFNAME", "eth0".to_owned()),
            ("CNI_PATH", plugin.program.parent().unwrap_or(Path::new("/")).display().to_string()),
            (
                "CNI_ARGS",
                format!(
                    "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_UID={};K8S_POD_INFRA_CONTAINER_ID={}",
                    self.plan.namespace, self.plan.name, self.container, self.container
                ),
            ),
        ];
        let program = plugin.program.display().to_string();
        let output = run_for_output(node, &[&program], &environment, &configuration.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let refusal: Option<Value> = serde_json::from_str(&text).ok();
            if refusal.is_some_and(|refusal| refusal["code"] == TRY_AGAIN_LATER) {
                return Ok(None);
            }
            bail!(
                "CNI {command} of {} on {} failed ({}): {}{}",
                self.plan.key(),
                self.plan.node,
                output.status,
                text.trim_end(),
                String::from_utf8_lossy(&output.stderr).trim_end()
            );
        }
        if text.trim().is_empty() {
            return Ok(Some(Value::Null));
        }
        serde_json::from_str(&text)
            .map(Some)
            .with_context(|| format!("CNI {command} of {} answered {text}", self.plan.key()))
    }
}

fn addresses_of(answer: &Value) -> Result<Vec<IpAddr>> {
    let ips = answer["ips"].as_array().context("there is no `ips`")?;
    let mut addresses = Vec::new();
    for ip in ips {
        let text = ip["address"].as_str().context("an entry of `ips` has no `address`")?;
        addresses
            .push(text.parse::<IpNet>().with_context(|| format!("`{text}` is not an address with a prefix"))?.addr());
    }
    ensure!(!addresses.is_empty(), "`ips` is empty");
    Ok(addresses)
}
