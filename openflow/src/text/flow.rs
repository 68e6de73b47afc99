//! Flows, as `ovs-ofctl add-flow` takes them and `dump-flows` shows them.

use std::fmt::{Display, Formatter, Result};

use crate::flow::{Flow, FlowRemovedReason, FlowStats, Seconds};
use crate::multipart::FlowEntry;

impl Display for Flow {
    /// The flow as `add-flow` takes it, fields that have their default left out.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.cookie != 0 {
            write!(f, "cookie={:#x}, ", self.cookie)?;
        }
        if self.table != 0 {
            write!(f, "table={}, ", self.table)?;
        }
        timeouts(f, self)?;
        key(f, self)?;
        write!(f, "actions={}", self.instructions)
    }
}

fn timeouts(f: &mut Formatter<'_>, flow: &Flow) -> Result {
    if flow.idle_timeout != 0 {
        write!(f, "idle_timeout={}, ", flow.idle_timeout)?;
    }
    if flow.hard_timeout != 0 {
        write!(f, "hard_timeout={}, ", flow.hard_timeout)?;
    }
    flow.flags.names().try_for_each(|flag| write!(f, "{flag} "))?;
    if flow.importance != 0 {
        write!(f, "importance={}, ", flow.importance)?;
    }
    Ok(())
}

/// Priority and match, with a space behind.
fn key(f: &mut Formatter<'_>, flow: &Flow) -> Result {
    let mut said = false;
    if flow.priority != 0x8000 {
        write!(f, "priority={}", flow.priority)?;
        said = true;
    }
    let matches = flow.matches.to_string();
    if !matches.is_empty() {
        write!(f, "{}{matches}", if said { "," } else { "" })?;
        said = true;
    }
    if said { f.write_str(" ") } else { Ok(()) }
}

impl Display for Seconds {
    /// Seconds with as many decimals as are not zero.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}", self.seconds)?;
        if self.nanoseconds != 0 {
            let decimals = format!("{:09}", self.nanoseconds);
            write!(f, ".{}", decimals.trim_end_matches('0'))?;
        }
        f.write_str("s")
    }
}

impl Display for FlowEntry {
    /// The flow as `dump-flows` shows it.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { flow, stats } = self;
        write!(f, "cookie={:#x}, duration={}, ", flow.cookie, stats.duration.unwrap_or_default())?;
        write!(f, "table={}, ", flow.table)?;
        counters(f, stats)?;
        timeouts(f, flow)?;
        if let Some(idle) = stats.idle {
            write!(f, "idle_age={}, ", idle.seconds)?;
        }
        key(f, flow)?;
        write!(f, "actions={}", flow.instructions)
    }
}

fn counters(f: &mut Formatter<'_>, stats: &FlowStats) -> Result {
    if let Some(packets) = stats.packets {
        write!(f, "n_packets={packets}, ")?;
    }
    if let Some(bytes) = stats.bytes {
        write!(f, "n_bytes={bytes}, ")?;
    }
    Ok(())
}

impl Display for FlowRemovedReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::IdleTimeout => "idle",
            Self::HardTimeout => "hard",
            Self::Delete => "delete",
            Self::GroupDelete => "group_delete",
            Self::MeterDelete => "meter_delete",
            Self::Eviction => "eviction",
            Self::Other(number) => return write!(f, "{number}"),
        })
    }
}
