//! What a controller and its agents say to each other about the sample clusters: the controller's own frames, and the sources that they
//! come from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use apis::stream::{
    Acknowledge, Failure, FromAgent, FromController, Hello, Keys, Listen, NodeVersion, PodReport, Realised, Take,
    Version, from_agent, from_controller,
};
use prost::Message;

use super::Seeds;

/// What the samples have nothing of: ranges of ports, ranges of addresses with holes, the other direction.
const POLICY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: ranges, namespace: sample}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}}], ports: [{port: 80}, {port: 90, endPort: 99}]}]
  egress: [{to: [{podSelector: {}}], ports: [{protocol: UDP}]}]
";

/// Everything that is made from manifests.
pub fn make(seeds: &mut Seeds) -> Result<()> {
    let samples = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/samples"));
    let mut files = Vec::new();
    manifests(samples, &mut files)?;
    ensure!(!files.is_empty(), "no manifests in {}", samples.display());
    let mut all = String::new();
    for file in &files {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        all += &format!("---\n{text}\n");
        // Single objects are what a mutation reaches the end of.
        for document in text.split("\n---\n") {
            seeds.add("yaml", document);
        }
        seeds.add("yaml", text);
    }
    seeds.add("yaml", POLICY);
    frames(seeds, &format!("{all}---\n{POLICY}"))?;
    from_agent(seeds);
    Ok(())
}

fn manifests(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            manifests(&entry, files)?;
        } else if entry.extension().is_some_and(|ending| ending == "yaml") {
            files.push(entry);
        }
    }
    Ok(())
}

/// What the controller sends each node of a cluster, as the agent meets it on the stream and on its disk.
fn frames(seeds: &mut Seeds, manifests: &str) -> Result<()> {
    let mut rules = 0;
    for messages in controller::fuzzing::told(manifests.as_bytes()) {
        let (mut stream, mut kept) = (Vec::new(), Vec::new());
        for bytes in messages {
            let message = FromController::decode(bytes.as_slice())?;
            let bytes = message.encode_length_delimited_to_vec();
            seeds.add("from_controller", bytes.clone());
            stream.extend(bytes);
            if let Some(from_controller::Message::Frame(frame)) = message.message {
                rules += frame.changes.iter().filter(|change| is_rule(change)).count();
                kept.push(frame);
            }
        }
        ensure!(!kept.is_empty(), "the controller sends a node no frame");
        seeds.add("from_controller", stream);
        seeds.add("journal", agent::fuzzing::written_journal(&kept));
    }
    ensure!(rules > 0, "the sample clusters have no rule");
    Ok(())
}

fn is_rule(change: &apis::stream::Change) -> bool {
    matches!(change.change, Some(apis::stream::change::Change::Rule(_)))
}

/// What an agent says in its life.
fn from_agent(seeds: &mut Seeds) {
    let report = |sequence, addresses: &[&[u8]]| PodReport {
        sequence,
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        addresses: addresses.iter().map(|address| address.to_vec().into()).collect(),
        mac: vec![0x0a, 0, 0, 0, 0, 1].into(),
    };
    let both: &[&[u8]] = &[&[10, 10, 1, 2], &[0xfd, 0, 0, 0x10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]];
    let version = Version {
        source: [("NetworkPolicy".to_owned(), 7)].into(),
        nodes: [("node-a".to_owned(), NodeVersion { boot: vec![1; 16].into(), sequence: 2 })].into(),
        every: 7,
        whole: true,
    };
    let hello = Hello {
        node: "node-a".to_owned(),
        versions: vec![2, 1],
        boot: vec![1; 16].into(),
        last: Some(version.clone()),
        pods: vec![report(1, both)],
        sequence: 1,
    };
    let failures = vec![Failure { object: "Pod/shop/web".to_owned(), reason: "refused".to_owned() }];
    let messages = [
        from_agent::Message::Hello(hello),
        from_agent::Message::Take(Take { number: 1, digests: Vec::new() }),
        from_agent::Message::Pod(report(2, both)),
        from_agent::Message::Acknowledge(Acknowledge { frame: 1, head: 0 }),
        from_agent::Message::Realised(Realised { frame: 1, version: Some(version), failures, head: 0 }),
        from_agent::Message::Take(Take { number: 2, digests: vec![0; 256] }),
        from_agent::Message::Keys(Keys { take: 2, held: Vec::new(), last: true }),
        from_agent::Message::Listen(Listen {}),
        from_agent::Message::Pod(report(3, &[])),
    ];
    let mut stream = Vec::new();
    for message in messages {
        stream.extend(FromAgent { message: Some(message) }.encode_length_delimited_to_vec());
        seeds.add("from_agent", stream.clone());
    }
}
