//! What an agent has, compared with what it needs: by bucket, then by key. Changing controllers costs the difference.

use std::collections::{BTreeMap, BTreeSet};

use apis::digest::{self, BUCKETS};
use apis::stream as wire;
use bytes::Bytes;
use hashbrown::HashMap;
use prost::Message;

use super::encode::{Encodings, encode_removed};
use super::session::Knows;
use crate::object::NodeName;
use crate::plan::{Name, Plan};

/// The most objects that an agent may say it has: far above what a node needs, and a bound on what an agent gone wrong can make
/// the controller hold.
const MOST_HELD: usize = 1_000_000;

/// What a stream is for.
pub(super) enum Mode {
    /// It brings no frames.
    Listening,
    /// It is to bring frames; the digests are of what the agent has, if it has anything.
    Wanted { take: u64, digests: Option<Vec<u64>> },
    /// The agent was asked what it has where digests differ.
    Comparing(Compared),
    /// It brings frames.
    Bringing { take: u64 },
}

/// Objects that an agent says it has.
pub struct Held {
    /// Which Take they belong to.
    pub take: u64,
    /// Name (the encoded change that removes it) and content.
    pub objects: Vec<(Bytes, u64)>,
    /// It was all.
    pub last: bool,
}

impl Mode {
    /// Takes in what the agent has.
    pub fn held(&mut self, held: Held) -> Result<(), String> {
        match self {
            Self::Comparing(compared) if compared.take == held.take => {
                if compared.held.len() + held.objects.len() > MOST_HELD {
                    return Err(format!("it says that it has more than {MOST_HELD} objects; restart the agent"));
                }
                compared.held.extend(held.objects);
                compared.answered |= held.last;
                Ok(())
            }
            // An answer to a Take that another has overtaken.
            _ => Ok(()),
        }
    }
}

/// A comparison under way.
pub(super) struct Compared {
    take: u64,
    buckets: BTreeSet<u8>,
    held: HashMap<Bytes, u64>,
    answered: bool,
}

impl Compared {
    /// Compares digests; none when they are the same.
    pub fn of(take: u64, digests: &[u64], node: &NodeName, plan: &Plan, encodings: &mut Encodings) -> Option<Self> {
        let mut sums = vec![0u64; BUCKETS];
        for name in plan.needed_by(node) {
            if let Some(encoded) = encodings.of(plan, &name) {
                let sum = &mut sums[usize::from(encoded.bucket)];
                *sum = sum.wrapping_add(encoded.content);
            }
        }
        let buckets: BTreeSet<u8> = (0..=u8::MAX)
            .filter(|bucket| digests.get(usize::from(*bucket)) != sums.get(usize::from(*bucket)))
            .collect();
        (!buckets.is_empty()).then(|| Self { take, buckets, held: HashMap::new(), answered: false })
    }

    pub fn take(&self) -> u64 {
        self.take
    }

    pub fn ask(&self) -> wire::Ask {
        wire::Ask { take: self.take, buckets: self.buckets.iter().map(|bucket| u32::from(*bucket)).collect() }
    }

    pub fn is_answered(&self) -> bool {
        self.answered
    }

    /// What the agent must be told: in the buckets that differed by what it has, elsewhere by what has changed since.
    pub fn difference(
        mut self,
        node: &NodeName,
        pending: &BTreeMap<Name, Knows>,
        plan: &Plan,
        encodings: &mut Encodings,
    ) -> Vec<Bytes> {
        let mut changes = Vec::new();
        for name in plan.needed_by(node) {
            let Some(encoded) = encodings.of(plan, &name) else { continue };
            let differs = if self.buckets.contains(&encoded.bucket) {
                self.held.remove(&encode_removed(&name)) != Some(encoded.content)
            } else {
                pending.contains_key(&name)
            };
            if differs {
                changes.push(encoded.change.clone());
            }
        }
        let index = plan.index_of(node);
        for (name, Knows(known)) in pending {
            let needed = plan.span(name).is_some_and(|span| span.contains(index));
            let removal = encode_removed(name);
            if *known && !needed && !self.buckets.contains(&digest::bucket(&removal)) {
                changes.push(removal);
            }
        }
        // What is left is not needed. A name that is not one is not sent back.
        let mut left: Vec<Bytes> = self.held.into_keys().filter(is_removal).collect();
        left.sort_unstable();
        changes.extend(left);
        changes
    }
}

fn is_removal(name: &Bytes) -> bool {
    wire::Change::decode(name.clone()).is_ok_and(|change| digest::removes(&change))
}
