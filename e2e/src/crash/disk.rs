//! The small disk on which the agent under test keeps what outlives it: it can be filled.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Bytes; logs are on it as well.
const SIZE: &str = "size=24m";
/// A log that is longer is begun anew.
const LOG: u64 = 8 << 20;
const FILLER: &str = "filler";
const AGENT_LOG: &str = "agent.log";

/// A tmpfs in the place of a folder; gone when dropped.
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Takes a folder's place.
    pub fn at(folder: PathBuf) -> Result<Self> {
        mount(Some("tmpfs"), &folder, Some("tmpfs"), MsFlags::empty(), Some(SIZE))
            .with_context(|| format!("cannot mount a small disk at {}", folder.display()))?;
        Ok(Self { folder })
    }

    /// Not one byte more can be written.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::create(self.folder.join(FILLER)).context("cannot fill the small disk")?;
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        Ok(())
    }

    /// There is room again.
    pub fn free(&self) -> Result<()> {
        fs::remove_file(self.folder.join(FILLER)).context("cannot free the small disk")
    }

    /// Takes everything away but the log, and the notes that the plugin has left for the agent.
    pub fn empty(&self) -> Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name() != AGENT_LOG && !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path()).with_context(|| format!("cannot remove {}", entry.path().display()))?;
            }
        }
        Ok(())
    }

    /// Begins a long log anew; who writes it appends.
    pub fn shorten_log(&self) -> Result<()> {
        let log = self.folder.join(AGENT_LOG);
        if fs::metadata(&log).is_ok_and(|log| log.len() > LOG) {
            File::create(&log).with_context(|| format!("cannot shorten {}", log.display()))?;
        }
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.folder, MntFlags::MNT_DETACH);
    }
}
