//! Calls that are wrong: what is missing or not valid, for each command, with the code that the specification has for it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::runtime::{Ended, Sandbox};
use super::{NETWORK, Tally, World, refused, silent, worked};

/// A variable, what it is set to (`None`: not at all), the commands that must refuse it, and the code.
const VARIABLES: &[(&str, Option<&str>, &[&str], u64)] = &[
    ("CNI_COMMAND", None, &["ADD"], 4),
    ("CNI_COMMAND", Some("UPDATE"), &["ADD"], 4),
    ("CNI_COMMAND", Some("add"), &["ADD"], 4),
    ("CNI_CONTAINERID", None, &["ADD", "DEL", "CHECK"], 4),
    ("CNI_CONTAINERID", Some("-starts-wrong"), &["ADD", "DEL", "CHECK"], 4),
    ("CNI_CONTAINERID", Some("a/b"), &["ADD", "DEL", "CHECK"], 4),
    ("CNI_IFNAME", None, &["ADD", "DEL", "CHECK"], 4),
    ("CNI_IFNAME", Some("sixteen-bytes-xx"), &["ADD", "DEL", "CHECK"], 4),
    ("CNI_IFNAME", Some(".."), &["ADD", "DEL", "CHECK"], 4),
    ("CNI_NETNS", None, &["ADD", "CHECK"], 4),
    ("CNI_NETNS", Some("relative/path"), &["ADD", "CHECK"], 4),
    ("CNI_NETNS", Some("/run/netns/of-nobody"), &["ADD", "CHECK"], 3),
    ("CNI_NETNS", Some("/etc/hostname"), &["ADD", "CHECK"], 4),
    ("CNI_ARGS", None, &["ADD"], 4),
    ("CNI_ARGS", Some("K8S_POD_NAMESPACE=shop"), &["ADD"], 4),
    ("CNI_ARGS", Some("K8S_POD_NAMESPACE=shop;K8S_POD_NAME=UPPER"), &["ADD"], 4),
    ("CNI_ARGS", Some("K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;WHAT=this"), &["ADD"], 4),
    ("CNI_ARGS", Some("no pairs"), &["ADD"], 4),
];

/// A key of the configuration, its value, the commands that must refuse it, the code, and what the answer has to name.
fn configurations() -> Vec<(&'static str, Value, &'static [&'static str], u64, &'static str)> {
    const ALL: &[&str] = &["ADD", "DEL", "CHECK", "GC", "STATUS"];
    vec![
        ("cniVersion", json!("0.3.1"), ALL, 1, "0.3.1"),
        ("cniVersion", json!("3.0.0"), ALL, 1, "3.0.0"),
        ("cniVersion", json!(null), ALL, 1, "cniVersion"),
        ("cniVersion", json!(1), ALL, 6, "expected a string"),
        ("name", json!(null), ALL, 7, "name"),
        ("name", json!("-"), ALL, 7, "name"),
        ("name", json!({}), ALL, 6, "expected a string"),
        ("agentSocket", json!("relative.sock"), ALL, 7, "agentSocket"),
        (
            "agentSocket",
            json!("/no/such/folder/cni.sock"),
            &["ADD", "DEL", "CHECK", "GC"],
            11,
            "/no/such/folder/cni.sock",
        ),
        ("agentSocket", json!("/no/such/folder/cni.sock"), &["STATUS"], 50, "/no/such/folder/cni.sock"),
        ("ipam", json!({"type": "host-local"}), &["ADD", "STATUS"], 2, "host-local"),
        ("runtimeConfig", json!({"ips": ["10.10.1.999"]}), &["ADD"], 7, "10.10.1.999"),
        ("runtimeConfig", json!({"ips": 5}), &["ADD"], 6, "runtimeConfig"),
        ("runtimeConfig", json!({"mac": "no"}), &["ADD"], 7, "runtimeConfig.mac"),
        ("prevResult", json!({"cniVersion": "1.1.0", "ips": []}), &["ADD"], 2, "prevResult"),
        ("prevResult", json!(null), &["CHECK"], 7, "prevResult"),
        ("prevResult", json!("garbage"), &["CHECK"], 6, "prevResult"),
        ("prevResult", json!({"interfaces": [{"name": 5}]}), &["CHECK"], 6, "prevResult"),
        ("cni.dev/valid-attachments", json!({"c1": "eth0"}), &["GC"], 6, "valid-attachments"),
        ("cni.dev/valid-attachments", json!([{"containerID": "c1"}]), &["GC"], 6, "valid-attachments"),
    ]
}

/// Standard input that is no configuration at all, and the code.
const INPUTS: &[(&str, u64)] =
    &[("", 6), ("{", 6), ("[]", 6), ("null", 6), ("\u{0}", 6), ("{\"name\":\"a\",\"name\":\"b\"}", 6)];

pub(super) async fn run(world: &mut World, tally: &mut Tally) -> Result<()> {
    world.speak("1.1.0")?;
    let guest = world.guest()?;
    let configuration = {
        let mut plugin = world.plugin();
        plugin["name"] = json!(NETWORK);
        plugin["cniVersion"] = json!("1.1.0");
        plugin["prevResult"] = json!({"cniVersion": "1.1.0", "interfaces": [], "ips": []});
        plugin
    };
    for (name, value, commands, code) in VARIABLES {
        for command in *commands {
            let mut variables = variables(&guest.sandbox, command);
            match value {
                Some(value) => _ = variables.insert((*name).to_owned(), (*value).to_owned()),
                None => _ = variables.remove(*name),
            }
            let ended = call(world, &variables, &fitting(&configuration, command).to_string())?;
            let said = value.map_or("not set".to_owned(), |value| format!("{value:?}"));
            tally.case(format!("{command} with {name} {said}: code {code}"), refused(&ended, *code, name));
        }
    }
    for (key, value, commands, code, part) in configurations() {
        for command in commands {
            let mut input = fitting(&configuration, command);
            input[key] = value.clone();
            let ended = call(world, &variables(&guest.sandbox, command), &input.to_string())?;
            tally.case(format!("{command} with {key} {value}: code {code}"), refused(&ended, code, part));
        }
    }
    for (input, code) in INPUTS {
        for command in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
            let ended = call(world, &variables(&guest.sandbox, command), input)?;
            tally.case(format!("{command} with standard input {input:?}: code {code}"), refused(&ended, *code, ""));
        }
    }
    tally.case("none of them attached anything", world.nothing_is_left(&guest).await);
    tolerated(world, tally, &configuration)?;
    namespaces(world, tally).await
}

/// DEL is refused for nothing that it does not need.
fn tolerated(world: &mut World, tally: &mut Tally, configuration: &Value) -> Result<()> {
    let guest = world.guest()?;
    for (what, name, value) in [
        ("without CNI_NETNS", "CNI_NETNS", None),
        ("with the namespace gone", "CNI_NETNS", Some("/run/netns/of-nobody")),
        ("with a file that is no namespace any more", "CNI_NETNS", Some("/etc/hostname")),
        ("without CNI_ARGS", "CNI_ARGS", None),
        ("with CNI_ARGS that are wrong", "CNI_ARGS", Some("no pairs")),
    ] {
        let mut variables = variables(&guest.sandbox, "DEL");
        match value {
            Some(value) => _ = variables.insert(name.to_owned(), value.to_owned()),
            None => _ = variables.remove(name),
        }
        tally.case(format!("DEL {what}"), silent(&call(world, &variables, &configuration.to_string())?));
    }
    for (key, value) in [
        ("prevResult", json!("garbage")),
        ("prevResult", json!(null)),
        ("runtimeConfig", json!({"ips": 5, "portMappings": [{"hostPort": 80}]})),
        ("ipam", json!({"type": "host-local"})),
        ("cni.dev/valid-attachments", json!(7)),
    ] {
        let mut input = configuration.clone();
        input[key] = value.clone();
        let ended = call(world, &variables(&guest.sandbox, "DEL"), &input.to_string())?;
        tally.case(format!("DEL with {key} {value}"), silent(&ended));
    }
    Ok(())
}

/// Namespaces that are not a pod's, and a name that is taken.
async fn namespaces(world: &mut World, tally: &mut Tally) -> Result<()> {
    let mut own = world.guest()?;
    own.sandbox.network_namespace = world.containerd().node.path().display().to_string();
    let added = world.containerd().add(NETWORK, &own.sandbox)?;
    tally.case("ADD into the node's own namespace", refused(&added, 4, "CNI_NETNS"));
    let taken = world.guest()?;
    crate::lab::ip(&taken.namespace, &["link add name eth0 type bridge".to_owned()])?;
    let added = world.containerd().add(NETWORK, &taken.sandbox)?;
    tally.case("ADD where the interface's name is taken", refused(&added, 100, "eth0 exists"));
    let deleted = world.containerd().delete(NETWORK, &taken.sandbox)?;
    tally.case("DEL where the name is somebody else's interface", silent(&deleted));
    crate::lab::ip(&taken.namespace, &["link delete eth0".to_owned()])
        .context("the bridge that is not the plugin's is still there")?;
    tally.case("nothing is left of an ADD that the kernel refused", world.nothing_is_left(&taken).await);
    let added = world.containerd().add(NETWORK, &taken.sandbox)?;
    tally.case("ADD works once the name is free", worked(&added));
    silent(&world.containerd().delete(NETWORK, &taken.sandbox)?)
}

/// The configuration without what this command is not given by a runtime.
fn fitting(configuration: &Value, command: &str) -> Value {
    let mut configuration = configuration.clone();
    if let (false, Some(fields)) = (command == "CHECK", configuration.as_object_mut()) {
        fields.remove("prevResult");
    }
    configuration
}

fn variables(sandbox: &Sandbox, command: &str) -> BTreeMap<String, String> {
    let arguments = format!("IgnoreUnknown=0;K8S_POD_NAMESPACE={};K8S_POD_NAME={}", sandbox.pod.0, sandbox.pod.1);
    [
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", &sandbox.container_id),
        ("CNI_NETNS", &sandbox.network_namespace),
        ("CNI_IFNAME", &sandbox.interface),
        ("CNI_ARGS", &arguments),
        ("CNI_PATH", "/opt/cni/bin"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn call(world: &World, variables: &BTreeMap<String, String>, input: &str) -> Result<Ended> {
    let child = world.containerd().start("ferrant", variables, input)?;
    Ended::wait(child)
}
