//! The last good version of every object, on disk, so that a restart with a broken file takes nothing away.
//!
//! `status/last-good/objects.jsonl` is a journal: a line an object that came in force, or that is gone; later lines count.
//! It is written anew at every start, in a file without a name, beside the one of the run before, which stays until the source is
//! in sync; and when more than half of it counts no longer. A torn last line (a crash) is left out when it is read.
//!
//! Of several controllers only the holder of the lease puts its journal in place. What one writes that has lost the lease goes to
//! a file that has lost its name, because the next holder has put its own there.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use apis::yaml;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::read::{Read, Valid};
use crate::object::{ObjectKey, Pool};
use crate::watch::{Severity, SourceError, convert};

/// A journal smaller than this is not worth writing anew.
const SMALL: u64 = 1024 * 1024;

/// The journal of this run, and the one of the run before.
pub(super) struct LastGood {
    path: PathBuf,
    journal: Option<Journal>,
    before: Option<Before>,
    /// Whether this run's journal may be the one that the next run finds: the source has been in sync.
    counts: bool,
    /// Whether this controller holds the lease.
    held: bool,
    problem: Option<String>,
}

struct Journal {
    file: BufWriter<File>,
    size: u64,
    live: u64,
    lines: HashMap<ObjectKey, Line>,
}

/// Where a line is.
#[derive(Clone, Copy)]
struct Line {
    offset: u64,
    length: u32,
}

struct Before {
    file: File,
    /// By the object's name as displayed.
    objects: HashMap<String, Remembered>,
    by_file: BTreeMap<PathBuf, Vec<String>>,
}

struct Remembered {
    file: PathBuf,
    document: u32,
    line: Line,
}

/// A line, less the object.
#[derive(Deserialize, Serialize)]
struct Header {
    object_key: String,
    file: PathBuf,
    document: u32,
    #[serde(default)]
    gone: bool,
}

impl LastGood {
    /// Opens `status/last-good`, with what the run before left there.
    pub fn open(status: &Path) -> Result<Self, (PathBuf, io::Error)> {
        let folder = status.join("last-good");
        fs::create_dir_all(&folder).map_err(|error| (folder.clone(), error))?;
        let path = folder.join("objects.jsonl");
        let before = match File::open(&path) {
            Ok(file) => Some(Before::read(file).map_err(|error| (path.clone(), error))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err((path, error)),
        };
        let journal = Journal::nameless(&path).map_err(|error| (path.clone(), error))?;
        Ok(Self { path, journal: Some(journal), before, counts: false, held: false, problem: None })
    }

    /// An object has come in force.
    pub fn put(&mut self, key: &ObjectKey, file: &Path, document: u32, manifest: &[u8]) {
        let header = Header { object_key: key.to_string(), file: file.to_owned(), document, gone: false };
        self.write(key, &header, Some(manifest));
    }

    /// An object is gone.
    pub fn remove(&mut self, key: &ObjectKey) {
        let header = Header { object_key: key.to_string(), file: PathBuf::new(), document: 0, gone: true };
        self.write(key, &header, None);
    }

    /// The version of an object that was in force when the run before ended.
    pub fn remembered(&mut self, key: &ObjectKey, pool: &mut Pool) -> Option<Read> {
        let before = self.before.as_mut()?;
        let line = before.objects.get(&key.to_string())?.line;
        before.object(line, pool)
    }

    /// All objects that a file had in force when the run before ended, in its order.
    pub fn remembered_in(&mut self, file: &Path, pool: &mut Pool) -> Vec<Read> {
        let Some(before) = self.before.as_mut() else { return Vec::new() };
        let keys = before.by_file.get(file).into_iter().flatten();
        let mut found: Vec<(u32, Line)> =
            keys.filter_map(|key| before.objects.get(key)).map(|object| (object.document, object.line)).collect();
        found.sort_by_key(|(document, _)| *document);
        found.into_iter().filter_map(|(_, line)| before.object(line, pool)).collect()
    }

    /// From here on this run's journal is the one that counts.
    pub fn keep_current(&mut self) {
        if std::mem::replace(&mut self.counts, true) {
            return;
        }
        self.put_in_place();
        self.before = None;
    }

    /// This controller holds the lease from here on, or another does.
    pub fn hold(&mut self, held: bool) {
        if std::mem::replace(&mut self.held, held) != held {
            self.put_in_place();
        }
    }

    /// The holder's journal is where the next run finds it.
    fn put_in_place(&mut self) {
        if self.counts && self.held {
            self.attempt(|journal, path| journal.write_anew(path, true));
        }
    }

    /// Everything that was put is on its way to the disk. (It is not waited for: what a power failure takes is missed only
    /// where the source is broken as well.)
    pub fn flush(&mut self) {
        let in_place = self.counts && self.held;
        self.attempt(|journal, path| {
            if journal.size > SMALL && journal.size > 2 * journal.live {
                journal.write_anew(path, in_place)?;
            }
            journal.file.flush()
        });
    }

    /// What keeps last good versions from being kept.
    pub fn problem(&self) -> Option<SourceError> {
        let problem = self.problem.as_ref()?;
        Some(SourceError {
            file: self.path.display().to_string(),
            line: 0,
            severity: Severity::Warning,
            object: None,
            what: format!("the last good versions of objects cannot be kept: {problem}"),
            in_force: "everything, but a restart with a broken file would find no older version of it".to_owned(),
            what_to_do: "make the status directory writable, with space, and restart the controller".to_owned(),
        })
    }

    fn write(&mut self, key: &ObjectKey, header: &Header, manifest: Option<&[u8]>) {
        self.attempt(|journal, _| journal.append(key, header, manifest));
    }

    /// After a failure nothing more is written: a journal with a gap would lie.
    fn attempt(&mut self, write: impl FnOnce(&mut Journal, &Path) -> io::Result<()>) {
        let Some(journal) = self.journal.as_mut() else { return };
        if let Err(error) = write(journal, &self.path) {
            self.problem = Some(error.to_string());
            self.journal = None;
        }
    }
}

impl Journal {
    fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Self { file: BufWriter::new(file), size: 0, live: 0, lines: HashMap::new() })
    }

    /// One without a name, in the folder of `path`; it is gone with the process.
    fn nameless(path: &Path) -> io::Result<Self> {
        let new = new_path(path);
        let journal = Self::create(&new)?;
        fs::remove_file(&new)?;
        Ok(journal)
    }

    fn append(&mut self, key: &ObjectKey, header: &Header, manifest: Option<&[u8]>) -> io::Result<()> {
        let mut text = serde_json::to_vec(header)?;
        if let Some(manifest) = manifest {
            text.pop(); // the header's closing brace: the object is one more field
            text.extend_from_slice(b",\"object\":");
            text.extend_from_slice(manifest);
            text.push(b'}');
        }
        text.push(b'\n');
        self.file.write_all(&text)?;
        let length = u32::try_from(text.len()).map_err(|_| io::Error::other("an object has more than 4 GiB"))?;
        if let Some(old) = self.lines.remove(key) {
            self.live -= u64::from(old.length);
        }
        if manifest.is_some() {
            self.lines.insert(key.clone(), Line { offset: self.size, length });
            self.live += u64::from(length);
        }
        self.size += u64::from(length);
        Ok(())
    }

    /// Writes what counts to a new file; `in_place`: at `path`, whole at any moment.
    fn write_anew(&mut self, path: &Path, in_place: bool) -> io::Result<()> {
        let new = new_path(path);
        let mut compact = Self::create(&new)?;
        self.file.flush()?;
        let mut lines: Vec<(ObjectKey, Line)> = self.lines.drain().collect();
        lines.sort_by_key(|(_, line)| line.offset);
        let file = self.file.get_mut();
        for (key, line) in lines {
            let text = line.read(file)?;
            compact.file.write_all(&text)?;
            compact.lines.insert(key, Line { offset: compact.size, length: line.length });
            compact.size += u64::from(line.length);
        }
        compact.file.flush()?;
        compact.live = compact.size;
        if in_place {
            fs::rename(&new, path)?;
        } else {
            fs::remove_file(&new)?;
        }
        *self = compact;
        Ok(())
    }
}

impl Line {
    fn read(self, file: &mut File) -> io::Result<Vec<u8>> {
        let mut text = vec![0; self.length as usize];
        file.seek(SeekFrom::Start(self.offset))?;
        file.read_exact(&mut text)?;
        Ok(text)
    }
}

impl Before {
    fn read(file: File) -> io::Result<Self> {
        let mut objects: HashMap<String, Remembered> = HashMap::new();
        let mut reader = BufReader::new(file.try_clone()?);
        let (mut text, mut offset) = (Vec::new(), 0);
        loop {
            text.clear();
            let length = reader.read_until(b'\n', &mut text)?;
            if length == 0 {
                break;
            }
            let line = Line { offset, length: u32::try_from(length).unwrap_or(u32::MAX) };
            offset += length as u64;
            // A line that was torn, or that someone else wrote, says nothing.
            let Ok(header) = serde_json::from_slice::<Header>(&text) else { continue };
            if header.gone {
                objects.remove(&header.object_key);
            } else {
                let remembered = Remembered { file: header.file, document: header.document, line };
                objects.insert(header.object_key, remembered);
            }
        }
        let mut by_file: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
        for (key, remembered) in &objects {
            by_file.entry(remembered.file.clone()).or_default().push(key.clone());
        }
        Ok(Self { file, objects, by_file })
    }

    fn object(&mut self, line: Line, pool: &mut Pool) -> Option<Read> {
        #[derive(Deserialize)]
        struct Body {
            object: serde_json::Value,
        }
        let text = line.read(&mut self.file).ok()?;
        let body: Body = serde_json::from_slice(&text).ok()?;
        let manifest = body.object.to_string();
        let document = yaml::documents(&manifest).into_iter().next()?.ok()?;
        let key = convert::key(&document.object, pool)?;
        let mut hasher = DefaultHasher::new();
        document.object.hash(&mut hasher);
        let object = convert::object(&document.object, pool).ok()??;
        Some(Read {
            key,
            line: 0,
            hash: hasher.finish(),
            object: Ok(Valid { object, manifest: manifest.into_bytes().into() }),
        })
    }
}

fn new_path(path: &Path) -> PathBuf {
    path.with_extension(format!("jsonl.{}.new", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{PodKey, Text};

    fn key(name: &str) -> ObjectKey {
        ObjectKey::Pod(PodKey { namespace: Text::from("shop"), name: Text::from(name) })
    }

    fn manifest(name: &str, label: &str) -> String {
        let labels = serde_json::json!({ "app": label });
        let metadata = serde_json::json!({ "name": name, "namespace": "shop", "labels": labels });
        serde_json::json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata }).to_string()
    }

    fn put(last_good: &mut LastGood, name: &str, document: u32, label: &str) {
        last_good.put(&key(name), Path::new("a.yaml"), document, manifest(name, label).as_bytes());
    }

    fn label(last_good: &mut LastGood, name: &str) -> Option<String> {
        let read = last_good.remembered(&key(name), &mut Pool::default())?;
        match read.object.ok()?.object {
            crate::object::Object::Pod(pod) => pod.labels.get("app").map(ToString::to_string),
            _ => None,
        }
    }

    fn holder(status: &Path) -> LastGood {
        let mut last_good = LastGood::open(status).unwrap();
        last_good.hold(true);
        last_good
    }

    #[test]
    fn only_the_holder_of_the_lease_is_found_by_the_next_run() {
        let status = tempfile::tempdir().unwrap();
        let (mut one, mut two) = (holder(status.path()), LastGood::open(status.path()).unwrap());
        for (last_good, name) in [(&mut one, "from-one"), (&mut two, "from-two")] {
            put(last_good, name, 0, "x");
            last_good.keep_current();
            last_good.flush();
        }
        let found = |name: &str| label(&mut LastGood::open(status.path()).unwrap(), name).is_some();
        assert!(found("from-one") && !found("from-two"));
        // The lease changes hands: what the first writes now nobody finds.
        two.hold(true);
        put(&mut one, "late", 0, "x");
        one.flush();
        assert!(found("from-two") && !found("from-one") && !found("late"));
        one.hold(false);
        two.hold(false);
        one.hold(true);
        assert!(found("late") && found("from-one") && !found("from-two"));
        let names = fs::read_dir(status.path().join("last-good")).unwrap().count();
        assert_eq!(names, 1, "nothing else is left there");
    }

    #[test]
    fn the_next_run_finds_the_last_version_of_what_was_in_force() {
        let status = tempfile::tempdir().unwrap();
        let mut first = holder(status.path());
        put(&mut first, "one", 1, "old");
        put(&mut first, "two", 0, "gone");
        first.keep_current();
        put(&mut first, "one", 1, "new");
        put(&mut first, "three", 0, "x");
        first.remove(&key("two"));
        first.flush();
        let mut second = holder(status.path());
        assert_eq!(label(&mut second, "one"), Some("new".to_owned()));
        assert_eq!(label(&mut second, "two"), None);
        let in_file = second.remembered_in(Path::new("a.yaml"), &mut Pool::default());
        assert_eq!(in_file.iter().map(|read| read.key.clone()).collect::<Vec<_>>(), [key("three"), key("one")]);
    }

    #[test]
    fn a_run_that_was_never_in_sync_leaves_the_one_before_alone() {
        let status = tempfile::tempdir().unwrap();
        let mut first = holder(status.path());
        put(&mut first, "one", 0, "good");
        first.keep_current();
        first.flush();
        let mut second = holder(status.path());
        put(&mut second, "one", 0, "half");
        second.flush();
        drop(second);
        assert_eq!(label(&mut holder(status.path()), "one"), Some("good".to_owned()));
    }

    #[test]
    fn a_torn_line_says_nothing() {
        let status = tempfile::tempdir().unwrap();
        let mut first = holder(status.path());
        put(&mut first, "one", 0, "good");
        first.keep_current();
        first.flush();
        let path = status.path().join("last-good/objects.jsonl");
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"object_key\":\"Pod/shop/one\",\"file\":\"a.ya");
        fs::write(&path, text).unwrap();
        assert_eq!(label(&mut holder(status.path()), "one"), Some("good".to_owned()));
    }

    #[test]
    fn the_journal_does_not_grow_with_changes() {
        let status = tempfile::tempdir().unwrap();
        let mut last_good = holder(status.path());
        last_good.keep_current();
        let long = "x".repeat(1000);
        for change in 0..10_000 {
            put(&mut last_good, "one", 0, &format!("{long}{change}"));
            put(&mut last_good, "other", 1, "stays");
            last_good.flush();
        }
        let size = fs::metadata(status.path().join("last-good/objects.jsonl")).unwrap().len();
        assert!(size < 2 * SMALL, "{size} bytes after ten thousand changes of one object");
        let mut next = holder(status.path());
        assert_eq!(label(&mut next, "one"), Some(format!("{long}9999")));
        assert_eq!(label(&mut next, "other"), Some("stays".to_owned()));
    }
}
