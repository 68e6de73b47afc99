//! Rules and isolations, each once, with the policies that say it.

use std::collections::BTreeSet;
use std::fmt;

use hashbrown::HashMap;

use super::content::{Content, ContentId};
use super::slab::Slab;
use crate::object::{IpBlock, PortRange, Services, Text};

/// The direction of traffic, as the pods see it that a policy applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// To them.
    Ingress,
    /// From them.
    Egress,
}

/// What a rule says: everything but who says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleContent {
    /// The direction.
    pub direction: Direction,
    /// The group whose pods it is about.
    pub applied_to: ContentId,
    /// The groups on the other side, sorted.
    pub peers: Box<[ContentId]>,
    /// The ranges of addresses on the other side, sorted.
    pub blocks: Box<[IpBlock]>,
    /// Whether everyone may be on the other side; then both lists are empty.
    pub anyone: bool,
    /// The ports.
    pub services: Services,
}

/// A rule and who says it.
pub(super) struct Rule {
    pub id: ContentId,
    pub content: RuleContent,
    /// The number of the group that it applies to.
    pub applied_to: u32,
    /// Numbers of the groups whose endpoints it needs.
    pub peers: Box<[u32]>,
    /// The policy rules that say it.
    pub names: BTreeSet<Text>,
}

/// An isolation and who says it.
pub(super) struct Isolation {
    pub id: ContentId,
    pub direction: Direction,
    pub group: ContentId,
    /// The number of the group that is isolated.
    pub applied_to: u32,
    /// The policies that isolate it.
    pub names: BTreeSet<Text>,
}

/// All rules and isolations.
#[derive(Default)]
pub(super) struct Rules {
    pub numbers: HashMap<ContentId, u32>,
    pub rules: Slab<Rule>,
    pub isolation_numbers: HashMap<ContentId, u32>,
    pub isolations: Slab<Isolation>,
}

impl Rules {
    pub fn rule(&self, id: &ContentId) -> Option<&Rule> {
        self.numbers.get(id).map(|number| &self.rules[*number])
    }

    pub fn isolation(&self, id: &ContentId) -> Option<&Isolation> {
        self.isolation_numbers.get(id).map(|number| &self.isolations[*number])
    }

    pub fn len(&self) -> usize {
        self.rules.len()
    }
}

impl RuleContent {
    pub(super) fn id(&self) -> ContentId {
        let content = Content::of("rule").number(self.direction as u64).id(self.applied_to);
        let content = content.list(self.peers.iter(), |content, peer| content.id(*peer));
        let content = content.list(self.blocks.iter(), |content, block| {
            let content = content.text(&block.cidr().to_string());
            content.list(block.except().iter(), |content, net| content.text(&net.to_string()))
        });
        let content = content.number(self.anyone.into());
        let Some(ports) = self.services.ports() else { return content.text("any service").finish() };
        let content = content.list(ports.iter(), |content, port| {
            let content = content.number(port.protocol as u64);
            match &port.range {
                PortRange::All => content.text("all"),
                PortRange::Numbers(first, last) => {
                    #[cfg(fuzzing)]
                    apis::planted::planted("yaml", *first < 80);
                    content.text("numbers").number((*first).into()).number((*last).into())
                }
                PortRange::Named(name) => content.text("named").text(name),
            }
        });
        content.finish()
    }
}

/// The name of an isolation.
pub(super) fn isolation_id(direction: Direction, group: ContentId) -> ContentId {
    Content::of("isolation").number(direction as u64).id(group).finish()
}

impl fmt::Display for Direction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}
