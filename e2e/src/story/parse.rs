//! Text to stories. Every complaint has the file's line.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::antctl::normal;
use super::step::{ControllerStep, ForgeLine, ProbeLine, Seen, Size, Step, Story};
use crate::probe::{Forgery, Protocol, Verdict};

/// Reads a story's file.
pub fn parse_file(path: &Path) -> Result<Story> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    parse(&name, &text).with_context(|| path.display().to_string())
}

/// A line at the left margin with the indented lines below it.
struct Block<'a> {
    number: usize,
    head: &'a str,
    body: Vec<(usize, &'a str)>,
}

/// Reads a story.
pub fn parse(name: &str, text: &str) -> Result<Story> {
    let mut story = Story {
        name: name.to_owned(),
        about: about(text),
        not_about_policy: None,
        tunnel: None,
        controllers: 1,
        certificates: None,
        files: Vec::new(),
        servers: Vec::new(),
        steps: Vec::new(),
    };
    ensure!(!story.about.is_empty(), "line 1: a story begins with a comment that says what it shows");
    for block in blocks(text)? {
        let number = block.number;
        read_block(&mut story, block).with_context(|| format!("line {number}"))?;
    }
    let shows = |(_, step): &(usize, Step)| {
        matches!(
            step,
            Step::Probe(_)
                | Step::Eventually(_)
                | Step::Exchange(..)
                | Step::Streaming(..)
                | Step::Forge(_)
                | Step::Antctl { .. }
                | Step::Attach { .. }
        )
    };
    ensure!(
        story.steps.iter().any(shows),
        "the story asks nothing: it needs a `probe`, `exchange`, `streaming` or `forge`"
    );
    Ok(story)
}

/// The comment at its beginning.
fn about(text: &str) -> String {
    let lines = text.lines().take_while(|line| line.starts_with('#'));
    lines.map(|line| line.trim_start_matches('#').trim()).collect::<Vec<_>>().join(" ")
}

fn blocks(text: &str) -> Result<Vec<Block<'_>>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        if let Some(body) = line.strip_prefix("  ") {
            let block = blocks.last_mut().with_context(|| format!("line {number} is indented below nothing"))?;
            block.body.push((number, body));
        } else {
            ensure!(!line.starts_with(' '), "line {number} is indented by one space; write two");
            blocks.push(Block { number, head: line.trim_end(), body: Vec::new() });
        }
    }
    Ok(blocks)
}

fn read_block(story: &mut Story, block: Block<'_>) -> Result<()> {
    let words: Vec<&str> = block.head.split_whitespace().collect();
    let owned = |text: &&str| (*text).to_owned();
    let step = match words.as_slice() {
        ["cluster"] => return read_cluster(story, &block.body),
        ["not", "about", "policy:", reason @ ..] => {
            ensure!(!reason.is_empty(), "say why the story is not about policy");
            story.not_about_policy = Some(reason.join(" "));
            return Ok(());
        }
        ["apply", file] => {
            ensure!(!block.body.is_empty(), "`apply` needs the file's text below it, indented by two");
            let lines: Vec<&str> = block.body.iter().map(|(_, line)| *line).collect();
            Step::Apply { file: owned(file), text: lines.join("\n") + "\n" }
        }
        ["remove", file] => Step::Remove(owned(file)),
        ["rename", from, to] => Step::Rename(owned(from), owned(to)),
        ["attach"] => attach(&block, Vec::new())?,
        ["attach", "watched", "by", who @ ..] => attach(&block, who.iter().map(owned).collect())?,
        ["detach", pod] => Step::Detach(owned(pod)),
        ["restart", "agent", node] => Step::RestartAgent(owned(node)),
        ["restart", "switch", node, "while", senders @ .., "floods", target] => Step::RestartSwitch {
            node: owned(node),
            senders: senders.iter().map(owned).collect(),
            target: owned(target),
        },
        ["restart", "controller"] => Step::RestartController(0),
        ["restart", "controller", number] => Step::RestartController(controller(number)?),
        ["start", "controller", number] => Step::Controller(ControllerStep::Start, controller(number)?),
        ["stop", "controller", number] => Step::Controller(ControllerStep::Stop, controller(number)?),
        ["pause", "controller", number] => Step::Controller(ControllerStep::Pause, controller(number)?),
        ["resume", "controller", number] => Step::Controller(ControllerStep::Resume, controller(number)?),
        ["part", node, "from", "controller", number] => Step::Part(owned(node), controller(number)?),
        ["rejoin", node, "with", "controller", number] => Step::Rejoin(owned(node), controller(number)?),
        ["certify", node, "by", "another", "cluster"] => Step::Estrange(owned(node)),
        ["certificates", "are", "renewed"] => Step::Renewed,
        ["certify", node] => Step::Certify(owned(node)),
        ["neighbour", pod] => Step::Neighbour(owned(pod)),
        ["probe"] => Step::Probe(lines(&block.body, probe_line)?),
        ["eventually"] => Step::Eventually(lines(&block.body, probe_line)?),
        ["forge"] => Step::Forge(lines(&block.body, forge_line)?),
        ["open", name, from, "->", to, protocol_name, port_number] => Step::Open {
            name: owned(name),
            from: owned(from),
            to: owned(to),
            protocol: protocol(protocol_name)?,
            port: port(port_number)?,
        },
        ["exchange", name, outcome] => Step::Exchange(owned(name), verdict(outcome)?),
        ["antctl", node, arguments @ ..] => Step::Antctl {
            node: owned(node),
            arguments: arguments.iter().map(owned).collect(),
            says: lines(&block.body, |line| Ok(normal(line)))?,
        },
        ["stream", name] => Step::Stream(owned(name)),
        ["streaming", name, "yes"] => Step::Streaming(owned(name), true),
        ["streaming", name, "no"] => Step::Streaming(owned(name), false),
        _ => bail!("`{}` is no step; see the list in e2e/src/story/mod.rs", block.head),
    };
    story.steps.push((block.number, step));
    Ok(())
}

fn lines<T>(body: &[(usize, &str)], read: impl Fn(&str) -> Result<T>) -> Result<Vec<(usize, T)>> {
    ensure!(!body.is_empty(), "there must be a line below it, indented by two");
    body.iter()
        .map(|(number, line)| Ok((*number, read(line).with_context(|| format!("line {number}: `{}`", line.trim()))?)))
        .collect()
}

fn read_cluster(story: &mut Story, body: &[(usize, &str)]) -> Result<()> {
    let mut objects = Vec::new();
    for (number, line) in body {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut read = || -> Result<()> {
            match words.as_slice() {
                ["pod", rest @ ..] => objects.push(pod(rest)?),
                ["namespace", name, labels @ ..] => objects.push(namespace(name, labels)?),
                ["node", name, options @ ..] => objects.push(node(name, options)?),
                ["serve", place, port] => {
                    let (protocol, port, _) = served(port)?;
                    story.servers.push(((*place).to_owned(), protocol, port));
                }
                ["controllers", count] => story.controllers = controller(count)?,
                ["certificates", lifetime] => {
                    story.certificates = Some(certificates::lifetime(lifetime).map_err(anyhow::Error::msg)?)
                }
                ["tunnel", kind] => story.tunnel = Some((*kind).to_owned()),
                _ => bail!(
                    "a cluster has lines that begin with pod, namespace, node, serve, controllers, certificates or tunnel"
                ),
            }
            Ok(())
        };
        read().with_context(|| format!("line {number}: `{}`", line.trim()))?;
    }
    story.files.push(("cluster.yaml".to_owned(), manifest(&objects)));
    Ok(())
}

fn attach(block: &Block<'_>, watched_by: Vec<String>) -> Result<Step> {
    let pods = lines(&block.body, |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["pod", rest @ ..] => pod(rest),
            _ => bail!("only pods are attached"),
        }
    })?;
    let objects: Vec<Value> = pods.into_iter().map(|(_, pod)| pod).collect();
    let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let file = format!("pod-{}.yaml", objects.first().map(name).unwrap_or_default());
    Ok(Step::Attach { file, text: manifest(&objects), watched_by })
}

/// `shop/web on node-a app=web TCP/80=http UDP/53 address=10.10.1.7 host-network`
fn pod(words: &[&str]) -> Result<Value> {
    let [key, rest @ ..] = words else { bail!("a pod has a name: namespace/name") };
    let (namespace, name) = key.split_once('/').with_context(|| format!("`{key}` is not namespace/name"))?;
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": {}},
        "spec": {"containers": [{"name": "main", "image": "example/main", "ports": []}]},
    });
    let mut words = rest.iter();
    let mut ips = Vec::new();
    while let Some(word) = words.next() {
        if *word == "on" {
            pod["spec"]["nodeName"] = json!(words.next().context("`on` names a node")?);
        } else if *word == "host-network" {
            pod["spec"]["hostNetwork"] = json!(true);
        } else if let Some(address) = word.strip_prefix("address=") {
            ips.push(json!({ "ip": address }));
        } else if word.contains('/') {
            let (protocol, port, name) = served(word)?;
            let mut entry = json!({"containerPort": port, "protocol": protocol.to_string()});
            if let Some(name) = name {
                entry["name"] = json!(name);
            }
            let ports = pod["spec"]["containers"][0]["ports"].as_array_mut();
            ports.expect("`ports` is a list from the start").push(entry);
        } else {
            let (label, value) =
                word.split_once('=').with_context(|| format!("`{word}` is no label, port or place"))?;
            pod["metadata"]["labels"][label] = json!(value);
        }
    }
    if let Some(first) = ips.first() {
        pod["status"] = json!({ "podIP": first["ip"], "podIPs": ips });
    }
    Ok(pod)
}

/// `node-a addresses=172.18.0.11,fd00:18::11 pods=10.10.1.0/24`
fn node(name: &str, options: &[&str]) -> Result<Value> {
    let mut node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    for option in options {
        match option.split_once('=') {
            Some(("addresses", list)) => {
                let address = |text: &str| json!({"type": "InternalIP", "address": text});
                node["status"] = json!({ "addresses": list.split(',').map(address).collect::<Vec<_>>() });
            }
            Some(("pods", list)) => {
                let ranges: Vec<&str> = list.split(',').collect();
                node["spec"] = json!({ "podCIDR": ranges[0], "podCIDRs": ranges });
            }
            _ => bail!("`{option}` is not addresses=… or pods=…"),
        }
    }
    Ok(node)
}

fn namespace(name: &str, labels: &[&str]) -> Result<Value> {
    let mut namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {}}});
    for label in labels {
        let (label, value) = label.split_once('=').with_context(|| format!("`{label}` is no label"))?;
        namespace["metadata"]["labels"][label] = json!(value);
    }
    Ok(namespace)
}

/// `TCP/80` or `TCP/80=http`.
fn served(text: &str) -> Result<(Protocol, u16, Option<&str>)> {
    let (text, name) = text.split_once('=').map_or((text, None), |(text, name)| (text, Some(name)));
    let (name_of_protocol, number) = text.split_once('/').with_context(|| format!("`{text}` is not like TCP/80"))?;
    Ok((protocol(name_of_protocol)?, port(number)?, name))
}

fn manifest(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("{object:#}\n")).collect::<Vec<_>>().join("---\n")
}

fn protocol(text: &str) -> Result<Protocol> {
    match text {
        "TCP" => Ok(Protocol::Tcp),
        "UDP" => Ok(Protocol::Udp),
        "SCTP" => Ok(Protocol::Sctp),
        "ICMP" => Ok(Protocol::Icmp),
        _ => bail!("`{text}` is not TCP, UDP, SCTP or ICMP"),
    }
}

fn controller(text: &str) -> Result<usize> {
    text.parse().ok().filter(|number| *number < 10).with_context(|| format!("`{text}` is no number of controllers"))
}

fn port(text: &str) -> Result<u16> {
    text.parse().ok().filter(|port| *port > 0).with_context(|| format!("`{text}` is no port"))
}

fn verdict(text: &str) -> Result<Verdict> {
    match text {
        "Reached" => Ok(Verdict::Reached),
        "Refused" => Ok(Verdict::Refused),
        "TimedOut" => Ok(Verdict::TimedOut),
        _ => bail!("`{text}` is not Reached, Refused or TimedOut"),
    }
}

/// `FROM -> TO TCP 80 [IPv4|IPv6] [size=N|size=full] [seen=PLACE] VERDICT [by NAME; NAME | by nothing]`
fn probe_line(line: &str) -> Result<ProbeLine> {
    let (line, by) = match line.split_once(" by ") {
        Some((line, "nothing")) => (line, Some(Vec::new())),
        Some((line, names)) => (line, Some(names.split(';').map(|name| name.trim().to_owned()).collect())),
        None => (line, None),
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    let [from, "->", to, protocol_name, rest @ .., outcome] = words.as_slice() else {
        bail!("a probe is: FROM -> TO PROTOCOL [PORT] [options] VERDICT [by NAMES]");
    };
    let mut probe = ProbeLine {
        from: (*from).to_owned(),
        to: (*to).to_owned(),
        protocol: protocol(protocol_name)?,
        port: 0,
        ipv6: None,
        size: Size::Small,
        seen_as: None,
        verdict: verdict(outcome)?,
        by,
    };
    for word in rest {
        match word.split_once('=') {
            Some(("size", "full")) => probe.size = Size::Full,
            Some(("size", bytes)) => {
                probe.size = Size::Bytes(bytes.parse().with_context(|| format!("`{bytes}` is no size"))?)
            }
            Some(("seen", place)) => probe.seen_as = Some(place.to_owned()),
            _ if *word == "IPv4" => probe.ipv6 = Some(false),
            _ if *word == "IPv6" => probe.ipv6 = Some(true),
            _ => probe.port = port(word)?,
        }
    }
    ensure!(probe.protocol == Protocol::Icmp || probe.port != 0, "{} has ports: name one", probe.protocol);
    Ok(probe)
}

/// `FROM -> TO datagram|ack|syn|unreachable [source=PLACE] port=N Seen|Unseen`
fn forge_line(line: &str) -> Result<ForgeLine> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [from, "->", to, kind, rest @ .., outcome] = words.as_slice() else {
        bail!("a forged packet is: FROM -> TO datagram|ack|syn|unreachable [source=PLACE] port=N Seen|Unseen");
    };
    let mut forge = ForgeLine {
        from: (*from).to_owned(),
        to: (*to).to_owned(),
        forgery: match *kind {
            "datagram" => Forgery::Datagram,
            "ack" => Forgery::BareAck,
            "syn" => Forgery::Syn,
            "unreachable" => Forgery::Unreachable,
            _ => bail!("`{kind}` is not datagram, ack, syn or unreachable"),
        },
        source: None,
        port: 0,
        seen: match *outcome {
            "Seen" => Seen::Seen,
            "Unseen" => Seen::Unseen,
            _ => bail!("`{outcome}` is not Seen or Unseen"),
        },
    };
    for word in rest {
        match word.split_once('=') {
            Some(("source", place)) => forge.source = Some(place.to_owned()),
            Some(("port", number)) => forge.port = port(number)?,
            _ => bail!("`{word}` is no option"),
        }
    }
    ensure!(forge.port != 0, "name the destination's port: port=N");
    Ok(forge)
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
