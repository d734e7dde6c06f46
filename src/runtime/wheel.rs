//! Deadlines of one core: a hierarchical timer wheel (Varghese and Lauck, 1987) with ticks of a millisecond.
//!
//! A deadline that is only ever pushed back costs a store: an entry stays filed where it was, and is filed anew
//! when that time comes and finds that the deadline has moved. Keep-alive deadlines move with every request.

use super::tasks::Tasks;
use super::waiter::Waiter;
use slab::Slab;

const LEVELS: usize = 5;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// The deadline of an entry that has none.
pub(super) const NEVER: u64 = u64::MAX;
const NONE: u32 = u32::MAX;
/// The longest the wheel can hold, 12 days; a later deadline is filed there and then filed anew. One slot of
/// the last level short of its turn, so that the slot is never the current one.
const HORIZON: u64 = (1 << (SLOT_BITS * LEVELS as u32)) - (1 << (SLOT_BITS * (LEVELS as u32 - 1)));

/// The wheel. Times are milliseconds since the core began.
pub(crate) struct Wheel {
    entries: Slab<Entry>,
    heads: [[u32; SLOTS]; LEVELS],
    /// A bit for every slot that holds an entry.
    occupied: [u64; LEVELS],
    /// Up to where the wheel has turned.
    elapsed: u64,
    /// No entry is filed before this time. Kept so that a turn of the core costs one comparison.
    earliest: u64,
}

struct Entry {
    deadline: u64,
    fired: bool,
    waiter: Waiter,
    /// When the wheel will look at this entry; NEVER if it is not filed.
    filed: u64,
    level: u8,
    next: u32,
    previous: u32,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self {
            entries: Slab::new(),
            heads: [[NONE; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            elapsed: 0,
            earliest: NEVER,
        }
    }

    /// Adds an entry without a deadline.
    pub(super) fn add(&mut self) -> u32 {
        self.entries.insert(Entry {
            deadline: NEVER,
            fired: false,
            waiter: Waiter::Nobody,
            filed: NEVER,
            level: 0,
            next: NONE,
            previous: NONE,
        }) as u32
    }

    /// Removes an entry; its waiter is forgotten.
    pub(super) fn remove(&mut self, key: u32, tasks: &Tasks) {
        self.unfile(key);
        tasks.forget(&mut self.entries.remove(key as usize).waiter);
    }

    /// Sets the deadline of an entry, in place of any before it.
    pub(super) fn set(&mut self, key: u32, deadline: u64) {
        let entry = &mut self.entries[key as usize];
        entry.deadline = deadline;
        entry.fired = false;
        if deadline < entry.filed {
            self.unfile(key);
            self.file(key, deadline);
        }
    }

    /// Whether the deadline of an entry has passed; if not, `waits` notes what is to be woken when it does.
    pub(super) fn has_passed(&mut self, key: u32, waits: impl FnOnce(&mut Waiter)) -> bool {
        let entry = &mut self.entries[key as usize];
        if !entry.fired {
            waits(&mut entry.waiter);
        }
        entry.fired
    }

    /// Turns the wheel up to `now` and notifies whom it passes.
    pub(crate) fn advance(&mut self, now: u64, tasks: &Tasks) {
        while let Some((level, slot, at)) = self.next_slot() {
            if at > now {
                break;
            }
            self.elapsed = self.elapsed.max(at);
            let mut key = std::mem::replace(&mut self.heads[level][slot], NONE);
            self.occupied[level] &= !(1 << slot);
            while key != NONE {
                let entry = &mut self.entries[key as usize];
                let next = entry.next;
                (entry.filed, entry.next, entry.previous) = (NEVER, NONE, NONE);
                if entry.deadline <= now {
                    entry.deadline = NEVER;
                    entry.fired = true;
                    tasks.notify(&mut entry.waiter);
                } else if entry.deadline != NEVER {
                    let deadline = entry.deadline;
                    self.file(key, deadline);
                }
                key = next;
            }
        }
        self.elapsed = self.elapsed.max(now);
        self.earliest = self.next_slot().map_or(NEVER, |(_, _, at)| at);
    }

    /// When the wheel should next be advanced: never later than the earliest deadline, perhaps earlier. NEVER if no
    /// deadline is set.
    pub(crate) fn next(&self) -> u64 {
        self.earliest
    }

    /// The occupied slot that comes first, and when.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        (0..LEVELS)
            .filter(|level| self.occupied[*level] != 0)
            .map(|level| {
                let shift = SLOT_BITS * level as u32;
                let here = (self.elapsed >> shift) as u32 % SLOTS as u32;
                let ahead = self.occupied[level].rotate_right(here).trailing_zeros();
                let slot = (here + ahead) as usize % SLOTS;
                let at = ((self.elapsed >> shift) + u64::from(ahead)) << shift;
                (level, slot, at.max(self.elapsed))
            })
            .min_by_key(|(_, _, at)| *at)
    }

    fn file(&mut self, key: u32, deadline: u64) {
        // The current millisecond's slot has been passed: the next is the earliest there is.
        let at = deadline.max(self.elapsed + 1).min(self.elapsed + HORIZON);
        // The level is given by the highest digit in which the time differs from now.
        let level = ((at ^ self.elapsed).ilog2() / SLOT_BITS).min(LEVELS as u32 - 1);
        let slot = (at >> (SLOT_BITS * level)) as usize % SLOTS;
        let head = std::mem::replace(&mut self.heads[level as usize][slot], key);
        self.occupied[level as usize] |= 1 << slot;
        if head != NONE {
            self.entries[head as usize].previous = key;
        }
        self.earliest = self.earliest.min(at);
        let entry = &mut self.entries[key as usize];
        (entry.filed, entry.level, entry.next, entry.previous) = (at, level as u8, head, NONE);
    }

    fn unfile(&mut self, key: u32) {
        let Entry { filed, level, next, previous, .. } = self.entries[key as usize];
        if filed == NEVER {
            return;
        }
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        if previous == NONE {
            let slot = (filed >> (SLOT_BITS * u32::from(level))) as usize % SLOTS;
            self.heads[level as usize][slot] = next;
            if next == NONE {
                self.occupied[level as usize] &= !(1 << slot);
            }
        } else {
            self.entries[previous as usize].next = next;
        }
        self.entries[key as usize].filed = NEVER;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tasks::testing::tasks;
    use std::rc::Rc;

    fn fixture() -> (Wheel, Rc<Tasks>) {
        (Wheel::new(), tasks())
    }

    /// A small generator, so that the test repeats exactly.
    fn next(seed: &mut u64) -> u64 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed
    }

    #[test]
    fn every_deadline_fires_at_its_time_and_never_early() {
        let (mut wheel, tasks) = fixture();
        let mut seed = 7;
        let mut now = 0;
        let mut pending: Vec<(u32, u64)> = Vec::new();
        for _ in 0..20_000 {
            match next(&mut seed) % 4 {
                0 => {
                    let key = wheel.add();
                    let deadline = now + 1 + next(&mut seed) % (1 << (next(&mut seed) % 24));
                    wheel.set(key, deadline);
                    pending.push((key, deadline));
                }
                1 if !pending.is_empty() => {
                    // Moved, forward or back.
                    let at = next(&mut seed) as usize % pending.len();
                    pending[at].1 = now + 1 + next(&mut seed) % 5000;
                    wheel.set(pending[at].0, pending[at].1);
                }
                2 if !pending.is_empty() => {
                    let at = next(&mut seed) as usize % pending.len();
                    wheel.remove(pending.swap_remove(at).0, &tasks);
                }
                _ => {
                    let earliest = pending.iter().map(|(_, deadline)| *deadline).min();
                    assert!(wheel.next() <= earliest.unwrap_or(NEVER));
                    now += next(&mut seed) % (1 << (next(&mut seed) % 16));
                    wheel.advance(now, &tasks);
                    pending.retain(|(key, deadline)| {
                        let fired = wheel.entries[*key as usize].fired;
                        assert_eq!(fired, *deadline <= now, "deadline {deadline} at {now}");
                        if fired {
                            wheel.remove(*key, &tasks);
                        }
                        !fired
                    });
                }
            }
        }
        assert!(now > 100_000, "the test has travelled far");
    }

    #[test]
    fn a_deadline_pushed_back_is_not_filed_again() {
        let (mut wheel, tasks) = fixture();
        let key = wheel.add();
        wheel.set(key, 100);
        wheel.set(key, 75_000);
        assert_eq!(wheel.entries[key as usize].filed, 100);
        wheel.advance(100, &tasks);
        assert!(!wheel.entries[key as usize].fired);
        wheel.advance(75_000, &tasks);
        assert!(wheel.entries[key as usize].fired);
        assert_eq!(wheel.next(), NEVER);
    }

    #[test]
    fn a_deadline_beyond_the_horizon_is_kept() {
        let (mut wheel, tasks) = fixture();
        let key = wheel.add();
        let deadline = HORIZON * 3 + 5;
        wheel.set(key, deadline);
        wheel.advance(deadline - 1, &tasks);
        assert!(!wheel.entries[key as usize].fired);
        wheel.advance(deadline, &tasks);
        assert!(wheel.entries[key as usize].fired);
    }
}
