//! The controllers' streams: frames come in whole from one, facts of this node go out to all.
//!
//! ```text
//!  controller 0 ◄═ connection ═┐                       ┌─► journal ─► Event::Frame
//!  controller 1 ◄═ connection ═┼═► [`follow`]: choice ─┤
//!       …                      │   (who is newest)     └─► Take, Listen, Keys, Acknowledge ═► that controller
//!                              └◄═ Hello, PodReport, Realised ══ [`Uplink`] ◄── the loop
//! ```
//!
//! Every controller says how new it is (Head). State is taken from one; when its stream ends, or it stays older than another
//! for a moment, from another, which brings what is different from what the journal has. No version older than what was
//! accepted is accepted from anyone.
//!
//! This runs in a thread of its own: keepalives are answered, and frames decoded, while the loop plans.

mod choice;
mod connection;
mod covered;
mod gathering;
mod renewal;
mod taking;
mod uplink;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use apis::stream::{self as wire, from_agent, from_controller::Message};
use tokio::sync::mpsc;

use self::choice::{Candidate, choose};
use self::connection::{Said, What, keep};
use self::covered::Covered;
pub use self::gathering::Gathering;
use self::renewal::Renewal;
use self::taking::{Refused, Taking};
use self::uplink::Realised;
pub use self::uplink::Uplink;
use super::certificate::Access;
use super::journal::Journal;
use crate::event::Event;
use crate::state::Version;

/// How long the controller that is taken from may be older than another.
const LAG: Duration = Duration::from_millis(250);
/// Each change of controllers within this time doubles it, so that two that overtake each other do not make a node change
/// all the time.
const CALM: Duration = Duration::from_secs(10);
/// Between two looks at how old heads are.
const LOOK: Duration = Duration::from_millis(50);
/// How long a controller that sent what could not be accepted is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(1);
/// What controllers say and has not been looked at.
const INBOX: usize = 16;

/// Nobody takes events any more.
struct Ending;

/// A controller, as far as it is heard.
#[derive(Debug)]
struct Controller {
    url: String,
    /// The stream that stands.
    stream: Option<u64>,
    name: String,
    head: Option<Version>,
    number: u64,
    /// It is newer than the one that is taken from: how new it was when that was noticed.
    ahead: Option<(Version, Instant)>,
    left_alone_until: Option<Instant>,
    acknowledged: Covered,
    realised: Covered,
    /// What was last said of the switch.
    said: Option<wire::Realised>,
}

/// Follows the controllers, which are reached in this way, for as long as somebody takes the events.
pub async fn follow(
    (controllers, access): (Vec<String>, Access),
    node: String,
    uplink: Uplink,
    journal: Journal,
    accepted: Version,
    events: mpsc::Sender<Event>,
) {
    let (sender, inbox) = mpsc::channel(INBOX);
    // They end with this.
    let mut connections = tokio::task::JoinSet::new();
    for (index, url) in controllers.iter().enumerate() {
        connections.spawn(keep(index, url.clone(), access.clone(), uplink.clone(), sender.clone()));
    }
    drop(sender);
    let controllers = controllers.into_iter().map(Controller::new).collect();
    let follower = Follower {
        controllers,
        node,
        uplink,
        journal,
        events,
        accepted,
        taking: None,
        takes: 0,
        changes: VecDeque::new(),
        released: 0,
        told: None,
        renewal: Renewal::new(&access),
    };
    let _ = follower.run(inbox).await;
}

struct Follower {
    controllers: Vec<Controller>,
    node: String,
    uplink: Uplink,
    journal: Journal,
    events: mpsc::Sender<Event>,
    accepted: Version,
    taking: Option<Taking>,
    takes: u64,
    /// When controllers were changed because one was older.
    changes: VecDeque<Instant>,
    released: u64,
    /// What was last told of whom state is taken from.
    told: Option<usize>,
    renewal: Renewal,
}

impl Follower {
    async fn run(mut self, mut inbox: mpsc::Receiver<Said>) -> Result<(), Ending> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let uplink = self.uplink.clone();
        loop {
            tokio::select! {
                said = inbox.recv() => self.heard(said.ok_or(Ending)?).await?,
                () = uplink.obeys() => self.tell(),
                _ = look.tick() => {
                    self.renew();
                    self.keep_again();
                }
                () = self.events.closed() => return Err(Ending),
            }
            self.decide().await?;
        }
    }

    async fn heard(&mut self, said: Said) -> Result<(), Ending> {
        let Said { controller, stream, what } = said;
        let known = self.controllers[controller].stream == Some(stream);
        match what {
            What::Message(Message::Welcome(welcome)) => self.welcomed(controller, stream, welcome),
            What::Ended if known => {
                self.controllers[controller].ended();
                if self.taking.as_ref().is_some_and(|taking| taking.stream == stream) {
                    self.stop_taking();
                }
            }
            // What comes late from a stream that is over.
            _ if !known => {}
            What::Ended => {}
            What::Message(Message::Head(head)) => self.head(controller, head),
            What::Message(Message::Frame(part)) => self.part(controller, stream, part).await?,
            What::Message(Message::Ask(ask)) => self.asked(stream, &ask),
            What::Message(Message::Released(released)) => {
                if released.sequence > self.released {
                    self.released = released.sequence;
                    let event = Event::Released { sequence: released.sequence };
                    self.events.send(event).await.map_err(|_| Ending)?;
                }
            }
            What::Message(Message::Renewed(renewed)) => self.renewal.answered(stream, &renewed),
        }
        Ok(())
    }

    /// Asks for a new certificate when it is time.
    fn renew(&mut self) {
        let streams: Vec<u64> = self.controllers.iter().filter_map(|controller| controller.stream).collect();
        if let Some((stream, renew)) = self.renewal.ask(Instant::now(), &streams) {
            self.say(stream, from_agent::Message::Renew(renew));
        }
    }

    /// What could not be kept on disk is asked for anew once it can be.
    fn keep_again(&mut self) {
        let between = self.taking.as_ref().filter(|taking| taking.is_between_frames());
        if let Some((controller, stream)) = between.map(|taking| (taking.controller, taking.stream))
            && self.journal.can_be_kept_again()
        {
            self.take(controller, stream, false);
        }
    }

    fn welcomed(&mut self, index: usize, stream: u64, welcome: wire::Welcome) {
        if self.uplink.outlive(&welcome.boot) {
            tracing::warn!(
                "a controller knows a later life of this node's agent (is the clock behind?); this one is made the latest"
            );
            return;
        }
        let controller = &mut self.controllers[index];
        tracing::info!(controller = %controller.url, name = %welcome.controller, "connected to a controller");
        *controller = Controller {
            stream: Some(stream),
            name: welcome.controller,
            ..Controller::new(std::mem::take(&mut controller.url))
        };
    }

    fn head(&mut self, index: usize, head: wire::Head) {
        let controller = &mut self.controllers[index];
        controller.head.get_or_insert_default().merge(head.version.unwrap_or_default());
        controller.number = head.number;
        let (Some(version), Some(stream)) = (&controller.head, controller.stream) else { return };
        if head.complete
            && self.taking.as_ref().is_some_and(|taking| taking.stream == stream && taking.is_between_frames())
        {
            // There is nothing for this node up to here.
            self.accepted = version.clone();
            self.uplink.accepted(&self.accepted);
        }
        self.tell();
    }

    /// A part of a frame; those of a Take that another has overtaken are passed over.
    async fn part(&mut self, index: usize, stream: u64, part: wire::Frame) -> Result<(), Ending> {
        let Some(taking) = self.taking.as_mut().filter(|taking| taking.stream == stream && taking.take == part.take)
        else {
            return Ok(());
        };
        let (frame, decoded) = match taking.part(part, &self.accepted, &mut self.journal) {
            Ok(None) => return Ok(()),
            Ok(Some(whole)) => whole,
            Err(error) => {
                self.refuse(index, &error);
                return Ok(());
            }
        };
        let number = frame.number;
        self.accepted = frame.version.clone();
        self.uplink.accepted(&self.accepted);
        self.controllers[index].head.get_or_insert_default().catch_up(&self.accepted);
        self.events.send(Event::Frame(Box::new(frame), decoded)).await.map_err(|_| Ending)?;
        fault::point("stream.frame.accepted");
        self.say(stream, from_agent::Message::Acknowledge(wire::Acknowledge { frame: number, head: 0 }));
        fault::point("stream.frame.acknowledged");
        if self.journal.is_long() {
            // What changed is longer than what there is: all is asked for again.
            self.take(index, stream, false);
        }
        self.tell();
        Ok(())
    }

    /// What a controller sent cannot be accepted.
    fn refuse(&mut self, index: usize, error: &Refused) {
        let controller = &mut self.controllers[index];
        tracing::warn!(controller = %controller.url, %error, "a frame is not accepted");
        controller.left_alone_until = Some(Instant::now() + LEFT_ALONE);
        if let (Some(stream), Refused::BadMessage(_)) = (controller.stream, error) {
            // Perhaps it was garbled on the way: the stream is begun anew.
            self.uplink.close(stream);
        }
        self.leave();
    }

    fn asked(&mut self, stream: u64, ask: &wire::Ask) {
        let Some(taking) = self.taking.as_mut().filter(|taking| taking.stream == stream && taking.take == ask.take)
        else {
            return;
        };
        for keys in taking.keys(ask) {
            self.uplink.say(stream, from_agent::Message::Keys(keys));
        }
    }

    /// Changes to another controller where there is reason to.
    async fn decide(&mut self) -> Result<(), Ending> {
        let now = Instant::now();
        if let Some(taking) = &self.taking
            && self.lags(taking.controller, now)
        {
            self.changes.push_back(now);
            self.leave();
        }
        if self.taking.is_none() {
            let candidates: Vec<Candidate<'_>> = self
                .controllers
                .iter()
                .enumerate()
                .filter(|(_, one)| one.stream.is_some() && one.left_alone_until.is_none_or(|until| until <= now))
                .filter_map(|(index, one)| Some(Candidate { index, name: &one.name, head: one.head.as_ref()? }))
                .collect();
            if let Some(index) = choose(&self.node, &self.accepted, &candidates)
                && let Some(stream) = self.controllers[index].stream
            {
                self.take(index, stream, true);
            }
        }
        let taken = self.taking.as_ref().map(|taking| taking.controller);
        if std::mem::replace(&mut self.told, taken) != taken {
            let taken_from = taken.map(|index| self.controllers[index].url.clone());
            self.events.send(Event::Controller { taken_from }).await.map_err(|_| Ending)?;
        }
        Ok(())
    }

    /// Whether the controller that is taken from has been older than another for too long.
    fn lags(&mut self, taken: usize, now: Instant) -> bool {
        while self.changes.front().is_some_and(|change| now - *change > CALM) {
            self.changes.pop_front();
        }
        let limit = LAG * (1 << self.changes.len().min(4));
        let Some(own) = self.controllers[taken].head.clone() else { return false };
        let mut lags = false;
        for (index, other) in self.controllers.iter_mut().enumerate() {
            let Some(head) = other.head.as_ref().filter(|_| index != taken && other.stream.is_some()) else { continue };
            // It has caught up with what the other knew then; what came since counts from now on.
            other.ahead.take_if(|(then, _)| own.covers(then));
            if other.ahead.is_none() && head.is_newer_than(&own) {
                other.ahead = Some((head.clone(), now));
            }
            if other.ahead.as_ref().is_some_and(|(_, since)| now - *since > limit) {
                tracing::warn!(newer = %other.url, "the controller that state is taken from is older than another");
                lags = true;
            }
        }
        lags
    }

    fn take(&mut self, index: usize, stream: u64, by_difference: bool) {
        self.journal.discard();
        self.takes += 1;
        let holding = if by_difference { self.journal.holding() } else { None };
        let digests = holding.as_ref().map(apis::digest::Holding::digests).unwrap_or_default();
        tracing::info!(controller = %self.controllers[index].url, anew = holding.is_none(), "state is taken from this controller");
        self.taking = Some(Taking::new(&self.node, index, stream, self.takes, holding));
        self.controllers.iter_mut().for_each(|controller| controller.ahead = None);
        self.say(stream, from_agent::Message::Take(wire::Take { number: self.takes, digests }));
    }

    /// No more frames from the controller that is taken from.
    fn leave(&mut self) {
        if let Some(taking) = &self.taking {
            self.say(taking.stream, from_agent::Message::Listen(wire::Listen {}));
        }
        self.stop_taking();
    }

    fn stop_taking(&mut self) {
        self.taking = None;
        self.journal.discard();
    }

    /// Says to each controller what it does not know of this node: what it has, and what its switch obeys.
    fn tell(&mut self) {
        let obeyed = self.uplink.obeyed();
        let taken = self.taking.as_ref().map(|taking| (taking.stream, taking.frame));
        let version = obeyed.as_ref().map(|obeyed| match taken {
            // With the last frame, everything that it is valid for is obeyed.
            Some((stream, frame)) if (obeyed.frame.stream, obeyed.frame.number) == (stream, frame) => &self.accepted,
            _ => &obeyed.frame.version,
        });
        for controller in &mut self.controllers {
            let Some(stream) = controller.stream else { continue };
            let brings_frames = taken.is_some_and(|(taken, _)| taken == stream);
            for message in controller.told(stream, brings_frames, &self.accepted, obeyed.as_ref().zip(version)) {
                self.uplink.say(stream, message);
            }
        }
    }

    fn say(&self, stream: u64, message: from_agent::Message) {
        self.uplink.say(stream, message);
    }
}

impl Controller {
    fn new(url: String) -> Self {
        Self {
            url,
            stream: None,
            name: String::new(),
            head: None,
            number: 0,
            ahead: None,
            left_alone_until: None,
            acknowledged: Covered::default(),
            realised: Covered::default(),
            said: None,
        }
    }

    fn ended(&mut self) {
        let left_alone_until = self.left_alone_until;
        *self = Self { left_alone_until, ..Self::new(std::mem::take(&mut self.url)) };
    }

    /// What it must be told of this node; `obeyed` with the version that it amounts to.
    fn told(
        &mut self,
        stream: u64,
        brings_frames: bool,
        accepted: &Version,
        obeyed: Option<(&Realised, &Version)>,
    ) -> Vec<from_agent::Message> {
        let mut messages = Vec::new();
        if let Some(head) = self.head.as_ref().filter(|_| !brings_frames)
            && let Some(head) = self.acknowledged.advance(self.number, head, accepted)
        {
            messages.push(from_agent::Message::Acknowledge(wire::Acknowledge { frame: 0, head }));
        }
        let Some((obeyed, version)) = obeyed else { return messages };
        let said = if brings_frames {
            // A frame of another stream means nothing on this one.
            (obeyed.frame.stream == stream).then(|| obeyed.said.clone())
        } else {
            self.head.as_ref().and_then(|head| {
                self.realised.advance(self.number, head, version);
                let (version, head) = (Some(version.of_source()), self.realised.said());
                (head > 0).then(|| wire::Realised { frame: 0, version, head, ..obeyed.said.clone() })
            })
        };
        if said.is_some() && said != self.said {
            self.said.clone_from(&said);
            messages.extend(said.map(from_agent::Message::Realised));
        }
        messages
    }
}
