//! The crate graph is the architecture: each edge and each licence is a decision.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Which crate may use which, development edges included. A new line is a design decision with a note in docs/design.
const EDGES: &[(&str, &[&str])] = &[
    ("apis", &[]),
    ("certificates", &[]),
    ("policy", &["apis"]),
    ("openflow", &[]),
    ("ovs-pipeline", &["openflow"]),
    ("fault", &[]),
    ("metrics", &[]),
    ("controller", &["apis", "certificates", "metrics"]),
    ("agent", &["apis", "certificates", "fault", "metrics", "openflow", "ovs-pipeline"]),
    ("cni", &["apis", "fault"]),
    ("antctl", &["apis", "certificates", "metrics", "policy"]),
    ("e2e", &["apis", "certificates", "fault", "policy"]),
    ("tidy", &[]),
];

/// What a pure crate may not depend on, directly.
const ASYNCHRONOUS: &[&str] = &["tokio", "futures", "tonic", "hyper", "nix", "rtnetlink"];
const PURE: &[&str] = &["policy", "openflow", "ovs-pipeline"];

/// Licences that Apache-2.0 code may depend on.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "MIT",
    "ISC",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "Zlib",
    "Unlicense",
    "Unicode-3.0",
    "CC0-1.0",
    "0BSD",
    "BSL-1.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT-0",
    "CDLA-Permissive-2.0",
];

fn metadata() -> Value {
    let text = tidy::output("cargo", &["metadata", "--format-version=1", "--locked"]);
    serde_json::from_str(&text).expect("cargo prints JSON")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn crates_depend_only_on_what_is_listed() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    let listed: BTreeMap<&str, BTreeSet<&str>> =
        EDGES.iter().map(|(name, edges)| (*name, edges.iter().copied().collect())).collect();
    let members: Vec<&Value> =
        metadata["packages"].as_array().into_iter().flatten().filter(|p| p["source"].is_null()).collect();
    assert_eq!(members.len(), ours.len(), "every member is listed, and every listed crate is a member");
    for package in members {
        let name = text(&package["name"]);
        let edges: BTreeSet<&str> = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|dependency| text(&dependency["name"]))
            .filter(|dependency| ours.contains(dependency))
            .collect();
        let allowed = listed.get(name).unwrap_or_else(|| panic!("crate {name} is not listed in EDGES"));
        let extra: Vec<_> = edges.difference(allowed).collect();
        assert!(
            extra.is_empty(),
            "{name} may not use {extra:?}: change the code, or EDGES together with a note in docs/design"
        );
        assert_eq!(text(&package["license"]), "Apache-2.0", "{name} says its licence");
    }
}

#[test]
fn pure_crates_have_no_asynchronous_dependency() {
    for package in metadata()["packages"].as_array().into_iter().flatten() {
        if !PURE.contains(&text(&package["name"])) || !package["source"].is_null() {
            continue;
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let (name, kind) = (text(&dependency["name"]), &dependency["kind"]);
            let normal = kind.is_null();
            assert!(
                !(normal && ASYNCHRONOUS.contains(&name)),
                "{} depends on {name}, which does I/O",
                text(&package["name"])
            );
        }
    }
}

/// Whether an SPDX expression can be met with [`LICENCES`]: one side of an OR, every side of an AND.
fn compatible(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let expression = expression.trim();
    if LICENCES.contains(&expression) {
        return true;
    }
    if let Some(inner) = expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'))
        && !inner.contains(['(', ')'])
    {
        return compatible(inner);
    }
    for (word, all) in [(" AND ", true), (" OR ", false)] {
        let parts = split(expression, word);
        if parts.len() > 1 {
            return if all {
                parts.iter().all(|part| compatible(part))
            } else {
                parts.iter().any(|part| compatible(part))
            };
        }
    }
    false
}

/// Splits outside of parentheses.
fn split<'a>(expression: &'a str, word: &str) -> Vec<&'a str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, character) in expression.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && expression[at..].starts_with(word) => {
                parts.push(&expression[start..at]);
                start = at + word.len();
            }
            _ => {}
        }
    }
    parts.push(&expression[start..]);
    parts
}

#[test]
fn dependencies_have_compatible_licences() {
    for package in metadata()["packages"].as_array().into_iter().flatten() {
        let licence = text(&package["license"]);
        assert!(
            compatible(licence),
            "{} {}: licence {licence:?} is not in LICENCES",
            text(&package["name"]),
            package["version"]
        );
    }
}

#[test]
fn licence_expressions_are_read_rightly() {
    for good in [
        "MIT",
        "MIT OR GPL-3.0",
        "MIT/Apache-2.0",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 OR (MIT AND ISC)",
    ] {
        assert!(compatible(good), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "", "LGPL-2.1-or-later"] {
        assert!(!compatible(bad), "{bad}");
    }
}
