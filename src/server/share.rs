//! What one connection may do before the others of its core have their turn.
//!
//! Requests that were pipelined are answered in a row, which is what makes them cheap. The row ends when it has taken its
//! share in requests, bytes or time, which is the smaller the more tasks wait behind it; then what was written is sent,
//! and the connection goes on when the kernel has taken it. The time is passed in, and asked for rarely.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long the rows of a turn may take together before those that would go on wait for the next turn. A turn also
/// takes what it sends, so this is a fraction of the 20 ms that others may have to wait.
const TURN: Duration = Duration::from_millis(3);

/// Most bytes that are written in a row.
const MOST_BYTES: usize = 64 << 10;
/// Fewest, however many wait: a send has a price of its own.
const LEAST_BYTES: usize = 8 << 10;
/// The bytes of all rows of a turn, about: the sum of these shares grows with the logarithm of their number.
const TURN_BYTES: usize = 256 << 10;
/// The same in requests and in time.
const MOST_REQUESTS: usize = 1024;
const LEAST_REQUESTS: usize = 16;
const TURN_REQUESTS: usize = 4096;
const MOST_TIME: Duration = Duration::from_millis(1);
const LEAST_TIME: Duration = Duration::from_micros(20);
/// How many requests are answered between two looks at the clock, where they are cheap.
const MOST_STRIDE: u16 = 16;

/// The share of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    bytes: u32,
    requests: u16,
    /// How many more requests until the next look at the clock, and how many there were from the look before.
    until_look: u16,
    stride: u16,
    time: Duration,
    /// When the clock was first looked at in this row, and last.
    since: Option<(Instant, Instant)>,
}

impl Default for Share {
    fn default() -> Self {
        let mut share =
            Self { bytes: 0, requests: 0, until_look: 0, stride: 2, time: Duration::ZERO, since: None };
        share.renew(0);
        share
    }
}

impl Share {
    /// Begins a new row; so many others wait for their turn.
    pub(super) fn renew(&mut self, waiting: usize) {
        let among = waiting + 1;
        self.bytes = (TURN_BYTES / among).clamp(LEAST_BYTES, MOST_BYTES) as u32;
        self.requests = (TURN_REQUESTS / among).clamp(LEAST_REQUESTS, MOST_REQUESTS) as u16;
        self.time = (MOST_TIME / u32::try_from(among).unwrap_or(u32::MAX)).clamp(LEAST_TIME, MOST_TIME);
        self.until_look = 1;
        self.since = None;
    }

    /// Whether the row ends here, before another request is answered; `written` bytes wait to be sent.
    #[inline]
    pub(super) fn is_used(&mut self, written: usize, now: impl FnOnce() -> Instant) -> bool {
        if written >= self.bytes as usize || self.requests == 0 {
            return true;
        }
        self.requests -= 1;
        if self.until_look > 0 {
            self.until_look -= 1;
            return false;
        }
        self.look(now())
    }

    /// Looks at the clock: never for a request that comes alone, once for few, and often where they are dear.
    #[cold]
    fn look(&mut self, now: Instant) -> bool {
        let (first, last) = self.since.unwrap_or((now, now));
        if self.since.is_some() {
            let is_dear = now.saturating_duration_since(last) > self.time / 4;
            self.stride = if is_dear { 1 } else { (self.stride * 2).min(MOST_STRIDE) };
        }
        self.since = Some((first, now));
        self.until_look = self.stride - 1;
        now.saturating_duration_since(first) >= self.time
    }
}

/// The turn of a core that the rows share.
#[derive(Default)]
pub(super) struct Turn(Cell<Option<Instant>>);

impl Turn {
    /// Whether a connection that has used up its share may go on in the turn that began then. The first always may,
    /// however long the turn has taken already: so one goes on in each turn.
    pub(super) fn has_room(&self, began: Instant, now: impl FnOnce() -> Instant) -> bool {
        self.0.replace(Some(began)) != Some(began) || now().saturating_duration_since(began) < TURN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many requests a row answers, each of which takes so long and writes so much.
    fn row(share: &mut Share, each: Duration, bytes: usize) -> (usize, usize) {
        let (start, mut answered, mut looks) = (Instant::now(), 0, 0);
        while answered < 10_000 {
            let now = || {
                looks += 1;
                start + each * answered as u32
            };
            if share.is_used(answered * bytes, now) {
                break;
            }
            answered += 1;
        }
        (answered, looks)
    }

    const CHEAP: Duration = Duration::from_nanos(400);
    const DEAR: Duration = Duration::from_micros(100);

    #[test]
    fn the_more_wait_the_smaller_is_the_share() {
        let mut share = Share::default();
        assert_eq!(row(&mut share, CHEAP, 10_000).0, 7, "64 KiB alone");
        share.renew(9);
        assert_eq!(row(&mut share, CHEAP, 10_000).0, 3, "a tenth of 256 KiB");
        share.renew(999);
        assert_eq!(row(&mut share, CHEAP, 10_000).0, 1);
        share.renew(0);
        assert_eq!(row(&mut share, CHEAP, 1).0, MOST_REQUESTS);
        share.renew(999);
        assert_eq!(row(&mut share, CHEAP, 1).0, LEAST_REQUESTS);
    }

    #[test]
    fn dear_requests_end_a_row_by_their_time() {
        let mut share = Share::default();
        let (answered, _) = row(&mut share, DEAR, 10);
        assert!((10..=20).contains(&answered), "about a millisecond: {answered}");
        for _ in 0..3 {
            share.renew(99);
            assert!(row(&mut share, DEAR, 10).0 <= 3, "the share has learnt that they are dear");
        }
    }

    #[test]
    fn the_clock_is_not_asked_for_one_request_and_rarely_for_many() {
        let mut share = Share::default();
        // The share learns that these are cheap.
        row(&mut share, CHEAP, 1);
        for (requests, looks) in [(1, 0), (2, 1), (16, 1), (200, 13)] {
            share.renew(0);
            let mut looked = 0;
            let start = Instant::now();
            for number in 0..requests {
                let used = share.is_used(0, || {
                    looked += 1;
                    start + CHEAP * number
                });
                assert!(!used);
            }
            assert_eq!(looked, looks, "for {requests}");
        }
    }

    #[test]
    fn at_least_one_request_is_answered_in_each_row() {
        let mut share = Share::default();
        for waiting in [0, 1, 10, 100_000, usize::MAX - 1] {
            share.renew(waiting);
            assert!(row(&mut share, Duration::from_secs(1), 1 << 20).0 >= 1);
        }
    }

    #[test]
    fn in_a_turn_rows_go_on_until_its_time_is_used_up_and_one_always_does() {
        let (turn, start) = (Turn::default(), Instant::now());
        assert!(turn.has_room(start, || start + 9 * TURN));
        assert!(turn.has_room(start, || start + TURN / 2));
        assert!(!turn.has_room(start, || start + TURN));
        let next = start + 2 * TURN;
        assert!(turn.has_room(next, || next + TURN));
        assert!(!turn.has_room(next, || next + TURN));
    }
}
