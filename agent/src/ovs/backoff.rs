//! How long to wait before connecting again: hardly at all in the first seconds, since a restarted daemon is back within a fifth of
//! a second and what waits for it is the node's network; then longer. Trying a unix socket costs microseconds.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(2);
/// Of the first seconds.
const SHORT: Duration = Duration::from_millis(8);
/// For how long a daemon is thought to be restarting.
const RESTARTING: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_millis(100);

/// The waits of one series of failures.
#[derive(Debug)]
pub(super) struct Backoff {
    wait: Duration,
    since: Instant,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { wait: FIRST, since: Instant::now() }
    }
}

impl Backoff {
    /// A connection worked: the next failure is the first of a new series.
    pub(super) fn reset(&mut self) {
        self.wait = Duration::ZERO;
    }

    pub(super) async fn wait(&mut self) {
        if self.wait.is_zero() {
            *self = Self::default();
        }
        tokio::time::sleep(self.wait).await;
        let longest = if self.since.elapsed() < RESTARTING { SHORT } else { LONGEST };
        self.wait = (self.wait * 2).min(longest);
    }
}
