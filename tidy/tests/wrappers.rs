//! Input and output of the agent and of the plugin happen in a written list of wrappers, and every effect there that outlives the
//! process has a fault point beside it, so that `make crash` can stop the process at it.
//!
//! Three holds: `clippy.toml` of both crates disallows every function that opens a file, a socket, a process or netlink; only the
//! wrappers listed here may allow it; and in a wrapper a function with an effect passes a point. The first is clippy's work, which
//! sees through every alias; that it does is tried here with a violation.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use tidy::{Tracked, root, tracked};

/// Who may do input and output, and what.
const WRAPPERS: &[(&str, &str)] = &[
    ("agent/src/apply/labels.rs", "what pods' links carry, by netlink"),
    ("agent/src/apply/links.rs", "links and addresses, by netlink"),
    ("agent/src/apply/nat.rs", "nft, a process each time"),
    ("agent/src/apply/routes.rs", "routes, rules and neighbours, by netlink"),
    ("agent/src/apply/sysctl.rs", "settings below /proc/sys"),
    ("agent/src/apply/tunnel_routes/kernel.rs", "how the node itself reaches other nodes, by netlink"),
    ("agent/src/ledger/store.rs", "the ledger and its epoch"),
    ("agent/src/ovs/openflow/link.rs", "the OpenFlow connection"),
    ("agent/src/ovs/ovsdb/link.rs", "the connection to ovsdb-server"),
    ("agent/src/ovs/unixctl.rs", "calls to vswitchd's control socket"),
    ("agent/src/run.rs", "the run directory and the metrics' listener"),
    ("agent/src/serve/cni.rs", "the sockets that are served"),
    ("agent/src/watch/boot.rs", "the number of this start"),
    ("agent/src/watch/certificate.rs", "the node's certificate"),
    ("agent/src/watch/detached.rs", "notes of what is to be detached"),
    ("agent/src/watch/journal.rs", "what the controllers said last"),
    ("agent/src/watch/stream/connection.rs", "the connections to controllers"),
    ("cni/src/absent.rs", "notes for an agent that is not there"),
    ("cni/src/agent.rs", "the connection to the agent"),
    ("cni/src/interface.rs", "settings of the pod's interface"),
    ("cni/src/namespace.rs", "network namespaces"),
    ("cni/src/netlink.rs", "netlink"),
    ("cni/src/offload.rs", "an ioctl"),
];
/// Who speaks over the connections that wrappers hold: what is said has effects as well.
const SPEAKERS: &[&str] = &[
    "agent/src/ovs/openflow/bundle.rs",
    "agent/src/ovs/openflow/connection.rs",
    "agent/src/ovs/ovsdb/client.rs",
    "agent/src/ovs/realised.rs",
];
/// The crates that are held.
const CRATES: &[&str] = &["agent", "cni"];
/// What denies it to everyone else, in each crate's root.
const DENIED: &str = "deny(clippy::disallowed_methods)";
/// What allows it to a wrapper.
const ALLOWED: &str = "allow(clippy::disallowed_methods";
/// What outlives the process: in a function that does one of these a point is passed.
const EFFECTS: &[&str] = &[
    "fs::write(",
    "fs::rename(",
    "fs::remove_file(",
    "fs::remove_dir_all(",
    "fs::set_permissions(",
    "UnixListener::bind(",
    ".write_all(",
    ".add(",
    ".del(",
    ".set(",
    ".call(\"transact\"",
    "BundleStep::Commit)",
    "wait.start(",
    "answered(last)",
    "libc::ioctl(",
];
/// A function whose effect needs no point says why in a comment that begins so.
const WAIVER: &str = "// no fault point: ";

fn code(file: &Tracked) -> &str {
    file.text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default()
}

/// The functions of a file, each from its `fn` to the next one's.
fn functions(code: &str) -> Vec<&str> {
    let starts = |line: &str| {
        let words = line.trim_start();
        [
            "fn ",
            "pub fn ",
            "pub(crate) fn ",
            "pub(super) fn ",
            "async fn ",
            "pub async fn ",
            "pub(crate) async fn ",
            "pub(super) async fn ",
        ]
        .iter()
        .any(|start| words.starts_with(start))
    };
    let mut begins: Vec<usize> = Vec::new();
    let mut at = 0;
    for line in code.split_inclusive('\n') {
        if starts(line) {
            begins.push(at);
        }
        at += line.len();
    }
    let ends = begins.iter().skip(1).copied().chain([code.len()]);
    begins.iter().zip(ends).map(|(begin, end)| &code[*begin..end]).collect()
}

/// Effects of netlink requests are builders that end in `execute`.
fn has_effect(function: &str) -> bool {
    let netlink = |effect: &str| [".add(", ".del(", ".set("].contains(&effect);
    EFFECTS.iter().any(|effect| function.contains(effect) && (!netlink(effect) || function.contains(".execute()")))
}

/// The functions of a wrapper that change something and pass no point.
fn unguarded(code: &str) -> Vec<&str> {
    let guarded = |function: &&str| function.contains("fault::point(") || function.contains(WAIVER);
    functions(code).into_iter().filter(|function| has_effect(function)).filter(|function| !guarded(function)).collect()
}

#[test]
fn only_wrappers_do_input_and_output() {
    let files = tracked();
    for name in CRATES {
        for entry in ["lib.rs", "main.rs"] {
            let path = format!("{name}/src/{entry}");
            let file = files.iter().find(|file| file.path == path).expect("both crates have a library and a binary");
            assert!(file.text.contains(DENIED), "{path} does not say #![{DENIED}]");
        }
    }
    let listed: BTreeSet<&str> = WRAPPERS.iter().map(|(path, _)| *path).collect();
    let allowing: BTreeSet<&str> = files
        .iter()
        .filter(|file| CRATES.iter().any(|name| file.path.starts_with(&format!("{name}/src/"))))
        // What feeds the fuzzers is in no process that serves.
        .filter(|file| file.text.contains(ALLOWED) && !file.path.ends_with("fuzzing.rs"))
        .map(|file| file.path.as_str())
        .collect();
    let unlisted: Vec<_> = allowing.difference(&listed).collect();
    assert!(unlisted.is_empty(), "{unlisted:?} do input and output and are not in tidy/tests/wrappers.rs");
    let idle: Vec<_> = listed.difference(&allowing).collect();
    assert!(idle.is_empty(), "{idle:?} are in tidy/tests/wrappers.rs and do neither input nor output");
}

#[test]
fn every_effect_in_a_wrapper_has_a_fault_point() {
    let files = tracked();
    for path in WRAPPERS.iter().map(|(path, _)| path).chain(SPEAKERS) {
        let file = files.iter().find(|file| file.path == *path).unwrap_or_else(|| panic!("{path} is not there"));
        let unguarded = unguarded(code(file));
        let first = unguarded.first().map(|function| function.lines().next().unwrap_or_default());
        assert!(
            unguarded.is_empty(),
            "{path}: `{}` has an effect and passes no fault point; see the crate `fault`",
            first.unwrap_or_default()
        );
    }
}

#[test]
fn an_effect_without_a_point_is_seen() {
    let guarded = "fn keep() {\n    fs::write(path, bytes);\n    fault::point(\"a.b.c\");\n}\n";
    let plain = "fn keep() {\n    fs::write(path, bytes);\n}\n";
    let netlink = "async fn raise() {\n    handle.link().set(message).execute().await;\n}\n";
    let set = "fn note() {\n    self.map.add(1);\n}\n";
    let waived =
        "fn keep() {\n    // no fault point: the kernel forgets it with the process\n    fs::write(path, bytes);\n}\n";
    let of = |text: &'static str| unguarded(text).len();
    assert_eq!([of(guarded), of(plain), of(netlink), of(set), of(waived)], [0, 1, 1, 0, 0]);
    assert_eq!(unguarded(&[guarded, plain, guarded].concat()), [plain]);
}

/// Whether clippy, as it is configured for a crate of ours, takes a library with this code.
fn clippy_takes(configuration: &str, code: &str) -> bool {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |path: &Path, text: &str| std::fs::write(path, text).expect("a temporary file can be written");
    let manifest = "[package]\nname = \"planted\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n";
    write(&folder.path().join("Cargo.toml"), manifest);
    std::fs::create_dir(folder.path().join("src")).expect("a temporary folder");
    write(&folder.path().join("src/lib.rs"), &format!("#![{DENIED}]\n{code}"));
    let output = Command::new("cargo")
        .args(["clippy", "--quiet", "--offline"])
        .current_dir(folder.path())
        .env("CLIPPY_CONF_DIR", root().join(configuration))
        .env("CARGO_TARGET_DIR", folder.path().join("target"))
        .output()
        .expect("cargo is installed");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || text.contains("disallowed method"), "clippy did not judge: {text}");
    output.status.success()
}

#[test]
fn a_planted_violation_is_refused() {
    let plain = "pub fn keep() { let _ = std::fs::write(\"a\", \"b\"); }";
    let hidden =
        "use std::fs as disk;\npub fn keep() { let write = disk::write::<&str, &str>; let _ = write(\"a\", \"b\"); }";
    let socket = "pub fn ask() { let _ = std::os::unix::net::UnixStream::connect(\"a\"); }";
    let allowed = format!("#[{ALLOWED}, reason = \"a wrapper\")]\n{plain}");
    for name in CRATES {
        for violation in [plain, hidden, socket] {
            assert!(!clippy_takes(name, violation), "{name}: {violation}");
        }
        assert!(clippy_takes(name, &allowed), "{name}: a wrapper may");
        assert!(clippy_takes(name, "pub fn add(a: u8, b: u8) -> u8 { a.wrapping_add(b) }"), "{name}");
    }
}
