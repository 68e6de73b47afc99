//! The proof that a lab left nothing: what of it can still be found on the machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::namespace::NAMES;
use super::{Datapath, Pace};

/// What to look for once a lab is down.
pub struct Leftovers {
    prefix: String,
    folder: PathBuf,
    links_before: BTreeSet<String>,
}

impl Leftovers {
    /// Notes how the machine is before a lab comes up.
    pub fn watch(prefix: String, folder: PathBuf) -> Self {
        Self { prefix, folder, links_before: links() }
    }

    /// Names what is there and should not be: namespaces, processes, links of the machine itself, files. Empty is right.
    pub fn find(&self) -> Vec<String> {
        let mut found = Vec::new();
        // A killed process is a little while in ending.
        let _ = Pace::of(Datapath::Netdev).until("the lab's processes to end", Duration::from_secs(2), || {
            found = self.find_now();
            Ok(found.is_empty().then_some(()))
        });
        found
    }

    /// The same without waiting for what is ending.
    pub fn find_now(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(NAMES).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&self.prefix) {
                found.push(format!("network namespace {name}"));
            }
        }
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            // Every daemon and every plugin has a path below the lab's folder or a namespace's name on its command line.
            let Ok(command) = fs::read(entry.path().join("cmdline")) else { continue };
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            if command.contains(&self.prefix) {
                found.push(format!("process {} ({})", entry.file_name().to_string_lossy(), command.trim_end()));
            }
        }
        found.extend(links().difference(&self.links_before).map(|link| format!("network interface {link}")));
        if self.folder.exists() {
            found.push(format!("folder {}", self.folder.display()));
        }
        found
    }
}

/// The links of this process's own network namespace, which no lab may touch.
fn links() -> BTreeSet<String> {
    let own = Path::new("/proc/self/net/dev");
    let text = fs::read_to_string(own).unwrap_or_default();
    text.lines().skip(2).filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned()).collect()
}
