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

struct Component {
    version: NodeVersion,
    /// When it changed last.
    changed: u64,
    /// When its boot did.
    booted: u64,
}

/// What has changed of a node.
pub struct Since<'a> {
    pub node: &'a NodeName,
    pub version: &'a NodeVersion,
    /// Whether it is of another boot, too.
    pub other_boot: bool,
}

/// The components, and when each changed last.
#[derive(Default)]
pub(super) struct Versions {
    change: u64,
    nodes: HashMap<NodeName, Component>,
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
        self.nodes.get(node).map(|component| &component.version)
    }

    /// A node has reported up to here.
    pub fn set(&mut self, node: &NodeName, version: NodeVersion) {
        let held = self.nodes.get(node);
        if held.is_some_and(|held| held.version == version) {
            return;
        }
        self.change += 1;
        let changed = self.change;
        let booted = held.filter(|held| held.version.boot == version.boot).map_or(changed, |held| held.booted);
        if let Some(before) = self.nodes.insert(node.clone(), Component { version, changed, booted }) {
            self.log.remove(&before.changed);
        }
        self.log.insert(self.change, node.clone());
    }

    /// Nobody vouches for a node any longer.
    pub fn forget(&mut self, node: &NodeName) {
        if let Some(before) = self.nodes.remove(node) {
            self.log.remove(&before.changed);
        }
    }

    /// The nodes whose component changed after a change, in the order in which they did.
    pub fn since(&self, change: u64) -> impl Iterator<Item = Since<'_>> {
        let later = self.log.range(change + 1..);
        later.filter_map(move |(_, node)| {
            let Component { version, booted, .. } = self.nodes.get(node)?;
            Some(Since { node, version, other_boot: *booted > change })
        })
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
        let since = |change| {
            versions
                .since(change)
                .map(|of| (of.node.to_string(), of.version.sequence, of.other_boot))
                .collect::<Vec<_>>()
        };
        assert_eq!(since(before), [("a".to_owned(), 3, false)]);
        assert_eq!(since(0), [("b".to_owned(), 1, true), ("a".to_owned(), 3, true)]);
        assert_eq!(since(versions.change()), []);
        let before = versions.change();
        versions.set(&node("a"), NodeVersion { boot: Bytes::from_static(b"next"), sequence: 0 });
        versions.set(&node("a"), NodeVersion { boot: Bytes::from_static(b"next"), sequence: 1 });
        assert_eq!(versions.since(before).map(|of| of.other_boot).collect::<Vec<_>>(), [true]);
    }
}
