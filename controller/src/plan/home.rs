//! The nodes that have endpoints, by number, and the identities that live on each.

use hashbrown::HashMap;
use roaring::RoaringBitmap;

use super::slab::Slab;
use crate::object::NodeName;

/// Nodes with endpoints. A node's number is not given to another before the next update, so that spans of one update speak
/// of the same nodes from its begin to its end.
#[derive(Default)]
pub(super) struct Homes {
    numbers: HashMap<NodeName, u32>,
    homes: Slab<Home>,
    left: Vec<u32>,
}

struct Home {
    name: NodeName,
    endpoints: u32,
    identities: RoaringBitmap,
}

impl Homes {
    pub fn index_of(&self, node: &NodeName) -> Option<u32> {
        self.numbers.get(node).copied()
    }

    pub fn name_of(&self, number: u32) -> &NodeName {
        &self.homes[number].name
    }

    pub fn names(&self) -> impl Iterator<Item = &NodeName> {
        self.numbers.keys()
    }

    /// The identities with an endpoint on a node.
    pub fn identities(&self, number: u32) -> &RoaringBitmap {
        &self.homes[number].identities
    }

    /// Counts an endpoint in; the node's number.
    pub fn enter(&mut self, node: &NodeName) -> u32 {
        let number = match self.numbers.get(node) {
            Some(number) => *number,
            None => {
                let home = Home { name: node.clone(), endpoints: 0, identities: RoaringBitmap::new() };
                let number = self.homes.insert(home);
                self.numbers.insert(node.clone(), number);
                number
            }
        };
        self.homes[number].endpoints += 1;
        number
    }

    /// Counts an endpoint out.
    pub fn leave(&mut self, number: u32) {
        let home = &mut self.homes[number];
        home.endpoints -= 1;
        if home.endpoints == 0 {
            self.left.push(number);
        }
    }

    pub fn identity_arrived(&mut self, number: u32, identity: u32) {
        self.homes[number].identities.insert(identity);
    }

    pub fn identity_left(&mut self, number: u32, identity: u32) {
        self.homes[number].identities.remove(identity);
    }

    /// Gives up the numbers of nodes whose last endpoint left in the update before.
    pub fn release(&mut self) {
        for number in std::mem::take(&mut self.left) {
            if self.homes.get(number).is_some_and(|home| home.endpoints == 0)
                && let Some(home) = self.homes.remove(number)
            {
                self.numbers.remove(&home.name);
            }
        }
    }
}
