//! Numbers that stand for names inside one switch. The agent's ledger hands them out; nothing outside the node sees them.
//!
//! Each kind has its own type, so that a mix-up does not compile. The first sixteen of each are fixed meanings.

/// The identity of a packet's source or destination, in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityNumber(pub u32);

impl IdentityNumber {
    /// Not looked up.
    pub const NONE: Self = Self(0);
    /// An address inside a pod range that no endpoint on this node's map has. No selector matches it.
    pub const UNKNOWN: Self = Self(1);
    /// An address outside every pod range.
    pub const WORLD: Self = Self(2);
    /// A node or its gateway. No selector matches it.
    pub const NODE: Self = Self(3);
    /// The first number the ledger may hand out.
    pub const FIRST: Self = Self(16);
}

/// The rule or isolation that decided, in a register and in `ct_label`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleNumber(pub u32);

impl RuleNumber {
    /// Nothing decided.
    pub const NONE: Self = Self(0);
    /// The node itself sent the packet to its own pod.
    pub const HOST_ORIGIN: Self = Self(1);
    /// No policy isolates the pod in this direction.
    pub const NO_ISOLATION: Self = Self(2);
    /// The pod's identity is not known yet, so it is closed.
    pub const CLOSED: Self = Self(3);
    /// The direction has no local pod, so no policy applies here.
    pub const NOT_APPLICABLE: Self = Self(4);
    /// The first number the ledger may hand out.
    pub const FIRST: Self = Self(16);
}

/// A conjunction id (ovs-ofctl(8), "conjunction").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConjunctionNumber(pub u32);
