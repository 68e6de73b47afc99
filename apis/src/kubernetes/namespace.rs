//! `v1` Namespace.

use serde::{Deserialize, Serialize};

use super::ObjectMeta;

/// A namespace: its name and its labels are all a policy can ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Namespace {
    /// Name and labels. The API server adds the label `kubernetes.io/metadata.name`; so does [`crate::yaml`].
    pub metadata: ObjectMeta,
}

impl Namespace {
    /// The label that every namespace has with its own name as the value (KEP-2161).
    pub const NAME_LABEL: &'static str = "kubernetes.io/metadata.name";
}
