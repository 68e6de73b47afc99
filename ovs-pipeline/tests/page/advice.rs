//! "My packet was dropped in table X: what now?"

use std::fmt::Write;

use ovs_pipeline::{Miss, Table};

use super::tables::anchor;
use super::{Line, Lines};

const HOW: &str = "## My packet was dropped

First find the table. Each way names it:

- **By asking the agent**: `POST /v1/trace` on the agent's socket with the pod and the packet answers with the table, and with the
  rule or isolation that decided, by name.
- **By tracing on the node**: `ovs-appctl ofproto/trace br-int 'in_port=<pod's port>,tcp,nw_src=…,nw_dst=…,tcp_dst=…,eth_src=<pod's
  link address>,tcp_flags=syn'`. Every line `NN. …` is a table; the last one is where the packet ended. A reply, or a packet of a
  connection that exists, needs `ct_mark=1` (admitted) or `ct_mark=3` (admitted, then blocked) in the packet and
  `--ct-next trk,est` (with `,rpl` for a reply).
- **By counters**: `ovs-ofctl -O OpenFlow15 dump-flows br-int | grep -v n_packets=0` before and after. The flows of priority 0 are
  the misses.

A drop in a verdict table (48, 88) is the deed; the table before it in the trace decided, and `reg4` (egress) and `reg5`
(ingress) hold the number of the rule or isolation that did. In the other node's bridge the packet begins anew, in table 0.

";

/// The index: where, why, and what to look at.
pub fn section(lines: &Lines) -> String {
    let mut text = HOW.to_string();
    text += "| dropped in | because | look at |\n|---|---|---|\n";
    for &table in Table::ALL {
        let Some(advice) = advice(table) else { continue };
        let because = reasons(table, lines.get(&table).map_or(&[], Vec::as_slice)).join("<br>");
        let _ = writeln!(text, "| [{0} {1}](#{2}) | {because} | {advice} |", table.id(), table.name(), anchor(table));
    }
    text
}

/// The reasons of the table's flows that drop, or that say drop; and the miss.
fn reasons(table: Table, lines: &[Line]) -> Vec<String> {
    let says_drop =
        |line: &&Line| line.priority > 0 && (line.actions == "drop" || line.actions.contains("_verdict=drop"));
    let mut reasons: Vec<String> = lines.iter().filter(says_drop).map(|line| line.why.clone()).collect();
    if table.spec().miss == Miss::Drop {
        reasons.push("nothing matched".to_string());
    }
    let mut seen = std::collections::HashSet::new();
    reasons.retain(|reason| seen.insert(reason.clone()));
    reasons
}

/// What to look at; `None` for tables that drop nothing.
fn advice(table: Table) -> Option<&'static str> {
    Some(match table {
        Table::Classifier => {
            "The port is no pod's, not the tunnel's and not the gateway's: is the pod attached on this node, and \
                              does its interface have the OpenFlow port that the agent believes (`/v1/pods`)?"
        }
        Table::SpoofGuard => {
            "The pod sent with a link address or an IP address that is not its own, a VLAN tag, or what only \
                              routers send. Compare the packet with the pod's line in `/v1/pods`. A pod without an IPv6 address \
                              may send no IPv6."
        }
        Table::TunnelGuard => {
            "The inner source is not a pod or address of the node that sent it, or no node has that tunnel \
                               endpoint. Are the other node's addresses and pod ranges what this agent believes?"
        }
        Table::NeighborResponder => {
            "Only the gateway's address is answered; everything else is routed by it, so a pod needs no \
                                     other neighbor. Does the pod have its route through the gateway?"
        }
        Table::NeighborAdvertisement => "Nothing should end here but the gateway's answer.",
        Table::Conntrack => "Neither IPv4 nor IPv6.",
        Table::ConntrackState => {
            "The packet can not start a connection and belongs to none that policy admitted. A SYN that was \
                                  denied, a connection that policy has blocked since (`ct_mark=3`), an entry lost when the switch \
                                  restarted (netdev), or checksum offload that is on at the pod's end (netdev: `+inv`)."
        }
        Table::EgressTierRule | Table::IngressTierRule => {
            "Only when the agent runs with policy switched to drop-all for a test."
        }
        Table::EgressRule | Table::IngressRule => return None,
        Table::EgressDefault => {
            "A policy isolates the sending pod for egress and no rule of any policy allows this packet. The \
                                 isolation's name is in the verdict; compare the packet with the egress rules of the policies that \
                                 select the pod. A destination that shows as `unknown` is a pod address this node does not map."
        }
        Table::IngressDefault => {
            "A policy isolates the receiving pod for ingress and no rule of any policy allows this packet. \
                                  Compare it with the ingress rules of the policies that select the pod; the source counts as it \
                                  entered the switch."
        }
        Table::EgressBaseline | Table::IngressBaseline => {
            "The agent has no word yet on who the pod is, and a policy could select \
                                  it. Is the agent connected to the controller, and has the controller the pod (`/v1/pods`)?"
        }
        Table::EgressVerdict | Table::IngressVerdict => {
            "What the policy tables said is done here. Read the table before this one \
                                  in the trace. No verdict at all is a fault of the pipeline: please report it."
        }
        Table::Routing => {
            "Nobody has the destination: a pod range without such a pod, or a node this agent does not know; or it \
                           is multicast, broadcast or link-local; or its TTL ended; or it came from elsewhere and is for outside \
                           the cluster."
        }
        Table::Commit => "A re-examined connection had ended already.",
        Table::Output => {
            "The way out is the way in: a pod to itself, or tunnel to tunnel. Or the packet was the agent's \
                          re-examination, which is never sent."
        }
        Table::Tick => "No packet comes here.",
        Table::ServiceAffinity | Table::ServiceEndpoint | Table::ServiceNat | Table::SourceIdentity => return None,
        Table::DestinationIdentity | Table::EgressAddress => return None,
    })
}
