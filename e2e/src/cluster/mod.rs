//! A person's directory of manifests, made complete for the lab.
//!
//! [`read`] takes the directory as it is: files of many documents, kinds that Ferrant does not know (named and skipped),
//! objects that the API server would refuse (named with file and line, left out, as `kubectl apply` leaves them out).
//! [`complete`] then fills in what a cluster would: Nodes with addresses and pod ranges, a Namespace for every name used, a
//! node for every pod. A file in which nothing had to change is handed on exactly as it was written.

mod complete;
mod read;

use std::collections::BTreeMap;

use crate::lab::{NodePlan, PodPlan};

pub use complete::complete;
pub use read::{Manifests, read, read_texts};

/// What the lab needs to know of a cluster, and the files for its controller.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// The nodes that have pods, or all when none has.
    pub nodes: Vec<NodePlan>,
    /// All pods, ended ones and those of the host's network included.
    pub pods: Vec<PodPlan>,
    /// Name and text of each file of the completed directory.
    pub files: Vec<(String, String)>,
    /// How many NetworkPolicies there are.
    pub policies: usize,
    /// How many objects were skipped, by kind.
    pub skipped_kinds: BTreeMap<String, usize>,
    /// What was left out because no API server would take it: file, line, object, what to do.
    pub invalid: Vec<String>,
    /// What was filled in or changed, in words.
    pub notes: Vec<String>,
}
