//! Input that is wrong: manifests, the CNI plugin's standard input and variables, flags, certificates.
//!
//! Each must be refused with an error that says where, what, and what to do; nothing that was in force may change, and nothing
//! may panic. A control, a right input of each kind, shows that the check would notice a change.

mod certificates;
mod cni;
mod flags;
mod manifests;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::cluster;
use crate::lab::{Lab, Options, get};

/// What a run found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// How many wrong inputs were given.
    pub inputs: usize,
    /// What was not as it must be, in words.
    pub panics: Vec<String>,
    /// Inputs that changed what was in force.
    pub changed_state: Vec<String>,
    /// Errors that do not say where, what, or what to do.
    pub without_location: Vec<String>,
    /// Wrong inputs that were taken for right.
    pub accepted: Vec<String>,
}

impl Found {
    /// Whether everything was as it must be.
    pub fn is_clean(&self) -> bool {
        [&self.panics, &self.changed_state, &self.without_location, &self.accepted].iter().all(|list| list.is_empty())
    }

    /// A text that a program printed: a panic in it is a defect.
    fn read(&mut self, input: &str, text: &str) {
        if text.contains("panicked at") || text.contains("RUST_BACKTRACE") {
            self.panics.push(format!("{input}: {text}"));
        }
    }
}

/// The policy that must stay in force whatever is thrown at the directory.
const GOOD: &str = "\
apiVersion: v1
kind: Namespace
metadata:
  name: shop
---
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  labels: {app: web}
spec:
  nodeName: node-a
  containers:
  - name: web
    ports: [{containerPort: 80}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
  namespace: shop
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - ports: [{port: 80}]
";

/// Gives every wrong input; the answer is the last line's object.
///
/// # Errors
/// When the lab cannot be brought up, or a control shows that a change would not have been noticed.
pub async fn run(options: Options) -> Result<(Value, bool)> {
    let datapath = options.datapath;
    let files = vec![("good.yaml".to_owned(), GOOD.to_owned())];
    let complete = cluster::complete(cluster::read_texts(files));
    let mut lab = Lab::up(options, complete.nodes, &complete.files).await?;
    lab.attach(complete.pods).await?;
    lab.settle().await?;
    let mut found = Found::default();
    manifests::run(&mut lab, &mut found).await?;
    cni::run(&mut lab, &mut found).await?;
    cni::written_down(&mut lab, &mut found).await?;
    flags::run(&lab, &mut found)?;
    for daemon in lab.daemons() {
        if let Err(error) = daemon.check() {
            found.panics.push(format!("{}: {error:#}", daemon.name()));
        }
        let log = daemon.log_end();
        found.read(&format!("log of {}", daemon.name()), &log);
    }
    for (kind, list) in [
        ("panic", &found.panics),
        ("changed state", &found.changed_state),
        ("without location", &found.without_location),
        ("accepted", &found.accepted),
    ] {
        list.iter().for_each(|text| eprintln!("bad-input: {kind}: {text}"));
    }
    let clean = found.is_clean();
    let left_behind = lab.down().len();
    let figures = json!({
        "seed": 0, "datapath": datapath.to_string(), "skipped": 0, "inputs": found.inputs, "panics": found.panics.len(),
        "changed_state": found.changed_state.len(), "without_location": found.without_location.len(),
        "accepted": found.accepted.len(), "left_behind": left_behind,
    });
    Ok((figures, clean && left_behind == 0))
}

/// Everything that is in force: each node's flows, with names, without counters.
async fn in_force(lab: &Lab) -> Result<String> {
    let mut all = String::new();
    for node in lab.nodes() {
        let answer =
            get(&node.agent_socket(), "/v1/flows", lab.pace().allow(std::time::Duration::from_secs(10))).await?;
        ensure!(answer.status == 200, "{} did not list its flows: {}", node.name(), answer.text());
        all += &answer.text();
    }
    Ok(all)
}
