//! Notes of what is to be detached, on disk: left by a plugin that found no agent, or by an agent that could not finish (the switch
//! or its database was away) and told the runtime of success all the same. Read when an agent starts; a note goes when what it says
//! is done. What a note says is done again without harm, so one that is read twice is no matter.

#![allow(clippy::disallowed_methods, reason = "a wrapper: notes of what is to be detached")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use apis::cni::{DETACHED_FOLDER, DelRequest, detached_file};

/// Longest note that is read, in bytes; a real one has a hundred.
const LIMIT: u64 = 16 * 1024;

/// The folder of notes.
#[derive(Debug, Clone)]
pub struct Notes {
    folder: PathBuf,
}

impl Notes {
    /// Those beside the sockets in the run directory.
    pub fn in_run_directory(run_directory: &Path) -> Notes {
        Notes { folder: run_directory.join(DETACHED_FOLDER) }
    }

    /// All that are there, by name. One that cannot be read, or says something else than its name, is told of and left.
    pub fn read(&self) -> Vec<DelRequest> {
        let mut found = Vec::new();
        let Ok(entries) = fs::read_dir(&self.folder) else { return found };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue; // not finished: whoever wrote it was stopped, and has told nobody of success
            }
            match read(&entry.path()) {
                Ok(note) if detached_file(&note.container_id, &note.interface).is_some_and(|right| name == *right) => {
                    found.push(note);
                }
                Ok(_) => {
                    tracing::error!(path = %entry.path().display(), "a note of a detached interface has another's name; remove it")
                }
                Err(error) => {
                    tracing::error!(path = %entry.path().display(), %error, "a note of a detached interface cannot be read; remove it");
                }
            }
        }
        found.sort_by(|one, two| (&one.container_id, &one.interface).cmp(&(&two.container_id, &two.interface)));
        found
    }

    /// Writes one, whole or not at all, and on disk.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, note: &DelRequest) -> io::Result<()> {
        let name = detached_file(&note.container_id, &note.interface)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidFilename, "the container's id is too long"))?;
        fs::create_dir_all(&self.folder)?;
        let unfinished = self.folder.join(".agent");
        let mut file = File::create(&unfinished)?;
        file.write_all(serde_json::to_string(note)?.as_bytes())?;
        file.sync_all()?;
        fault::point("note.write.beside");
        fs::rename(&unfinished, self.folder.join(name))?;
        fault::point("note.write.renamed");
        File::open(&self.folder)?.sync_all()
    }

    /// What it says is done.
    pub fn remove(&self, note: &DelRequest) {
        let Some(name) = detached_file(&note.container_id, &note.interface) else { return };
        let removed = fs::remove_file(self.folder.join(name));
        fault::point("note.remove.done");
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, container = note.container_id, "the note of a detached interface stays");
            }
            _ => {}
        }
    }
}

fn read(path: &Path) -> io::Result<DelRequest> {
    if fs::metadata(path)?.len() > LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"));
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(container_id: &str) -> DelRequest {
        DelRequest { container_id: container_id.into(), interface: "eth0".into() }
    }

    #[test]
    fn notes_come_and_go_and_others_files_do_no_harm() {
        let folder = tempfile::tempdir().expect("a folder");
        let notes = Notes::in_run_directory(folder.path());
        assert_eq!(notes.read(), []);
        notes.remove(&note("c1"));
        for container in ["c2", "c1", "c2"] {
            notes.write(&note(container)).expect("the folder can be written");
        }
        let path = |name: &str| folder.path().join(DETACHED_FOLDER).join(name);
        for (name, text) in [
            ("c3=eth0", "{"),
            ("c4=eth0", r#"{"container_id":"c1","interface":"eth0"}"#),
            (".half", "{\"con"),
            ("c5", ""),
        ] {
            fs::write(path(name), text).expect("the folder can be written");
        }
        assert_eq!(notes.read(), [note("c1"), note("c2")]);
        notes.remove(&note("c1"));
        assert_eq!(notes.read(), [note("c2")]);
        let long = note(&"c".repeat(300));
        assert!(notes.write(&long).is_err());
        notes.remove(&long);
    }
}
