//! Until when a connection waits for what: a slot for each kind of wait, each begun and ended by itself.
//!
//! No kind overrides another: several can run at a time, and each has its own end. The time is passed in, never read.

use std::time::Instant;

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Wait {
    /// The head of the first request, from the connection's start.
    FirstHead,
    /// The rest of a head, from its first byte.
    Head,
    /// The next request.
    Idle,
    /// A request that may be on its way while the server drains.
    Drain,
    /// The next piece of a body that is read.
    Body,
    /// All that is left of a body that is not.
    Skip,
    /// The peer takes what is sent.
    Write,
    /// A handler's answer.
    Handler,
    /// The peer's farewell, after the last answer.
    Linger,
    /// Anything more of the peer, meanwhile.
    Silence,
}

impl Wait {
    const ALL: [Self; 10] = [
        Self::FirstHead,
        Self::Head,
        Self::Idle,
        Self::Drain,
        Self::Body,
        Self::Skip,
        Self::Write,
        Self::Handler,
        Self::Linger,
        Self::Silence,
    ];

    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// The waits for a request to come.
const REQUEST: u16 = Wait::FirstHead.bit() | Wait::Head.bit() | Wait::Idle.bit() | Wait::Drain.bit();

/// The table.
#[derive(Clone, Debug)]
pub(super) struct Waits {
    /// A bit for each kind that runs.
    running: u16,
    /// When each ends; of one that does not run, it says nothing.
    ends: [Instant; Wait::ALL.len()],
}

impl Waits {
    /// None runs.
    pub(super) fn new(now: Instant) -> Self {
        Self { running: 0, ends: [now; Wait::ALL.len()] }
    }

    /// Begins a wait, anew if it runs.
    pub(super) fn restart(&mut self, wait: Wait, end: Instant) {
        self.running |= wait.bit();
        self.ends[wait as usize] = end;
    }

    /// What was waited for has come, or is not waited for any more.
    pub(super) fn end(&mut self, wait: Wait) {
        self.running &= !wait.bit();
    }

    /// A request has come: none is waited for.
    pub(super) fn end_request(&mut self) {
        self.running &= !REQUEST;
    }

    pub(super) fn runs(&self, wait: Wait) -> bool {
        self.running & wait.bit() != 0
    }

    /// Whether a wait runs and should have ended.
    pub(super) fn has_passed(&self, wait: Wait, now: Instant) -> bool {
        self.runs(wait) && self.ends[wait as usize] <= now
    }

    /// When the next wait ends, of those that have not passed.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let mut next = None;
        let mut running = self.running;
        while running != 0 {
            let end = self.ends[running.trailing_zeros() as usize];
            running &= running - 1;
            if end > now && next.is_none_or(|next| end < next) {
                next = Some(end);
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_kind_of_wait_has_a_slot_of_its_own() {
        let start = Instant::now();
        for wait in Wait::ALL {
            let mut waits = Waits::new(start);
            waits.restart(wait, start + SECOND);
            for other in Wait::ALL {
                assert_eq!(waits.has_passed(other, start + SECOND), other == wait);
            }
            waits.end(wait);
            assert!(!waits.has_passed(wait, start + SECOND) && waits.next(start).is_none());
        }
    }

    #[test]
    fn a_wait_that_is_begun_anew_has_another_end() {
        let start = Instant::now();
        let mut waits = Waits::new(start);
        waits.restart(Wait::Body, start + SECOND);
        assert!(waits.runs(Wait::Body) && waits.has_passed(Wait::Body, start + SECOND));
        waits.restart(Wait::Body, start + 9 * SECOND);
        assert!(!waits.has_passed(Wait::Body, start + SECOND));
        waits.end(Wait::Body);
        assert!(!waits.runs(Wait::Body));
    }

    #[test]
    fn the_timer_is_wanted_for_the_first_that_has_not_passed() {
        let start = Instant::now();
        let mut waits = Waits::new(start);
        assert_eq!(waits.next(start), None);
        waits.restart(Wait::Write, start + 3 * SECOND);
        waits.restart(Wait::Body, start + SECOND);
        waits.restart(Wait::Handler, start + 2 * SECOND);
        assert_eq!(waits.next(start), Some(start + SECOND));
        assert_eq!(waits.next(start + SECOND), Some(start + 2 * SECOND));
        waits.end(Wait::Handler);
        assert_eq!(waits.next(start + SECOND), Some(start + 3 * SECOND));
        assert_eq!(waits.next(start + 3 * SECOND), None);
    }

    #[test]
    fn a_peer_that_takes_nothing_is_not_told_that_its_body_came_too_slowly() {
        // Both run; the write's end is not the body's, nor the other way round.
        let start = Instant::now();
        let mut waits = Waits::new(start);
        waits.restart(Wait::Write, start + SECOND);
        waits.restart(Wait::Body, start + 2 * SECOND);
        assert!(
            waits.has_passed(Wait::Write, start + SECOND) && !waits.has_passed(Wait::Body, start + SECOND)
        );
        // The body's wait is enforced while the write waits.
        waits.restart(Wait::Write, start + 9 * SECOND);
        assert!(!waits.has_passed(Wait::Write, start + 2 * SECOND));
        assert!(waits.has_passed(Wait::Body, start + 2 * SECOND));
    }

    #[test]
    fn a_request_that_has_come_ends_the_waits_for_one_and_no_other() {
        let start = Instant::now();
        let mut waits = Waits::new(start);
        for wait in Wait::ALL {
            waits.restart(wait, start + SECOND);
        }
        waits.end_request();
        let left: Vec<_> = Wait::ALL.into_iter().filter(|wait| waits.runs(*wait)).collect();
        assert_eq!(left, [Wait::Body, Wait::Skip, Wait::Write, Wait::Handler, Wait::Linger, Wait::Silence]);
    }
}
