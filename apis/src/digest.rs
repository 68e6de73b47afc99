//! Digests of what a node knows, by which an agent that changes controllers gets the difference and nothing more.
//!
//! An object's *name* is the [`Change`] that removes it, encoded; its *content* a hash over the [`Change`] that says it, encoded.
//! A name's hash chooses one of [`BUCKETS`] buckets; a bucket's digest is the wrapping sum of its contents, so the order in which
//! objects came does not matter. Both sides must encode alike: fields in order, maps sorted (`btree_map` in the build script).

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;

use crate::stream::change::Change as Kind;
use crate::stream::{Change, PodKey};

/// How many buckets there are.
pub const BUCKETS: usize = 256;

/// The bucket of a name (an encoded removing change).
pub fn bucket(name: &[u8]) -> u8 {
    blake3::hash(name).as_bytes()[0]
}

/// The content of an object (an encoded change that says it).
pub fn content(change: &[u8]) -> u64 {
    let hash = blake3::hash(change);
    let (first, _) = hash.as_bytes().split_first_chunk::<8>().expect("a hash has 32 bytes");
    u64::from_be_bytes(*first)
}

/// The change that removes what a change says or removes; none for a change of no known kind.
pub fn removal(change: &Change) -> Option<Change> {
    let kind = match change.change.as_ref()? {
        Kind::Node(node) => Kind::NodeRemoved(node.name.clone()),
        Kind::Endpoint(pod) => {
            Kind::EndpointRemoved(PodKey { namespace: pod.namespace.clone(), name: pod.name.clone() })
        }
        Kind::Identity(identity) => Kind::IdentityRemoved(identity.id.clone()),
        Kind::Group(group) => Kind::GroupRemoved(group.id.clone()),
        Kind::Rule(rule) => Kind::RuleRemoved(rule.id.clone()),
        Kind::Isolation(isolation) => Kind::IsolationRemoved(isolation.id.clone()),
        Kind::Posture(posture) => Kind::PostureRemoved(posture.namespace.clone()),
        removed @ (Kind::NodeRemoved(_)
        | Kind::EndpointRemoved(_)
        | Kind::IdentityRemoved(_)
        | Kind::GroupRemoved(_)
        | Kind::RuleRemoved(_)
        | Kind::IsolationRemoved(_)
        | Kind::PostureRemoved(_)) => removed.clone(),
    };
    Some(Change { change: Some(kind) })
}

/// Whether a change removes.
pub fn removes(change: &Change) -> bool {
    matches!(
        change.change,
        Some(
            Kind::NodeRemoved(_)
                | Kind::EndpointRemoved(_)
                | Kind::IdentityRemoved(_)
                | Kind::GroupRemoved(_)
                | Kind::RuleRemoved(_)
                | Kind::IsolationRemoved(_)
                | Kind::PostureRemoved(_)
        )
    )
}

/// What is held: the content of each object, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    objects: HashMap<Bytes, u64>,
}

impl Holding {
    /// Takes a change. False where its kind is not known: then nothing can be said of what is held.
    #[must_use]
    pub fn apply(&mut self, change: &Change) -> bool {
        let Some(name) = removal(change) else { return false };
        let name = Bytes::from(name.encode_to_vec());
        if removes(change) {
            self.objects.remove(&name);
        } else {
            self.objects.insert(name, content(&change.encode_to_vec()));
        }
        true
    }

    /// The sums, by bucket.
    pub fn digests(&self) -> Vec<u64> {
        let mut sums = vec![0u64; BUCKETS];
        for (name, content) in &self.objects {
            let sum = &mut sums[usize::from(bucket(name))];
            *sum = sum.wrapping_add(*content);
        }
        sums
    }

    /// What is held in these buckets, sorted by name.
    pub fn in_buckets(&self, wanted: impl Fn(u8) -> bool) -> Vec<(Bytes, u64)> {
        let mut found: Vec<(Bytes, u64)> = self
            .objects
            .iter()
            .filter(|(name, _)| wanted(bucket(name)))
            .map(|(name, content)| (name.clone(), *content))
            .collect();
        found.sort_unstable();
        found
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Identity, Posture};

    fn posture(namespace: &str, ingress: bool) -> Change {
        let posture =
            Posture { namespace: namespace.to_owned(), ingress_selectable: ingress, egress_selectable: false };
        Change { change: Some(Kind::Posture(posture)) }
    }

    #[test]
    fn the_order_in_which_objects_came_does_not_matter_and_what_they_say_does() {
        let (mut one, mut two) = (Holding::default(), Holding::default());
        for change in [posture("a", true), posture("b", false), posture("c", true)] {
            assert!(one.apply(&change));
        }
        for change in [posture("c", true), posture("gone", true), posture("b", true), posture("b", false)] {
            assert!(two.apply(&change));
        }
        assert!(two.apply(&removal(&posture("gone", false)).unwrap()) && two.apply(&posture("a", true)));
        assert_eq!(one.digests(), two.digests());
        assert!(two.apply(&posture("b", true)));
        let differ = one.digests().iter().zip(two.digests()).filter(|(one, two)| *one != two).count();
        assert_eq!(differ, 1);
    }

    #[test]
    fn contents_that_are_exchanged_are_noticed() {
        let (mut one, mut two) = (Holding::default(), Holding::default());
        for number in 0..1000 {
            assert!(one.apply(&posture(&number.to_string(), number % 2 == 0)));
            assert!(two.apply(&posture(&number.to_string(), number % 2 == 1)));
        }
        let same = one.digests().iter().zip(two.digests()).filter(|(one, two)| *one == two).count();
        assert_eq!(same, one.digests().iter().filter(|sum| **sum == 0).count(), "only empty buckets are the same");
    }

    #[test]
    fn encoding_is_canonical() {
        let labels = |keys: &[&str]| keys.iter().map(|key| ((*key).to_owned(), "x".to_owned())).collect();
        let identity = |keys: &[&str]| Change {
            change: Some(Kind::Identity(Identity { labels: labels(keys), ..Identity::default() })),
        };
        let keys = ["app", "tier", "zone", "a", "b", "c", "d"];
        let mut reversed = keys;
        reversed.reverse();
        assert_eq!(identity(&keys).encode_to_vec(), identity(&reversed).encode_to_vec());
    }

    #[test]
    fn a_change_of_no_known_kind_is_told() {
        assert!(!Holding::default().apply(&Change { change: None }));
    }
}
