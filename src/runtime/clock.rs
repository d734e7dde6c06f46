//! The time of one core, read from the kernel once in a beat and not once in a request.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

/// A core's clock. It is as fresh as the last beat: a millisecond while the core is busy.
pub(crate) struct Clock {
    start: Instant,
    now: Cell<Instant>,
    date: RefCell<Rc<str>>,
    date_second: Cell<u64>,
    /// When `now` reaches this, the date may have changed.
    date_until: Cell<Instant>,
    /// How much time the looks since the last refresh have taken.
    #[cfg(test)]
    looks: Cell<Duration>,
}

/// How long a look takes on a clock that is moved by hand.
#[cfg(test)]
const LOOK: Duration = Duration::from_micros(20);

impl Clock {
    pub(crate) fn new() -> Self {
        let now = read().0;
        let clock = Self {
            start: now,
            now: Cell::new(now),
            date: RefCell::new(Rc::from("")),
            date_second: Cell::new(u64::MAX),
            date_until: Cell::new(now),
            #[cfg(test)]
            looks: Cell::new(Duration::ZERO),
        };
        clock.refresh();
        clock
    }

    /// Reads the time.
    pub(crate) fn refresh(&self) {
        let (now, wall) = read();
        #[cfg(test)]
        self.looks.set(Duration::ZERO);
        self.now.set(now);
        if now >= self.date_until.get() {
            self.refresh_date(wall());
        }
    }

    /// The time of the last refresh.
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    /// The time at this moment.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "a test moves the clock by hand"))]
    pub(crate) fn precise_now(&self) -> Instant {
        // Looks at a clock that is moved by hand take some time as well.
        #[cfg(test)]
        if BY_HAND.get().is_some() {
            self.looks.set(self.looks.get() + LOOK);
            return read().0 + self.looks.get();
        }
        read().0
    }

    /// The time of the last refresh, in whole milliseconds since this core began.
    pub(crate) fn millis(&self) -> u64 {
        self.now.get().duration_since(self.start).as_millis() as u64
    }

    /// The second of [`date`](Self::date), to see cheaply whether it has changed.
    pub(crate) fn date_second(&self) -> u64 {
        self.date_second.get()
    }

    /// The date as `IMF-fixdate` (RFC 9110 section 5.6.7), rendered once a second.
    pub(crate) fn date(&self) -> Rc<str> {
        Rc::clone(&self.date.borrow())
    }

    fn refresh_date(&self, wall: SystemTime) {
        // A wall clock before 1970 is a clock that was never set; the date then says so.
        let since_epoch = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let second = since_epoch.as_secs();
        let left = Duration::from_nanos((1_000_000_000 - since_epoch.subsec_nanos()).into());
        self.date_until.set(self.now.get() + left);
        if self.date_second.replace(second) != second {
            *self.date.borrow_mut() = httpdate::fmt_http_date(wall).into();
        }
    }
}

/// The time at this moment, where there is no core to ask.
pub(super) fn moment() -> Instant {
    read().0
}

/// The time, and how to ask for the time of day.
#[cfg(not(test))]
fn read() -> (Instant, impl FnOnce() -> SystemTime) {
    (Instant::now(), SystemTime::now)
}

/// The same, where a test may have [set it by hand](by_hand).
#[cfg(test)]
fn read() -> (Instant, impl FnOnce() -> SystemTime) {
    let by_hand = BY_HAND.get();
    let now = by_hand.map_or_else(Instant::now, |(start, since)| start + since);
    (now, move || by_hand.map_or_else(SystemTime::now, |(_, since)| SystemTime::UNIX_EPOCH + since))
}

#[cfg(test)]
thread_local! {
    /// Any moment, and how long ago it is.
    static BY_HAND: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

/// Sets the time of this thread's clocks, as the time since they were first set; or lets them go by themselves again.
#[cfg(test)]
pub(super) fn by_hand(since: Option<Duration>) {
    let start = BY_HAND.get().map_or_else(Instant::now, |(start, _)| start);
    BY_HAND.set(since.map(|since| (start, since)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_changes_with_the_second_and_not_before() {
        let clock = Clock::new();
        let at = |millis: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_000 + millis);
        clock.refresh_date(at(0));
        let first = clock.date();
        assert_eq!(&*first, "Sun, 06 Nov 1994 08:49:37 GMT");
        clock.refresh_date(at(999));
        assert!(Rc::ptr_eq(&first, &clock.date()), "not rendered again within a second");
        clock.refresh_date(at(1000));
        assert_eq!(&*clock.date(), "Sun, 06 Nov 1994 08:49:38 GMT");
    }
}
