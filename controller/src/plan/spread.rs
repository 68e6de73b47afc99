//! Which node needs what, brought up to date from the left to the right.
//!
//! ```text
//!  pods of a node ─► home of a group ─► its rules ─► their peers' reach ─┐
//!                         └───────────────────────► span of a group ◄────┘ ─► identities, endpoints
//! ```
//!
//! Every step is given candidates: (object, node) pairs that may have changed. For each it asks the definition anew, so a
//! candidate too many costs time and nothing else. The definitions:
//!
//! - a group's *home*: the nodes with an endpoint of one of its identities;
//! - a rule or isolation is needed on the home of the group it applies to;
//! - a group's *reach*: the nodes that need a rule with it as a peer;
//! - a group's *span*: its reach, and its home where anything applies to it;
//! - an identity's span: the nodes with its endpoints, and the spans of its groups;
//! - an identity's *reach*, the nodes that need all its endpoints: the reaches of its groups. The group a rule applies to
//!   is matched by port, on the pods' own node: the addresses of its other members are nothing a node needs.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::Plan;
use super::delta::{Candidates, Name, Span, Work, look_at};

impl Plan {
    pub(super) fn spread(&mut self, work: &mut Work) {
        for (group, nodes) in take(&mut work.homes) {
            self.spread_home(group, &nodes, work);
        }
        for (group, nodes) in take(&mut work.reaches) {
            self.spread_reach(group, &nodes, work);
        }
        for (group, nodes) in take(&mut work.spans) {
            self.spread_span(group, &nodes, work);
        }
        for (identity, nodes) in take(&mut work.identities) {
            self.spread_identity(identity, &nodes, work);
        }
    }

    fn spread_home(&mut self, number: u32, nodes: &RoaringBitmap, work: &mut Work) {
        let Some(group) = self.groups.find(number) else { return };
        let lives = |node: &u32| !self.homes.identities(*node).is_disjoint(&group.members);
        let lived: RoaringBitmap = nodes.iter().filter(lives).collect();
        let changed = (&group.home & nodes) ^ &lived;
        if changed.is_empty() {
            return;
        }
        let rules = group.applied_rules.iter().map(|rule| &self.rules.rules[rule]);
        let mut touched: Vec<Name> = Vec::new();
        for rule in rules {
            touched.push(Name::Rule(rule.id));
            rule.peers.iter().for_each(|peer| look_at(&mut work.reaches, *peer, &changed));
        }
        touched.extend(group.isolations.iter().map(|isolation| Name::Isolation(self.rules.isolations[isolation].id)));
        for name in touched {
            work.touch(name, || Some(Span::of(&group.home)));
        }
        look_at(&mut work.spans, number, &changed);
        self.groups.get_mut(number).home ^= changed;
    }

    fn spread_reach(&mut self, number: u32, nodes: &RoaringBitmap, work: &mut Work) {
        let Some(group) = self.groups.find(number) else { return };
        let homes = group.peer_rules.iter().map(|rule| &self.groups.get(self.rules.rules[rule].applied_to).home);
        let changed = (&group.reach & nodes) ^ covered(nodes, homes);
        look_at(&mut work.spans, number, &changed);
        // Its members' reach follows even where its span stays, because the group applies to something there too.
        group.members.iter().for_each(|identity| look_at(&mut work.identities, identity, &changed));
        self.groups.get_mut(number).reach ^= changed;
    }

    fn spread_span(&mut self, number: u32, nodes: &RoaringBitmap, work: &mut Work) {
        let Some(group) = self.groups.find(number) else { return };
        let mut needed = nodes & &group.reach;
        if group.is_applied_to() {
            needed |= nodes & &group.home;
        }
        let changed = (&group.span & nodes) ^ needed;
        if changed.is_empty() {
            return;
        }
        if group.is_sent() {
            work.touch(Name::Group(group.id), || Some(Span::of(&group.span)));
        }
        group.members.iter().for_each(|identity| look_at(&mut work.identities, identity, &changed));
        self.groups.get_mut(number).span ^= changed;
    }

    fn spread_identity(&mut self, number: u32, nodes: &RoaringBitmap, work: &mut Work) {
        let Some(identity) = self.identities.find(number) else { return };
        let mut needed = covered(nodes, identity.groups.iter().map(|group| &self.groups.get(group).span));
        needed.extend(nodes.iter().filter(|node| identity.lives_on(*node)));
        let reached = covered(nodes, identity.groups.iter().map(|group| &self.groups.get(group).reach));
        let span = (identity.span.as_ref() & nodes) ^ needed;
        let reach = (identity.reach.as_ref() & nodes) ^ reached;
        if !span.is_empty() {
            work.touch(Name::Identity(identity.id), || Some(Span::nodes(Arc::clone(&identity.span))));
        }
        if !reach.is_empty() {
            for endpoint in identity.endpoints.iter().map(|endpoint| self.endpoints.get(endpoint)) {
                let before = || Some(Span::with_home(Arc::clone(&identity.reach), endpoint.home));
                work.touch(Name::Endpoint(endpoint.key.clone()), before);
            }
        }
        let identity = self.identities.get_mut(number);
        if !span.is_empty() {
            *Arc::make_mut(&mut identity.span) ^= span;
        }
        if !reach.is_empty() {
            *Arc::make_mut(&mut identity.reach) ^= reach;
        }
    }
}

/// The candidates that lie in one of the sets; stops as soon as all do.
fn covered<'a>(candidates: &RoaringBitmap, sets: impl Iterator<Item = &'a RoaringBitmap>) -> RoaringBitmap {
    let mut covered = RoaringBitmap::new();
    for set in sets {
        covered |= candidates & set;
        if covered.len() == candidates.len() {
            break;
        }
    }
    covered
}

fn take(candidates: &mut Candidates) -> Candidates {
    std::mem::take(candidates)
}
