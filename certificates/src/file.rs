//! Files that hold keys: read when they are nobody else's to read, written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::CertificateError;

/// Nothing here is longer, in bytes.
const LONGEST: u64 = 1 << 20;

/// Reads a file of text.
pub(crate) fn read(path: &Path, what_to_do: &str) -> Result<String, CertificateError> {
    let wrong = |error: io::Error| CertificateError::file(path, error, what_to_do);
    let mut text = String::new();
    File::open(path).map_err(wrong)?.take(LONGEST).read_to_string(&mut text).map_err(wrong)?;
    Ok(text)
}

/// The same, when nobody is given one of these rights (as in chmod(1)).
pub(crate) fn read_private(path: &Path, refused: u32, what_to_do: &str) -> Result<String, CertificateError> {
    let text = read(path, what_to_do)?;
    let mode =
        fs::metadata(path).map_err(|error| CertificateError::file(path, error, what_to_do))?.permissions().mode();
    if mode & refused == 0 {
        return Ok(text);
    }
    let what = format!("it holds a key, and others may use it (mode {:04o})", mode & 0o7777);
    Err(CertificateError::file(path, what, format!("chmod 600 {}", path.display())))
}

/// Makes a folder that is its owner's only, unless it is there.
pub(crate) fn make_folder(folder: &Path) -> Result<(), CertificateError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| CertificateError::file(folder, error, "name a folder that this user can create"))
}

/// Writes a file, for its owner only, in the place of what was there.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), CertificateError> {
    let wrong = |error: io::Error| CertificateError::file(path, error, "name a folder that this user can write");
    let new = written_beside(path, text).map_err(wrong)?;
    let renamed = fs::rename(&new, path).and_then(|()| synchronise_folder(path));
    renamed.inspect_err(|_| drop(fs::remove_file(&new))).map_err(wrong)
}

/// Writes a file, for its owner only, unless there is one; whether it was written. Of many who do so at once one does.
pub(crate) fn create(path: &Path, text: &str) -> Result<bool, CertificateError> {
    let wrong = |error: io::Error| CertificateError::file(path, error, "name a folder that this user can write");
    let new = written_beside(path, text).map_err(wrong)?;
    let linked = fs::hard_link(&new, path);
    let _ = fs::remove_file(&new);
    match linked {
        Ok(()) => synchronise_folder(path).map(|()| true).map_err(wrong),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(wrong(error)),
    }
}

/// A file with this text, on disk, under a name that no other thread uses.
fn written_beside(path: &Path, text: &str) -> io::Result<PathBuf> {
    let thread = std::thread::current().id();
    let new = path.with_extension(format!("{}-{thread:?}.new", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    // Left behind by an earlier process of the same number.
    let _ = fs::remove_file(&new);
    write().inspect_err(|_| drop(fs::remove_file(&new)))?;
    Ok(new)
}

/// A new name is there also after a power failure.
fn synchronise_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
