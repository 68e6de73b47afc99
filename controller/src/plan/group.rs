//! Groups: a selector and the identities it selects.
//!
//! An index from labels to groups leads from a new identity to the groups that can select it, so its cost does not grow
//! with the number of policies that speak of other pods.

use std::fmt;

use hashbrown::HashMap;
use roaring::RoaringBitmap;

use super::content::{Content, ContentId};
use super::identity::{Definition, Identities};
use super::slab::Slab;
use crate::object::{LabelSelector, Labels, Operator, Protocol, Text};

/// Selects identities.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// Pods by their labels and their namespace.
    Pods {
        /// Of these namespaces.
        namespaces: Namespaces,
        /// With these labels.
        pods: LabelSelector,
    },
    /// Pods that give a port this name. It never goes on the wire: it says which identities a node must know for a rule that
    /// names a port and leaves the destination open.
    NamedPort {
        /// The port's name.
        name: Text,
        /// Its protocol.
        protocol: Protocol,
    },
}

/// Selects namespaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespaces {
    /// This one, whatever its labels.
    One(Text),
    /// Those with these labels.
    Matching(LabelSelector),
}

/// A group and who uses it.
pub(super) struct Group {
    pub id: ContentId,
    pub selector: Selector,
    /// Numbers of identities.
    pub members: RoaringBitmap,
    /// The nodes with a member's endpoint.
    pub home: RoaringBitmap,
    /// Rules that apply to it.
    pub applied_rules: RoaringBitmap,
    /// Isolations of it.
    pub isolations: RoaringBitmap,
    /// Rules that have it as a peer.
    pub peer_rules: RoaringBitmap,
    /// The nodes that need it as a peer.
    pub reach: RoaringBitmap,
    /// The nodes that need it.
    pub span: RoaringBitmap,
}

/// All groups.
#[derive(Default)]
pub(super) struct Groups {
    numbers: HashMap<ContentId, u32>,
    groups: Slab<Group>,
    anchors: HashMap<Anchor, Vec<u32>>,
    /// Those that ask for labels of namespaces.
    of_labelled_namespaces: RoaringBitmap,
    /// The keys of pod labels that selectors name, and how many do.
    named_labels: HashMap<Text, u32>,
}

/// What an identity must have for a group to be worth a look: one of the things its selector asks for.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Anchor {
    /// In this namespace (None: in any), anything.
    Namespace(Option<Text>),
    /// In this namespace, a label with this key and (where given) this value.
    Label(Option<Text>, Text, Option<Text>),
    /// A port of this name.
    Port(Text),
}

impl Selector {
    pub(super) fn id(&self) -> ContentId {
        match self {
            Self::Pods { namespaces: Namespaces::One(namespace), pods } => {
                selector_content(Content::of("group of one namespace").text(namespace), pods).finish()
            }
            Self::Pods { namespaces: Namespaces::Matching(labels), pods } => {
                selector_content(selector_content(Content::of("group"), labels), pods).finish()
            }
            Self::NamedPort { name, protocol } => {
                Content::of("named port").text(name).number(*protocol as u64).finish()
            }
        }
    }

    /// Whether an identity in a namespace with these labels is selected.
    pub fn matches(&self, definition: &Definition, namespace_labels: &Labels) -> bool {
        match self {
            Self::Pods { namespaces, pods } => {
                let in_namespace = match namespaces {
                    Namespaces::One(namespace) => *namespace == definition.namespace,
                    Namespaces::Matching(labels) => labels.matches(namespace_labels),
                };
                in_namespace && pods.matches(&definition.labels)
            }
            Self::NamedPort { name, protocol } => {
                definition.named_ports.iter().any(|port| port.name == *name && port.protocol == *protocol)
            }
        }
    }

    /// The keys of pod labels that it names.
    pub(super) fn named_labels(&self) -> impl Iterator<Item = &Text> {
        let tests = match self {
            Self::Pods { pods, .. } => pods.tests(),
            Self::NamedPort { .. } => &[],
        };
        tests.iter().map(|test| &test.key)
    }

    /// Members are found under one of these; none: nobody can match.
    fn anchors(&self) -> Vec<Anchor> {
        let (namespaces, pods) = match self {
            Self::NamedPort { name, .. } => return vec![Anchor::Port(name.clone())],
            Self::Pods { namespaces, pods } => (namespaces, pods),
        };
        let namespace = match namespaces {
            Namespaces::One(namespace) => Some(namespace.clone()),
            Namespaces::Matching(_) => None,
        };
        let (mut values_of, mut key_of): (Option<(&Text, &[Text])>, Option<&Text>) = (None, None);
        for test in pods.tests() {
            match &test.operator {
                Operator::Never => return Vec::new(),
                Operator::In(values) if values_of.is_none_or(|(_, held)| held.len() > values.len()) => {
                    values_of = Some((&test.key, values));
                }
                Operator::Exists | Operator::ExistsNotIn(_) => key_of = Some(&test.key),
                Operator::In(_) | Operator::NotIn(_) | Operator::DoesNotExist => {}
            }
        }
        match (values_of, key_of) {
            (Some((key, values)), _) => {
                let anchor = |value: &Text| Anchor::Label(namespace.clone(), key.clone(), Some(value.clone()));
                values.iter().map(anchor).collect()
            }
            (None, Some(key)) => vec![Anchor::Label(namespace, key.clone(), None)],
            (None, None) => vec![Anchor::Namespace(namespace)],
        }
    }
}

fn selector_content(content: Content, selector: &LabelSelector) -> Content {
    content.list(selector.tests().iter(), |content, test| {
        let content = content.text(&test.key);
        let with_values = |content: Content, operator: &str, values: &[Text]| {
            content.text(operator).list(values.iter(), |content, value| content.text(value))
        };
        match &test.operator {
            Operator::In(values) => with_values(content, "In", values),
            Operator::NotIn(values) => with_values(content, "NotIn", values),
            Operator::ExistsNotIn(values) => with_values(content, "ExistsNotIn", values),
            Operator::Exists => content.text("Exists"),
            Operator::DoesNotExist => content.text("DoesNotExist"),
            Operator::Never => content.text("Never"),
        }
    })
}

impl Group {
    /// Whether any rule or isolation applies to it.
    pub fn is_applied_to(&self) -> bool {
        !self.applied_rules.is_empty() || !self.isolations.is_empty()
    }

    pub fn is_unused(&self) -> bool {
        !self.is_applied_to() && self.peer_rules.is_empty()
    }

    /// Whether it goes on the wire.
    pub fn is_sent(&self) -> bool {
        matches!(self.selector, Selector::Pods { .. })
    }
}

impl Groups {
    pub fn number_of(&self, id: &ContentId) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    pub fn get(&self, number: u32) -> &Group {
        &self.groups[number]
    }

    pub fn get_mut(&mut self, number: u32) -> &mut Group {
        &mut self.groups[number]
    }

    pub fn find(&self, number: u32) -> Option<&Group> {
        self.groups.get(number)
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &Group)> {
        self.groups.iter()
    }

    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether a group's selector names this key of pod labels.
    pub fn names_label(&self, key: &str) -> bool {
        self.named_labels.contains_key(key)
    }

    /// Those whose members depend on the labels of namespaces.
    pub fn of_labelled_namespaces(&self) -> impl Iterator<Item = u32> {
        self.of_labelled_namespaces.iter()
    }

    /// Makes a group of a selector, without members and users yet.
    pub fn insert(&mut self, id: ContentId, selector: Selector) -> u32 {
        let anchors = selector.anchors();
        let labelled = matches!(&selector, Selector::Pods { namespaces: Namespaces::Matching(labels), .. } if !labels.is_everything());
        for key in selector.named_labels() {
            *self.named_labels.entry(key.clone()).or_default() += 1;
        }
        let number = self.groups.insert(Group {
            id,
            selector,
            members: RoaringBitmap::new(),
            home: RoaringBitmap::new(),
            applied_rules: RoaringBitmap::new(),
            isolations: RoaringBitmap::new(),
            peer_rules: RoaringBitmap::new(),
            reach: RoaringBitmap::new(),
            span: RoaringBitmap::new(),
        });
        self.numbers.insert(id, number);
        for anchor in anchors {
            self.anchors.entry(anchor).or_default().push(number);
        }
        if labelled {
            self.of_labelled_namespaces.insert(number);
        }
        number
    }

    pub fn remove(&mut self, number: u32) {
        let Some(group) = self.groups.remove(number) else { return };
        self.numbers.remove(&group.id);
        self.of_labelled_namespaces.remove(number);
        for key in group.selector.named_labels() {
            if let Some(count) = self.named_labels.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.named_labels.remove(key);
                }
            }
        }
        for anchor in group.selector.anchors() {
            if let Some(numbers) = self.anchors.get_mut(&anchor) {
                numbers.retain(|held| *held != number);
                if numbers.is_empty() {
                    self.anchors.remove(&anchor);
                }
            }
        }
    }

    /// The groups that select an identity.
    pub fn selecting(&self, definition: &Definition, namespace_labels: &Labels) -> RoaringBitmap {
        let mut found = RoaringBitmap::new();
        let mut look = |anchor: Anchor| {
            for number in self.anchors.get(&anchor).into_iter().flatten() {
                if self.groups[*number].selector.matches(definition, namespace_labels) {
                    found.insert(*number);
                }
            }
        };
        for namespace in [Some(definition.namespace.clone()), None] {
            for (key, value) in definition.labels.iter() {
                look(Anchor::Label(namespace.clone(), key.clone(), Some(value.clone())));
                look(Anchor::Label(namespace.clone(), key.clone(), None));
            }
            look(Anchor::Namespace(namespace));
        }
        for port in definition.named_ports.iter() {
            look(Anchor::Port(port.name.clone()));
        }
        found
    }

    /// The identities that a selector may select: a set that is cheap to find and contains them all.
    pub fn candidates(selector: &Selector, identities: &Identities) -> RoaringBitmap {
        let (namespaces, pods) = match selector {
            Selector::NamedPort { name, .. } => return identities.with_port(name),
            Selector::Pods { namespaces, pods } => (namespaces, pods),
        };
        let mut found = match namespaces {
            Namespaces::One(namespace) => Some(identities.in_namespace(namespace)),
            Namespaces::Matching(_) => None,
        };
        for test in pods.tests() {
            if let Operator::In(values) = &test.operator {
                let with_label = identities.with_label(&test.key, values);
                found = Some(found.map_or_else(|| with_label.clone(), |found| found & &with_label));
            }
        }
        found.unwrap_or_else(|| identities.all())
    }
}

/// `pods(app=web) in shop`, `pods(*) in namespaces(team=a)`, `port http TCP`.
impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pods { namespaces: Namespaces::One(namespace), pods } => {
                write!(formatter, "pods({pods}) in {namespace}")
            }
            Self::Pods { namespaces: Namespaces::Matching(labels), pods } => {
                write!(formatter, "pods({pods}) in namespaces({labels})")
            }
            Self::NamedPort { name, protocol } => write!(formatter, "port {name} {protocol}"),
        }
    }
}
