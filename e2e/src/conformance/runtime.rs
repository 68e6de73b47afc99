//! A container runtime's side of CNI, as the specification's sections 1 to 3 and its library have it: configuration lists found by
//! name, plugins found in a path, one configuration made for each call, results kept for DEL and CHECK.
//!
//! ```text
//!  NETCONFPATH/*.conflist ─► list ─► one plugin's configuration + name, cniVersion, prevResult, runtimeConfig ─► its standard input
//!                            CNI_COMMAND, CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_ARGS, CNI_PATH        ─► its environment
//! ```
//!
//! Two callers differ in what they say: a kubelet's runtime ([`Caller::Containerd`]) and a person's tool ([`Caller::Cnitool`]).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::lab::Namespace;

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// With the pod in `CNI_ARGS`, `IgnoreUnknown=1`, and keys that are its own.
    Containerd,
    /// With what its user puts into `CNI_ARGS`, and nothing else.
    Cnitool,
}

/// One attachment, as a runtime knows it.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`; empty for none.
    pub network_namespace: String,
    /// `CNI_IFNAME`.
    pub interface: String,
    /// The pod's namespace and name.
    pub pod: (String, String),
    /// What the caller asks for by capability (`CAP_ARGS` of cnitool).
    pub capabilities: Map<String, Value>,
}

/// How a call ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The document on standard output.
    pub document: Option<Value>,
    /// Whether the exit code was 0.
    pub success: bool,
    /// Both outputs, for messages.
    pub said: String,
}

/// The runtime on one node.
pub struct Runtime {
    /// Where the plugin runs.
    pub node: Arc<Namespace>,
    caller: Caller,
    /// `CNI_PATH`: folders in which plugins are, with colons.
    plugin_path: String,
    /// `NETCONFPATH`.
    configurations: PathBuf,
    cache: PathBuf,
}

impl Ended {
    /// The code of the error.
    pub fn code(&self) -> Option<u64> {
        self.document.as_ref().filter(|_| !self.success)?["code"].as_u64()
    }

    /// Waits for the end of a call.
    pub fn wait(child: Child) -> Result<Self> {
        Ok(Self::of(&child.wait_with_output().context("cannot wait for the plugin")?))
    }

    fn of(output: &Output) -> Self {
        let stdout = String::from_utf8_lossy(&output.stdout);
        let said = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
        Self { document: serde_json::from_str(&stdout).ok(), success: output.status.success(), said }
    }
}

impl Runtime {
    /// A runtime whose folders are below `folder`: its plugins are a link to `program`, by the name that configurations call it.
    pub fn new(caller: Caller, node: Arc<Namespace>, program: &Path, folder: &Path) -> Result<Self> {
        let at = |name: &str| {
            let path = folder.join(format!("{caller:?}")).join(name);
            fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
            anyhow::Ok(path)
        };
        let (bin, configurations, cache) = (at("bin")?, at("net.d")?, at("results")?);
        let link = bin.join("ferrant");
        if !link.exists() {
            std::os::unix::fs::symlink(program, &link).with_context(|| format!("cannot create {}", link.display()))?;
        }
        // The first folder has no such plugin: the search goes on.
        let plugin_path = format!("/nonexistent:{}", bin.display());
        Ok(Self { node, caller, plugin_path, configurations, cache })
    }

    /// Writes a configuration list of this one plugin, which goes by the list's name.
    pub fn write_list(&self, name: &str, version: &str, plugin: &Value) -> Result<()> {
        let list = json!({"cniVersion": version, "name": name, "plugins": [plugin]});
        let path = self.configurations.join(format!("10-{name}.conflist"));
        fs::write(&path, list.to_string()).with_context(|| format!("cannot write {}", path.display()))
    }

    /// ADD; the result is kept.
    pub fn add(&self, network: &str, sandbox: &Sandbox) -> Result<Ended> {
        let ended = self.call(network, "ADD", Some(sandbox), &[])?;
        if let (true, Some(result)) = (ended.success, &ended.document) {
            fs::write(self.cached(network, sandbox), result.to_string()).context("cannot keep the result")?;
        }
        Ok(ended)
    }

    /// CHECK, with the result that was kept.
    pub fn check(&self, network: &str, sandbox: &Sandbox) -> Result<Ended> {
        let previous = self.previous(network, sandbox)?;
        self.call(network, "CHECK", Some(sandbox), &previous)
    }

    /// DEL, with the result that was kept, which is forgotten when it worked.
    pub fn delete(&self, network: &str, sandbox: &Sandbox) -> Result<Ended> {
        let previous = self.previous(network, sandbox)?;
        let ended = self.call(network, "DEL", Some(sandbox), &previous)?;
        if ended.success {
            let _ = fs::remove_file(self.cached(network, sandbox));
        }
        Ok(ended)
    }

    /// GC: attachments that were kept and are not valid are deleted, then the plugin is told those that are. `None`: the caller
    /// says nothing, as cnitool does.
    pub fn collect(&self, network: &str, valid: Option<&[&Sandbox]>) -> Result<Ended> {
        let list = valid.map(|valid| {
            let name = |sandbox: &&Sandbox| json!({"containerID": sandbox.container_id, "ifname": sandbox.interface});
            Value::Array(valid.iter().map(name).collect())
        });
        let more: Vec<(&str, Value)> = list.map_or(Vec::new(), |list| {
            vec![("cni.dev/valid-attachments", list.clone()), ("cni.dev/attachments", list)]
        });
        self.call(network, "GC", None, &more)
    }

    /// STATUS.
    pub fn status(&self, network: &str) -> Result<Ended> {
        self.call(network, "STATUS", None, &[])
    }

    /// VERSION, as the library probes a plugin: with nothing of a list, and with variables that mean nothing.
    pub fn version(&self, version: &str) -> Result<Ended> {
        let dummies = ["CNI_NETNS", "CNI_IFNAME", "CNI_CONTAINERID", "CNI_PATH"];
        let mut variables: BTreeMap<String, String> =
            dummies.iter().map(|name| ((*name).to_owned(), "dummy".to_owned())).collect();
        variables.insert("CNI_COMMAND".to_owned(), "VERSION".to_owned());
        Ended::wait(self.start("ferrant", &variables, &json!({"cniVersion": version}).to_string())?)
    }

    /// A call to its end.
    pub fn call(
        &self,
        network: &str,
        command: &str,
        sandbox: Option<&Sandbox>,
        more: &[(&str, Value)],
    ) -> Result<Ended> {
        Ended::wait(self.begin(network, command, sandbox, more)?)
    }

    /// A call that is under way.
    pub fn begin(
        &self,
        network: &str,
        command: &str,
        sandbox: Option<&Sandbox>,
        more: &[(&str, Value)],
    ) -> Result<Child> {
        let list = self.list(network)?;
        let mut configuration = list["plugins"][0].clone();
        let plugin = configuration["type"].as_str().context("the configuration has no type")?.to_owned();
        configuration["name"] = list["name"].clone();
        configuration["cniVersion"] = list["cniVersion"].clone();
        for (key, value) in more {
            configuration[*key] = value.clone();
        }
        if let Some(sandbox) = sandbox {
            let declared = configuration["capabilities"].as_object().cloned().unwrap_or_default();
            // Only what the configuration declares is handed on.
            let asked: Map<String, Value> = sandbox
                .capabilities
                .clone()
                .into_iter()
                .filter(|(key, _)| declared.get(key) == Some(&json!(true)))
                .collect();
            if !asked.is_empty() {
                configuration["runtimeConfig"] = Value::Object(asked);
            }
        }
        if let Some(fields) = configuration.as_object_mut() {
            fields.remove("capabilities");
        }
        let mut variables = BTreeMap::from([
            ("CNI_COMMAND".to_owned(), command.to_owned()),
            ("CNI_PATH".to_owned(), self.plugin_path.clone()),
        ]);
        if let Some(sandbox) = sandbox {
            variables.insert("CNI_CONTAINERID".to_owned(), sandbox.container_id.clone());
            variables.insert("CNI_NETNS".to_owned(), sandbox.network_namespace.clone());
            variables.insert("CNI_IFNAME".to_owned(), sandbox.interface.clone());
            variables.insert("CNI_ARGS".to_owned(), self.arguments(sandbox));
        }
        self.start(&plugin, &variables, &configuration.to_string())
    }

    /// The plugin as a process of the node, with its input written.
    pub fn start(&self, plugin: &str, variables: &BTreeMap<String, String>, input: &str) -> Result<Child> {
        let mut folders = self.plugin_path.split(':').map(|folder| Path::new(folder).join(plugin));
        let program = folders.find(|path| path.is_file()).with_context(|| format!("there is no plugin {plugin}"))?;
        let mut command = Command::new(program);
        // A runtime adds its variables to its own environment.
        command.envs(variables).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.node.run(move || command.spawn())?.context("cannot start the plugin")?;
        if let Some(mut stdin) = child.stdin.take() {
            // A plugin that refuses early may not read all of it.
            let _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
        }
        Ok(child)
    }

    fn arguments(&self, sandbox: &Sandbox) -> String {
        let (namespace, name) = &sandbox.pod;
        let id = &sandbox.container_id;
        match self.caller {
            Caller::Containerd => format!(
                "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID={id};K8S_POD_UID={id}"
            ),
            Caller::Cnitool => format!("K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}"),
        }
    }

    /// The list of that name: files are looked through in order of their names.
    fn list(&self, network: &str) -> Result<Value> {
        let mut paths: Vec<PathBuf> = fs::read_dir(&self.configurations)
            .with_context(|| format!("cannot read {}", self.configurations.display()))?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "conflist"))
            .collect();
        paths.sort();
        for path in paths {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let list: Value = serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?;
            if list["name"] == network {
                return Ok(list);
            }
        }
        bail!("no network configuration with name {network:?} in {}", self.configurations.display())
    }

    fn cached(&self, network: &str, sandbox: &Sandbox) -> PathBuf {
        self.cache.join(format!("{network}-{}-{}", sandbox.container_id, sandbox.interface))
    }

    /// The result that was kept, as a key of the configuration; nothing when there is none.
    fn previous(&self, network: &str, sandbox: &Sandbox) -> Result<Vec<(&'static str, Value)>> {
        match fs::read_to_string(self.cached(network, sandbox)) {
            Ok(text) => Ok(vec![("prevResult", serde_json::from_str(&text).context("the result that was kept")?)]),
            Err(_) => Ok(Vec::new()),
        }
    }
}
