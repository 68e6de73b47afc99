//! A DEL that finds no agent: what the agent has to do is left to it in a file, on disk before the runtime is told of success.
//!
//! The file is in the folder `detached` beside the agent's socket, where the agent, which listens before it looks, finds it at its
//! start. Its name is made of what it is about, so that a DEL that is repeated writes the same file again.

#![allow(clippy::disallowed_methods, reason = "a wrapper: notes for an agent that is not there")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use apis::cni::{CniError, DETACHED_FOLDER, DelRequest, ErrorCode, detached_file};

/// A file that was written.
pub(crate) struct Note {
    path: PathBuf,
}

impl Note {
    /// Writes what the agent that will listen at the socket has to detach.
    pub(crate) fn write(socket: &Path, detached: &DelRequest) -> Result<Note, CniError> {
        let folder = socket.parent().unwrap_or(Path::new("/")).join(DETACHED_FOLDER);
        let failed = |error: io::Error| {
            CniError::new(
                ErrorCode::TRY_AGAIN_LATER,
                format!("Ferrant's agent cannot be reached at {}, nor can a note be left for it", socket.display()),
                format!("{}: {error}", folder.display()),
            )
        };
        let name = detached_file(&detached.container_id, &detached.interface)
            .ok_or_else(|| failed(io::Error::new(io::ErrorKind::InvalidFilename, "CNI_CONTAINERID is too long")))?;
        let path = folder.join(&name);
        place(&folder, &name, detached).map_err(failed)?;
        Ok(Note { path })
    }

    /// The agent knows of it after all.
    pub(crate) fn remove(self) {
        // A note that stays says what has been done already; doing it again is nothing.
        let _ = fs::remove_file(self.path);
        fault::point("plugin.note.removed");
    }
}

/// Whole or not at all, and on disk.
fn place(folder: &Path, name: &str, detached: &DelRequest) -> io::Result<()> {
    // The run directory itself is the agent's to make: where there is none, no agent has been, and it may be a wrong path.
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // The agent reads no name that begins with a dot; two plugins do not write the same one.
    let unfinished = folder.join(format!(".{}", std::process::id()));
    let mut file = File::create(&unfinished)?;
    file.write_all(serde_json::to_string(detached)?.as_bytes())?;
    file.sync_all()?;
    fault::point("plugin.note.beside");
    fs::rename(&unfinished, folder.join(name))?;
    fault::point("plugin.note.renamed");
    File::open(folder)?.sync_all()
}
