//! nft: the source address of what leaves the cluster, and the interfaces that the node's own stack must not hear.
//!
//! Two tables, both Ferrant's alone. `inet ferrant` masquerades; it is written as nft lists it and replaced as a whole, in one
//! transaction, when the listing differs. `netdev ferrant` has a chain for each interface that a userspace switch holds: without
//! it the kernel too would receive what arrives there, answer ARP on the pod's wire and forward around the switch. A chain comes
//! and goes alone, so the others have no gap. Text for one `nft -f -` each time: what nft does with it is atomic.

#![allow(clippy::disallowed_methods, reason = "a wrapper: nft, a process each time")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io;
use std::process::{Output, Stdio};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::closing;
pub use super::closing::Netfilter;

/// What is masqueraded: from these pods to everywhere but pods, where it leaves through another interface than the gateway's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masquerade {
    /// The gateway interface.
    pub gateway_interface: String,
    /// The node's own pod CIDRs.
    pub local_pod_cidrs: Vec<IpNet>,
    /// Pod CIDRs of all nodes, this one included.
    pub cluster_pod_cidrs: Vec<IpNet>,
}

/// Why nft is not as it has to be.
#[derive(Debug, thiserror::Error)]
pub enum NatError {
    /// The tool cannot be started.
    #[error("cannot run nft: {0}; install nftables")]
    Tool(#[source] std::io::Error),
    /// The tool said no.
    #[error("nft cannot {step}: {reason}")]
    Refused {
        /// What was to be done, with its object.
        step: String,
        /// What nft printed.
        reason: String,
    },
    /// A name that nft's text cannot hold.
    #[error("interface name {0:?} cannot be written for nft")]
    InterfaceName(String),
}

impl Masquerade {
    /// The table as `nft list table inet ferrant` prints it; only white space differs between line widths.
    pub fn text(&self) -> Result<String, NatError> {
        let gateway = quoted(&self.gateway_interface)?;
        let mut sets = String::new();
        let mut rules = String::new();
        for (family, keyword, kind) in [("4", "ip", "ipv4_addr"), ("6", "ip6", "ipv6_addr")] {
            let local = of_family(&self.local_pod_cidrs, family);
            if local.is_empty() {
                continue;
            }
            let cluster = of_family(&self.cluster_pod_cidrs, family);
            for (name, elements) in [("local_pods", local), ("cluster_pods", cluster)] {
                let elements = if elements.is_empty() {
                    String::new()
                } else {
                    format!("\t\telements = {{ {} }}\n", elements.join(", "))
                };
                let _ =
                    write!(sets, "\tset {name}{family} {{\n\t\ttype {kind}\n\t\tflags interval\n{elements}\t}}\n\n");
            }
            let _ = writeln!(
                rules,
                "\t\t{keyword} saddr @local_pods{family} {keyword} daddr != @cluster_pods{family} oifname != {gateway} masquerade"
            );
        }
        Ok(format!(
            "table inet ferrant {{\n{sets}\tchain postrouting {{\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n{rules}\t}}\n}}\n"
        ))
    }
}

/// Makes `inet ferrant` as it has to be; says what was changed.
pub async fn reconcile_masquerade(desired: &Masquerade) -> Result<Vec<String>, NatError> {
    let text = desired.text()?;
    let listing = list("inet").await?;
    if words(&listing) == words(&text) {
        return Ok(Vec::new());
    }
    let what = "replace table inet ferrant (masquerade)";
    // `add` first, so that `delete` finds one; both are part of the transaction.
    load(what, &format!("add table inet ferrant\ndelete table inet ferrant\n{text}")).await?;
    Ok(vec![what.to_owned()])
}

/// Makes `netdev ferrant` have a chain for exactly these interfaces, as far as they exist; says what was changed.
pub async fn reconcile_closed(interfaces: &BTreeSet<String>) -> Result<Vec<String>, NatError> {
    let closed = closed().await?;
    let mut changes = Vec::new();
    let mut text = String::new();
    for interface in interfaces {
        // A chain needs its device on kernels that bind by device; one that is not there hears nothing either.
        let exists = nix::net::if_::if_nametoindex(interface.as_str()).is_ok();
        if exists && closed.get(&chain_name(interface)) != Some(&closing(interface)) {
            text.push_str(&close_text(interface)?);
            changes.push(format!("close {interface} to the node's own stack"));
        }
    }
    let wanted = interfaces.iter().map(|interface| chain_name(interface)).collect::<BTreeSet<_>>();
    for chain in closed.keys().filter(|chain| !wanted.contains(*chain)) {
        let _ = writeln!(text, "flush chain netdev ferrant {chain}\ndelete chain netdev ferrant {chain}");
        changes.push(format!("remove chain netdev ferrant {chain}"));
    }
    if !changes.is_empty() {
        load("change table netdev ferrant", &text).await?;
    }
    Ok(changes)
}

/// Closes interfaces to the node's own stack, all or none; the others are not touched. It has to happen before they are ports, and
/// while a runtime waits: so without a process of nft, which costs 5 ms.
pub async fn close(netfilter: &Netfilter, interfaces: &[String]) -> Result<(), NatError> {
    let mut chains = Vec::with_capacity(interfaces.len());
    for interface in interfaces {
        quoted(interface)?;
        chains.push(closing::Closed { chain: chain_name(interface), device: interface.clone() });
    }
    let step = format!("close {}", interfaces.join(", "));
    let netfilter = netfilter.clone();
    transaction(step, move || netfilter.close("ferrant", &chains)).await
}

/// Opens it again. Nothing happens when it is not closed.
pub async fn open(netfilter: &Netfilter, interface: &str) -> Result<(), NatError> {
    let (netfilter, chain) = (netfilter.clone(), chain_name(interface));
    transaction(format!("open {interface}"), move || netfilter.open("ferrant", &chain)).await
}

/// Does what blocks, beside the runtime's tasks.
async fn transaction(step: String, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<(), NatError> {
    let reason = match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Err(NatError::Refused { step, reason })
}

fn close_text(interface: &str) -> Result<String, NatError> {
    let chain = chain_name(interface);
    let device = quoted(interface)?;
    // Whatever has the name now goes in the same transaction, so a chain that was changed by hand is whole again. The new
    // chain's hook is there before the old one's goes.
    Ok(format!(
        "add table netdev ferrant\nadd chain netdev ferrant {chain}\nflush chain netdev ferrant {chain}\ndelete chain netdev ferrant {chain}\n\
         add chain netdev ferrant {chain} {{ type filter hook ingress device {device} priority 0; policy drop; }}\n"
    ))
}

/// A chain's name for an interface: what nft's identifiers cannot hold is written as its code.
fn chain_name(interface: &str) -> String {
    let mut name = "closed_".to_owned();
    for byte in interface.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, "_{byte:02x}");
        }
    }
    name
}

/// An interface's name in nft's quotes, which know no escape.
fn quoted(interface: &str) -> Result<String, NatError> {
    let fine = |each: char| !each.is_control() && !each.is_whitespace() && each != '"' && each != '*';
    if interface.is_empty() || interface.len() > 15 || !interface.chars().all(fine) {
        return Err(NatError::InterfaceName(interface.to_owned()));
    }
    Ok(format!("\"{interface}\""))
}

/// The prefixes of a family, none inside another, as nft lists them.
fn of_family(prefixes: &[IpNet], family: &str) -> Vec<String> {
    let shown = |prefix: IpNet| {
        let host = prefix.prefix_len() == prefix.max_prefix_len();
        if host { prefix.addr().to_string() } else { prefix.to_string() }
    };
    if family == "4" {
        let prefixes =
            prefixes.iter().filter_map(|prefix| if let IpNet::V4(prefix) = prefix { Some(*prefix) } else { None });
        Ipv4Net::aggregate(&prefixes.collect()).into_iter().map(|prefix| shown(IpNet::V4(prefix))).collect()
    } else {
        let prefixes =
            prefixes.iter().filter_map(|prefix| if let IpNet::V6(prefix) = prefix { Some(*prefix) } else { None });
        Ipv6Net::aggregate(&prefixes.collect()).into_iter().map(|prefix| shown(IpNet::V6(prefix))).collect()
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// The chains of `netdev ferrant` by name, each as the words of its listing. (The JSON listing of nft 1.0 leaves the device out.)
async fn closed() -> Result<BTreeMap<String, Vec<String>>, NatError> {
    Ok(chains(&list("netdev").await?))
}

fn chains(listing: &str) -> BTreeMap<String, Vec<String>> {
    let mut chains = BTreeMap::new();
    let mut words = listing.split_whitespace();
    while let Some(word) = words.next() {
        if word != "chain" {
            continue;
        }
        let name = words.next().unwrap_or_default().to_owned();
        let (mut depth, mut body) = (0, Vec::new());
        for word in words.by_ref() {
            depth += i32::from(word == "{") - i32::from(word == "}");
            if depth == 0 {
                break;
            }
            body.push(word.to_owned());
        }
        chains.insert(name, body.split_off(1.min(body.len())));
    }
    chains
}

/// The words of a chain that closes an interface and has not been changed by hand.
fn closing(interface: &str) -> Vec<String> {
    let text = format!("type filter hook ingress device \"{interface}\" priority filter; policy drop;");
    text.split_whitespace().map(str::to_owned).collect()
}

/// The listing of Ferrant's table of that family; empty when there is none.
async fn list(family: &str) -> Result<String, NatError> {
    let arguments = ["list", "table", family, "ferrant"];
    let output = run(&arguments, "").await?;
    let reason = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else if reason.contains("No such file or directory") {
        Ok(String::new())
    } else {
        Err(NatError::Refused { step: arguments.join(" "), reason: reason.trim().to_owned() })
    }
}

/// Does all of the text or nothing.
async fn load(step: &str, text: &str) -> Result<(), NatError> {
    fault::point("nft.load.before");
    let output = run(&["-f", "-"], text).await?;
    fault::point("nft.load.done");
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(NatError::Refused { step: step.to_owned(), reason })
}

async fn run(arguments: &[&str], input: &str) -> Result<Output, NatError> {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(NatError::Tool)?;
    if let Some(mut stdin) = child.stdin.take() {
        // no fault point: what the tool does with it has points in `load`
        // A tool that ends early says why on its standard error.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    child.wait_with_output().await.map_err(NatError::Tool)
}

#[cfg(test)]
mod tests {
    use super::{Masquerade, chain_name, chains, closing, quoted};

    fn masquerade(local: &[&str], cluster: &[&str]) -> Masquerade {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a prefix")).collect();
        Masquerade { gateway_interface: "gw0".into(), local_pod_cidrs: parse(local), cluster_pod_cidrs: parse(cluster) }
    }

    #[test]
    fn the_text_of_a_dual_stack_node() {
        let desired = masquerade(
            &["10.10.1.0/24", "fd00:10:0:1::/64"],
            &["10.10.1.0/24", "10.10.2.0/24", "10.10.3.0/24", "10.10.3.128/25", "fd00:10:0:1::/64", "fd00:10:0:3::/64"],
        );
        let text = desired.text().expect("its names are fine");
        assert_eq!(text, include_str!("nat/dual-stack.nft"));
    }

    #[test]
    fn the_text_of_a_node_with_one_family_or_none() {
        let text = masquerade(&["fd00:10:0:1::/64"], &["fd00:10:0:1::/64", "10.0.0.0/8"]).text().expect("fine");
        assert_eq!(text, include_str!("nat/ipv6.nft"));
        assert_eq!(masquerade(&[], &["10.0.0.0/8"]).text().expect("fine"), include_str!("nat/none.nft"));
    }

    #[test]
    fn a_chain_is_named_for_any_interface() {
        let names = ["web-0a1b2c3d", "eth0.100", "br_phy", "a@b"].map(chain_name);
        assert_eq!(names, ["closed_web-0a1b2c3d", "closed_eth0_2e100", "closed_br_5fphy", "closed_a_40b"]);
        for name in ["", "a b", "a\"b", "a*", "sixteen-bytes-xx"] {
            assert!(quoted(name).is_err(), "{name:?} would not be quoted");
        }
    }

    #[test]
    fn a_listing_is_read_chain_by_chain() {
        let listing = "table netdev ferrant {\n\tchain closed_a {\n\t\ttype filter hook ingress device \"a\" priority filter; \
             policy drop;\n\t}\n\n\tchain closed_b {\n\t\ttype filter hook ingress device \"b\" priority filter; policy drop;\n\
             \t\tip saddr { 10.0.0.1, 10.0.0.2 } accept\n\t}\n\n\tchain empty {\n\t}\n}\n";
        let read = chains(listing);
        assert_eq!(read.keys().collect::<Vec<_>>(), ["closed_a", "closed_b", "empty"]);
        assert_eq!(read["closed_a"], closing("a"));
        assert_ne!(read["closed_b"], closing("b"), "somebody added a rule");
        assert!(read["empty"].is_empty());
    }
}
