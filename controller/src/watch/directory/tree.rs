//! The directory as the kernel sees it: which manifests there are, and which have just been written or removed.
//!
//! Every folder is watched before it is listed, so nothing falls between. What is said of a file is only that it is worth
//! reading; what it says is `read`'s business.
//!
//! Names that begin with a dot are left out: editors and ConfigMap volumes keep their own things there. A symbolic link to a
//! file or folder counts as what it leads to; when a hidden link of a folder changes (`..data` of a ConfigMap volume), the
//! links in that folder are read again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hashbrown::HashMap;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use crate::watch::{Severity, SourceError};

/// Folders deeper than this are not read; a cycle of links ends here at the latest.
const MAX_DEPTH: usize = 32;

/// A directory and what is known of it. Paths are relative to it.
pub(super) struct Tree {
    root: PathBuf,
    /// Not part of the source, should it lie within: the status directory.
    leave_out: PathBuf,
    inotify: Inotify,
    /// None: the folder above the root, watched for the root's own coming and going.
    watches: HashMap<WatchDescriptor, Option<PathBuf>>,
    folders: BTreeMap<PathBuf, WatchDescriptor>,
    files: BTreeSet<PathBuf>,
    /// Those of the files that are symbolic links.
    links: BTreeSet<PathBuf>,
    /// Files that were changed and not closed by their writer since: not to be read now.
    being_written: BTreeSet<PathBuf>,
    /// Files that could not be read for lack of permission: a change of permissions is worth a look.
    denied: BTreeSet<PathBuf>,
    /// The root as it was when it was opened; another folder of its name is another root.
    identity: Option<(u64, u64)>,
    newest: u64,
    problems: BTreeMap<PathBuf, String>,
}

/// What a wait has brought.
pub(super) enum Waited {
    /// Time only.
    Nothing,
    /// The directory is not there any longer, or is another one.
    Gone,
    /// These files.
    Changed(Changes),
}

/// Files to look at.
#[derive(Default)]
pub(super) struct Changes {
    /// Written, or new.
    pub written: BTreeSet<PathBuf>,
    /// Not there any longer.
    pub removed: BTreeSet<PathBuf>,
}

impl Tree {
    pub fn new(root: &Path, leave_out: &Path) -> Result<Self, Errno> {
        Ok(Self {
            root: root.to_owned(),
            leave_out: leave_out.to_owned(),
            inotify: Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?,
            watches: HashMap::new(),
            folders: BTreeMap::new(),
            files: BTreeSet::new(),
            links: BTreeSet::new(),
            being_written: BTreeSet::new(),
            denied: BTreeSet::new(),
            identity: None,
            newest: 0,
            problems: BTreeMap::new(),
        })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn exists(&self) -> bool {
        self.root.is_dir()
    }

    /// The newest change time seen, in ns.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Folders that cannot be read or watched.
    pub fn errors(&self) -> impl Iterator<Item = SourceError> {
        self.problems.iter().map(|(folder, what)| SourceError {
            file: shown(folder),
            line: 0,
            severity: Severity::Error,
            object: None,
            what: format!("the folder cannot be read or watched: {what}"),
            in_force: "what its files said before".to_owned(),
            what_to_do: "let the controller's user read it, or raise fs.inotify.max_user_watches".to_owned(),
        })
    }

    /// Files that are to be read again when their permissions change.
    pub fn read_again_when_allowed(&mut self, files: BTreeSet<PathBuf>) {
        self.denied = files;
    }

    /// Sleeps until there is a directory of this name.
    pub fn wait_until_it_exists(&mut self) -> Result<(), Errno> {
        self.forget();
        while !self.exists() {
            let mut above = self.root.parent();
            while let Some(folder) = above.filter(|folder| !folder.is_dir()) {
                above = folder.parent();
            }
            let above = above.unwrap_or(Path::new("/")).to_owned();
            let flags = AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_MOVED_TO
                | AddWatchFlags::IN_ATTRIB
                | AddWatchFlags::IN_DELETE_SELF
                | AddWatchFlags::IN_MOVE_SELF;
            let watch = self.inotify.add_watch(&above, flags)?;
            // Only now does a look at what is missing miss nothing.
            let next = self.root.strip_prefix(&above).ok().and_then(|rest| rest.components().next());
            if above.is_dir() && next.is_none_or(|next| !above.join(next).is_dir()) {
                self.sleep(None);
            }
            // Already gone where the folder itself is.
            let _ = self.inotify.rm_watch(watch);
            let _ = self.inotify.read_events();
        }
        Ok(())
    }

    /// Opens the root anew and lists all of it; every file is worth reading.
    pub fn scan(&mut self) -> Vec<PathBuf> {
        self.forget();
        self.identity = fs::metadata(&self.root).ok().map(|found| (found.dev(), found.ino()));
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM;
        if let Some(above) = self.root.parent()
            && let Ok(watch) = self.inotify.add_watch(above, flags | AddWatchFlags::IN_ONLYDIR)
        {
            self.watches.insert(watch, None);
        }
        let mut changes = Changes::default();
        self.enter(Path::new(""), &mut changes);
        changes.written.into_iter().collect()
    }

    /// Whether someone is writing a file: what was just read of it may be half of it.
    pub fn is_being_written(&self, file: &Path) -> bool {
        self.being_written.contains(file)
    }

    /// Whether changes wait to be taken in.
    pub fn has_more(&self) -> bool {
        self.sleep(Some(Duration::ZERO))
    }

    /// Waits for changes; with a timeout, no longer than that.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Waited {
        if !self.sleep(timeout) && self.is_still_there() {
            return Waited::Nothing;
        }
        let mut changes = Changes::default();
        let mut touched = BTreeSet::new();
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) if !events.is_empty() => events,
                Ok(_) | Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => continue,
                Err(_) => return Waited::Gone,
            };
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    // Nobody knows what was missed: everything is worth a look.
                    changes.written.extend(self.list_again(&mut changes.removed));
                } else {
                    self.take(&event, &mut changes, &mut touched);
                }
            }
        }
        for folder in touched {
            if let Ok(found) = fs::metadata(self.root.join(folder)) {
                self.saw(&found);
            }
        }
        if !self.is_still_there() {
            return Waited::Gone;
        }
        changes.removed.retain(|file| !changes.written.contains(file));
        Waited::Changed(changes)
    }

    fn is_still_there(&self) -> bool {
        let now = fs::metadata(&self.root).ok().filter(Metadata::is_dir);
        now.map(|found| (found.dev(), found.ino())) == self.identity && self.identity.is_some()
    }

    /// Whether something has arrived before the timeout.
    fn sleep(&self, timeout: Option<Duration>) -> bool {
        let timeout = timeout.map_or(PollTimeout::NONE, |timeout| {
            let milliseconds = u16::try_from(timeout.as_millis()).unwrap_or(u16::MAX);
            PollTimeout::from(milliseconds)
        });
        let mut descriptors = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
        // A signal ends the sleep early, which costs one more look.
        poll(&mut descriptors, timeout).is_ok_and(|ready| ready > 0)
    }

    fn forget(&mut self) {
        for watch in self.watches.drain().map(|(watch, _)| watch) {
            // A folder that is gone took its watch along.
            let _ = self.inotify.rm_watch(watch);
        }
        self.folders.clear();
        self.files.clear();
        self.links.clear();
        self.being_written.clear();
        self.problems.clear();
        self.identity = None;
        while self.inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
    }

    fn list_again(&mut self, removed: &mut BTreeSet<PathBuf>) -> Vec<PathBuf> {
        let before = std::mem::take(&mut self.files);
        let found = self.scan();
        removed.extend(before.into_iter().filter(|file| !self.files.contains(file)));
        found
    }

    fn saw(&mut self, found: &Metadata) {
        let seconds = u64::try_from(found.ctime()).unwrap_or(0);
        let nanoseconds = u64::try_from(found.ctime_nsec()).unwrap_or(0);
        self.newest = self.newest.max(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds));
    }

    fn take(&mut self, event: &InotifyEvent, changes: &mut Changes, touched: &mut BTreeSet<PathBuf>) {
        let Some(Some(folder)) = self.watches.get(&event.wd).cloned() else { return };
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            self.watches.remove(&event.wd);
            return;
        }
        let Some(name) = &event.name else { return };
        touched.insert(folder.clone());
        let path = folder.join(name);
        let gone = event.mask.intersects(AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM);
        if is_hidden(name) {
            if !event.mask.contains(AddWatchFlags::IN_ISDIR) && (gone || self.is_link(&path)) {
                self.read_links_again(&folder, changes);
            }
        } else if gone {
            self.being_written.remove(&path);
            self.leave(&path, changes);
        } else if event.mask.contains(AddWatchFlags::IN_MODIFY) {
            if is_manifest(&path) {
                changes.written.remove(&path);
                self.being_written.insert(path);
            }
        } else if event.mask.contains(AddWatchFlags::IN_ISDIR) {
            if event.mask.intersects(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO)
                || self.problems.contains_key(&path)
            {
                self.enter(&path, changes);
            }
        } else {
            if event.mask.contains(AddWatchFlags::IN_CLOSE_WRITE) {
                self.being_written.remove(&path);
            }
            self.look(&path, event.mask, changes);
        }
    }

    /// Something that is not a folder has appeared, was closed by a writer, or has other permissions.
    fn look(&mut self, path: &Path, why: AddWatchFlags, changes: &mut Changes) {
        let full = self.root.join(path);
        let Ok(itself) = fs::symlink_metadata(&full) else { return };
        let link = itself.file_type().is_symlink();
        let Ok(found) = fs::metadata(&full) else { return };
        if link && found.is_dir() {
            return self.enter(path, changes);
        }
        // A file that was just created is about to be written: its writer will close it.
        let being_written = why == AddWatchFlags::IN_CREATE && !link && found.nlink() == 1;
        if !found.is_file() || being_written {
            return;
        }
        self.saw(&found);
        let permissions_only = why == AddWatchFlags::IN_ATTRIB && !self.denied.contains(path);
        if is_manifest(path) && !permissions_only {
            self.files.insert(path.to_owned());
            if link {
                self.links.insert(path.to_owned());
            } else {
                self.links.remove(path);
            }
            changes.removed.remove(path);
            changes.written.insert(path.to_owned());
        }
    }

    fn is_link(&self, path: &Path) -> bool {
        fs::symlink_metadata(self.root.join(path)).is_ok_and(|found| found.file_type().is_symlink())
    }

    fn read_links_again(&mut self, folder: &Path, changes: &mut Changes) {
        let links = self.links.iter().filter(|path| path.parent() == Some(folder));
        for path in links.cloned().collect::<Vec<_>>() {
            self.look(&path, AddWatchFlags::IN_MOVED_TO, changes);
        }
    }

    /// Watches and lists a folder, and the folders in it.
    fn enter(&mut self, folder: &Path, changes: &mut Changes) {
        if folder.components().count() > MAX_DEPTH || self.root.join(folder) == self.leave_out {
            return;
        }
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_ONLYDIR;
        let full = self.root.join(folder);
        let entries = self.inotify.add_watch(&full, flags).map_err(|error| error.to_string()).and_then(|watch| {
            self.watches.insert(watch, Some(folder.to_owned()));
            self.folders.insert(folder.to_owned(), watch);
            fs::read_dir(&full).map_err(|error| error.to_string())
        });
        let entries = match entries {
            Ok(entries) => entries,
            Err(what) => {
                self.problems.insert(folder.to_owned(), what);
                return;
            }
        };
        self.problems.remove(folder);
        if let Ok(found) = fs::metadata(&full) {
            self.saw(&found);
        }
        let mut names: Vec<_> =
            entries.flatten().map(|entry| entry.file_name()).filter(|name| !is_hidden(name)).collect();
        names.sort_unstable();
        for name in names {
            let path = folder.join(name);
            let Ok(found) = fs::metadata(self.root.join(&path)) else { continue };
            if !found.is_dir() {
                self.look(&path, AddWatchFlags::IN_MOVED_TO, changes);
            } else if !self.is_link(&path) || !self.leads_back(&path, &found) {
                self.enter(&path, changes);
            }
        }
    }

    /// Whether a link leads to a folder that contains it.
    fn leads_back(&self, path: &Path, target: &Metadata) -> bool {
        let above = path.ancestors().skip(1);
        let mut above = above.filter_map(|folder| fs::metadata(self.root.join(folder)).ok());
        above.any(|folder| (folder.dev(), folder.ino()) == (target.dev(), target.ino()))
    }

    /// A file or folder is there no longer.
    fn leave(&mut self, path: &Path, changes: &mut Changes) {
        if self.files.remove(path) {
            self.links.remove(path);
            changes.written.remove(path);
            changes.removed.insert(path.to_owned());
            return;
        }
        let folders: Vec<PathBuf> = inside(self.folders.range(path.to_owned()..).map(|(held, _)| held), path);
        if folders.is_empty() {
            return;
        }
        for folder in folders {
            if let Some(watch) = self.folders.remove(&folder) {
                self.watches.remove(&watch);
                // A folder that is gone took its watch along.
                let _ = self.inotify.rm_watch(watch);
            }
            self.problems.remove(&folder);
        }
        for file in inside(self.files.range(path.to_owned()..), path) {
            self.leave(&file, changes);
        }
    }
}

/// Those that are or lie in a folder, of sorted paths that begin with it. Paths sort by component, so it ends at the first
/// that does not.
fn inside<'a>(sorted: impl Iterator<Item = &'a PathBuf>, folder: &Path) -> Vec<PathBuf> {
    sorted.take_while(|held| held.starts_with(folder)).cloned().collect()
}

/// `*.yaml`, `*.yml`, `*.json`.
fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().first() == Some(&b'.')
}

/// A path as it is shown: `.` for the directory itself.
pub(super) fn shown(path: &Path) -> String {
    if path.as_os_str().is_empty() { ".".to_owned() } else { path.display().to_string() }
}
