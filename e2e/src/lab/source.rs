//! The directory of manifests that the controller watches, changed as a careful person changes it: each file at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};

/// A source directory, with a place beside it where files are written before they are moved in.
pub struct Source {
    folder: PathBuf,
    draft: PathBuf,
}

impl Source {
    /// `source/` below `folder`, new and empty.
    pub fn create(folder: &Path) -> Result<Self> {
        let source = Self { folder: folder.join("source"), draft: folder.join("draft.yaml") };
        fs::create_dir(&source.folder).with_context(|| format!("cannot create {}", source.folder.display()))?;
        Ok(source)
    }

    /// The directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Adds or replaces a file.
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.folder.join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        fs::write(&self.draft, text).with_context(|| format!("cannot write {}", self.draft.display()))?;
        fs::rename(&self.draft, &path).with_context(|| format!("cannot put {} in place", path.display()))
    }

    /// Removes a file.
    pub fn remove(&self, file: &str) -> Result<()> {
        let path = self.folder.join(file);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }

    /// Gives a file another name.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))
            .with_context(|| format!("cannot rename {from} to {to}"))
    }

    /// Its version as the protocol defines it: the newest change time of its files and folders, in nanoseconds.
    pub fn version(&self) -> Result<u64> {
        newest(&self.folder)
    }
}

fn newest(path: &Path) -> Result<u64> {
    let metadata = fs::symlink_metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    let changed = metadata.modified().context("this file system keeps no change times")?;
    let own = changed.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
    if !metadata.is_dir() {
        return Ok(own);
    }
    let mut version = own;
    for entry in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
        version = version.max(newest(&entry?.path())?);
    }
    Ok(version)
}
