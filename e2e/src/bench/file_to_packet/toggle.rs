//! One change of the policy, judged by what arrived around it.

use std::time::{Duration, Instant};

use super::stream::Arrival;

/// A change from one policy to the other.
#[derive(Clone, Copy, Debug)]
pub struct Toggle {
    /// To a policy that allows the stream.
    pub allow: bool,
    /// Just before the file was put in place.
    pub written: Instant,
    /// When the controller said that every node obeys.
    pub realised: Instant,
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This long after the file had changed the stream obeyed for good.
    Obeyed(Duration),
    /// A datagram that was sent this long after every node was said to obey still arrived.
    Leaked(Duration),
    /// Nothing that was sent after every node was said to obey arrived.
    Silent,
}

impl Toggle {
    /// Judges by all that arrived since before the change until well after it was realised.
    pub fn judge(&self, arrivals: &[Arrival]) -> Outcome {
        let after = arrivals.iter().filter(|arrival| arrival.received >= self.written);
        if self.allow {
            let reached = arrivals.iter().any(|arrival| arrival.sent > self.realised);
            let first = after.map(|arrival| arrival.received).min();
            return match first {
                Some(first) if reached => Outcome::Obeyed(first - self.written),
                _ => Outcome::Silent,
            };
        }
        let leaked = arrivals.iter().map(|arrival| arrival.sent).filter(|sent| *sent > self.realised).max();
        if let Some(sent) = leaked {
            return Outcome::Leaked(sent - self.realised);
        }
        let last = after.map(|arrival| arrival.received).max().unwrap_or(self.written);
        Outcome::Obeyed(last - self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arrivals 1 ms after they were sent, and a toggle written at 10 ms and realised at 20 ms.
    fn judge(allow: bool, sent: &[u64]) -> Outcome {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let arrivals: Vec<Arrival> = sent.iter().map(|&ms| Arrival { sent: at(ms), received: at(ms + 1) }).collect();
        Toggle { allow, written: at(10), realised: at(20) }.judge(&arrivals)
    }

    #[test]
    fn an_allow_is_obeyed_by_the_first_that_arrives() {
        assert_eq!(judge(true, &[14, 15, 21]), Outcome::Obeyed(Duration::from_millis(5)));
        assert_eq!(judge(true, &[14, 15]), Outcome::Silent);
        assert_eq!(judge(true, &[]), Outcome::Silent);
    }

    #[test]
    fn a_denial_is_obeyed_after_the_last_that_arrives() {
        assert_eq!(judge(false, &[8, 12, 17]), Outcome::Obeyed(Duration::from_millis(8)));
        assert_eq!(judge(false, &[8]), Outcome::Obeyed(Duration::ZERO));
        assert_eq!(judge(false, &[8, 12, 24]), Outcome::Leaked(Duration::from_millis(4)));
    }

    #[test]
    fn what_was_on_its_way_when_the_nodes_obeyed_is_no_leak() {
        assert_eq!(judge(false, &[20]), Outcome::Obeyed(Duration::from_millis(11)));
    }
}
