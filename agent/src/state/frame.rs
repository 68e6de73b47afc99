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
    /// Whether a frame of this version may follow one of `accepted`.
    ///
    /// A component that the newer does not name has no say. Another boot of a node is another count.
    pub fn follows(&self, accepted: &Version) -> Result<(), GoesBack> {
        for (kind, &offered) in &self.source {
            if let Some(&before) = accepted.source.get(kind)
                && offered < before
            {
                return Err(GoesBack { component: kind.clone(), offered, accepted: before });
            }
        }
        for (node, (boot, offered)) in &self.nodes {
            if let Some((boot_before, before)) = accepted.nodes.get(node)
                && boot == boot_before
                && offered < before
            {
                return Err(GoesBack { component: format!("node {node}"), offered: *offered, accepted: *before });
            }
        }
        Ok(())
    }

    /// The newest of the sources' versions.
    pub fn newest_source(&self) -> u64 {
        self.source.values().copied().max().unwrap_or(0)
    }
}

impl From<stream::Version> for Version {
    fn from(version: stream::Version) -> Self {
        Self {
            source: version.source.into_iter().collect(),
            nodes: version.nodes.into_iter().map(|(node, at)| (node, (at.boot.to_vec(), at.sequence))).collect(),
        }
    }
}

impl From<&Version> for stream::Version {
    fn from(version: &Version) -> Self {
        Self {
            source: version.source.iter().map(|(kind, at)| (kind.clone(), *at)).collect(),
            nodes: version
                .nodes
                .iter()
                .map(|(node, (boot, sequence))| {
                    (node.clone(), stream::NodeVersion { boot: boot.clone().into(), sequence: *sequence })
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(kind: u64, boot: u8, sequence: u64) -> Version {
        Version {
            source: [("NetworkPolicy".to_owned(), kind)].into(),
            nodes: [("node-b".to_owned(), (vec![boot], sequence))].into(),
        }
    }

    #[test]
    fn no_component_goes_back() {
        let accepted = version(5, 1, 7);
        assert_eq!(version(5, 1, 7).follows(&accepted), Ok(()));
        assert_eq!(version(6, 1, 8).follows(&accepted), Ok(()));
        assert_eq!(version(6, 2, 1).follows(&accepted), Ok(()), "another boot counts anew");
        assert_eq!(version(6, 1, 6).follows(&accepted).map_err(|error| error.component), Err("node node-b".into()));
        assert_eq!(version(4, 1, 8).follows(&accepted).map_err(|error| error.accepted), Err(5));
    }
}
