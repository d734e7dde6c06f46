//! The ring and what is submitted to it.

use std::io;
use std::os::fd::RawFd;

use io_uring::{IoUring, SubmissionQueue, Submitter, opcode, squeue, types};

use crate::buffers;

/// Both queues are walked from end to end, whatever the load: small ones stay in the cache. The submission queue is
/// flushed when it is full; the completion queue must hold a burst from all connections, or the kernel puts the rest
/// on a list.
const SUBMISSIONS: u32 = 256;
const COMPLETIONS: u32 = 4096;

/// The kernel's limit for one table of direct descriptors is far higher; this is more than the benchmark opens.
const MAX_DESCRIPTORS: u64 = 32 * 1024;

pub(crate) fn set_up() -> io::Result<IoUring> {
    let ring = IoUring::builder()
        .setup_single_issuer()
        // Completions are made when this thread asks for them, and not by interrupting it.
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_cqsize(COMPLETIONS)
        .build(SUBMISSIONS)?;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit to write to. Without one there is no room for descriptors: zero, an error below.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let descriptors = limit.rlim_cur.min(MAX_DESCRIPTORS);
    ring.submitter().register_files_sparse(u32::try_from(descriptors).expect("bounded above"))?;
    Ok(ring)
}

/// What a completion is of; it travels in the user data's upper half, the connection's slot in the lower.
pub(crate) mod operation {
    pub(crate) const ACCEPT: u64 = 1 << 32;
    pub(crate) const RECV: u64 = 2 << 32;
    pub(crate) const SEND: u64 = 3 << 32;
    /// Cancel and close: silent when they succeed, and nothing follows from their failure.
    pub(crate) const END: u64 = 4 << 32;
}

/// The submission side of the ring. Connections are direct descriptors, slots in the ring's own table: no operation has
/// to take and drop a reference to a file, which was worth 1-2 % of a request against ordinary descriptors.
pub(crate) struct Submissions<'ring> {
    pub(crate) queue: SubmissionQueue<'ring>,
    pub(crate) submitter: Submitter<'ring>,
}

impl Submissions<'_> {
    /// Submits everything and waits until there is a completion, in one system call.
    pub(crate) fn submit_and_wait(&mut self) -> io::Result<()> {
        loop {
            self.queue.sync();
            match self.submitter.submit_and_wait(1) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => self.queue.sync(),
            }
            // The server relies on it: when this returns, everything that was pushed has been tried.
            if self.queue.is_empty() {
                return Ok(());
            }
        }
    }

    pub(crate) fn accept(&mut self, listener: RawFd) {
        let accept = opcode::AcceptMulti::new(types::Fd(listener)).allocate_file_index(true).build();
        // SAFETY: it refers to no memory.
        unsafe { self.push(&accept.user_data(operation::ACCEPT)) }
    }

    pub(crate) fn receive(&mut self, slot: u32) {
        let receive = opcode::RecvMulti::new(types::Fixed(slot), buffers::GROUP).build();
        // SAFETY: its memory is the provided buffers, which live as long as the process.
        unsafe { self.push(&receive.user_data(operation::RECV | u64::from(slot))) }
    }

    /// Sends what the socket takes at once. When that was everything, no completion follows; else one says how much it
    /// was (`MSG_WAITALL` makes a short send a failure, `MSG_DONTWAIT` keeps it from waiting). This spares a
    /// completion per send, and the turn that would wake for nothing else: with one connection one system call per
    /// request instead of two, with eight busy ones 0.5 instead of 0.8.
    ///
    /// # Safety
    /// `bytes` must neither move nor change until the next [`submit_and_wait`](Self::submit_and_wait) returns.
    #[inline]
    pub(crate) unsafe fn try_send(&mut self, slot: u32, bytes: &[u8]) {
        let send = send(slot, bytes, libc::MSG_DONTWAIT).flags(squeue::Flags::SKIP_SUCCESS);
        // SAFETY: the caller's promise; the send is over when the call that submits it returns.
        unsafe { self.push(&send) }
    }

    /// Sends everything, however long that takes; a completion always follows.
    ///
    /// # Safety
    /// `bytes` must neither move nor change until that completion.
    pub(crate) unsafe fn send(&mut self, slot: u32, bytes: &[u8]) {
        // SAFETY: the caller's promise.
        unsafe { self.push(&send(slot, bytes, 0)) }
    }

    /// Ends an operation early: it completes all the same, as a rule with `ECANCELED`.
    pub(crate) fn cancel(&mut self, operation: u64, slot: u32) {
        let cancel = opcode::AsyncCancel::new(operation | u64::from(slot)).build();
        // SAFETY: it refers to no memory.
        unsafe { self.push(&cancel.flags(squeue::Flags::SKIP_SUCCESS).user_data(operation::END)) }
    }

    /// Gives the slot back, which may be used again at once: no operation on it may be under way.
    pub(crate) fn close(&mut self, slot: u32) {
        let close = opcode::Close::new(types::Fixed(slot)).build();
        // SAFETY: it refers to no memory.
        unsafe { self.push(&close.flags(squeue::Flags::SKIP_SUCCESS).user_data(operation::END)) }
    }

    /// # Safety
    /// The memory that `entry` refers to must be valid until its operation has completed.
    #[inline]
    unsafe fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: the caller's promise.
        while unsafe { self.queue.push(entry) }.is_err() {
            self.queue.sync();
            self.submitter.submit().expect("the ring takes a full queue");
            self.queue.sync();
        }
    }
}

fn send(slot: u32, bytes: &[u8], flags: i32) -> squeue::Entry {
    let length = u32::try_from(bytes.len()).expect("answers are bounded");
    opcode::Send::new(types::Fixed(slot), bytes.as_ptr(), length)
        .flags(flags | libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
        .build()
        .user_data(operation::SEND | u64::from(slot))
}
