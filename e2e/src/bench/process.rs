//! What the machine says of a process and of itself, by proc(5).

use anyhow::{Context, Result};

/// The most memory a process ever had resident (`VmHWM`), in megabytes of 10⁶ bytes.
pub fn peak_memory(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).with_context(|| format!("{path}: no VmHWM"))?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().with_context(|| format!("{path}: `{line}`"))?;
    Ok(kibibytes * 1024.0 / 1e6)
}

/// How busy the machine is besides: the load average of the last minute.
pub fn load() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().with_context(|| format!("/proc/loadavg: `{text}`"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_has_some_memory() {
        let peak = super::peak_memory(std::process::id()).unwrap();
        assert!((0.5..100_000.0).contains(&peak), "{peak} MB");
    }
}
