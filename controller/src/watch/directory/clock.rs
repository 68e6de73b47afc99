//! The clock that stamps files.
//!
//! The kernel stamps files with the time of its last timer tick (`ktime_get_coarse_real_ts64`; finer since Linux 6.13): two
//! changes within one tick can carry the same time.

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_getres, clock_gettime};

/// The time a file would get that is changed now, in ns since 1970; later changes never get an earlier one.
pub(super) fn file_time() -> u64 {
    clock_gettime(ClockId::CLOCK_REALTIME_COARSE).map_or(0, nanoseconds)
}

/// How long two changes can carry the same time: 1 to 10 ms.
pub(super) fn tick() -> Duration {
    let tick = clock_getres(ClockId::CLOCK_REALTIME_COARSE).map_or(0, nanoseconds);
    Duration::from_nanos(tick).clamp(Duration::from_millis(1), Duration::from_millis(10))
}

fn nanoseconds(time: TimeSpec) -> u64 {
    Duration::from(time).as_nanos().try_into().unwrap_or(u64::MAX)
}
