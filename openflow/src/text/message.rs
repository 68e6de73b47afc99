//! One line a message, for logs: what it is and what it is about.

use std::fmt::{Display, Formatter, Result};

use super::Shown;
use super::group::meter_id;
use crate::bundle::BundleControl;
use crate::flow::{FlowCommand, FlowMod};
use crate::group::GroupMod;
use crate::message::Message;
use crate::meter::MeterMod;
use crate::multipart::{MultipartReply, MultipartRequest, Reply, Request};
use crate::packet::{PacketIn, PacketOut};
use crate::port::{Port, PortReason};

impl Display for Message {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Hello(hello) => write!(f, "hello, versions {:?}", hello.versions),
            // what was refused is not looked into further: an error could refuse an error
            Self::Error(error) => write!(f, "error {}", error.code),
            Self::EchoRequest(body) => write!(f, "echo request, {} bytes", body.len()),
            Self::EchoReply(body) => write!(f, "echo reply, {} bytes", body.len()),
            Self::FeaturesReply(features) => {
                write!(f, "features of {:016x}, {} tables", features.datapath_id, features.tables)
            }
            Self::GetConfigReply(config) => write!(f, "configuration {config:?}"),
            Self::SetConfig(config) => write!(f, "set configuration {config:?}"),
            Self::PacketIn(packet) => packet_in(f, "packet-in", packet),
            Self::Resume(packet) => packet_in(f, "resume", packet),
            Self::FlowRemoved(removed) => write!(
                f,
                "flow removed, reason={}, cookie={:#x}, table={}, priority={},{}",
                removed.reason, removed.cookie, removed.table, removed.priority, removed.matches
            ),
            Self::PortStatus(status) => {
                let reason = match status.reason {
                    PortReason::Added => "added",
                    PortReason::Deleted => "deleted",
                    PortReason::Modified => "modified",
                    PortReason::Other(_) => "changed",
                };
                write!(f, "port {reason}: {}", status.port)
            }
            Self::PacketOut(packet) => write!(f, "{packet}"),
            Self::FlowMod(flow_mod) => write!(f, "{flow_mod}"),
            Self::GroupMod(group_mod) => write!(f, "{group_mod}"),
            Self::MeterMod(meter_mod) => write!(f, "{meter_mod}"),
            Self::PortMod(port_mod) => write!(f, "port mod {port_mod:?}"),
            Self::TableMod(table) => write!(f, "table mod, table={}, config={:#x}", table.table, table.config),
            Self::MultipartRequest(request) => write!(f, "{request}"),
            Self::MultipartReply(reply) => write!(f, "{reply}"),
            Self::BundleControl(control) => write!(f, "{control}"),
            Self::BundleAdd(add) => write!(f, "in bundle {:#x}: {}", add.id, add.message),
            other => other.rest(f),
        }
    }
}

impl Message {
    /// The kinds that are little more than their name.
    fn rest(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::FeaturesRequest => f.write_str("features request"),
            Self::GetConfigRequest => f.write_str("configuration request"),
            Self::BarrierRequest => f.write_str("barrier request"),
            Self::BarrierReply => f.write_str("barrier reply"),
            Self::GetAsyncRequest => f.write_str("asynchronous configuration request"),
            Self::TlvTableRequest => f.write_str("TLV table request"),
            Self::Experimenter { experimenter, kind, body } => {
                write!(f, "experimenter {experimenter:#x} type {kind}, {} bytes", body.len())
            }
            Self::Raw { kind, body } => write!(f, "message of unknown type {kind}, {} bytes", body.len()),
            Self::RequestForward(body) => write!(f, "forwarded request, {} bytes", body.len()),
            other => write!(f, "{other:?}"),
        }
    }
}

fn packet_in(f: &mut Formatter<'_>, name: &str, packet: &PacketIn) -> Result {
    write!(f, "{name} (via {}), table={}", packet.reason, packet.table)?;
    if let Some(cookie) = packet.cookie {
        write!(f, ", cookie={cookie:#x}")?;
    }
    write!(f, ", {}, {} bytes, userdata=", packet.metadata, packet.packet.len())?;
    super::dotted(f, &packet.userdata)?;
    f.write_str(if packet.continuation.is_some() { ", paused" } else { "" })
}

impl Display for PacketOut {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let actions = Shown(|f: &mut Formatter<'_>| super::action::list(f, &self.actions));
        write!(f, "packet-out {}, {} bytes, actions={actions}", self.metadata, self.packet.len())
    }
}

impl Display for FlowMod {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self.command {
            FlowCommand::Add => "add flow ",
            FlowCommand::Modify => "modify flows ",
            FlowCommand::ModifyStrict => "modify flow ",
            FlowCommand::Delete => "delete flows ",
            FlowCommand::DeleteStrict => "delete flow ",
        })?;
        if self.cookie_mask != 0 {
            write!(f, "cookie_mask={:#x} ", self.cookie_mask)?;
        }
        write!(f, "{}", self.flow)
    }
}

impl Display for GroupMod {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Add(group) => write!(f, "add group {group}"),
            Self::Modify(group) => write!(f, "modify group {group}"),
            Self::AddOrModify(group) => write!(f, "add or modify group {group}"),
            Self::Delete(id) => write!(f, "delete group {id}"),
            Self::DeleteAll => f.write_str("delete all groups"),
            Self::InsertBuckets(place, group) => write!(f, "insert buckets at {place}: {group}"),
            Self::RemoveBuckets(place, id) => write!(f, "remove bucket {place} of group {id}"),
        }
    }
}

impl Display for MeterMod {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Add(meter) => write!(f, "add {meter}"),
            Self::Modify(meter) => write!(f, "modify {meter}"),
            Self::Delete(id) => write!(f, "delete meter={}", meter_id(*id)),
        }
    }
}

impl Display for BundleControl {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "bundle_id={:#x} type={} flags=", self.id, self.step.text())?;
        super::joined(f, self.flags.names(), " ")
    }
}

impl Display for Port {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}({}): addr:", self.number, self.name)?;
        super::value::mac(f, self.mac)?;
        let words = |names: Vec<&str>| if names.is_empty() { "0".to_owned() } else { names.join(" ") };
        write!(f, " config:{} state:{}", words(self.config.names().collect()), words(self.state.names().collect()))
    }
}

impl Display for MultipartRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.request {
            Request::FlowDesc(filter) => write!(f, "flow request, table={}, {}", filter.table, filter.matches),
            Request::Aggregate(filter) => write!(f, "aggregate request, table={}, {}", filter.table, filter.matches),
            other => write!(f, "request {other:?}"),
        }
    }
}

impl Display for MultipartReply {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.reply {
            Reply::FlowDesc(flows) => write!(f, "{} flows", flows.len())?,
            Reply::GroupDesc(groups) => write!(f, "{} groups", groups.len())?,
            Reply::PortDesc(ports) => write!(f, "{} ports", ports.len())?,
            Reply::MeterConfig(meters) => write!(f, "{} meters", meters.len())?,
            Reply::Aggregate(stats) => write!(f, "aggregate: {} flows", stats.flows.unwrap_or_default())?,
            other => write!(f, "reply {other:?}")?,
        }
        f.write_str(if self.more { ", more follow" } else { "" })
    }
}
