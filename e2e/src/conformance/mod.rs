//! The CNI plugin against the specification: the real plugin, a real agent, a real switch, called as runtimes call it.
//!
//! A case is one sentence that holds or does not; those that hold for every version of the specification and for every caller are
//! asked for each. After every case nothing that it made is left. [`runtime`] is the caller; [`lifecycle`] goes from ADD to DEL,
//! [`refusals`] are calls that are wrong, [`together`] are calls that meet, [`absent`] are calls while something is away.

mod absent;
mod lifecycle;
mod refusals;
pub mod runtime;
mod together;

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use crate::lab::{Binaries, Lab, Namespace, NodePlan, Options, PodPlan, get};
use runtime::{Caller, Ended, Runtime, Sandbox};

/// Every version of the specification that the plugin speaks.
const VERSIONS: [&str; 3] = ["0.4.0", "1.0.0", "1.1.0"];
/// The node on which all happens.
const NODE: &str = "node-a";
/// Pods that the manifests have; cases take them one after the other.
const PODS: usize = 160;
/// The network that cases use unless they are about another.
const NETWORK: &str = "ferrant";

/// What the cases found.
#[derive(Debug, Default)]
pub struct Tally {
    cases: usize,
    failed: Vec<String>,
}

impl Tally {
    /// One case was asked.
    fn case(&mut self, name: impl Display, outcome: Result<()>) {
        self.cases += 1;
        match outcome {
            Ok(()) => println!("holds   {name}"),
            Err(error) => {
                println!("FAILED  {name}: {error:#}");
                self.failed.push(format!("{name}: {error:#}"));
            }
        }
    }
}

/// A pod's namespace with what the runtime knows of it.
struct Guest {
    sandbox: Sandbox,
    namespace: Arc<Namespace>,
}

/// The node and its callers.
struct World {
    lab: Lab,
    callers: [Runtime; 2],
    taken: usize,
}

/// Asks all cases; the figures, and whether all held.
///
/// # Errors
/// When the lab fails.
pub async fn run(options: Options) -> Result<(Value, bool)> {
    let datapath = options.datapath;
    let mut lab = Lab::up(options, vec![plan()], &[("cluster.yaml".to_owned(), manifests())]).await?;
    lab.settle().await?;
    let program = Binaries::of_this_build()?.cni;
    let runtime = |caller| Runtime::new(caller, lab.nodes()[0].namespace().clone(), &program, lab.folder());
    let callers = [runtime(Caller::Containerd)?, runtime(Caller::Cnitool)?];
    let mut world = World { lab, callers, taken: 0 };
    let mut tally = Tally::default();
    lifecycle::run(&mut world, &mut tally).await?;
    refusals::run(&mut world, &mut tally).await?;
    together::run(&mut world, &mut tally).await?;
    absent::run(&mut world, &mut tally).await?;
    let World { lab, callers, .. } = world;
    drop(callers);
    let left_behind = lab.down();
    left_behind.iter().for_each(|left| println!("left behind: {left}"));
    let figures = json!({
        "seed": 0, "datapath": datapath.to_string(), "skipped": 0, "cases": tally.cases, "failed": tally.failed.len(),
        "failures": tally.failed, "left_behind": left_behind.len(),
    });
    Ok((figures, tally.failed.is_empty() && left_behind.is_empty()))
}

fn plan() -> NodePlan {
    NodePlan {
        name: NODE.to_owned(),
        addresses: vec![IpAddr::V4(Ipv4Addr::new(172, 18, 0, 11))],
        pod_cidrs: ["10.10.1.0/24", "fd00:10:0:1::/64"].map(|cidr| cidr.parse().expect("a range")).to_vec(),
    }
}

/// A node with two families, pods, and a policy that selects all of them.
fn manifests() -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop}}\n---\napiVersion: v1\nkind: Node\nmetadata: {{name: {NODE}}}\nspec:\n  \
         podCIDRs: [10.10.1.0/24, 'fd00:10:0:1::/64']\nstatus:\n  addresses: [{{type: InternalIP, address: 172.18.0.11}}]\n---\n\
         apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: closed, namespace: shop}}\nspec:\n  podSelector: {{}}\n  \
         policyTypes: [Ingress, Egress]\n"
    );
    let names = (0..PODS).map(pod_name).chain([long_name()]);
    for name in names {
        text += &format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: web}}}}\nspec:\n  nodeName: {NODE}\n  \
             containers: [{{name: web, image: example/web}}]\n"
        );
    }
    text
}

fn pod_name(number: usize) -> String {
    format!("web-{number}")
}

/// As long as a pod's name may be.
fn long_name() -> String {
    format!("{}.{}", "a".repeat(189), "b".repeat(63))
}

impl World {
    fn containerd(&self) -> &Runtime {
        &self.callers[0]
    }

    /// Writes the list that cases use, in a version, for every caller.
    fn speak(&self, version: &str) -> Result<()> {
        self.callers.iter().try_for_each(|caller| caller.write_list(NETWORK, version, &self.plugin()))
    }

    /// The plugin's own part of a list.
    fn plugin(&self) -> Value {
        json!({
            "type": "ferrant", "agentSocket": self.lab.nodes()[0].cni_socket(),
            "capabilities": {"ips": true, "mac": true, "portMappings": true, "bandwidth": true},
        })
    }

    /// The next pod, with an empty namespace.
    fn guest(&mut self) -> Result<Guest> {
        ensure!(self.taken < PODS, "the manifests have too few pods: raise PODS");
        let name = pod_name(self.taken);
        self.taken += 1;
        self.guest_named(&name)
    }

    fn guest_named(&self, name: &str) -> Result<Guest> {
        let plan = PodPlan::new("shop", name.chars().take(20).collect::<String>(), NODE);
        let namespace = self.lab.sandbox(&plan)?;
        let sandbox = Sandbox {
            container_id: format!("{:0>64}", namespace.name().replace(|each: char| !each.is_ascii_alphanumeric(), "")),
            network_namespace: namespace.path().display().to_string(),
            interface: "eth0".to_owned(),
            pod: ("shop".to_owned(), name.to_owned()),
            capabilities: Map::new(),
        };
        Ok(Guest { sandbox, namespace })
    }

    /// What the agent answers to a question.
    async fn ask(&self, path: &str) -> Result<Value> {
        let limit = self.lab.pace().allow(Duration::from_secs(5));
        get(&self.lab.nodes()[0].agent_socket(), path, limit).await?.json()
    }

    /// The names of attached pods.
    async fn attached(&self) -> Result<Vec<String>> {
        let pods = self.ask("/v1/pods").await?;
        let names = pods.as_array().context("a list of pods")?.iter();
        Ok(names.filter_map(|pod| pod["pod"].as_str().map(str::to_owned)).collect())
    }

    /// Waits until nothing of a pod is left: not in the agent, not on the node, not in the pod.
    async fn nothing_is_left(&self, guest: &Guest) -> Result<()> {
        let pod = format!("{}/{}", guest.sandbox.pod.0, guest.sandbox.pod.1);
        let patience = self.lab.pace().allow(Duration::from_secs(15));
        let started = std::time::Instant::now();
        loop {
            let mut left = Vec::new();
            if self.attached().await?.contains(&pod) {
                left.push("the agent has it attached".to_owned());
            }
            if links(&guest.namespace)?.iter().any(|(name, _)| *name == guest.sandbox.interface) {
                left.push(format!("{} is in the pod", guest.sandbox.interface));
            }
            let mark = format!(" {} ", guest.sandbox.container_id);
            let ends = links(self.lab.nodes()[0].namespace())?;
            left.extend(
                ends.into_iter()
                    .filter(|(_, alias)| alias.contains(&mark))
                    .map(|(name, _)| format!("{name} is on the node")),
            );
            if left.is_empty() {
                return Ok(());
            }
            ensure!(started.elapsed() < patience, "left of {pod}: {}", left.join(", "));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Every link of a namespace with its alias.
fn links(namespace: &Namespace) -> Result<Vec<(String, String)>> {
    let text = crate::lab::run(namespace, &["ip", "-json", "link", "show"], "")?;
    let links: Value = serde_json::from_str(&text).context("ip -json printed something else")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(links.as_array().into_iter().flatten().map(|link| (text(&link["ifname"]), text(&link["ifalias"]))).collect())
}

/// The call worked and said nothing, or what `document` wants.
fn worked(ended: &Ended) -> Result<()> {
    ensure!(ended.success, "it failed: {}", ended.said.trim());
    Ok(())
}

/// The call worked and said nothing, as all commands do but ADD and VERSION.
fn silent(ended: &Ended) -> Result<()> {
    worked(ended)?;
    ensure!(ended.said.is_empty(), "it said {}", ended.said.trim());
    Ok(())
}

/// The call was refused with a code, in one document with all that a runtime shows, and a message that has `part`.
fn refused(ended: &Ended, code: u64, part: &str) -> Result<()> {
    ensure!(!ended.success, "it worked: {}", ended.said.trim());
    let document = ended.document.as_ref().with_context(|| format!("it is no JSON document: {}", ended.said.trim()))?;
    ensure!(document["code"] == code, "code {} is not {code}: {document}", document["code"]);
    let text = |key: &str| document[key].as_str().unwrap_or_default();
    ensure!(!text("msg").is_empty() && !text("cniVersion").is_empty(), "without message or version: {document}");
    ensure!(format!("{} {}", text("msg"), text("details")).contains(part), "{part:?} is not in {document}");
    Ok(())
}
