//! One file: its objects, or what is wrong with it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use apis::kubernetes as raw;
use apis::yaml::{self, YamlError};

use crate::object::{Object, ObjectKey, Pool};
use crate::watch::convert;

/// A text is handed to the reader in pieces of about this many bytes, cut between documents, so that a file of a hundred
/// thousand objects is never in memory as trees all at once, and is read on all processors.
const PIECE: usize = 1024 * 1024;

/// What a file says.
pub(super) struct Contents {
    /// Its objects, of the kinds that are read, in order.
    pub documents: Vec<Read>,
    /// Why it cannot be read whole: then `documents` is not all there is, and must not be used.
    pub unreadable: Option<Unreadable>,
    /// What is worth a warning.
    pub warnings: Vec<Finding>,
}

/// An object of a file.
pub(super) struct Read {
    pub key: ObjectKey,
    pub line: u32,
    /// Of the object as written; equal objects have equal hashes.
    pub hash: u64,
    /// The object, or everything that is wrong with it.
    pub object: Result<Valid, Vec<Finding>>,
}

/// An object as the controller sees it, and as it was written.
pub(super) struct Valid {
    pub object: Object,
    /// A manifest again, as JSON.
    pub manifest: Box<[u8]>,
}

/// Something to report about a place in a file.
pub(super) struct Finding {
    pub line: u32,
    pub object: Option<String>,
    pub what: String,
    pub what_to_do: String,
}

/// Why a file cannot be read whole.
pub(super) enum Unreadable {
    /// The system does not give it.
    System(String),
    /// Its text is broken.
    Text(Vec<Finding>),
}

/// Objects as they are written, and what is wrong with them; of one piece of a file.
#[derive(Default)]
struct Parsed {
    documents: Vec<Written>,
    broken: Vec<Finding>,
    warnings: Vec<Finding>,
}

struct Written {
    line: u32,
    object: raw::Object,
    manifest: Box<[u8]>,
    invalid: Vec<Finding>,
}

/// Reads a file.
pub(super) fn read(path: &Path, pool: &mut Pool) -> Contents {
    contents(std::fs::read(path), pool)
}

/// Reads files, on all processors.
pub(super) fn read_all(paths: &[PathBuf], pool: &mut Pool) -> Vec<Contents> {
    let parsed = on_all_processors(paths, |path| match std::fs::read(path) {
        Ok(bytes) if bytes.len() > PIECE => None, // on all processors by itself, one such file at a time
        Ok(bytes) => Some(Ok(parse_small(&bytes))),
        Err(error) => Some(Err(error)),
    });
    let files = paths.iter().zip(parsed);
    files
        .map(|(path, parsed)| match parsed {
            None => read(path, pool),
            Some(Ok(parsed)) => Contents::of([parsed], pool),
            Some(Err(error)) => Contents::denied(&error),
        })
        .collect()
}

fn contents(bytes: io::Result<Vec<u8>>, pool: &mut Pool) -> Contents {
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(error) => return Contents::denied(&error),
    };
    let text = match yaml::text(&bytes) {
        Ok(text) => text,
        Err(error) => return Contents::of([unreadable(error)], pool),
    };
    let pieces = pieces(text);
    // A few at a time: what is parsed takes several times the room of what becomes of it.
    let parsed =
        pieces.chunks(8).flat_map(|some| on_all_processors(some, |(offset, piece)| parse_piece(*offset, piece)));
    Contents::of(parsed, pool)
}

/// A file that is not worth the other processors.
#[cfg(fuzzing)]
pub(super) fn small(bytes: &[u8], pool: &mut Pool) -> Contents {
    Contents::of([parse_small(bytes)], pool)
}

fn parse_small(bytes: &[u8]) -> Parsed {
    match yaml::text(bytes) {
        Ok(text) => parse_piece(0, text),
        Err(error) => unreadable(error),
    }
}

fn unreadable(error: YamlError) -> Parsed {
    Parsed { broken: vec![finding(None, 0, error)], ..Parsed::default() }
}

fn parse_piece(offset: u32, piece: &str) -> Parsed {
    let mut parsed = Parsed::default();
    for document in yaml::documents(piece) {
        let document = match document {
            Ok(document) => document,
            Err(error) => {
                parsed.broken.push(finding(None, offset, error));
                continue;
            }
        };
        let (line, title) = (document.line + offset, || document.object.title());
        parsed.warnings.extend(document.warnings().map(|warning| finding(Some(&title()), offset, warning)));
        let invalid = document.validate().err().unwrap_or_default();
        let invalid = invalid.into_iter().map(|error| finding(Some(&title()), offset, error)).collect();
        let manifest = serde_json::to_vec(&document.object).unwrap_or_default().into_boxed_slice();
        parsed.documents.push(Written { line, object: document.object, manifest, invalid });
    }
    parsed
}

impl Contents {
    fn denied(error: &io::Error) -> Self {
        let unreadable = Some(Unreadable::System(error.to_string()));
        Self { documents: Vec::new(), unreadable, warnings: Vec::new() }
    }

    /// What a file says, in objects as the controller sees them.
    fn of(parsed: impl IntoIterator<Item = Parsed>, pool: &mut Pool) -> Self {
        let mut contents = Self { documents: Vec::new(), unreadable: None, warnings: Vec::new() };
        let mut broken = Vec::new();
        for piece in parsed {
            broken.extend(piece.broken);
            contents.warnings.extend(piece.warnings);
            for written in piece.documents {
                take(written, pool, &mut contents);
            }
        }
        if !broken.is_empty() {
            contents.unreadable = Some(Unreadable::Text(broken));
        }
        contents
    }
}

fn take(written: Written, pool: &mut Pool, contents: &mut Contents) {
    let Written { line, object, manifest, mut invalid } = written;
    let Some(key) = convert::key(&object, pool) else {
        let what = format!("{} ({}) is of a kind that is not read here", object.title(), object.api_version());
        let what_to_do = "nothing, if it is meant for others; it is skipped".to_owned();
        contents.warnings.push(Finding { line, object: Some(object.title()), what, what_to_do });
        return;
    };
    let mut hasher = DefaultHasher::new();
    object.hash(&mut hasher);
    let mut converted = None;
    if invalid.is_empty() {
        match convert::object(&object, pool) {
            Ok(valid) => converted = valid,
            Err(error) => {
                let what = format!("{}: {}: `{}` is not {}", object.title(), error.path, error.value, error.expected);
                let what_to_do = format!("write {}", error.expected);
                invalid.push(Finding { line, object: Some(object.title()), what, what_to_do });
            }
        }
    }
    let object = match converted {
        Some(object) => Ok(Valid { object, manifest }),
        None => Err(invalid),
    };
    contents.documents.push(Read { key, line, hash: hasher.finish(), object });
}

/// Does the same to each item, on as many processors as there are; the results in the items' order.
fn on_all_processors<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    if workers < 2 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            while let Some((number, item)) = {
                let number = next.fetch_add(1, Ordering::Relaxed);
                items.get(number).map(|item| (number, item))
            } {
                done.push((number, work(item)));
            }
            done
        };
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(worker)).collect();
        let mut done = worker();
        for other in others {
            done.extend(other.join().expect("reading a file does not panic"));
        }
        done
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

fn finding(object: Option<&str>, offset: u32, error: YamlError) -> Finding {
    let YamlError { line, what, what_to_do, .. } = error;
    Finding { line: line + offset, object: object.map(str::to_owned), what, what_to_do }
}

/// The text in pieces, each with the number of lines before it. A cut is made only before a line `---`, and not where a
/// directive (`%YAML 1.2`) stands above it, which belongs to the document below.
fn pieces(text: &str) -> Vec<(u32, &str)> {
    let mut pieces = Vec::new();
    let (mut start, mut lines_before) = (0, 0u32);
    while text.len() - start > PIECE {
        let Some(cut) = cut_after(text, start + PIECE) else { break };
        pieces.push((lines_before, &text[start..cut]));
        let lines = text.as_bytes()[start..cut].iter().filter(|byte| **byte == b'\n').count();
        lines_before = lines_before.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        start = cut;
    }
    pieces.push((lines_before, &text[start..]));
    pieces
}

/// The start of the first line `---` at or behind a place that may be cut at.
fn cut_after(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut from = from;
    while let Some(at) = find(&bytes[from..], b"\n---\n").map(|at| from + at) {
        let line = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        if bytes.get(line) != Some(&b'%') {
            return Some(at + 1);
        }
        from = at + 1;
    }
    None
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    fn pods(count: usize, separator: &str) -> String {
        (0..count).fold(String::new(), |mut text, number| {
            let padding = "x".repeat(60);
            write!(text, "apiVersion: v1\nkind: Pod\nmetadata: {{name: pod-{number}, labels: {{a: {padding}}}}}\n")
                .unwrap();
            text + separator
        })
    }

    #[test]
    fn a_large_file_is_read_in_pieces_with_right_lines() {
        let text = pods(20_000, "---\n");
        assert!(pieces(&text).len() >= 2);
        let contents = contents(Ok(text.into()), &mut Pool::default());
        assert!(contents.unreadable.is_none());
        assert_eq!(contents.documents.len(), 20_000);
        assert!(contents.documents.iter().zip((1u32..).step_by(4)).all(|(read, line)| read.line == line));
    }

    #[test]
    fn a_directive_is_not_cut_from_its_document() {
        let text = pods(20_000, "...\n%YAML 1.2\n---\n");
        assert_eq!(pieces(&text).len(), 1);
    }

    #[test]
    fn a_broken_document_makes_the_file_unreadable_and_is_located() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\nkind: [\n";
        let contents = contents(Ok(text.into()), &mut Pool::default());
        let Some(Unreadable::Text(findings)) = contents.unreadable else { panic!("it was read") };
        assert!(findings[0].line >= 5, "line {}", findings[0].line);
        assert!(!findings[0].what_to_do.is_empty());
    }

    #[test]
    fn other_kinds_are_named_and_skipped() {
        let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n";
        let contents = contents(Ok(text.into()), &mut Pool::default());
        assert!(contents.documents.is_empty() && contents.unreadable.is_none());
        assert!(contents.warnings[0].what.starts_with("Deployment/web"), "{}", contents.warnings[0].what);
    }
}
