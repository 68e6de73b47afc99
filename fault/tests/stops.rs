//! A process stops where it was asked to, and says so; asked of nothing it goes on.

#![cfg(debug_assertions)]

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

/// The test that runs as the process to stop; it ends at once when it is not that process.
const SELF: &str = "passes_points";

#[test]
fn passes_points() {
    if std::env::var_os("FERRANT_FAULT_CHILD").is_none() {
        return;
    }
    for _ in 0..3 {
        fault::point(fault::POINTS[0]);
        fault::point(fault::POINTS[1]);
    }
}

fn start(asked: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().expect("a test is a file"))
        .args([SELF, "--exact", "--quiet"])
        .envs([("FERRANT_FAULT_CHILD", "1"), ("FERRANT_FAULT", asked)])
        .env("FERRANT_FAULT_HIT", dir.join("hit"))
        .env("FERRANT_FAULT_TRACE", dir.join("trace"))
        .spawn()
        .expect("a test can run itself")
}

fn read(path: PathBuf) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn run(asked: &str, dir: &Path) -> (ExitStatus, String, String) {
    let status = start(asked, dir).wait().expect("a child can be waited for");
    (status, read(dir.join("hit")), read(dir.join("trace")))
}

#[test]
fn a_process_stops_at_the_passing_it_was_asked_for() {
    let (first, second) = (fault::POINTS[0], fault::POINTS[1]);
    let dir = tempfile::tempdir().unwrap();
    let (status, hit, trace) = run(&format!("{second}:2"), dir.path());
    assert_eq!(status.signal(), Some(9));
    assert_eq!(hit, format!("{second}\n"));
    assert_eq!(trace, format!("{first}\n{second}\n{first}\n{second}\n"));
}

#[test]
fn a_file_says_it_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("asked");
    std::fs::write(&file, fault::POINTS[0]).unwrap();
    let (status, hit, _) = run(&format!("@{}", file.display()), dir.path());
    assert_eq!((status.signal(), hit), (Some(9), format!("{}\n", fault::POINTS[0])));
}

#[test]
fn a_process_that_is_asked_for_nothing_goes_on() {
    for asked in ["", "@/nowhere", "no.such.point", &format!("{}:4", fault::POINTS[0])] {
        let dir = tempfile::tempdir().unwrap();
        let (status, hit, _) = run(asked, dir.path());
        assert!(status.success() && hit.is_empty(), "{asked:?}");
    }
}

#[test]
fn who_empties_the_locked_file_is_not_stopped_after() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("asked");
    std::fs::write(&path, fault::POINTS[0]).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.lock().unwrap();
    let mut child = start(&format!("@{}", path.display()), dir.path());
    // It is at its point, and waits there for the file.
    while read(dir.path().join("trace")).is_empty() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before it was at any point");
        std::thread::yield_now();
    }
    file.set_len(0).unwrap();
    drop(file);
    assert!(child.wait().unwrap().success());
    assert_eq!(read(dir.path().join("hit")), "");
}
