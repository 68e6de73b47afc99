//! What the system does with a packet: asked of the agents, who trace it through their switches. A packet that leaves for another
//! node is traced on there as the tunnel packet that arrives.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use apis::query::{Names, TRACE_PATH, TraceAnswer, TraceRequest, TraceSource};

use crate::lab::{Lab, post};

/// What the system did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Each node's answer, in the packet's order.
    pub hops: Vec<Hop>,
}

/// One node's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The node.
    pub node: String,
    /// What its switch did.
    pub answer: TraceAnswer,
}

impl Observed {
    /// Whether the packet came through, as far as policy is asked.
    pub fn last(&self) -> &TraceAnswer {
        &self.hops[self.hops.len() - 1].answer
    }

    /// What decided in egress: only the first node asks.
    pub fn egress(&self) -> &Names {
        &self.hops[0].answer.egress
    }

    /// What decided in ingress: only the last node asks.
    pub fn ingress(&self) -> &Names {
        &self.last().ingress
    }
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for hop in &self.hops {
            let a = &hop.answer;
            write!(
                f,
                "[{}: {} in {} egress {:?} ingress {:?}] ",
                hop.node, a.outcome, a.table, a.egress.names, a.ingress.names
            )?;
        }
        Ok(())
    }
}

/// The agents, by node and by where their tunnels end.
pub struct Agents {
    sockets: BTreeMap<String, PathBuf>,
    tunnel_ends: BTreeMap<IpAddr, String>,
    limit: Duration,
}

impl Agents {
    /// The agents of a lab.
    pub fn of(lab: &Lab) -> Self {
        let mut agents = Self {
            sockets: BTreeMap::new(),
            tunnel_ends: BTreeMap::new(),
            limit: lab.pace().allow(Duration::from_secs(5)),
        };
        for node in lab.nodes() {
            agents.sockets.insert(node.name().to_owned(), node.agent_socket());
            for &address in &node.plan().addresses {
                agents.tunnel_ends.insert(address, node.name().to_owned());
            }
        }
        agents
    }

    /// Follows a packet from where it enters.
    pub async fn follow(&self, entry: &str, request: TraceRequest) -> Result<Observed> {
        let mut hops = vec![self.ask(entry, &request).await?];
        if hops[0].answer.outcome == "ToTunnel" {
            let end = hops[0].answer.tunnel_destination.context("a packet left by the tunnel, but not to whom")?;
            let node = self.tunnel_ends.get(&end).with_context(|| format!("no node's tunnel ends at {end}"))?;
            let request = TraceRequest { source: TraceSource::Tunnel(entry.to_owned()), ..request };
            hops.push(self.ask(node, &request).await?);
        }
        Ok(Observed { hops })
    }

    async fn ask(&self, node: &str, request: &TraceRequest) -> Result<Hop> {
        let socket = self.sockets.get(node).with_context(|| format!("the lab has no node {node}"))?;
        let answer = post(socket, TRACE_PATH, &serde_json::to_value(request)?, self.limit).await?;
        ensure!(answer.status == 200, "{node} did not trace {request:?}: {}", answer.text());
        let answer: TraceAnswer = serde_json::from_value(answer.json()?).context("the agent's trace")?;
        if !["Delivered", "ToTunnel", "ToGateway", "Dropped"].contains(&answer.outcome.as_str()) {
            bail!("{node} answered {:?}", answer.outcome);
        }
        Ok(Hop { node: node.to_owned(), answer })
    }
}
