//! Where cluster intent comes from: a source tells what there is, in valid objects, and when it has told everything.
//!
//! ```text
//!  directory of YAML ─► directory ─┐
//!                                  ├─► convert ─► SourceEvent ─► the loop
//!  (Kubernetes API, later) ────────┘
//! ```
//!
//! Every source gives the same events; nothing behind this module knows which one it was. Outside types (YAML documents,
//! Kubernetes objects as they are written) end here.

pub mod convert;
pub mod directory;

use serde::Serialize;

use crate::object::{Object, ObjectKey};

/// What a source says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceEvent {
    /// The object is so now.
    Upsert(Object),
    /// The object is no more.
    Delete(ObjectKey),
    /// Everything up to this version has been told. In a directory: the newest change time of its files and folders, in ns.
    Version(u64),
    /// Whether the source has told everything there is. Once it has, losing sync takes nothing away; it only says that
    /// changes (removals above all) may be missing.
    InSync(bool),
    /// All that is wrong with the source now; replaces what was said before.
    Errors(Vec<SourceError>),
}

/// Something that is wrong with the source, where, and what to do about it. Sorted by place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SourceError {
    /// The file, relative to the source's directory; `.` for the directory itself.
    pub file: String,
    /// The line, counted from 1; 0 when it is about the file as a whole.
    pub line: u32,
    /// Whether an object is missing or not in its newest version because of this.
    pub severity: Severity,
    /// The object, where its name could be read: `NetworkPolicy/shop/allow-web`.
    pub object: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What is in force meanwhile.
    pub in_force: String,
    /// What to do about it.
    pub what_to_do: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// An object is missing, or not in its newest version.
    Error,
    /// Everything that is known is in force, but perhaps it is not what was meant.
    Warning,
}

impl std::fmt::Display for SourceError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, line, what, in_force, what_to_do, .. } = self;
        write!(formatter, "{file}:{line}: {what}; in force: {in_force}; {what_to_do}")
    }
}
