//! The ring's border with the kernel: entries go in, completions come out. Everything above it is plain Rust over memory.

use io_uring::{IoUring, cqueue, squeue};
use rustix::net::{SocketFlags, accept_with};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::acknowledged;

#[cfg(test)]
use super::stub::Stub;

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

/// An instance of `io_uring(7)`; in tests also a [stub](super::stub) of one.
#[cfg_attr(test, expect(clippy::large_enum_variant, reason = "there is one for each core"))]
pub(super) enum Kernel {
    Real(IoUring),
    #[cfg(test)]
    Stub(Stub),
}

impl Kernel {
    /// For the calling thread, which must be the only one ever to use it.
    pub(super) fn new() -> io::Result<Self> {
        #[cfg(test)]
        if let Some(stub) = Stub::installed() {
            return Ok(Self::Stub(stub));
        }
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        Ok(Self::Real(uring))
    }

    /// Puts an entry where the next [`enter`](Self::enter) submits it. False if there is no room.
    ///
    /// # Safety
    /// The entry's descriptor is open, and its memory stays valid until the last completion of the operation.
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) -> bool {
        match self {
            // SAFETY: the caller's promise is passed on.
            Self::Real(uring) => unsafe { uring.submission().push(entry) }.is_ok(),
            #[cfg(test)]
            Self::Stub(stub) => stub.push(entry),
        }
    }

    /// Puts entries where the next enter submits them, one behind the other. False, and none put, if there is no room for
    /// all.
    ///
    /// # Safety
    /// As for [`push`](Self::push).
    pub(super) unsafe fn push_chain(&mut self, entries: &[squeue::Entry]) -> bool {
        match self {
            // SAFETY: the caller's promise is passed on.
            Self::Real(uring) => unsafe { uring.submission().push_multiple(entries) }.is_ok(),
            // No chain is simulated.
            #[cfg(test)]
            Self::Stub(_) => false,
        }
    }

    /// How many entries there is room for.
    #[cfg(test)]
    pub(super) fn room(&mut self) -> usize {
        match self {
            Self::Real(uring) => {
                let queue = uring.submission();
                queue.capacity() - queue.len()
            }
            Self::Stub(_) => 0,
        }
    }

    /// Submits everything, runs what was deferred, and with `wait` returns only when something has completed.
    pub(super) fn enter(&mut self, wait: bool) -> io::Result<Entered> {
        // DEFER_TASKRUN completes nothing unless the enter asks for events, also when it waits for none.
        const GETEVENTS: u32 = 1;
        let submissions = match self {
            Self::Real(uring) => uring.submission().len() as u32,
            #[cfg(test)]
            Self::Stub(stub) => stub.pushed(),
        };
        let entered = match self {
            Self::Real(uring) => {
                let wanted = u32::from(wait);
                // SAFETY: the entries are sound (see `push`), and there is no argument.
                unsafe { uring.submitter().enter::<libc::sigset_t>(submissions, wanted, GETEVENTS, None) }
            }
            #[cfg(test)]
            Self::Stub(stub) => stub.enter(wait),
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
        match self {
            Self::Real(uring) => uring.completion().next(),
            #[cfg(test)]
            Self::Stub(stub) => stub.next_completion(),
        }
    }

    /// Whether the kernel has taken every entry that was pushed.
    pub(super) fn has_taken_all(&mut self) -> bool {
        match self {
            Self::Real(uring) => uring.submission().is_empty(),
            #[cfg(test)]
            Self::Stub(stub) => stub.has_taken_all(),
        }
    }

    /// Whether completions wait in the kernel because the queue was full.
    pub(super) fn has_overflown(&mut self) -> bool {
        match self {
            Self::Real(uring) => uring.submission().cq_overflow(),
            #[cfg(test)]
            Self::Stub(stub) => stub.has_overflown(),
        }
    }

    /// Registers the ring of provided buffers (`io_uring_register_buf_ring(3)`).
    ///
    /// # Safety
    /// The memory is page-aligned, has room for `count` entries, and outlives every operation.
    pub(super) unsafe fn register_buffers(&self, entries: *mut u8, count: u16, group: u16) -> io::Result<()> {
        match self {
            Self::Real(uring) => {
                // SAFETY: the caller's promise is passed on.
                unsafe { uring.submitter().register_buf_ring_with_flags(entries as u64, count, group, 0) }
            }
            #[cfg(test)]
            Self::Stub(stub) => {
                stub.register_buffers(entries as u64, count);
                Ok(())
            }
        }
    }

    /// Has an eventfd signalled at each completion, while [signals are on](Self::set_signals); they are off.
    pub(super) fn register_eventfd(&mut self, eventfd: &OwnedFd) -> io::Result<()> {
        match self {
            Self::Real(uring) => uring.submitter().register_eventfd(eventfd.as_raw_fd())?,
            // Nothing that is simulated sleeps in glommio.
            #[cfg(test)]
            Self::Stub(_) => return Err(io::ErrorKind::Unsupported.into()),
        }
        self.set_signals(false);
        Ok(())
    }

    /// Switches the signals of the eventfd on or off (`io_uring_cq_eventfd_toggle(3)`).
    pub(super) fn set_signals(&mut self, on: bool) {
        match self {
            Self::Real(uring) => {
                let completions = uring.completion();
                if on { completions.enable_eventfd() } else { completions.disable_eventfd() }
            }
            #[cfg(test)]
            Self::Stub(_) => {}
        }
    }

    /// How many bytes have arrived at a socket that were not received (`FIONREAD` in `tcp(7)`).
    pub(super) fn unread(&self, socket: BorrowedFd<'_>) -> u64 {
        match self {
            Self::Real(_) => rustix::io::ioctl_fionread(socket).unwrap_or(0),
            #[cfg(test)]
            Self::Stub(stub) => stub.unread(socket),
        }
    }

    /// How many bytes a socket holds that its peer has not [acknowledged](acknowledged::unacknowledged).
    pub(super) fn unacknowledged(&self, socket: BorrowedFd<'_>) -> usize {
        match self {
            Self::Real(_) => acknowledged::unacknowledged(socket),
            #[cfg(test)]
            Self::Stub(stub) => stub.unacknowledged(socket),
        }
    }

    /// A number that changes when the peer of a socket [acknowledges](acknowledged::acknowledged) bytes, if there is one.
    pub(super) fn acknowledged(&self, socket: BorrowedFd<'_>) -> Option<u64> {
        match self {
            Self::Real(_) => acknowledged::acknowledged(socket),
            #[cfg(test)]
            Self::Stub(stub) => stub.acknowledged(socket),
        }
    }

    /// The next connection in the queue of a listening socket that is not to be waited for.
    pub(super) fn accept_now(&self, listener: &OwnedFd) -> io::Result<OwnedFd> {
        match self {
            Self::Real(_) => Ok(accept_with(listener, SocketFlags::CLOEXEC)?),
            #[cfg(test)]
            Self::Stub(stub) => stub.accept_now(),
        }
    }
}
