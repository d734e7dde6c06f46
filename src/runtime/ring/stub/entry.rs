//! Entries and memory as the kernel sees them (`io_uring(7)`, `<linux/io_uring.h>`).

use io_uring::{cqueue, squeue};
use std::mem::transmute;
use std::time::Duration;
use std::{ptr, slice};

/// A submission queue entry, field by field.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Submission {
    pub(super) opcode: u8,
    pub(super) flags: u8,
    pub(super) ioprio: u16,
    pub(super) fd: i32,
    /// `off` or `addr2`.
    pub(super) offset: u64,
    pub(super) address: u64,
    pub(super) length: u32,
    /// The flags of the operation: `msg_flags`, `cancel_flags`, `timeout_flags`, ...
    pub(super) op_flags: u32,
    pub(super) user_data: u64,
    pub(super) buffer_group: u16,
    personality: u16,
    file_index: u32,
    address_3: u64,
    padding: u64,
}

/// `IOSQE_BUFFER_SELECT` and `IOSQE_CQE_SKIP_SUCCESS`.
pub(super) const BUFFER_SELECT: u8 = 1 << 5;
pub(super) const SKIP_SUCCESS: u8 = 1 << 6;
/// `IORING_ACCEPT_MULTISHOT` and `IORING_RECV_MULTISHOT`, in `ioprio`.
pub(super) const ACCEPT_MULTISHOT: u16 = 1;
pub(super) const RECEIVE_MULTISHOT: u16 = 1 << 1;
/// `IORING_ASYNC_CANCEL_FD` and `IORING_ASYNC_CANCEL_ANY`.
pub(super) const CANCEL_FD: u32 = 1 << 1;
pub(super) const CANCEL_ANY: u32 = 1 << 2;
/// `IORING_TIMEOUT_UPDATE`.
pub(super) const TIMEOUT_UPDATE: u32 = 1 << 1;
/// `IORING_CQE_F_BUFFER` and `IORING_CQE_F_MORE`; the buffer's number stands above.
const WITH_BUFFER: u32 = 1;
const WITH_MORE: u32 = 1 << 1;
const BUFFER_SHIFT: u32 = 16;

impl Submission {
    pub(super) fn of(entry: &squeue::Entry) -> Self {
        const { assert!(size_of::<Submission>() == size_of::<squeue::Entry>()) };
        // SAFETY: an entry is 64 bytes of integers in this order, which is the kernel's own and `repr(C)`; the line above
        // holds the size to it, and any bytes are valid integers.
        unsafe { ptr::from_ref(entry).cast::<Self>().read() }
    }
}

/// A completion queue entry, field by field.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Completion {
    pub(super) user_data: u64,
    pub(super) result: i32,
    flags: u32,
}

impl Completion {
    /// The last of an operation.
    pub(super) fn last(user_data: u64, result: i32) -> Self {
        Self { user_data, result, flags: 0 }
    }

    /// Another follows.
    #[must_use]
    pub(super) fn more(self) -> Self {
        Self { flags: self.flags | WITH_MORE, ..self }
    }

    #[must_use]
    pub(super) fn with_buffer(self, id: u16) -> Self {
        Self { flags: self.flags | WITH_BUFFER | u32::from(id) << BUFFER_SHIFT, ..self }
    }

    pub(super) fn entry(self) -> cqueue::Entry {
        // SAFETY: an entry is 16 bytes of integers in this order, which is the kernel's own and `repr(C)`; `transmute`
        // holds the size to it.
        unsafe { transmute::<Self, cqueue::Entry>(self) }
    }
}

/// A copy of the memory of an operation that is under way.
pub(super) fn read(address: u64, length: usize) -> Vec<u8> {
    let mut copy = vec![0; length];
    // SAFETY: `Kernel::push` and `Kernel::register_buffers` promise that the memory stays valid until the operation's last
    // completion, and the stub reads only before. Breaking that promise is what the simulation looks for.
    unsafe { ptr::copy_nonoverlapping(address as *const u8, copy.as_mut_ptr(), length) };
    copy
}

/// Whether the memory of an operation that is under way holds these bytes.
pub(super) fn holds(address: u64, bytes: &[u8]) -> bool {
    // SAFETY: as in `read`; nobody writes meanwhile, since this thread is the only one that has the memory.
    let found = unsafe { slice::from_raw_parts(address as *const u8, bytes.len()) };
    found == bytes
}

/// Writes to the memory of an operation that is under way.
pub(super) fn write(address: u64, bytes: &[u8]) {
    // SAFETY: as in `read`; nobody else has the memory meanwhile.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
}

/// The time in a `__kernel_timespec`.
pub(super) fn timespec(address: u64) -> Duration {
    let bytes = read(address, 16);
    let half = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    Duration::new(half(0), half(8) as u32)
}
