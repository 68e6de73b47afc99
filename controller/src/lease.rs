//! Who may write: of several controllers that share a status directory, one holds the lease.
//!
//! The lease is a file, `lease.json`: who holds it, when it was renewed, for how long it counts. No lock: a paused process would
//! keep it. Whoever wants it watches the file; when it has stayed the same for its duration, by the watcher's own clock, its
//! holder is dead, paused or parted, and the watcher writes its own name, waits until anyone else who did the same has done so,
//! and reads again: who is named then holds it. Clocks of different machines are not compared.
//!
//! A holder that was paused finds, before it writes anything ([`Lease::is_held`]), that its own renewal is too old or that the file
//! names another.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

/// How long a renewal counts.
pub const DURATION: Duration = Duration::from_secs(3);

/// Between two renewals, and between two looks at another's.
pub const RENEWAL: Duration = Duration::from_millis(750);

/// How long after its own claim a claimant reads the file again: longer than between another's look and its claim.
const OTHERS: Duration = Duration::from_millis(150);

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Where the holder serves agents, and what tells it from an earlier process there.
    holder: String,
    /// When it was renewed, in ms since 1970: for people.
    renewed_ms: u64,
    /// How long that counts, in ms.
    duration_ms: u64,
}

/// A controller's side of the lease; cheap to clone.
#[derive(Clone)]
pub struct Lease(Arc<Inner>);

struct Inner {
    path: PathBuf,
    own: String,
    duration: Duration,
    state: Mutex<State>,
}

enum State {
    /// Another holds it, or nobody: what the file said, and since when.
    Watching(Option<(Record, Instant)>),
    /// This process holds it, and renewed it then.
    Holding(Instant),
}

impl Lease {
    /// A lease on a status directory, not held yet. `own` must differ from every other controller's name.
    pub fn new(status: &Path, own: String, duration: Duration) -> Self {
        let path = status.join("lease.json");
        Self(Arc::new(Inner { path, own, duration, state: Mutex::new(State::Watching(None)) }))
    }

    /// Whether this process may write now. Asked right before each write.
    pub fn is_held(&self) -> bool {
        let fresh = matches!(&*self.0.lock(), State::Holding(renewed) if renewed.elapsed() < self.0.duration);
        fresh && self.0.read().is_some_and(|record| record.holder == self.0.own)
    }

    /// Renews, claims or watches, for as long as the process runs.
    pub fn keep(self) {
        loop {
            self.turn();
            std::thread::sleep(RENEWAL);
        }
    }

    /// One look at the file, and what follows from it.
    pub fn turn(&self) {
        let inner = &*self.0;
        let record = inner.read();
        let now = Instant::now();
        match &record {
            Some(record) if record.holder == inner.own => inner.write_and_verify(now),
            Some(other) => {
                let counts = Duration::from_millis(other.duration_ms);
                let mut state = inner.lock();
                let since = match &*state {
                    State::Watching(Some((seen, since))) if seen == other => *since,
                    State::Holding(_) => {
                        warn!(holder = %other.holder, "the lease on the status directory is another's now");
                        now
                    }
                    State::Watching(_) => now,
                };
                *state = State::Watching(Some((other.clone(), since)));
                drop(state);
                if now - since > counts {
                    info!(holder = %other.holder, "the holder of the lease on the status directory has not renewed it");
                    inner.write_and_verify(now);
                }
            }
            None => inner.write_and_verify(now),
        }
    }

    /// Gives it up, if it is held: the process ends.
    pub fn release(&self) {
        if self.is_held() {
            // Where it stays, it ends by itself.
            let _ = fs::remove_file(&self.0.path);
        }
        *self.0.lock() = State::Watching(None);
    }
}

impl Inner {
    /// Writes the own name; whoever is named when all who did so have done it holds the lease.
    fn write_and_verify(&self, now: Instant) {
        let held = matches!(&*self.lock(), State::Holding(renewed) if renewed.elapsed() < self.duration);
        if let Err(error) = self.write() {
            warn!(path = %self.path.display(), %error, "the lease on the status directory cannot be written; make it writable, with space");
            return;
        }
        if !held {
            std::thread::sleep(OTHERS.min(self.duration));
        }
        let named = self.read().is_some_and(|record| record.holder == self.own);
        let mut state = self.lock();
        if named {
            if !held {
                info!(own = %self.own, "this controller holds the lease on the status directory");
            }
            *state = State::Holding(now);
        } else {
            *state = State::Watching(None);
        }
    }

    /// What the file says; none where it says nothing that can be read, which is as good as no file.
    fn read(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(&self.path).ok()?).ok()
    }

    fn write(&self) -> io::Result<()> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let record = Record {
            holder: self.own.clone(),
            renewed_ms: milliseconds(since),
            duration_ms: milliseconds(self.duration),
        };
        let new = self.path.with_file_name(format!(".lease.{:016x}.new", apis::digest::content(self.own.as_bytes())));
        fs::write(&new, serde_json::to_vec(&record)?)?;
        fs::rename(&new, &self.path)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock leaves the state half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(300);

    fn lease(status: &Path, own: &str) -> Lease {
        Lease::new(status, own.to_owned(), SHORT)
    }

    fn turn_until(what: &str, leases: &[&Lease], so: impl Fn() -> bool) {
        let start = Instant::now();
        while !so() {
            assert!(start.elapsed() < Duration::from_secs(20), "waited for {what}");
            leases.iter().for_each(|lease| lease.turn());
        }
    }

    #[test]
    fn one_holds_it_and_the_next_once_it_is_not_renewed() {
        let status = tempfile::tempdir().unwrap();
        let (one, two) = (lease(status.path(), "one"), lease(status.path(), "two"));
        one.turn();
        two.turn();
        assert!(one.is_held() && !two.is_held());
        // One is dead, or paused: it does not renew.
        turn_until("the second to hold it", &[&two], || two.is_held());
        assert!(!one.is_held(), "a paused holder notices before it writes");
        one.turn();
        assert!(!one.is_held() && two.is_held(), "what was lost is not taken back while it is renewed");
        two.release();
        one.turn();
        assert!(one.is_held() && !two.is_held());
    }

    #[test]
    fn a_holder_that_slept_too_long_does_not_write_though_nobody_took_it() {
        let status = tempfile::tempdir().unwrap();
        let one = lease(status.path(), "one");
        one.turn();
        assert!(one.is_held());
        std::thread::sleep(SHORT);
        assert!(!one.is_held());
        one.turn();
        assert!(one.is_held(), "it holds it again once it has looked");
    }

    #[test]
    fn of_many_who_want_it_at_once_one_gets_it() {
        let status = tempfile::tempdir().unwrap();
        for round in 0..5 {
            let leases: Vec<Lease> = (0..8).map(|number| lease(status.path(), &format!("{round}-{number}"))).collect();
            let _ = fs::remove_file(status.path().join("lease.json"));
            std::thread::scope(|scope| {
                for lease in &leases {
                    scope.spawn(|| lease.turn());
                }
            });
            assert_eq!(leases.iter().filter(|lease| lease.is_held()).count(), 1);
        }
    }

    #[test]
    fn a_file_that_says_nothing_is_as_good_as_none() {
        let status = tempfile::tempdir().unwrap();
        fs::write(status.path().join("lease.json"), "{\"holder\":").unwrap();
        let one = lease(status.path(), "one");
        one.turn();
        assert!(one.is_held());
    }
}
