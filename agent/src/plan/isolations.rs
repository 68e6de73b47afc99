//! Identities of this node's pods that some policy isolates.

use hashbrown::{HashMap, HashSet};
use ovs_pipeline::{Direction, IdentityNumber, Intent, Isolation, RuleNumber};

use super::{Emit, IntentKey, Quarantine, isolation_intent};
use crate::ledger::Ledger;
use crate::state::{Changed, IdentityId, IsolationId, State};

/// What is isolated, and by how many isolations.
#[derive(Debug, Default)]
pub struct Isolations {
    /// The local identities that each isolation covers.
    covered: HashMap<IsolationId, (Direction, Box<[IdentityId]>)>,
    isolated: HashMap<(Direction, IdentityId), Isolated>,
}

#[derive(Clone, Copy, Debug)]
struct Isolated {
    count: u32,
    identity: IdentityNumber,
    rule: RuleNumber,
    /// The switch does not take it.
    quarantined: bool,
}

impl Isolations {
    /// What is isolated.
    pub fn iter(&self) -> impl Iterator<Item = (IdentityId, Isolation)> {
        self.isolated
            .iter()
            .filter(|(_, isolated)| !isolated.quarantined)
            .map(|((direction, id), isolated)| (*id, isolation_intent(*direction, isolated.identity, isolated.rule)))
    }

    pub(super) fn update(
        &mut self,
        state: &State,
        ledger: &mut Ledger,
        changed: &Changed,
        quarantine: &Quarantine,
        emit: &mut Emit<'_>,
    ) {
        let mut touched = HashSet::new();
        for id in self.candidates(state, changed) {
            let new = state
                .upstream
                .isolations
                .get(&id)
                .map(|isolation| (isolation.direction, super::rules::local_members(state, isolation.applied_to)));
            let old = match new.clone().filter(|(_, identities)| !identities.is_empty()) {
                Some(new) => self.covered.insert(id, new),
                None => self.covered.remove(&id),
            };
            if old == new {
                continue;
            }
            for (direction, identities) in new.into_iter() {
                for identity in identities {
                    self.count(direction, identity, ledger).count += 1;
                    touched.insert((direction, identity));
                }
            }
            for (direction, identities) in old.into_iter() {
                for identity in identities {
                    self.count(direction, identity, ledger).count -= 1;
                    touched.insert((direction, identity));
                }
            }
        }
        touched.extend(quarantine.isolations());
        touched.extend(self.isolated.iter().filter(|(_, isolated)| isolated.quarantined).map(|(key, _)| *key));
        self.settle(touched, quarantine, emit);
    }

    fn count(&mut self, direction: Direction, identity: IdentityId, ledger: &mut Ledger) -> &mut Isolated {
        self.isolated.entry((direction, identity)).or_insert_with(|| Isolated {
            count: 0,
            identity: ledger.identity(identity),
            rule: ledger.isolation(direction, identity),
            // Not said yet, which is what this means to `settle`.
            quarantined: true,
        })
    }

    fn settle(&mut self, touched: HashSet<(Direction, IdentityId)>, quarantine: &Quarantine, emit: &mut Emit<'_>) {
        for (direction, id) in touched {
            let Some(isolated) = self.isolated.get_mut(&(direction, id)) else {
                continue;
            };
            let said = !isolated.quarantined;
            let kept = isolated.count > 0;
            let wanted = kept && !quarantine.holds(&IntentKey::Isolation(direction, id));
            isolated.quarantined = !wanted;
            let intent = Intent::Isolation(isolation_intent(direction, isolated.identity, isolated.rule));
            if said != wanted {
                emit.replace(said.then(|| intent.clone()), wanted.then_some(intent));
            }
            if !kept {
                self.isolated.remove(&(direction, id));
            }
        }
    }

    fn candidates(&self, state: &State, changed: &Changed) -> HashSet<IsolationId> {
        let mut found = changed.isolations.clone();
        if changed.everything {
            found.extend(self.covered.keys().chain(state.upstream.isolations.keys()));
        } else if !changed.groups.is_empty() || !changed.local_identities.is_empty() {
            found.extend(
                state
                    .upstream
                    .isolations
                    .values()
                    .filter(|isolation| super::rules::group_touched(state, isolation.applied_to, changed))
                    .map(|isolation| isolation.id),
            );
        }
        found
    }
}
