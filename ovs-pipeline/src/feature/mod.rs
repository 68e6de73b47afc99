//! One file a feature, from intents to flows. A person adds *egress*, not *table 14*.

pub(crate) mod classification;
pub(crate) mod conntrack;
pub(crate) mod identity;
pub(crate) mod neighbor;
pub(crate) mod output;
pub(crate) mod policy;
pub(crate) mod posture;
pub(crate) mod routing;
pub(crate) mod spoof_guard;
pub(crate) mod verdict;
