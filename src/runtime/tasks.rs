//! The tasks of one core: futures that never leave it, and the queue of those that can go on.
//!
//! glommio's own tasks are not used for connections: spawning one takes a lock that all cores share, every
//! wake-up counts references with atomic instructions, and whether any task is runnable cannot be asked, which
//! the driver must know before it waits. Here a wake-up on the core is a push to a queue.

use slab::Slab;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::waiter::{TaskId, Waiter};

/// The tasks of one core.
pub(crate) struct Tasks {
    slots: RefCell<Slab<Slot>>,
    /// Tasks that can go on, in the order in which they were woken; each at most once.
    ready: RefCell<VecDeque<TaskId>>,
    /// The task that is being polled.
    current: Cell<Option<TaskId>>,
    /// The two words of its waker. A future that is polled with the very same waker is the task itself, and no part of a
    /// combinator: then its number will do. The pointer is compared, never followed, and its waker outlives the poll.
    current_waker: Cell<Option<(*const (), &'static std::task::RawWakerVTable)>>,
    /// Wraps after 2^32 tasks. A note of a task is then mistaken only if it has waited for so long in the same place.
    next_generation: Cell<u32>,
    /// Tells the tasks of this core from those of another that its thread may have had before.
    identity: u64,
    remote: Arc<dyn Remote>,
    is_closed: Cell<bool>,
    /// Wakers of futures inside combinators, to be woken or dropped when nothing of the core is borrowed: they run
    /// code that is not Kiang's.
    foreign_due: RefCell<Vec<Waker>>,
    foreign_done: RefCell<Vec<Waker>>,
    /// Woken when a task becomes ready while the driver sleeps.
    sleeper: RefCell<Option<Waker>>,
}

struct Slot {
    generation: u32,
    queued: bool,
    /// Absent while the task runs.
    task: Option<Task>,
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Waker,
}

thread_local! {
    /// The tasks of the core that this thread is, for wakers that fire on it.
    static HERE: RefCell<Weak<Tasks>> = const { RefCell::new(Weak::new()) };
}

/// How many tasks run before the driver looks at the ring again.
const MOST_IN_A_ROW: usize = 1024;

impl Tasks {
    /// The tasks of the core that this thread is.
    pub(crate) fn new(remote: Arc<dyn Remote>) -> Rc<Self> {
        static IDENTITIES: AtomicU64 = AtomicU64::new(1);
        let tasks = Rc::new(Self {
            slots: RefCell::default(),
            ready: RefCell::default(),
            current: Cell::new(None),
            current_waker: Cell::new(None),
            next_generation: Cell::new(0),
            identity: IDENTITIES.fetch_add(1, Ordering::Relaxed),
            remote,
            is_closed: Cell::new(false),
            foreign_due: RefCell::default(),
            foreign_done: RefCell::default(),
            sleeper: RefCell::default(),
        });
        HERE.with(|here| *here.borrow_mut() = Rc::downgrade(&tasks));
        tasks
    }

    /// Adds a task, ready to run; or drops it, if the tasks were cleared.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        if self.is_closed.get() {
            return;
        }
        let generation = self.next_generation.get();
        self.next_generation.set(generation.wrapping_add(1));
        let id = {
            let mut slots = self.slots.borrow_mut();
            let entry = slots.vacant_entry();
            // Tasks are bounded by the connections a core admits, far below 2^32.
            let id = TaskId { place: entry.key() as u32, generation };
            let waker = Waker::from(Arc::new(TaskWaker {
                id,
                identity: self.identity,
                remote: Arc::clone(&self.remote),
                posted: AtomicBool::new(false),
            }));
            entry.insert(Slot {
                generation,
                queued: false,
                task: Some(Task { future: Box::pin(future), waker }),
            });
            id
        };
        self.wake(id);
    }

    /// Lets a task go on. Queued twice before it runs, a task runs once.
    pub(crate) fn wake(&self, id: TaskId) {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(id.place as usize) else { return };
        if slot.generation != id.generation || slot.queued {
            return;
        }
        slot.queued = true;
        self.ready.borrow_mut().push_back(id);
        if let Some(sleeper) = self.sleeper.borrow_mut().take() {
            sleeper.wake();
        }
    }

    /// Lets every task go on, to look at what has changed for all of them.
    pub(crate) fn wake_all(&self) {
        let all: Vec<_> = self
            .slots
            .borrow()
            .iter()
            .map(|(place, slot)| TaskId { place: place as u32, generation: slot.generation })
            .collect();
        for id in all {
            self.wake(id);
        }
    }

    /// Wakes whoever waits. For the driver: a waker that is not ours is woken in the next [`run`](Self::run).
    pub(crate) fn notify(&self, waiter: &mut Waiter) {
        match std::mem::take(waiter) {
            Waiter::Nobody => {}
            Waiter::Task(id) => self.wake(id),
            Waiter::Other(waker) => self.foreign_due.borrow_mut().push(waker),
        }
    }

    /// Notes that the future being polled with `cx` waits.
    #[inline]
    pub(crate) fn wait(&self, waiter: &mut Waiter, cx: &Context<'_>) {
        let waker = cx.waker();
        let polled_directly = self.current_waker.get() == Some((waker.data(), waker.vtable()));
        let now = match self.current.get() {
            Some(id) if polled_directly => Waiter::Task(id),
            _ if matches!(waiter, Waiter::Other(before) if before.will_wake(waker)) => return,
            _ => Waiter::Other(waker.clone()),
        };
        self.forget(waiter);
        *waiter = now;
    }

    /// Notes that nobody waits any more.
    #[inline]
    pub(crate) fn forget(&self, waiter: &mut Waiter) {
        if let Waiter::Other(waker) = std::mem::take(waiter) {
            self.foreign_done.borrow_mut().push(waker);
        }
    }

    /// Whether any task can go on.
    pub(crate) fn any_ready(&self) -> bool {
        !self.ready.borrow().is_empty() || !self.foreign_due.borrow().is_empty()
    }

    /// How many tasks wait for their turn.
    pub(crate) fn waiting(&self) -> usize {
        self.ready.borrow().len()
    }

    /// Whether any task can go on; if none can, `cx` is woken when one becomes ready.
    pub(crate) fn any_ready_or_wake(&self, cx: &Context<'_>) -> bool {
        if self.any_ready() {
            return true;
        }
        *self.sleeper.borrow_mut() = Some(cx.waker().clone());
        false
    }

    /// Runs the tasks that are ready, and those they wake, up to a bound.
    pub(crate) fn run(&self) {
        self.settle_foreign();
        for _ in 0..MOST_IN_A_ROW {
            let Some(id) = self.ready.borrow_mut().pop_front() else { return };
            self.run_one(id);
        }
    }

    /// Wakes the wakers that are due, and drops those that are done with. They may panic, like any code.
    fn settle_foreign(&self) {
        if !self.foreign_due.borrow().is_empty() {
            for waker in self.foreign_due.take() {
                let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            }
        }
        if !self.foreign_done.borrow().is_empty() {
            for waker in self.foreign_done.take() {
                let _ = catch_unwind(AssertUnwindSafe(|| drop(waker)));
            }
        }
    }

    /// Drops every task, and takes no more.
    pub(crate) fn clear(&self) {
        // Out of the borrow first: a future that is dropped may wake another.
        self.is_closed.set(true);
        let slots = std::mem::take(&mut *self.slots.borrow_mut());
        for (_, slot) in slots {
            // One that panics must not keep the others.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(slot)));
        }
        self.settle_foreign();
        self.ready.borrow_mut().clear();
    }

    fn run_one(&self, id: TaskId) {
        let Some(mut task) = ({
            let mut slots = self.slots.borrow_mut();
            match slots.get_mut(id.place as usize) {
                Some(slot) if slot.generation == id.generation => {
                    slot.queued = false;
                    slot.task.take()
                }
                _ => None,
            }
        }) else {
            return;
        };
        self.current.set(Some(id));
        self.current_waker.set(Some((task.waker.data(), task.waker.vtable())));
        let mut cx = Context::from_waker(&task.waker);
        let polled = catch_unwind(AssertUnwindSafe(|| task.future.as_mut().poll(&mut cx)));
        self.current.set(None);
        self.current_waker.set(None);
        let done = match polled {
            Ok(Poll::Pending) => false,
            // After a panic, of which the hook has told, the task ends and what it held is released.
            Ok(Poll::Ready(())) | Err(_) => true,
        };
        let mut slots = self.slots.borrow_mut();
        if done {
            // The place may have been cleared meanwhile, by a task that ends the core.
            let slot = slots.get(id.place as usize).is_some_and(|slot| slot.generation == id.generation);
            let _slot = slot.then(|| slots.remove(id.place as usize));
            drop(slots);
            let _ = catch_unwind(AssertUnwindSafe(|| drop(task)));
        } else if let Some(slot) = slots.get_mut(id.place as usize) {
            slot.task = Some(task);
        }
    }
}

/// Wakes a task from anywhere: through the queue of its core on that core, through [`Remote`] from elsewhere.
struct TaskWaker {
    id: TaskId,
    identity: u64,
    remote: Arc<dyn Remote>,
    /// Whether a wake-up is on its way already, which bounds how many one task can have there.
    posted: AtomicBool,
}

/// The way of a wake-up from another thread to the core of its task.
pub(super) trait Remote: Send + Sync {
    /// Has the core call [`WakeUp::deliver`] soon.
    fn post(&self, wake_up: WakeUp);
}

/// A wake-up on its way from another thread.
pub(crate) struct WakeUp(Arc<TaskWaker>);

impl WakeUp {
    /// Lets the task go on; on its own core.
    pub(super) fn deliver(self, tasks: &Tasks) {
        // A swap, since the wake-up must come after it: what posts from now on posts again.
        self.0.posted.swap(false, Ordering::AcqRel);
        tasks.wake(self.0.id);
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let here = HERE.try_with(|here| here.borrow().upgrade()).ok().flatten();
        match here {
            Some(tasks) if tasks.identity == self.identity => tasks.wake(self.id),
            _ if self.posted.swap(true, Ordering::AcqRel) => {}
            _ => self.remote.post(WakeUp(Arc::clone(self))),
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// Tasks that no other thread can wake.
    pub(in super::super) fn tasks() -> Rc<Tasks> {
        struct Nowhere;
        impl Remote for Nowhere {
            fn post(&self, _: WakeUp) {}
        }
        Tasks::new(Arc::new(Nowhere))
    }
}

#[cfg(test)]
mod tests {
    use super::testing::tasks;
    use super::*;
    use std::future::poll_fn;

    #[test]
    fn a_task_runs_when_spawned_and_again_when_woken() {
        let tasks = tasks();
        let polls = Rc::new(Cell::new(0));
        let kept = Rc::new(RefCell::new(None));
        tasks.spawn({
            let (polls, kept) = (polls.clone(), kept.clone());
            poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                *kept.borrow_mut() = Some(cx.waker().clone());
                if polls.get() < 3 { Poll::Pending } else { Poll::Ready(()) }
            })
        });
        tasks.run();
        assert_eq!((polls.get(), tasks.any_ready()), (1, false));
        let waker = kept.borrow().clone().unwrap();
        waker.wake_by_ref();
        waker.wake_by_ref();
        tasks.run();
        assert_eq!(polls.get(), 2, "two wake-ups before a run are one");
        waker.wake_by_ref();
        tasks.run();
        waker.wake_by_ref();
        assert!(!tasks.any_ready(), "a task that has ended is not woken");
    }

    #[test]
    fn a_waiter_is_a_task_only_where_the_task_is_polled_directly() {
        let tasks = tasks();
        let seen = Rc::new(RefCell::new(Vec::new()));
        tasks.spawn({
            let (tasks, seen) = (tasks.clone(), seen.clone());
            poll_fn(move |cx| {
                let mut waiter = Waiter::Nobody;
                tasks.wait(&mut waiter, cx);
                seen.borrow_mut().push(matches!(waiter, Waiter::Task(_)));
                tasks.wait(&mut waiter, &Context::from_waker(Waker::noop()));
                seen.borrow_mut().push(matches!(waiter, Waiter::Other(_)));
                Poll::Ready(())
            })
        });
        tasks.run();
        assert_eq!(*seen.borrow(), [true, true]);
    }

    #[test]
    fn a_task_that_panics_ends_alone() {
        let tasks = tasks();
        let ran = Rc::new(Cell::new(false));
        tasks.spawn(async { panic!("on purpose, in a test") });
        let ran_too = ran.clone();
        tasks.spawn(async move { ran_too.set(true) });
        tasks.run();
        assert!(ran.get());
        assert!(tasks.slots.borrow().is_empty());
    }

    #[test]
    fn tasks_that_wake_each_other_for_ever_do_not_hold_the_driver() {
        let tasks = tasks();
        tasks.spawn(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        tasks.run();
        assert!(tasks.any_ready());
    }
}
