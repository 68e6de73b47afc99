//! A flow as it is kept: one run of bytes, with what is wanted of it and what the switch has.

use std::num::NonZeroU64;

use openflow::{Action, EncodeError, Instructions};
use ovs_pipeline::Effect;

use super::Key;

/// The bytes of a clause in a record: conjunction (4), clause (1), of (1).
pub(super) const CLAUSE: usize = 6;
/// The bytes before the match in a record: table (1), priority (2), length of the match (2).
pub(super) const HEAD: usize = 5;

/// What is wanted of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Nothing: the flow is to go.
    Nothing,
    /// Instructions, as OpenFlow carries them.
    Instructions,
    /// Clauses of conjunctions.
    Clauses,
}

#[derive(Debug)]
pub(super) struct Slot {
    /// Head, match, body.
    pub(super) record: Box<[u8]>,
    /// The fingerprint of what the switch has; `None`: it has no such flow.
    pub(super) installed: Option<NonZeroU64>,
    pub(super) body: Body,
    /// On the list of what may differ.
    pub(super) listed: bool,
    /// A clause that the switch has went away.
    pub(super) shrunk: bool,
    /// It depends on no intent.
    pub(super) base: bool,
    /// The switch refused it; it is not tried again until it changes.
    pub(super) refused: bool,
    /// How early it goes into a switch that has little of what is wanted: the smaller the earlier.
    pub(super) rank: u16,
}

impl<'a> Key<'a> {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.oxm.len());
        bytes.push(self.table);
        bytes.extend_from_slice(&self.priority.to_be_bytes());
        bytes.extend_from_slice(&(self.oxm.len() as u16).to_be_bytes());
        bytes.extend_from_slice(self.oxm);
        bytes
    }
}

impl Slot {
    pub(super) fn split(&self) -> usize {
        HEAD + usize::from(u16::from_be_bytes([self.record[3], self.record[4]]))
    }

    pub(super) fn key_bytes(&self) -> &[u8] {
        &self.record[..self.split()]
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.record[self.split()..]
    }

    pub(super) fn key(&self) -> Key<'_> {
        Key {
            table: self.record[0],
            priority: u16::from_be_bytes([self.record[1], self.record[2]]),
            oxm: &self.record[HEAD..self.split()],
        }
    }

    /// Where the first clause is in the body that is not smaller than `clause`, in bytes.
    pub(super) fn position(&self, clause: [u8; CLAUSE]) -> usize {
        let body = self.body();
        let (mut low, mut high) = (0, body.len() / CLAUSE);
        while low < high {
            let middle = low.midpoint(high);
            if body[middle * CLAUSE..][..CLAUSE] < clause[..] {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low * CLAUSE
    }

    pub(super) fn put(&mut self, body: Body, bytes: &[u8]) {
        let mut record = Vec::with_capacity(self.split() + bytes.len());
        record.extend_from_slice(self.key_bytes());
        record.extend_from_slice(bytes);
        self.record = record.into_boxed_slice();
        self.body = body;
    }

    pub(super) fn insert_clause(&mut self, clause: [u8; CLAUSE]) {
        let split = self.split();
        let position = self.position(clause);
        let mut record = Vec::with_capacity(self.record.len() + CLAUSE);
        record.extend_from_slice(&self.record[..split + position]);
        record.extend_from_slice(&clause);
        record.extend_from_slice(&self.record[split + position..]);
        self.record = record.into_boxed_slice();
    }

    pub(super) fn remove_clause(&mut self, clause: [u8; CLAUSE]) {
        let start = self.split() + self.position(clause);
        let split = self.split();
        let at = |position: usize| self.record.get(position..position + CLAUSE) == Some(&clause[..]);
        if !at(start) {
            return;
        }
        self.shrunk |= !at(start + CLAUSE);
        let mut record = std::mem::take(&mut self.record).into_vec();
        record.drain(start..start + CLAUSE);
        if record.len() == split {
            self.body = Body::Nothing;
        }
        self.record = record.into_boxed_slice();
    }
}

/// What a part adds to its flow.
pub(super) enum Addition {
    Instructions(Box<[u8]>),
    Clause([u8; CLAUSE]),
}

impl Addition {
    pub(super) fn of(effect: &Effect) -> Result<Self, EncodeError> {
        Ok(match effect {
            Effect::Apply { actions, next } => {
                let mut bytes = Vec::with_capacity(64);
                let goto = next.map(|table| table.id());
                Instructions { apply: actions.clone(), goto, ..Instructions::default() }.encode(&mut bytes)?;
                Self::Instructions(bytes.into())
            }
            Effect::Clause { conjunction, clause, of } => Self::Clause(clause_bytes(conjunction.0, *clause, *of)),
        })
    }
}

pub(super) fn clause_bytes(conjunction: u32, clause: u8, of: u8) -> [u8; CLAUSE] {
    let [a, b, c, d] = conjunction.to_be_bytes();
    [a, b, c, d, clause, of]
}

/// Each clause once: intents may want the same one.
pub(super) fn unique_clauses(bytes: &[u8]) -> Vec<&[u8]> {
    let mut all: Vec<&[u8]> = bytes.chunks_exact(CLAUSE).collect();
    all.dedup();
    all
}

pub(super) fn clauses(bytes: &[u8]) -> impl Iterator<Item = Action> {
    unique_clauses(bytes).into_iter().map(|clause| Action::Conjunction {
        id: u32::from_be_bytes([clause[0], clause[1], clause[2], clause[3]]),
        clause: clause[4],
        clauses: clause[5],
    })
}

/// A flow's body as it would be in a record, from what a dump says of it.
pub(super) fn observed(instructions: &Instructions) -> Result<(Body, Vec<u8>), EncodeError> {
    let conjunctions = instructions.apply.iter().map(|action| match action {
        Action::Conjunction { id, clause, clauses } => Some(clause_bytes(*id, *clause, *clauses)),
        _ => None,
    });
    let only_apply = Instructions { apply: instructions.apply.clone(), ..Instructions::default() } == *instructions;
    if let (Some(mut found), true, false) =
        (conjunctions.collect::<Option<Vec<_>>>(), only_apply, instructions.apply.is_empty())
    {
        found.sort_unstable();
        return Ok((Body::Clauses, found.concat()));
    }
    let mut bytes = Vec::with_capacity(64);
    instructions.encode(&mut bytes)?;
    Ok((Body::Instructions, bytes))
}
