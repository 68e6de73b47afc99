//! Reading what is in the switch, and being told when somebody else changes it.

use openflow::flow::ALL_GROUPS;
use openflow::meter::ALL_METERS;
use openflow::multipart::{FlowMonitorCommand, FlowMonitorFlags, FlowMonitorRequest};
use openflow::{Flow, FlowEntry, FlowFilter, FlowStats, Group, Meter, Port, PortNumber, Reply, Request};

use super::connection::{Connection, Parts};
use super::error::RequestError;

/// What a switch has, as it tells: asked for at once, since an answer may take a turn of a busy vswitchd, and told in order.
#[derive(Debug)]
pub struct Reading {
    watched: Option<Parts>,
    ports: Parts,
    flows: Parts,
}

impl Reading {
    /// Whether it tells from now on, as [`super::Event::Flows`], of every flow that comes, goes or does something else; none
    /// where it was not asked. Asked first of all.
    ///
    /// # Errors
    /// [`RequestError::Rejected`] when it cannot; the rest of the reading goes on.
    pub async fn watched(&mut self) -> Result<Option<()>, RequestError> {
        let Some(mut parts) = self.watched.take() else { return Ok(None) };
        while parts.next().await?.is_some() {}
        Ok(Some(()))
    }

    /// Every port.
    pub async fn ports(&mut self) -> Result<Vec<Port>, RequestError> {
        let mut all = Vec::new();
        while let Some(part) = self.ports.next().await? {
            all.extend(ports(part)?);
        }
        Ok(all)
    }

    /// The next of its flows, in no order; none after the last.
    pub async fn flows(&mut self) -> Result<Option<Vec<Flow>>, RequestError> {
        match self.flows.next().await? {
            Some(Reply::FlowDesc(entries)) => Ok(Some(entries.into_iter().map(|entry| entry.flow).collect())),
            Some(_) => Err(RequestError::OtherAnswer),
            None => Ok(None),
        }
    }
}

fn ports(reply: Reply) -> Result<Vec<Port>, RequestError> {
    match reply {
        Reply::PortDesc(ports) => Ok(ports),
        _ => Err(RequestError::OtherAnswer),
    }
}

fn flow_monitor() -> Request {
    let flags =
        FlowMonitorFlags::ADD | FlowMonitorFlags::REMOVED | FlowMonitorFlags::MODIFY | FlowMonitorFlags::INSTRUCTIONS;
    let filter = FlowFilter::default();
    Request::FlowMonitor(vec![FlowMonitorRequest { id: 1, command: FlowMonitorCommand::Add, flags, filter }])
}

impl Connection {
    /// Reads ports and flows, for whoever cannot take them as fast as they arrive; `watch`: asks before that to be told of every
    /// change of a flow. What is changed on this connection costs one short message a bundle.
    pub async fn start_reading(&self, watch: bool) -> Result<Reading, RequestError> {
        let watched = if watch { Some(self.start_multipart(flow_monitor()).await?) } else { None };
        Ok(Reading {
            watched,
            ports: self.start_multipart(Request::PortDesc(PortNumber::ANY)).await?,
            flows: self.start_multipart(Request::FlowDesc(FlowFilter::default())).await?,
        })
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
        self.collect(Request::PortDesc(PortNumber::ANY), |reply| ports(reply).ok()).await
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
