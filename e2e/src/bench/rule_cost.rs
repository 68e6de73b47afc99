//! `lab bench rule-cost`: how many flows one more rule costs, over five thousand pods that are of few kinds, and over as many that
//! are all unlike. Beside it what a rule that lists addresses would cost.
//!
//! The pods are elsewhere, and a first rule has put them on the node's map. Then a second policy comes, and the agent says how many
//! flows its switch was given and taken.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use apis::query::{
    AgentInfo, AgentRealised, INFO_PATH, REALISED_PATH, TRACE_PATH, TraceAnswer, TraceRequest, TraceSource,
};

use super::figure::{Figures, Target};
use super::flows::count;
use super::process;
use crate::command::{LabArguments, say};
use crate::lab::{Lab, NodePlan, PodPlan, get, post};

/// Pods elsewhere.
const PODS: usize = 5000;
/// Kinds of them, where they are alike.
const KINDS: usize = 20;
/// Pods of a node elsewhere.
const PODS_OF_A_NODE: usize = 200;
/// What a rule may cost beside its peers' identities.
const BESIDE: usize = 10;
/// The port of the first rule, and that of the one that comes.
const PORTS: [u16; 2] = [80, 81];
const LIMIT: Duration = Duration::from_secs(30);

/// What `lab bench rule-cost` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArguments,
    /// Nothing is drawn by chance here; kept in the last line
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// What one more rule cost.
struct Cost {
    /// Flows that were given to the switch or taken from it.
    changed: usize,
    /// All flows, without the new rule and with it.
    flows: [usize; 2],
    /// What was not as it should be.
    wrong: Vec<String>,
}

/// Runs it; true when the switch has what the agent says and the rule does what it says.
///
/// # Errors
/// When the lab fails.
pub async fn run(arguments: Arguments) -> Result<bool> {
    let load = process::load()?;
    let mut figures = Figures::default();
    let alike = measure(&arguments, KINDS).await.context("with pods that are alike")?;
    say(&format!("{PODS} pods of {KINDS} kinds: {} flows changed, of {}", alike.changed, alike.flows[1]));
    let unlike = measure(&arguments, PODS).await.context("with pods that are unlike")?;
    say(&format!("{PODS} unlike pods: {} flows changed, of {}", unlike.changed, unlike.flows[1]));
    // A rule that lists addresses has one flow for each, and the same beside them.
    let beside = alike.changed.saturating_sub(KINDS);
    let by_address = PODS + beside;
    let value = |number: usize| number as f64;
    figures.promise(
        "flows_changed",
        "flows that a rule over 20 kinds of pod changes",
        value(alike.changed),
        "",
        Target::AtMost(value(KINDS + BESIDE)),
    );
    figures.add("by_address", "the same by addresses", value(by_address), "");
    figures.promise(
        "unlike_flows_changed",
        "flows that a rule over unlike pods changes",
        value(unlike.changed),
        "",
        Target::AtMost(value(by_address)),
    );
    // Two rules by addresses would be twice as many flows as there are addresses, beside what is there without any.
    let fixed = unlike.flows[0].saturating_sub(2 * PODS);
    figures.promise(
        "unlike_flows",
        "all flows with two rules over unlike pods",
        value(unlike.flows[1]),
        "",
        Target::AtMost(value(fixed + 2 * by_address + PODS)),
    );
    figures.add("flows", "all flows with two rules over 20 kinds of pod", value(alike.flows[1]), "");
    figures.add("pods", "pods elsewhere", value(PODS), "");
    figures.add("machine_load", "load average before", load, "");
    alike.wrong.into_iter().chain(unlike.wrong).for_each(|what| figures.wrong(what));
    Ok(figures.print("rule-cost", arguments.seed, arguments.lab.datapath))
}

async fn measure(arguments: &Arguments, kinds: usize) -> Result<Cost> {
    let files = [
        ("nodes.yaml".to_owned(), nodes()),
        ("pods.yaml".to_owned(), pods(kinds)),
        ("first.yaml".to_owned(), policy("first", PORTS[0])),
    ];
    let mut lab = Lab::up(arguments.lab.options(), vec![node_plan()], &files).await?;
    lab.settle().await?;
    lab.attach(vec![web()]).await?;
    lab.settle().await?;
    let mut wrong = Vec::new();
    let before = info(&lab).await?.flows;
    for (port, delivered) in [(PORTS[0], true), (PORTS[1], false)] {
        wrong.extend(asked(&lab, port, delivered).await?);
    }
    lab.source().write("second.yaml", &policy("second", PORTS[1]))?;
    lab.settle().await?;
    let answer = get(&lab.nodes()[0].agent_socket(), REALISED_PATH, LIMIT).await?.json()?;
    let realised: AgentRealised = serde_json::from_value(answer).context("the agent's word of what is realised")?;
    let after = info(&lab).await?.flows;
    for port in PORTS {
        wrong.extend(asked(&lab, port, true).await?);
    }
    let (switch, namespace) = lab.nodes_mut()[0].switch();
    let counted = count::count(namespace, switch.run_folder())?.flows;
    if counted != after {
        wrong.push(format!("the agent says that there are {after} flows, but in the switch are {counted}"));
    }
    ensure!(realised.timing.changes > 0, "the agent did not say how many flows changed");
    wrong.extend(lab.down().into_iter().map(|left| format!("left behind: {left}")));
    Ok(Cost { changed: realised.timing.changes, flows: [before, after], wrong })
}

async fn info(lab: &Lab) -> Result<AgentInfo> {
    let answer = get(&lab.nodes()[0].agent_socket(), INFO_PATH, LIMIT).await?.json()?;
    serde_json::from_value(answer).context("the agent's word of itself")
}

/// Traces packets of some pods elsewhere to the pod here; in words what was not as expected.
async fn asked(lab: &Lab, port: u16, delivered: bool) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for number in [0, 7, PODS / 2, PODS - 1] {
        let request = TraceRequest {
            source: TraceSource::Tunnel(worker(number / PODS_OF_A_NODE)),
            source_address: Some(address(number)),
            destination_address: web().addresses[0],
            protocol: "TCP".to_owned(),
            source_port: Some(40_000),
            destination_port: Some(port),
            icmp_type: None,
            ct: None,
        };
        let body = serde_json::to_value(request).context("a trace request is JSON")?;
        let answer = post(&lab.nodes()[0].agent_socket(), TRACE_PATH, &body, LIMIT).await?.json()?;
        let answer: TraceAnswer = serde_json::from_value(answer)?;
        if (answer.outcome == "Delivered") != delivered {
            wrong.push(format!("a packet of pod {number} to port {port} was {} in {}", answer.outcome, answer.table));
        }
    }
    Ok(wrong)
}

fn node_plan() -> NodePlan {
    NodePlan {
        name: "node-a".to_owned(),
        addresses: vec![IpAddr::V4(Ipv4Addr::new(172, 18, 0, 11))],
        pod_cidrs: vec!["10.10.1.0/24".parse().expect("a valid range")],
    }
}

fn web() -> PodPlan {
    PodPlan { addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 10, 1, 10))], ..PodPlan::new("shop", "web", "node-a") }
}

fn worker(number: usize) -> String {
    format!("worker-{number:02}")
}

fn address(number: usize) -> IpAddr {
    let (node, host) = (number / PODS_OF_A_NODE, number % PODS_OF_A_NODE + 2);
    IpAddr::V4(Ipv4Addr::new(10, 64, node as u8, host as u8))
}

fn nodes() -> String {
    let manifest = |name: &str, address: &str, range: &str| {
        format!(
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nspec: {{podCIDR: {range}, podCIDRs: [{range}]}}\n\
             status: {{addresses: [{{type: InternalIP, address: {address}}}]}}\n"
        )
    };
    let mut text = manifest("node-a", "172.18.0.11", "10.10.1.0/24");
    for number in 0..PODS.div_ceil(PODS_OF_A_NODE) {
        text += &manifest(&worker(number), &format!("172.19.0.{}", number + 1), &format!("10.64.{number}.0/24"));
    }
    text
}

fn pods(kinds: usize) -> String {
    let mut text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\napiVersion: v1\nkind: Namespace\n\
                    metadata: {name: tenants, labels: {kind: tenant}}\n---\napiVersion: v1\nkind: Pod\n\
                    metadata: {name: web, namespace: shop, labels: {app: web}}\nspec: {nodeName: node-a, containers: [{name: main, image: example/web}]}\n\
                    status: {podIP: 10.10.1.10, podIPs: [{ip: 10.10.1.10}]}\n"
        .to_owned();
    for number in 0..PODS {
        let (node, address) = (worker(number / PODS_OF_A_NODE), address(number));
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: pod-{number}, namespace: tenants, labels: {{app: app-{}}}}}\n\
             spec: {{nodeName: {node}, containers: [{{name: main, image: example/app}}]}}\n\
             status: {{podIP: {address}, podIPs: [{{ip: {address}}}]}}\n",
            number % kinds
        );
    }
    text
}

fn policy(name: &str, port: u16) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  \
         podSelector: {{matchLabels: {{app: web}}}}\n  policyTypes: [Ingress]\n  ingress:\n    \
         - from: [{{namespaceSelector: {{matchLabels: {{kind: tenant}}}}}}]\n      ports: [{{protocol: TCP, port: {port}}}]\n"
    )
}
