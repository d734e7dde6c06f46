//! The waits of one connection with the one timer that ends them.

use std::task::Context;
use std::time::{Duration, Instant};

use super::waits::{Wait, Waits};
use crate::runtime::{Core, Timer};

/// A table of waits, and a timer that is set for the first of them.
pub(super) struct Patience {
    waits: Waits,
    timer: Timer,
    /// For when the timer is set. It may be too early, and is then set anew: a wait that is begun at each request, and
    /// ends later than the one before, costs a store.
    set_for: Option<Instant>,
}

impl Patience {
    pub(super) fn new(core: &Core) -> Self {
        Self { waits: Waits::new(core.now()), timer: Timer::new(core), set_for: None }
    }

    /// Begins a wait, unless it runs already.
    pub(super) fn begin(&mut self, wait: Wait, now: Instant, time: Duration) {
        self.waits.begin(wait, end(now, time));
    }

    /// Begins a wait anew.
    pub(super) fn restart(&mut self, wait: Wait, now: Instant, time: Duration) {
        self.waits.restart(wait, end(now, time));
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

    fn set(&mut self, next: Instant, now: Instant) {
        self.timer.set(next.saturating_duration_since(now));
        self.set_for = Some(next);
    }
}

/// When a wait of this length ends. Some are meant to last for ever.
fn end(now: Instant, time: Duration) -> Instant {
    const MOST: Duration = Duration::from_secs(1 << 32);
    now + time.min(MOST)
}
