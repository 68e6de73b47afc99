//! What the lab of the draws reads: what never goes, pods that come and go, policies that take each other's place.

use anyhow::{Context, Result};

/// The node that is put to the test, the first of the lab.
pub const NODE: &str = "node-a";
/// What never goes.
pub const BASE: &str = include_str!("base.yaml");
/// A node that joins and leaves.
pub const PEER: &str = "apiVersion: v1
kind: Node
metadata: {name: node-c}
spec: {podCIDR: 10.10.3.0/28, podCIDRs: [10.10.3.0/28, \"fd00:10:0:3::/64\"]}
status: {addresses: [{type: InternalIP, address: 172.18.0.13}, {type: InternalIP, address: \"fd00:18::13\"}]}
";
const POLICIES_TEXT: &str = include_str!("policies.yaml");

/// The file of a pod's manifest.
pub fn pod_file(slot: usize) -> String {
    format!("pods/p{slot}.yaml")
}

/// A pod that comes and goes, with one of two sets of labels.
pub fn manifest(slot: usize, other: bool) -> String {
    let tier = if other { "b" } else { "a" };
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p{slot}\n  namespace: guard\n  labels: {{app: dynamic, tier: {tier}}}\n\
         spec:\n  nodeName: {NODE}\n  containers:\n  - name: main\n    image: example/main\n"
    )
}

/// The policy of this number.
pub fn policy(number: usize) -> Result<String> {
    let text = POLICIES_TEXT.split("\n# ").nth(number).context("there are fewer policies than numbers")?;
    let (_, body) = text.split_once('\n').context("a policy has a title")?;
    Ok(body.to_owned())
}

/// A policy of more rules than fit into what is left of a page, none of which was ever there.
pub fn many(number: usize) -> String {
    let rules: String = (0..200)
        .map(|rule| {
            let from = "{podSelector: {matchLabels: {role: friend}}}";
            format!("  - {{from: [{from}], ports: [{{port: {}}}]}}\n", 10_000 + (number * 200 + rule) % 50_000)
        })
        .collect();
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: many, namespace: guard}}\nspec:\n  \
         podSelector: {{matchLabels: {{app: server}}}}\n  ingress:\n{rules}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{complete, read_texts};
    use crate::crash::event::POLICIES;

    #[test]
    fn manifests_are_what_a_cluster_would_take() {
        let mut files = vec![("base.yaml".to_owned(), BASE.to_owned()), ("pod.yaml".to_owned(), manifest(1, true))];
        for number in 1..POLICIES {
            files.push((format!("policy-{number}.yaml"), policy(number).unwrap()));
        }
        files.push(("many.yaml".to_owned(), many(7)));
        let cluster = complete(read_texts(files));
        assert_eq!(cluster.invalid, Vec::<String>::new());
        assert_eq!(cluster.nodes[0].name, NODE);
        // Those that take each other's place have one name.
        assert_eq!(cluster.policies, 6);
        assert!(policy(POLICIES).is_err());
    }
}
