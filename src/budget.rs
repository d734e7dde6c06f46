//! The memory that the requests of one core may take together: a leaf, counted without atomics.
//!
//! A [`Share`] is a part of the budget, and gives itself back when it is dropped. Most shares are asked for, and can be
//! refused. What is held already when it can be counted is taken in any case, and those who ask find less.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The budget of one core. A clone is the same budget.
#[derive(Clone)]
pub(crate) struct Budget(Rc<State>);

struct State {
    /// In bytes; `usize::MAX` without a limit.
    limit: Cell<usize>,
    used: Cell<usize>,
    refused: Cell<u64>,
    on_refusal: RefCell<Option<OnRefusal>>,
}

type OnRefusal = Rc<dyn Fn(NoRoom)>;

/// A part of the budget, until it is dropped.
pub(crate) struct Share {
    budget: Budget,
    bytes: usize,
}

/// The answer to a wish that finds no room. All values are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom {
    /// How much more was asked for.
    pub(crate) wanted: usize,
    pub(crate) used: usize,
    pub(crate) limit: usize,
}

impl Budget {
    /// A budget without a limit. What is taken is counted all the same.
    pub(crate) fn unlimited() -> Self {
        Self(Rc::new(State {
            limit: Cell::new(usize::MAX),
            used: Cell::new(0),
            refused: Cell::new(0),
            on_refusal: RefCell::default(),
        }))
    }

    /// Sets the limit, and what is called for each refusal.
    pub(crate) fn limit_to(&self, limit: usize, on_refusal: impl Fn(NoRoom) + 'static) {
        self.0.limit.set(limit);
        *self.0.on_refusal.borrow_mut() = Some(Rc::new(on_refusal));
    }

    /// Bytes that are taken now.
    pub(crate) fn used(&self) -> usize {
        self.0.used.get()
    }

    /// How often there was no room.
    pub(crate) fn refused(&self) -> u64 {
        self.0.refused.get()
    }

    /// Whether less than an eighth is left: then those who hold memory take no more than they need to go on.
    #[inline]
    pub(crate) fn is_short(&self) -> bool {
        let limit = self.0.limit.get();
        self.0.used.get() > limit - limit / 8
    }

    /// Nothing yet.
    pub(crate) fn share(&self) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }

    /// So many bytes, if there is room.
    pub(crate) fn try_take(&self, bytes: usize) -> Result<Share, NoRoom> {
        let mut share = self.share();
        share.try_grow_to(bytes)?;
        Ok(share)
    }

    /// So many bytes, which are held already.
    pub(crate) fn take(&self, bytes: usize) -> Share {
        let mut share = self.share();
        share.set(bytes);
        share
    }
}

impl Share {
    /// Grows to so many bytes, if there is room; never shrinks.
    pub(crate) fn try_grow_to(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let State { limit, used, refused, on_refusal } = &*self.budget.0;
        let Some(wanted) = bytes.checked_sub(self.bytes) else { return Ok(()) };
        if wanted > limit.get().saturating_sub(used.get()) {
            refused.set(refused.get() + 1);
            let no_room = NoRoom { wanted, used: used.get(), limit: limit.get() };
            let told = on_refusal.borrow().clone();
            if let Some(tell) = told {
                tell(no_room);
            }
            return Err(no_room);
        }
        used.set(used.get() + wanted);
        self.bytes = bytes;
        Ok(())
    }

    /// Becomes so many bytes, room or not: they are held already, or are held no more.
    #[inline]
    pub(crate) fn set(&mut self, bytes: usize) {
        let used = &self.budget.0.used;
        // A share's own bytes are part of those used.
        used.set((used.get() - self.bytes).saturating_add(bytes));
        self.bytes = bytes;
    }

    /// How many bytes it has.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_with_the_share() {
        let budget = Budget::unlimited();
        budget.limit_to(100, |_| ());
        let mut one = budget.try_take(60).expect("room");
        let other = budget.try_take(40).expect("exactly what is left");
        assert_eq!(budget.used(), 100);
        assert_eq!(one.try_grow_to(61), Err(NoRoom { wanted: 1, used: 100, limit: 100 }));
        assert_eq!(one.bytes(), 60, "a refusal changes nothing");
        drop(other);
        one.try_grow_to(100).expect("room again");
        one.try_grow_to(10).expect("it has more than that");
        assert_eq!((budget.used(), one.bytes()), (100, 100));
        one.set(0);
        assert_eq!(budget.used(), 0);
        drop(one);
        assert_eq!((budget.used(), budget.refused()), (0, 1));
    }

    #[test]
    fn what_is_held_already_is_counted_beyond_the_limit_and_leaves_no_room() {
        let budget = Budget::unlimited();
        budget.limit_to(100, |_| ());
        let held = budget.take(150);
        assert!(budget.is_short());
        assert_eq!(budget.try_take(1).err(), Some(NoRoom { wanted: 1, used: 150, limit: 100 }));
        assert!(budget.try_take(0).is_ok(), "nothing takes no room");
        drop(held);
        assert!(!budget.is_short());
        assert!(budget.try_take(100).is_ok());
    }

    #[test]
    fn each_refusal_is_told_once() {
        let (budget, told) = (Budget::unlimited(), Rc::new(Cell::new(None)));
        let tell = Rc::clone(&told);
        budget.limit_to(10, move |no_room| tell.set(Some(no_room)));
        assert!(budget.clone().try_take(11).is_err());
        assert_eq!(told.take(), Some(NoRoom { wanted: 11, used: 0, limit: 10 }));
        assert!(budget.try_take(10).is_ok());
        assert_eq!(told.take(), None);
    }

    #[test]
    fn without_a_limit_there_is_always_room_and_it_is_counted() {
        let budget = Budget::unlimited();
        let _one = budget.try_take(usize::MAX / 2).expect("room");
        assert!(!budget.is_short());
        assert_eq!(budget.used(), usize::MAX / 2);
    }
}
