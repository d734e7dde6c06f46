//! How many connections each core has, where the other cores can see it.
//!
//! This is the only memory that cores share, apart from mailboxes, and there is none unless a server balances its
//! connections. It is touched when a connection comes, moves or goes, never by a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The connections of each core: those that it has, and those that are on their way to it.
///
/// Every step is one change of one number, and no other memory is read by what the number says: so all of them are
/// relaxed.
pub(crate) struct Loads(Box<[Gauge]>);

/// One core's number, on a cache line of its own, lest the cores slow each other down.
#[derive(Default)]
#[repr(align(64))]
struct Gauge(AtomicUsize);

/// Set in the number of a core that takes nothing any more.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// A connection's part of a core's number, for as long as it lives.
pub(crate) struct Place {
    loads: Arc<Loads>,
    core: usize,
}

impl Loads {
    /// For so many cores, none of which has a connection.
    pub(crate) fn new(cores: usize) -> Arc<Self> {
        Arc::new(Self((0..cores).map(|_| Gauge::default()).collect()))
    }

    /// How many cores there are.
    pub(crate) fn cores(&self) -> usize {
        self.0.len()
    }

    /// Counts one more connection on a core; its own to call.
    pub(crate) fn enter(self: &Arc<Self>, core: usize) -> Place {
        self.0[core].0.fetch_add(1, Relaxed);
        Place { loads: Arc::clone(self), core }
    }

    /// Counts one more connection on `other`, if that has noticeably fewer than `core` and still takes some.
    ///
    /// It is counted before it gets there. So a burst of new connections is not all sent to the core that had
    /// fewest when it began, and a core that waits until it has none waits for those on their way.
    pub(crate) fn enter_if_fewer(self: &Arc<Self>, other: usize, core: usize) -> Option<Place> {
        let own = self.0[core].0.load(Relaxed);
        let entered =
            self.0[other].0.fetch_update(Relaxed, Relaxed, |n| noticeably_fewer(n, own).then_some(n + 1));
        entered.ok().map(|_| Place { loads: Arc::clone(self), core: other })
    }

    /// Has a core take nothing any more, if nothing is there or on its way. Whether that is so.
    pub(crate) fn close(&self, core: usize) -> bool {
        let gauge = &self.0[core].0;
        gauge.compare_exchange(0, CLOSED, Relaxed, Relaxed).is_ok() || gauge.load(Relaxed) == CLOSED
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.loads.0[self.core].0.fetch_sub(1, Relaxed);
    }
}

/// Whether it is worth a message: if the new connection would make `own` larger by two, and by a sixteenth. A core
/// that is closed never has fewer.
fn noticeably_fewer(other: usize, own: usize) -> bool {
    own & CLOSED == 0 && other.saturating_add(1 + own / 16) <= own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_where_there_are_noticeably_fewer() {
        let loads = Loads::new(2);
        assert!(loads.enter_if_fewer(1, 0).is_none(), "none and none are even");
        let first = loads.enter(0);
        let moved = loads.enter_if_fewer(1, 0).expect("it would be two to none");
        assert!(loads.enter_if_fewer(1, 0).is_none(), "what is on its way counts");
        drop(moved);
        assert!(loads.enter_if_fewer(1, 0).is_some());
        drop(first);
        assert!(loads.enter_if_fewer(1, 0).is_none(), "who has ended does not");
    }

    #[test]
    fn among_many_the_difference_must_be_larger() {
        assert!(noticeably_fewer(0, 1) && !noticeably_fewer(0, 0) && !noticeably_fewer(5, 4));
        assert!(noticeably_fewer(14, 15) && !noticeably_fewer(15, 16) && noticeably_fewer(14, 16));
        assert!(noticeably_fewer(937, 1000) && !noticeably_fewer(938, 1000));
    }

    #[test]
    fn a_core_closes_when_it_has_none_and_then_takes_none() {
        let loads = Loads::new(2);
        let here: Vec<_> = (0..4).map(|_| loads.enter(0)).collect();
        let on_its_way = loads.enter_if_fewer(1, 0).expect("4 and 0");
        assert!(!loads.close(1));
        drop(on_its_way);
        assert!(loads.close(1) && loads.close(1), "closed, and it stays so");
        assert!(loads.enter_if_fewer(1, 0).is_none());
        drop(here);
        assert!(loads.close(0));
    }
}
