//! Multipart messages: questions about what is in the switch, and answers in as many messages as they need.
//!
//! Each message of an answer decodes by itself; `more` says whether another follows under the same xid.

mod monitor;
mod reply;
mod request;
mod stats;

pub use monitor::{FlowMonitorCommand, FlowMonitorFlags, FlowMonitorRequest, FlowUpdate, FlowUpdateEvent};
pub use reply::{FlowEntry, MultipartReply, Reply};
pub use request::{FlowFilter, MultipartRequest, Request};
pub use stats::{
    BucketStats, GroupFeatures, GroupStats, MeterFeatures, MeterStats, PortStats, QueueDesc, QueueStats,
    SwitchDescription,
};

/// The number of a kind of question and its answer (OFPMP_*).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u16)]
pub(crate) enum Part {
    Desc = 0,
    FlowDesc = 1,
    Aggregate = 2,
    TableStats = 3,
    PortStats = 4,
    QueueStats = 5,
    GroupStats = 6,
    GroupDesc = 7,
    GroupFeatures = 8,
    MeterStats = 9,
    MeterConfig = 10,
    MeterFeatures = 11,
    TableFeatures = 12,
    PortDesc = 13,
    TableDesc = 14,
    QueueDesc = 15,
    FlowMonitor = 16,
}

impl Part {
    const ALL: [Self; 17] = [
        Self::Desc,
        Self::FlowDesc,
        Self::Aggregate,
        Self::TableStats,
        Self::PortStats,
        Self::QueueStats,
        Self::GroupStats,
        Self::GroupDesc,
        Self::GroupFeatures,
        Self::MeterStats,
        Self::MeterConfig,
        Self::MeterFeatures,
        Self::TableFeatures,
        Self::PortDesc,
        Self::TableDesc,
        Self::QueueDesc,
        Self::FlowMonitor,
    ];

    pub(crate) fn of(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}
