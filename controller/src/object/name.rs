//! Names of objects, a type each: a mix-up does not compile.

use std::fmt;

use super::Text;

/// A node's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(pub Text);

/// A pod, by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// Its namespace.
    pub namespace: Text,
    /// Its name.
    pub name: Text,
}

/// A NetworkPolicy, by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyKey {
    /// Its namespace.
    pub namespace: Text,
    /// Its name.
    pub name: Text,
}

/// Any object of a source, by kind and name. Displayed as people write it: `Pod/shop/web`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKey {
    /// A Namespace.
    Namespace(Text),
    /// A Node.
    Node(NodeName),
    /// A Pod.
    Pod(PodKey),
    /// A NetworkPolicy.
    NetworkPolicy(PolicyKey),
}

impl std::borrow::Borrow<str> for NodeName {
    fn borrow(&self) -> &str {
        self.0.as_str()
    }
}

impl ObjectKey {
    /// The kinds there are.
    pub const KINDS: [&'static str; 4] = ["Namespace", "Node", "Pod", "NetworkPolicy"];
}

impl fmt::Display for NodeName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for PolicyKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(name) => write!(formatter, "Namespace/{name}"),
            Self::Node(name) => write!(formatter, "Node/{name}"),
            Self::Pod(key) => write!(formatter, "Pod/{key}"),
            Self::NetworkPolicy(key) => write!(formatter, "NetworkPolicy/{key}"),
        }
    }
}
