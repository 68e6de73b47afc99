//! What must hold after a draw, seen from outside: the switch, the links, the agent's own word, and packets.
//!
//! What may still be on its way (a port that has just come) is asked for again until it is right or some seconds have passed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use apis::query::{AgentInfo, Differences, INFO_PATH, OPENFLOW_PATH, PODS_PATH, PodInfo, RECOMPUTE_PATH};
use serde_json::Value;

use super::manifests::NODE;
use super::scene::Scene;
use crate::lab::{Namespace, get, post, run, run_for_output};

/// How long what is on its way may take.
const RIGHT_WITHIN: Duration = Duration::from_secs(4);
/// How long an allowed packet may take, sent again and again.
const ALLOWED_WITHIN: Duration = Duration::from_secs(3);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// As many lines of a kind are told.
const TOLD: usize = 6;

/// What was wrong, counted and told.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Flows in the switch that nobody wants, or that do something else.
    pub stale_flows: usize,
    /// Flows that are wanted and not there.
    pub missing_flows: usize,
    pub recompute_differences: usize,
    pub leaked_addresses: usize,
    /// Links, ports of the bridge and chains that belong to no pod.
    pub leaked_links: usize,
    pub forbidden: u64,
    pub denied_sent: u64,
    pub not_allowed: usize,
    pub complaints: Vec<String>,
}

impl Verdict {
    /// Adds another draw's.
    pub fn add(&mut self, other: Verdict) {
        self.stale_flows += other.stale_flows;
        self.missing_flows += other.missing_flows;
        self.recompute_differences += other.recompute_differences;
        self.leaked_addresses += other.leaked_addresses;
        self.leaked_links += other.leaked_links;
        self.forbidden += other.forbidden;
        self.not_allowed += other.not_allowed;
    }

    fn complain(&mut self, what: &str, lines: impl IntoIterator<Item = String>) -> usize {
        let lines: Vec<String> = lines.into_iter().collect();
        self.complaints.extend(lines.iter().take(TOLD).map(|line| format!("{what}: {line}")));
        lines.len()
    }
}

impl Scene {
    /// Looks at everything.
    pub async fn verify(&mut self) -> Result<Verdict> {
        let begun = Instant::now();
        let mut verdict = loop {
            let verdict = self.once().await?;
            if verdict.complaints.is_empty() || begun.elapsed() > RIGHT_WITHIN {
                break verdict;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        verdict.not_allowed += self.speak(&mut verdict.complaints).await?;
        // Last: what was in the switch until now counts.
        let arrived = self.traffic().arrived();
        verdict.forbidden = arrived.count;
        if arrived.count > 0 {
            verdict.complaints.push(format!("{} denied packets arrived: {}", arrived.count, arrived.told.join(", ")));
        }
        Ok(verdict)
    }

    /// Does by hand what a defect would do: a flow that nobody wants, a link, a packet where none may be. Fails unless each is
    /// noticed.
    pub async fn control(&mut self) -> Result<()> {
        let namespace = self.lab.node(NODE)?.namespace().clone();
        run(&namespace, &["ip", "link", "add", "stray", "type", "veth", "peer", "name", "stray-peer"], "")?;
        let (friend, server) = (self.lab.pod("guard/friend-a")?.clone(), self.lab.pod("guard/server-a")?.clone());
        let address = server.address(false).context("a pod here has both families")?;
        self.traffic().plant(friend.namespace(), address).await?;
        let mut found = self.once().await?;
        // The agent would remove a stray flow at once: instead one that is there is not expected.
        self.flows(0, 1, &mut found).await?;
        run(&namespace, &["ip", "link", "delete", "stray"], "")?;
        let arrived = self.traffic().arrived();
        ensure!(found.stale_flows == 1, "a stray flow is not noticed: {:?}", found.complaints);
        ensure!(found.leaked_links >= 1, "a stray link is not noticed: {:?}", found.complaints);
        ensure!(arrived.count >= 1, "a packet that arrives is not noticed");
        let after = self.verify().await?;
        ensure!(after.complaints.is_empty(), "the lab is not in order: {:?}", after.complaints);
        Ok(())
    }

    async fn once(&mut self) -> Result<Verdict> {
        let mut verdict = Verdict::default();
        let nodes = self.lab.nodes().len();
        for index in 0..nodes {
            self.recomputed(index, &mut verdict).await?;
            self.flows(index, 0, &mut verdict).await?;
        }
        self.pods_and_links(&mut verdict).await?;
        Ok(verdict)
    }

    async fn recomputed(&self, index: usize, verdict: &mut Verdict) -> Result<()> {
        let node = &self.lab.nodes()[index];
        let answer = post(&node.agent_socket(), RECOMPUTE_PATH, &Value::Null, ANSWER_WITHIN).await?.json()?;
        let found: Differences = serde_json::from_value(answer).context("a recompute answers differences")?;
        let what = format!("{}: planned otherwise anew", node.name());
        verdict.recompute_differences += verdict.complain(&what, found.differences);
        Ok(())
    }

    /// The switch has exactly the flows that the agent wants, but for so many, as `ovs-ofctl diff-flows` compares them.
    async fn flows(&mut self, index: usize, without: usize, verdict: &mut Verdict) -> Result<()> {
        let node = &self.lab.nodes()[index];
        let answer = get(&node.agent_socket(), OPENFLOW_PATH, ANSWER_WITHIN).await?.json()?;
        let mut wanted: Vec<String> = serde_json::from_value(answer).context("flows are lines")?;
        wanted.truncate(wanted.len() - without);
        let (name, namespace) = (node.name().to_owned(), node.namespace().clone());
        let file = self.lab.folder().join("wanted.flows");
        std::fs::write(&file, wanted.join("\n") + "\n")?;
        let (switch, _) = self.lab.nodes_mut()[index].switch();
        let bridge = format!("unix:{}", switch.run_folder().join("br-int.mgmt").display());
        let file = file.display().to_string();
        let command = ["ovs-ofctl", "-O", "OpenFlow15", "diff-flows", &bridge, &file];
        let output = run_for_output(&namespace, &command, &[], "")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // What waits for the switch to obey comes and goes in a table of its own.
        let lines: Vec<String> = text.lines().filter(|line| !line.contains("table=250")).map(str::to_owned).collect();
        let of = |sign: char| lines.iter().filter(move |line| line.starts_with(sign)).cloned();
        verdict.stale_flows += verdict.complain(&format!("{name}: a flow nobody wants"), of('-'));
        verdict.missing_flows += verdict.complain(&format!("{name}: a flow that is missing"), of('+'));
        // 2: they differ.
        if !matches!(output.status.code(), Some(0 | 2)) {
            let what = String::from_utf8_lossy(&output.stderr).into_owned();
            verdict.missing_flows += verdict.complain(&format!("{name}: the flows cannot be compared"), [what]);
        }
        Ok(())
    }

    /// The pods that the agent knows, its addresses, links, ports and closed interfaces are those of the pods there are.
    async fn pods_and_links(&mut self, verdict: &mut Verdict) -> Result<()> {
        let mut living: BTreeSet<(String, BTreeSet<IpAddr>)> = BTreeSet::new();
        for (key, pod) in self.lab.pods() {
            if pod.plan().node == NODE {
                living.insert((key.clone(), pod.addresses().iter().copied().collect()));
            }
        }
        living.extend(self.pods.values().map(|pod| (pod.sandbox.pod.clone(), pod.addresses.iter().copied().collect())));
        let socket = self.lab.node(NODE)?.agent_socket();
        let answer = get(&socket, PODS_PATH, ANSWER_WITHIN).await?.json()?;
        let known: Vec<PodInfo> = serde_json::from_value(answer).context("pods are pods")?;
        let claimed: BTreeSet<(String, BTreeSet<IpAddr>)> =
            known.iter().map(|pod| (pod.pod.clone(), pod.addresses.iter().copied().collect())).collect();
        let shown = |(pod, addresses): &(String, BTreeSet<IpAddr>)| format!("{pod} {addresses:?}");
        let lines: Vec<String> = claimed.difference(&living).map(shown).collect();
        verdict.leaked_addresses += verdict.complain("the agent knows a pod that is gone", lines);
        let lines: Vec<String> = living.difference(&claimed).map(shown).collect();
        verdict.not_allowed += verdict.complain("the agent does not know a pod", lines);

        let answer = get(&socket, INFO_PATH, ANSWER_WITHIN).await?.json()?;
        let info: AgentInfo = serde_json::from_value(answer).context("the agent describes itself")?;
        let held: usize = living.iter().map(|(_, addresses)| addresses.len()).sum();
        if info.addresses > held {
            let line = format!("{} are held, {held} belong to pods", info.addresses);
            verdict.complaints.push(format!("addresses leak: {line}"));
            verdict.leaked_addresses += info.addresses - held;
        }

        let wanted: BTreeSet<String> = known.iter().map(|pod| pod.interface.clone()).collect();
        let namespace = self.lab.node(NODE)?.namespace().clone();
        let (links, ports, closed) = (veths(&namespace)?, self.ports(&namespace)?, closed(&namespace)?);
        for (what, found) in [("link", &links), ("port", &ports)] {
            let lines: Vec<String> = found.difference(&wanted).cloned().collect();
            verdict.leaked_links += verdict.complain(&format!("a {what} of no pod"), lines);
            let lines: Vec<String> = wanted.difference(found).cloned().collect();
            verdict.not_allowed += verdict.complain(&format!("a pod without its {what}"), lines);
        }
        if let Some(closed) = closed.filter(|closed| *closed != wanted.len()) {
            let line = format!("{closed} interfaces are closed to the node, {} are pods'", wanted.len());
            verdict.leaked_links += verdict.complain("nft", [line]);
        }
        Ok(())
    }

    /// The pods' ports on the bridge.
    fn ports(&mut self, namespace: &Arc<Namespace>) -> Result<BTreeSet<String>> {
        let (switch, _) = self.lab.nodes_mut()[0].switch();
        let database = format!("--db=unix:{}", switch.database_socket().display());
        let text = run(namespace, &["ovs-vsctl", &database, "--timeout=10", "list-ports", "br-int"], "")?;
        Ok(text.lines().filter(|port| !["tun0", "gw0"].contains(port)).map(str::to_owned).collect())
    }

    /// Allowed packets arrive at every pod that may be spoken to, from both nodes; how many did not.
    async fn speak(&mut self, complaints: &mut Vec<String>) -> Result<usize> {
        let mut targets: Vec<(String, IpAddr)> = Vec::new();
        for key in ["guard/server-a", "guard/server-b"] {
            targets.extend(self.lab.pod(key)?.addresses().iter().map(|address| (key.to_owned(), *address)));
        }
        for pod in self.pods.values() {
            targets.extend(pod.addresses.iter().map(|address| (pod.sandbox.pod.clone(), *address)));
        }
        let mut failed = 0;
        for friend in ["guard/friend-a", "guard/friend-b"] {
            let from = self.lab.pod(friend)?.namespace().clone();
            let sent = targets.iter().map(|(_, address)| self.traffic().allowed(&from, *address, ALLOWED_WITHIN));
            for (arrived, (pod, address)) in futures::future::join_all(sent).await.into_iter().zip(&targets) {
                if !arrived? {
                    failed += 1;
                    complaints.push(format!("{friend} does not reach {pod} at {address}, which policy allows"));
                }
            }
        }
        Ok(failed)
    }
}

/// The node's ends of veth pairs; the uplink is the lab's.
fn veths(namespace: &Arc<Namespace>) -> Result<BTreeSet<String>> {
    let text = run(namespace, &["ip", "-json", "link", "show", "type", "veth"], "")?;
    let links: Value = if text.trim().is_empty() { Value::Null } else { serde_json::from_str(&text)? };
    let names = links.as_array().into_iter().flatten().filter_map(|link| link["ifname"].as_str());
    Ok(names.filter(|name| *name != "eth0").map(str::to_owned).collect())
}

/// How many interfaces are closed to the node's own stack; none where the datapath needs no such thing.
fn closed(namespace: &Arc<Namespace>) -> Result<Option<usize>> {
    let output = run_for_output(namespace, &["nft", "list", "table", "netdev", "ferrant"], &[], "")?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(output.status.success().then(|| text.matches("chain closed_").count()))
}
