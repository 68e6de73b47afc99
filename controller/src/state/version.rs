//! What the state is computed from, as a vector: the source's version and how far each node has reported.
//!
//! Every change of a component gets a number; what has changed since a number is found without looking at all nodes. The
//! numbers mean nothing to another process.

use std::collections::BTreeMap;

use bytes::Bytes;
use hashbrown::HashMap;

use crate::object::NodeName;

/// How far a node has reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeVersion {
    /// The life of its agent.
    pub boot: Bytes,
    /// The sequence of its last report.
    pub sequence: u64,
}

/// The components, and when each changed last.
#[derive(Default)]
pub(super) struct Versions {
    change: u64,
    nodes: HashMap<NodeName, (NodeVersion, u64)>,
    log: BTreeMap<u64, NodeName>,
}

impl Versions {
    /// The number of the last change.
    pub fn change(&self) -> u64 {
        self.change
    }

    /// The source has another version.
    pub fn source_changed(&mut self) {
        self.change += 1;
    }

    pub fn of(&self, node: &str) -> Option<&NodeVersion> {
        self.nodes.get(node).map(|(version, _)| version)
    }

    /// A node has reported up to here.
    pub fn set(&mut self, node: &NodeName, version: NodeVersion) {
        if self.nodes.get(node).is_some_and(|(held, _)| *held == version) {
            return;
        }
        self.change += 1;
        if let Some((_, before)) = self.nodes.insert(node.clone(), (version, self.change)) {
            self.log.remove(&before);
        }
        self.log.insert(self.change, node.clone());
    }

    /// Nobody vouches for a node any longer.
    pub fn forget(&mut self, node: &NodeName) {
        if let Some((_, before)) = self.nodes.remove(node) {
            self.log.remove(&before);
        }
    }

    /// The nodes whose component changed after a change, in the order in which they did.
    pub fn since(&self, change: u64) -> impl Iterator<Item = (&NodeName, &NodeVersion)> {
        let later = self.log.range(change + 1..);
        later.filter_map(|(_, node)| Some((node, &self.nodes.get(node)?.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Text;

    #[test]
    fn what_changed_since_is_each_node_once() {
        let node = |name: &str| NodeName(Text::from(name));
        let at = |sequence| NodeVersion { boot: Bytes::from_static(b"boot"), sequence };
        let mut versions = Versions::default();
        versions.set(&node("a"), at(1));
        versions.set(&node("b"), at(1));
        let before = versions.change();
        versions.set(&node("a"), at(1));
        assert_eq!(versions.change(), before, "nothing changed");
        versions.set(&node("a"), at(2));
        versions.source_changed();
        versions.set(&node("a"), at(3));
        let since =
            |change| versions.since(change).map(|(node, at)| (node.to_string(), at.sequence)).collect::<Vec<_>>();
        assert_eq!(since(before), [("a".to_owned(), 3)]);
        assert_eq!(since(0), [("b".to_owned(), 1), ("a".to_owned(), 3)]);
        assert_eq!(since(versions.change()), []);
    }
}
