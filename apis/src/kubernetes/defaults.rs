//! What the API server writes into an object that a person left open, as far as a network can tell the difference.

use super::{Container, Namespace, Object};

impl Object {
    /// Fills in what `kubectl apply` and the API server would: the namespace `default` for namespaced kinds, a namespace's
    /// own name as a label. An empty text that means the same as a missing one becomes none.
    pub fn apply_defaults(&mut self) {
        match self {
            Self::Namespace(namespace) => {
                drop_empty(&mut namespace.metadata.namespace);
                let metadata = &mut namespace.metadata;
                if !metadata.name.is_empty() {
                    metadata.labels.insert(Namespace::NAME_LABEL.to_owned(), metadata.name.clone());
                }
            }
            Self::Node(node) => {
                drop_empty(&mut node.metadata.namespace);
                drop_empty(&mut node.spec.pod_cidr);
            }
            Self::Pod(pod) => {
                default_namespace(&mut pod.metadata.namespace);
                drop_empty(&mut pod.spec.node_name);
                drop_empty(&mut pod.spec.service_account_name);
                drop_empty(&mut pod.status.pod_ip);
                let containers = pod.spec.containers.iter_mut().chain(&mut pod.spec.init_containers);
                containers.for_each(container_defaults);
            }
            Self::NetworkPolicy(policy) => default_namespace(&mut policy.metadata.namespace),
            Self::Unknown { .. } => {}
        }
        if let Some(metadata) = self.metadata_mut() {
            drop_empty(&mut metadata.uid);
            drop_empty(&mut metadata.resource_version);
            drop_empty(&mut metadata.deletion_timestamp);
        }
    }
}

fn container_defaults(container: &mut Container) {
    drop_empty(&mut container.restart_policy);
    for port in &mut container.ports {
        drop_empty(&mut port.name);
        drop_empty(&mut port.protocol);
        drop_empty(&mut port.host_ip);
        port.host_port = port.host_port.filter(|port| *port != 0);
    }
}

fn default_namespace(namespace: &mut Option<String>) {
    drop_empty(namespace);
    namespace.get_or_insert_with(|| "default".to_owned());
}

fn drop_empty(field: &mut Option<String>) {
    if field.as_deref() == Some("") {
        *field = None;
    }
}
