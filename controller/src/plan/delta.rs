//! What an update changed, and for whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use roaring::RoaringBitmap;

use super::{ContentId, Plan};
use crate::object::{NodeName, PodKey, Text};

/// An object of the plan, by the name it has on the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// A node of the cluster.
    Node(NodeName),
    /// A namespace's posture.
    Posture(Text),
    /// An identity.
    Identity(ContentId),
    /// A pod.
    Endpoint(PodKey),
    /// A group.
    Group(ContentId),
    /// An isolation.
    Isolation(ContentId),
    /// A rule.
    Rule(ContentId),
}

/// The nodes that need an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    everywhere: bool,
    nodes: Arc<RoaringBitmap>,
    home: Option<u32>,
}

/// One object that changed, or is needed by other nodes than before.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    /// The object.
    pub name: Name,
    /// Who needed it.
    pub before: Span,
    /// Who needs it now; nobody where it is no more.
    pub after: Span,
    /// Whether those who needed it and still do must be told.
    pub content_changed: bool,
}

impl Span {
    /// Every node, known or not.
    pub fn everywhere() -> Self {
        Self { everywhere: true, ..Self::default() }
    }

    pub(super) fn of(nodes: &RoaringBitmap) -> Self {
        Self::nodes(Arc::new(nodes.clone()))
    }

    pub(super) fn nodes(nodes: Arc<RoaringBitmap>) -> Self {
        Self { nodes, ..Self::default() }
    }

    /// These nodes, and the one where the object lives.
    pub(super) fn with_home(nodes: Arc<RoaringBitmap>, home: u32) -> Self {
        Self { everywhere: false, nodes, home: Some(home) }
    }

    /// Whether a node needs the object; None is a node without endpoints.
    pub fn contains(&self, node: Option<u32>) -> bool {
        self.everywhere || node.is_some_and(|node| self.home == Some(node) || self.nodes.contains(node))
    }

    /// Whether nobody needs it.
    pub fn is_empty(&self) -> bool {
        !self.everywhere && self.home.is_none() && self.nodes.is_empty()
    }

    /// Whether both say the same of every node; cheap where nothing was spread anew.
    fn same(&self, other: &Self) -> bool {
        let nodes = Arc::ptr_eq(&self.nodes, &other.nodes) || self.nodes == other.nodes;
        self.everywhere == other.everywhere && self.home == other.home && nodes
    }
}

/// Numbers (of groups or identities), each with nodes for which its span must be looked at again.
pub(super) type Candidates = HashMap<u32, RoaringBitmap>;

/// What an update has still to do and has already done.
pub(super) struct Work {
    tracked: bool,
    touched: BTreeMap<Name, Touched>,
    /// Groups, and nodes at which they may have gained or lost their last member's pod.
    pub homes: Candidates,
    /// Groups, and nodes that may need them as a peer or need them no more.
    pub reaches: Candidates,
    /// Groups, and nodes that may need them at all or need them no more.
    pub spans: Candidates,
    /// Identities, likewise.
    pub identities: Candidates,
}

struct Touched {
    before: Option<Span>,
    content_changed: bool,
}

impl Work {
    pub fn tracked() -> Self {
        Self {
            tracked: true,
            touched: BTreeMap::new(),
            homes: Candidates::new(),
            reaches: Candidates::new(),
            spans: Candidates::new(),
            identities: Candidates::new(),
        }
    }

    /// For a plan that is computed from nothing: nobody asks what changed.
    pub fn untracked() -> Self {
        Self { tracked: false, ..Self::tracked() }
    }

    /// To be called before an object changes in any way: `before` is its span then, None where it does not exist yet.
    pub fn touch(&mut self, name: Name, before: impl FnOnce() -> Option<Span>) {
        if self.tracked {
            self.touched.entry(name).or_insert_with(|| Touched { before: before(), content_changed: false });
        }
    }

    /// What a touched object says has changed, not only who needs it.
    pub fn content_changed(&mut self, name: &Name) {
        if let Some(touched) = self.touched.get_mut(name) {
            touched.content_changed = true;
        }
    }
}

/// Adds nodes to look at.
pub(super) fn look_at(candidates: &mut Candidates, number: u32, nodes: &RoaringBitmap) {
    if !nodes.is_empty() {
        *candidates.entry(number).or_default() |= nodes;
    }
}

/// Adds one node to look at.
pub(super) fn look_at_one(candidates: &mut Candidates, number: u32, node: u32) {
    candidates.entry(number).or_default().insert(node);
}

impl Plan {
    pub(super) fn deltas(&self, work: Work) -> Vec<Delta> {
        let deltas = work.touched.into_iter().map(|(name, touched)| {
            let after = self.span(&name);
            let created = touched.before.is_none() && after.is_some();
            let content_changed = touched.content_changed || created;
            Delta {
                name,
                before: touched.before.unwrap_or_default(),
                after: after.unwrap_or_default(),
                content_changed,
            }
        });
        deltas
            .filter(|delta| (delta.content_changed && !delta.after.is_empty()) || !delta.before.same(&delta.after))
            .collect()
    }
}
