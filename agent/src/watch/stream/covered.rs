//! How far this node has caught up with one controller's Heads.

use crate::state::Version;

/// Heads that this node has caught up with. One at a time is remembered, so that a controller that moves all the time is
/// answered too.
#[derive(Debug, Default)]
pub(super) struct Covered {
    next: Option<(u64, Version)>,
    said: u64,
}

impl Covered {
    /// The number of the newest head that `have` is known to cover, when it is a newer one than was said.
    pub(super) fn advance(&mut self, number: u64, head: &Version, have: &Version) -> Option<u64> {
        let before = self.said;
        while self.said < number {
            let (next, version) = self.next.get_or_insert_with(|| (number, head.clone()));
            if !have.covers(version) {
                break;
            }
            self.said = *next;
            self.next = None;
        }
        (self.said > before).then_some(self.said)
    }

    /// The number of the newest head that was said.
    pub(super) fn said(&self) -> u64 {
        self.said
    }
}
