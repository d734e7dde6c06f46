//! A deadline as a task sees it.

use std::cell::RefCell;
use std::task::Context;
use std::time::Duration;

use super::core::Core;
use super::wheel::{NEVER, Wheel};

/// One deadline at a time, for one waiter. Made once and set often.
pub(crate) struct Timer {
    core: Core,
    key: u32,
}

impl Timer {
    pub(crate) fn new(core: &Core) -> Self {
        let key = wheel(core).borrow_mut().add();
        Self { core: core.clone(), key }
    }

    /// Sets the deadline so far from now, in place of any before it.
    pub(crate) fn set(&self, after: Duration) {
        let after = u64::try_from(after.as_millis()).unwrap_or(NEVER).max(1);
        // One more, since the current millisecond has begun. The clock was read when the turn began, so a deadline is
        // early by no more than the tasks before this one have taken.
        let deadline = self.core.clock().millis().saturating_add(after).saturating_add(1);
        wheel(&self.core).borrow_mut().set(self.key, deadline.min(NEVER - 1));
    }

    /// Whether the deadline has passed.
    pub(crate) fn has_passed(&self) -> bool {
        wheel(&self.core).borrow_mut().has_passed(self.key, |_| {})
    }

    /// Whether the deadline has passed; if not, the future polled with `cx` is woken when it does.
    pub(crate) fn poll_passed(&self, cx: &Context<'_>) -> bool {
        wheel(&self.core).borrow_mut().has_passed(self.key, |waiter| self.core.tasks().wait(waiter, cx))
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        wheel(&self.core).borrow_mut().remove(self.key, self.core.tasks());
    }
}

fn wheel(core: &Core) -> &RefCell<Wheel> {
    core.wheel()
}
