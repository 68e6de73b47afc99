//! Files: their size, names, words, and what the documents point at.

use tidy::{Tracked, root, tracked};

/// Lines of a source file without its tests, beyond which the design asks for something.
const LINES: usize = 450;
/// Lines of a file of tests: a list of cases is read a case at a time.
const TEST_LINES: usize = 600;
/// Names that say nothing about what a file decides.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "manager", "misc", "shared"];
/// A longer file says why in a line that starts with this.
const WAIVER: &str = "// tidy: long file, ";

fn rust(files: &[Tracked]) -> impl Iterator<Item = &Tracked> {
    files.iter().filter(|file| file.path.ends_with(".rs"))
}

#[test]
fn files_are_short_enough_to_read() {
    for file in rust(&tracked()) {
        let code = file.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count();
        let waived = file.text.lines().any(|line| line.starts_with(WAIVER));
        let limit = if file.path.contains("/tests/") { TEST_LINES } else { LINES };
        assert!(
            code <= limit || waived,
            "{}: {code} lines; split it by what it decides, or say why not in a line {WAIVER:?}…",
            file.path
        );
    }
}

#[test]
fn files_are_named_for_what_they_decide() {
    for file in tracked() {
        let stem = file.path.rsplit('/').next().unwrap_or_default().split('.').next().unwrap_or_default().to_string();
        assert!(!EMPTY_NAMES.contains(&stem.as_str()), "{}: the name says nothing", file.path);
    }
}

#[test]
fn state_and_plan_do_no_input_or_output() {
    const BANNED: &[&str] = &[
        "std::time::SystemTime",
        "Instant::now",
        "tokio::",
        "std::fs::",
        "std::net::TcpStream",
        "UnixStream",
        "thread::",
        "rand::",
        "Mutex",
        "static mut",
    ];
    for file in rust(&tracked()) {
        let pure = [
            "agent/src/state",
            "agent/src/plan",
            "controller/src/state",
            "controller/src/plan",
            "ovs-pipeline/src",
            "openflow/src",
            "policy/src",
        ];
        if !pure.iter().any(|place| file.path.starts_with(place)) {
            continue;
        }
        let code = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in BANNED {
            assert!(!code.contains(word), "{} uses {word}: this part is a function of its inputs", file.path);
        }
    }
}

#[test]
fn only_order_orders() {
    // Whoever sends flow changes to the switch decides an order; only apply/order.rs may. turn/switch carries out the slices
    // that order.rs made, one after the other, and waits for the switch between them.
    for file in rust(&tracked()) {
        let may = file.path.starts_with("agent/src/apply/")
            || file.path.starts_with("agent/src/ovs/")
            || file.path == "agent/src/turn/switch/work.rs"
            || file.path.starts_with("agent/tests/");
        if file.path.starts_with("agent/") && !may {
            assert!(
                !file.text.contains(".bundle("),
                "{} sends a bundle; only agent/src/apply orders changes",
                file.path
            );
        }
    }
}

#[test]
fn nothing_names_a_machine() {
    // Written in halves, so that this file does not name what it looks for.
    let words = [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["deb.deb", "ian.org"],
        ["static.crates", ".io"],
        ["index.crates", ".io"],
        ["proxy.gol", "ang.org"],
    ];
    for file in tracked() {
        if file.path == "Cargo.lock" {
            continue;
        }
        for word in words.map(|halves| halves.concat()) {
            let named = file.text.match_indices(&word).any(|(at, _)| starts_a_path(&file.text[..at]));
            assert!(!named, "{} names {word}: no machine paths and no registry hosts", file.path);
        }
    }
}

/// Whether a path begins after this text; within one, `$store/root/usr`, a folder may have any name.
fn starts_a_path(before: &str) -> bool {
    !before.ends_with(|last: char| last.is_alphanumeric() || "_}.".contains(last))
}

#[test]
fn documents_point_at_what_exists() {
    let files = tracked();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for target in links(&file.text) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(root().join(folder).join(path).exists(), "{} links to {path}, which does not exist", file.path);
        }
    }
}

/// Targets of Markdown links.
fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|target| !target.contains(' ')).collect()
}

#[test]
fn the_map_names_real_places() {
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    for word in architecture.split('`').skip(1).step_by(2) {
        let looks_like_path =
            word.contains('/') && !word.contains([' ', '<', '{', '*', ':', '$', '…']) && !word.starts_with('/');
        if looks_like_path {
            assert!(root().join(word).exists(), "ARCHITECTURE.md names `{word}`, which does not exist");
        }
    }
}

#[test]
fn every_make_target_that_documents_name_exists() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).expect("Makefile is there");
    for file in tracked().iter().filter(|file| file.path.ends_with(".md") && !file.path.starts_with("CHANGELOG")) {
        for word in file.text.split('`').skip(1).step_by(2).filter_map(|word| word.strip_prefix("make ")) {
            let target = word.split_whitespace().find(|word| !word.contains('=')).unwrap_or_default();
            if !target.is_empty() {
                assert!(
                    makefile.contains(&format!("\n{target}:")),
                    "{} names `make {target}`, which the Makefile lacks",
                    file.path
                );
            }
        }
    }
}
