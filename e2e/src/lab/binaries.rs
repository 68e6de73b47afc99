//! Where Ferrant's binaries are: beside the one that runs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The binaries that a lab starts.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The controller.
    pub controller: PathBuf,
    /// The node agent.
    pub agent: PathBuf,
    /// The CNI plugin.
    pub cni: PathBuf,
    /// The command line.
    pub antctl: PathBuf,
}

impl Binaries {
    /// Those of the same build: cargo puts binaries in one folder and test binaries in `deps/` below it.
    pub fn of_this_build() -> Result<Self> {
        let this = std::env::current_exe().context("cannot tell where this binary is")?;
        let mut folder = this.parent().context("a binary is in a folder")?;
        if folder.file_name().is_some_and(|name| name == "deps") {
            folder = folder.parent().context("deps/ is in a folder")?;
        }
        Ok(Self {
            controller: existing(folder, "ferrant-controller")?,
            agent: existing(folder, "ferrant-agent")?,
            cni: existing(folder, "ferrant-cni")?,
            antctl: existing(folder, "antctl")?,
        })
    }
}

fn existing(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    ensure!(path.is_file(), "there is no {}: run `cargo build --workspace` first", path.display());
    Ok(path)
}
