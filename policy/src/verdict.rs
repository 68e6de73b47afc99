//! What becomes of a packet, and who decided it.

use std::collections::BTreeSet;
use std::fmt;

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// Allowed when neither direction denies.
    pub outcome: Outcome,
    /// What the policies of the source say.
    pub egress: Decision,
    /// What the policies of the destination say; asked even where egress already denies.
    pub ingress: Decision,
}

/// The answer in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Outcome {
    /// The packet arrives.
    Allowed,
    /// The packet disappears without an answer.
    Denied,
}

/// What one direction says. Where several rules or policies decide alike, all of them are named: which one the data path
/// names is open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Decision {
    /// No pod at this end, so no policy is asked; also traffic of a pod to itself.
    NotApplicable,
    /// The pod is isolated, and these rules allow: `NetworkPolicy/namespace/name egress[0]`.
    AllowedByRules(BTreeSet<String>),
    /// No policy isolates the pod in this direction.
    AllowedNoIsolation,
    /// What a node itself sends to its own pods passes.
    AllowedHostOrigin,
    /// These policies isolate the pod and no rule of any of them allows: `NetworkPolicy/namespace/name`.
    DeniedByIsolation(BTreeSet<String>),
    /// The pod sent in another's name.
    DeniedSpoof,
}

/// A rough class of verdicts, to see that tests meet all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Class {
    /// A rule allowed in at least one direction.
    AllowedByRule,
    /// No policy isolates either end.
    AllowedByNoIsolation,
    /// A node to its own pod.
    AllowedByHostOrigin,
    /// No policy could be asked: no pod at either end, or one pod at both.
    AllowedUnasked,
    /// No rule allowed in a direction that is isolated.
    DeniedByIsolation,
    /// The source was forged.
    DeniedBySpoofGuard,
}

impl Decision {
    /// Whether this direction stops the packet.
    pub fn denies(&self) -> bool {
        matches!(self, Self::DeniedByIsolation(_) | Self::DeniedSpoof)
    }

    /// The rules or policies that it names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names = match self {
            Self::AllowedByRules(names) | Self::DeniedByIsolation(names) => Some(names),
            _ => None,
        };
        names.into_iter().flatten().map(String::as_str)
    }
}

impl Verdict {
    pub(crate) fn of(egress: Decision, ingress: Decision) -> Self {
        let outcome = if egress.denies() || ingress.denies() { Outcome::Denied } else { Outcome::Allowed };
        Self { outcome, egress, ingress }
    }

    /// The rules or policies that decided, in the order a packet meets them: of the first direction that denies, or of both
    /// where both allow. Empty where no policy decided.
    pub fn by(&self) -> Vec<&str> {
        match (self.egress.denies(), self.ingress.denies()) {
            (true, _) => self.egress.names().collect(),
            (false, true) => self.ingress.names().collect(),
            (false, false) => self.egress.names().chain(self.ingress.names()).collect(),
        }
    }

    /// The class of this verdict.
    pub fn class(&self) -> Class {
        let either = |is: fn(&Decision) -> bool| is(&self.egress) || is(&self.ingress);
        if either(|decision| matches!(decision, Decision::DeniedSpoof)) {
            Class::DeniedBySpoofGuard
        } else if self.outcome == Outcome::Denied {
            Class::DeniedByIsolation
        } else if either(|decision| matches!(decision, Decision::AllowedByRules(_))) {
            Class::AllowedByRule
        } else if either(|decision| matches!(decision, Decision::AllowedHostOrigin)) {
            Class::AllowedByHostOrigin
        } else if either(|decision| matches!(decision, Decision::AllowedNoIsolation)) {
            Class::AllowedByNoIsolation
        } else {
            Class::AllowedUnasked
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if *self == Self::Allowed { "allowed" } else { "denied" })
    }
}

/// One line: `denied by NetworkPolicy/shop/deny-all`, `allowed, no isolation`.
impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.outcome)?;
        match self.class() {
            Class::AllowedByRule | Class::DeniedByIsolation => write!(formatter, " by {}", self.by().join(", ")),
            Class::AllowedByNoIsolation => formatter.write_str(", no isolation"),
            Class::AllowedByHostOrigin => formatter.write_str(", host origin"),
            Class::AllowedUnasked => formatter.write_str(", no policy asked"),
            Class::DeniedBySpoofGuard => formatter.write_str(", spoofed source"),
        }
    }
}
