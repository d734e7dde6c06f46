//! The waits of one connection with the one timer that ends them.

use std::task::Context;
use std::time::{Duration, Instant};

use super::waits::{Wait, Waits};
use crate::runtime::{Core, Timer};

/// A table of waits, and a timer that is set for the first of them.
pub(super) struct Patience {
    waits: Waits,
    timer: Timer,
    /// For when the timer is set. This may be too early, and the timer is then set anew: a wait that is begun at each request, and
    /// ends later than the one before, costs a store.
    set_for: Option<Instant>,
    /// How often the wait that was begun last was prolonged.
    prolonged: u16,
}

/// How long a wait is prolonged when the peer was in time and this core was not: a few turns of the ring.
const GRACE: Duration = Duration::from_millis(5);
/// How often. What the kernel holds is delivered within a few turns; this only keeps a fault from lasting for ever.
const MOST_PROLONGED: u16 = 400;

impl Patience {
    pub(super) fn new(core: &Core) -> Self {
        Self { waits: Waits::new(core.now()), timer: Timer::new(core), set_for: None, prolonged: 0 }
    }

    /// Begins a wait, unless it runs already: to look again must not lengthen it. Whether it began.
    pub(super) fn begin(&mut self, wait: Wait, now: Instant, time: Duration) -> bool {
        let begins = !self.waits.runs(wait);
        if begins {
            self.restart(wait, now, time);
        }
        begins
    }

    /// Begins a wait anew.
    pub(super) fn restart(&mut self, wait: Wait, now: Instant, time: Duration) {
        // Some deadlines are meant for ever.
        const MOST: Duration = Duration::from_secs(1 << 32);
        self.prolonged = 0;
        self.waits.restart(wait, now + time.min(MOST));
    }

    /// What was waited for has come, or is not waited for any more.
    pub(super) fn end(&mut self, wait: Wait) {
        self.waits.end(wait);
    }

    /// A request has come.
    pub(super) fn end_request(&mut self) {
        self.waits.end_request();
    }

    /// Whether a wait runs and should have ended.
    pub(super) fn has_passed(&self, wait: Wait, now: Instant) -> bool {
        self.waits.has_passed(wait, now)
    }

    /// Whether a wait should have ended; if not, the future polled with `cx` is woken when any of those that run
    /// should.
    pub(super) fn poll_passed(&mut self, wait: Wait, now: Instant, cx: &Context<'_>) -> bool {
        if self.waits.has_passed(wait, now) {
            return true;
        }
        if let Some(next) = self.waits.next(now) {
            if self.set_for.is_none_or(|set_for| next < set_for) {
                self.set(next, now);
            }
            if self.timer.poll_passed(cx) {
                self.set(next, now);
                self.timer.poll_passed(cx);
            }
        }
        false
    }

    /// The same for a wait for the peer to send something. A deadline is believed only when nothing has come: where
    /// `has_unread` says that something has, the peer was in time, and this core has yet to take it. That happens after
    /// the process stood still, and when more has come than there are buffers.
    pub(super) fn poll_input_passed(
        &mut self,
        wait: Wait,
        now: Instant,
        has_unread: impl FnOnce() -> bool,
        cx: &Context<'_>,
    ) -> bool {
        if !self.poll_passed(wait, now, cx) {
            return false;
        }
        if self.prolonged == MOST_PROLONGED || !has_unread() {
            return true;
        }
        self.prolonged += 1;
        self.waits.restart(wait, now + GRACE);
        self.poll_passed(wait, now, cx)
    }

    fn set(&mut self, next: Instant, now: Instant) {
        self.timer.set(next.saturating_duration_since(now));
        self.set_for = Some(next);
    }
}
