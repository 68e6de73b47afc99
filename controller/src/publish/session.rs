//! One agent: what it has been sent, what it has yet to be told.
//!
//! A stream begins by listening: it hears how new this controller is. Asked to bring frames ([`Session::take`]), it compares
//! what the agent has with what it needs ([`super::compare`]) and brings the difference, then differences as they come.

use std::collections::{BTreeMap, VecDeque};

use apis::stream as wire;
use bytes::Bytes;
use tracing::{debug, warn};

use super::compare::{Compared, Held, Mode};
use super::encode::{Encodings, encode_removed};
use super::frame::Frame;
use super::outbox::{Head, Outbox};
use super::version::EncodedVersions;
use crate::event::Connected;
use crate::object::NodeName;
use crate::plan::{Name, Plan};
use crate::state::State;

/// A frame that an agent's switch obeys.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RealisedFrame {
    /// The frame's number in its stream; 0 where the agent takes its frames from another controller.
    pub frame: u64,
    /// The source's version in it.
    pub version: u64,
    /// What could not be realised.
    pub failures: Vec<Failure>,
    /// The number of this controller's Head that it covers.
    #[serde(skip)]
    pub head: u64,
}

/// Something an agent could not realise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Failure {
    /// The object, as the frame named it.
    pub object: String,
    /// Why.
    pub reason: String,
}

/// An agent's stream.
pub(super) struct Session {
    pub node: NodeName,
    protocol: u32,
    outbox: Outbox,
    mode: Mode,
    /// The number of the last frame sent; 0 before the first.
    sent: u64,
    acknowledged: u64,
    /// The source's version in the last frame sent.
    sent_version: u64,
    /// Up to which change the last frame told; none before the first.
    frame_told: Option<u64>,
    /// Up to which change the agent was told how new this controller is, by frames and Heads; none before the first. A frame may
    /// be dropped on its way, and then has told nothing: up to which change it was told for certain.
    head_told: Option<u64>,
    head_certain: Option<u64>,
    /// Up to which change a Head told while a frame was on its way that told less: the agent does not know yet that there is nothing
    /// else for it up to there.
    head_incomplete: Option<u64>,
    /// The frames that the switch does not obey yet: number, and the change up to which it told.
    unrealised: VecDeque<(u64, u64)>,
    /// What the agent has covers all changes up to this one; what its switch obeys, up to that one.
    covered: u64,
    realised_change: u64,
    /// The source's version in the last frame that the agent acknowledged before this stream.
    pub last_of_agent: u64,
    warned: bool,
    /// Objects to tell, and whether the agent knows an earlier state of each.
    pending: BTreeMap<Name, Knows>,
    pub realised: Option<RealisedFrame>,
}

/// Whether the agent has been told of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Knows(pub bool);

/// Everything that a session is filled from.
pub(super) struct Sources<'a> {
    pub state: &'a State,
    pub plan: &'a Plan,
    pub encodings: &'a mut Encodings,
    pub versions: &'a mut EncodedVersions,
}

impl Session {
    pub fn new(connected: Connected) -> Self {
        let mode = match connected.protocol {
            // Of version 1 every stream brings frames.
            1 => Mode::Wanted { take: 0, digests: None },
            _ => Mode::Listening,
        };
        Self {
            node: connected.node,
            protocol: connected.protocol,
            outbox: connected.outbox,
            mode,
            sent: 0,
            acknowledged: 0,
            sent_version: 0,
            frame_told: None,
            head_told: None,
            head_certain: None,
            head_incomplete: None,
            unrealised: VecDeque::new(),
            covered: 0,
            realised_change: 0,
            last_of_agent: connected.last,
            warned: false,
            pending: BTreeMap::new(),
            realised: None,
        }
    }

    /// Greets the agent.
    pub fn welcome(&self, controller: &str, boot: Bytes) {
        let welcome = wire::Welcome { version: self.protocol, controller: controller.to_owned(), boot };
        self.outbox.welcome(welcome);
    }

    /// Ends the stream with a reason.
    pub fn end(&self, status: tonic::Status) {
        self.outbox.end(status);
    }

    /// The agent wants its frames from here; `digests` are of what it has, if it has anything.
    pub fn take(&mut self, take: u64, digests: Option<Vec<u64>>) {
        self.stop();
        self.mode = Mode::Wanted { take, digests };
    }

    /// The agent takes its frames from another controller.
    pub fn listen(&mut self) {
        self.stop();
        self.mode = Mode::Listening;
    }

    fn stop(&mut self) {
        self.outbox.drop_frame();
        self.pending.clear();
        self.frame_told = None;
        // What was on its way is not waited for.
        self.acknowledged = self.sent;
    }

    /// The agent says what it has.
    pub fn held(&mut self, held: Held) {
        if let Err(refusal) = self.mode.held(held) {
            warn!(node = %self.node, refusal, "what an agent has was not taken in; its stream ends");
            self.outbox.end(tonic::Status::resource_exhausted(refusal));
        }
    }

    /// Whether changes must be gathered: before its first frame there is nothing to gather, the frame will say everything.
    pub fn gathers(&self) -> bool {
        matches!(self.mode, Mode::Comparing(_) | Mode::Bringing { .. })
    }

    pub fn brings_frames(&self) -> bool {
        !matches!(self.mode, Mode::Listening)
    }

    /// The object must be told again; `known` says whether the agent needed it until now, and so has been or will be told.
    pub fn must_be_told(&mut self, name: &Name, known: bool) {
        // What it knew when the last frame went out counts, not what has happened since.
        self.pending.entry(name.clone()).or_insert(Knows(known));
    }

    pub fn acknowledged(&mut self, frame: u64, head: u64) {
        self.covered = self.covered.max(head.min(self.head_told.unwrap_or(0)));
        if frame > self.sent {
            warn!(node = %self.node, frame, sent = self.sent, "an agent acknowledges a frame that it was not sent; ignored");
            return;
        }
        if frame == self.sent {
            self.head_certain = self.head_certain.max(self.frame_told);
            self.head_incomplete = self.head_incomplete.filter(|change| self.frame_told < Some(*change));
        }
        self.acknowledged = self.acknowledged.max(frame);
        let told = self.unrealised.iter().rev().find(|(number, _)| *number <= frame).map(|(_, change)| *change);
        self.covered = self.covered.max(told.unwrap_or(0));
    }

    pub fn realised(&mut self, realised: RealisedFrame) {
        while let Some((_, change)) = self.unrealised.pop_front_if(|(frame, _)| *frame <= realised.frame) {
            self.realised_change = self.realised_change.max(change);
        }
        self.realised_change = self.realised_change.max(realised.head.min(self.head_told.unwrap_or(0)));
        self.realised = Some(realised);
    }

    /// Up to which change what the agent has covers everything that it needs.
    pub fn covered(&self, now: u64) -> u64 {
        if self.is_complete() { now } else { self.covered }
    }

    /// The same, of what its switch obeys.
    pub fn obeys(&self, now: u64) -> u64 {
        let all = self.is_complete() && self.realised.as_ref().is_some_and(|realised| realised.frame == self.sent);
        if all { now } else { self.realised_change }
    }

    /// It brings frames, and the agent has all that there is to say.
    fn is_complete(&self) -> bool {
        matches!(self.mode, Mode::Bringing { .. })
            && self.sent > 0
            && self.acknowledged == self.sent
            && self.pending.is_empty()
    }

    /// Sends what is due, if the agent is ready for it.
    pub fn send(&mut self, sources: &mut Sources<'_>, may_begin: bool) {
        let source = sources.state.source().version;
        match std::mem::replace(&mut self.mode, Mode::Listening) {
            Mode::Listening => {}
            wanted @ Mode::Wanted { .. } if !may_begin => self.mode = wanted,
            wanted @ Mode::Wanted { .. } if self.last_of_agent > source => {
                self.mode = wanted;
                self.warn_behind(source);
            }
            Mode::Wanted { take, digests: None } => {
                let names = sources.plan.needed_by(&self.node);
                let changes =
                    names.iter().filter_map(|name| sources.encodings.change(sources.plan, name)).collect::<Vec<_>>();
                self.begin(take, true, changes, sources);
            }
            Mode::Wanted { take, digests: Some(digests) } => {
                match Compared::of(take, &digests, &self.node, sources.plan, sources.encodings) {
                    None => self.begin(take, false, Vec::new(), sources),
                    Some(compared) => {
                        self.outbox.ask(compared.ask());
                        self.mode = Mode::Comparing(compared);
                    }
                }
            }
            Mode::Comparing(compared) if compared.is_answered() => {
                let take = compared.take();
                let pending = std::mem::take(&mut self.pending);
                let changes = compared.difference(&self.node, &pending, sources.plan, sources.encodings);
                self.begin(take, false, changes, sources);
            }
            comparing @ Mode::Comparing(_) => self.mode = comparing,
            Mode::Bringing { take } => {
                self.mode = Mode::Bringing { take };
                let ready = self.acknowledged == self.sent;
                if ready && (!self.pending.is_empty() || source > self.sent_version) {
                    let changes = self.gathered(sources);
                    self.frame(take, false, changes, sources);
                }
            }
        }
    }

    fn begin(&mut self, take: u64, replace: bool, changes: Vec<Bytes>, sources: &mut Sources<'_>) {
        self.mode = Mode::Bringing { take };
        self.pending.clear();
        self.frame(take, replace, changes, sources);
    }

    fn frame(&mut self, take: u64, replace: bool, changes: Vec<Bytes>, sources: &mut Sources<'_>) {
        let version = sources.versions.of(sources.state, self.frame_told, self.protocol);
        let (source, change) = (sources.state.source().version, sources.state.change());
        self.sent += 1;
        self.sent_version = source;
        self.frame_told = Some(change);
        if self.protocol >= 2 {
            // A frame says how new this controller is, too.
            self.head_told = Some(change);
        }
        self.unrealised.push_back((self.sent, change));
        debug!(node = %self.node, frame = self.sent, changes = changes.len(), replace, version = source, "frame");
        self.outbox.frame(Frame::new(self.sent, replace, take, changes, version));
    }

    /// Says how new this controller is, where that has changed, or where the agent has only now all that there is for it up to there.
    pub fn head(&mut self, sources: &mut Sources<'_>, due: bool) {
        let change = sources.state.change();
        // A frame that is on its way tells it too.
        let told = if self.acknowledged == self.sent { self.head_certain } else { self.head_told };
        let complete = self.is_complete();
        let is_told = told == Some(change) && !(complete && self.head_incomplete.is_some());
        if self.protocol < 2 || is_told || (told.is_some() && !due) {
            return;
        }
        self.head_incomplete = (!complete).then_some(change);
        self.head_told = Some(change);
        let told = self.head_certain.replace(change);
        let (state, versions, protocol) = (sources.state, &mut *sources.versions, self.protocol);
        self.outbox.head(told, |since| Head {
            since,
            version: versions.of(state, since, protocol),
            number: change,
            complete,
        });
    }

    /// This node's reports up to this one are released.
    pub fn released(&self, sequence: u64) {
        if self.protocol >= 2 {
            self.outbox.released(sequence);
        }
    }

    /// The agent has seen a newer state than the source has: it would refuse older frames, so none is sent.
    fn warn_behind(&mut self, version: u64) {
        if !std::mem::replace(&mut self.warned, true) {
            warn!(
                node = %self.node, agent = self.last_of_agent, source = version,
                "the agent has seen a newer version of the source than it has now (restored from a backup?); it gets no frames until the source is as new"
            );
        }
    }

    fn gathered(&mut self, sources: &mut Sources<'_>) -> Vec<Bytes> {
        let node = sources.plan.index_of(&self.node);
        let mut changes = Vec::with_capacity(self.pending.len());
        for (name, Knows(known)) in std::mem::take(&mut self.pending) {
            let needs = sources.plan.span(&name).is_some_and(|span| span.contains(node));
            if needs {
                changes.extend(sources.encodings.change(sources.plan, &name));
            } else if known {
                changes.push(encode_removed(&name));
            }
        }
        changes
    }

    pub fn sent_frame(&self) -> u64 {
        self.sent
    }

    pub fn acknowledged_frame(&self) -> u64 {
        self.acknowledged
    }

    pub fn pending(&self) -> usize {
        self.pending.len() + self.outbox.waiting_changes()
    }
}
