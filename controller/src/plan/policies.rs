//! Policies to rules, isolations and the groups these name.
//!
//! What a changed policy still says is left alone; what is new is taken before what is gone is given up, so a rule that two
//! policies hand over in one update (a rename) is never away.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;

use super::delta::{Name, Span, Work, look_at};
use super::group::{Groups, Namespaces, Selector};
use super::identity::ROLLOUT_LABELS;
use super::rule::{Isolation, Rule, isolation_id};
use super::{Direction, Plan, RuleContent};
use crate::object::{IpBlock, NetworkPolicy, Peers, PodKey, PolicyKey, Services, Text};
use crate::state::{Changed, State};

/// A policy as it stands in the plan.
#[derive(Default)]
pub(super) struct Compiled {
    /// Rule numbers by the name the policy gives them.
    rules: BTreeMap<Text, u32>,
    /// Numbers of isolations.
    isolations: BTreeSet<u32>,
    ingress: bool,
    egress: bool,
}

/// A rule that a policy wants.
struct Wanted<'a> {
    name: Text,
    direction: Direction,
    applied_to: &'a Selector,
    peers: BTreeSet<Selector>,
    blocks: &'a [IpBlock],
    anyone: bool,
    services: &'a Services,
}

impl Plan {
    /// Takes in changed policies; the pods whose identity may be another now that selectors name other labels.
    pub(super) fn change_policies(&mut self, state: &State, changed: &Changed, work: &mut Work) -> Vec<PodKey> {
        let named_before = self.named_rollout_labels();
        let mut given_up = Vec::new();
        for key in &changed.policies {
            let old = self.policies.remove(key).unwrap_or_default();
            let new = match state.policy(key) {
                Some(policy) => self.compile(policy, &old, work),
                None => Compiled::default(),
            };
            self.change_selectable(state, &key.namespace, (old.ingress, old.egress), (new.ingress, new.egress), work);
            let rules = old.rules.into_iter().filter(|(name, rule)| new.rules.get(name) != Some(rule));
            let isolations = old.isolations.difference(&new.isolations).copied();
            given_up.push((policy_name(key), rules.collect::<Vec<_>>(), isolations.collect::<Vec<_>>()));
            if state.policy(key).is_some() {
                self.policies.insert(key.clone(), new);
            }
        }
        for (name, rules, isolations) in given_up {
            for (rule_name, rule) in rules {
                self.give_up_rule(&rule_name, rule, work);
            }
            for isolation in isolations {
                self.give_up_isolation(&name, isolation, work);
            }
        }
        let named_after = self.named_rollout_labels();
        let differing: Vec<&str> = named_before.symmetric_difference(&named_after).copied().collect();
        if differing.is_empty() {
            return Vec::new();
        }
        let pods = state.pods().filter(|pod| differing.iter().any(|key| pod.labels.get(key).is_some()));
        pods.map(|pod| pod.key.clone()).collect()
    }

    /// The rollout labels that a selector names.
    pub(super) fn named_rollout_labels(&self) -> BTreeSet<&'static str> {
        ROLLOUT_LABELS.into_iter().filter(|key| self.groups.names_label(key)).collect()
    }

    fn compile(&mut self, policy: &NetworkPolicy, old: &Compiled, work: &mut Work) -> Compiled {
        let name = policy_name(&policy.key);
        let namespace = &policy.key.namespace;
        let applied_to = Selector::Pods { namespaces: Namespaces::One(namespace.clone()), pods: policy.pods.clone() };
        let mut new =
            Compiled { ingress: policy.ingress.is_some(), egress: policy.egress.is_some(), ..Compiled::default() };
        for (direction, rules) in [(Direction::Ingress, &policy.ingress), (Direction::Egress, &policy.egress)] {
            let Some(rules) = rules else { continue };
            new.isolations.insert(self.take_isolation(direction, &applied_to, &name, work));
            for (index, rule) in rules.iter().enumerate() {
                let (mut peers, mut blocks): (BTreeSet<Selector>, &[IpBlock]) = (BTreeSet::new(), &[]);
                if let Peers::These { selectors, blocks: listed } = &rule.peers {
                    blocks = listed;
                    peers.extend(selectors.iter().map(|peer| Selector::Pods {
                        namespaces: match &peer.namespaces {
                            Some(labels) => Namespaces::Matching(labels.clone()),
                            None => Namespaces::One(namespace.clone()),
                        },
                        pods: peer.pods.clone(),
                    }));
                }
                let anyone = rule.peers == Peers::Anyone;
                if !anyone && peers.is_empty() && blocks.is_empty() {
                    continue; // nobody: the isolation says it all
                }
                let name = Text::from(format!("{name} {direction}[{index}]").as_str());
                let services = &rule.services;
                let wanted =
                    Wanted { name: name.clone(), direction, applied_to: &applied_to, peers, blocks, anyone, services };
                let number = self.take_rule(wanted, old.rules.get(&name).copied(), work);
                new.rules.insert(name, number);
            }
        }
        new
    }

    /// The number of the rule, which from now on bears the name; `held` is the rule that bore it so far.
    fn take_rule(&mut self, wanted: Wanted<'_>, held: Option<u32>, work: &mut Work) -> u32 {
        let content = RuleContent {
            direction: wanted.direction,
            applied_to: wanted.applied_to.id(),
            peers: sorted(wanted.peers.iter().map(Selector::id)),
            blocks: wanted.blocks.into(),
            anyone: wanted.anyone,
            services: wanted.services.clone(),
        };
        let id = content.id();
        if let Some(number) = self.rules.numbers.get(&id).copied() {
            if held != Some(number) {
                self.touch_rule(number, work);
                self.rules.rules[number].names.insert(wanted.name);
            }
            return number;
        }
        let applied_to = self.take_group(wanted.applied_to, work);
        let mut needed = wanted.peers;
        if wanted.direction == Direction::Egress && (wanted.anyone || !wanted.blocks.is_empty()) {
            // Where the destination is open, the name may resolve on any pod that has it: the node must know those.
            let ports = wanted.services.names();
            needed.extend(ports.map(|(protocol, name)| Selector::NamedPort { name: name.clone(), protocol }));
        }
        let peers: Box<[u32]> = needed.iter().map(|selector| self.take_group(selector, work)).collect();
        work.touch(Name::Rule(id), || None);
        let names = BTreeSet::from([wanted.name]);
        let number = self.rules.rules.insert(Rule { id, content, applied_to, peers: peers.clone(), names });
        self.rules.numbers.insert(id, number);
        let group = self.groups.get_mut(applied_to);
        group.applied_rules.insert(number);
        let home = group.home.clone();
        look_at(&mut work.spans, applied_to, &home);
        for peer in peers {
            self.groups.get_mut(peer).peer_rules.insert(number);
            look_at(&mut work.reaches, peer, &home);
        }
        number
    }

    fn touch_rule(&self, number: u32, work: &mut Work) {
        let name = Name::Rule(self.rules.rules[number].id);
        work.touch(name.clone(), || self.span(&name));
        work.content_changed(&name);
    }

    fn give_up_rule(&mut self, name: &str, number: u32, work: &mut Work) {
        self.touch_rule(number, work);
        let rule = &mut self.rules.rules[number];
        rule.names.remove(name);
        if !rule.names.is_empty() {
            return;
        }
        let Some(rule) = self.rules.rules.remove(number) else { return };
        self.rules.numbers.remove(&rule.id);
        let group = self.groups.get_mut(rule.applied_to);
        group.applied_rules.remove(number);
        let home = group.home.clone();
        look_at(&mut work.spans, rule.applied_to, &home);
        for peer in rule.peers.iter().copied() {
            self.groups.get_mut(peer).peer_rules.remove(number);
            look_at(&mut work.reaches, peer, &home);
        }
        for group in rule.peers.iter().copied().chain([rule.applied_to]) {
            self.give_up_group(group, work);
        }
    }

    fn take_isolation(&mut self, direction: Direction, selector: &Selector, policy: &Text, work: &mut Work) -> u32 {
        let group = selector.id();
        let id = isolation_id(direction, group);
        if let Some(number) = self.rules.isolation_numbers.get(&id).copied() {
            if !self.rules.isolations[number].names.contains(policy) {
                self.touch_isolation(number, work);
                self.rules.isolations[number].names.insert(policy.clone());
            }
            return number;
        }
        let applied_to = self.take_group(selector, work);
        work.touch(Name::Isolation(id), || None);
        let names = BTreeSet::from([policy.clone()]);
        let number = self.rules.isolations.insert(Isolation { id, direction, group, applied_to, names });
        self.rules.isolation_numbers.insert(id, number);
        let group = self.groups.get_mut(applied_to);
        group.isolations.insert(number);
        look_at(&mut work.spans, applied_to, &group.home);
        number
    }

    fn touch_isolation(&self, number: u32, work: &mut Work) {
        let name = Name::Isolation(self.rules.isolations[number].id);
        work.touch(name.clone(), || self.span(&name));
        work.content_changed(&name);
    }

    fn give_up_isolation(&mut self, policy: &str, number: u32, work: &mut Work) {
        self.touch_isolation(number, work);
        let isolation = &mut self.rules.isolations[number];
        isolation.names.remove(policy);
        if !isolation.names.is_empty() {
            return;
        }
        let Some(isolation) = self.rules.isolations.remove(number) else { return };
        self.rules.isolation_numbers.remove(&isolation.id);
        let group = self.groups.get_mut(isolation.applied_to);
        group.isolations.remove(number);
        look_at(&mut work.spans, isolation.applied_to, &group.home);
        self.give_up_group(isolation.applied_to, work);
    }

    /// The number of the group with this selector, made with its members where there was none.
    fn take_group(&mut self, selector: &Selector, work: &mut Work) -> u32 {
        let id = selector.id();
        if let Some(number) = self.groups.number_of(&id) {
            return number;
        }
        let number = self.groups.insert(id, selector.clone());
        self.touch_group(number, work, || None);
        let candidates = Groups::candidates(selector, &self.identities);
        let members: RoaringBitmap = candidates
            .iter()
            .filter(|identity| {
                let definition = &self.identities.get(*identity).definition;
                selector.matches(definition, self.labels_of(&definition.namespace))
            })
            .collect();
        for identity in &members {
            let identity = self.identities.get_mut(identity);
            identity.groups.insert(number);
            look_at(&mut work.homes, number, &identity.homes());
        }
        self.groups.get_mut(number).members = members;
        number
    }

    /// Forgets a group that nobody uses any longer.
    fn give_up_group(&mut self, number: u32, work: &mut Work) {
        let Some(group) = self.groups.find(number).filter(|group| group.is_unused()) else { return };
        self.touch_group(number, work, || Some(Span::of(&group.span)));
        let candidates = &group.span | &group.reach;
        for identity in &group.members {
            self.identities.get_mut(identity).groups.remove(number);
            look_at(&mut work.identities, identity, &candidates);
        }
        self.groups.remove(number);
    }

    /// Marks a group as touched, its content as changed.
    pub(super) fn touch_group(&self, number: u32, work: &mut Work, before: impl FnOnce() -> Option<Span>) {
        let group = self.groups.get(number);
        if group.is_sent() {
            let name = Name::Group(group.id);
            work.touch(name.clone(), before);
            work.content_changed(&name);
        }
    }
}

/// As rules and isolations name a policy: `NetworkPolicy/namespace/name`.
fn policy_name(key: &PolicyKey) -> Text {
    Text::from(format!("NetworkPolicy/{key}").as_str())
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Box<[T]> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.dedup();
    items.into_boxed_slice()
}
