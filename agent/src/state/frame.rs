//! A frame: one step from what the controller said to what it says, never seen half.

use std::collections::BTreeMap;

use apis::stream;

use super::object::Change;
use super::upstream::Upstream;

/// A complete frame.
#[derive(Debug)]
pub struct Frame {
    /// The controller's number; grows within one stream.
    pub number: u64,
    /// What it was computed from.
    pub version: Version,
    /// Which of this agent's streams brought it: numbers of another stream mean other frames. 0: it was kept on disk.
    pub stream: u64,
    /// What it says.
    pub body: Body,
}

/// What a frame says.
#[derive(Debug)]
pub enum Body {
    /// All there is; what it does not say is no more.
    Replace(Box<Upstream>),
    /// What is different.
    Update(Vec<Change>),
}

/// The kind that stands for all, where the source has one version for every kind.
const EVERY: &str = "*";

/// What a frame was computed from: the sources' versions, and what each node had reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// By kind.
    pub source: BTreeMap<String, u64>,
    /// By node: the boot it reported in, and how far.
    pub nodes: BTreeMap<String, (Vec<u8>, u64)>,
}

/// A component of a frame's version is older than what this agent has already accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the frame's version of {component} is {offered}, but {accepted} was accepted before: this controller lags behind"
)]
pub struct GoesBack {
    /// The component.
    pub component: String,
    /// What the frame has.
    pub offered: u64,
    /// What was accepted.
    pub accepted: u64,
}

impl Version {
    /// Takes in what is different.
    pub fn merge(&mut self, said: stream::Version) {
        if said.whole {
            self.nodes.clear();
        }
        self.source.extend(said.source);
        if said.every > 0 {
            self.source.insert(EVERY.to_owned(), said.every);
        }
        for (node, at) in said.nodes {
            let own = self.nodes.entry(node).or_default();
            // None is named where it is the boot that was told before.
            if !at.boot.is_empty() {
                own.0 = at.boot.to_vec();
            }
            own.1 = at.sequence;
        }
    }

    /// Takes over what is newer in another.
    pub fn catch_up(&mut self, other: &Version) {
        for (kind, version) in &other.source {
            let own = self.source.entry(kind.clone()).or_default();
            *own = (*own).max(*version);
        }
        for (node, at) in &other.nodes {
            if self.nodes.get(node).is_none_or(|own| !is_older(at, own)) {
                self.nodes.insert(node.clone(), at.clone());
            }
        }
    }

    /// Whether a frame of this version may follow one of `accepted`.
    ///
    /// A component that the newer does not name has no say. A later boot of a node is another count.
    pub fn follows(&self, accepted: &Version) -> Result<(), GoesBack> {
        for (kind, &offered) in &self.source {
            if let Some(&before) = accepted.source.get(kind)
                && offered < before
            {
                return Err(GoesBack { component: kind.clone(), offered, accepted: before });
            }
        }
        for (node, at) in &self.nodes {
            if let Some(before) = accepted.nodes.get(node)
                && is_older(at, before)
            {
                return Err(GoesBack { component: format!("node {node}"), offered: at.1, accepted: before.1 });
            }
        }
        Ok(())
    }

    /// Whether it has every component of the other, none of them older.
    pub fn covers(&self, other: &Version) -> bool {
        let source = |(kind, version): (&String, &u64)| self.source.get(kind).is_some_and(|own| own >= version);
        let node = |(node, at): (&String, &(Vec<u8>, u64))| self.nodes.get(node).is_some_and(|own| !is_older(own, at));
        other.source.iter().all(source) && other.nodes.iter().all(node)
    }

    /// Whether it is as new as the other in everything and newer in something.
    pub fn is_newer_than(&self, other: &Version) -> bool {
        self.covers(other) && !other.covers(self)
    }

    /// The newest of the sources' versions.
    pub fn newest_source(&self) -> u64 {
        self.source.values().copied().max().unwrap_or(0)
    }
}

/// Whether what is known of a node is older than what is known elsewhere.
fn is_older((boot, sequence): &(Vec<u8>, u64), (other_boot, other): &(Vec<u8>, u64)) -> bool {
    if boot == other_boot { sequence < other } else { apis::boot::is_earlier(boot, other_boot) }
}

impl From<stream::Version> for Version {
    fn from(said: stream::Version) -> Self {
        let mut version = Self::default();
        version.merge(said);
        version
    }
}

/// All of it.
impl From<&Version> for stream::Version {
    fn from(version: &Version) -> Self {
        let node = |(node, (boot, sequence)): (&String, &(Vec<u8>, u64))| {
            (node.clone(), stream::NodeVersion { boot: boot.clone().into(), sequence: *sequence })
        };
        Self { nodes: version.nodes.iter().map(node).collect(), whole: true, ..version.of_source() }
    }
}

impl Version {
    /// The source's part alone, as the wire has it.
    pub fn of_source(&self) -> stream::Version {
        let kinds = self.source.iter().filter(|(kind, _)| *kind != EVERY);
        stream::Version {
            source: kinds.map(|(kind, at)| (kind.clone(), *at)).collect(),
            every: self.source.get(EVERY).copied().unwrap_or(0),
            ..stream::Version::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(kind: u64, boot: u8, sequence: u64) -> Version {
        Version {
            source: [("NetworkPolicy".to_owned(), kind)].into(),
            nodes: [("node-b".to_owned(), (apis::boot::of(boot.into(), [0; 8]).to_vec(), sequence))].into(),
        }
    }

    #[test]
    fn no_component_goes_back() {
        let accepted = version(5, 1, 7);
        assert_eq!(version(5, 1, 7).follows(&accepted), Ok(()));
        assert_eq!(version(6, 1, 8).follows(&accepted), Ok(()));
        assert_eq!(version(6, 2, 1).follows(&accepted), Ok(()), "a later boot counts anew");
        assert_eq!(
            version(6, 0, 9).follows(&accepted).map_err(|error| error.accepted),
            Err(7),
            "an earlier boot is over"
        );
        assert_eq!(version(6, 1, 6).follows(&accepted).map_err(|error| error.component), Err("node node-b".into()));
        assert_eq!(version(4, 1, 8).follows(&accepted).map_err(|error| error.accepted), Err(5));
    }

    #[test]
    fn newer_is_newer_in_something_and_older_in_nothing() {
        let old = version(5, 1, 7);
        assert!(version(6, 1, 7).is_newer_than(&old) && version(5, 2, 1).is_newer_than(&old));
        assert!(!old.is_newer_than(&old) && !version(6, 1, 6).is_newer_than(&old));
        let mut without = old.clone();
        without.nodes.clear();
        assert!(old.is_newer_than(&without) && !without.covers(&old));
        assert_eq!(without.follows(&old), Ok(()), "what is not named has no say");
    }

    #[test]
    fn differences_add_up_to_the_whole() {
        let node = |boot: u8, sequence| stream::NodeVersion { boot: vec![boot].into(), sequence };
        let mut version = Version::default();
        let nodes = [("a".to_owned(), node(1, 1)), ("b".to_owned(), node(1, 1))];
        version.merge(stream::Version { every: 3, nodes: nodes.into(), whole: true, ..stream::Version::default() });
        version.merge(stream::Version {
            every: 4,
            nodes: [("b".to_owned(), node(1, 9))].into(),
            ..stream::Version::default()
        });
        assert_eq!((version.newest_source(), version.nodes["b"].1, version.nodes.len()), (4, 9, 2));
        assert_eq!(Version::from(stream::Version::from(&version)), version);
        version.merge(stream::Version { every: 4, whole: true, ..stream::Version::default() });
        assert!(version.nodes.is_empty());
    }
}
