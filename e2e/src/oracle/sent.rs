//! Some questions as real packets: with a reply when they are allowed, and with a second packet after a denial.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use policy::{Outcome, Verdict};

use super::draw::{Drawn, Part};
use super::question::{From, Question, To};
use super::world::World;
use crate::lab::{Lab, Namespace};
use crate::probe::{self, Patience, Probe, Protocol, Servers};

/// Starts a server for every declared TCP and UDP port of every attached pod.
pub async fn serve(drawn: &Drawn, world: &World, lab: &Lab) -> Result<Servers> {
    let mut servers = Servers::default();
    for (index, pod) in drawn.pods.iter().enumerate().filter(|(_, pod)| pod.part == Part::Pod) {
        let key = format!("{}/{}", pod.namespace, pod.name);
        let ports: BTreeSet<(Protocol, u16)> =
            pod.ports.iter().filter_map(|port| Some((protocol(port.protocol)?, port.number))).collect();
        let wanted: Vec<(Protocol, SocketAddr)> = ports
            .iter()
            .flat_map(|&(protocol, port)| {
                world
                    .pod_addresses(index, pod)
                    .into_iter()
                    .map(move |address| (protocol, SocketAddr::new(address, port)))
            })
            .collect();
        servers.join(probe::serve(lab.pod(&key)?.namespace(), &key, &wanted).await?);
    }
    Ok(servers)
}

fn protocol(name: &str) -> Option<Protocol> {
    match name {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "ICMP" => Some(Protocol::Icmp),
        _ => None,
    }
}

/// Whether a question can go as a real packet: between pods, or from a node to its pod, by a protocol that sockets here speak.
/// Port 0 is reserved (RFC 6335, section 6): sockets do not send to it.
pub fn can_be_sent(question: &Question) -> bool {
    let ends = matches!((question.from, question.to), (From::Pod(_) | From::Node(_), To::Pod(_)));
    let port = question.port != 0 || question.protocol == "ICMP";
    ends && port && question.spoofed.is_none() && protocol(question.protocol).is_some()
}

/// Sends questions, all at once; what came out differently is said in words.
pub async fn send(
    asked: &[(Question, Verdict)],
    drawn: &Drawn,
    world: &World,
    lab: &Lab,
    patience: &Patience,
) -> Result<Vec<(usize, String)>> {
    let probes: Vec<Probe> =
        asked.iter().map(|(question, _)| as_probe(question, drawn, world, lab)).collect::<Result<_>>()?;
    let replies = probe::send_all(&probes, patience).await;
    let mut differences = Vec::new();
    for (index, (reply, (question, verdict))) in replies.into_iter().zip(asked).enumerate() {
        let wanted = expected(question, verdict, drawn);
        match reply {
            Ok(reply) if reply.verdict == wanted => {}
            Ok(reply) => differences.push((index, format!("a real packet was {} instead of {wanted}", reply.verdict))),
            Err(error) => differences.push((index, format!("a real packet failed: {error:#}"))),
        }
    }
    Ok(differences)
}

fn as_probe(question: &Question, drawn: &Drawn, world: &World, lab: &Lab) -> Result<Probe> {
    let from: Arc<Namespace> = match question.from {
        From::Pod(index) => {
            let pod = &drawn.pods[index];
            lab.pod(&format!("{}/{}", pod.namespace, pod.name))?.namespace().clone()
        }
        From::Node(node) => lab.node(node)?.namespace().clone(),
        From::Outside => anyhow::bail!("the host outside has no route to pods"),
    };
    let protocol = protocol(question.protocol).context("only TCP, UDP and ICMP have sockets here")?;
    Ok(Probe::new(&from, question.destination_address(world), protocol, question.port))
}

fn expected(question: &Question, verdict: &Verdict, drawn: &Drawn) -> probe::Verdict {
    let To::Pod(index) = question.to else { return probe::Verdict::TimedOut };
    let served = question.protocol == "ICMP"
        || drawn.pods[index]
            .ports
            .iter()
            .any(|port| port.protocol == question.protocol && port.number == question.port);
    match (verdict.outcome, served) {
        (Outcome::Allowed, true) => probe::Verdict::Reached,
        (Outcome::Allowed, false) => probe::Verdict::Refused,
        _ => probe::Verdict::TimedOut,
    }
}
