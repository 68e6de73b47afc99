//! Address to identity: the one flow an endpoint costs, whatever the number of policies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hashbrown::{HashMap, HashSet};
use ovs_pipeline::{Address, IdentityNumber, Intent};

use super::needs::{Need, Needs};
use super::{Emit, IntentKey, Quarantine, address_intent};
use crate::ledger::Ledger;
use crate::state::{Changed, IdentityId, State};

/// The addresses that are mapped. Tens of thousands: an entry is the intent and nothing else, a table for each family.
#[derive(Debug, Default)]
pub struct Addresses {
    v4: HashMap<Ipv4Addr, Mapped>,
    v6: HashMap<Ipv6Addr, Mapped>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mapped {
    identity: IdentityNumber,
    source: bool,
    destination: bool,
}

impl Mapped {
    fn intent(self, address: IpAddr) -> Intent {
        Intent::Address(address_intent(address, self.identity, self.source, self.destination))
    }
}

impl Addresses {
    /// What is mapped.
    pub fn iter(&self) -> impl Iterator<Item = Address> {
        let v4 = self.v4.iter().map(|(address, mapped)| (IpAddr::V4(*address), mapped));
        let v6 = self.v6.iter().map(|(address, mapped)| (IpAddr::V6(*address), mapped));
        v4.chain(v6)
            .map(|(address, mapped)| address_intent(address, mapped.identity, mapped.source, mapped.destination))
    }

    /// Maps an address, or no longer; what it was mapped to.
    fn put(&mut self, address: IpAddr, mapped: Option<Mapped>) -> Option<Mapped> {
        match (address, mapped) {
            (IpAddr::V4(address), Some(mapped)) => self.v4.insert(address, mapped),
            (IpAddr::V4(address), None) => self.v4.remove(&address),
            (IpAddr::V6(address), Some(mapped)) => self.v6.insert(address, mapped),
            (IpAddr::V6(address), None) => self.v6.remove(&address),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the inputs of one function of the plan, each used")]
    pub(super) fn update(
        &mut self,
        state: &State,
        ledger: &mut Ledger,
        changed: &Changed,
        needs: &Needs,
        flipped: &HashSet<IdentityId>,
        quarantine: &Quarantine,
        emit: &mut Emit<'_>,
    ) {
        for address in self.candidates(state, changed, flipped) {
            let new = wanted(address, state, needs, quarantine).map(|(identity, need)| Mapped {
                identity: ledger.identity(identity),
                source: need.source,
                destination: need.destination,
            });
            let old = self.put(address, new);
            if old != new {
                emit.replace(old.map(|mapped| mapped.intent(address)), new.map(|mapped| mapped.intent(address)));
            }
        }
    }

    /// The addresses that may be mapped otherwise than they are.
    fn candidates(&self, state: &State, changed: &Changed, flipped: &HashSet<IdentityId>) -> Vec<IpAddr> {
        let endpoints = &state.upstream.endpoints;
        let mut found: Vec<IpAddr> = if changed.everything {
            let attached = state.attached().values().flat_map(|pod| pod.addresses.iter());
            let known = endpoints.iter().flat_map(|endpoint| endpoint.addresses.iter());
            self.iter().map(|mapped| mapped.address).chain(attached).chain(known).collect()
        } else {
            changed.addresses.iter().copied().collect()
        };
        if !changed.everything {
            // A pod of this node got another identity without its addresses having changed.
            for key in &changed.pods {
                found.extend(state.attached().get(key).iter().flat_map(|pod| pod.addresses.iter()));
            }
            if !flipped.is_empty() {
                let touched = endpoints.iter().filter(|endpoint| flipped.contains(&endpoint.identity));
                found.extend(touched.flat_map(|endpoint| endpoint.addresses.iter()));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Who has the address, and in which directions that has to be known; `None`: it stays unmapped.
fn wanted(address: IpAddr, state: &State, needs: &Needs, quarantine: &Quarantine) -> Option<(IdentityId, Need)> {
    let identity = state.identity_at(address)?;
    // An address of this node's own pods is what rules here apply to, in both directions.
    let local = state.attached_at(address).is_some();
    let need = if local { Need { source: true, destination: true } } else { needs.of(identity) };
    let closed = (local && quarantine.closes(identity)) || quarantine.holds(&IntentKey::Address(address));
    (need != Need::default() && !closed).then_some((identity, need))
}
