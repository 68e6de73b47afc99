//! Reading what is in the switch, and being told when somebody else changes it.

use openflow::flow::ALL_GROUPS;
use openflow::meter::ALL_METERS;
use openflow::multipart::{FlowMonitorCommand, FlowMonitorFlags, FlowMonitorRequest};
use openflow::{Flow, FlowEntry, FlowFilter, FlowStats, Group, Meter, Port, PortNumber, Reply, Request};

use super::connection::{Connection, Parts};
use super::error::RequestError;

/// All flows of a switch, as it tells them.
#[derive(Debug)]
pub struct FlowDump(Parts);

impl FlowDump {
    /// The next of them; none after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<Flow>>, RequestError> {
        match self.0.next().await? {
            Some(Reply::FlowDesc(entries)) => Ok(Some(entries.into_iter().map(|entry| entry.flow).collect())),
            Some(_) => Err(RequestError::OtherAnswer),
            None => Ok(None),
        }
    }
}

impl Connection {
    /// Every flow, in no order, for whoever cannot take them as fast as they arrive.
    pub async fn start_flow_dump(&self) -> Result<FlowDump, RequestError> {
        Ok(FlowDump(self.start_multipart(Request::FlowDesc(FlowFilter::default())).await?))
    }

    /// Every flow, in no order, each as it arrives.
    pub async fn dump_flows(&self, mut flow: impl FnMut(Flow)) -> Result<(), RequestError> {
        self.dump_flow_entries(FlowFilter::default(), |entry| flow(entry.flow)).await
    }

    /// The flows that the filter names with what they have seen, in no order, each as it arrives.
    pub async fn dump_flow_entries(
        &self,
        filter: FlowFilter,
        mut entry: impl FnMut(FlowEntry),
    ) -> Result<(), RequestError> {
        let part = |reply| match reply {
            Reply::FlowDesc(entries) => {
                entries.into_iter().for_each(&mut entry);
                Ok(())
            }
            _ => Err(RequestError::OtherAnswer),
        };
        self.multipart(Request::FlowDesc(filter), part).await
    }

    /// Asks to be told, as [`super::Event::Flows`], of every flow that comes, goes or does something else from now on. What is
    /// changed on this connection costs one short message a bundle.
    pub async fn watch_flows(&self) -> Result<(), RequestError> {
        let flags = FlowMonitorFlags::ADD
            | FlowMonitorFlags::REMOVED
            | FlowMonitorFlags::MODIFY
            | FlowMonitorFlags::INSTRUCTIONS;
        let monitor =
            FlowMonitorRequest { id: 1, command: FlowMonitorCommand::Add, flags, filter: FlowFilter::default() };
        self.multipart(Request::FlowMonitor(vec![monitor]), |_| Ok(())).await
    }

    /// How many flows the filter names, and what they have seen together.
    pub async fn count_flows(&self, filter: FlowFilter) -> Result<FlowStats, RequestError> {
        let mut found = None;
        let part = |reply| match reply {
            Reply::Aggregate(stats) => {
                found = Some(stats);
                Ok(())
            }
            _ => Err(RequestError::OtherAnswer),
        };
        self.multipart(Request::Aggregate(filter), part).await?;
        found.ok_or(RequestError::OtherAnswer)
    }

    /// Every group with its buckets.
    pub async fn dump_groups(&self) -> Result<Vec<Group>, RequestError> {
        let objects = |reply| match reply {
            Reply::GroupDesc(groups) => Some(groups),
            _ => None,
        };
        self.collect(Request::GroupDesc(ALL_GROUPS), objects).await
    }

    /// Every meter.
    pub async fn dump_meters(&self) -> Result<Vec<Meter>, RequestError> {
        let objects = |reply| match reply {
            Reply::MeterConfig(meters) => Some(meters),
            _ => None,
        };
        self.collect(Request::MeterConfig(ALL_METERS), objects).await
    }

    /// Every port.
    pub async fn ports(&self) -> Result<Vec<Port>, RequestError> {
        let objects = |reply| match reply {
            Reply::PortDesc(ports) => Some(ports),
            _ => None,
        };
        self.collect(Request::PortDesc(PortNumber::ANY), objects).await
    }

    async fn collect<T>(
        &self,
        request: Request,
        objects: impl Fn(Reply) -> Option<Vec<T>>,
    ) -> Result<Vec<T>, RequestError> {
        let mut all = Vec::new();
        let part = |reply| {
            all.extend(objects(reply).ok_or(RequestError::OtherAnswer)?);
            Ok::<_, RequestError>(())
        };
        self.multipart(request, part).await?;
        Ok(all)
    }
}
