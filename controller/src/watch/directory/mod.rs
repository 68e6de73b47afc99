//! A directory of manifests as the source of cluster intent.
//!
//! ```text
//!  inotify ─► tree ─► (files written, files gone) ─► read ─► catalogue ─► SourceEvent ─► the loop
//!                                                               ▲ │
//!                                                          last_good, errors.json
//! ```
//!
//! It runs in a thread of its own that sleeps in the kernel until something changes. The rules:
//!
//! - A file is read when a writer closes it, or when it is moved into place: never while it is being written. What is read
//!   while a writer starts anew is thrown away. (Who keeps a file open for writing keeps its last version in force.)
//! - A file that cannot be read whole changes nothing: what it said before stays in force, and the error says where and what
//!   to do. The same holds for a single invalid object in a file that is otherwise readable.
//! - Of two objects with one name the first counts: by file path, then by position in the file. The other is reported.
//! - An object's disappearance counts once the directory has stayed as it is for a moment ([`PAUSE`]), so that a file that is
//!   renamed, replaced, or deleted together with the whole directory takes nothing away meanwhile.
//! - With the directory gone, or a file of unknown contents in it, the source is not in sync and nothing is removed.
//! - At the start, what cannot be read is taken from `status/last-good`; where that has nothing either, the source is not in
//!   sync: what agents have stays as it is until the file is corrected.
//! - The version is the newest change time of the files and folders, in ns. Within the clock tick of the newest change another
//!   could follow with the same time, so until the tick is over one nanosecond less is claimed.

mod catalogue;
mod clock;
#[cfg(fuzzing)]
pub mod fuzzing;
mod last_good;
mod read;
mod tree;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{Severity, SourceError, SourceEvent};
use crate::event::Event;
use crate::lease::{Lease, RENEWAL};
use crate::status;
use catalogue::Catalogue;
use tree::{Tree, Waited};

/// How long the directory must stay as it is before what has disappeared from it counts as gone: longer than a program that
/// deletes a directory file by file is likely to be held up between two files.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest a deletion waits for a directory in which things keep changing.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How many objects are told at once while the directory is read for the first time.
const FIRST_BATCH: usize = 1024;

/// How many bytes of files are parsed before what they say is told, while the directory is read for the first time.
const BATCH_BYTES: u64 = 8 * 1024 * 1024;

/// Why a directory cannot be a source.
#[derive(Debug, Error)]
pub enum StartError {
    /// No inotify.
    #[error("--source {}: changes cannot be watched: {what}; raise fs.inotify.max_user_instances", path.display())]
    Watch {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        what: String,
    },
    /// No last good versions.
    #[error("--status {}: {what}; name a directory that this user can create and write", path.display())]
    Status {
        /// The file in question.
        path: PathBuf,
        /// What the system says.
        what: String,
    },
    /// No thread.
    #[error("--source {}: no thread to watch it: {what}; raise the limit on threads", path.display())]
    Thread {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        what: String,
    },
}

/// Starts to read and watch a directory, which need not exist yet; what it says goes to `events`.
pub fn start(source: &Path, status: &Path, lease: Lease, events: mpsc::Sender<Event>) -> Result<(), StartError> {
    let tree = Tree::new(source, status)
        .map_err(|error| StartError::Watch { path: source.to_owned(), what: error.to_string() })?;
    let catalogue =
        Catalogue::new(source, status).map_err(|(path, error)| StartError::Status { path, what: error.to_string() })?;
    let directory = Directory {
        status: status.to_owned(),
        lease,
        holding: false,
        events,
        tree,
        catalogue,
        said: Said::default(),
        last_change: Instant::now(),
    };
    let thread = std::thread::Builder::new().name("watch-directory".to_owned());
    thread
        .spawn(move || directory.run())
        .map(drop)
        .map_err(|error| StartError::Thread { path: source.to_owned(), what: error.to_string() })
}

struct Directory {
    status: PathBuf,
    lease: Lease,
    /// The lease was held when it was last looked at.
    holding: bool,
    events: mpsc::Sender<Event>,
    tree: Tree,
    catalogue: Catalogue,
    said: Said,
    last_change: Instant,
}

/// What has been told already.
#[derive(Default)]
struct Said {
    version: u64,
    in_sync: Option<bool>,
    errors: Option<Vec<SourceError>>,
}

/// Nobody listens any longer.
struct Closed;

impl Directory {
    fn run(mut self) {
        loop {
            let went = self.open().and_then(|()| self.follow());
            if let Err(Closed) = went {
                return;
            }
        }
    }

    /// Waits for the directory, then reads all of it.
    fn open(&mut self) -> Result<(), Closed> {
        if !self.tree.exists() {
            self.tell(Vec::new(), None)?;
            if let Err(error) = self.tree.wait_until_it_exists() {
                // Out of watches, most likely: nothing tells when there are some again.
                warn!(%error, "the source directory cannot be waited for; looking again in a second");
                std::thread::sleep(LONGEST_WAIT);
            }
        }
        let files = self.tree.scan();
        self.last_change = Instant::now();
        let first = !self.catalogue.has_been_read();
        for batch in self.batches(&files, first) {
            let read = self.catalogue.read(batch);
            let mut events = self.catalogue.take(read, &BTreeSet::new()).into_iter();
            // A file may hold any number of objects: what is told at once is bounded for the first reading.
            loop {
                let some: Vec<SourceEvent> = events.by_ref().take(FIRST_BATCH).collect();
                if some.is_empty() {
                    break;
                }
                self.send(some)?;
            }
        }
        let events = self.catalogue.all_is_read(&files);
        self.send(events)
    }

    /// Files that are read together: for the first reading no more than fit in memory as they are parsed.
    fn batches<'a>(&self, files: &'a [PathBuf], first: bool) -> Vec<&'a [PathBuf]> {
        if !first {
            return vec![files];
        }
        let (mut batches, mut start, mut bytes) = (Vec::new(), 0, 0);
        for (number, file) in files.iter().enumerate() {
            bytes += std::fs::metadata(self.tree.root().join(file)).map_or(0, |found| found.len());
            if bytes >= BATCH_BYTES || number + 1 - start >= FIRST_BATCH {
                batches.push(&files[start..=number]);
                (start, bytes) = (number + 1, 0);
            }
        }
        batches.push(&files[start..]);
        batches
    }

    /// Follows changes until the directory is gone.
    fn follow(&mut self) -> Result<(), Closed> {
        let mut next = None;
        loop {
            let waited = match next.take() {
                Some(waited) => waited,
                None => {
                    let timeout = self.settle()?;
                    self.hold();
                    // The lease comes and goes without a change of the directory.
                    self.tree.wait(Some(timeout.unwrap_or(RENEWAL).min(RENEWAL)))
                }
            };
            let changes = match waited {
                Waited::Nothing => continue,
                Waited::Gone => {
                    self.catalogue.nothing_disappears();
                    return Ok(());
                }
                Waited::Changed(changes) => changes,
            };
            self.last_change = Instant::now();
            let mut read = self.catalogue.read(&changes.written);
            let more = self.tree.wait(Some(Duration::ZERO));
            if let Waited::Changed(more) = &more {
                read.retain(|path, _| !more.written.contains(path) && !more.removed.contains(path));
            }
            read.retain(|path, _| !self.tree.is_being_written(path));
            let events = self.catalogue.take(read, &changes.removed);
            self.tree.read_again_when_allowed(self.catalogue.denied());
            self.tell(events, None)?;
            next = Some(more).filter(|more| !matches!(more, Waited::Nothing));
        }
    }

    /// Who comes to hold the lease writes what the holder before it wrote.
    fn hold(&mut self) {
        let held = self.lease.is_held();
        if std::mem::replace(&mut self.holding, held) == held {
            return;
        }
        self.catalogue.hold(held);
        if let (true, Some(errors)) = (held, &self.said.errors) {
            self.write_errors(errors);
        }
    }

    fn write_errors(&self, errors: &[SourceError]) {
        if let Err(error) = status::write_errors(&self.status, errors, &self.lease) {
            warn!(%error, "what is wrong with the source could not be written down");
        }
    }

    /// Says what time alone has made certain; how long to wait for more of that, None where only a change can bring it.
    fn settle(&mut self) -> Result<Option<Duration>, Closed> {
        let tick = clock::tick();
        let quiet = self.last_change.elapsed();
        let over = clock::file_time() > self.tree.newest() || quiet >= 2 * tick;
        if self.tree.has_more() || !self.tree.exists() {
            return Ok(Some(Duration::ZERO)); // what is on its way is taken in first
        }
        let mut events = Vec::new();
        if let Some(since) = self.catalogue.disappearing_since() {
            if !self.catalogue.knows_all_contents() {
                self.tell(events, None)?;
                return Ok(None);
            }
            if quiet < PAUSE && since.elapsed() < LONGEST_WAIT {
                return Ok(Some((PAUSE - quiet).max(Duration::from_millis(1))));
            }
            events = self.catalogue.disappeared();
        }
        let newest = self.tree.newest();
        let version = if over { newest } else { newest.saturating_sub(1) };
        self.tell(events, Some(version))?;
        Ok((!over).then(|| tick.max(Duration::from_millis(1))))
    }

    /// Tells events, and what else has changed: errors, version, sync.
    fn tell(&mut self, mut events: Vec<SourceEvent>, version: Option<u64>) -> Result<(), Closed> {
        let exists = self.tree.exists();
        let mut errors = self.catalogue.errors();
        errors.extend(self.tree.errors());
        if !exists {
            errors.push(gone(self.tree.root()));
        }
        errors.sort();
        if self.said.errors.as_ref() != Some(&errors) {
            for error in
                errors.iter().filter(|error| self.said.errors.as_ref().is_none_or(|said| !said.contains(error)))
            {
                match error.severity {
                    Severity::Error => tracing::error!("{error}"),
                    Severity::Warning => warn!("{error}"),
                }
            }
            self.hold();
            self.write_errors(&errors);
            self.said.errors = Some(errors.clone());
            events.push(SourceEvent::Errors(errors));
        }
        if let Some(version) = version.filter(|version| *version > self.said.version) {
            self.said.version = version;
            events.push(SourceEvent::Version(version));
        }
        // Before a version has been told nothing is complete.
        let in_sync = exists && self.said.version > 0 && self.catalogue.is_complete();
        if self.said.in_sync != Some(in_sync) {
            info!(in_sync, version = self.said.version, "source directory");
            self.said.in_sync = Some(in_sync);
            events.push(SourceEvent::InSync(in_sync));
            if in_sync {
                self.catalogue.keep_only_what_is_in_force();
            }
        }
        self.send(events)
    }

    fn send(&self, events: Vec<SourceEvent>) -> Result<(), Closed> {
        if events.is_empty() {
            return Ok(());
        }
        self.events.blocking_send(Event::Source(events)).map_err(|_| Closed)
    }
}

fn gone(root: &Path) -> SourceError {
    SourceError {
        file: ".".to_owned(),
        line: 0,
        severity: Severity::Error,
        object: None,
        what: format!("the directory {} is not there", root.display()),
        in_force: "everything as it was; nothing is removed".to_owned(),
        what_to_do: "bring it back, or stop the controller".to_owned(),
    }
}
