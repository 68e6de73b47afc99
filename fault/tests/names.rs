//! The list of points and the source say the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fault::POINTS;

/// Whose source passes points.
const CRATES: &[&str] = &["agent", "cni"];

/// Every Rust file below a folder.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a crate has a source folder") {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The points that a text passes.
fn passed(text: &str) -> impl Iterator<Item = &str> {
    text.split("fault::point(").skip(1).map(|rest| {
        let literal = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
        literal.unwrap_or_else(|| panic!("fault::point takes the name itself: {:?}", rest.lines().next()))
    })
}

#[test]
fn every_point_is_listed_and_passed_in_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the root");
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in CRATES {
        let mut files = Vec::new();
        rust_files(&root.join(name).join("src"), &mut files);
        for file in files {
            let text = std::fs::read_to_string(&file).expect("a source file can be read");
            for point in passed(&text) {
                assert!(
                    point.starts_with(fault::PLUGIN) == (*name == "cni"),
                    "{point} in {}: the plugin's points begin with {:?}, the agent's do not",
                    file.display(),
                    fault::PLUGIN
                );
                places.entry(point.to_owned()).or_default().push(file.display().to_string());
            }
        }
    }
    for (point, files) in &places {
        assert!(POINTS.contains(&point.as_str()), "{point} (in {files:?}) is not in fault/src/points.rs");
        assert_eq!(files.len(), 1, "{point} is passed in more than one place: {files:?}");
    }
    for point in POINTS {
        assert!(places.contains_key(*point), "{point} is in fault/src/points.rs and nowhere in the source");
    }
}

#[test]
fn the_list_is_in_order_and_well_formed() {
    assert!(POINTS.is_sorted(), "fault/src/points.rs is in alphabetical order");
    for point in POINTS {
        let words: Vec<_> = point.split('.').collect();
        assert!(words.len() >= 3, "{point}: part.operation.moment");
        let plain = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        assert!(words.iter().all(plain), "{point}: lower-case words");
    }
}
