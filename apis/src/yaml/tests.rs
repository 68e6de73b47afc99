use proptest::prelude::*;

use super::*;
use crate::kubernetes::{IntOrString, Pod};

const POLICY: &str = r#"# A policy as the documentation has it.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: test-network-policy
  namespace: shop
spec:
  podSelector:
    matchLabels: {role: db}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - ipBlock:
        cidr: 172.17.0.0/16
        except:
        - 172.17.1.0/24
    - namespaceSelector:
        matchLabels: {project: myproject}
      podSelector: {}
    ports:
    - {protocol: TCP, port: 6379}
    - {protocol: UDP, port: dns, }
    - port: 32000
      endPort: 32768
  egress:
  - {}
"#;

const SEVERAL: &str = r#"
# Comments only.
---
# Nothing but comments here either.
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: "yes"}}
--- # a comment behind the marker
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  nodeName: worker-1
  volumes: [{secret: {defaultMode: 0400}}]
  initContainers:
  - {name: proxy, restartPolicy: Always, ports: [{containerPort: 15001, name: admin}]}
  - {name: once, ports: [{containerPort: 1}]}
  containers:
  - {name: web, ports: [{containerPort: 80, name: http, protocol: TCP}]}
status: {phase: Running, podIP: 10.0.1.3, podIPs: [{ip: 10.0.1.3}, {ip: "fd00::3"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
...
---
{"apiVersion": "v1", "kind": "Node",
	"metadata": {"name": "worker-1"},
	"spec": {"podCIDR": "10.0.1.0/24", "podCIDRs": ["10.0.1.0/24", "fd00:1::/64"]},
	"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}, {"type": "Hostname", "address": "worker-1"}]}}
"#;

fn only(text: &str) -> Document {
    let mut found = documents(text);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0).unwrap()
}

fn complaint(text: &str) -> String {
    let mut found = documents(text);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0).unwrap_err().to_string()
}

#[test]
fn a_policy_keeps_everything_it_says() {
    let document = only(POLICY);
    assert_eq!(document.line, 2);
    assert_eq!(document.unknown_fields, []);
    assert_eq!(document.object.title(), "NetworkPolicy/shop/test-network-policy");
    let Object::NetworkPolicy(policy) = &document.object else { panic!("{:?}", document.object) };
    let rule = &policy.spec.ingress[0];
    assert_eq!(rule.from[0].ip_block.as_ref().unwrap().except, ["172.17.1.0/24"]);
    assert_eq!(rule.from[1].pod_selector, Some(Default::default()), "empty is not missing");
    assert_eq!(rule.from[0].pod_selector, None, "missing is not empty");
    assert_eq!(rule.ports[1].port, Some(IntOrString::String("dns".into())));
    assert_eq!((&rule.ports[2].protocol, rule.ports[2].end_port), (&None, Some(32768)));
    assert_eq!(policy.spec.egress.len(), 1);
    document.validate().unwrap();
}

#[test]
fn a_file_of_many_documents_gives_each_with_its_line() {
    let found: Vec<_> = documents(SEVERAL).into_iter().map(|found| found.unwrap()).collect();
    let titles: Vec<_> = found.iter().map(|document| (document.line, document.object.title())).collect();
    let expected = [(6, "Namespace/shop"), (10, "Pod/default/web"), (23, "Deployment/web"), (28, "Node/worker-1")];
    assert_eq!(titles, expected.map(|(line, title)| (line, title.to_owned())));
    assert!(found.iter().all(|document| document.validate().is_ok()));

    let Object::Namespace(namespace) = &found[0].object else { panic!() };
    assert_eq!(namespace.metadata.labels["kubernetes.io/metadata.name"], "shop");
    let Object::Pod(pod) = &found[1].object else { panic!() };
    assert_eq!(pod.addresses().collect::<Vec<_>>(), ["10.0.1.3", "fd00::3"]);
    let ports: Vec<_> = pod.serving_containers().flat_map(|container| &container.ports).collect();
    assert_eq!(ports.iter().map(|port| port.container_port).collect::<Vec<_>>(), [80, 15001], "no init container's");
    let Object::Node(node) = &found[3].object else { panic!() };
    assert_eq!(node.pod_cidrs().collect::<Vec<_>>(), ["10.0.1.0/24", "fd00:1::/64"]);
    assert_eq!(node.addresses_of("InternalIP").collect::<Vec<_>>(), ["192.0.2.1"]);
}

#[test]
fn lists_are_opened() {
    let text = "apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Namespace
  metadata: {name: a}
- apiVersion: v1
  kind: PodList
  items:
  - metadata: {name: b}
  - metadata: {name: 5}
- 7
";
    let found: Vec<_> = documents(text)
        .into_iter()
        .map(|found| match found {
            Ok(document) => format!("{} {}", document.line, document.object.title()),
            Err(error) => error.to_string(),
        })
        .collect();
    assert_eq!(
        found,
        [
            "4 Namespace/a",
            "10 Pod/default/b",
            "line 11, column 22: Pod: metadata.name must be text, but is the number 5; put the value in quotes",
            "line 12, column 3: an object must be a mapping with apiVersion and kind, but is the number 7; \
             write apiVersion, kind and metadata, each at the start of a line",
        ]
    );
    assert_eq!(documents("{apiVersion: v1, kind: List}").len(), 0);
    assert_eq!(documents("{apiVersion: v1, kind: List, items: null}").len(), 0);
    assert!(complaint("{apiVersion: v1, kind: List, items: 3}").contains("the items of a List must be a list"));
}

#[test]
fn nothing_but_comments_is_nothing() {
    for text in ["", "\n", "# x", "---", "---\n---\n", "--- # x\n# y\n...\n", "null", "~\n", "\u{feff}# x\r\n---\r\n"] {
        assert_eq!(documents(text).len(), 0, "{text:?}");
    }
}

/// Each a text and what is said about it; the first two words of each are the place.
const BROKEN: &[(&str, &str)] = &[
    ("a: 1\na: 2\n", "line 2, column 1: the key \"a\" is there twice; keep one of the two"),
    ("80: 1\n'80': 2\n", "is there twice"),
    ("a: [1, 2\nb: 3", "line 2, column 2: illegal placement of ':' indicator; correct the YAML here or just above"),
    ("a: \"x\nb: 2", "line 1, column 4: unclosed quote"),
    ("a:\n- b\n c: 1", "line 3, column 3: "),
    ("kind: Pod", "line 1, column 1: apiVersion must be text, but is missing; write it as for a cluster"),
    ("apiVersion: v1\nkind: 5", "line 2, column 1: kind must be text, but is the number 5"),
    ("apiVersion: v1\nkind: ''", "line 2, column 1: kind must be text, but is the text \"\""),
    (
        "just text",
        "line 1, column 1: an object must be a mapping with apiVersion and kind, but is the text \"just text\"",
    ),
    ("a: *x\n", "line 1, column 4: alias references unknown anchor; define the anchor with `&name` before its use"),
    ("a: &x [*x]", "line 1, column 8: recursive references"),
    ("a: .nan", "line 1, column 4: non-finite float"),
    ("? [a]\n: b", "line 1, column 3: expected string scalar"),
    ("a: b: c", "line 1, column 5: mapping values are not allowed"),
    ("a: \u{1}", "line 1, column 4: unexpected character"),
    (
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n  labels: {a: yes}\n",
        "line 5, column 15: Pod/x: metadata.labels.a must be text, but is the boolean true; put the value in quotes",
    ),
    (
        "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - ports:\n    - containerPort: http\n",
        "line 6, column 22: Pod: spec.containers[0].ports[0].containerPort must be a whole number of 32 bits, but is the text \"http\"",
    ),
    (
        "apiVersion: v1\nkind: Pod\nspec: {containers: 5}",
        "Pod: spec.containers must be a list, but is the number 5; start",
    ),
    ("apiVersion: v1\nkind: Pod\nspec: [5]", "line 3, column 7: Pod: spec must be a mapping, but is a list"),
    ("apiVersion: v1\nkind: Pod\nspec: {hostNetwork: 'true'}", "spec.hostNetwork must be a boolean, but is the text"),
    (
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nspec: {ingress: [{ports: [{port: 5555555555}]}]}",
        "spec.ingress[0].ports[0].port must be a whole number of 32 bits",
    ),
    (
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nspec: {ingress: [{ports: [{port: [1]}]}]}",
        "line 3, column 34: NetworkPolicy: spec.ingress[0].ports[0].port cannot be read",
    ),
];

#[test]
fn what_cannot_be_read_is_said_with_its_place() {
    for (text, expected) in BROKEN {
        let said = complaint(text);
        assert!(said.contains(expected), "{text:?}\n said {said}\n expected {expected}");
    }
}

#[test]
fn one_broken_document_takes_no_other_with_it() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\na: [\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n";
    let found = documents(text);
    assert_eq!(found.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(found[1].as_ref().unwrap_err().line, 5);
    assert_eq!(found[2].as_ref().unwrap().line, 7);
}

#[test]
fn every_end_of_line_counts() {
    for end in ["\n", "\r\n", "\r"] {
        let text = "# x\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\na: [\n".replace('\n', end);
        let found = documents(&text);
        assert_eq!((found.len(), found[0].as_ref().unwrap().line), (2, 3), "{end:?}");
        assert!(found[1].as_ref().unwrap_err().line >= 7, "{end:?}");
        let bytes = [text.as_bytes(), b"a\xff"].concat();
        assert_eq!(super::text(&bytes).unwrap_err().to_string()[..17], *"line 8, column 2:");
    }
}

/// What JSON-minded tools make of scalars before anything looks at them.
#[test]
fn scalars_are_read_as_kubernetes_tools_read_them() {
    let text = "apiVersion: v1
kind: Pod
metadata: {name: a, labels: {quoted: '0400', text: a0400}}
spec: {hostNetwork: yes, containers: [{ports: [{containerPort: 0120}, {containerPort: 8e1}, {containerPort: 0x50}]}]}
";
    let Object::Pod(pod) = only(text).object else { panic!() };
    assert_eq!(pod.spec.containers[0].ports.iter().map(|port| port.container_port).collect::<Vec<_>>(), [80, 80, 80]);
    assert!(pod.spec.host_network);
    assert_eq!(pod.metadata.labels["quoted"], "0400");
}

#[test]
fn null_is_missing() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: null, labels: ~}\nspec:\n  hostNetwork:\n  containers:\n  - null\n";
    let document = only(text);
    let Object::Pod(pod) = document.object else { panic!() };
    let mut expected = Pod::default();
    expected.metadata.name = "a".into();
    expected.metadata.namespace = Some("default".into());
    expected.spec.containers = vec![Default::default()];
    assert_eq!(pod, expected);
}

#[test]
fn misspelt_fields_of_a_policy_are_named() {
    let text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a, annotations: {x: y}}\nspce: {}\nspec:\n  podSelector: {}\n  ingress:\n  - form: []\n";
    let unknown: Vec<_> = only(text).unknown_fields.into_iter().map(|field| (field.line, field.name)).collect();
    assert_eq!(unknown, [(4, "spce".to_owned()), (8, "form".to_owned())]);
}

#[test]
fn bombs_and_depth_are_refused() {
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(",");
        bomb += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    let said = complaint(&bomb);
    assert!(said.starts_with("line 5,") && said.contains("larger than a limit here"), "{said}");

    let flow = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(complaint(&flow(MAX_DEPTH)).contains("but is a list"), "at the limit it is read");
    assert!(complaint(&flow(MAX_DEPTH + 1)).contains("limit"));
    assert!(complaint(&"[".repeat(100_000)).contains("limit"));
    let block: String = (0..=MAX_DEPTH).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert!(complaint(&block).contains("limit"), "{}", complaint(&block));
    assert!(complaint(&"- ".repeat(100_000)).contains("limit"));
}

#[test]
fn the_deepest_document_needs_no_deep_stack() {
    let depth = MAX_DEPTH - 3;
    let text = format!("{{apiVersion: v1, kind: Pod, spec: {{x: {}{}}}}}", "[".repeat(depth), "]".repeat(depth));
    let small = std::thread::Builder::new().stack_size(1024 * 1024);
    small.spawn(move || only(&text)).unwrap().join().unwrap();
}

#[test]
fn too_many_documents_are_refused() {
    let found = documents(&"---\n1\n".repeat(MAX_DOCUMENTS + 5));
    assert_eq!(found.len(), MAX_DOCUMENTS + 1);
    assert!(found.last().unwrap().as_ref().unwrap_err().what.contains("more than 200000 objects"));
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_place() {
    assert_eq!(text(b"\xef\xbb\xbfa: 1"), Ok("a: 1"));
    let said = |bytes: &[u8]| text(bytes).unwrap_err().to_string();
    assert_eq!(said(b"a: 1\nb: \xff"), "line 2, column 4: the text is not UTF-8; save the file as UTF-8");
    assert!(said(b"a: \0").starts_with("line 1, column 4: the text holds a NUL byte"));
    assert!(said(&vec![b'#'; MAX_BYTES + 1]).contains("split it into several files"));
    assert!(complaint(&"#".repeat(MAX_BYTES + 1)).contains("split it into several files"));
}

#[test]
fn fields_are_found_by_their_path() {
    let document = only(POLICY);
    for (path, line) in [
        ("spec.ingress[0].from[0].ipBlock.except[0]", 16),
        ("spec.ingress[0].ports[2].endPort", 24),
        ("spec.ingress[0].ports[9]", 20),
        ("spec.ingress[0].from[1].ipBlock", 17),
        ("spec.podSelector.matchLabels[role]", 9),
        ("metadata.uid", 4),
        ("", 2),
    ] {
        assert_eq!(document.line_of(path), line, "{path}");
    }
    let dotted = only("apiVersion: v1\nkind: Pod\nmetadata:\n  labels:\n    a: b\n    example.com/app: '-'\n");
    assert_eq!(dotted.line_of("metadata.labels[example.com/app]"), 6);
    let said: Vec<_> = dotted.validate().unwrap_err().iter().map(ToString::to_string).collect();
    assert!(
        said[0]
            .starts_with("line 6, column 5: Pod/default/: metadata.labels[example.com/app] is not a valid label value"),
        "{said:?}"
    );
    assert!(said[1].starts_with("line 3, column 1: Pod/default/: metadata.name is empty or missing;"), "{said:?}");
}

/// Whatever is read is said with a place in the text, and what is read survives being written and read again.
fn check_any(text: &str) -> Result<(), TestCaseError> {
    let lines = u32::try_from(lines(text).count()).unwrap() + 1;
    for found in documents(text) {
        let document = match found {
            Ok(document) => document,
            Err(error) => {
                prop_assert!((1..=lines).contains(&error.line) && error.column > 0, "{error:?}");
                prop_assert!(!error.what.is_empty() && !error.what_to_do.is_empty(), "{error:?}");
                continue;
            }
        };
        prop_assert!((1..=lines).contains(&document.line), "{}", document.line);
        for error in document.validate().err().unwrap_or_default() {
            prop_assert!((1..=lines).contains(&error.line) && !error.what_to_do.is_empty(), "{error:?}");
        }
        if !matches!(document.object, Object::Unknown { .. }) {
            let json = serde_json::to_string(&document.object).unwrap();
            let again = documents(&json);
            prop_assert_eq!(again.len(), 1);
            prop_assert_eq!(
                &again[0].as_ref().map_err(|error| TestCaseError::fail(error.to_string()))?.object,
                &document.object
            );
        }
    }
    Ok(())
}

fn mutated() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("---\n"),
        Just("- "),
        Just(": "),
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just("\""),
        Just("'"),
        Just("\t"),
        Just("&a "),
        Just("*a"),
        Just("<<: *a\n"),
        Just("!!str "),
        Just("|\n"),
        Just("#"),
        Just("\n"),
        Just("%"),
        Just("null"),
        Just("yes"),
        Just("-1"),
        Just("1e99"),
        Just("0400"),
        Just("\u{feff}"),
        Just("\0"),
        Just("ä"),
        Just("?"),
        Just("..."),
        Just("kind: List\n"),
        Just("items:\n"),
        Just("  "),
        Just("99999999999999999999"),
        Just("10.0.0.0/8"),
        Just("::/0"),
    ];
    let edit = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), piece, 0..4u8);
    let base = prop_oneof![Just(POLICY), Just(SEVERAL)];
    (base, prop::collection::vec(edit, 1..8)).prop_map(|(base, edits)| {
        let mut text: Vec<char> = base.chars().collect();
        for (from, length, piece, how) in edits {
            let at = from.index(text.len() + 1);
            let end = (at + length.index(40)).min(text.len());
            match how {
                0 => drop(text.drain(at..end)),
                1 => drop(text.splice(at..at, piece.chars())),
                2 => drop(text.splice(at..end, piece.chars())),
                _ => {
                    let copy = text[at..end].to_vec();
                    text.splice(at..at, copy);
                }
            }
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        match text(&bytes) {
            Ok(text) => check_any(text)?,
            Err(error) => prop_assert!(error.line > 0 && error.column > 0),
        }
        check_any(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn no_broken_manifest_causes_a_panic(text in mutated()) {
        check_any(&text)?;
    }
}
