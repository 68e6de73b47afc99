//! Kernel settings below /proc/sys, read before they are written. They are those of the calling thread's network namespace.

#![allow(clippy::disallowed_methods, reason = "a wrapper: settings below /proc/sys")]

use std::io;
use std::path::PathBuf;

/// A setting as it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// Its path below /proc/sys, such as `net/ipv4/ip_forward`.
    pub path: String,
    /// Its value.
    pub value: &'static str,
    /// It is changed only where it has this value now.
    pub only_from: Option<&'static str>,
}

/// A setting that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("sysctl {path} = {value}: {source}")]
pub struct SysctlError {
    path: String,
    value: &'static str,
    source: io::Error,
}

impl SysctlError {
    /// Whether there is no such setting: the link is gone, or the kernel was built without it.
    pub fn is_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

impl Sysctl {
    /// Always that value.
    pub fn new(path: impl Into<String>, value: &'static str) -> Sysctl {
        Sysctl { path: path.into(), value, only_from: None }
    }

    /// Makes it so; true when it was not.
    pub fn apply(&self) -> Result<bool, SysctlError> {
        let file = PathBuf::from("/proc/sys").join(&self.path);
        let failed = |source| SysctlError { path: self.path.clone(), value: self.value, source };
        let now = std::fs::read_to_string(&file).map_err(failed)?;
        let now = now.trim();
        if now == self.value || self.only_from.is_some_and(|from| now != from) {
            return Ok(false);
        }
        std::fs::write(&file, self.value).map_err(failed)?;
        fault::point("sysctl.write.done");
        Ok(true)
    }
}
