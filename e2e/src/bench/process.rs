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

/// How long a process and its threads have been running on a processor, in milliseconds; in steps of 10.
pub fn processor_time(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name in parentheses may have spaces; utime and stime are the 14th and 15th field, in ticks of 1/100 s (proc(5)).
    let fields =
        stat.rsplit_once(')').with_context(|| format!("{path}: `{stat}`"))?.1.split_whitespace().skip(11).take(2);
    let ticks: Result<Vec<f64>, _> = fields.map(str::parse).collect();
    Ok(ticks.with_context(|| format!("{path}: `{stat}`"))?.iter().sum::<f64>() * 10.0)
}

/// How busy the machine is besides: the load average of the last minute.
pub fn load() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().with_context(|| format!("/proc/loadavg: `{text}`"))
}

/// Lets this process, and those that it starts, have as many files open as the system allows.
pub fn allow_many_files() -> Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot ask for the limit on open files")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit on open files")
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_runs_longer_and_longer() {
        let first = super::processor_time(std::process::id()).unwrap();
        while super::processor_time(std::process::id()).unwrap() == first {}
        assert!(super::processor_time(std::process::id()).unwrap() > first);
    }

    #[test]
    fn this_process_has_some_memory() {
        let peak = super::peak_memory(std::process::id()).unwrap();
        assert!((0.5..100_000.0).contains(&peak), "{peak} MB");
    }
}
