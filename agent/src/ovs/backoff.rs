//! How long to wait before connecting again: at first hardly at all, since a restarted daemon is back within a fifth of
//! a second, then twice as long each time. The longest wait is short: trying a unix socket costs microseconds, and what
//! waits for the daemon is the node's network.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(100);

/// The waits of one series of failures.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// A connection worked: the next failure is the first of a new series.
    pub(super) fn reset(&mut self) {
        self.0 = FIRST;
    }

    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST);
    }
}
