//! Wrong manifests, each as a file of its own beside the good one, and some over the good one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Found, GOOD, in_force};
use crate::lab::{Lab, get};

const POLICY: &str =
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: bad, namespace: shop}\nspec:\n";

/// The body of a policy's spec, and what must be wrong with it.
const SPECS: &[&str] = &[
    "  podSelector: {matchLabels: {app: [web]}}",
    "  podSelector: {matchLabels: {\"-app\": web}}",
    "  podSelector: {matchLabels: {app: \"-web-\"}}",
    "  podSelector: {matchLabels: {app: true}}",
    "  podSelector: {matchExpressions: [{key: app, operator: Near, values: [web]}]}",
    "  podSelector: {matchExpressions: [{key: app, operator: In}]}",
    "  podSelector: {matchExpressions: [{key: app, operator: Exists, values: [web]}]}",
    "  podSelector: {matchExpressions: [{operator: Exists}]}",
    "  podSelector: []",
    "  podSelector: web",
    "  podSelector: {}\n  policyTypes: [Sideways]",
    "  podSelector: {}\n  policyTypes: Ingress",
    "  podSelector: {}\n  ingress: {}",
    "  podSelector: {}\n  ingress: [web]",
    "  podSelector: {}\n  ingress: [{from: {}}]",
    "  podSelector: {}\n  ingress: [{from: [{}]}]",
    "  podSelector: {}\n  ingress: [{from: [{ipBlock: {}}]}]",
    "  podSelector: {}\n  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}]",
    "  podSelector: {}\n  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0}}]}]",
    "  podSelector: {}\n  ingress: [{from: [{ipBlock: {cidr: ten}}]}]",
    "  podSelector: {}\n  ingress: [{from: [{ipBlock: {cidr: \"fd00::/129\"}}]}]",
    "  podSelector: {}\n  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]",
    "  podSelector: {}\n  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]",
    "  podSelector: {}\n  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: 10.1.0.0/16}}]}]",
    "  podSelector: {}\n  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [\"fd00::/16\"]}}]}]",
    "  podSelector: {}\n  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]",
    "  podSelector: {}\n  ingress: [{ports: [{port: 0}]}]",
    "  podSelector: {}\n  ingress: [{ports: [{port: 65536}]}]",
    "  podSelector: {}\n  ingress: [{ports: [{port: -1}]}]",
    "  podSelector: {}\n  ingress: [{ports: [{port: 80.5}]}]",
    "  podSelector: {}\n  ingress: [{ports: [{port: \"\"}]}]",
    "  podSelector: {}\n  ingress: [{ports: [{port: \"a name that is far too long\"}]}]",
    "  podSelector: {}\n  ingress: [{ports: [{port: UPPER_case}]}]",
    "  podSelector: {}\n  ingress: [{ports: [{port: 80, endPort: 79}]}]",
    "  podSelector: {}\n  ingress: [{ports: [{endPort: 90}]}]",
    "  podSelector: {}\n  ingress: [{ports: [{port: http, endPort: 90}]}]",
    "  podSelector: {}\n  ingress: [{ports: [{port: 80, endPort: 70000}]}]",
    "  podSelector: {}\n  ingress: [{ports: [{port: 80, protocol: ICMP}]}]",
    "  podSelector: {}\n  ingress: [{ports: [{port: 80, protocol: tcp}]}]",
    "  podSelector: {}\n  ingress: [{ports: {port: 80}}]",
    "  podSelector: {}\n  egress: [{to: [{namespaceSelector: web}]}]",
    "  podSelector: {}\n  egress: [{to: [{podSelector: {matchExpressions: {}}}]}]",
    "  podSelector: {}\n  podSelector: {}",
    "  podSelector: {\n",
    "  podSelector: {}\n\tingress: []",
    "  podSelector: &a [*a]",
    "  podSelector: *nothing",
];

/// Whole files.
const FILES: &[&str] = &[
    "{",
    "]",
    "%",
    "a: b: c",
    "\"",
    "kind: NetworkPolicy\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: UPPER, namespace: shop}\nspec: {containers: []}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: \"not a name\"}\nspec: {containers: []}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop, labels: [a]}\nspec: {containers: []}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop, labels: {a: 1}}\nspec: {containers: []}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\nspec: {containers: [{name: a, ports: [{containerPort: 0}]}]}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\nspec: {containers: [{name: a, ports: [{containerPort: 99999}]}]}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\nspec: {containers: [{name: a, ports: [{containerPort: 80, protocol: GRE}]}]}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\nspec: {containers: []}\nstatus: {podIPs: [{ip: 300.1.1.1}]}\n",
    "apiVersion: v1\nkind: Node\nmetadata: {name: bad}\nspec: {podCIDRs: [10.0.0.0/99]}\n",
    "apiVersion: v1\nkind: Node\nmetadata: {name: bad}\nspec: {podCIDRs: nothing}\n",
    "apiVersion: v1\nkind: Node\nmetadata: {name: bad}\nstatus: {addresses: [{type: InternalIP, address: here}]}\n",
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: \"\"}\n",
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {\"a b\": c}}\n",
    "apiVersion: v1\nkind: Namespace\nmetadata: [name]\n",
    "kind: List\napiVersion: v1\nitems: [{apiVersion: v1, kind: Namespace, metadata: {name: \"A\"}}]\n",
    "kind: List\napiVersion: v1\nitems: 3\n",
    "- a\n- b\n",
    "just text\n",
    "42\n",
];

pub(super) async fn run(lab: &mut Lab, found: &mut Found) -> Result<()> {
    let before = in_force(lab).await?;
    let mut cases: Vec<(String, Vec<u8>)> =
        SPECS.iter().map(|spec| format!("{POLICY}{spec}\n")).map(|t| (t.clone(), t.into_bytes())).collect();
    cases.extend(FILES.iter().map(|text| ((*text).to_owned(), text.as_bytes().to_vec())));
    cases.push(("bytes that are not UTF-8".into(), b"apiVersion: v1\nkind: \xff\xfe\n".to_vec()));
    cases.push(("a NUL".into(), b"apiVersion: v1\nkind: \0\n".to_vec()));
    cases.push(("twenty thousand brackets".into(), "[".repeat(20_000).into_bytes()));
    cases.push(("an expansion bomb".into(), bomb().into_bytes()));
    for (name, text) in &cases {
        write_raw(lab, "bad.yaml", text)?;
        judge(lab, found, "bad.yaml", name, &before).await?;
    }
    lab.source().remove("bad.yaml")?;
    half_written(lab, found, &before).await?;
    control(lab, &before).await
}

/// The good file, cut off at every line: what it said stays in force.
async fn half_written(lab: &mut Lab, found: &mut Found, before: &str) -> Result<()> {
    let good = std::fs::read(lab.source().folder().join("good.yaml")).context("the good file is there")?;
    let text = String::from_utf8_lossy(&good).into_owned();
    let broken = [
        text.replace("port: 80", "port: [80"),
        text.replace("kind: NetworkPolicy", "kind: NetworkPolicy\n kind: x"),
        text.replace("podSelector:", "podSelector: {"),
        format!("{text}---\n{{"),
        text.replace("    app: web", "    app: {web"),
    ];
    for text in broken.iter().filter(|text| text.as_bytes() != good) {
        write_raw(lab, "good.yaml", text.as_bytes())?;
        judge(lab, found, "good.yaml", "the good file, half written", before).await?;
    }
    write_raw(lab, "good.yaml", &good)
}

/// A right change is noticed by the same comparison.
async fn control(lab: &mut Lab, before: &str) -> Result<()> {
    lab.settle().await?;
    ensure!(in_force(lab).await? == before, "the good file is back, but other flows are in force");
    let more = format!("{POLICY}  podSelector: {{}}\n  ingress: [{{ports: [{{port: 443}}]}}]\n");
    lab.source().write("more.yaml", &more)?;
    lab.settle().await?;
    ensure!(in_force(lab).await? != before, "a right policy changed nothing: this check would notice nothing");
    lab.source().remove("more.yaml")?;
    lab.settle().await?;
    ensure!(GOOD.contains("kind: NetworkPolicy"), "the good file has a policy");
    Ok(())
}

fn write_raw(lab: &Lab, file: &str, text: &[u8]) -> Result<()> {
    let path = lab.source().folder().join(file);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

async fn judge(lab: &mut Lab, found: &mut Found, file: &str, name: &str, before: &str) -> Result<()> {
    found.inputs += 1;
    lab.settle().await.with_context(|| format!("after {name:?}"))?;
    let answer = get(&lab.controller_socket(), "/v1/errors", lab.pace().allow(Duration::from_secs(5))).await?;
    let errors = answer.json()?;
    let list = errors.as_array().or_else(|| errors["errors"].as_array()).cloned().unwrap_or_default();
    let own: Vec<&Value> = list.iter().filter(|error| error["file"].as_str() == Some(file)).collect();
    if own.is_empty() {
        found.accepted.push(format!("{name:?} was not reported: {errors}"));
    }
    for error in own {
        let says = |field: &str| error[field].as_str().is_some_and(|text| !text.is_empty());
        if error["line"].as_u64().unwrap_or(0) == 0 || !says("what") || !says("what_to_do") {
            found.without_location.push(format!("{name:?}: {error}"));
        }
        found.read(name, &error.to_string());
    }
    if in_force(lab).await? != before {
        found.changed_state.push(format!("{name:?}"));
    }
    Ok(())
}

/// Nine levels of nine: 9⁹ nodes when expanded.
fn bomb() -> String {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let list = vec![format!("*a{}", level - 1); 9].join(", ");
        text += &format!("a{level}: &a{level} [{list}]\n");
    }
    text
}
