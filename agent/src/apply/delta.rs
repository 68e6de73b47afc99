//! What differs, cut into slices that may be sent one after the other without ever allowing what neither the old policy nor
//! the new one allows.
//!
//! A change that fits one bundle is one bundle: the switch takes it whole. A larger one first closes (rules go, isolations
//! come, who-is-who that changes is forgotten), then opens. What closes must be realised before anything opens ([`Slice::opens`]).
//!
//! What opens goes pod by pod, by the flows' ranks: the rules about a pod, the identities that they name, then the pod's own
//! flows, so that no pod gets in before the policies about it, and the first pod is in long before the last. The first of these
//! slices are small for the same reason. What came to be wanted meanwhile (a new pod) has the first rank, and so overtakes.
//!
//! A switch that has nothing lets nothing through, so nothing is to be closed before: there the first bundle brings the base, what
//! closes and the first of what opens at once.
//!
//! The slices follow from what differs: an event between two of them changes that, and so the rest.

use ovs_pipeline::Table;

use super::flows::{Difference, FlowId, Flows};

/// Flow changes in one bundle. More stop a `netdev` switch for long enough to lose packets.
pub const SLICE: usize = 10_000;
/// In the first slice that opens; each that follows may be twice as long.
const FIRST_SLICE: usize = 250;

/// One flow's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The switch is to have the flow as it is wanted.
    Put(FlowId),
    /// The switch is not to have it.
    Delete(FlowId),
}

impl Change {
    /// The flow.
    pub fn flow(self) -> FlowId {
        match self {
            Self::Put(id) | Self::Delete(id) => id,
        }
    }
}

/// Flow changes for one bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// In the order in which they are written.
    pub changes: Vec<Change>,
    /// Part of a larger change of which something opens here: what closed before must be realised first.
    pub opens: bool,
    /// All that differs.
    pub whole: bool,
}

/// Where in a large change a flow's change stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Flows that depend on no intent: without them no packet moves.
    Base,
    /// What allows goes, what denies comes.
    Close,
    /// Rules of tiers come, which may deny too.
    Tiers,
    /// Everything else comes, in the order of ranks.
    Open,
}

/// Where in a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// Rules come.
    Rules,
    /// Addresses get their identities.
    Identities,
    /// Pods and peers get in.
    Entry,
}

/// What may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// Only what is not there at all: the controller has not spoken yet, so nothing is known to be stale.
    Missing,
}

impl Scope {
    fn covers(self, difference: Difference) -> bool {
        self == Self::All || difference == Difference::Absent
    }
}

/// A change with its place in the order of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    stage: Stage,
    /// What opens: pod by pod.
    turn: (u16, Step),
    /// What is narrow and denies has the higher priority: it comes before what it narrows, and goes after it.
    priority: (bool, u16),
    flow: FlowId,
    put: bool,
}

impl Entry {
    fn of(flows: &Flows, id: FlowId, difference: Difference, whole: bool) -> Option<Self> {
        let key = flows.key(id)?;
        let (stage, step, change) = if whole {
            (Stage::Close, Step::Rules, in_one_step(id, difference))
        } else {
            stage(id, key.table, flows.is_base(id), difference)
        };
        let turn = if stage == Stage::Open { (flows.rank(id), step) } else { (0, Step::Rules) };
        let put = matches!(change, Change::Put(_));
        let priority = (put, if put { u16::MAX - key.priority } else { key.priority });
        Some(Self { stage, turn, priority, flow: id, put })
    }

    fn change(&self) -> Change {
        if self.put { Change::Put(self.flow) } else { Change::Delete(self.flow) }
    }
}

/// Slices that are still to be sent, worked out once for what differs and again when that has changed.
#[derive(Debug, Default)]
pub struct Queue {
    /// What the slices were worked out for.
    of: Option<(u64, Scope)>,
    /// In reverse order of sending.
    staged: Vec<Entry>,
    /// All of it fits one bundle.
    whole: bool,
    /// How many slices that open were made of it.
    opened: u32,
}

impl Queue {
    /// Whether there is a slice to be sent.
    pub fn has_next(&mut self, flows: &mut Flows, scope: Scope) -> bool {
        self.refresh(flows, scope);
        !self.staged.is_empty()
    }

    /// Whether the next slice opens something that what closed before must be realised for; `None` when nothing differs.
    pub fn opens_next(&mut self, flows: &mut Flows, scope: Scope) -> Option<bool> {
        self.refresh(flows, scope);
        let stage = self.staged.last()?.stage;
        Some(!self.whole && stage > Stage::Close)
    }

    /// The next slice of what differs; `None` when nothing does. Whoever sends it tells the flows what became of it; when that
    /// is not what the slice says, the queue is to be forgotten. `fresh`: the switch had no flow, and nothing has opened since.
    pub fn next(&mut self, flows: &mut Flows, scope: Scope, fresh: bool) -> Option<Slice> {
        self.refresh(flows, scope);
        let stage = self.staged.last()?.stage;
        if self.whole {
            let changes = self.staged.drain(..).rev().map(|entry| entry.change()).collect();
            return Some(Slice { changes, opens: false, whole: true });
        }
        let first = self.staged.len() - self.staged.partition_point(|entry| entry.stage > Stage::Close);
        let at_once = fresh && first + FIRST_SLICE <= SLICE;
        let opens = at_once || stage > Stage::Close;
        let most = match (at_once, opens) {
            (true, _) => first + FIRST_SLICE,
            (false, true) => (FIRST_SLICE << self.opened.min(8)).min(SLICE),
            (false, false) => SLICE,
        };
        self.opened += u32::from(opens);
        // Base and Close do not mix with what opens; the opening stages may follow each other within a slice.
        let fits = |entry: &&Entry| entry.stage == stage || (opens && entry.stage > stage);
        let count = self.staged.iter().rev().take(most).take_while(fits).count();
        let rest = self.staged.len() - count;
        let changes = self.staged.drain(rest..).rev().map(|entry| entry.change()).collect();
        if self.staged.is_empty() {
            // What was only deleted to be put anew differs still.
            self.of = None;
        }
        Some(Slice { changes, opens, whole: false })
    }

    /// What was worked out does not hold any more.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    fn refresh(&mut self, flows: &mut Flows, scope: Scope) {
        let now = Some((flows.revision(), scope));
        if self.of == now {
            return;
        }
        let touched = flows.take_touched();
        let same_scope = self.of.is_some_and(|(_, before)| before == scope);
        (self.of, self.opened) = (now, 0);
        match touched {
            // Of a large change little is another: that alone is worked out anew.
            Some(touched) if same_scope && !self.whole && self.staged.len() > SLICE => {
                self.staged.retain(|entry| !touched.contains(&entry.flow));
                let again = touched.into_iter().filter_map(|id| Some((id, flows.difference_of(id)?)));
                let again = again.filter(|(_, difference)| scope.covers(*difference));
                self.staged.extend(again.filter_map(|(id, difference)| Entry::of(flows, id, difference, false)));
                // Quick: nearly all is in order.
                self.staged.sort_by(|one, two| two.cmp(one));
            }
            _ => {
                let mut differences = flows.differences();
                differences.retain(|(_, difference)| scope.covers(*difference));
                self.whole = differences.len() <= SLICE;
                let entry = |(id, difference)| Entry::of(flows, id, difference, self.whole);
                self.staged = differences.into_iter().filter_map(entry).collect();
                self.staged.sort_unstable_by(|one, two| two.cmp(one));
            }
        }
    }
}

/// The change that makes up a difference in one step.
fn in_one_step(id: FlowId, difference: Difference) -> Change {
    match difference {
        Difference::Stale => Change::Delete(id),
        Difference::Absent | Difference::Grown | Difference::Other => Change::Put(id),
    }
}

fn stage(id: FlowId, table: u8, base: bool, difference: Difference) -> (Stage, Step, Change) {
    let (put, delete) = (Change::Put(id), Change::Delete(id));
    if base && difference != Difference::Stale {
        return (Stage::Base, Step::Rules, put);
    }
    let table = Table::from_id(table);
    match (table, difference) {
        // An isolation only ever denies.
        (Some(Table::EgressDefault | Table::IngressDefault), Difference::Stale) => (Stage::Open, Step::Rules, delete),
        (Some(Table::EgressDefault | Table::IngressDefault), _) => (Stage::Close, Step::Rules, put),
        (_, Difference::Stale) => (Stage::Close, Step::Rules, delete),
        // Another clause set, another identity, another port: closed first, and new afterwards.
        (_, Difference::Other) => (Stage::Close, Step::Rules, delete),
        (Some(Table::EgressTierRule | Table::IngressTierRule), Difference::Absent | Difference::Grown) => {
            (Stage::Tiers, Step::Rules, put)
        }
        (Some(Table::EgressRule | Table::IngressRule), Difference::Absent | Difference::Grown) => {
            (Stage::Open, Step::Rules, put)
        }
        (Some(Table::SourceIdentity | Table::DestinationIdentity), _) => (Stage::Open, Step::Identities, put),
        _ => (Stage::Open, Step::Entry, put),
    }
}
