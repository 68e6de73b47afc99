//! The ledger on disk: a file that only grows while the agent runs, one checked record an entry.
//!
//! A process that dies loses nothing that was written; a machine that dies takes the switch and its connections along, so
//! nothing is synced. A record that does not check out means that the file cannot be believed: the next epoch begins.
//! Opening writes the file anew (beside, then renamed), so what was forgotten goes then. A file that ends after a whole record
//! is a ledger as it once was, and what came later had not reached the switch.
//!
//! A disk that is full stops nothing: one byte that is there already, the epoch beside the file, is overwritten with the next
//! one, and the numbers of that epoch are kept in memory until the file can be written again ([`Store::begin_epoch`]). A ledger
//! of another epoch than that byte's is not believed, so a restart meanwhile begins yet another.
//!
//! Layout: `FERRANTL`, format version (u8), epoch (u8), the last number of each kind (3 × u32), the header's check (u32);
//! then records: length (u16), kind (u8), number (u32), key, check (u32). Integers are big-endian.

#![allow(clippy::disallowed_methods, reason = "a wrapper: the ledger and its epoch")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ovs_pipeline::Direction;

use super::{EPOCHS, Entry, Ledger};
use crate::state::{IdentityId, RuleId};

const MAGIC: &[u8; 8] = b"FERRANTL";
const VERSION: u8 = 1;
const HEADER: usize = 8 + 1 + 1 + 12 + 4;
/// Where a lost ledger's epoch is still known from, beside the file.
const EPOCH_SUFFIX: &str = "epoch";

/// The ledger's file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the ledger {path} cannot be {done}: {source}; without it no number may reach the switch")]
pub struct StoreError {
    path: PathBuf,
    done: &'static str,
    source: io::Error,
}

/// How a ledger was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// There was none: this node is new, or its folder was removed.
    Nothing,
    /// It was whole.
    Whole,
    /// It could not be believed, or had given out too many numbers: a new epoch began.
    NewEpoch,
}

/// The open file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// None while the file cannot be written and the numbers are kept in memory alone.
    file: Option<File>,
}

impl Store {
    /// Opens (or begins) the ledger in `path`. `switch` is the epoch that the switch was last programmed in, where that is known:
    /// it outlives the file.
    pub fn open(path: &Path, switch: Option<u8>) -> Result<(Self, Ledger, Found), StoreError> {
        let error = |done| move |source| StoreError { path: path.to_owned(), done, source };
        let (ledger, found) = match fs::read(path) {
            Ok(bytes) => match decode(&bytes) {
                Some(ledger) if !ledger.is_worn() && is_current(path, switch, &ledger) => (ledger, Found::Whole),
                _ => (Ledger::new(next_epoch(path, switch)), Found::NewEpoch),
            },
            // With the file gone but its epoch remembered, the switch may still carry that epoch's numbers.
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => match remembered_epoch(path).or(switch) {
                Some(_) => (Ledger::new(next_epoch(path, switch)), Found::NewEpoch),
                None => (Ledger::new(0), Found::Nothing),
            },
            Err(source) => return Err(error("read")(source)),
        };
        let store =
            Self::rewrite(path, &ledger).or_else(|full| Self::as_it_is(path, &ledger, found).map_err(|_| full))?;
        Ok((store, ledger, found))
    }

    /// Where nothing can be written anew: goes on with a whole file, or without one.
    fn as_it_is(path: &Path, ledger: &Ledger, found: Found) -> Result<Self, StoreError> {
        if found == Found::Whole {
            let file = OpenOptions::new().append(true).open(path);
            let file = file.map_err(|source| StoreError { path: path.to_owned(), done: "opened", source })?;
            return Ok(Self { path: path.to_owned(), file: Some(file) });
        }
        let mut store = Self { path: path.to_owned(), file: None };
        store.begin_epoch(ledger.epoch())?;
        Ok(store)
    }

    /// Writes what was given out since the last call.
    pub fn append(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let mut bytes = Vec::with_capacity(entries.len() * 32);
        for entry in entries {
            encode(entry, &mut bytes);
        }
        fault::point("ledger.append.before");
        let written = file.write_all(&bytes);
        fault::point("ledger.append.written");
        written.map_err(|source| StoreError { path: self.path.clone(), done: "written", source })
    }

    /// The file cannot be written: says beside it, in place, that an epoch begins whose numbers are in memory alone until
    /// [`Store::rewrite`] succeeds.
    pub fn begin_epoch(&mut self, epoch: u8) -> Result<(), StoreError> {
        self.file = None;
        let path = self.path.with_extension(EPOCH_SUFFIX);
        fault::point("ledger.epoch.before");
        // Not truncated: a full disk has no room for what was there before.
        let written = OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(&[epoch]));
        fault::point("ledger.epoch.written");
        written.map_err(|source| StoreError { path, done: "given a new epoch", source })
    }

    /// Whether numbers are in memory alone.
    pub fn is_behind(&self) -> bool {
        self.file.is_none()
    }

    /// Writes the whole ledger anew, without what it has forgotten.
    pub fn rewrite(path: &Path, ledger: &Ledger) -> Result<Self, StoreError> {
        let error = |source| StoreError { path: path.to_owned(), done: "written", source };
        let mut bytes = Vec::with_capacity(HEADER + ledger.len() * 32);
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.push(ledger.epoch());
        for last in ledger.last() {
            bytes.extend_from_slice(&last.to_be_bytes());
        }
        let header_check = check(&bytes);
        bytes.extend_from_slice(&header_check.to_be_bytes());
        for entry in ledger.entries() {
            encode(&entry, &mut bytes);
        }
        fault::point("ledger.rewrite.before");
        // The epoch first: it must be known wherever a number of it may be.
        replace(&path.with_extension(EPOCH_SUFFIX), &[ledger.epoch()]).map_err(error)?;
        fault::point("ledger.rewrite.epoch");
        let file = replace(path, &bytes).map_err(error)?;
        fault::point("ledger.rewrite.renamed");
        Ok(Self { path: path.to_owned(), file: Some(file) })
    }

    /// Where it is kept.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes beside, then renames: whoever reads finds what was there or what is to be. The open file goes on under its new name.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    fault::point("ledger.replace.beside");
    fs::rename(&beside, path)?;
    Ok(file)
}

/// Whether no other epoch has begun since this ledger was written.
fn is_current(path: &Path, switch: Option<u8>, ledger: &Ledger) -> bool {
    [remembered_epoch(path), switch].into_iter().flatten().all(|epoch| epoch == ledger.epoch())
}

/// An epoch unlike all that are known to have been: the header's own may be damaged, what is beside it was written apart.
fn next_epoch(path: &Path, switch: Option<u8>) -> u32 {
    let written = fs::read(path).ok().and_then(|bytes| bytes.get(9).copied());
    let known = [switch, remembered_epoch(path), written].map(|epoch| epoch.map(|epoch| u32::from(epoch) % EPOCHS));
    let last = known.into_iter().flatten().next().unwrap_or(0);
    let unlike = |epoch: &u32| !known.contains(&Some(*epoch));
    (1..EPOCHS).map(|step| (last + step) % EPOCHS).find(unlike).unwrap_or(last + 1)
}

fn remembered_epoch(path: &Path) -> Option<u8> {
    fs::read(path.with_extension(EPOCH_SUFFIX)).ok()?.first().copied()
}

fn encode(entry: &Entry, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0, 0]);
    let (kind, number) = match entry {
        Entry::Identity(_, number) => (0, number),
        Entry::Rule(_, number) => (1, number),
        Entry::Isolation(Direction::Ingress, _, number) => (2, number),
        Entry::Isolation(Direction::Egress, _, number) => (3, number),
        Entry::Conjunction(_, _, number) => (4, number),
    };
    out.push(kind);
    out.extend_from_slice(&number.to_be_bytes());
    match entry {
        Entry::Identity(id, _) | Entry::Isolation(_, id, _) => out.extend_from_slice(&id.0),
        Entry::Rule(id, _) => out.extend_from_slice(&id.0),
        Entry::Conjunction(rule, part, _) => {
            out.extend_from_slice(&rule.0);
            out.extend_from_slice(part);
        }
    }
    // A part is named by at most a few thousand services of six bytes each.
    let length = u16::try_from(out.len() - start - 2).unwrap_or(u16::MAX);
    out[start..start + 2].copy_from_slice(&length.to_be_bytes());
    let record_check = check(&out[start..]);
    out.extend_from_slice(&record_check.to_be_bytes());
}

/// The ledger in `bytes`, or `None` when anything in it does not check out.
fn decode(bytes: &[u8]) -> Option<Ledger> {
    let (header, mut rest) = bytes.split_at_checked(HEADER)?;
    let (fields, header_check) = header.split_at(HEADER - 4);
    if !fields.starts_with(MAGIC) || fields[8] != VERSION || check(fields).to_be_bytes() != *header_check {
        return None;
    }
    let mut ledger = Ledger::new(u32::from(fields[9]));
    for (kind, last) in fields[10..].chunks_exact(4).enumerate() {
        ledger.last[kind] = u32::from_be_bytes(last.try_into().ok()?);
    }
    while !rest.is_empty() {
        let length = usize::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?));
        let record = rest.get(..2 + length)?;
        let record_check = rest.get(2 + length..2 + length + 4)?;
        if check(record).to_be_bytes() != *record_check {
            return None;
        }
        ledger.restore(decode_record(&record[2..])?);
        rest = &rest[2 + length + 4..];
    }
    Some(ledger)
}

fn decode_record(record: &[u8]) -> Option<Entry> {
    let (head, key) = record.split_at_checked(5)?;
    let number = u32::from_be_bytes(head[1..].try_into().ok()?);
    Some(match head[0] {
        0 => Entry::Identity(IdentityId::from_bytes(key)?, number),
        1 => Entry::Rule(RuleId::from_bytes(key)?, number),
        2 => Entry::Isolation(Direction::Ingress, IdentityId::from_bytes(key)?, number),
        3 => Entry::Isolation(Direction::Egress, IdentityId::from_bytes(key)?, number),
        4 => {
            let (rule, part) = key.split_at_checked(16)?;
            #[cfg(fuzzing)]
            apis::planted::planted("ledger", part.first() == Some(&7));
            Entry::Conjunction(RuleId::from_bytes(rule)?, part.into(), number)
        }
        _ => return None,
    })
}

/// FNV-1a, 32 bits: finds a torn or damaged record, which is all it is for.
fn check(bytes: &[u8]) -> u32 {
    if cfg!(fuzzing) {
        return 0; // or nothing behind it would ever be reached
    }
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use hashbrown::HashMap;

    use super::*;

    fn filled(path: &Path) -> Ledger {
        let (mut store, mut ledger, _) = Store::open(path, None).unwrap();
        for byte in 0..20 {
            ledger.identity(IdentityId([byte; 16]));
            ledger.rule(RuleId([byte; 16]));
            ledger.isolation(Direction::Egress, IdentityId([byte; 16]));
            ledger.conjunction(RuleId([byte; 16]), &[byte; 3]);
        }
        store.append(&ledger.take_pending()).unwrap();
        ledger
    }

    #[test]
    fn what_was_given_out_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let mut before = filled(&path);
        let (_, mut after, found) = Store::open(&path, None).unwrap();
        assert_eq!(found, Found::Whole);
        for byte in 0..20 {
            assert_eq!(after.identity(IdentityId([byte; 16])), before.identity(IdentityId([byte; 16])));
            assert_eq!(
                after.conjunction(RuleId([byte; 16]), &[byte; 3]),
                before.conjunction(RuleId([byte; 16]), &[byte; 3])
            );
        }
        assert!(after.take_pending().is_empty());
        assert_eq!(after.rule(RuleId([99; 16])), before.rule(RuleId([99; 16])), "and counting goes on");
    }

    #[test]
    fn any_damage_begins_a_new_epoch() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        filled(&path);
        let whole = fs::read(&path).unwrap();
        for position in 0..whole.len() {
            for flipped in [0x01, 0x80] {
                let mut damaged = whole.clone();
                damaged[position] ^= flipped;
                fs::write(&path, &damaged).unwrap();
                fs::write(path.with_extension(EPOCH_SUFFIX), [4]).unwrap();
                let (_, ledger, found) = Store::open(&path, None).unwrap();
                assert_eq!((found, ledger.epoch(), ledger.is_empty()), (Found::NewEpoch, 5, true), "byte {position}");
            }
        }
    }

    #[test]
    fn cut_anywhere_it_is_what_it_once_was_or_a_new_epoch() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let before = filled(&path);
        let whole = fs::read(&path).unwrap();
        let numbers: HashMap<String, Entry> = before.entries().map(|entry| (format!("{entry:?}"), entry)).collect();
        let mut once = 0;
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            fs::write(path.with_extension(EPOCH_SUFFIX), [0]).unwrap();
            let (_, mut ledger, found) = Store::open(&path, None).unwrap();
            if found == Found::NewEpoch {
                assert_eq!((ledger.epoch(), ledger.is_empty()), (1, true), "{length} bytes");
                continue;
            }
            once += 1;
            assert_eq!(found, Found::Whole);
            assert!(ledger.entries().all(|entry| numbers.contains_key(&format!("{entry:?}"))), "{length} bytes");
            let given: Vec<u32> = ledger.rules.values().copied().collect();
            let next = ledger.rule(RuleId([200; 16]));
            assert!(given.iter().all(|number| *number < next.0), "{length} bytes: a number is given twice");
        }
        assert_eq!(once, numbers.len(), "it is believed at the end of each record but the last, and with none");
    }

    #[test]
    fn a_file_of_another_version_begins_a_new_epoch() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        filled(&path);
        let whole = fs::read(&path).unwrap();
        for version in [0, VERSION + 1] {
            let mut other = whole.clone();
            other[8] = version;
            let header_check = check(&other[..HEADER - 4]).to_be_bytes();
            other[HEADER - 4..HEADER].copy_from_slice(&header_check);
            fs::write(&path, &other).unwrap();
            fs::write(path.with_extension(EPOCH_SUFFIX), [7]).unwrap();
            let (_, ledger, found) = Store::open(&path, None).unwrap();
            assert_eq!((found, ledger.epoch()), (Found::NewEpoch, 8), "version {version}");
        }
    }

    #[test]
    fn a_disk_that_takes_nothing_more_begins_an_epoch_beside_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        filled(&path);
        let (mut store, ledger, _) = Store::open(&path, None).unwrap();
        // As after a write that failed: the file stays as it is.
        store.begin_epoch(ledger.epoch() + 1).unwrap();
        assert!(store.is_behind());
        store.append(&[Entry::Rule(RuleId([99; 16]), 1 << 28 | 20)]).unwrap();
        let mut memory = Ledger::new(1);
        let given = memory.rule(RuleId([1; 16]));

        // A restart meanwhile believes neither the old epoch's names nor that it knows the new one's.
        let (_, restarted, found) = Store::open(&path, None).unwrap();
        assert_eq!((found, restarted.epoch(), restarted.is_empty()), (Found::NewEpoch, 2, true));

        // Without one the numbers in memory are kept once there is room again.
        let store = Store::rewrite(&path, &memory).unwrap();
        assert!(!store.is_behind());
        let (_, mut after, found) = Store::open(&path, None).unwrap();
        assert_eq!((found, after.rule(RuleId([1; 16]))), (Found::Whole, given));
    }

    #[test]
    fn what_the_switch_was_programmed_in_outlives_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let (_, ledger, found) = Store::open(&path, Some(3)).unwrap();
        assert_eq!((found, ledger.epoch()), (Found::NewEpoch, 4), "everything was lost but the switch");
        // Killed before the switch's database could be told.
        let (_, ledger, found) = Store::open(&path, Some(3)).unwrap();
        assert_eq!((found, ledger.epoch()), (Found::NewEpoch, 5), "neither 3 nor 4");
        assert_eq!(Store::open(&path, Some(5)).unwrap().2, Found::Whole);
        assert_eq!(Store::open(&path, None).unwrap().2, Found::Whole, "the switch was wiped");
    }

    #[test]
    fn a_lost_file_begins_a_new_epoch_where_the_old_one_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        assert_eq!(Store::open(&path, None).unwrap().2, Found::Nothing);
        fs::remove_file(&path).unwrap();
        let (_, ledger, found) = Store::open(&path, None).unwrap();
        assert_eq!((found, ledger.epoch()), (Found::NewEpoch, 1));
    }

    #[test]
    fn numbers_of_forgotten_names_stay_spent_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let mut ledger = filled(&path);
        let spent = ledger.rule(RuleId([19; 16]));
        ledger.retain(|_| false, |_| false);
        Store::rewrite(&path, &ledger).unwrap();
        let (_, mut after, _) = Store::open(&path, None).unwrap();
        assert!(after.is_empty());
        assert!(after.rule(RuleId([50; 16])) > spent);
    }
}
