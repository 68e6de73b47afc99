//! Wrong calls of the CNI plugin: standard input and variables.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Found;
use crate::lab::{Binaries, Lab, get};

type Variables = BTreeMap<&'static str, String>;

pub(super) async fn run(lab: &mut Lab, found: &mut Found) -> Result<()> {
    let socket = lab.nodes()[0].cni_socket().display().to_string();
    let good = json!({"cniVersion": "1.1.0", "name": "ferrant", "type": "ferrant", "agentSocket": socket});
    let variables: Variables = BTreeMap::from([
        ("CNI_COMMAND", "ADD".to_owned()),
        ("CNI_CONTAINERID", "bad-input".to_owned()),
        ("CNI_NETNS", "/proc/1/no-such-namespace".to_owned()),
        ("CNI_IFNAME", "eth0".to_owned()),
        ("CNI_ARGS", "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=bad".to_owned()),
        ("CNI_PATH", "/opt/cni/bin".to_owned()),
    ]);
    let before = pods(lab).await?;
    for text in standard_inputs(&good) {
        call(found, &variables, &text)?;
    }
    for variables in wrong_variables(&variables) {
        call(found, &variables, &good.to_string())?;
    }
    for (command, input) in other_commands(&good) {
        let variables =
            Variables::from_iter(variables.clone().into_iter().chain([("CNI_COMMAND", command.to_owned())]));
        call(found, &variables, &input)?;
    }
    if pods(lab).await? != before {
        found.changed_state.push("a wrong CNI call attached a pod".into());
    }
    Ok(())
}

async fn pods(lab: &Lab) -> Result<String> {
    let answer = get(&lab.nodes()[0].agent_socket(), "/v1/pods", lab.pace().allow(Duration::from_secs(5))).await?;
    ensure!(answer.status == 200, "the agent did not list its pods: {}", answer.text());
    Ok(answer.text())
}

fn standard_inputs(good: &Value) -> Vec<String> {
    let mut inputs: Vec<String> =
        ["", "{", "[]", "null", "3", "\"text\"", "{}", "not json", "{\"cniVersion\":", "\u{0}", "{\"a\":{\"a\":"]
            .map(str::to_owned)
            .to_vec();
    inputs.push("[".repeat(50_000));
    let wrong: [(&str, Value); 14] = [
        ("cniVersion", json!("0.1.0")),
        ("cniVersion", json!("9.0.0")),
        ("cniVersion", json!("one")),
        ("cniVersion", json!(1.1)),
        ("cniVersion", json!(null)),
        ("name", json!("")),
        ("name", json!("-ferrant")),
        ("name", json!(["ferrant"])),
        ("type", json!("")),
        ("agentSocket", json!("")),
        ("agentSocket", json!("relative/path.sock")),
        ("agentSocket", json!("/no/such/folder/cni.sock")),
        ("agentSocket", json!(7)),
        ("runtimeConfig", json!({"ips": "10.10.1.7/32"})),
    ];
    for (key, value) in wrong {
        let mut input = good.clone();
        input[key] = value;
        inputs.push(input.to_string());
    }
    let mut cut = good.to_string();
    cut.truncate(cut.len() / 2);
    inputs.push(cut);
    inputs
}

/// CHECK, GC and STATUS with what is wrong for them; no pod that is attached is named.
fn other_commands(good: &Value) -> Vec<(&'static str, String)> {
    let mut inputs = Vec::new();
    for command in ["CHECK", "GC", "STATUS", "DEL"] {
        for text in ["", "{", "[]", "null", "\u{0}", "{}"] {
            inputs.push((command, text.to_owned()));
        }
        let old = if command == "CHECK" || command == "DEL" { "0.3.0" } else { "1.0.0" };
        for (key, value) in [("cniVersion", json!(old)), ("name", json!("/")), ("agentSocket", json!([]))] {
            let mut input = good.clone();
            input[key] = value;
            inputs.push((command, input.to_string()));
        }
    }
    let interface = json!([{"name": "eth0", "sandbox": "/n"}]);
    for previous in [
        json!(null),
        json!([]),
        json!("text"),
        json!({"interfaces": 7}),
        json!({"interfaces": interface, "ips": [{"address": "10.10.1.2"}]}),
        json!({"interfaces": interface, "ips": [{"address": "10.10.1.2/99"}]}),
        json!({"interfaces": interface, "routes": [{"dst": "everywhere"}]}),
        json!({"interfaces": interface, "ips": [{"address": "10.10.1.2/32", "interface": 99_999_999}]}),
    ] {
        let mut input = good.clone();
        input["prevResult"] = previous;
        inputs.push(("CHECK", input.to_string()));
    }
    for list in [json!("all"), json!({}), json!([null]), json!([{"containerID": 5, "ifname": "eth0"}]), json!([[]])] {
        let mut input = good.clone();
        input["cni.dev/valid-attachments"] = list;
        inputs.push(("GC", input.to_string()));
    }
    inputs
}

/// What is written beside ports and on links, and is not what the agent writes: it starts with all of that in its way.
pub(super) async fn written_down(lab: &mut Lab, found: &mut Found) -> Result<()> {
    let before = (pods(lab).await?, super::in_force(lab).await?);
    let aliases = [
        "ferrant1".to_owned(),
        "ferrant1 ".to_owned(),
        "ferrant9 shop/web c eth0".to_owned(),
        "ferrant1+200 cut".to_owned(),
        "ferrant1+999999999999 cut".to_owned(),
        "ferrant1 shop/web c eth0 /n ferrant 10.10.1.2 0a:00:00:00:00:01 4096 1 00000000".to_owned(),
        format!("ferrant1 {}", "%".repeat(200)),
    ];
    let ids = [
        ("ferrant-namespace", "shop"),
        ("ferrant-container-id", "c"),
        ("ferrant-addresses", "10.10.1.999"),
        ("ferrant-mac", "no"),
        ("ferrant-since", "-1"),
    ];
    let node = &mut lab.nodes_mut()[0];
    let mut links: Vec<String> = aliases.iter().enumerate().map(|(number, _)| format!("junk-{number}")).collect();
    let mut commands = Vec::new();
    for (link, alias) in links.iter().zip(&aliases) {
        commands.push(format!("link add name {link} type bridge"));
        commands.push(format!("link set dev {link} alias \"{alias}\""));
    }
    crate::lab::ip(node.namespace(), &commands)?;
    let (switch, namespace) = node.switch();
    for (number, (key, value)) in ids.iter().enumerate() {
        let port = format!("ids-{number}");
        let set = format!("external_ids:{key}=\"{value}\"");
        let more = "external_ids:ferrant-namespace=shop";
        let commands = ["add-port", "br-int", &port, "--", "set", "interface", &port, "type=internal", more, &set];
        switch.configure(namespace, &commands)?;
    }
    found.inputs += aliases.len() + ids.len();
    let name = node.name().to_owned();
    lab.restart_agent(&name).await?;
    if (pods(lab).await?, super::in_force(lab).await?) != before {
        found
            .changed_state
            .push("what is written on links or beside ports that are no pod's changed what is in force".into());
    }
    let node = &mut lab.nodes_mut()[0];
    let log = std::fs::read_to_string(node.agent_socket().with_file_name("agent.log")).unwrap_or_default();
    links.extend((0..ids.len()).map(|number| format!("ids-{number}")));
    for link in &links {
        if !log.contains(&format!("interface {link}: ")) {
            found.without_location.push(format!("{link}: the agent's log does not name it"));
        }
    }
    let (switch, namespace) = node.switch();
    for number in 0..ids.len() {
        switch.configure(namespace, &["--if-exists", "del-port", "br-int", &format!("ids-{number}")])?;
    }
    Ok(())
}

fn wrong_variables(good: &Variables) -> Vec<Variables> {
    let changes: [(&'static str, &str); 13] = [
        ("CNI_COMMAND", ""),
        ("CNI_COMMAND", "JUMP"),
        ("CNI_COMMAND", "add"),
        ("CNI_CONTAINERID", ""),
        ("CNI_CONTAINERID", "../../etc"),
        ("CNI_CONTAINERID", "-a"),
        ("CNI_NETNS", ""),
        ("CNI_IFNAME", ""),
        ("CNI_IFNAME", "a-name-that-is-too-long-for-linux"),
        ("CNI_IFNAME", "et/h0"),
        ("CNI_ARGS", "K8S_POD_NAMESPACE"),
        ("CNI_ARGS", "K8S_POD_NAMESPACE=shop"),
        ("CNI_ARGS", "K8S_POD_NAMESPACE=SHOP;K8S_POD_NAME=b/d"),
    ];
    changes
        .into_iter()
        .map(|(key, value)| {
            let mut variables = good.clone();
            variables.insert(key, value.to_owned());
            variables
        })
        .collect()
}

/// Calls the plugin; its answer must be one CNI error object with a code, a message and what to do.
fn call(found: &mut Found, variables: &Variables, input: &str) -> Result<()> {
    found.inputs += 1;
    let program = Binaries::of_this_build()?.cni;
    let mut child = Command::new(&program)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A plugin that refuses early may not read all of it.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let shown: String = input.chars().take(80).collect();
    let name = format!("CNI {variables:?} with {shown:?}");
    found.read(&name, &stderr);
    found.read(&name, &stdout);
    if output.status.success() {
        found.accepted.push(format!("{name}: {stdout}"));
        return Ok(());
    }
    let answer: Result<Value, _> = serde_json::from_str(&stdout);
    let says = |value: &Value, field: &str| value[field].as_str().is_some_and(|text| !text.is_empty());
    match answer {
        Ok(answer)
            if answer["code"].as_u64().is_some_and(|code| code > 0)
                && says(&answer, "msg")
                && says(&answer, "details") => {}
        _ => found.without_location.push(format!("{name}: standard output is {stdout:?}, standard error {stderr:?}")),
    }
    Ok(())
}
