//! Fault points: places beside an effect that outlives the process (a file written, a row committed, a message sent), at
//! which a test can stop the process exactly as SIGKILL would.
//!
//! ```text
//!  FERRANT_FAULT=ledger.append.written:3     stops at the third passing of that point
//!  FERRANT_FAULT=@FILE                       the same, said by a file that may change while the process runs; it is locked (shared)
//!                                            from the moment it is read until the process has gone on or stopped
//!  FERRANT_FAULT_HIT=FILE                    where the point's name is written before the process stops
//!  FERRANT_FAULT_TRACE=FILE                  where every passing leaves a line
//! ```
//!
//! Who locks the file for itself and empties it knows that no process stops afterwards.
//!
//! Only builds with debug assertions look at these; in a release build [`point`] is nothing. What it is not: a way to make an
//! operation fail. A process that stops here has seen nothing go wrong, so nothing cleans up after it.

mod points;

pub use points::POINTS;

/// The points of the plugin begin with this; all others are the agent's.
pub const PLUGIN: &str = "plugin.";

/// A place at which a test can stop the process. The name is in [`POINTS`] and in one place of the source only.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_name: &'static str) {}

/// A place at which a test can stop the process. The name is in [`POINTS`] and in one place of the source only.
#[cfg(debug_assertions)]
pub fn point(name: &'static str) {
    armed::pass(name);
}

/// The point and the passing that a text asks for: `name` is the first passing, `name:3` the third.
#[cfg(debug_assertions)]
fn parse(text: &str) -> Option<(&str, u32)> {
    let text = text.trim();
    match text.split_once(':') {
        Some((name, passing)) => passing.parse().ok().filter(|passing| *passing > 0).map(|passing| (name, passing)),
        None => (!text.is_empty()).then_some((text, 1)),
    }
}

#[cfg(debug_assertions)]
mod armed {
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Write};
    use std::path::{Path, PathBuf};
    use std::sync::{LazyLock, Mutex, PoisonError};

    use super::parse;

    /// Who says where to stop.
    enum Asked {
        Nobody,
        /// For the whole life of the process.
        Fixed(String),
        /// Read at every passing.
        File(PathBuf),
    }

    struct Armed {
        asked: Asked,
        hit: Option<PathBuf>,
        trace: Option<PathBuf>,
        /// What was asked at the last passing, and how often its point was passed since.
        counting: Mutex<(String, u32)>,
    }

    static ARMED: LazyLock<Armed> = LazyLock::new(|| {
        let path = |name| std::env::var_os(name).map(PathBuf::from);
        let asked = match std::env::var("FERRANT_FAULT") {
            Ok(text) => match text.strip_prefix('@') {
                Some(file) => Asked::File(file.into()),
                None => Asked::Fixed(text),
            },
            Err(_) => Asked::Nobody,
        };
        let (hit, trace) = (path("FERRANT_FAULT_HIT"), path("FERRANT_FAULT_TRACE"));
        Armed { asked, hit, trace, counting: Mutex::default() }
    });

    pub(super) fn pass(name: &'static str) {
        if let Some(trace) = &ARMED.trace {
            append(trace, name);
        }
        let (asked, _held) = match &ARMED.asked {
            Asked::Nobody => return,
            Asked::Fixed(text) => (text.clone(), None),
            Asked::File(path) => hold(path),
        };
        let mut counting = ARMED.counting.lock().unwrap_or_else(PoisonError::into_inner);
        if counting.0 != asked {
            *counting = (asked, 0);
        }
        let (asked, passed) = &mut *counting;
        let Some((point, passing)) = parse(asked) else { return };
        if point != name {
            return;
        }
        *passed += 1;
        if *passed == passing {
            stop(name);
        }
    }

    /// What a file asks for, which stays locked as long as what is returned lives. One that is not there asks for nothing.
    fn hold(path: &Path) -> (String, Option<File>) {
        let Ok(mut file) = File::open(path) else { return (String::new(), None) };
        let mut asked = String::new();
        let read = file.lock_shared().and_then(|()| file.read_to_string(&mut asked));
        if read.is_err() { (String::new(), None) } else { (asked, Some(file)) }
    }

    fn stop(name: &str) -> ! {
        if let Some(hit) = &ARMED.hit {
            append(hit, name);
        }
        // The kernel ends every thread of the process; none of them sees anything of it.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
        loop {
            std::thread::park();
        }
    }

    /// One line; whether it can be written is for the reader to find out.
    fn append(path: &PathBuf, name: &str) {
        if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) {
            let _ = file.write_all(format!("{name}\n").as_bytes());
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::parse;

    #[test]
    fn a_text_names_a_point_and_a_passing() {
        assert_eq!(parse("ledger.append"), Some(("ledger.append", 1)));
        assert_eq!(parse("ledger.append:3\n"), Some(("ledger.append", 3)));
        for nothing in ["", "\n", "ledger.append:", "ledger.append:0", "ledger.append:x"] {
            assert_eq!(parse(nothing), None, "{nothing:?}");
        }
    }
}
