//! Pods by name and by address: tens of thousands of them, so one slab with two indexes that hold four bytes an entry.
//!
//! Two pods may claim one address for a moment (a frame names the new holder before the old one's removal reached its
//! node): both are kept, and [`Endpoints::at`] tells so.

use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::changed::Changed;
use super::name::{IdentityId, PodKey};
use super::object::{Addresses, Endpoint};

/// One endpoint as it is kept.
#[derive(Clone, Debug)]
struct Slot {
    key: PodKey,
    node: u32,
    identity: IdentityId,
    addresses: Addresses,
}

/// Every endpoint that this node knows.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// The name of this agent's node.
    own: Box<str>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    by_key: HashTable<u32>,
    by_address: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Node names, by the number that slots carry; few and never forgotten while the agent runs.
    nodes: Vec<Box<str>>,
    /// How many endpoints of this node have each identity.
    local: HashMap<IdentityId, u32>,
}

/// An endpoint, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointRef<'a> {
    /// Which pod.
    pub key: &'a PodKey,
    /// Where it runs.
    pub node: &'a str,
    /// Who it is to policies.
    pub identity: IdentityId,
    /// Its addresses.
    pub addresses: Addresses,
    /// It runs on this node.
    pub local: bool,
}

/// The number that the own node has in `Slot::node`.
const OWN: u32 = 0;

impl Endpoints {
    /// None yet; `own` is the name of this agent's node.
    pub fn new(own: &str) -> Self {
        Self {
            own: own.into(),
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashTable::new(),
            by_address: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            nodes: vec![own.into()],
            local: HashMap::new(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// The endpoint of a pod.
    pub fn get(&self, key: &PodKey) -> Option<EndpointRef<'_>> {
        self.find(key).and_then(|index| self.view(index))
    }

    /// Every endpoint that has an address.
    pub fn at(&self, address: IpAddr) -> impl Iterator<Item = EndpointRef<'_>> {
        self.by_address
            .iter_hash(self.hash(&address))
            // Entries of other hashes may be among them, also another address of the same endpoint.
            .filter(move |&&entry| (entry & TAG != 0) == address.is_ipv6())
            .filter_map(|&entry| self.view(entry))
            .filter(move |endpoint| endpoint.addresses.contains(address))
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = EndpointRef<'_>> {
        (0..self.slots.len() as u32).filter_map(|index| self.view(index))
    }

    /// How many endpoints of this node have the identity.
    pub fn is_local(&self, identity: IdentityId) -> bool {
        self.local.contains_key(&identity)
    }

    /// The identities of this node's own endpoints, in no order.
    pub fn local_identities(&self) -> impl ExactSizeIterator<Item = IdentityId> {
        self.local.keys().copied()
    }

    /// There is this endpoint from now on.
    pub fn insert(&mut self, endpoint: Endpoint, changed: &mut Changed) {
        let node = self.node_number(&endpoint.node);
        if let Some(index) = self.find(&endpoint.key) {
            let same = self.slots[index as usize].as_ref().is_some_and(|slot| {
                slot.node == node && slot.identity == endpoint.identity && slot.addresses == endpoint.addresses
            });
            if same {
                return;
            }
            self.remove(&endpoint.key, changed);
        }
        self.note(&endpoint.key, node, endpoint.addresses, changed);
        if node == OWN {
            let count = self.local.entry(endpoint.identity).or_insert(0);
            *count += 1;
            if *count == 1 {
                changed.local_identities.insert(endpoint.identity);
            }
        }
        let Endpoint { key, addresses, identity, .. } = endpoint;
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        let key_hash = self.hash(&key);
        self.slots[index as usize] = Some(Slot { key, node, identity, addresses });
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.by_key.insert_unique(key_hash, index, |&other| {
            slots[other as usize].as_ref().map_or(0, |slot| hasher.hash_one(&slot.key))
        });
        for address in addresses.iter() {
            let hash = hasher.hash_one(address);
            // An endpoint with two addresses stands in the table twice: which one an entry is for shows by its tag bit.
            self.by_address.insert_unique(hash, tagged(index, address), |&entry| rehash(slots, hasher, entry));
        }
    }

    /// There is no such endpoint from now on.
    pub fn remove(&mut self, key: &PodKey, changed: &mut Changed) {
        let hash = self.hash(key);
        let slots = &self.slots;
        let Ok(entry) = self.by_key.find_entry(hash, |&index| holds(slots, index, key)) else {
            return;
        };
        let (index, _) = entry.remove();
        let Some(slot) = self.slots[index as usize].take() else {
            return;
        };
        self.free.push(index);
        for address in slot.addresses.iter() {
            let hash = self.hash(&address);
            if let Ok(entry) = self.by_address.find_entry(hash, |&entry| entry == tagged(index, address)) {
                entry.remove();
            }
        }
        if slot.node == OWN
            && let Some(count) = self.local.get_mut(&slot.identity)
        {
            *count -= 1;
            if *count == 0 {
                self.local.remove(&slot.identity);
                changed.local_identities.insert(slot.identity);
            }
        }
        self.note(&slot.key, slot.node, slot.addresses, changed);
    }

    fn note(&self, key: &PodKey, node: u32, addresses: Addresses, changed: &mut Changed) {
        if node == OWN {
            changed.pods.insert(key.clone());
        }
        changed.addresses.extend(addresses.iter());
    }

    fn node_number(&mut self, name: &str) -> u32 {
        if name == &*self.own {
            return OWN;
        }
        // Endpoints of one node come together, so the last ones are looked at first.
        let known = self.nodes.iter().rposition(|node| &**node == name);
        known.unwrap_or_else(|| {
            self.nodes.push(name.into());
            self.nodes.len() - 1
        }) as u32
    }

    fn find(&self, key: &PodKey) -> Option<u32> {
        self.by_key.find(self.hash(key), |&index| holds(&self.slots, index, key)).copied()
    }

    fn view(&self, entry: u32) -> Option<EndpointRef<'_>> {
        let slot = self.slots.get((entry & INDEX) as usize)?.as_ref()?;
        Some(EndpointRef {
            key: &slot.key,
            node: &self.nodes[slot.node as usize],
            identity: slot.identity,
            addresses: slot.addresses,
            local: slot.node == OWN,
        })
    }

    fn hash<T: Hash>(&self, value: &T) -> u64 {
        self.hasher.hash_one(value)
    }
}

/// The bit of a `by_address` entry that says IPv6.
const TAG: u32 = 1 << 31;
const INDEX: u32 = TAG - 1;

fn tagged(index: u32, address: IpAddr) -> u32 {
    if address.is_ipv6() { index | TAG } else { index }
}

fn rehash(slots: &[Option<Slot>], hasher: &DefaultHashBuilder, entry: u32) -> u64 {
    let Some(slot) = slots[(entry & INDEX) as usize].as_ref() else {
        return 0;
    };
    let address = if entry & TAG == 0 { slot.addresses.v4.map(IpAddr::V4) } else { slot.addresses.v6.map(IpAddr::V6) };
    address.map_or(0, |address| hasher.hash_one(address))
}

fn holds(slots: &[Option<Slot>], index: u32, key: &PodKey) -> bool {
    slots[index as usize].as_ref().is_some_and(|slot| slot.key == *key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str, node: &str, addresses: &[&str], identity: u8) -> Endpoint {
        Endpoint {
            key: PodKey::new("shop", name),
            node: node.into(),
            addresses: addresses.iter().map(|text| text.parse::<IpAddr>().unwrap()).collect(),
            identity: IdentityId([identity; 16]),
        }
    }

    #[test]
    fn both_claims_of_an_address_are_kept() {
        let mut changed = Changed::default();
        let mut endpoints = Endpoints::new("node-a");
        endpoints.insert(endpoint("old", "node-b", &["10.0.0.1", "fd00::1"], 1), &mut changed);
        endpoints.insert(endpoint("new", "node-b", &["10.0.0.1"], 2), &mut changed);
        let address = "10.0.0.1".parse().unwrap();
        assert_eq!(endpoints.at(address).count(), 2);
        endpoints.remove(&PodKey::new("shop", "old"), &mut changed);
        assert_eq!(endpoints.at(address).map(|found| found.identity.0[0]).collect::<Vec<_>>(), [2]);
        assert_eq!(endpoints.at("fd00::1".parse().unwrap()).count(), 0);
        assert!(changed.pods.is_empty(), "no pod of this node changed");
        assert_eq!(changed.addresses.len(), 2);
    }

    #[test]
    fn an_unchanged_endpoint_changes_nothing() {
        let mut endpoints = Endpoints::new("node-a");
        endpoints.insert(endpoint("web", "node-a", &["10.0.0.1"], 1), &mut Changed::default());
        let mut changed = Changed::default();
        endpoints.insert(endpoint("web", "node-a", &["10.0.0.1"], 1), &mut changed);
        assert_eq!(changed, Changed::default());
    }

    #[test]
    fn local_identities_come_and_go_with_their_last_endpoint() {
        let mut changed = Changed::default();
        let mut endpoints = Endpoints::new("node-a");
        endpoints.insert(endpoint("one", "node-a", &[], 1), &mut changed);
        endpoints.insert(endpoint("two", "node-a", &[], 1), &mut changed);
        changed = Changed::default();
        endpoints.remove(&PodKey::new("shop", "one"), &mut changed);
        assert!(changed.local_identities.is_empty() && endpoints.is_local(IdentityId([1; 16])));
        endpoints.remove(&PodKey::new("shop", "two"), &mut changed);
        assert!(changed.local_identities.contains(&IdentityId([1; 16])) && !endpoints.is_local(IdentityId([1; 16])));
    }

    #[test]
    fn many_come_and_go_and_every_index_holds() {
        let mut endpoints = Endpoints::new("node-a");
        let mut changed = Changed::default();
        let address = |number: u32| IpAddr::from([10, 1, (number >> 8) as u8, number as u8]);
        for number in 0..5000 {
            endpoints.insert(
                Endpoint {
                    addresses: [address(number)].into_iter().collect(),
                    ..endpoint(&format!("p{number}"), "node-b", &[], 7)
                },
                &mut changed,
            );
        }
        for number in (0..5000).step_by(2) {
            endpoints.remove(&PodKey::new("shop", &format!("p{number}")), &mut changed);
        }
        assert_eq!(endpoints.len(), 2500);
        for number in 0..5000 {
            assert_eq!(endpoints.at(address(number)).count(), (number % 2) as usize, "{number}");
        }
    }
}
