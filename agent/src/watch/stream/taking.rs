//! State being taken from one controller: the frames of one Take.

use std::time::Instant;

use apis::digest::Holding;
use apis::stream as wire;

use super::Gathering;
use crate::event::Decoded;
use crate::state::Frame;
use crate::state::Version;
use crate::state::frame::GoesBack;
use crate::state::wire::BadMessage;
use crate::watch::journal::Journal;

/// How many objects one message names: small enough for any controller's limit on messages.
const KEYS: usize = 4096;

/// Why a frame is not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// Not understood.
    #[error(transparent)]
    BadMessage(#[from] BadMessage),
    /// Older than what was accepted.
    #[error(transparent)]
    GoesBack(#[from] GoesBack),
}

/// A Take, from its beginning on.
#[derive(Debug)]
pub(super) struct Taking {
    pub controller: usize,
    pub stream: u64,
    pub take: u64,
    /// The number of the last frame that was accepted; 0 before the first.
    pub frame: u64,
    gathering: Gathering,
    begun: Option<Instant>,
    /// What the controller is told of what this node has, until its first frame is here.
    holding: Option<Holding>,
}

impl Taking {
    pub fn new(node: &str, controller: usize, stream: u64, take: u64, holding: Option<Holding>) -> Self {
        Self { controller, stream, take, frame: 0, gathering: Gathering::new(node), begun: None, holding }
    }

    /// Whether there was a frame and no other has begun.
    pub fn is_between_frames(&self) -> bool {
        self.frame > 0 && !self.gathering.is_under_way()
    }

    /// Takes a part; the frame when it was the last, which is in the journal then.
    pub fn part(
        &mut self,
        part: wire::Frame,
        accepted: &Version,
        journal: &mut Journal,
    ) -> Result<Option<(Frame, Decoded)>, Refused> {
        let first = *self.begun.get_or_insert_with(Instant::now);
        journal.part(&part);
        let Some(mut frame) = self.gathering.take(part)? else { return Ok(None) };
        frame.version.follows(accepted)?;
        frame.stream = self.stream;
        journal.commit();
        (self.frame, self.begun, self.holding) = (frame.number, None, None);
        Ok(Some((frame, Decoded { first, last: Instant::now() })))
    }

    /// What this node has in the buckets that the controller asks for.
    pub fn keys(&mut self, ask: &wire::Ask) -> Vec<wire::Keys> {
        let take = self.take;
        let held = self.holding.take().unwrap_or_default();
        let held = held.in_buckets(|bucket| ask.buckets.contains(&u32::from(bucket)));
        let mut messages: Vec<wire::Keys> = held
            .chunks(KEYS)
            .map(|some| {
                let held = some.iter().map(|(name, content)| wire::Held { name: name.clone(), content: *content });
                wire::Keys { take, held: held.collect(), last: false }
            })
            .collect();
        match messages.last_mut() {
            Some(last) => last.last = true,
            None => messages.push(wire::Keys { take, held: Vec::new(), last: true }),
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apis::stream::change::Change as Kind;

    #[test]
    fn what_is_held_is_said_in_pieces_and_the_last_is_last() {
        let mut holding = Holding::default();
        for number in 0..10_000 {
            let posture = wire::Posture { namespace: format!("n{number}"), ..wire::Posture::default() };
            assert!(holding.apply(&wire::Change { change: Some(Kind::Posture(posture)) }));
        }
        let mut taking = Taking::new("node-a", 0, 1, 7, Some(holding));
        let keys = taking.keys(&wire::Ask { take: 7, buckets: (0..256).collect() });
        assert_eq!(keys.iter().map(|keys| keys.held.len()).sum::<usize>(), 10_000);
        assert_eq!(keys.iter().map(|keys| keys.last).collect::<Vec<_>>(), [false, false, true]);
        let nothing = Taking::new("node-a", 0, 1, 7, None).keys(&wire::Ask::default());
        assert_eq!(nothing, [wire::Keys { take: 7, held: Vec::new(), last: true }]);
    }
}
