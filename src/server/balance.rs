//! Balance: a new connection goes to the better of two cores.
//!
//! The kernel deals out connections by a hash (`SO_REUSEPORT`), which leaves some cores with many and some with few.
//! The core that accepts one therefore looks at one other, chosen at random. To look at a second choice alone makes
//! the spread exponentially smaller (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001),
//! and two numbers cost less than a look at all.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use crate::runtime::{Core, Loads, Place};

/// One core's view of all loads.
pub(super) struct Balance {
    loads: Arc<Loads>,
    random: Cell<u64>,
}

impl Balance {
    pub(super) fn new(loads: Arc<Loads>) -> Self {
        // Anything but zero, and another on every core.
        let seed = RandomState::new().hash_one(0) | 1;
        Self { loads, random: Cell::new(seed) }
    }

    /// Another core, and a place there, if it has noticeably fewer connections than this one.
    pub(super) fn elsewhere(&self, core: &Core) -> Option<(usize, Place)> {
        let others = self.loads.cores() - 1;
        if others == 0 {
            return None;
        }
        let other = (core.id() + 1 + self.below(others)) % self.loads.cores();
        self.loads.enter_if_fewer(other, core.id()).map(|place| (other, place))
    }

    /// A place on this core.
    pub(super) fn here(&self, core: &Core) -> Place {
        self.loads.enter(core.id())
    }

    /// Takes nothing any more, if nothing is here or on its way. Whether that is so.
    pub(super) fn close(&self, core: &Core) -> bool {
        self.loads.close(core.id())
    }

    /// A number below `bound`, by xorshift64: nobody gains by guessing it.
    fn below(&self, bound: usize) -> usize {
        let mut random = self.random.get();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        self.random.set(random);
        (random % bound as u64) as usize
    }
}
