//! The ring of provided buffers: the kernel picks one when bytes arrive, so that an idle connection owns none.

use std::alloc::{self, Layout};
use std::io;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use io_uring::{Submitter, cqueue};

/// The buffer group that receives name.
pub(crate) const GROUP: u16 = 0;
/// A power of two, as the ring must be. Buffers are used in turn, so all of them together should fit in the cache.
const COUNT: u16 = 256;
const LENGTH: u16 = 4096;
const PAGE: usize = 4096;

/// Allocated once and never freed: the kernel may write to the buffers until the process ends.
pub(crate) struct ProvidedBuffers {
    /// `COUNT` entries, shared with the kernel, which reads those between its head and the published tail.
    entries: *mut BufRingEntry,
    /// `COUNT` buffers of `LENGTH` bytes.
    memory: *mut u8,
    tail: u16,
}

impl ProvidedBuffers {
    pub(crate) fn register(submitter: &Submitter<'_>) -> io::Result<Self> {
        let entries: *mut BufRingEntry = allocate(size_of::<BufRingEntry>() * usize::from(COUNT)).cast();
        let memory = allocate(usize::from(LENGTH) * usize::from(COUNT));
        let address = entries.expose_provenance() as u64;
        // SAFETY: `entries` is page-aligned, holds COUNT zeroed entries and is never freed.
        unsafe { submitter.register_buf_ring_with_flags(address, COUNT, GROUP, 0) }?;
        let mut buffers = Self { entries, memory, tail: 0 };
        (0..COUNT).for_each(|id| buffers.give_back(id));
        buffers.publish();
        Ok(buffers)
    }

    /// The bytes that a receive left, and the buffer to [`give_back`](Self::give_back) after reading them.
    #[inline]
    pub(crate) fn received(&self, completion: &cqueue::Entry) -> Option<(u16, &[u8])> {
        let length = usize::try_from(completion.result()).ok()?.min(usize::from(LENGTH));
        let id = cqueue::buffer_select(completion.flags()).filter(|&id| id < COUNT)?;
        // SAFETY: within `memory`, initialized since its allocation. The kernel, which named this buffer in the
        // completion, writes to it no more until it is given back, and that takes `&mut self`.
        Some((id, unsafe { slice::from_raw_parts(self.buffer(id), length) }))
    }

    #[inline]
    fn buffer(&self, id: u16) -> *mut u8 {
        debug_assert!(id < COUNT);
        // SAFETY: within the allocation, because `id` is less than COUNT wherever one comes from.
        unsafe { self.memory.add(usize::from(id) * usize::from(LENGTH)) }
    }

    /// Queues a buffer for the kernel; [`publish`](Self::publish) hands over all that are queued.
    #[inline]
    pub(crate) fn give_back(&mut self, id: u16) {
        let address = self.buffer(id).expose_provenance() as u64;
        // SAFETY: within `entries`. There are as many entries as buffers, so that this one is not in use.
        let entry = unsafe { &mut *self.entries.add(usize::from(self.tail % COUNT)) };
        entry.set_addr(address);
        entry.set_len(u32::from(LENGTH));
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    #[inline]
    pub(crate) fn publish(&self) {
        // SAFETY: the tail lies in the first entry's unused bytes, aligned to two; only this thread writes it.
        let tail = unsafe { &*BufRingEntry::tail(self.entries).cast::<AtomicU16>() };
        // Release: the kernel must see the entries before the tail that covers them.
        tail.store(self.tail, Ordering::Release);
    }
}

fn allocate(size: usize) -> *mut u8 {
    let layout = Layout::from_size_align(size, PAGE).expect("small, and aligned to a power of two");
    // SAFETY: the size is not zero. Zeroed, so that it may be read as bytes from the start.
    let memory = unsafe { alloc::alloc_zeroed(layout) };
    if memory.is_null() {
        alloc::handle_alloc_error(layout);
    }
    memory
}
