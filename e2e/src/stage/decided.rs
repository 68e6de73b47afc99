//! Which rules decide about a packet: the agents follow it through their switches.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use apis::query::{Names, TRACE_PATH, TraceAnswer, TraceRequest, TraceSource};

use super::{Place, Question, Stage};
use crate::lab::post;

const LIMIT: Duration = Duration::from_secs(10);
/// Numbers that name no rule and no isolation: none looked, there is no isolation, or the direction is another node's.
const NOTHING: [u32; 3] = [0, 2, 4];

impl Stage {
    /// The rules or isolations that decide about the packet of a question: of egress, then of ingress.
    pub async fn decided_by(&self, question: &Question) -> Result<Vec<String>> {
        let Some(probe) = self.probe(question)? else { return Ok(Vec::new()) };
        let source_address = match self.source_address(question) {
            Some(address) => address,
            None => return Ok(Vec::new()),
        };
        let request = |source: TraceSource| TraceRequest {
            source,
            source_address: Some(source_address),
            destination_address: probe.to,
            protocol: question.protocol.to_string(),
            source_port: None,
            destination_port: (question.port != 0).then_some(question.port),
            icmp_type: None,
            ct: None,
        };
        let mut by = Vec::new();
        // What decides on the other side of a tunnel is the other node's to say.
        let source_node = self.node_of(&question.from);
        let destination_node = self.node_of(&question.to);
        let mut passed = true;
        if let Some(node) = &source_node {
            let source = match &question.from {
                Place::Pod(key) if !self.is_host(&question.from) => TraceSource::Pod(key.clone()),
                _ => TraceSource::Gateway(true),
            };
            let answer = self.trace(node, &request(source)).await?;
            by.extend(named(&answer.egress));
            if source_node == destination_node {
                by.extend(named(&answer.ingress));
            }
            passed = answer.outcome != "Dropped";
        }
        if let Some(node) = destination_node.filter(|node| passed && source_node.as_ref() != Some(node)) {
            let source = match source_node {
                Some(source_node) => TraceSource::Tunnel(source_node),
                None => TraceSource::Gateway(false),
            };
            by.extend(named(&self.trace(&node, &request(source)).await?.ingress));
        }
        Ok(by)
    }

    async fn trace(&self, node: &str, request: &TraceRequest) -> Result<TraceAnswer> {
        let socket = self.lab.node(node)?.agent_socket();
        let body = serde_json::to_value(request).context("a trace request is JSON")?;
        let answer = post(&socket, TRACE_PATH, &body, self.lab.pace().allow(LIMIT)).await?.json();
        let answer = answer.with_context(|| format!("node {node} cannot say who decides about {body}"))?;
        serde_json::from_value(answer).with_context(|| format!("the trace of node {node} is not one"))
    }

    fn source_address(&self, question: &Question) -> Option<IpAddr> {
        self.addresses(&question.from).ok()?.into_iter().find(|address| address.is_ipv6() == question.ipv6)
    }
}

fn named(decision: &Names) -> Vec<String> {
    if NOTHING.contains(&decision.number) { Vec::new() } else { decision.names.clone() }
}
