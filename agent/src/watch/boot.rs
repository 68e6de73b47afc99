//! What tells this life of the agent from its others, and that it is the latest.

#![allow(clippy::disallowed_methods, reason = "a wrapper: the number of this start")]

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;

/// Draws a boot: its number is the time, or one more than the last where the clock is behind that, which is kept in a file.
///
/// On a disk that is full the last number is overwritten where it is; where even that is not possible the clock alone counts.
///
/// # Errors
/// When there is no randomness.
pub fn draw(path: &Path) -> anyhow::Result<[u8; apis::boot::LENGTH]> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    let number = now.max(last(path).map_or(0, |last| last.saturating_add(1)));
    if let Err(error) = keep(path, number).or_else(|_| overwrite(path, number)) {
        tracing::error!(path = %path.display(), %error, "the number of this start cannot be kept; the next is later by the clock alone");
    }
    let mut random = [0; 8];
    fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).context("/dev/urandom")?;
    Ok(apis::boot::of(number, random))
}

/// The number of the last start. A file that says nothing is as good as none: the clock counts.
fn last(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn keep(path: &Path, number: u64) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text(number))?;
    fault::point("boot.keep.beside");
    fs::rename(new, path)?;
    fault::point("boot.keep.renamed");
    Ok(())
}

/// Every number has the same length, so that one takes another's place.
fn text(number: u64) -> String {
    format!("{number:020}\n")
}

fn overwrite(path: &Path, number: u64) -> io::Result<()> {
    let overwritten = OpenOptions::new().write(true).open(path)?.write_all(text(number).as_bytes());
    fault::point("boot.overwrite.done");
    overwritten
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_is_later_than_the_last_whatever_the_clock_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("boot");
        let first = draw(&path).unwrap();
        let second = draw(&path).unwrap();
        assert!(apis::boot::is_earlier(&first, &second));
        keep(&path, u64::MAX - 7).unwrap();
        let number = |boot: &[u8]| apis::boot::number(boot).unwrap();
        assert_eq!(number(&draw(&path).unwrap()), u64::MAX - 6);
        overwrite(&path, u64::MAX - 5).unwrap();
        assert_eq!(number(&draw(&path).unwrap()), u64::MAX - 4);
        fs::write(&path, "no number").unwrap();
        assert!(number(&draw(&path).unwrap()) < u64::MAX / 2, "the clock counts");
        // Nowhere to keep it: the clock counts.
        let nowhere = dir.path().join("none").join("boot");
        assert!(number(&draw(&nowhere).unwrap()) < u64::MAX / 2);
    }
}
