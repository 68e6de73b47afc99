//! When a node's freed addresses may be used again: once every other node has acknowledged that they are free.
//!
//! A node's report of a pod that is gone has a place in the order of changes; it is released when what every other agent has
//! covers that place. A node that does not answer, or is not connected, is waited for [`LONGEST_WAIT`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use crate::object::NodeName;

/// How long a node that does not answer is waited for.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// More reports than this wait as one.
const MOST_WAITING: usize = 256;

/// Reports that have not been released.
#[derive(Default)]
pub(super) struct Releases {
    waiting: HashMap<NodeName, VecDeque<Waiting>>,
}

struct Waiting {
    sequence: u64,
    change: u64,
    since: Instant,
}

impl Releases {
    /// A node has reported up to `sequence`; whoever covers `change` knows it.
    pub fn reported(&mut self, node: &NodeName, sequence: u64, change: u64, now: Instant) {
        let waiting = self.waiting.entry(node.clone()).or_default();
        let report = Waiting { sequence, change, since: now };
        if waiting.len() >= MOST_WAITING {
            waiting.pop_back();
        }
        waiting.push_back(report);
    }

    /// The node's agent has begun anew, or is gone.
    pub fn forget(&mut self, node: &NodeName) {
        self.waiting.remove(node);
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What is released now, by node. `covered_by_others` is what all nodes but one cover.
    pub fn released(&mut self, covered_by_others: impl Fn(&NodeName) -> u64, now: Instant) -> Vec<(NodeName, u64)> {
        let mut released = Vec::new();
        self.waiting.retain(|node, waiting| {
            let covered = covered_by_others(node);
            let mut up_to = None;
            while let Some(done) =
                waiting.pop_front_if(|report| report.change <= covered || now - report.since >= LONGEST_WAIT)
            {
                up_to = Some(done.sequence);
            }
            released.extend(up_to.map(|sequence| (node.clone(), sequence)));
            !waiting.is_empty()
        });
        released
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Text;

    #[test]
    fn a_report_is_released_once_all_others_cover_it_or_time_is_up() {
        let node = NodeName(Text::from("a"));
        let start = Instant::now();
        let mut releases = Releases::default();
        releases.reported(&node, 3, 10, start);
        releases.reported(&node, 5, 20, start + Duration::from_secs(20));
        assert_eq!(releases.released(|_| 9, start), []);
        assert_eq!(releases.released(|_| 10, start), [(node.clone(), 3)]);
        assert_eq!(releases.released(|_| 10, start + Duration::from_secs(49)), []);
        assert_eq!(releases.released(|_| 10, start + Duration::from_secs(50)), [(node, 5)]);
        assert!(releases.is_empty());
    }

    #[test]
    fn what_waits_is_bounded() {
        let node = NodeName(Text::from("a"));
        let now = Instant::now();
        let mut releases = Releases::default();
        (1..10_000).for_each(|number| releases.reported(&node, number, number, now));
        assert_eq!(releases.waiting[&node].len(), MOST_WAITING);
        assert_eq!(releases.released(|_| 9998, now), [(node.clone(), 255)], "the last ones wait as one");
        assert_eq!(releases.released(|_| 9999, now), [(node, 9999)]);
    }
}
