//! What the controller said last, on disk: the last replacing frame and what changed since, so that an agent that starts without
//! a controller knows what it knew.
//!
//! A frame is here before it is acknowledged, so an agent that comes back is never behind what it promised. Nothing is synced: a
//! machine that dies takes the switch and its connections along, and a file that is torn is not believed beyond its last whole
//! frame: what is missing had not been acknowledged. A file that is damaged is not believed at all, since what is behind the damage
//! had been; and what could not be written takes the file away, for the same reason. It is kept again once the disk has room:
//! [`Journal::can_be_kept_again`] says when everything is to be asked for anew. The file is written anew with each replacing frame;
//! when it has become long, [`Journal::is_long`] says so and everything is asked for anew, which brings one. What a new controller
//! is told of what this node has ([`Journal::holding`]) is read from it.
//!
//! Layout: `FERRANTF`, format version (u8); then records: length (u32), its check (u32), the head's check (u32), a `Frame` of
//! `stream.proto`. Big-endian.

#![allow(clippy::disallowed_methods, reason = "a wrapper: what the controllers said last")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use apis::digest::Holding;
use apis::stream as wire;
use nix::sys::statvfs::statvfs;
use prost::Message;

use super::stream::Gathering;
use crate::state::{Body, Changed, Frame, Upstream};

const HEAD: &[u8; 9] = b"FERRANTF\x02";
/// Length, the record's check, the check of these two.
const RECORD_HEAD: usize = 12;
/// What may have changed since the replacing frame beyond its own length.
const SLACK: u64 = 4 << 20;
/// Between a failure and the next look at whether the disk takes it; twice as long each time, up to this.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);
/// For what came since the failure, and for others.
const ROOM: u64 = 64 << 10;

/// The file.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Holds a replacing frame and what was appended; none before the first, and after a failure.
    file: Option<File>,
    /// A replacing frame in the making.
    beside: Option<File>,
    /// An update in the making.
    update: Vec<u8>,
    beside_length: u64,
    /// Bytes up to the end of the replacing frame, and after it.
    replaced: u64,
    appended: u64,
    /// Nothing is kept.
    failed: Option<Failed>,
}

/// Something could not be written.
#[derive(Debug)]
struct Failed {
    /// When it was last tried, and how long until the next time.
    tried: Instant,
    wait: Duration,
    /// What there was to keep, in bytes.
    room: u64,
    /// The file could not be taken away either: it says what holds no more.
    stale: bool,
}

/// What a file has.
struct Found {
    frame: Frame,
    /// Bytes up to the end of the last frame that replaces everything.
    replaced: u64,
    /// Bytes up to the end of the last whole frame.
    whole: u64,
}

impl Journal {
    /// Nothing is written until a frame comes.
    fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: None,
            beside: None,
            update: Vec::new(),
            beside_length: 0,
            replaced: 0,
            appended: 0,
            failed: None,
        }
    }

    /// What an earlier life of the agent was told, and the file to go on with; no frame when there is no whole one that replaces
    /// everything.
    pub fn open(path: &Path, node: &str) -> (Self, Option<Frame>) {
        let mut journal = Self::new(path);
        let Some(Found { frame, replaced, whole }) = load(path, node) else {
            return (journal, None);
        };
        // What is torn is cut off, so that what comes next is not behind it.
        let opened = OpenOptions::new().append(true).open(path).and_then(|file| file.set_len(whole).map(|()| file));
        match opened {
            Ok(file) => {
                (journal.file, journal.replaced, journal.appended) = (Some(file), replaced, whole - replaced);
                (journal, Some(frame))
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "what the controllers said cannot be added to; all is asked for anew");
                (journal, Some(frame))
            }
        }
    }

    /// What this node has, of what controllers said; none when that is not known.
    pub fn holding(&self) -> Option<Holding> {
        self.file.as_ref()?;
        let mut file = begin(&self.path)?;
        let mut holding = Holding::default();
        let whole = self.replaced + self.appended;
        let mut read = HEAD.len() as u64;
        while read < whole {
            let (part, length) = record(&mut file).ok().flatten()?;
            read += length;
            if part.replace {
                holding = Holding::default();
            }
            if !part.changes.iter().all(|change| holding.apply(change)) {
                return None;
            }
        }
        Some(holding)
    }

    /// A part of a frame is here.
    pub fn part(&mut self, part: &wire::Frame) {
        let outcome = if part.replace { self.begin() } else { Ok(()) };
        let written = outcome.and_then(|()| {
            let mut record = vec![0; RECORD_HEAD];
            part.encode(&mut record).map_err(io::Error::other)?;
            let (length, body_check) = ((record.len() - RECORD_HEAD) as u32, check(&record[RECORD_HEAD..]));
            record[..4].copy_from_slice(&length.to_be_bytes());
            record[4..8].copy_from_slice(&body_check.to_be_bytes());
            let head_check = check(&record[..8]);
            record[8..RECORD_HEAD].copy_from_slice(&head_check.to_be_bytes());
            match &mut self.beside {
                Some(beside) => {
                    self.beside_length += record.len() as u64;
                    let written = beside.write_all(&record);
                    fault::point("journal.replace.part");
                    written
                }
                None => {
                    self.update.append(&mut record);
                    Ok(())
                }
            }
        });
        self.noted(written);
    }

    /// The frame whose parts came is whole and accepted.
    pub fn commit(&mut self) {
        let outcome = match self.beside.take() {
            Some(beside) => {
                fault::point("journal.replace.before");
                let renamed = fs::rename(self.path.with_extension("new"), &self.path);
                fault::point("journal.replace.renamed");
                renamed.map(|()| {
                    self.file = Some(beside);
                    (self.replaced, self.appended) = (self.beside_length, 0);
                    if self.failed.take().is_some() {
                        tracing::info!("what the controller says is kept again");
                    }
                })
            }
            None => match &mut self.file {
                Some(file) => {
                    self.appended += self.update.len() as u64;
                    fault::point("journal.append.before");
                    let written = file.write_all(&self.update);
                    fault::point("journal.append.written");
                    written
                }
                None => Ok(()),
            },
        };
        self.update = Vec::new();
        self.noted(outcome);
    }

    /// The stream ended: what of a frame is here will not become whole.
    pub fn discard(&mut self) {
        (self.beside, self.update) = (None, Vec::new());
    }

    /// More was appended than a new replacing frame would cost.
    pub fn is_long(&self) -> bool {
        self.file.is_some() && self.appended > self.replaced + SLACK
    }

    fn begin(&mut self) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        // Renamed later, the open file goes on as the journal.
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(beside)?;
        file.write_all(HEAD)?;
        fault::point("journal.replace.begun");
        (self.beside_length, self.update) = (HEAD.len() as u64, Vec::new());
        self.beside = Some(file);
        Ok(())
    }

    /// What cannot be written must not be believed later: an agent that knows nothing is closed, one that is behind is not.
    fn noted(&mut self, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            tracing::error!(path = %self.path.display(), %error, "what the controller says cannot be kept; a restart without it is closed");
            let room = (self.replaced + self.appended + self.update.len() as u64).max(self.beside_length);
            self.discard();
            self.file = None;
            let wait = self.failed.as_ref().map_or(AGAIN, |failed| (failed.wait * 2).min(AGAIN_AT_MOST));
            self.failed = Some(Failed { tried: Instant::now(), wait, room, stale: !disbelieve(&self.path) });
        }
    }

    /// Nothing is kept since something could not be written, and by now the disk has room again: all is to be asked for anew, which
    /// brings a replacing frame. Looks at the disk seldom; not to be asked in the middle of a frame.
    pub fn can_be_kept_again(&mut self) -> bool {
        let Some(failed) = self.failed.as_mut().filter(|failed| failed.tried.elapsed() >= failed.wait) else {
            return false;
        };
        (failed.tried, failed.wait) = (Instant::now(), (failed.wait * 2).min(AGAIN_AT_MOST));
        failed.stale = failed.stale && !disbelieve(&self.path);
        has_room(self.path.parent().unwrap_or(Path::new(".")), failed.room)
    }
}

/// Takes the file away, or what is in it; whether nobody will believe it any more.
fn disbelieve(path: &Path) -> bool {
    let removed = fs::remove_file(path);
    fault::point("journal.remove.done");
    let gone = match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            OpenOptions::new().write(true).truncate(true).open(path).map(drop)
        }
        _ => Ok(()),
    };
    if let Err(error) = &gone {
        tracing::error!(path = %path.display(), %error, "what the controller said before cannot be taken away; remove this file");
    }
    gone.is_ok()
}

/// Whether the disk says that so many bytes can be written, and some more.
fn has_room(folder: &Path, bytes: u64) -> bool {
    // Where it does not say, trying tells.
    statvfs(folder).map_or(true, |disk| disk.blocks_available() * disk.fragment_size() > bytes + ROOM)
}

/// Opens a file and reads its head.
fn begin(path: &Path) -> Option<BufReader<File>> {
    let mut file = BufReader::new(File::open(path).ok()?);
    let mut head = [0; HEAD.len()];
    file.read_exact(&mut head).ok().filter(|()| head == *HEAD)?;
    Some(file)
}

fn load(path: &Path, node: &str) -> Option<Found> {
    let mut file = begin(path)?;
    let mut gathering = Gathering::new(node);
    let mut found: Option<(Box<Upstream>, Frame)> = None;
    let (mut read, mut replaced, mut whole) = (HEAD.len() as u64, 0, 0);
    while let Some((part, length)) = record(&mut file).map_err(|damaged| refused(path, &damaged)).ok()? {
        read += length;
        let Ok(gathered) = gathering.take(part) else { break };
        let Some(frame) = gathered else { continue };
        let Frame { number, version, stream, body } = frame;
        let name = Frame { number, version, stream, body: Body::Update(Vec::new()) };
        match (body, &mut found) {
            (Body::Replace(upstream), found) => {
                *found = Some((upstream, name));
                replaced = read;
            }
            (Body::Update(changes), Some((upstream, last))) => {
                let mut ignored = Changed::default();
                changes.into_iter().for_each(|change| upstream.apply(change, &mut ignored));
                *last = name;
            }
            (Body::Update(_), None) => return None,
        }
        whole = read;
    }
    let (upstream, name) = found?;
    #[cfg(fuzzing)]
    apis::planted::planted("journal", name.number != 1);
    Some(Found { frame: Frame { body: Body::Replace(upstream), ..name }, replaced, whole })
}

/// A whole record that is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("a record does not check out")]
struct Damaged;

fn refused(path: &Path, damaged: &Damaged) {
    tracing::error!(path = %path.display(), error = %damaged, "what the controllers said is not believed, all is asked for anew");
}

/// The next whole record, and its length with its head; none at the end, also where the last record is torn.
fn record(file: &mut impl Read) -> Result<Option<(wire::Frame, u64)>, Damaged> {
    let mut head = [0; RECORD_HEAD];
    if file.read_exact(&mut head).is_err() {
        return Ok(None);
    }
    let [a, b, c, d, e, f, g, h, head_check @ ..] = head;
    if check(&head[..8]).to_be_bytes() != head_check {
        return Err(Damaged);
    }
    let (length, wanted) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    let mut bytes = Vec::new();
    match file.take(u64::from(length)).read_to_end(&mut bytes) {
        Ok(read) if read == length as usize => {}
        Ok(_) | Err(_) => return Ok(None),
    }
    if check(&bytes) != wanted {
        return Err(Damaged);
    }
    let part = wire::Frame::decode(bytes.as_slice()).map_err(|_| Damaged)?;
    Ok(Some((part, u64::from(length) + RECORD_HEAD as u64)))
}

/// FNV-1a over words of four bytes: finds a torn or damaged record, which is all it is for.
fn check(bytes: &[u8]) -> u32 {
    if cfg!(fuzzing) {
        return 0; // or nothing behind it would ever be reached
    }
    bytes.chunks(4).fold(0x811c_9dc5, |hash: u32, chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        (hash ^ u32::from_le_bytes(word)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use apis::stream::change::Change as Kind;

    fn posture(namespace: &str) -> wire::Change {
        wire::Change {
            change: Some(Kind::Posture(wire::Posture {
                namespace: namespace.into(),
                ingress_selectable: true,
                egress_selectable: false,
            })),
        }
    }

    fn frame(number: u64, replace: bool, last: bool, namespace: &str) -> wire::Frame {
        let version = last
            .then(|| wire::Version { source: [("Namespace".to_owned(), number)].into(), ..wire::Version::default() });
        wire::Frame { number, replace, changes: vec![posture(namespace)], last, version, take: 1 }
    }

    fn namespaces(frame: &Frame) -> Vec<String> {
        let Body::Replace(upstream) = &frame.body else { panic!("a journal gives everything") };
        upstream.postures.keys().map(ToString::to_string).collect()
    }

    fn loaded(path: &Path) -> Option<Frame> {
        load(path, "node-a").map(|found| found.frame)
    }

    #[test]
    fn an_agent_that_comes_back_goes_on_where_the_last_whole_frame_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frames");
        let (mut journal, nothing) = Journal::open(&path, "node-a");
        assert!(nothing.is_none() && journal.holding().is_none());
        journal.part(&frame(1, true, true, "a"));
        journal.commit();
        journal.part(&frame(2, false, true, "b"));
        journal.commit();
        let holding = journal.holding().unwrap();
        assert_eq!(holding.len(), 2);
        // What is written meanwhile does not count before it is whole.
        journal.part(&frame(1, true, false, "c"));
        assert_eq!(journal.holding().unwrap(), holding);
        journal.discard();
        assert_eq!(journal.holding().unwrap(), holding);
        drop(journal);
        let mut torn = fs::read(&path).unwrap();
        torn.extend_from_slice(&[0, 0, 0, 9, 1]);
        fs::write(&path, torn).unwrap();
        let (mut journal, found) = Journal::open(&path, "node-a");
        assert_eq!(namespaces(&found.unwrap()), ["a", "b"]);
        assert_eq!(journal.holding().unwrap(), holding);
        journal.part(&frame(1, false, true, "c"));
        journal.commit();
        assert_eq!(journal.holding().unwrap().len(), 3);
        assert_eq!(namespaces(&loaded(&path).unwrap()), ["a", "b", "c"]);
    }

    #[test]
    fn whole_frames_come_back_and_torn_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frames");
        let mut journal = Journal::new(&path);
        journal.part(&frame(1, true, false, "a"));
        assert!(loaded(&path).is_none(), "not whole yet");
        journal.part(&frame(1, false, true, "b"));
        journal.commit();
        journal.part(&frame(2, false, true, "c"));
        journal.commit();
        journal.part(&frame(3, false, true, "refused"));
        journal.discard();
        let found = loaded(&path).unwrap();
        assert_eq!((found.number, found.version.newest_source()), (2, 2));
        assert_eq!(namespaces(&found), ["a", "b", "c"]);

        // A replacing frame begins anew.
        let mut journal = Journal::new(&path);
        journal.part(&frame(1, true, true, "z"));
        journal.commit();
        assert_eq!(namespaces(&loaded(&path).unwrap()), ["z"]);
    }

    /// Three frames, a namespace each, and where in the file each ends.
    fn three(path: &Path) -> (Vec<u8>, Vec<usize>) {
        let mut journal = Journal::new(path);
        let mut ends = Vec::new();
        for (number, name) in (1..).zip(["a", "b", "c"]) {
            journal.part(&frame(number, number == 1, true, name));
            journal.commit();
            ends.push(usize::try_from(journal.replaced + journal.appended).unwrap());
        }
        (fs::read(path).unwrap(), ends)
    }

    #[test]
    fn cut_anywhere_the_whole_frames_before_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frames");
        let (bytes, ends) = three(&path);
        assert_eq!(ends[2], bytes.len());
        for length in 0..bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            let (mut journal, found) = Journal::open(&path, "node-a");
            let whole = ends.iter().filter(|end| **end <= length).count();
            let names = found.map_or_else(Vec::new, |found| namespaces(&found));
            assert_eq!(names, ["a", "b", "c"][..whole], "{length} bytes");
            // And it goes on from there.
            journal.part(&frame(9, whole == 0, true, "z"));
            journal.commit();
            let names = namespaces(&loaded(&path).unwrap());
            assert_eq!(names.len(), whole + 1, "{length} bytes");
        }
    }

    #[test]
    fn damaged_anywhere_nothing_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frames");
        let (bytes, _) = three(&path);
        for position in 0..bytes.len() {
            for flipped in [0x01, 0x80] {
                let mut damaged = bytes.clone();
                damaged[position] ^= flipped;
                fs::write(&path, &damaged).unwrap();
                assert!(loaded(&path).is_none(), "byte {position}");
            }
        }
        // Another version's file is one of them: its head is another.
        for version in [1, 3] {
            let mut other = bytes.clone();
            other[8] = version;
            fs::write(&path, &other).unwrap();
            let (mut journal, found) = Journal::open(&path, "node-a");
            assert!(found.is_none() && journal.holding().is_none(), "version {version}");
            journal.part(&frame(1, true, true, "new"));
            journal.commit();
            assert_eq!(namespaces(&loaded(&path).unwrap()), ["new"]);
        }
    }

    #[test]
    fn a_long_journal_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(&dir.path().join("frames"));
        journal.part(&frame(1, true, true, "a"));
        journal.commit();
        let long = "x".repeat(1 << 20);
        for number in 2..8 {
            assert_eq!(journal.is_long(), number > 5, "{number}");
            journal.part(&frame(number, false, true, &long));
            journal.commit();
        }
    }
}
