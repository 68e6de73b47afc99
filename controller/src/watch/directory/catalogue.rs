//! Which files say which objects, which of them count, and what is wrong.
//!
//! An object is *in force* from the moment it has been told until it is told again or deleted. The first candidate for a
//! name decides; one that is invalid leaves in force what is.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use hashbrown::{HashMap, HashSet};

use super::last_good::LastGood;
use super::read::{self, Contents, Finding, Unreadable, Valid};
use super::tree::shown;
use crate::object::{Object, ObjectKey, Pool};
use crate::watch::{Severity, SourceError, SourceEvent};

/// All files and what they say.
pub(super) struct Catalogue {
    root: PathBuf,
    pool: Pool,
    files: BTreeMap<Arc<Path>, Entry>,
    /// Those of the files that there is something to report about.
    flagged: BTreeSet<Arc<Path>>,
    objects: HashMap<ObjectKey, Known>,
    /// Names with more than one candidate.
    contested: BTreeSet<ObjectKey>,
    /// Names of which nothing is in force because no valid version was ever seen.
    unresolved: BTreeSet<ObjectKey>,
    /// What is in force and no file says any longer, and since when.
    disappearing: BTreeMap<ObjectKey, Instant>,
    last_good: LastGood,
    has_been_read: bool,
}

/// A file.
#[derive(Default)]
struct Entry {
    documents: Vec<Document>,
    /// What is wrong with the file as a whole; then `documents` are those of before.
    broken: Vec<Finding>,
    /// Nobody knows what it would say: it is broken and has no before.
    unknown: bool,
    /// The system did not give it.
    denied: bool,
    warnings: Vec<Finding>,
}

/// An object of a file.
struct Document {
    key: ObjectKey,
    line: u32,
    hash: u64,
    /// Empty for a valid object.
    invalid: Vec<Finding>,
}

/// A name.
#[derive(Default)]
struct Known {
    /// The files and positions that say it.
    candidates: Vec<(Arc<Path>, u32)>,
    /// The hash of what has been told, and the file that said it; None where nothing has been told.
    in_force: Option<(u64, Arc<Path>)>,
}

/// Objects that were just read and may have to be told.
type Fresh = HashMap<(Arc<Path>, u32), Valid>;

impl Catalogue {
    pub fn new(root: &Path, status: &Path) -> Result<Self, (PathBuf, io::Error)> {
        Ok(Self {
            root: root.to_owned(),
            pool: Pool::default(),
            files: BTreeMap::new(),
            flagged: BTreeSet::new(),
            objects: HashMap::new(),
            contested: BTreeSet::new(),
            unresolved: BTreeSet::new(),
            disappearing: BTreeMap::new(),
            last_good: LastGood::open(status)?,
            has_been_read: false,
        })
    }

    pub fn has_been_read(&self) -> bool {
        self.has_been_read
    }

    /// Whether the contents of every file are known, in this version or an older one.
    pub fn knows_all_contents(&self) -> bool {
        !self.flagged().any(|(_, entry)| entry.unknown)
    }

    /// Whether of everything that files say some version is in force.
    pub fn is_complete(&self) -> bool {
        self.has_been_read && self.unresolved.is_empty() && self.knows_all_contents()
    }

    /// Files that the system did not give.
    pub fn denied(&self) -> BTreeSet<PathBuf> {
        self.flagged().filter(|(_, entry)| entry.denied).map(|(path, _)| path.to_path_buf()).collect()
    }

    fn flagged(&self) -> impl Iterator<Item = (&Arc<Path>, &Entry)> {
        self.flagged.iter().filter_map(|path| self.files.get_key_value(path))
    }

    /// What files say now; nothing follows from it before it is taken in.
    pub fn read<'a>(&mut self, files: impl IntoIterator<Item = &'a PathBuf>) -> BTreeMap<PathBuf, Contents> {
        let files: Vec<&PathBuf> = files.into_iter().collect();
        let paths: Vec<PathBuf> = files.iter().map(|file| self.root.join(file)).collect();
        files.into_iter().cloned().zip(read::read_all(&paths, &mut self.pool)).collect()
    }

    /// Takes in what files say, and that others are gone; what that changes.
    pub fn take(&mut self, read: BTreeMap<PathBuf, Contents>, removed: &BTreeSet<PathBuf>) -> Vec<SourceEvent> {
        let mut fresh = Fresh::new();
        let mut touched = BTreeSet::new();
        for path in removed.iter().filter(|path| !read.contains_key(*path)) {
            self.forget(path, &mut touched);
        }
        for (path, contents) in read {
            self.enter_file(&Arc::from(path), contents, &mut fresh, &mut touched);
        }
        self.tell(touched, fresh)
    }

    /// All there is has been taken in: what was known and is in none of these files disappears.
    pub fn all_is_read(&mut self, files: &[PathBuf]) -> Vec<SourceEvent> {
        self.has_been_read = true;
        let there: HashSet<&Path> = files.iter().map(PathBuf::as_path).collect();
        let gone: Vec<Arc<Path>> = self.files.keys().filter(|path| !there.contains(path.as_ref())).cloned().collect();
        let mut touched = BTreeSet::new();
        for path in gone {
            self.forget(&path, &mut touched);
        }
        let unsaid = self.objects.iter().filter(|(_, known)| known.candidates.is_empty());
        touched.extend(unsaid.map(|(key, _)| key.clone()));
        self.tell(touched, Fresh::new())
    }

    /// The directory is gone as a whole: what it says is not that objects are gone.
    pub fn nothing_disappears(&mut self) {
        self.disappearing.clear();
    }

    /// Since when the first of what disappears has been unsaid.
    pub fn disappearing_since(&self) -> Option<Instant> {
        self.disappearing.values().min().copied()
    }

    /// What disappears is gone for good; what that changes.
    pub fn disappeared(&mut self) -> Vec<SourceEvent> {
        let gone = std::mem::take(&mut self.disappearing).into_keys();
        let gone: Vec<ObjectKey> = gone.collect();
        for key in &gone {
            self.objects.remove(key);
            self.last_good.remove(key);
        }
        self.last_good.flush();
        gone.into_iter().map(SourceEvent::Delete).collect()
    }

    /// Everything is in sync: the last good versions are those in force and no others.
    pub fn keep_only_what_is_in_force(&mut self) {
        self.last_good.keep_current();
    }

    /// Whether this controller is the one that keeps last good versions where others find them.
    pub fn hold(&mut self, held: bool) {
        self.last_good.hold(held);
    }

    fn forget(&mut self, path: &Path, touched: &mut BTreeSet<ObjectKey>) {
        self.flagged.remove(path);
        if let Some(entry) = self.files.remove(path) {
            self.withdraw(path, entry.documents, touched);
        }
    }

    fn withdraw(&mut self, path: &Path, documents: Vec<Document>, touched: &mut BTreeSet<ObjectKey>) {
        for document in documents {
            if let Some(known) = self.objects.get_mut(&document.key) {
                known.candidates.retain(|(held, _)| held.as_ref() != path);
            }
            touched.insert(document.key);
        }
    }

    fn enter_file(
        &mut self,
        path: &Arc<Path>,
        contents: Contents,
        fresh: &mut Fresh,
        touched: &mut BTreeSet<ObjectKey>,
    ) {
        let Contents { documents, unreadable, warnings } = contents;
        let before = self.files.remove(path).unwrap_or(Entry { unknown: true, ..Entry::default() });
        let entry = match unreadable {
            Some(unreadable) => self.broken(path, before, unreadable, fresh, touched),
            None => {
                self.withdraw(path, before.documents, touched);
                let documents = self.enter(path, documents, fresh, touched);
                Entry { documents, warnings, ..Entry::default() }
            }
        };
        let clean = entry.broken.is_empty()
            && entry.warnings.is_empty()
            && entry.documents.iter().all(|document| document.invalid.is_empty());
        if clean {
            self.flagged.remove(path);
        } else {
            self.flagged.insert(Arc::clone(path));
        }
        self.files.insert(Arc::clone(path), entry);
    }

    /// A file's documents become candidates.
    fn enter(
        &mut self,
        path: &Arc<Path>,
        documents: Vec<read::Read>,
        fresh: &mut Fresh,
        touched: &mut BTreeSet<ObjectKey>,
    ) -> Vec<Document> {
        let mut entered = Vec::with_capacity(documents.len());
        for (index, document) in (0u32..).zip(documents) {
            let invalid = match document.object {
                Ok(object) => {
                    fresh.insert((Arc::clone(path), index), object);
                    Vec::new()
                }
                Err(findings) => findings,
            };
            self.objects.entry(document.key.clone()).or_default().candidates.push((Arc::clone(path), index));
            touched.insert(document.key.clone());
            entered.push(Document { key: document.key, line: document.line, hash: document.hash, invalid });
        }
        entered
    }

    /// A file that cannot be read whole is what it was before; at the start, what it was before that.
    fn broken(
        &mut self,
        path: &Arc<Path>,
        before: Entry,
        unreadable: Unreadable,
        fresh: &mut Fresh,
        touched: &mut BTreeSet<ObjectKey>,
    ) -> Entry {
        let denied = matches!(unreadable, Unreadable::System(_));
        let broken = match unreadable {
            Unreadable::Text(findings) => findings,
            Unreadable::System(what) => vec![Finding {
                line: 0,
                object: None,
                what: format!("the file cannot be read: {what}"),
                what_to_do: "let the controller's user read it, or remove it".to_owned(),
            }],
        };
        if !before.unknown {
            return Entry { broken, denied, ..before };
        }
        let remembered = self.last_good.remembered_in(path, &mut self.pool);
        let unknown = remembered.is_empty();
        let documents = self.enter(path, remembered, fresh, touched);
        Entry { documents, broken, unknown, denied, warnings: Vec::new() }
    }

    /// Settles who counts for each of these names; the objects that are new.
    fn tell(&mut self, touched: BTreeSet<ObjectKey>, mut fresh: Fresh) -> Vec<SourceEvent> {
        let mut upserts = Vec::new();
        for key in touched {
            let Some(known) = self.objects.get(&key) else { continue };
            if known.candidates.len() > 1 {
                self.contested.insert(key.clone());
            } else {
                self.contested.remove(&key);
            }
            if let Some((path, index)) = first(known) {
                self.disappearing.remove(&key);
                upserts.extend(self.counts(&key, &path, index, &mut fresh).map(SourceEvent::Upsert));
                continue;
            }
            self.unresolved.remove(&key);
            if known.in_force.is_none() {
                self.objects.remove(&key);
            } else {
                self.disappearing.entry(key).or_insert_with(Instant::now);
            }
        }
        self.last_good.flush();
        upserts
    }

    /// The candidate that counts for a name is this one; the object, where it is not in force already.
    fn counts(&mut self, key: &ObjectKey, path: &Arc<Path>, index: u32, fresh: &mut Fresh) -> Option<Object> {
        let document = self.files.get(path)?.documents.get(index as usize)?;
        let known = self.objects.get_mut(key)?;
        if !document.invalid.is_empty() {
            if known.in_force.is_some() {
                return None;
            }
            let Some(remembered) = self.last_good.remembered(key, &mut self.pool) else {
                self.unresolved.insert(key.clone());
                return None;
            };
            self.unresolved.remove(key);
            known.in_force = Some((remembered.hash, Arc::clone(path)));
            let Valid { object, manifest } = remembered.object.ok()?;
            self.last_good.put(key, path, index, &manifest);
            return Some(object);
        }
        let hash = document.hash;
        let told = known.in_force.as_ref();
        if told.is_some_and(|(held, file)| *held == hash && file == path) {
            return None;
        }
        let found = fresh.remove(&(Arc::clone(path), index)).or_else(|| self.fetch(path, index, hash));
        // Not there any longer: the file has changed, which will be told next.
        let Valid { object, manifest } = found?;
        let known = self.objects.get_mut(key)?;
        let same = known.in_force.as_ref().is_some_and(|(held, _)| *held == hash);
        known.in_force = Some((hash, Arc::clone(path)));
        self.unresolved.remove(key);
        self.last_good.put(key, path, index, &manifest);
        (!same).then_some(object)
    }

    /// Reads one object of a file again.
    fn fetch(&mut self, path: &Path, index: u32, hash: u64) -> Option<Valid> {
        let Contents { documents, unreadable, .. } = read::read(&self.root.join(path), &mut self.pool);
        let document = documents.into_iter().nth(index as usize).filter(|document| document.hash == hash)?;
        if unreadable.is_some() { None } else { document.object.ok() }
    }

    /// Everything there is to report.
    pub fn errors(&self) -> Vec<SourceError> {
        let mut errors = Vec::new();
        for (path, entry) in self.flagged() {
            let report = |finding: &Finding, severity: Severity, in_force: &str| SourceError {
                file: shown(path),
                line: finding.line,
                severity,
                object: finding.object.clone(),
                what: finding.what.clone(),
                in_force: in_force.to_owned(),
                what_to_do: finding.what_to_do.clone(),
            };
            let in_force = if entry.unknown {
                "nothing of this file; as nobody knows what it should say, nothing at all is removed until it is corrected"
            } else {
                "what the file said before"
            };
            errors.extend(entry.broken.iter().map(|finding| report(finding, Severity::Error, in_force)));
            errors.extend(entry.warnings.iter().map(|finding| report(finding, Severity::Warning, "everything else")));
            for document in &entry.documents {
                let known = self.objects.get(&document.key).is_some_and(|known| known.in_force.is_some());
                let in_force = if known { "its last good version" } else { "nothing of this object" };
                errors.extend(document.invalid.iter().map(|finding| report(finding, Severity::Error, in_force)));
            }
        }
        errors.extend(self.contested.iter().flat_map(|key| self.contests(key)));
        errors.extend(self.last_good.problem());
        errors
    }

    /// The candidates for a name that do not count.
    fn contests(&self, key: &ObjectKey) -> Vec<SourceError> {
        let line = |path: &Arc<Path>, index: u32| {
            let document = self.files.get(path).and_then(|entry| entry.documents.get(index as usize));
            document.map_or(0, |document| document.line)
        };
        let Some(known) = self.objects.get(key) else { return Vec::new() };
        let Some((first, at)) = first(known) else { return Vec::new() };
        let place = format!("{}:{}", shown(&first), line(&first, at));
        let others = known.candidates.iter().filter(|other| **other != (Arc::clone(&first), at));
        others
            .map(|(path, index)| SourceError {
                file: shown(path),
                line: line(path, *index),
                severity: Severity::Error,
                object: Some(key.to_string()),
                what: format!("{key} is at {place} too"),
                in_force: format!("the one at {place}: of several the first counts, by file and then by position"),
                what_to_do: "remove or rename all but one".to_owned(),
            })
            .collect()
    }
}

/// The candidate that counts: the first by file and position.
fn first(known: &Known) -> Option<(Arc<Path>, u32)> {
    known.candidates.iter().min().cloned()
}
