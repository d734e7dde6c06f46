//! A made-up kernel for tests: it takes the entries that the ring pushes, and completes them as `io_uring(7)` may.
//!
//! The stub stands below [`Kernel`](super::kernel::Kernel), so that everything above runs as it is. Its descriptors are
//! real, and lead nowhere: the bytes go to the peers of a [`Net`]. The time is moved by hand, and a wait takes none.
//! All chance comes from one seed.

mod descriptors;
mod entry;
mod net;
mod operations;
mod provided;
mod random;

use io_uring::{cqueue, squeue};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use self::descriptors::Descriptors;
use self::entry::{Completion, Submission};
use self::operations::Operation;
use self::provided::Provided;
use super::super::clock;

pub(crate) use self::net::{Heard, Link, Net};
pub(crate) use self::random::{Random, mix};

/// What happens outside of the kernel and of the core: peers, and whoever ends the server.
pub(crate) trait Outside {
    /// When something happens next, in microseconds.
    fn next(&self, net: &Net) -> Option<u64>;

    /// Lets everything happen that is due.
    fn act(&mut self, net: &mut Net);
}

/// How often what goes wrong: once in so many times, or never if 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    /// `io_uring_enter(2)` fails with EINTR, EAGAIN or EBUSY.
    pub(crate) enter: u64,
    /// It takes only a part of the submissions.
    pub(crate) partial: u64,
    /// A read or a write is shorter than it could be.
    pub(crate) short: u64,
    /// A receive ends for want of buffers, though there are some.
    pub(crate) no_buffers: u64,
    /// A multishot operation ends.
    pub(crate) end: u64,
    /// Something that could complete does so later.
    pub(crate) late: u64,
    /// An accept fails with EMFILE.
    pub(crate) accept: u64,
    /// A turn takes milliseconds, and not microseconds.
    pub(crate) slow: u64,
    /// Entries in the completion queue.
    pub(crate) completions: usize,
}

/// The kernel, the net and the clock of one run.
pub(crate) struct Machine {
    pub(crate) net: Net,
    outside: Rc<RefCell<dyn Outside>>,
    faults: Faults,
    random: Random,
    descriptors: Descriptors,
    provided: Option<Provided>,
    submissions: VecDeque<Submission>,
    operations: Vec<Operation>,
    /// Completions of things that are over, and when they come.
    delayed: Vec<(u64, Completion)>,
    /// Completions that this entry has brought so far, before they are shuffled.
    batch: Vec<Completion>,
    completions: VecDeque<Completion>,
    overflow: VecDeque<Completion>,
    /// The user data of what accepts.
    accepts: Vec<u64>,
    /// Something could have completed and was put off.
    put_off: bool,
    /// What the code above did that it must not.
    violations: Vec<String>,
    enters: u64,
    idle_enters: u64,
}

thread_local! {
    static NEXT: RefCell<Option<Stub>> = const { RefCell::new(None) };
}

/// Entries in the submission queue: few, so that the backlog is used.
const SUBMISSIONS: usize = 8;
/// So many entries in a row that neither wait nor bring anything: the core spins.
const MOST_IDLE: u64 = 2_000;

/// The stub as the ring has it.
#[derive(Clone)]
pub(crate) struct Stub(Rc<RefCell<Machine>>, Rc<Cell<Option<(u64, u16)>>>);

impl Stub {
    pub(crate) fn new(seed: u64, faults: Faults, outside: Rc<RefCell<dyn Outside>>) -> Self {
        let mut random = Random::new(seed);
        let machine = Machine {
            net: Net::new(Random::new(random.next())),
            outside,
            faults,
            random,
            descriptors: Descriptors::default(),
            provided: None,
            submissions: VecDeque::new(),
            operations: Vec::new(),
            delayed: Vec::new(),
            batch: Vec::new(),
            completions: VecDeque::new(),
            overflow: VecDeque::new(),
            accepts: Vec::new(),
            put_off: false,
            violations: Vec::new(),
            enters: 0,
            idle_enters: 0,
        };
        clock::by_hand(Some(Duration::ZERO));
        Self(Rc::new(RefCell::new(machine)), Rc::default())
    }

    /// Has the next ring of this thread run on this stub.
    pub(crate) fn install(&self) {
        NEXT.set(Some(self.clone()));
    }

    pub(super) fn installed() -> Option<Self> {
        NEXT.take()
    }

    /// A descriptor to listen on, of which the net's connections come.
    pub(crate) fn listener(&self) -> io::Result<OwnedFd> {
        self.machine(|machine| machine.descriptors.listener())
    }

    pub(crate) fn machine<T>(&self, with: impl FnOnce(&mut Machine) -> T) -> T {
        with(&mut self.0.borrow_mut())
    }

    pub(super) fn push(&self, entry: &squeue::Entry) -> bool {
        self.machine(|machine| {
            let has_room = machine.submissions.len() < SUBMISSIONS;
            if has_room {
                machine.submissions.push_back(Submission::of(entry));
            }
            has_room
        })
    }

    pub(super) fn enter(&self, wait: bool) -> io::Result<usize> {
        self.machine(|machine| {
            if let Some((ring, count)) = self.1.take() {
                machine.provided = Some(Provided::new(ring, count));
            }
            machine.enter(wait)
        })
    }

    pub(super) fn next_completion(&self) -> Option<cqueue::Entry> {
        self.machine(|machine| machine.completions.pop_front()).map(Completion::entry)
    }

    pub(super) fn pushed(&self) -> u32 {
        self.machine(|machine| machine.submissions.len() as u32)
    }

    pub(super) fn has_taken_all(&self) -> bool {
        self.machine(|machine| machine.submissions.is_empty())
    }

    pub(super) fn has_overflown(&self) -> bool {
        self.machine(|machine| !machine.overflow.is_empty())
    }

    pub(super) fn register_buffers(&self, ring: u64, count: u16) {
        self.1.set(Some((ring, count)));
    }

    pub(super) fn accept_now(&self) -> io::Result<OwnedFd> {
        self.machine(|machine| match machine.net.accept() {
            Some(link) => machine.descriptors.connection(link),
            None => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
        })
    }

    pub(super) fn unread(&self, fd: BorrowedFd<'_>) -> u64 {
        self.of_link(fd, |net, link| net.unread(link) as u64).unwrap_or(0)
    }

    pub(super) fn unacknowledged(&self, fd: BorrowedFd<'_>) -> usize {
        self.of_link(fd, Net::untaken).unwrap_or(0)
    }

    pub(super) fn acknowledged(&self, fd: BorrowedFd<'_>) -> Option<u64> {
        self.of_link(fd, |net, link| net.at(link).acknowledged)
    }

    fn of_link<T>(&self, fd: BorrowedFd<'_>, ask: impl FnOnce(&Net, Link) -> T) -> Option<T> {
        self.machine(|machine| machine.descriptors.link(fd).map(|link| ask(&machine.net, link)))
    }
}

impl Machine {
    /// What was done that must not be.
    pub(crate) fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(super) fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// Completes everything in time from now on.
    pub(crate) fn hurry(&mut self) {
        self.faults.late = 0;
    }

    /// How often the kernel was entered.
    pub(crate) fn enters(&self) -> u64 {
        self.enters
    }

    /// Operations that the kernel holds, without a read and a timeout: those a core has at any time.
    pub(crate) fn held(&self) -> usize {
        self.operations.iter().filter(|operation| !operation.is_the_cores()).count()
            + self.delayed.len()
            + self.submissions.len()
            + self.completions.len()
            + self.overflow.len()
    }

    /// Operations that the kernel holds, all of them.
    pub(crate) fn all_held(&self) -> usize {
        self.operations.len()
    }

    /// One `io_uring_enter(2)`: how many submissions were taken, or the error.
    fn enter(&mut self, wait: bool) -> io::Result<usize> {
        self.enters += 1;
        let took = if self.random.one_in(self.faults.slow) { 3_000 } else { 60 };
        let took = self.random.between(1, took);
        self.pass(self.net.now + took);
        if self.random.one_in(self.faults.enter) {
            let errors = [libc::EINTR, libc::EAGAIN, libc::EBUSY];
            let error = errors[self.random.below(3) as usize];
            self.net.note("enter fails", 0, error.unsigned_abs().into());
            return Err(io::Error::from_raw_os_error(error));
        }
        let mut taken = self.submissions.len();
        let partial = taken > 0 && self.random.one_in(self.faults.partial);
        if partial {
            taken = self.random.below(taken as u64) as usize;
        }
        for _ in 0..taken {
            let Some(submission) = self.submissions.pop_front() else { break };
            self.submit(&submission);
        }
        self.work();
        let waits = wait && !partial;
        let brought = taken > 0 || !self.completions.is_empty();
        self.idle_enters = if brought || waits { 0 } else { self.idle_enters + 1 };
        if self.idle_enters > MOST_IDLE {
            self.violation("the core enters the kernel again and again, and nothing happens".to_owned());
            return Err(io::Error::other("the simulation ends here"));
        }
        while waits && self.completions.is_empty() {
            if self.random.one_in(self.faults.enter) {
                return if taken > 0 { Ok(taken) } else { Err(io::Error::from_raw_os_error(libc::EINTR)) };
            }
            let Some(next) = self.next_event() else {
                self.violation("the core waits, and nothing will ever wake it".to_owned());
                return Err(io::Error::other("the simulation ends here"));
            };
            let latency = self.random.between(0, 20);
            self.pass(next.max(self.net.now) + latency);
            self.work();
        }
        Ok(taken)
    }

    /// When something happens next, if nobody does anything before.
    fn next_event(&self) -> Option<u64> {
        let outside = self.outside.borrow().next(&self.net);
        let own = self.operations.iter().filter_map(Operation::next_event);
        let delayed = self.delayed.iter().map(|(due, _)| *due);
        let put_off = self.put_off.then_some(self.net.now + 1);
        own.chain(delayed).chain(outside).chain(put_off).min()
    }

    /// Moves the time, and lets happen what is due.
    fn pass(&mut self, until: u64) {
        self.net.now = until;
        clock::by_hand(Some(Duration::from_micros(until)));
        let outside = Rc::clone(&self.outside);
        outside.borrow_mut().act(&mut self.net);
    }

    /// Completes what can be completed.
    fn work(&mut self) {
        if let Some(provided) = &mut self.provided
            && let Err(what) = provided.look()
        {
            self.violation(what);
        }
        for link in self.descriptors.dropped() {
            self.net.server_closes(link, false);
        }
        self.progress();
        let now = self.net.now;
        let (due, later) = std::mem::take(&mut self.delayed).into_iter().partition(|(due, _)| *due <= now);
        self.delayed = later;
        let due: Vec<(u64, Completion)> = due;
        self.batch.extend(due.into_iter().map(|(_, completion)| completion));
        self.flush();
    }

    /// Puts completions where they can be taken: in any order, but each operation's in its own.
    fn flush(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        while !batch.is_empty() {
            let chosen = batch[self.random.below(batch.len() as u64) as usize].user_data;
            let first = batch.iter().position(|done| done.user_data == chosen).unwrap_or(0);
            let done = batch.remove(first);
            self.note_completion(&done);
            self.overflow.push_back(done);
        }
        while self.completions.len() < self.faults.completions {
            let Some(done) = self.overflow.pop_front() else { return };
            self.completions.push_back(done);
        }
    }

    fn note_completion(&mut self, done: &Completion) {
        // The number of a descriptor depends on what else the process has open.
        let is_descriptor = done.result > 0 && self.accepts.contains(&done.user_data);
        let result = if is_descriptor { 0 } else { done.result.cast_unsigned() };
        self.net.note("completion", done.user_data, result.into());
    }

    /// Completes now or, where chance wants it, later.
    fn complete_soon(&mut self, completion: Completion) {
        if self.random.one_in(self.faults.late) {
            let due = self.net.now + self.random.between(1, 2_000);
            self.delayed.push((due, completion));
        } else {
            self.batch.push(completion);
        }
    }
}
