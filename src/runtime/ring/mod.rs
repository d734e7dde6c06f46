//! The network ring: one io_uring per core through which all its sockets go (`io_uring(7)`).
//!
//! All of the crate's `unsafe` is in this folder. What makes it sound, in one place:
//!
//! * Every operation the kernel holds is counted, on its socket and on the ring. A socket's descriptor is closed
//!   and its place used again only when its count is zero.
//! * Memory the kernel reads or writes belongs to the ring while the operation lasts: what is sent lies in its
//!   [`Socket`], what arrives in the [`Buffers`], the bell's bytes and the alarm's time in the ring itself.
//!   Dropping a [`Stream`](super::Stream) early therefore frees nothing too soon.
//! * When the ring is dropped it cancels what is left and waits for the last completion; should the kernel not
//!   come to an end, the memory is leaked, never freed under an operation.

#![allow(unsafe_code, reason = "the one room that talks to the kernel through shared memory; see above")]

mod accept;
mod buffers;
mod inherited;
mod parking;
mod peer;
mod socket;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use slab::Slab;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use self::accept::Acceptor;
use self::buffers::Buffers;
use self::socket::Socket;
use super::tasks::Tasks;

pub(super) use self::accept::AcceptorId;
pub(super) use self::inherited::duplicate;
pub(super) use self::parking::Parking;
pub(super) use self::peer::peer;
pub(crate) use self::socket::Payload;
pub(super) use self::socket::SocketId;

/// Submission entries: as many as a busy turn pushes. More wait in `backlog`.
const SUBMISSIONS: u32 = 1024;
/// Completion entries: several for each submission, since one multishot operation completes often.
const COMPLETIONS: u32 = 8192;
/// How often a busy core looks up from its sockets.
static BEAT_EVERY: types::Timespec = types::Timespec::new().nsec(1_000_000);

/// A ring, and all that the kernel may touch on its behalf.
pub(crate) struct Ring {
    uring: IoUring,
    buffers: Buffers,
    sockets: Slab<Socket>,
    acceptors: Slab<Acceptor>,
    /// Entries that found the submission queue full.
    backlog: VecDeque<squeue::Entry>,
    /// Sockets whose receive ended for want of buffers.
    starved: Vec<SocketId>,
    /// Buffers to send from, empty and used again.
    spares: Vec<Vec<u8>>,
    /// Operations whose last completion is still to come.
    operations: usize,
    beat: bool,
    bell_rang: bool,
    bell: RawFd,
    bell_bytes: Box<[u8; 8]>,
    alarm: Alarm,
}

/// The one wake-up that a sleeping core asks for itself: its next deadline.
struct Alarm {
    armed: bool,
    /// Whether it has come since it was last looked at.
    rang: bool,
    /// When it comes at the latest, in the clock's milliseconds.
    at: u64,
    after: Box<types::Timespec>,
}

/// What a completion is about; the upper half of its user data. The lower half is the place in a slab.
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
}

impl Op {
    const ALL: [Self; 11] = [
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
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let buffers = Buffers::new(&uring)?;
        let mut ring = Self {
            uring,
            buffers,
            sockets: Slab::new(),
            acceptors: Slab::new(),
            backlog: VecDeque::new(),
            starved: Vec::new(),
            spares: Vec::new(),
            operations: 0,
            beat: false,
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
        let starved = !self.starved.is_empty();
        if starved {
            self.buffers.want_more();
        }
        self.buffers.give_back();
        if starved {
            self.revive_starved();
        }
        self.enter(wait)?;
        self.reap(tasks);
        Ok(())
    }

    /// Whether the beat has passed since it was last asked.
    pub(super) fn beat_passed(&mut self) -> bool {
        std::mem::take(&mut self.beat)
    }

    /// Has the beat pass in a millisecond.
    pub(super) fn arm_beat(&mut self) {
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
            || !self.uring.submission().is_empty()
    }

    /// Has something complete after this time, so that a sleeping core wakes. An alarm that comes earlier is left
    /// alone: setting it anew would itself complete, and so keep the core from its sleep for ever.
    pub(super) fn set_alarm(&mut self, at: u64, after: Duration) {
        if self.alarm.armed && self.alarm.at <= at {
            return;
        }
        self.alarm.at = at;
        *self.alarm.after = types::Timespec::from(after);
        let after = &raw const *self.alarm.after;
        if self.alarm.armed {
            let update = opcode::TimeoutUpdate::new(Op::Alarm.data(0), after).build();
            self.push(update, Op::AlarmUpdate, 0);
        } else {
            self.alarm.armed = true;
            self.push(opcode::Timeout::new(after).build(), Op::Alarm, 0);
        }
    }

    /// An empty buffer to write what is to be sent.
    pub(super) fn take_spare(&mut self) -> Vec<u8> {
        self.spares.pop().unwrap_or_default()
    }

    /// Takes back a buffer that was not sent.
    pub(super) fn put_spare(&mut self, mut buffer: Vec<u8>) {
        /// Larger ones are the exception, and would hold memory for nothing.
        const LONGEST: usize = 64 << 10;
        const MOST: usize = 256;
        if (1..=LONGEST).contains(&buffer.capacity()) && self.spares.len() < MOST {
            buffer.clear();
            self.spares.push(buffer);
        }
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
        let pushed = self.backlog.is_empty() && unsafe { self.uring.submission().push(&entry) }.is_ok();
        if !pushed {
            self.backlog.push_back(entry);
        }
    }

    /// Submits everything, and runs what the kernel has deferred. `DEFER_TASKRUN` completes nothing unless the
    /// enter asks for events, also when it waits for none; so it always asks.
    fn enter(&mut self, wait: bool) -> io::Result<()> {
        const GETEVENTS: u32 = 1;
        loop {
            while let Some(entry) = self.backlog.front() {
                // SAFETY: as in `push`, where the entry came from.
                if unsafe { self.uring.submission().push(entry) }.is_err() {
                    break;
                }
                self.backlog.pop_front();
            }
            let more = !self.backlog.is_empty();
            let submissions = self.uring.submission().len() as u32;
            let wait = u32::from(wait && !more);
            // SAFETY: the entries are sound (see `push`), and there is no argument.
            let entered =
                unsafe { self.uring.submitter().enter::<libc::sigset_t>(submissions, wait, GETEVENTS, None) };
            match entered.map_err(|error| (error.raw_os_error(), error)) {
                Ok(_) if more => {}
                // A signal came; completions must be taken first; memory is short for the moment: what was not
                // submitted stays in the queue, and the next turn tries again.
                Ok(_) | Err((Some(libc::EINTR | libc::EBUSY | libc::EAGAIN | libc::ENOMEM), _)) => {
                    return Ok(());
                }
                Err((_, error)) => return Err(error),
            }
        }
    }

    fn reap(&mut self, tasks: &Tasks) {
        loop {
            // Bound to one borrow for each completion: what it causes may push.
            let Some(done) = self.uring.completion().next() else { return };
            let (op, place) = Op::of(done.user_data());
            let last = !cqueue::more(done.flags());
            self.operations -= usize::from(last);
            match op {
                Op::Receive => self.received(SocketId(place), &done, last, tasks),
                Op::Send => self.sent(SocketId(place), done.result(), tasks),
                Op::Shutdown | Op::Cancel => self.finished(SocketId(place)),
                Op::Close => self.closed(SocketId(place)),
                Op::Accept => self.accepted(AcceptorId(place), done.result(), last, tasks),
                Op::CancelAccept => self.acceptor_finished(AcceptorId(place), tasks),
                Op::Beat => self.beat = true,
                Op::Bell => {
                    self.bell_rang = true;
                    self.listen_for_bell();
                }
                Op::Alarm => (self.alarm.armed, self.alarm.rang) = (false, true),
                // If it failed it came too late: the alarm itself has come.
                Op::AlarmUpdate => {}
            }
        }
    }

    /// Cancels whatever is left and waits for it, for a bounded time. Whether nothing is left.
    fn quiesce(&mut self) -> bool {
        const PATIENCE: Duration = Duration::from_secs(1);
        let deadline = std::time::Instant::now() + PATIENCE;
        while self.operations > 0 && std::time::Instant::now() < deadline {
            if self.enter(false).is_err() {
                return false;
            }
            // Nothing is answered any more; what was accepted and not taken is closed.
            let mut taken = 0;
            while let Some(done) = self.uring.completion().next() {
                taken += 1;
                let (op, _) = Op::of(done.user_data());
                if op == Op::Accept && done.result() >= 0 {
                    // SAFETY: the kernel has just given us this descriptor; nobody else knows it.
                    drop(unsafe {
                        <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(done.result())
                    });
                }
                self.operations -= usize::from(!cqueue::more(done.flags()));
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
            std::mem::forget(std::mem::take(&mut self.bell_bytes));
            std::mem::forget(std::mem::replace(&mut self.alarm.after, Box::new(types::Timespec::new())));
            self.buffers.leak();
        }
    }
}
