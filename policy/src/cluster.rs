//! The raw objects that are asked about.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use apis::kubernetes::{Namespace, NetworkPolicy, Node, Object, Pod};

/// A pod's namespace and name. Written `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodKey {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl PodKey {
    /// The key of `namespace/name`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// The objects of a cluster, as manifests have them.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// A namespace that has pods but is not here has its own name as its only label.
    pub namespaces: Vec<Namespace>,
    /// Nodes, for their addresses.
    pub nodes: Vec<Node>,
    /// Pods in any phase.
    pub pods: Vec<Pod>,
    /// NetworkPolicies; their order means nothing.
    pub network_policies: Vec<NetworkPolicy>,
    /// Addresses that pods really have. For a pod that is here they count instead of its `status.podIPs`.
    pub addresses: BTreeMap<PodKey, Vec<IpAddr>>,
}

impl FromIterator<Object> for Cluster {
    /// Sorts objects into a cluster; kinds that no policy asks about are left out.
    fn from_iter<I: IntoIterator<Item = Object>>(objects: I) -> Self {
        let mut cluster = Self::default();
        for object in objects {
            match object {
                Object::Namespace(namespace) => cluster.namespaces.push(namespace),
                Object::Node(node) => cluster.nodes.push(node),
                Object::Pod(pod) => cluster.pods.push(pod),
                Object::NetworkPolicy(policy) => cluster.network_policies.push(policy),
                Object::Unknown { .. } => {}
            }
        }
        cluster
    }
}

impl Cluster {
    /// The key of one of its pods.
    pub fn key(pod: &Pod) -> PodKey {
        PodKey::new(pod.metadata.namespace.as_deref().unwrap_or("default"), &*pod.metadata.name)
    }

    pub(crate) fn pod(&self, key: &PodKey) -> Option<&Pod> {
        self.pods.iter().find(|pod| Self::key(pod) == *key)
    }

    pub(crate) fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.metadata.name == name)
    }

    /// The addresses a pod has; a host-network pod has its node's.
    pub(crate) fn pod_addresses(&self, pod: &Pod) -> Vec<IpAddr> {
        if let Some(given) = self.addresses.get(&Self::key(pod)) {
            return given.clone();
        }
        let own: Vec<IpAddr> = pod.addresses().filter_map(|text| text.parse().ok()).collect();
        let node = pod.spec.node_name.as_deref().and_then(|name| self.node(name));
        match node {
            Some(node) if pod.spec.host_network && own.is_empty() => Self::node_addresses(node),
            _ => own,
        }
    }

    /// The addresses of a node, those by which the cluster knows it first.
    pub(crate) fn node_addresses(node: &Node) -> Vec<IpAddr> {
        let of = |kind: &'static str| node.addresses_of(kind).filter_map(|text| text.parse().ok());
        of("InternalIP").chain(of("ExternalIP")).collect()
    }

    /// A namespace's labels, its own name among them (KEP-2161), also where its object is missing.
    pub(crate) fn namespace_labels(&self, name: &str) -> BTreeMap<String, String> {
        let namespace = self.namespaces.iter().find(|namespace| namespace.metadata.name == name);
        let mut labels = namespace.map(|namespace| namespace.metadata.labels.clone()).unwrap_or_default();
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
        labels
    }
}
