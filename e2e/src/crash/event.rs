//! What happens in a draw, and what there is before and after it.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};

use crate::oracle::random::Random;

/// How many pods may come and go.
pub const SLOTS: usize = 4;
/// How many policies there are to change to; number 0 is none.
pub const POLICIES: usize = 6;
/// How many controllers there are.
pub const CONTROLLERS: usize = 2;

/// The kinds of events there are.
pub const KINDS: &[&str] = &[
    "add",
    "remove",
    "destroy",
    "forget",
    "alone",
    "without-ovsdb",
    "without-vswitchd",
    "stalled",
    "relabel",
    "policy",
    "controller",
    "failover",
    "vswitchd",
    "agent",
    "forgetful",
    "peer",
    "host",
    "renew",
    "full",
];
/// The kinds of events that happen to a pod that is there.
pub const OF_A_POD: &[&str] =
    &["remove", "destroy", "forget", "alone", "without-ovsdb", "without-vswitchd", "stalled", "relabel"];

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A pod is added through CNI.
    Add(usize),
    /// A pod is removed through CNI.
    Remove(usize),
    /// The same, its network namespace being gone already.
    Destroy(usize),
    /// The same, the runtime having forgotten its network namespace, which is there.
    Forget(usize),
    /// The same while there is no agent; it is started afterwards.
    Alone(usize),
    /// The same while ovsdb-server hangs, for longer than the agent waits for it.
    WithoutOvsdb(usize),
    /// The same while there is no ovs-vswitchd; it is started afterwards.
    WithoutVswitchd(usize),
    /// The same; the agent hangs and is replaced while the plugin, which has asked it, is kept from the processor.
    Stalled(usize),
    /// A pod gets the other of two sets of labels.
    Relabel(usize),
    /// Another policy takes the place of what is there; 0 removes it.
    Policy(usize),
    /// Both controllers are killed and started again.
    Controller,
    /// One of the controllers is killed and the policy changes; it is started again when the nodes obey the other.
    Failover(usize),
    /// ovs-vswitchd is killed and started again.
    Vswitchd,
    /// The agent is killed and started again.
    Agent,
    /// The agent is killed, loses what it kept on disk, and is started again.
    Forgetful,
    /// Another node joins the cluster, or leaves it.
    Peer,
    /// Somebody takes addresses, routes and rules from the node and changes its settings, and the agent is killed and started again.
    Host,
    /// The agent is killed, its certificate is one that is to be renewed at once, and it is started again.
    Renew,
    /// The disk on which the agent keeps what it keeps is full while policies change.
    Full,
}

impl Event {
    /// What it is, whatever it is done to: the same kind passes the same points.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Remove(_) => "remove",
            Self::Destroy(_) => "destroy",
            Self::Forget(_) => "forget",
            Self::Alone(_) => "alone",
            Self::WithoutOvsdb(_) => "without-ovsdb",
            Self::WithoutVswitchd(_) => "without-vswitchd",
            Self::Stalled(_) => "stalled",
            Self::Relabel(_) => "relabel",
            Self::Policy(_) => "policy",
            Self::Controller => "controller",
            Self::Failover(_) => "failover",
            Self::Vswitchd => "vswitchd",
            Self::Agent => "agent",
            Self::Forgetful => "forgetful",
            Self::Peer => "peer",
            Self::Host => "host",
            Self::Renew => "renew",
            Self::Full => "full",
        }
    }

    /// An event that can happen now, of a kind when one is given.
    pub fn draw(random: &mut Random, at: &Start, kind: Option<&str>) -> Self {
        loop {
            let (free, there) = (at.slots(false), at.slots(true));
            let event = match random.below(29) {
                0..=4 if !free.is_empty() => Self::Add(random.pick(&free)),
                5..=6 if !there.is_empty() => Self::Remove(random.pick(&there)),
                7 if !there.is_empty() => Self::Forget(random.pick(&there)),
                8 if !there.is_empty() => Self::Destroy(random.pick(&there)),
                9..=10 if !there.is_empty() => Self::Relabel(random.pick(&there)),
                11..=15 => Self::Policy((at.policy + random.between(1, POLICIES - 1)) % POLICIES),
                16 => Self::Controller,
                28 => Self::Failover(random.below(CONTROLLERS)),
                17 => Self::Vswitchd,
                18 => Self::Agent,
                19 if random.percent(30) => Self::Forgetful,
                20 => Self::Peer,
                21 if random.percent(50) => Self::Host,
                22 if random.percent(50) => Self::Full,
                24 if random.percent(50) => Self::Renew,
                23 if random.percent(50) && !there.is_empty() => Self::Alone(random.pick(&there)),
                // These wait for seconds.
                25 if random.percent(15) && !there.is_empty() => Self::WithoutOvsdb(random.pick(&there)),
                26 if random.percent(15) && !there.is_empty() => Self::WithoutVswitchd(random.pick(&there)),
                27 if random.percent(50) && !there.is_empty() => Self::Stalled(random.pick(&there)),
                _ => continue,
            };
            if kind.is_none_or(|kind| kind == event.kind()) {
                return event;
            }
        }
    }

    /// As it is printed.
    pub fn parse(text: &str) -> Result<Self> {
        let mut words = text.split_whitespace();
        let kind = words.next().context("an event is missing between two commas")?;
        let number = words.next().map(str::parse::<usize>).transpose().with_context(|| format!("`{text}`"))?;
        let below = |end: usize| {
            let number = number.with_context(|| format!("`{text}`: a number belongs behind it"))?;
            ensure!(number < end, "`{text}`: below {end}");
            Ok(number)
        };
        Ok(match kind {
            "add" => Self::Add(below(SLOTS)?),
            "remove" => Self::Remove(below(SLOTS)?),
            "destroy" => Self::Destroy(below(SLOTS)?),
            "forget" => Self::Forget(below(SLOTS)?),
            "alone" => Self::Alone(below(SLOTS)?),
            "without-ovsdb" => Self::WithoutOvsdb(below(SLOTS)?),
            "without-vswitchd" => Self::WithoutVswitchd(below(SLOTS)?),
            "stalled" => Self::Stalled(below(SLOTS)?),
            "relabel" => Self::Relabel(below(SLOTS)?),
            "policy" => Self::Policy(below(POLICIES)?),
            "controller" => Self::Controller,
            "failover" => Self::Failover(below(CONTROLLERS)?),
            "vswitchd" => Self::Vswitchd,
            "agent" => Self::Agent,
            "forgetful" => Self::Forgetful,
            "peer" => Self::Peer,
            "host" => Self::Host,
            "renew" => Self::Renew,
            "full" => Self::Full,
            _ => bail!("`{text}` is no event"),
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(number)
            | Self::Remove(number)
            | Self::Destroy(number)
            | Self::Forget(number)
            | Self::Alone(number)
            | Self::WithoutOvsdb(number)
            | Self::WithoutVswitchd(number)
            | Self::Stalled(number)
            | Self::Relabel(number)
            | Self::Policy(number)
            | Self::Failover(number) => write!(formatter, "{} {number}", self.kind()),
            _ => formatter.write_str(self.kind()),
        }
    }
}

/// What there is when a draw begins, as far as draws change it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// For each pod that is there, which of the two sets of labels it has.
    pub pods: [Option<bool>; SLOTS],
    /// The policy.
    pub policy: usize,
    /// Whether the other node has joined.
    pub peer: bool,
}

impl Start {
    /// What there is after an event.
    pub fn after(&mut self, event: Event) {
        match event {
            Event::Add(slot) => self.pods[slot] = Some(false),
            Event::Remove(slot)
            | Event::Destroy(slot)
            | Event::Forget(slot)
            | Event::Alone(slot)
            | Event::WithoutOvsdb(slot)
            | Event::WithoutVswitchd(slot)
            | Event::Stalled(slot) => self.pods[slot] = None,
            Event::Relabel(slot) => self.pods[slot] = self.pods[slot].map(|label| !label),
            Event::Policy(number) => self.policy = number,
            Event::Peer => self.peer = !self.peer,
            // After these the policy is another one.
            Event::Full | Event::Failover(_) => self.policy = next_policy(self.policy),
            Event::Controller | Event::Vswitchd | Event::Agent | Event::Forgetful | Event::Host | Event::Renew => {}
        }
    }

    /// Where there is a pod, or none.
    pub fn slots(&self, there: bool) -> Vec<usize> {
        (0..SLOTS).filter(|slot| self.pods[*slot].is_some() == there).collect()
    }
}

/// The policy that is changed to on a full disk, and without one of the controllers.
pub fn next_policy(policy: usize) -> usize {
    (policy + 1) % POLICIES
}
