//! Any object of a manifest: one of the kinds known here, or the name of one that is not.

use serde::Serialize;

use super::{Namespace, NetworkPolicy, Node, ObjectMeta, Pod};

/// An object of a manifest. Serialized, it is a manifest again, with `apiVersion` and `kind`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// `v1` Namespace.
    Namespace(Namespace),
    /// `v1` Node.
    Node(Node),
    /// `v1` Pod.
    Pod(Pod),
    /// `networking.k8s.io/v1` NetworkPolicy.
    NetworkPolicy(NetworkPolicy),
    /// A kind that is not read here; named so that it can be reported and skipped.
    Unknown {
        /// As written.
        api_version: String,
        /// As written.
        kind: String,
        /// `metadata.name`, empty where there is none.
        name: String,
    },
}

impl Object {
    /// `apiVersion` as manifests write it.
    pub fn api_version(&self) -> &str {
        match self {
            Self::Namespace(_) | Self::Node(_) | Self::Pod(_) => "v1",
            Self::NetworkPolicy(_) => "networking.k8s.io/v1",
            Self::Unknown { api_version, .. } => api_version,
        }
    }

    /// `kind` as manifests write it.
    pub fn kind(&self) -> &str {
        match self {
            Self::Namespace(_) => "Namespace",
            Self::Node(_) => "Node",
            Self::Pod(_) => "Pod",
            Self::NetworkPolicy(_) => "NetworkPolicy",
            Self::Unknown { kind, .. } => kind,
        }
    }

    /// Its metadata; none for an unknown kind.
    pub fn metadata(&self) -> Option<&ObjectMeta> {
        match self {
            Self::Namespace(namespace) => Some(&namespace.metadata),
            Self::Node(node) => Some(&node.metadata),
            Self::Pod(pod) => Some(&pod.metadata),
            Self::NetworkPolicy(policy) => Some(&policy.metadata),
            Self::Unknown { .. } => None,
        }
    }

    pub(super) fn metadata_mut(&mut self) -> Option<&mut ObjectMeta> {
        match self {
            Self::Namespace(namespace) => Some(&mut namespace.metadata),
            Self::Node(node) => Some(&mut node.metadata),
            Self::Pod(pod) => Some(&mut pod.metadata),
            Self::NetworkPolicy(policy) => Some(&mut policy.metadata),
            Self::Unknown { .. } => None,
        }
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        match self {
            Self::Unknown { name, .. } => name,
            _ => self.metadata().map_or("", |metadata| metadata.name.as_str()),
        }
    }

    /// `metadata.namespace`; none for cluster-scoped and unknown kinds.
    pub fn namespace(&self) -> Option<&str> {
        self.metadata().and_then(|metadata| metadata.namespace.as_deref())
    }

    /// Its name for people: `Node/worker-1`, `Pod/shop/web`.
    pub fn title(&self) -> String {
        match self.namespace() {
            Some(namespace) => format!("{}/{}/{}", self.kind(), namespace, self.name()),
            None => format!("{}/{}", self.kind(), self.name()),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Manifest<'a, T> {
            api_version: &'a str,
            kind: &'a str,
            #[serde(flatten)]
            rest: T,
        }
        #[derive(Serialize)]
        struct Named<'a> {
            metadata: Name<'a>,
        }
        #[derive(Serialize)]
        struct Name<'a> {
            name: &'a str,
        }
        let (api_version, kind) = (self.api_version(), self.kind());
        match self {
            Self::Namespace(rest) => Manifest { api_version, kind, rest }.serialize(serializer),
            Self::Node(rest) => Manifest { api_version, kind, rest }.serialize(serializer),
            Self::Pod(rest) => Manifest { api_version, kind, rest }.serialize(serializer),
            Self::NetworkPolicy(rest) => Manifest { api_version, kind, rest }.serialize(serializer),
            Self::Unknown { name, .. } => {
                Manifest { api_version, kind, rest: Named { metadata: Name { name } } }.serialize(serializer)
            }
        }
    }
}
