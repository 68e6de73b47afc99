//! The repository's own rules as tests: crate edges, licences, file sizes, forbidden words, links.
//!
//! Only reads files that git tracks and `cargo metadata`; changes nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tidy lies in the root").to_path_buf()
}

/// What a command prints, from the repository's root.
///
/// # Panics
/// When the command fails: tidy cannot judge without it.
pub fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root()).output();
    let output = output.unwrap_or_else(|error| panic!("{program} does not start: {error}; is it installed?"));
    assert!(output.status.success(), "{program} {arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A text file that git tracks.
pub struct Tracked {
    /// From the root.
    pub path: String,
    /// The whole of it.
    pub text: String,
}

/// Every tracked text file that is still in the work tree, and new ones that git does not ignore.
pub fn tracked() -> Vec<Tracked> {
    output("git", &["ls-files", "--cached", "--others", "--exclude-standard"])
        .lines()
        .filter_map(|path| {
            Some(Tracked { path: path.to_string(), text: std::fs::read_to_string(root().join(path)).ok()? })
        })
        .collect()
}
