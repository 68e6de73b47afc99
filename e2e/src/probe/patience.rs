//! How long silence must last to be an answer.
//!
//! A denied probe cannot be told from a slow one, so the limit follows what is seen: a probe is silent when it was silent
//! twice, each time for a base time or four times the slowest answer so far, whichever is longer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::lab::Pace;

/// The base time on an ordinary machine.
const BASE: Duration = Duration::from_millis(300);
/// The base time where everything takes ten times as long: less than that, since the slowest answer is heeded.
const SLOW_BASE: Duration = Duration::from_millis(1000);
/// No answer is waited for longer than this many times the base.
const CEILING: u32 = 10;

/// The patience of one run of probes.
#[derive(Debug)]
pub struct Patience {
    base: Duration,
    slowest_micros: AtomicU64,
}

impl Patience {
    /// For a machine of this pace.
    pub fn new(pace: Pace) -> Self {
        let base = if pace.is_slow() { SLOW_BASE } else { BASE };
        Self { base, slowest_micros: AtomicU64::new(0) }
    }

    /// How long to wait for an answer now.
    pub fn limit(&self) -> Duration {
        let slowest = Duration::from_micros(self.slowest_micros.load(Ordering::Relaxed));
        (slowest * 4).clamp(self.base, self.base * CEILING)
    }

    /// An answer took this long.
    pub fn answered_after(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.slowest_micros.fetch_max(micros, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Datapath;

    #[test]
    fn patience_grows_with_slow_answers_and_has_an_end() {
        let patience = Patience::new(Pace::of(Datapath::Netdev));
        assert_eq!(patience.limit(), BASE);
        patience.answered_after(Duration::from_millis(200));
        assert_eq!(patience.limit(), Duration::from_millis(800));
        patience.answered_after(Duration::from_millis(10));
        assert_eq!(patience.limit(), Duration::from_millis(800));
        patience.answered_after(Duration::from_secs(100));
        assert_eq!(patience.limit(), BASE * CEILING);
    }
}
