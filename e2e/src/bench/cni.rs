//! How long the CNI plugin takes to attach a pod with the policy that selects it in force: one after the other until the node is as
//! full as a kubelet lets it be (110 pods, its default `maxPods`), then, all of those being gone, a hundred at the same moment, as on a
//! node that starts.
//!
//! The time is a runtime's: from starting the plugin's process to its end. Where it goes is told by the agent, which knows when it
//! was asked and when what came to be (`ferrant_agent_cni_phase_seconds`); what is left is the plugin's process itself, its start,
//! its end, and its way to the agent. Before and after, packets are traced through the switch: the policy has to be in force for
//! every pod at the moment at which its ADD is answered.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, json};

use super::figure::{Figures, Target, largest, milliseconds, percentile};
use super::process;
use crate::command::{LabArguments, say};
use crate::conformance::runtime::{Caller, Ended, Runtime, Sandbox};
use crate::lab::{Binaries, Lab, Namespace, NodePlan, PodPlan, get, post};

const NODE: &str = "node-a";
const NETWORK: &str = "ferrant";
/// Pods that are attached at the same moment.
const AT_ONCE: usize = 100;
/// Whose times do not count: the first calls find nothing in the machine's caches.
const WARM_UP: usize = 10;
/// So many at either end of the row show how the time grows with the node's pods.
const GROWTH: usize = 30;
/// What the agent tells of an ADD, in the order in which it happens; the switch's two go on at the same time.
const PHASES: [(&str, &str, &str); 5] = [
    ("plan", "plan_ms", "the agent plans"),
    ("pod", "pod_ms", "the pod's half, by the plugin"),
    ("port", "port_ms", "the node's half: closed, up, a port of the switch"),
    ("flows", "flows_ms", "flows committed and realised (beside the port)"),
    ("answer", "answer_ms", "from both to the answer"),
];

/// What `lab bench cni` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArguments,
    /// Nothing is drawn here; taken so that every benchmark takes it
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many pods are attached one after the other: as many as a kubelet allows, when not told otherwise
    #[arg(long, default_value_t = 110, value_parser = clap::value_parser!(u16).range(20..=240))]
    pods: u16,
}

/// Runs it; true when the policy was in force for every pod that was attached.
///
/// # Errors
/// When the lab fails.
pub async fn run(arguments: Arguments) -> Result<bool> {
    let load = process::load()?;
    let pods = usize::from(arguments.pods);
    let files = [("cluster.yaml".to_owned(), manifests(pods + AT_ONCE))];
    let mut lab = Lab::up(arguments.lab.options(), vec![node()], &files).await?;
    lab.settle().await?;
    let program = Binaries::of_this_build()?.cni;
    let runtime = Runtime::new(Caller::Containerd, lab.nodes()[0].namespace().clone(), &program, lab.folder())?;
    let plugin = json!({"type": "ferrant", "agentSocket": lab.nodes()[0].cni_socket()});
    runtime.write_list(NETWORK, "1.1.0", &plugin)?;
    let mut figures = Figures::default();

    let sandboxes: Vec<_> = (0..pods + AT_ONCE).map(|number| sandbox(&lab, number)).collect::<Result<_>>()?;
    let (first, rest) = sandboxes.split_at(pods);
    say(&format!("{pods} pods, one after the other"));
    let mut sequential = Vec::new();
    let mut before = BTreeMap::new();
    for (number, (sandbox, _)) in first.iter().enumerate() {
        if number == WARM_UP {
            before = phases(&lab).await?;
        }
        let started = Instant::now();
        let ended = runtime.add(NETWORK, sandbox)?;
        let took = milliseconds(started.elapsed());
        ensure!(ended.success, "ADD failed: {}", ended.said);
        if number > 0 {
            judge(&lab, &ended, &mut figures).await?;
        }
        if number >= WARM_UP {
            sequential.push(took);
        }
    }
    let after = phases(&lab).await?;
    // The client stays: who may reach the others.
    let mut deleting = Vec::new();
    for (sandbox, _) in &first[1..] {
        let started = Instant::now();
        let ended = runtime.delete(NETWORK, sandbox)?;
        ensure!(ended.success, "DEL failed: {}", ended.said);
        deleting.push(milliseconds(started.elapsed()));
    }
    say(&format!("{AT_ONCE} pods at once, on the node that is empty again"));
    let at_once = all_at_once(&lab, &runtime, rest, &mut figures).await?;
    report(&mut figures, &sequential, &at_once, &deleting, &shares(&before, &after));
    figures.add("machine_load", "load average before", load, "");
    drop((runtime, sandboxes));
    for left in lab.down() {
        figures.wrong(format!("left behind: {left}"));
    }
    Ok(figures.print("cni", arguments.seed, arguments.lab.datapath))
}

/// Starts one plugin for each at the same moment; when each had ended, from that moment on.
async fn all_at_once(
    lab: &Lab,
    runtime: &Runtime,
    sandboxes: &[(Sandbox, Arc<Namespace>)],
    figures: &mut Figures,
) -> Result<Vec<f64>> {
    let started = Instant::now();
    let calls: Vec<_> = sandboxes
        .iter()
        .map(|(sandbox, _)| runtime.begin(NETWORK, "ADD", Some(sandbox), &[]))
        .collect::<Result<_>>()?;
    let waiting: Vec<_> = calls
        .into_iter()
        .map(|call| std::thread::spawn(move || Ended::wait(call).map(|ended| (ended, started.elapsed()))))
        .collect();
    let mut times = Vec::new();
    let mut answers = Vec::new();
    for thread in waiting {
        let (ended, took) = thread.join().map_err(|_| anyhow::anyhow!("waiting for a plugin panicked"))??;
        times.push(milliseconds(took));
        answers.push(ended);
    }
    for ended in &answers {
        judge(lab, ended, figures).await?;
    }
    Ok(times)
}

/// The policy lets a pod be reached at one port from one namespace, and nothing else.
async fn judge(lab: &Lab, ended: &Ended, figures: &mut Figures) -> Result<()> {
    ensure!(ended.success, "ADD failed: {}", ended.said);
    let result = ended.document.as_ref().context("ADD answered nothing")?;
    let address = result["ips"][0]["address"].as_str().and_then(|text| text.split('/').next()).context("no address")?;
    for (port, expected) in [(80, "Delivered"), (81, "Dropped")] {
        let question = json!({
            "source": {"pod": "bench/client"}, "destination_address": address, "protocol": "TCP", "destination_port": port,
        });
        let limit = lab.pace().allow(Duration::from_secs(5));
        let answer = post(&lab.nodes()[0].agent_socket(), "/v1/trace", &question, limit).await?.json()?;
        if answer["outcome"] != expected {
            figures.wrong(format!("to {address} port {port}: {answer} is not {expected}"));
        }
    }
    Ok(())
}

/// Sum of seconds and number of ADDs, by phase.
async fn phases(lab: &Lab) -> Result<BTreeMap<String, (f64, f64)>> {
    let limit = lab.pace().allow(Duration::from_secs(5));
    let metrics = get(&lab.nodes()[0].agent_socket(), "/metrics", limit).await?;
    let mut found = BTreeMap::new();
    for (name, _, _) in PHASES {
        let value = |what: &str| {
            let series = format!("ferrant_agent_cni_phase_seconds_{what}{{phase=\"{name}\"}}");
            metrics.sample(&series).unwrap_or(0.0)
        };
        found.insert(name.to_owned(), (value("sum"), value("count")));
    }
    Ok(found)
}

/// What each phase took on average meanwhile, in milliseconds.
fn shares(before: &BTreeMap<String, (f64, f64)>, after: &BTreeMap<String, (f64, f64)>) -> BTreeMap<String, f64> {
    let mean = |(name, (sum, count)): (&String, &(f64, f64))| {
        let (sum_before, count_before) = before.get(name).copied().unwrap_or_default();
        (name.clone(), (sum - sum_before) * 1000.0 / (count - count_before).max(1.0))
    };
    after.iter().map(mean).collect()
}

fn report(
    figures: &mut Figures,
    sequential: &[f64],
    at_once: &[f64],
    deleting: &[f64],
    shares: &BTreeMap<String, f64>,
) {
    figures.add("pods", "pods attached one after the other", sequential.len() as f64, "");
    figures.promise("p50_ms", "ADD, P50", percentile(sequential, 50), "ms", Target::AtMost(15.0));
    figures.promise("p99_ms", "ADD, P99", percentile(sequential, 99), "ms", Target::AtMost(40.0));
    figures.add("worst_ms", "ADD, slowest", largest(sequential), "ms");
    let part = sequential.len().min(GROWTH);
    figures.add("p50_first_ms", "ADD, P50 of the first thirty", percentile(&sequential[..part], 50), "ms");
    let last = &sequential[sequential.len() - part..];
    figures.add("p50_last_ms", "ADD, P50 of the last thirty", percentile(last, 50), "ms");
    let mean = sequential.iter().sum::<f64>() / sequential.len().max(1) as f64;
    figures.add("mean_ms", "ADD, mean, of which:", mean, "ms");
    let of = |name: &str| shares.get(name).copied().unwrap_or(0.0);
    let agent = of("plan") + of("pod") + of("port").max(of("flows")) + of("answer");
    figures.add("process_ms", "  the plugin's start and end", mean - agent, "ms");
    for (name, key, what) in PHASES {
        figures.add(key, what, of(name), "ms");
    }
    figures.promise("at_once_ms", "a hundred at once, the last", largest(at_once), "ms", Target::AtMost(1000.0));
    figures.add("at_once_p50_ms", "a hundred at once, P50", percentile(at_once, 50), "ms");
    figures.add("del_p50_ms", "DEL, P50", percentile(deleting, 50), "ms");
    figures.add("del_p99_ms", "DEL, P99", percentile(deleting, 99), "ms");
}

fn node() -> NodePlan {
    NodePlan {
        name: NODE.to_owned(),
        addresses: vec![IpAddr::V4(Ipv4Addr::new(172, 18, 0, 11))],
        pod_cidrs: ["10.10.0.0/16", "fd00:10:0:1::/64"].map(|cidr| cidr.parse().expect("a range")).to_vec(),
    }
}

/// The name of a pod; the first is the one that may reach the others.
fn name(number: usize) -> String {
    if number == 0 { "client".to_owned() } else { format!("web-{number}") }
}

fn sandbox(lab: &Lab, number: usize) -> Result<(Sandbox, Arc<Namespace>)> {
    let plan = PodPlan::new("bench", name(number), NODE);
    let namespace = lab.sandbox(&plan)?;
    let sandbox = Sandbox {
        container_id: format!("{number:064x}"),
        network_namespace: namespace.path().display().to_string(),
        interface: "eth0".to_owned(),
        pod: ("bench".to_owned(), name(number)),
        capabilities: Map::new(),
    };
    Ok((sandbox, namespace))
}

fn manifests(pods: usize) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: bench}}\n---\napiVersion: v1\nkind: Node\nmetadata: {{name: {NODE}}}\nspec:\n  \
         podCIDRs: [10.10.0.0/16, 'fd00:10:0:1::/64']\nstatus:\n  addresses: [{{type: InternalIP, address: 172.18.0.11}}]\n---\n\
         apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: web, namespace: bench}}\nspec:\n  podSelector: \
         {{matchLabels: {{app: web}}}}\n  ingress:\n  - from: [{{podSelector: {{matchLabels: {{app: client}}}}}}]\n    ports: [{{port: 80}}]\n"
    );
    for number in 0..pods {
        let app = if number == 0 { "client" } else { "web" };
        text += &format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {}, namespace: bench, labels: {{app: {app}}}}}\nspec:\n  nodeName: {NODE}\n  \
             containers: [{{name: main, image: example/main}}]\n",
            name(number)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::shares;

    #[test]
    fn a_share_is_the_mean_of_what_came_meanwhile() {
        let at = |sum, count| BTreeMap::from([("port".to_owned(), (sum, count))]);
        assert_eq!(shares(&at(1.0, 100.0), &at(1.5, 200.0))["port"], 5.0);
        assert_eq!(shares(&BTreeMap::new(), &at(0.0, 0.0))["port"], 0.0);
    }

    #[test]
    fn the_manifests_are_such_as_a_cluster_has() {
        let manifests = crate::cluster::read_texts(vec![("c".to_owned(), super::manifests(3))]);
        assert_eq!((manifests.invalid, manifests.skipped_kinds.len()), (Vec::<String>::new(), 0));
        assert_eq!(manifests.files.iter().map(|file| file.objects.len()).sum::<usize>(), 6);
    }
}
