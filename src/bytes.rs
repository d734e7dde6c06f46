//! Core-local bytes: cheap to clone and to slice, counted without atomics.
//!
//! A [`Bytes`] is a view of memory that is static, owned, or *lent*: the ring lends its buffers to the requests that
//! arrived in them, and a buffer goes back to the kernel when its last view is dropped.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Bound, Deref, Range, RangeBounds};
use std::rc::Rc;

use crate::budget::{Budget, NoRoom, Share};

/// Immutable bytes that stay on their core. Cloning and slicing never copy.
///
/// ```
/// use kiang::Bytes;
/// let bytes = Bytes::from("GET /plaintext");
/// assert_eq!(&bytes.slice(4..)[..], b"/plaintext");
/// ```
#[derive(Clone)]
pub struct Bytes(Storage);

#[derive(Clone)]
enum Storage {
    Static(&'static [u8]),
    Owned { memory: Rc<Memory>, start: usize, len: usize },
    Lent { memory: Lease, start: u32, len: u32 },
}

/// Memory of its own, and its part of a budget, which goes back with the last view.
struct Memory {
    bytes: Vec<u8>,
    share: Option<Share>,
}

impl Bytes {
    /// No bytes.
    pub const fn new() -> Self {
        Self(Storage::Static(b""))
    }

    /// Bytes that live as long as the program.
    pub const fn from_static(bytes: &'static [u8]) -> Self {
        Self(Storage::Static(bytes))
    }

    /// How many bytes there are; unlike the slice's own `len` without a look at the memory.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Storage::Static(bytes) => bytes.len(),
            Storage::Owned { len, .. } => *len,
            Storage::Lent { len, .. } => *len as usize,
        }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A view of part of these bytes.
    ///
    /// # Panics
    /// If the range does not lie within the bytes.
    #[inline]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let Range { start, end } = resolve(&range, self.len());
        let mut view = self.clone();
        view.0.narrow(start, end - start);
        view
    }

    /// A view of the first `n` bytes.
    ///
    /// # Panics
    /// If there are fewer.
    #[inline]
    pub(crate) fn prefix(&self, n: usize) -> Self {
        assert!(n <= self.len(), "the first {n} of {} bytes", self.len());
        let mut view = self.clone();
        match &mut view.0 {
            Storage::Static(bytes) => *bytes = &bytes[..n],
            Storage::Owned { len, .. } => *len = n,
            Storage::Lent { len, .. } => *len = n as u32,
        }
        view
    }

    /// Splits off and returns the first `n` bytes; keeps the rest.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn split_to(&mut self, n: usize) -> Self {
        let first = self.prefix(n);
        self.advance(n);
        first
    }

    /// Drops the first `n` bytes from the view.
    ///
    /// # Panics
    /// If there are fewer.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        let len = self.len();
        assert!(n <= len, "advanced by {n} in {len} bytes");
        if n == len {
            // The view lets go of its memory, so that a lent buffer goes back at once.
            *self = Self::new();
        } else {
            self.0.narrow(n, len - n);
        }
    }

    /// Bytes that count for a budget for as long as there is a view of them.
    pub(crate) fn counted(bytes: Vec<u8>, share: Share) -> Self {
        let len = bytes.len();
        let memory = Rc::new(Memory { bytes, share: Some(share) });
        Self(Storage::Owned { memory, start: 0, len })
    }

    /// Counts the memory for a budget, if this is the only view of it, and it is not counted yet: what others hold too
    /// does not end with this view.
    pub(crate) fn try_count(&mut self, budget: &Budget) -> Result<(), NoRoom> {
        if let Some(memory) = self.uncounted() {
            memory.share = Some(budget.try_take(memory.bytes.capacity())?);
        }
        Ok(())
    }

    /// The same, room or not.
    pub(crate) fn count(&mut self, budget: &Budget) {
        if let Some(memory) = self.uncounted() {
            memory.share = Some(budget.take(memory.bytes.capacity()));
        }
    }

    fn uncounted(&mut self) -> Option<&mut Memory> {
        let Storage::Owned { memory, .. } = &mut self.0 else { return None };
        Rc::get_mut(memory).filter(|memory| memory.share.is_none())
    }

    /// Bytes in a buffer that its lender wants back when the last view is gone.
    pub(crate) fn lent(memory: Lease, len: usize) -> Self {
        debug_assert!(len <= memory.0.memory().len());
        Self(Storage::Lent { memory, start: 0, len: len as u32 })
    }
}

/// The range's bounds as offsets into `len` bytes (`std::slice::range` is not stable yet).
#[inline]
fn resolve(range: &impl RangeBounds<usize>, len: usize) -> Range<usize> {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&before) => before + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => last + 1,
        Bound::Excluded(&end) => end,
        Bound::Unbounded => len,
    };
    assert!(start <= end && end <= len, "range {start}..{end} is out of range for {len} bytes");
    start..end
}

impl Storage {
    /// Narrows a view to `len` bytes from `skip` on; the caller has checked that they are there.
    #[inline]
    fn narrow(&mut self, skip: usize, n: usize) {
        match self {
            Storage::Static(bytes) => *bytes = &bytes[skip..skip + n],
            Storage::Owned { start, len, .. } => (*start, *len) = (*start + skip, n),
            Storage::Lent { start, len, .. } => (*start, *len) = (*start + skip as u32, n as u32),
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Storage::Static(bytes) => bytes,
            Storage::Owned { memory, start, len } => &memory.bytes[*start..*start + *len],
            Storage::Lent { memory, start, len } => {
                &memory.0.memory()[*start as usize..*start as usize + *len as usize]
            }
        }
    }
}

/// The owner of memory that is lent: it keeps the memory for ever, and wants to know when no lease is left.
///
/// Two promises `Bytes` makes of every implementation, and the ring relies on: the memory does not move while
/// a lease is held, and its contents do not change.
pub(crate) trait Lender {
    /// All of the memory.
    fn memory(&self) -> &[u8];
    /// Called when the last lease has gone.
    fn returned(&self);
}

/// A share in lent memory. The lender keeps one `Rc` itself; so two left means that this is the last lease.
pub(crate) struct Lease(Rc<dyn Lender>);

impl Lease {
    pub(crate) fn new(lender: Rc<dyn Lender>) -> Self {
        Self(lender)
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if Rc::strong_count(&self.0) == 2 {
            self.0.returned();
        }
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Self::new()
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        Self(Storage::Owned { memory: Rc::new(Memory { bytes, share: None }), start: 0, len })
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        Self::from(text.into_bytes())
    }
}

impl From<&'static str> for Bytes {
    fn from(text: &'static str) -> Self {
        Self::from_static(text.as_bytes())
    }
}

impl From<&'static [u8]> for Bytes {
    fn from(bytes: &'static [u8]) -> Self {
        Self::from_static(bytes)
    }
}

impl From<Cow<'static, str>> for Bytes {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Self::from(text),
            Cow::Owned(text) => Self::from(text),
        }
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Bytes {}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Shelf {
        memory: [u8; 4],
        returned: Cell<u32>,
    }

    impl Lender for Shelf {
        fn memory(&self) -> &[u8] {
            &self.memory
        }
        fn returned(&self) {
            self.returned.set(self.returned.get() + 1);
        }
    }

    #[test]
    fn lent_memory_is_returned_once_with_the_last_view() {
        let shelf = Rc::new(Shelf { memory: *b"abcd", returned: Cell::new(0) });
        for round in 1..=3 {
            let whole = Bytes::lent(Lease::new(shelf.clone()), 3);
            let mut view = whole.slice(1..);
            assert_eq!((&whole[..], &view[..]), (&b"abc"[..], &b"bc"[..]));
            drop(whole);
            assert_eq!(shelf.returned.get(), round - 1);
            view.advance(2);
            assert_eq!(shelf.returned.get(), round, "an empty view holds nothing");
        }
    }

    #[test]
    fn slices_and_splits_agree_for_every_storage() {
        let shelf = Rc::new(Shelf { memory: *b"abcd", returned: Cell::new(0) });
        let kinds =
            [Bytes::from("abcd"), Bytes::from(b"abcd".to_vec()), Bytes::lent(Lease::new(shelf.clone()), 4)];
        for bytes in kinds {
            for at in 0..=4 {
                let mut rest = bytes.clone();
                let first = rest.split_to(at);
                assert_eq!((&first[..], &rest[..]), (&b"abcd"[..at], &b"abcd"[at..]));
                assert_eq!(bytes.slice(at..), rest);
            }
        }
    }

    #[test]
    fn memory_is_counted_until_its_last_view_has_gone() {
        let budget = Budget::unlimited();
        budget.limit_to(10, |_| ());
        let whole = Bytes::counted(vec![0; 8], budget.try_take(8).expect("room"));
        let view = whole.slice(4..);
        drop(whole);
        assert_eq!(budget.used(), 8);
        assert!(Bytes::from(vec![0; 3]).try_count(&budget).is_err());
        drop(view);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_others_hold_too_is_not_counted() {
        let budget = Budget::unlimited();
        let mut alone = Bytes::from(vec![0; 8]);
        alone.count(&budget);
        alone.count(&budget);
        assert_eq!(budget.used(), 8, "once");
        let mut shared = Bytes::from(vec![0; 8]);
        let _other = shared.clone();
        shared.count(&budget);
        Bytes::from_static(b"for ever").count(&budget);
        assert_eq!(budget.used(), 8);
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn a_slice_beyond_the_end_panics() {
        let _ = Bytes::from("abc").slice(..4);
    }
}
