//! A hundred thousand pods as a directory: tenants of a hundred pods each, on twenty nodes a tenant.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result};

/// Pods of a tenant: clients, web servers, databases.
const PODS_OF_TENANT: usize = 100;
/// Nodes that a tenant's pods are spread over.
const NODES_OF_TENANT: usize = 20;

/// The cluster's size.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Nodes.
    pub nodes: usize,
    /// Pods.
    pub pods: usize,
}

impl Size {
    fn tenants(self) -> usize {
        self.pods / PODS_OF_TENANT
    }

    /// The pods of a node, by namespace and name, with the addresses that its agent reports.
    pub fn pods_of(self) -> Vec<Vec<(String, String, Ipv4Addr)>> {
        let mut nodes = vec![Vec::new(); self.nodes];
        for tenant in 0..self.tenants() {
            for pod in 0..PODS_OF_TENANT {
                let node = self.node_of(tenant, pod);
                let [high, low] = u16::try_from(node).unwrap_or(u16::MAX).to_be_bytes();
                let number = u8::try_from(nodes[node].len() % 250 + 2).expect("at most 252");
                // 10.64.0.0/10 by node, a /24 each; more than 250 pods of a node share addresses, which nobody matches here.
                nodes[node].push((namespace(tenant), name(pod), Ipv4Addr::new(10, 64 + high, low, number)));
            }
        }
        nodes
    }

    fn node_of(self, tenant: usize, pod: usize) -> usize {
        (tenant * 7 + pod % NODES_OF_TENANT * 37) % self.nodes
    }

    /// Writes the directory: a file a tenant, one for the nodes.
    pub fn write(self, folder: &Path) -> Result<()> {
        let mut nodes = String::new();
        for number in 0..self.nodes {
            let [high, low] = u16::try_from(number).context("at most 65536 nodes")?.to_be_bytes();
            let node = format!(
                "apiVersion: v1\nkind: Node\nmetadata: {{name: {}}}\nspec: {{podCIDRs: [10.{}.{low}.0/24]}}\nstatus: {{addresses: [{{type: \
                 InternalIP, address: 172.20.{high}.{low}}}]}}\n---\n",
                node_name(number),
                64 + u16::from(high)
            );
            nodes.push_str(&node);
        }
        let put = |file: &str, text: &str| {
            std::fs::write(folder.join(file), text).with_context(|| format!("cannot write {file}"))
        };
        put("nodes.yaml", &nodes)?;
        for tenant in 0..self.tenants() {
            put(&format!("{}.yaml", namespace(tenant)), &self.tenant(tenant))?;
        }
        Ok(())
    }

    fn tenant(self, tenant: usize) -> String {
        let namespace = namespace(tenant);
        let mut text = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n---\n");
        for pod in 0..PODS_OF_TENANT {
            let (name, node) = (name(pod), node_name(self.node_of(tenant, pod)));
            let role = role(pod);
            // What is written to text does not fail.
            let _ = write!(
                text,
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{app: {role}, release: stable}}}}\nspec: \
                 {{nodeName: {node}, containers: [{{name: main, image: example, ports: [{{containerPort: 8080}}]}}]}}\n---\n"
            );
        }
        for (to, from) in [("web", "client"), ("database", "web")] {
            let _ = write!(
                text,
                "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {to}, namespace: {namespace}}}\nspec:\n  podSelector: \
                 {{matchLabels: {{app: {to}}}}}\n  ingress: [{{from: [{{podSelector: {{matchLabels: {{app: {from}}}}}}}], ports: [{{port: \
                 8080}}]}}]\n---\n"
            );
        }
        text
    }
}

fn role(pod: usize) -> &'static str {
    match pod {
        0..40 => "client",
        40..90 => "web",
        _ => "database",
    }
}

fn namespace(tenant: usize) -> String {
    format!("tenant-{tenant}")
}

fn name(pod: usize) -> String {
    format!("{}-7f9c6d5b8-{pod:05}", role(pod))
}

/// The name of a node.
pub fn node_name(number: usize) -> String {
    format!("node-{number:04}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_pods_and_the_manifests_are_valid() {
        let size = Size { nodes: 50, pods: 2000 };
        let pods = size.pods_of();
        assert_eq!(pods.iter().map(Vec::len).sum::<usize>(), 2000);
        assert!(pods.iter().all(|pods| pods.len() >= 10), "{:?}", pods.iter().map(Vec::len).collect::<Vec<_>>());
        let read = crate::cluster::read_texts(vec![("tenant.yaml".to_owned(), size.tenant(3))]);
        assert!(read.invalid.is_empty(), "{:?}", read.invalid);
        assert_eq!(read.files.iter().map(|file| file.objects.len()).sum::<usize>(), 1 + PODS_OF_TENANT + 2);
    }
}
