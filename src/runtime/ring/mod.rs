//! The network ring: one io_uring per core through which all its sockets go (`io_uring(7)`).
//!
//! All of the crate's `unsafe` is in this folder. What makes it sound, in one place:
//!
//! * Every operation the kernel holds is counted, on its socket and on the ring: from the push of its entry to its last
//!   completion. A socket's descriptor is closed and its place used again only when its count is zero.
//! * Each operation has exactly one last completion, the one without `IORING_CQE_F_MORE`. A zero-copy send would have two,
//!   and needs an `Op` of its own. The first try of a send has none if it succeeds, and is over when the kernel has taken
//!   its entry; see [`Sending`](socket::Sending).
//! * Memory the kernel reads or writes belongs to the ring while the operation lasts: what is sent lies in its
//!   [`Socket`], what arrives in the [`Buffers`], the bell's bytes and the alarm's time in the ring itself. Paths
//!   and buffers of file operations lie in their job ([`Files`]). Dropping a [`Stream`](super::Stream) or a future
//!   early therefore frees nothing too soon.
//! * When the ring is dropped it cancels what is left and waits for the last completion; should the kernel not
//!   come to an end, the memory is leaked, never freed under an operation.

#![allow(unsafe_code, reason = "the one room that talks to the kernel through shared memory; see above")]

mod accept;
mod acknowledged;
mod buffers;
mod files;
mod inherited;
mod kernel;
mod parking;
mod peer;
mod socket;
#[cfg(test)]
mod stub;

use io_uring::{cqueue, opcode, squeue, types};
use slab::Slab;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use self::accept::Acceptor;
use self::buffers::Buffers;
use self::files::Files;
use self::kernel::{Entered, Kernel};
use self::socket::Socket;
use super::clock;
use super::tasks::Tasks;
use crate::budget::Budget;

pub(super) use self::accept::AcceptorId;
pub(super) use self::files::{FileId, Finished, JobId, SyncKind, Work, Write};
pub(super) use self::inherited::duplicate;
pub(super) use self::parking::Parking;
pub(super) use self::peer::peer;
pub(crate) use self::socket::Payload;
pub(super) use self::socket::SocketId;
#[cfg(test)]
pub(crate) use self::stub::{Faults, Heard, Link, Machine, Net, Outside, Random, Stub, mix};

/// How often a core that [shares its thread](super::Beat) looks up from its sockets.
static BEAT_EVERY: types::Timespec = types::Timespec::new().nsec(1_000_000);

/// A ring, and all that the kernel may touch on its behalf.
pub(crate) struct Ring {
    kernel: Kernel,
    buffers: Buffers,
    sockets: Slab<Socket>,
    acceptors: Slab<Acceptor>,
    files: Files,
    /// Entries that found the submission queue full.
    backlog: VecDeque<squeue::Entry>,
    /// Sockets whose receive ended for want of buffers.
    starved: Vec<SocketId>,
    /// Sockets with a send of which the kernel tells only if it fell short; see [`Socket`].
    unsettled: Vec<SocketId>,
    /// Some task waits for such a send, so the next turn must not wait.
    settling_is_awaited: bool,
    /// Buffers to send from, empty and used again, and how long they are together.
    spares: Vec<Vec<u8>>,
    spare_bytes: usize,
    /// What counts that the kernel has not taken yet, and copies of what has arrived.
    budget: Budget,
    /// Operations whose last completion is still to come.
    operations: usize,
    beat: Beat,
    bell_rang: bool,
    bell: RawFd,
    bell_bytes: Box<[u8; 8]>,
    alarm: Alarm,
}

/// The timeout of 1 ms that a core which shares its thread turns by.
#[derive(Default)]
struct Beat {
    armed: bool,
    /// Whether it has passed since it was last looked at.
    passed: bool,
}

/// The one wake-up that a core asks for itself: its next deadline.
struct Alarm {
    armed: bool,
    /// Whether it has come since it was last looked at.
    rang: bool,
    /// When it comes at the latest, in the clock's milliseconds.
    at: u64,
    after: Box<types::Timespec>,
}

/// What a completion is about: the upper half of its user data. The lower half is the place in a slab, of which there are
/// fewer than 2^32: a place needs a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Op {
    Receive,
    Send,
    Shutdown,
    Cancel,
    Close,
    Accept,
    CancelAccept,
    Beat,
    Bell,
    Alarm,
    AlarmUpdate,
    File,
    FileSync,
    FileCancel,
    FileClose,
}

impl Op {
    const ALL: [Self; 15] = [
        Self::Receive,
        Self::Send,
        Self::Shutdown,
        Self::Cancel,
        Self::Close,
        Self::Accept,
        Self::CancelAccept,
        Self::Beat,
        Self::Bell,
        Self::Alarm,
        Self::AlarmUpdate,
        Self::File,
        Self::FileSync,
        Self::FileCancel,
        Self::FileClose,
    ];

    fn data(self, place: u32) -> u64 {
        u64::from(self as u32) << 32 | u64::from(place)
    }

    fn of(data: u64) -> (Self, u32) {
        (Self::ALL[(data >> 32) as usize], data as u32)
    }
}

impl Ring {
    /// A ring for the calling thread, which must be the only one ever to use it. `bell` is the pipe that
    /// other threads ring; it must stay open as long as the ring.
    pub(super) fn new(bell: BorrowedFd<'_>) -> io::Result<Self> {
        let kernel = Kernel::new()?;
        let buffers = Buffers::new(&kernel)?;
        let mut ring = Self {
            kernel,
            buffers,
            sockets: Slab::new(),
            acceptors: Slab::new(),
            files: Files::default(),
            backlog: VecDeque::new(),
            starved: Vec::new(),
            unsettled: Vec::new(),
            settling_is_awaited: false,
            spares: Vec::new(),
            spare_bytes: 0,
            budget: Budget::unlimited(),
            operations: 0,
            beat: Beat::default(),
            bell_rang: false,
            bell: bell.as_raw_fd(),
            bell_bytes: Box::new([0; 8]),
            alarm: Alarm { armed: false, rang: false, at: 0, after: Box::new(types::Timespec::new()) },
        };
        ring.listen_for_bell();
        Ok(ring)
    }

    /// One system call: submits what was pushed, takes what has completed, wakes whom it concerns. With `wait`
    /// it returns only when something has completed.
    ///
    /// # Errors
    /// Only such as no repetition would mend.
    pub(super) fn turn(&mut self, wait: bool, tasks: &Tasks) -> io::Result<()> {
        self.buffers.give_back();
        let settling_is_awaited = std::mem::take(&mut self.settling_is_awaited);
        self.enter(wait && !settling_is_awaited)?;
        // Asked before what has completed causes new entries.
        let can_settle = self.can_settle();
        self.reap(tasks);
        if can_settle {
            self.settle_sends(tasks);
        } else {
            self.settling_is_awaited |= settling_is_awaited;
        }
        if !self.starved.is_empty() {
            self.buffers.want_more();
            self.revive_starved();
        }
        Ok(())
    }

    /// Whether the beat has passed since it was last asked.
    pub(super) fn beat_passed(&mut self) -> bool {
        std::mem::take(&mut self.beat.passed)
    }

    /// Arms a one-shot timeout of 1 ms, unless it is armed.
    pub(super) fn arm_beat(&mut self) {
        if std::mem::replace(&mut self.beat.armed, true) {
            return;
        }
        self.push(opcode::Timeout::new(&raw const BEAT_EVERY).build(), Op::Beat, 0);
    }

    /// Whether another thread rang since it was last asked.
    pub(super) fn bell_rang(&mut self) -> bool {
        std::mem::take(&mut self.bell_rang)
    }

    /// Whether it is too soon to sleep: something has happened since it was last asked that the driver has not
    /// seen, or waits for the next turn to be submitted.
    pub(super) fn has_news(&mut self) -> bool {
        std::mem::take(&mut self.alarm.rang)
            || self.bell_rang
            || !self.backlog.is_empty()
            || !self.starved.is_empty()
            || self.settling_is_awaited
            || !self.kernel.has_taken_all()
    }

    /// Arms the one timeout that wakes a core for its next deadline. An alarm that comes earlier is left alone: deadlines
    /// mostly move back, and an early alarm finds out for the price of one wake-up.
    pub(super) fn set_alarm(&mut self, at: u64, after: Duration) {
        if self.alarm.armed && self.alarm.at <= at {
            return;
        }
        self.alarm.at = at;
        *self.alarm.after = types::Timespec::from(after);
        let after = &raw const *self.alarm.after;
        if self.alarm.armed {
            // Without a completion if it succeeds: that would end the wait which it is for.
            let update = opcode::TimeoutUpdate::new(Op::Alarm.data(0), after).build();
            self.push(update.flags(squeue::Flags::SKIP_SUCCESS), Op::AlarmUpdate, 0);
            // Not counted: the kernel has read the time when the entry is submitted, and tells only of a failure.
            self.operations -= 1;
        } else {
            self.alarm.armed = true;
            self.push(opcode::Timeout::new(after).build(), Op::Alarm, 0);
        }
    }

    /// What counts the memory of this core's requests.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// An empty buffer to write what is to be sent.
    pub(super) fn take_spare(&mut self) -> Vec<u8> {
        let buffer = self.spares.pop().unwrap_or_default();
        self.spare_bytes -= buffer.capacity();
        buffer
    }

    /// Takes back a buffer that was not sent.
    pub(super) fn put_spare(&mut self, mut buffer: Vec<u8>) {
        /// Larger ones are the exception, and would hold memory for nothing.
        const LONGEST: usize = 64 << 10;
        /// What a burst has made beyond this goes back to the allocator.
        const MOST_BYTES: usize = 2 << 20;
        let with_it = self.spare_bytes + buffer.capacity();
        if (1..=LONGEST).contains(&buffer.capacity()) && with_it <= MOST_BYTES {
            self.spare_bytes = with_it;
            buffer.clear();
            self.spares.push(buffer);
        }
    }

    /// Sockets that are not closed, and buffers that are lent.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        (self.sockets.len(), self.buffers.lent())
    }

    fn listen_for_bell(&mut self) {
        let bytes = (&raw mut *self.bell_bytes).cast();
        self.push(opcode::Read::new(types::Fd(self.bell), bytes, 8).build(), Op::Bell, 0);
    }

    /// Puts an entry where the next turn submits it. The kernel is never entered here.
    fn push(&mut self, entry: squeue::Entry, op: Op, place: u32) {
        self.operations += 1;
        let entry = entry.user_data(op.data(place));
        // SAFETY: every entry is built in this folder from a descriptor that is open, and memory that the ring
        // owns, until the operation's last completion; see the head of this file.
        let pushed = self.backlog.is_empty() && unsafe { self.kernel.push(&entry) };
        if !pushed {
            self.backlog.push_back(entry);
        }
    }

    /// Submits everything, and runs what the kernel has deferred.
    fn enter(&mut self, wait: bool) -> io::Result<()> {
        loop {
            while let Some(entry) = self.backlog.front() {
                // SAFETY: as in `push`, where the entry came from.
                if !unsafe { self.kernel.push(entry) } {
                    break;
                }
                self.backlog.pop_front();
            }
            let more = !self.backlog.is_empty();
            let entered = self.kernel.enter(wait && !more)?;
            if entered == Entered::InPart {
                self.files.doubt_links();
            }
            if entered == Entered::Later || !more {
                return Ok(());
            }
        }
    }

    fn reap(&mut self, tasks: &Tasks) {
        loop {
            // Bound to one borrow for each completion: what it causes may push.
            let Some(done) = self.kernel.next_completion() else { return };
            let (op, place) = Op::of(done.user_data());
            let last = !cqueue::more(done.flags());
            self.operations -= usize::from(last && op != Op::AlarmUpdate);
            match op {
                Op::Receive => self.received(SocketId(place), &done, last, tasks),
                Op::Send => self.sent(SocketId(place), done.result(), tasks),
                Op::Shutdown | Op::Cancel => self.finished(SocketId(place)),
                Op::Close => self.closed(SocketId(place)),
                Op::Accept => self.accepted(AcceptorId(place), done.result(), last, tasks),
                Op::CancelAccept => self.acceptor_finished(AcceptorId(place), tasks),
                Op::Beat => self.beat = Beat { armed: false, passed: true },
                Op::Bell => {
                    self.bell_rang = true;
                    self.listen_for_bell();
                }
                Op::Alarm => (self.alarm.armed, self.alarm.rang) = (false, true),
                // The update came too late: the alarm itself has come.
                Op::AlarmUpdate => {}
                Op::File | Op::FileSync | Op::FileCancel | Op::FileClose => {
                    self.file_completed(op, place, done.result(), tasks);
                }
            }
        }
    }

    /// Cancels whatever is left and waits for it, for a bounded time. Whether nothing is left.
    fn quiesce(&mut self) -> bool {
        const PATIENCE: Duration = Duration::from_secs(1);
        let deadline = clock::moment() + PATIENCE;
        while self.operations > 0 && clock::moment() < deadline {
            if self.enter(false).is_err() {
                return false;
            }
            let can_settle = self.can_settle();
            // Nothing is answered any more; what was accepted and not taken is closed.
            let mut taken = 0;
            while let Some(done) = self.kernel.next_completion() {
                taken += 1;
                let (op, place) = Op::of(done.user_data());
                self.files.completed_at_end(op, place, done.result());
                match op {
                    Op::Accept if done.result() >= 0 => {
                        // SAFETY: the kernel has just given us this descriptor; nobody else knows it.
                        drop(unsafe {
                            <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(done.result())
                        });
                    }
                    Op::Send => drop(self.forget_send(SocketId(place))),
                    _ => {}
                }
                self.operations -= usize::from(!cqueue::more(done.flags()) && op != Op::AlarmUpdate);
            }
            if can_settle {
                self.forget_settled_sends();
            }
            if taken == 0 && self.operations > 0 {
                let all = types::CancelBuilder::any().all();
                self.push(opcode::AsyncCancel2::new(all).build(), Op::Cancel, 0);
                std::thread::yield_now();
            }
        }
        self.operations == 0
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if !self.quiesce() {
            log::error!(
                "the kernel did not finish {} operations of a ring; their memory is leaked",
                self.operations
            );
            std::mem::forget(std::mem::take(&mut self.sockets));
            std::mem::forget(std::mem::take(&mut self.files));
            std::mem::forget(std::mem::take(&mut self.bell_bytes));
            std::mem::forget(std::mem::replace(&mut self.alarm.after, Box::new(types::Timespec::new())));
            self.buffers.leak();
        }
    }
}
