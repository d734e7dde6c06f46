//! The ring's border with the kernel: entries go in, completions come out. Everything above it is plain Rust over memory.

use io_uring::{IoUring, cqueue, squeue};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Submission entries: as many as a busy turn pushes. More wait in the ring's backlog.
const SUBMISSIONS: u32 = 1024;
/// Completion entries: several for each submission, since one multishot operation completes often.
const COMPLETIONS: u32 = 8192;

/// How much of what was pushed an enter has submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    All,
    InPart,
    /// Nothing, or what cannot be told: it should be tried again later.
    Later,
}

/// An instance of `io_uring(7)`.
pub(super) struct Kernel(IoUring);

impl Kernel {
    /// For the calling thread, which must be the only one ever to use it.
    pub(super) fn new() -> io::Result<Self> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        Ok(Self(uring))
    }

    /// Puts an entry where the next [`enter`](Self::enter) submits it. False if there is no room.
    ///
    /// # Safety
    /// The entry's descriptor is open, and its memory stays valid until the last completion of the operation.
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.submission().push(entry) }.is_ok()
    }

    /// Puts entries where the next enter submits them, one behind the other. False, and none put, if there is no room for
    /// all.
    ///
    /// # Safety
    /// As for [`push`](Self::push).
    pub(super) unsafe fn push_chain(&mut self, entries: &[squeue::Entry]) -> bool {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.submission().push_multiple(entries) }.is_ok()
    }

    /// How many entries there is room for.
    #[cfg(test)]
    pub(super) fn room(&mut self) -> usize {
        let queue = self.0.submission();
        queue.capacity() - queue.len()
    }

    /// Submits everything, runs what was deferred, and with `wait` returns only when something has completed.
    pub(super) fn enter(&mut self, wait: bool) -> io::Result<Entered> {
        // DEFER_TASKRUN completes nothing unless the enter asks for events, also when it waits for none.
        const GETEVENTS: u32 = 1;
        let submissions = self.0.submission().len() as u32;
        // SAFETY: the entries are sound (see `push`), and there is no argument.
        let entered = unsafe {
            self.0.submitter().enter::<libc::sigset_t>(submissions, u32::from(wait), GETEVENTS, None)
        };
        match entered.map_err(|error| (error.raw_os_error(), error)) {
            Ok(taken) if taken < submissions as usize => Ok(Entered::InPart),
            Ok(_) => Ok(Entered::All),
            // A signal came; completions must be taken first; memory is short for the moment. What was not submitted
            // stays in the queue.
            Err((Some(libc::EINTR | libc::EBUSY | libc::EAGAIN | libc::ENOMEM), _)) => Ok(Entered::Later),
            Err((_, error)) => Err(error),
        }
    }

    /// The next completion, if one has come.
    pub(super) fn next_completion(&mut self) -> Option<cqueue::Entry> {
        self.0.completion().next()
    }

    /// Whether the kernel has taken every entry that was pushed.
    pub(super) fn has_taken_all(&mut self) -> bool {
        self.0.submission().is_empty()
    }

    /// Whether completions wait in the kernel because the queue was full.
    pub(super) fn has_overflown(&mut self) -> bool {
        self.0.submission().cq_overflow()
    }

    /// Registers the ring of provided buffers (`io_uring_register_buf_ring(3)`).
    ///
    /// # Safety
    /// The memory is page-aligned, has room for `count` entries, and outlives every operation.
    pub(super) unsafe fn register_buffers(&self, entries: *mut u8, count: u16, group: u16) -> io::Result<()> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.submitter().register_buf_ring_with_flags(entries as u64, count, group, 0) }
    }

    /// Has an eventfd signalled at each completion, while [signals are on](Self::set_signals); they are off.
    pub(super) fn register_eventfd(&mut self, eventfd: &OwnedFd) -> io::Result<()> {
        self.0.submitter().register_eventfd(eventfd.as_raw_fd())?;
        self.set_signals(false);
        Ok(())
    }

    /// Switches the signals of the eventfd on or off (`io_uring_cq_eventfd_toggle(3)`).
    pub(super) fn set_signals(&mut self, on: bool) {
        let completions = self.0.completion();
        if on { completions.enable_eventfd() } else { completions.disable_eventfd() }
    }
}
