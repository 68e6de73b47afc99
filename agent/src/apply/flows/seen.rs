//! What is said of flows from outside: what the switch has, and how early each is to go into one that has little.

use openflow::{EncodeError, Instructions};

use super::record::observed;
use super::{Flows, Key};

/// One new flow in so many makes a ranking old: it costs as much as the flows are many, so a new one costs each of them little.
const OLD: usize = 10;

impl Flows {
    /// Forgets what the switch has: the next dump tells.
    pub fn begin_dump(&mut self) {
        self.dump_differs = false;
        for slot in self.slots.iter_mut().flatten() {
            self.dump_differs |= slot.installed.is_some() || slot.shrunk || slot.refused;
            slot.installed = None;
            slot.shrunk = false;
            slot.refused = false;
        }
    }

    /// The switch has this flow.
    pub fn dumped(&mut self, key: Key<'_>, instructions: &Instructions) -> Result<(), EncodeError> {
        self.dump_differs = true;
        let (body, bytes) = observed(instructions)?;
        let fingerprint = self.fingerprint(body, &bytes);
        let id = self.slot_for(key);
        if let Some(slot) = self.slots[id as usize].as_mut() {
            slot.installed = Some(fingerprint);
            slot.shrunk = true;
        }
        Ok(())
    }

    /// The switch tells that it has this flow now, or (`None`) that it has it no more. Whether that is not what it was left with.
    ///
    /// # Errors
    /// When what it does cannot be compared; nothing has changed then.
    pub fn observed(&mut self, key: Key<'_>, instructions: Option<&Instructions>) -> Result<bool, EncodeError> {
        let found = match instructions {
            Some(instructions) => {
                let (body, bytes) = observed(instructions)?;
                Some(self.fingerprint(body, &bytes))
            }
            None => None,
        };
        let known = self.find(key);
        let before = known.and_then(|id| self.slots[id as usize].as_ref()).and_then(|slot| slot.installed);
        if before == found {
            return Ok(false);
        }
        let id = known.unwrap_or_else(|| self.slot_for(key));
        if let Some(slot) = self.slots[id as usize].as_mut() {
            slot.installed = found;
            slot.shrunk = found.is_some();
        }
        self.list(id);
        Ok(true)
    }

    /// The dump is complete: what differs is known. Of a switch that had nothing, and still has nothing, it was known before.
    pub fn end_dump(&mut self) {
        if !self.dump_differs {
            return;
        }
        self.touch_all();
        self.listed.clear();
        for (id, slot) in self.slots.iter_mut().enumerate() {
            if let Some(slot) = slot {
                slot.listed = true;
                self.listed.push(id as u32);
            }
        }
        self.settle();
    }

    /// The switch is gone, and comes back with nothing: all that is wanted differs.
    pub fn gone(&mut self) {
        self.begin_dump();
        self.end_dump();
    }

    /// How many flows came since the last ranking, and so go first into a switch that has little.
    pub fn unranked(&self) -> usize {
        self.unranked
    }

    /// Whether so many of the flows came since the last ranking that their order says little.
    pub fn is_ranking_old(&self) -> bool {
        self.unranked * OLD > self.slots.len() - self.free.len()
    }

    /// A ranking begins: every flow is last until it gets a rank.
    pub fn begin_ranking(&mut self) {
        self.touch_all();
        self.unranked = 0;
        for slot in self.slots.iter_mut().flatten() {
            slot.rank = u16::MAX;
        }
    }

    /// The flow has this rank at least; of several the smallest counts.
    pub fn put_rank(&mut self, key: Key<'_>, rank: u16) {
        if let Some(id) = self.find(key)
            && let Some(slot) = self.slots[id as usize].as_mut()
        {
            slot.rank = slot.rank.min(rank);
        }
    }
}
