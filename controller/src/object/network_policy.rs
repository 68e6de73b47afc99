//! A NetworkPolicy, with its defaults resolved.
//!
//! Source: `networking.k8s.io/v1` NetworkPolicySpec.

use super::{IpBlock, LabelSelector, PolicyKey, Services};

/// A NetworkPolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Its name. It selects pods of its own namespace only.
    pub key: PolicyKey,
    /// The pods it isolates.
    pub pods: LabelSelector,
    /// What is allowed to them, each more; None: it does not isolate them in this direction.
    pub ingress: Option<Vec<PolicyRule>>,
    /// What is allowed from them, each more; None: it does not isolate them in this direction.
    pub egress: Option<Vec<PolicyRule>>,
}

/// Traffic that is allowed with any of the peers on any of the ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyRule {
    /// With whom.
    pub peers: Peers,
    /// To which ports of the destination.
    pub services: Services,
}

/// The other side of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peers {
    /// Everyone, inside the cluster and out of it.
    Anyone,
    /// Whoever one of these selects. Both lists are sorted, without repetition.
    These {
        /// Pods by their labels.
        selectors: Box<[PeerSelector]>,
        /// Anything by its address.
        blocks: Box<[IpBlock]>,
    },
}

/// Pods by their labels and by the labels of their namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerSelector {
    /// The labels of their namespace; None: the policy's own namespace.
    pub namespaces: Option<LabelSelector>,
    /// Their own labels.
    pub pods: LabelSelector,
}

impl Peers {
    /// The canonical form of the two lists.
    pub fn these(selectors: impl IntoIterator<Item = PeerSelector>, blocks: impl IntoIterator<Item = IpBlock>) -> Self {
        let mut selectors: Vec<PeerSelector> = selectors.into_iter().collect();
        selectors.sort_unstable();
        selectors.dedup();
        Self::These { selectors: selectors.into_boxed_slice(), blocks: IpBlock::list(blocks) }
    }
}
