//! `lab bench file-to-packet`: a policy file changes, and a stream of datagrams between two nodes shows when it is obeyed.
//!
//! ```text
//!  policy.yaml ─rename─► controller ─► agent of node-b ─► switch
//!  client (node-a) ══ a datagram every 0.3 ms ══ tunnel ══► server (node-b)
//! ```
//!
//! The file names the stream's port or another one, in turn. Allowed again: from the rename to the first datagram that
//! arrives. Denied: from the rename to the last one. It is one stream all the time, so each denial also has to stop a
//! connection that had been admitted, and each allowance to let it go on.

mod stream;
mod toggle;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use self::stream::Stream;
use self::toggle::{Outcome, Toggle};
use super::figure::{Figures, Target, largest, milliseconds, percentile};
use super::process;
use crate::command::{LabArguments, say};
use crate::lab::{Lab, NodePlan, PodPlan, Source};
use crate::oracle::random::Random;

const PORT: u16 = 9000;
const OTHER_PORT: u16 = 9001;
const FILE: &str = "policy.yaml";
/// Datagrams that are watched after each change was realised: about 25 ms of them.
const WATCHED: u64 = 90;
/// A change comes up to so many datagrams later, so that it falls into any phase of what the daemons do periodically.
const PHASES: usize = 80;

/// What `lab bench file-to-packet` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArguments,
    /// When changes come
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often the policy changes
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u16).range(2..))]
    toggles: u16,
}

/// What was measured, in milliseconds.
#[derive(Default)]
struct Measured {
    allow: Vec<f64>,
    deny: Vec<f64>,
    realised: Vec<f64>,
}

/// Runs it; true when no datagram had a wrong verdict.
///
/// # Errors
/// When the lab fails.
pub async fn run(arguments: Arguments) -> Result<bool> {
    let load = process::load()?;
    let files = [("cluster.yaml".to_owned(), cluster()), (FILE.to_owned(), policy(false))];
    let mut lab = Lab::up(arguments.lab.options(), vec![node(0), node(1)], &files).await?;
    lab.attach(vec![pod("client", 0), pod("server", 1)]).await?;
    lab.settle().await?;
    let (mut figures, mut measured) = (Figures::default(), Measured::default());
    {
        let (client, server) = (lab.pod("bench/client")?.clone(), lab.pod("bench/server")?.clone());
        let address = |pod: &crate::lab::Pod| pod.address(false).context("the pod has no IPv4 address");
        let from = (&**client.namespace(), address(&client)?);
        let stream = Stream::start(from, (&**server.namespace(), address(&server)?), PORT)?;
        let mut random = Random::new(arguments.seed);
        stream.pass(WATCHED).await?;
        ensure!(stream.take().is_empty(), "the stream arrives although the first policy denies it");
        say(&format!("{} changes of a policy", arguments.toggles));
        for number in 0..arguments.toggles {
            stream.pass(random.below(PHASES) as u64).await?;
            let toggle = change(&mut lab, number % 2 == 0).await.with_context(|| format!("change {number}"))?;
            stream.pass(WATCHED).await?;
            measured.note(number, toggle, toggle.judge(&stream.take()), &mut figures);
        }
    }
    measured.report(&mut figures);
    figures.add("machine_load", "load average before", load, "");
    for left in lab.down() {
        figures.wrong(format!("left behind: {left}"));
    }
    Ok(figures.print("file-to-packet", arguments.seed, arguments.lab.datapath))
}

async fn change(lab: &mut Lab, allow: bool) -> Result<Toggle> {
    let text = policy(allow);
    let written = Instant::now();
    Source::write(lab.source(), FILE, &text)?;
    lab.settle().await?;
    Ok(Toggle { allow, written, realised: Instant::now() })
}

impl Measured {
    fn note(&mut self, number: u16, toggle: Toggle, outcome: Outcome, figures: &mut Figures) {
        self.realised.push(milliseconds(toggle.realised - toggle.written));
        let word = if toggle.allow { "allow" } else { "deny" };
        match outcome {
            Outcome::Obeyed(time) => {
                if toggle.allow { &mut self.allow } else { &mut self.deny }.push(milliseconds(time));
            }
            Outcome::Leaked(after) => figures.wrong(format!(
                "change {number} ({word}): a datagram sent {:.2} ms after every node was said to obey still arrived",
                milliseconds(after)
            )),
            Outcome::Silent => {
                figures.wrong(format!("change {number} ({word}): nothing arrives although it is allowed"))
            }
        }
    }

    fn report(&self, figures: &mut Figures) {
        let both: Vec<f64> = self.allow.iter().chain(&self.deny).copied().collect();
        figures.add("toggles", "changes measured", both.len() as f64, "");
        figures.promise("p50_ms", "file to packet, P50", percentile(&both, 50), "ms", Target::AtMost(15.0));
        figures.add("p99_ms", "file to packet, P99", percentile(&both, 99), "ms");
        figures.add("worst_ms", "file to packet, slowest", largest(&both), "ms");
        figures.add("allow_p50_ms", "to the first that arrives, P50", percentile(&self.allow, 50), "ms");
        figures.add("allow_p99_ms", "to the first that arrives, P99", percentile(&self.allow, 99), "ms");
        figures.add("deny_p50_ms", "to the last that arrives, P50", percentile(&self.deny, 50), "ms");
        figures.add("deny_p99_ms", "to the last that arrives, P99", percentile(&self.deny, 99), "ms");
        figures.add("realised_p50_ms", "until the controller says so, P50", percentile(&self.realised, 50), "ms");
        figures.add("realised_p99_ms", "until the controller says so, P99", percentile(&self.realised, 99), "ms");
    }
}

fn node(number: u8) -> NodePlan {
    NodePlan {
        name: ["node-a", "node-b"][usize::from(number)].to_owned(),
        addresses: vec![IpAddr::V4(Ipv4Addr::new(172, 18, 0, 11 + number))],
        pod_cidrs: vec![format!("10.10.{}.0/24", number + 1).parse().expect("a valid range")],
    }
}

fn pod(name: &str, on: u8) -> PodPlan {
    PodPlan::new("bench", name, &node(on).name)
}

fn cluster() -> String {
    let mut text = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: bench\n".to_owned();
    for (number, name) in [(0, "client"), (1, "server")] {
        let NodePlan { name: node, addresses, pod_cidrs } = node(number);
        text += &format!(
            "---\napiVersion: v1\nkind: Node\nmetadata:\n  name: {node}\nspec:\n  podCIDRs: [{}]\nstatus:\n  \
             addresses: [{{type: InternalIP, address: {}}}]\n\
             ---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: bench\n  labels: {{app: {name}}}\nspec:\n  \
             nodeName: {node}\n  containers: [{{name: main, image: example/{name}}}]\n",
            pod_cidrs[0], addresses[0]
        );
    }
    text
}

fn policy(allow: bool) -> String {
    let port = if allow { PORT } else { OTHER_PORT };
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: server\n  namespace: bench\nspec:\n  podSelector: \
         {{matchLabels: {{app: server}}}}\n  policyTypes: [Ingress]\n  ingress:\n    - from: [{{podSelector: {{matchLabels: {{app: \
         client}}}}}}]\n      ports: [{{protocol: UDP, port: {port}}}]\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::read_texts;

    #[test]
    fn the_manifests_are_such_as_a_cluster_has() {
        let files = vec![("c".to_owned(), cluster()), ("a".to_owned(), policy(true)), ("d".to_owned(), policy(false))];
        let manifests = read_texts(files);
        assert_eq!((manifests.invalid, manifests.skipped_kinds.len()), (Vec::<String>::new(), 0));
        assert_eq!(manifests.files.iter().map(|file| file.objects.len()).sum::<usize>(), 7);
    }
}
