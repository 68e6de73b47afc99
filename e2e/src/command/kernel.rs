//! The kernel datapath where the kernel has none: the same command, run again in a small emulated machine.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::lab::{Datapath, is_kernel_vm};

/// The machine's runner; it boots Debian's kernel over this machine's root file system, so all paths stay the same.
const RUNNER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kernel-vm/kernel-vm");

/// Runs this command in the emulated machine when this datapath is not to be had here; its exit code, or none to go on.
pub fn elsewhere(datapath: Datapath) -> Result<Option<ExitCode>> {
    if datapath == Datapath::Netdev || is_kernel_vm() || Path::new("/sys/module/openvswitch").exists() {
        return Ok(None);
    }
    eprintln!("lab: this kernel has no openvswitch; the same command runs in an emulated machine");
    let this = std::env::current_exe().context("cannot tell where this binary is")?;
    let status = Command::new(RUNNER)
        .arg("run")
        .arg(this)
        .args(std::env::args_os().skip(1))
        .env("DATAPATH", datapath.to_string())
        .status()
        .with_context(|| format!("cannot start {RUNNER}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(Some(ExitCode::from(code)))
}
