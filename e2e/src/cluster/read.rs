//! Files to objects, each with the file it came from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use apis::kubernetes::Object;
use apis::yaml;

/// A directory's files with the objects in them.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    /// In the order of their names.
    pub files: Vec<File>,
    /// How many objects were skipped, by kind.
    pub skipped_kinds: BTreeMap<String, usize>,
    /// What could not be read, or not be accepted.
    pub invalid: Vec<String>,
    /// What was accepted and is most likely not what was meant.
    pub warnings: Vec<String>,
}

/// A file of a directory.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path within the directory.
    pub name: String,
    /// As it was written.
    pub text: String,
    /// Its objects of known kinds.
    pub objects: Vec<Object>,
    /// Whether `objects` is all that is in `text`.
    pub whole: bool,
}

/// Reads every `.yaml`, `.yml` and `.json` file below a directory; a single file is read too.
pub fn read(directory: &Path) -> Result<Manifests> {
    let mut paths = Vec::new();
    collect(directory, &mut paths)?;
    paths.sort();
    let mut texts = Vec::new();
    let mut unreadable = Vec::new();
    for path in paths {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let within = path.strip_prefix(directory).ok().filter(|name| name.file_name().is_some());
        let name = within.or(path.file_name().map(Path::new)).unwrap_or(&path).display().to_string();
        match yaml::text(&bytes) {
            Ok(text) => texts.push((name, text.to_owned())),
            Err(error) => unreadable.push(format!("{name}: {error}")),
        }
    }
    ensure!(
        !texts.is_empty() || !unreadable.is_empty(),
        "there is no .yaml, .yml or .json file in {}",
        directory.display()
    );
    let mut manifests = read_texts(texts);
    manifests.invalid.extend(unreadable);
    Ok(manifests)
}

/// Reads files whose text is at hand: name and text of each.
pub fn read_texts(texts: Vec<(String, String)>) -> Manifests {
    let mut manifests = Manifests::default();
    for (name, text) in texts {
        let mut objects = Vec::new();
        let mut whole = true;
        for document in yaml::documents(&text) {
            if let Ok(document) = &document {
                manifests.warnings.extend(document.warnings().map(|warning| format!("{name}: {warning}")));
            }
            match document.and_then(|document| match document.validate() {
                Ok(()) => Ok(document.object),
                Err(mut errors) => Err(errors.remove(0)),
            }) {
                Ok(Object::Unknown { kind, .. }) => {
                    *manifests.skipped_kinds.entry(kind).or_default() += 1;
                    whole = false;
                }
                Ok(object) => objects.push(object),
                Err(error) => {
                    manifests.invalid.push(format!("{name}: {error}"));
                    whole = false;
                }
            }
        }
        manifests.files.push(File { name, text, objects, whole });
    }
    manifests
}

fn collect(path: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if !metadata.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let manifest =
            path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known));
        if !hidden && (path.is_dir() || manifest) {
            collect(&path, found)?;
        }
    }
    Ok(())
}
