//! Identities: endpoints that no policy can tell apart.
//!
//! An identity is defined by namespace, labels, ServiceAccount and named ports. Labels that differ by pod or by rollout
//! ([`ROLLOUT_LABELS`]) are left out until a selector names one; then they count for as long as it does. The labels of the
//! namespace are not part of it: relabelling a namespace changes groups, not identities.

use std::sync::Arc;

use hashbrown::HashMap;
use roaring::RoaringBitmap;

use super::content::{Content, ContentId};
use super::slab::Slab;
use crate::object::{Labels, NamedPort, Pod, Text};

/// Labels that controllers put on pods to tell pods or rollouts apart. They are not part of an identity while no selector
/// names them: else every rollout, and every pod of a StatefulSet, would be a new kind of pod.
pub const ROLLOUT_LABELS: [&str; 12] = [
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/job-name",
    "controller-revision-hash",
    "controller-uid",
    "job-name",
    "pod-template-generation",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
    "leaderworkerset.sigs.k8s.io/worker-index",
    "jobset.sigs.k8s.io/job-index",
];

/// What defines an identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Definition {
    /// The namespace of its pods.
    pub namespace: Text,
    /// Their labels, as far as policies can see them.
    pub labels: Labels,
    /// Their ServiceAccount.
    pub service_account: Text,
    /// Their named ports.
    pub named_ports: Arc<[NamedPort]>,
}

/// An identity and where it is.
pub(super) struct Identity {
    pub id: ContentId,
    pub definition: Definition,
    /// Numbers of its endpoints.
    pub endpoints: RoaringBitmap,
    /// The nodes they are on, and how many on each; sorted.
    homes: Vec<(u32, u32)>,
    /// The groups it is in.
    pub groups: RoaringBitmap,
    /// The nodes that need to know it.
    pub span: Arc<RoaringBitmap>,
    /// The nodes that need its endpoints, wherever they are.
    pub reach: Arc<RoaringBitmap>,
}

/// All identities.
#[derive(Default)]
pub(super) struct Identities {
    numbers: HashMap<ContentId, u32>,
    identities: Slab<Identity>,
    by_namespace: HashMap<Text, RoaringBitmap>,
    by_label: HashMap<(Text, Text), RoaringBitmap>,
    by_port: HashMap<Text, RoaringBitmap>,
}

impl Definition {
    /// The definition of a pod's identity; `named` says whether a selector names a label.
    pub fn of(pod: &Pod, named: impl Fn(&str) -> bool) -> Self {
        Self {
            namespace: pod.key.namespace.clone(),
            labels: pod.labels.filtered(|key| !ROLLOUT_LABELS.contains(&key) || named(key)),
            service_account: pod.service_account.clone(),
            named_ports: Arc::clone(&pod.named_ports),
        }
    }

    pub(super) fn id(&self) -> ContentId {
        let labels: Vec<_> = self.labels.iter().collect();
        let content = Content::of("identity").text(&self.namespace).text(&self.service_account);
        let content = content.list(labels.into_iter(), |content, (key, value)| content.text(key).text(value));
        let content = content.list(self.named_ports.iter(), |content, port| {
            content.text(&port.name).number(port.protocol as u64).number(port.port.into())
        });
        content.finish()
    }
}

impl Identity {
    /// One more endpoint on a node; whether it is the first there.
    pub fn arrived(&mut self, node: u32) -> bool {
        match self.homes.binary_search_by_key(&node, |(node, _)| *node) {
            Ok(at) => {
                self.homes[at].1 += 1;
                false
            }
            Err(at) => {
                self.homes.insert(at, (node, 1));
                true
            }
        }
    }

    /// One endpoint fewer on a node; whether it was the last there.
    pub fn left(&mut self, node: u32) -> bool {
        let Ok(at) = self.homes.binary_search_by_key(&node, |(node, _)| *node) else { return false };
        self.homes[at].1 -= 1;
        let last = self.homes[at].1 == 0;
        if last {
            self.homes.remove(at);
        }
        last
    }

    /// The nodes its endpoints are on.
    pub fn homes(&self) -> RoaringBitmap {
        self.homes.iter().map(|(node, _)| *node).collect()
    }

    pub fn lives_on(&self, node: u32) -> bool {
        self.homes.binary_search_by_key(&node, |(node, _)| *node).is_ok()
    }
}

impl Identities {
    pub fn number_of(&self, id: &ContentId) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    pub fn get(&self, number: u32) -> &Identity {
        &self.identities[number]
    }

    pub fn get_mut(&mut self, number: u32) -> &mut Identity {
        &mut self.identities[number]
    }

    pub fn find(&self, number: u32) -> Option<&Identity> {
        self.identities.get(number)
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &Identity)> {
        self.identities.iter()
    }

    pub fn len(&self) -> usize {
        self.identities.len()
    }

    /// Makes an identity of a definition, without endpoints and in no group yet.
    pub fn insert(&mut self, id: ContentId, definition: Definition) -> u32 {
        let number = self.identities.insert(Identity {
            id,
            definition: definition.clone(),
            endpoints: RoaringBitmap::new(),
            homes: Vec::new(),
            groups: RoaringBitmap::new(),
            span: Arc::default(),
            reach: Arc::default(),
        });
        self.numbers.insert(id, number);
        self.by_namespace.entry(definition.namespace).or_default().insert(number);
        for label in definition.labels.iter() {
            self.by_label.entry(label.clone()).or_default().insert(number);
        }
        for port in definition.named_ports.iter() {
            self.by_port.entry(port.name.clone()).or_default().insert(number);
        }
        number
    }

    pub fn remove(&mut self, number: u32) {
        let Some(identity) = self.identities.remove(number) else { return };
        self.numbers.remove(&identity.id);
        let definition = &identity.definition;
        take_out(&mut self.by_namespace, &definition.namespace, number);
        for label in definition.labels.iter() {
            take_out(&mut self.by_label, label, number);
        }
        for port in definition.named_ports.iter() {
            take_out(&mut self.by_port, &port.name, number);
        }
    }

    pub fn in_namespace(&self, namespace: &str) -> RoaringBitmap {
        self.by_namespace.get(namespace).cloned().unwrap_or_default()
    }

    /// Those with one of these values of a label.
    pub fn with_label(&self, key: &Text, values: &[Text]) -> RoaringBitmap {
        let mut found = RoaringBitmap::new();
        for value in values {
            if let Some(numbers) = self.by_label.get(&(key.clone(), value.clone())) {
                found |= numbers;
            }
        }
        found
    }

    /// Those with a port of this name, of any protocol.
    pub fn with_port(&self, name: &str) -> RoaringBitmap {
        self.by_port.get(name).cloned().unwrap_or_default()
    }

    pub fn all(&self) -> RoaringBitmap {
        self.identities.iter().map(|(number, _)| number).collect()
    }
}

fn take_out<K: std::hash::Hash + Eq>(index: &mut HashMap<K, RoaringBitmap>, key: &K, number: u32) {
    if let Some(numbers) = index.get_mut(key) {
        numbers.remove(number);
        if numbers.is_empty() {
            index.remove(key);
        }
    }
}
