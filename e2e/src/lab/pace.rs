//! How long things may take here, and the one way to wait for them.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::Datapath;

/// The machine's pace: an emulated one is allowed ten times the time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    factor: u32,
}

impl Pace {
    /// The pace of the machine that runs this datapath: the kernel's may run in software emulation.
    pub fn of(datapath: Datapath) -> Self {
        let emulated = datapath == Datapath::System && is_kernel_vm();
        Self { factor: if emulated { 10 } else { 1 } }
    }

    /// Whether this is a slow machine.
    pub fn is_slow(self) -> bool {
        self.factor > 1
    }

    /// How many times slower this machine may be.
    pub fn factor(self) -> u32 {
        self.factor
    }

    /// `usual` on an ordinary machine, more on a slow one.
    pub fn allow(self, usual: Duration) -> Duration {
        usual * self.factor
    }

    /// Asks again and again until `ask` has an answer; fails when `ask` does, or when `limit` has passed.
    pub fn until<T>(self, what: &str, limit: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let limit = self.allow(limit);
        let start = Instant::now();
        loop {
            if let Some(answer) = ask()? {
                return Ok(answer);
            }
            if start.elapsed() > limit {
                bail!("waited {} s for {what}", limit.as_secs());
            }
            // Between two questions, not instead of one.
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Whether this is the software-emulated machine of `e2e/kernel-vm`.
pub fn is_kernel_vm() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/hostname").is_ok_and(|name| name.trim_end() == "kernel-vm")
}
