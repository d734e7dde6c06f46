//! How fast a request's body comes, counted over the time that was spent waiting for the peer and no other.

use std::time::{Duration, Instant};

/// How long a body may be waited for before its rate is asked for: a connection needs some time to get going.
const GRACE: Duration = Duration::from_secs(5);

/// The arrival of one body. The time is passed in, never read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BodyRate {
    bytes: u64,
    /// For how long the peer was waited for, without the wait that lasts.
    waited: Duration,
    waits_since: Option<Instant>,
    /// How much of that is not held against the peer.
    forgiven: Duration,
}

impl BodyRate {
    /// Nothing is there, and the peer is waited for; it may be so already.
    pub(super) fn wait(&mut self, now: Instant) {
        self.waits_since.get_or_insert(now);
    }

    /// So many bytes were taken, which ends the wait, if there was one.
    pub(super) fn arrived(&mut self, now: Instant, bytes: usize) {
        self.stop(now);
        self.bytes += bytes as u64;
    }

    /// The peer is waited for no longer.
    pub(super) fn stop(&mut self, now: Instant) {
        self.waited = self.waited(now);
        self.waits_since = None;
    }

    /// The wait that lasts is not held against the peer: it has sent in time what this core was late to take.
    pub(super) fn forgive(&mut self, now: Instant) {
        if let Some(since) = self.waits_since {
            self.forgiven += now.saturating_duration_since(since);
            self.waited = self.waited(now);
            self.waits_since = Some(now);
        }
    }

    /// Whether the peer is waited for.
    pub(super) fn waits(&self) -> bool {
        self.waits_since.is_some()
    }

    /// For how long the peer was waited for in all.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        self.waited + self.waits_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// How much longer the peer may be waited for before what came is less than `least` bytes per second, counted
    /// from the end of the grace. Each byte buys its share of a second.
    pub(super) fn left(&self, now: Instant, least: u64) -> Duration {
        if least == 0 {
            return Duration::MAX;
        }
        // Any number of bytes fits, as nanoseconds, into 128 bits.
        let nanoseconds = u128::from(self.bytes) * 1_000_000_000 / u128::from(least);
        let bought = u64::try_from(nanoseconds).map_or(Duration::MAX, Duration::from_nanos);
        GRACE.saturating_add(bought).saturating_sub(self.waited(now).saturating_sub(self.forgiven))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_body_that_does_not_come_has_the_grace() {
        let start = Instant::now();
        let mut rate = BodyRate::default();
        rate.wait(start);
        assert_eq!(rate.left(start, 240), GRACE);
        rate.wait(start + SECOND);
        assert_eq!(rate.left(start + 2 * SECOND, 240), 3 * SECOND, "asked again, it is the same wait");
        assert_eq!(rate.left(start + 60 * SECOND, 240), Duration::ZERO);
    }

    #[test]
    fn each_byte_buys_its_share_of_a_second() {
        let start = Instant::now();
        let mut rate = BodyRate::default();
        rate.wait(start);
        rate.arrived(start + SECOND, 480);
        assert!(!rate.waits());
        assert_eq!(rate.left(start + SECOND, 240), GRACE + SECOND);
        // Exactly the least rate, for an hour, and then a little less.
        let mut rate = BodyRate::default();
        let mut now = start;
        for _ in 0..3600 {
            rate.wait(now);
            now += SECOND;
            rate.arrived(now, 240);
        }
        assert_eq!(rate.left(now, 240), GRACE);
        assert_eq!(rate.left(now, 241), Duration::ZERO);
    }

    #[test]
    fn the_time_in_which_nobody_waits_for_the_peer_is_not_counted() {
        let start = Instant::now();
        let mut rate = BodyRate::default();
        rate.wait(start);
        rate.arrived(start + SECOND, 1);
        // The handler thinks for an hour; then the next byte is there already, or comes after a second.
        rate.arrived(start + 3600 * SECOND, 1);
        assert_eq!(rate.waited(start + 3600 * SECOND), SECOND);
        rate.wait(start + 7200 * SECOND);
        assert_eq!(rate.waited(start + 7201 * SECOND), 2 * SECOND);
        rate.stop(start + 7202 * SECOND);
        assert_eq!(rate.waited(start + 9999 * SECOND), 3 * SECOND);
    }

    #[test]
    fn what_this_core_was_late_to_take_is_not_held_against_the_peer_and_was_still_waited_for() {
        let start = Instant::now();
        let mut rate = BodyRate::default();
        rate.wait(start);
        rate.forgive(start + 60 * SECOND);
        assert_eq!(rate.left(start + 60 * SECOND, 240), GRACE);
        rate.arrived(start + 61 * SECOND, 240);
        assert_eq!(rate.left(start + 61 * SECOND, 240), GRACE, "a second more, and bytes for one");
        assert_eq!(rate.waited(start + 61 * SECOND), 61 * SECOND, "a handler is not blamed for it");
    }

    #[test]
    fn no_least_rate_and_no_end_of_bytes_are_never_too_slow() {
        let start = Instant::now();
        let mut rate = BodyRate::default();
        rate.wait(start);
        assert_eq!(rate.left(start + 9999 * SECOND, 0), Duration::MAX);
        rate.bytes = u64::MAX;
        assert_eq!(rate.left(start, 1), Duration::MAX);
        // A clock that has not moved on since, or was read before, counts as no time.
        rate.wait(start + SECOND);
        assert_eq!(rate.waited(start), Duration::ZERO);
    }
}
