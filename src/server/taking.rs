//! Whether a peer takes what is sent to it.
//!
//! That a send is not done says little: the kernel takes the next bytes only when much of its own buffer is free, which
//! a slow reader can need minutes for. What counts is what the peer has acknowledged. The time is passed in, never read.

use std::time::{Duration, Instant};

/// What was seen of a peer while a send waits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taking {
    /// How much it had acknowledged when it was last seen to acknowledge something, and when that was.
    seen: Option<(u64, Instant)>,
}

impl Taking {
    /// How long after its beginning a wait is looked at: so often that a peer which takes nothing is cut at most a
    /// quarter or a second later than `most` says, and never earlier.
    pub(super) fn first_look(most: Duration) -> Duration {
        (most / 4).min(Duration::from_secs(1))
    }

    /// Forgets what was seen: another wait begins.
    pub(super) fn reset(&mut self) {
        self.seen = None;
    }

    /// When to look again at a peer that has acknowledged so much in all; `None` if it took nothing for `most`.
    pub(super) fn look(&mut self, acknowledged: u64, now: Instant, most: Duration) -> Option<Duration> {
        let since = match self.seen {
            Some((before, since)) if before == acknowledged => since,
            _ => {
                self.seen = Some((acknowledged, now));
                now
            }
        };
        let left = most.saturating_sub(now.saturating_duration_since(since));
        (!left.is_zero()).then(|| left.min(Self::first_look(most)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(4);
    const SECOND: Duration = Duration::from_secs(1);

    /// Looks when it was told to, and tells when the peer was given up.
    fn given_up(start: Instant, acknowledged: impl Fn(Duration) -> u64) -> Option<Duration> {
        let (mut taking, mut now) = (Taking::default(), start + Taking::first_look(MOST));
        while now < start + 100 * SECOND {
            match taking.look(acknowledged(now - start), now, MOST) {
                Some(after) => now += after,
                None => return Some(now - start),
            }
        }
        None
    }

    #[test]
    fn a_peer_that_takes_nothing_is_given_up_after_its_time_and_at_most_a_quarter_more() {
        assert_eq!(given_up(Instant::now(), |_| 7), Some(MOST + SECOND));
    }

    #[test]
    fn a_peer_that_takes_a_little_within_its_time_is_never_given_up() {
        assert_eq!(given_up(Instant::now(), |time| time.as_secs() / 3), None);
    }

    #[test]
    fn a_peer_that_stops_is_given_up_after_its_time() {
        let stopped = given_up(Instant::now(), |time| time.as_secs().min(50)).expect("it stops");
        assert!((50 * SECOND + MOST..=50 * SECOND + MOST + SECOND).contains(&stopped), "{stopped:?}");
    }

    #[test]
    fn what_was_seen_in_a_wait_before_does_not_count() {
        let (mut taking, start) = (Taking::default(), Instant::now());
        assert!(taking.look(7, start, MOST).is_some());
        taking.reset();
        assert!(taking.look(7, start + 60 * SECOND, MOST).is_some());
    }
}
