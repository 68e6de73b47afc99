//! What the controller said last, on disk: the last replacing frame and what changed since, so that an agent that starts without
//! a controller knows what it knew.
//!
//! A frame is here before it is acknowledged, so an agent that comes back is never behind what it promised. Nothing is synced: a
//! machine that dies takes the switch and its connections along, and a file that is torn is not believed beyond its last whole
//! frame. The file is written anew with each replacing frame; when it has become long, [`Journal::is_long`] says so and the stream
//! is begun anew, which brings one.
//!
//! Layout: `FERRANTF`, format version (u8); then records: length (u32), check (u32), a `Frame` of `stream.proto`. Big-endian.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use apis::stream as wire;
use prost::Message;

use super::stream::Gathering;
use crate::state::{Body, Changed, Frame, Upstream};

const HEAD: &[u8; 9] = b"FERRANTF\x01";
/// No part of a frame is longer.
const RECORD_LIMIT: u32 = 64 << 20;
/// What may have changed since the replacing frame beyond its own length.
const SLACK: u64 = 4 << 20;

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
    replaced: u64,
    appended: u64,
}

impl Journal {
    /// Nothing is written until a frame comes.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None, beside: None, update: Vec::new(), replaced: 0, appended: 0 }
    }

    /// What an earlier life of the agent was told; `None` when there is no whole frame that replaces everything.
    pub fn load(path: &Path, node: &str) -> Option<Frame> {
        let mut file = BufReader::new(File::open(path).ok()?);
        let mut head = [0; HEAD.len()];
        file.read_exact(&mut head).ok().filter(|()| head == *HEAD)?;
        let mut gathering = Gathering::new(node);
        let mut found: Option<(Box<Upstream>, Frame)> = None;
        while let Some(part) = record(&mut file) {
            let Ok(gathered) = gathering.take(part) else {
                break;
            };
            let Some(frame) = gathered else {
                continue;
            };
            let Frame { number, version, stream, body } = frame;
            let name = Frame { number, version, stream, body: Body::Update(Vec::new()) };
            match (body, &mut found) {
                (Body::Replace(upstream), found) => *found = Some((upstream, name)),
                (Body::Update(changes), Some((upstream, last))) => {
                    let mut ignored = Changed::default();
                    changes.into_iter().for_each(|change| upstream.apply(change, &mut ignored));
                    *last = name;
                }
                (Body::Update(_), None) => return None,
            }
        }
        found.map(|(upstream, name)| Frame { body: Body::Replace(upstream), ..name })
    }

    /// A part of a frame is here.
    pub fn part(&mut self, part: &wire::Frame) {
        let outcome = if part.replace { self.begin() } else { Ok(()) };
        let written = outcome.and_then(|()| {
            let mut record = vec![0; 8];
            part.encode(&mut record).map_err(io::Error::other)?;
            let (length, check) = ((record.len() - 8) as u32, check(&record[8..]));
            record[..4].copy_from_slice(&length.to_be_bytes());
            record[4..8].copy_from_slice(&check.to_be_bytes());
            match &mut self.beside {
                Some(beside) => {
                    self.replaced += record.len() as u64;
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
                renamed.map(|()| self.file = Some(beside))
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
        (self.replaced, self.appended) = (0, 0);
        self.beside = Some(file);
        Ok(())
    }

    /// What cannot be written must not be believed later: an agent that knows nothing is closed, one that is behind is not.
    fn noted(&mut self, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            tracing::error!(path = %self.path.display(), %error, "what the controller says cannot be kept; a restart without it is closed");
            self.discard();
            self.file = None;
            // If even that fails the file stays as it is, torn.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The next whole record.
fn record(file: &mut impl Read) -> Option<wire::Frame> {
    let mut head = [0; 8];
    file.read_exact(&mut head).ok()?;
    let [a, b, c, d, e, f, g, h] = head;
    let (length, wanted) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    if length > RECORD_LIMIT {
        return None;
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact(&mut bytes).ok()?;
    if check(&bytes) != wanted {
        return None;
    }
    wire::Frame::decode(bytes.as_slice()).ok()
}

/// FNV-1a over words of four bytes: finds a torn or damaged record, which is all it is for.
fn check(bytes: &[u8]) -> u32 {
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
        let version =
            last.then(|| wire::Version { source: [("Namespace".to_owned(), number)].into(), nodes: [].into() });
        wire::Frame { number, replace, changes: vec![posture(namespace)], last, version }
    }

    fn namespaces(frame: &Frame) -> Vec<String> {
        let Body::Replace(upstream) = &frame.body else { panic!("a journal gives everything") };
        upstream.postures.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn whole_frames_come_back_and_torn_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frames");
        let mut journal = Journal::new(&path);
        journal.part(&frame(1, true, false, "a"));
        assert!(Journal::load(&path, "node-a").is_none(), "not whole yet");
        journal.part(&frame(1, false, true, "b"));
        journal.commit();
        journal.part(&frame(2, false, true, "c"));
        journal.commit();
        journal.part(&frame(3, false, true, "refused"));
        journal.discard();
        let found = Journal::load(&path, "node-a").unwrap();
        assert_eq!((found.number, found.version.newest_source()), (2, 2));
        assert_eq!(namespaces(&found), ["a", "b", "c"]);

        // Torn anywhere in the last frame, the one before counts; damaged in the first, none does.
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        assert_eq!(namespaces(&Journal::load(&path, "node-a").unwrap()), ["a", "b"]);
        let mut damaged = bytes.clone();
        damaged[20] ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert!(Journal::load(&path, "node-a").is_none());

        // A replacing frame begins anew.
        let mut journal = Journal::new(&path);
        journal.part(&frame(1, true, true, "z"));
        journal.commit();
        assert_eq!(namespaces(&Journal::load(&path, "node-a").unwrap()), ["z"]);
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
