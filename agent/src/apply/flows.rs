//! The flows that the switch should have, merged from the parts that intents want, and what it has of them.
//!
//! A hundred thousand flows live here, so a flow is one allocation (its key and what it does, as the bytes that OpenFlow
//! carries) and a slot of a few words; what the switch has is remembered as a fingerprint only. Several intents may want a
//! part of one flow: clauses are a sorted multiset, whole flows keep the smallest, so that the result depends on what is
//! wanted and never on the order in which it came to be wanted.

mod record;
mod seen;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::num::NonZeroU64;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use openflow::{Action, EncodeError, Instructions, Match};
use ovs_pipeline::{Part, Table};

use record::{Addition, Body, CLAUSE, Slot, clauses, unique_clauses};

/// So many flows that changed are told one by one.
const FEW: usize = 1000;

/// A flow's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(u32);

/// How a flow that differs has to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The switch does not have it.
    Absent,
    /// The switch has it and should not.
    Stale,
    /// The switch has it with fewer clauses.
    Grown,
    /// The switch has it, doing something else.
    Other,
}

/// A flow as the switch names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// The table.
    pub table: u8,
    /// The priority.
    pub priority: u16,
    /// The match, as canonical OXM bytes.
    pub oxm: &'a [u8],
}

/// A wanted flow as values, to show.
#[derive(Clone, Debug)]
pub struct ReadFlow {
    /// The table.
    pub table: Table,
    /// The priority.
    pub priority: u16,
    /// What it matches.
    pub matches: Match,
    /// What it does; clauses are conjunction actions.
    pub actions: Vec<Action>,
    /// Where the packet goes on.
    pub next: Option<Table>,
}

/// The flows.
#[derive(Debug, Default)]
pub struct Flows {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Slots that may differ from the switch.
    listed: Vec<u32>,
    /// Counts what may have changed a difference otherwise than by what was sent.
    revision: u64,
    /// What that was about, since it was last asked; none when that is too much to tell one by one.
    touched: Option<Vec<FlowId>>,
    /// What is being dumped is not what was known: of a switch with nothing, known to have nothing, it is.
    dump_differs: bool,
    /// How many flows came since the last ranking.
    unranked: usize,
    /// Further whole flows that are wanted under a key, beside the one in the record. Rare.
    others: HashMap<u32, Vec<Box<[u8]>>>,
}

impl Flows {
    /// How many flows are wanted.
    pub fn wanted(&self) -> usize {
        self.slots.iter().flatten().filter(|slot| slot.body != Body::Nothing).count()
    }

    /// How many of them are clauses of conjunctions.
    pub fn conjunctive(&self) -> usize {
        self.slots.iter().flatten().filter(|slot| slot.body == Body::Clauses).count()
    }

    /// How many flows the switch has, as far as it is known.
    pub fn held(&self) -> usize {
        self.slots.iter().flatten().filter(|slot| slot.installed.is_some()).count()
    }

    /// Another number whenever something may differ that did not, or otherwise than it did.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// A part is wanted.
    ///
    /// # Errors
    /// When it cannot be encoded; nothing has changed then.
    pub fn add(&mut self, part: &Part, base: bool) -> Result<(), EncodeError> {
        part.matches.validate()?;
        let addition = Addition::of(&part.effect)?;
        let key = Key { table: part.table.id(), priority: part.priority, oxm: part.matches.oxm() };
        let id = self.slot_for(key);
        let Some(slot) = self.slots[id as usize].as_mut() else {
            return Ok(());
        };
        slot.base |= base;
        slot.refused = false;
        match (slot.body, addition) {
            (Body::Nothing, Addition::Instructions(bytes)) => slot.put(Body::Instructions, &bytes),
            (Body::Nothing, Addition::Clause(clause)) => slot.put(Body::Clauses, &clause),
            (Body::Instructions, Addition::Instructions(bytes)) => {
                let smallest = if *bytes < *slot.body() {
                    let before = Box::from(slot.body());
                    slot.put(Body::Instructions, &bytes);
                    before
                } else {
                    bytes
                };
                self.others.entry(id).or_default().push(smallest);
            }
            (Body::Clauses, Addition::Clause(clause)) => slot.insert_clause(clause),
            // The pipeline keeps clauses and whole flows apart by priority; the whole flow would win in the switch too.
            (Body::Clauses, Addition::Instructions(_)) | (Body::Instructions, Addition::Clause(_)) => {
                return Err(EncodeError::Invalid { what: "flow", problem: "wanted both as a clause and as a whole" });
            }
        }
        self.list(id);
        Ok(())
    }

    /// A part that was wanted is not wanted any more.
    pub fn remove(&mut self, part: &Part) {
        let key = Key { table: part.table.id(), priority: part.priority, oxm: part.matches.oxm() };
        let (Some(id), Ok(removal)) = (self.find(key), Addition::of(&part.effect)) else {
            return;
        };
        let Some(slot) = self.slots[id as usize].as_mut() else {
            return;
        };
        slot.refused = false;
        match (slot.body, removal) {
            (Body::Instructions, Addition::Instructions(bytes)) => {
                let others = self.others.get_mut(&id);
                match others {
                    Some(others) if *slot.body() != *bytes => {
                        if let Some(position) = others.iter().position(|other| *other == bytes) {
                            others.swap_remove(position);
                        }
                    }
                    Some(others) => {
                        others.sort_unstable_by(|one, two| two.cmp(one));
                        match others.pop() {
                            Some(next) => slot.put(Body::Instructions, &next),
                            None => slot.put(Body::Nothing, &[]),
                        }
                    }
                    None if *slot.body() == *bytes => slot.put(Body::Nothing, &[]),
                    None => {}
                }
                if self.others.get(&id).is_some_and(Vec::is_empty) {
                    self.others.remove(&id);
                }
            }
            (Body::Clauses, Addition::Clause(clause)) => slot.remove_clause(clause),
            _ => {}
        }
        self.list(id);
    }

    /// The flows that differ from the switch, and how, in no order. Those that the switch refused are not among them.
    pub fn differences(&mut self) -> Vec<(FlowId, Difference)> {
        self.settle();
        self.listed
            .iter()
            .filter_map(|&id| {
                let slot = self.slots[id as usize].as_ref()?;
                if slot.refused { None } else { Some((FlowId(id), self.difference(slot)?)) }
            })
            .collect()
    }

    /// How a flow differs from the switch.
    pub fn difference_of(&self, id: FlowId) -> Option<Difference> {
        let slot = self.slots.get(id.0 as usize)?.as_ref().filter(|slot| !slot.refused)?;
        self.difference(slot)
    }

    /// The flows about which the revision became another since this was last asked; none when they may be all.
    pub fn take_touched(&mut self) -> Option<BTreeSet<FlowId>> {
        let touched = self.touched.replace(Vec::new());
        touched.map(|touched| touched.into_iter().collect())
    }

    /// How a flow is named.
    pub fn key(&self, id: FlowId) -> Option<Key<'_>> {
        self.slots.get(id.0 as usize)?.as_ref().map(Slot::key)
    }

    /// Whether a flow depends on no intent.
    pub fn is_base(&self, id: FlowId) -> bool {
        self.slots.get(id.0 as usize).and_then(Option::as_ref).is_some_and(|slot| slot.base)
    }

    /// How early a flow goes into a switch that has little of what is wanted. What was wanted since the last ranking is first.
    pub fn rank(&self, id: FlowId) -> u16 {
        self.slots.get(id.0 as usize).and_then(Option::as_ref).map_or(0, |slot| slot.rank)
    }

    /// What a flow should do, as OpenFlow carries it; empty for a flow that drops or is to go.
    ///
    /// # Errors
    /// When its clauses do not fit a message.
    pub fn instructions(&self, id: FlowId) -> Result<Cow<'_, [u8]>, EncodeError> {
        let Some(slot) = self.slots.get(id.0 as usize).and_then(Option::as_ref) else {
            return Ok(Cow::Borrowed(&[]));
        };
        match slot.body {
            Body::Nothing => Ok(Cow::Borrowed(&[])),
            Body::Instructions => Ok(Cow::Borrowed(slot.body())),
            Body::Clauses => {
                let mut bytes = Vec::with_capacity(8 + slot.body().len() / CLAUSE * 16);
                Instructions { apply: clauses(slot.body()).collect(), ..Instructions::default() }.encode(&mut bytes)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// The switch has the flow as it is wanted.
    pub fn installed(&mut self, id: FlowId) {
        let Some(slot) = self.slots.get(id.0 as usize).and_then(Option::as_ref) else {
            return;
        };
        let fingerprint = (slot.body != Body::Nothing).then(|| self.fingerprint(slot.body, slot.body()));
        if let Some(slot) = self.slots[id.0 as usize].as_mut() {
            slot.installed = fingerprint;
            slot.shrunk = false;
        }
    }

    /// The switch does not have the flow any more.
    pub fn uninstalled(&mut self, id: FlowId) {
        if let Some(slot) = self.slots.get_mut(id.0 as usize).and_then(Option::as_mut) {
            slot.installed = None;
            slot.shrunk = false;
        }
    }

    /// The switch refused the flow: it is left alone until it changes.
    pub fn refuse(&mut self, id: FlowId) {
        if let Some(slot) = self.slots.get_mut(id.0 as usize).and_then(Option::as_mut) {
            slot.refused = true;
            self.touch(id.0);
        }
    }

    /// Every wanted flow as table, priority, match and body bytes, sorted: to compare with another.
    pub fn snapshot(&self) -> Vec<(&[u8], u8)> {
        let mut all: Vec<_> = self
            .slots
            .iter()
            .flatten()
            .filter(|slot| slot.body != Body::Nothing)
            .map(|slot| (&*slot.record, u8::from(slot.body == Body::Clauses)))
            .collect();
        all.sort_unstable();
        all
    }

    /// A flow's bytes: its key, then what it does.
    pub fn record(&self, id: FlowId) -> Option<&[u8]> {
        self.slots.get(id.0 as usize)?.as_ref().map(|slot| &*slot.record)
    }

    /// A wanted flow, read back.
    pub fn read(&self, id: FlowId) -> Option<ReadFlow> {
        let slot = self.slots.get(id.0 as usize)?.as_ref()?;
        let key = slot.key();
        let (actions, next) = match slot.body {
            Body::Nothing => return None,
            Body::Clauses => (clauses(slot.body()).collect(), None),
            Body::Instructions => {
                let instructions = Instructions::decode(slot.body()).ok()?;
                (instructions.apply, instructions.goto.and_then(Table::from_id))
            }
        };
        Some(ReadFlow {
            table: Table::from_id(key.table)?,
            priority: key.priority,
            matches: Match::from_oxm(key.oxm).ok()?,
            actions,
            next,
        })
    }

    /// Every wanted flow.
    pub fn iter(&self) -> impl Iterator<Item = FlowId> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.as_ref().is_some_and(|slot| slot.body != Body::Nothing))
            .map(|(id, _)| FlowId(id as u32))
    }

    /// Takes off the list what does not differ, and gives back slots of flows that are neither wanted nor there.
    fn settle(&mut self) {
        let mut listed = std::mem::take(&mut self.listed);
        listed.retain(|&id| {
            let keep = self.slots[id as usize].as_ref().is_some_and(|slot| self.difference(slot).is_some());
            if !keep && let Some(slot) = self.slots[id as usize].as_mut() {
                slot.listed = false;
                slot.shrunk = false;
                if slot.body == Body::Nothing && slot.installed.is_none() {
                    self.forget(id);
                }
            }
            keep
        });
        self.listed = listed;
    }

    fn forget(&mut self, id: u32) {
        let Some(slot) = self.slots[id as usize].take() else {
            return;
        };
        let hash = self.hasher.hash_one(slot.key_bytes());
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == id) {
            entry.remove();
        }
        self.free.push(id);
    }

    fn difference(&self, slot: &Slot) -> Option<Difference> {
        match (slot.installed, slot.body) {
            (None, Body::Nothing) => None,
            (None, _) => Some(Difference::Absent),
            (Some(_), Body::Nothing) => Some(Difference::Stale),
            (Some(installed), body) if installed == self.fingerprint(body, slot.body()) => None,
            (Some(_), Body::Clauses) if !slot.shrunk => Some(Difference::Grown),
            (Some(_), _) => Some(Difference::Other),
        }
    }

    fn touch(&mut self, id: u32) {
        self.revision += 1;
        match &mut self.touched {
            Some(touched) if touched.len() < FEW => touched.push(FlowId(id)),
            touched => *touched = None,
        }
    }

    /// Any flow may differ otherwise.
    fn touch_all(&mut self) {
        self.revision += 1;
        self.touched = None;
    }

    fn list(&mut self, id: u32) {
        self.touch(id);
        if let Some(slot) = self.slots[id as usize].as_mut()
            && !slot.listed
        {
            slot.listed = true;
            self.listed.push(id);
        }
    }

    fn find(&self, key: Key<'_>) -> Option<u32> {
        let bytes = key.to_bytes();
        self.index
            .find(self.hasher.hash_one(&bytes[..]), |&id| {
                self.slots[id as usize].as_ref().is_some_and(|slot| *slot.key_bytes() == bytes[..])
            })
            .copied()
    }

    /// The slot of a key; a new one wants nothing and is on the list.
    fn slot_for(&mut self, key: Key<'_>) -> u32 {
        if let Some(id) = self.find(key) {
            return id;
        }
        let record = key.to_bytes().into_boxed_slice();
        let hash = self.hasher.hash_one(&record[..]);
        let slot = Slot {
            record,
            installed: None,
            body: Body::Nothing,
            listed: true,
            shrunk: false,
            base: false,
            refused: false,
            rank: 0,
        };
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.slots[id as usize] = Some(slot);
        self.listed.push(id);
        self.unranked += 1;
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hash, id, |&other| {
            slots[other as usize].as_ref().map_or(0, |slot| hasher.hash_one(slot.key_bytes()))
        });
        id
    }

    fn fingerprint(&self, body: Body, bytes: &[u8]) -> NonZeroU64 {
        let hash = if body == Body::Clauses {
            self.hasher.hash_one((1_u8, unique_clauses(bytes)))
        } else {
            self.hasher.hash_one((0_u8, bytes))
        };
        NonZeroU64::new(hash).unwrap_or(NonZeroU64::MAX)
    }
}
