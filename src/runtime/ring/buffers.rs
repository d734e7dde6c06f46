//! The provided buffers: memory that the kernel picks from when something arrives, so that an idle connection
//! owns none (`io_uring_register_buf_ring(3)`).
//!
//! A buffer is the kernel's, or it is lent to whoever holds [`Bytes`] in it. The last of those gives it back by
//! noting its number; the kernel gets all that were noted in one go.

use io_uring::types::BufRingEntry;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::kernel::Kernel;
use crate::budget::Budget;
use crate::bytes::{Bytes, Lease, Lender};

/// How long one buffer is: a page, and many a request.
pub(super) const LENGTH: usize = 4096;
/// How many there are; a power of two, as the kernel wants it.
const COUNT: u16 = 1024;
/// How many may be lent at one time. Beyond it what arrives is copied, so that handlers that keep requests
/// cannot leave the other connections without buffers.
const MOST_LENT: usize = COUNT as usize / 4 * 3;
/// How many the kernel is given at first. It takes the one it was given longest ago, so all of them go round, and
/// few enough fit the processor's cache. When they do not suffice it is given twice as many.
const OFFERED_FIRST: u16 = 128;
/// The buffer group's number, the only one there is.
pub(super) const GROUP: u16 = 0;

pub(super) struct Buffers {
    /// Page-aligned, so aligned for any entry.
    entries: Aligned,
    tail: u16,
    /// How many the kernel has, and how many it should have.
    offered: u16,
    wanted: u16,
    all: Vec<Rc<Buffer>>,
    shelf: Rc<Shelf>,
}

/// What all buffers share.
struct Shelf {
    memory: Aligned,
    returned: RefCell<Vec<u16>>,
    lent: Cell<usize>,
}

struct Buffer {
    /// Its part of the shelf's memory.
    memory: NonNull<[u8]>,
    id: u16,
    shelf: Rc<Shelf>,
}

impl Lender for Buffer {
    fn memory(&self) -> &[u8] {
        // SAFETY: the slice lies within the shelf's memory (`new`), which is initialized and lives as long as the
        // shelf. The kernel writes to it only while this buffer is in its ring, and it is put there only when no
        // lease is left (`take`, `give_back`); without a lease nobody reaches this function, which `Bytes` alone
        // calls.
        unsafe { self.memory.as_ref() }
    }

    fn returned(&self) {
        self.shelf.lent.set(self.shelf.lent.get() - 1);
        self.shelf.returned.borrow_mut().push(self.id);
    }
}

impl Buffers {
    /// Registers the buffers with a ring. They must live until that ring has no operation left.
    pub(super) fn new(kernel: &Kernel) -> io::Result<Self> {
        let entries = Aligned::zeroed(COUNT as usize * size_of::<BufRingEntry>());
        let shelf = Rc::new(Shelf {
            memory: Aligned::zeroed(COUNT as usize * LENGTH),
            returned: RefCell::new((0..COUNT).collect()),
            lent: Cell::new(0),
        });
        // SAFETY: the memory is page-aligned, long enough for COUNT entries, and outlives the ring's operations
        // (`Ring::drop` waits for them, or leaks both).
        unsafe { kernel.register_buffers(entries.start.as_ptr(), COUNT, GROUP)? };
        let buffer = |id: u16| {
            // SAFETY: the memory holds COUNT buffers of this length.
            let start = unsafe { shelf.memory.start.add(usize::from(id) * LENGTH) };
            let memory = NonNull::slice_from_raw_parts(start, LENGTH);
            Rc::new(Buffer { memory, id, shelf: Rc::clone(&shelf) })
        };
        let all = (0..COUNT).map(buffer).collect();
        let mut buffers = Self { entries, tail: 0, offered: 0, wanted: OFFERED_FIRST, all, shelf };
        buffers.give_back();
        Ok(buffers)
    }

    /// Hands the kernel buffers that have been returned, the last of them first, up to as many as it should have.
    pub(super) fn give_back(&mut self) {
        let mut returned = self.shelf.returned.borrow_mut();
        if returned.is_empty() || self.offered == self.wanted {
            return;
        }
        #[expect(clippy::cast_ptr_alignment, reason = "`Aligned` is aligned to a page")]
        let ring = self.entries.start.as_ptr().cast::<BufRingEntry>();
        while self.offered < self.wanted
            && let Some(id) = returned.pop()
        {
            self.offered += 1;
            let at = (self.tail % COUNT) as usize;
            // SAFETY: `at` is within the COUNT entries. The kernel reads an entry only below the tail that is
            // published after this loop, and there are COUNT buffers for as many entries: none is overwritten
            // before it was consumed.
            let entry = unsafe { &mut *ring.add(at) };
            entry.set_addr(self.shelf.memory.start.as_ptr() as u64 + u64::from(id) * LENGTH as u64);
            entry.set_len(LENGTH as u32);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
        }
        // SAFETY: `ring` is the address of the first entry, whose reserved field is the tail
        // (`io_uring_register_buf_ring(3)`); it is aligned for a u16, and only this thread and the kernel use it.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(ring).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// Whether so many are lent that no connection should get more before it has read what it has.
    pub(super) fn are_scarce(&self) -> bool {
        self.shelf.lent.get() > usize::from(COUNT) / 4
    }

    /// Doubles how many the kernel is given: it found none when something arrived.
    pub(super) fn want_more(&mut self) {
        self.wanted = (self.wanted * 2).min(COUNT);
    }

    /// How many are lent.
    #[cfg(test)]
    pub(super) fn lent(&self) -> usize {
        self.shelf.lent.get()
    }

    /// Keeps the memory for ever, because the kernel may still write to it.
    pub(super) fn leak(&mut self) {
        std::mem::forget(Rc::clone(&self.shelf));
        std::mem::forget(std::mem::replace(&mut self.entries, Aligned::zeroed(1)));
    }

    /// Takes over a buffer that the kernel has filled with `len` bytes: a view of it, or a copy if too many
    /// are lent. A copy counts for the budget.
    pub(super) fn take(&mut self, id: u16, len: usize, budget: &Budget) -> Bytes {
        self.offered -= 1;
        let buffer = &self.all[id as usize];
        self.shelf.lent.set(self.shelf.lent.get() + 1);
        let view = Bytes::lent(Lease::new(Rc::clone(buffer) as Rc<dyn Lender>), len);
        if self.shelf.lent.get() > MOST_LENT {
            let share = budget.take(view.len());
            Bytes::counted(view.to_vec(), share)
        } else {
            view
        }
    }
}

/// Page-aligned, zeroed memory.
struct Aligned {
    start: NonNull<u8>,
    layout: Layout,
}

impl Aligned {
    fn zeroed(length: usize) -> Self {
        let layout = Layout::from_size_align(length, 4096).expect("a length known when this was written");
        // SAFETY: the length is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        Self { start: NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout)), layout }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and dropped once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_most_buffers_are_lent_what_arrives_is_copied() {
        let ring = Kernel::new().expect("io_uring");
        let mut buffers = Buffers::new(&ring).expect("a buffer ring");
        for offered in [128, 256, 512, 1024, 1024] {
            assert_eq!(buffers.offered, offered);
            buffers.want_more();
            buffers.give_back();
        }
        let budget = Budget::unlimited();
        let mut held: Vec<_> = (0..COUNT).map(|id| buffers.take(id, 10, &budget)).collect();
        assert_eq!(buffers.shelf.lent.get(), MOST_LENT);
        assert_eq!(
            buffers.shelf.returned.borrow().len(),
            COUNT as usize - MOST_LENT,
            "copied, so free again"
        );
        buffers.give_back();
        assert_eq!(buffers.offered as usize, COUNT as usize - MOST_LENT);
        held.truncate(1);
        assert_eq!(buffers.shelf.lent.get(), 1);
        assert_eq!(buffers.shelf.returned.borrow().len(), MOST_LENT - 1);
    }

    #[test]
    fn a_view_outlives_the_buffers_it_came_from() {
        let ring = Kernel::new().expect("io_uring");
        let mut buffers = Buffers::new(&ring).expect("a buffer ring");
        let view = buffers.take(3, 5, &Budget::unlimited());
        drop(buffers);
        drop(ring);
        assert_eq!(&view[..], [0; 5]);
    }
}
