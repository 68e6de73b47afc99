//! The name that tells one lab's namespaces and folders from another's, and what to do with those of a lab that was killed.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use super::namespace::{self, NAMES};

const PREFIX: &str = "ferrant-";

/// Unique among the live labs of a machine: the process's id, and a number where a process has several labs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabName {
    id: String,
}

impl LabName {
    /// The next name of this process. Removes what labs of processes that no longer exist have left.
    pub fn draw() -> Self {
        static DRAWN: AtomicU32 = AtomicU32::new(0);
        sweep();
        let id = match DRAWN.fetch_add(1, Ordering::Relaxed) {
            0 => std::process::id().to_string(),
            number => format!("{}.{number}", std::process::id()),
        };
        Self { id }
    }

    /// The name of one of its namespaces.
    pub fn namespace(&self, role: &str) -> String {
        // A file's name has at most 255 bytes.
        let role: String = role.chars().take(200).collect();
        format!("{}{role}", self.prefix())
    }

    /// What the names of all its namespaces and its folder begin with.
    pub fn prefix(&self) -> String {
        format!("{PREFIX}{}-", self.id)
    }
}

/// Removes namespaces and folders of labs whose process is gone.
fn sweep() {
    let folders = [Path::new(NAMES).to_owned(), std::env::temp_dir()];
    for (index, folder) in folders.iter().enumerate() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let file_name = entry.file_name();
            let Some(process) = file_name.to_str().and_then(process_of) else { continue };
            if Path::new("/proc").join(process.to_string()).exists() {
                continue;
            }
            if index == 0 {
                namespace::forget(&entry.path());
            } else {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// The process of the lab that a namespace or folder is named after.
fn process_of(name: &str) -> Option<u32> {
    let id = name.strip_prefix(PREFIX)?.split_once('-')?.0;
    id.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_process_differ() {
        let (first, second) = (LabName::draw(), LabName::draw());
        assert_ne!(first.namespace("node-a"), second.namespace("node-a"));
        assert_eq!(process_of(&second.namespace("node-a")), Some(std::process::id()));
    }

    #[test]
    fn other_names_are_nobodys() {
        for name in ["ferrant", "ferrant-", "ferrant-x-node", "node-a", "ferrant-12"] {
            assert_eq!(process_of(name), None, "{name}");
        }
    }
}
