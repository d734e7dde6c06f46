//! The ring of provided buffers as the kernel sees it (`io_uring_register_buf_ring(3)`).

use super::entry::{holds, read, write};
use std::collections::VecDeque;

/// What a buffer holds while the kernel has it: whoever looks then reads this.
const POISON: u8 = 0xa5;

/// The kernel's side of one ring of provided buffers.
pub(super) struct Provided {
    /// The address of the first entry.
    ring: u64,
    /// How many entries there are.
    count: u16,
    /// Up to where the kernel has looked.
    tail: u16,
    /// What the kernel has, the one it takes next first.
    queue: VecDeque<Buffer>,
    /// Which numbers it has, and which it has ever filled.
    has: Vec<bool>,
    used: Vec<bool>,
    poison: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Buffer {
    address: u64,
    length: usize,
    id: u16,
}

impl Provided {
    pub(super) fn new(ring: u64, count: u16) -> Self {
        Self {
            ring,
            count,
            tail: 0,
            queue: VecDeque::new(),
            has: vec![false; count.into()],
            used: vec![false; count.into()],
            poison: Vec::new(),
        }
    }

    /// Takes what was added, and says what is wrong with it.
    pub(super) fn look(&mut self) -> Result<(), String> {
        const ENTRY: u64 = 16;
        const TAIL_AT: u64 = 14;
        let number = |bytes: &[u8]| u16::from_ne_bytes([bytes[0], bytes[1]]);
        let tail = number(&read(self.ring + TAIL_AT, 2));
        while self.tail != tail {
            let entry = read(self.ring + u64::from(self.tail % self.count) * ENTRY, ENTRY as usize);
            let buffer = Buffer {
                address: u64::from_ne_bytes(entry[..8].try_into().expect("eight bytes")),
                length: u32::from_ne_bytes(entry[8..12].try_into().expect("four bytes")) as usize,
                id: number(&entry[12..]),
            };
            self.tail = self.tail.wrapping_add(1);
            match self.has.get_mut(usize::from(buffer.id)) {
                Some(has) if !*has => *has = true,
                _ => return Err(format!("buffer {} was given to the kernel, which has it", buffer.id)),
            }
            self.poison.resize(self.poison.len().max(buffer.length), POISON);
            // What was never used has nothing to tell, and most never are.
            if self.used[usize::from(buffer.id)] {
                write(buffer.address, &self.poison[..buffer.length]);
            }
            self.queue.push_back(buffer);
        }
        Ok(())
    }

    /// How many bytes the next buffer takes; `None` if there is none.
    pub(super) fn next(&self) -> Option<usize> {
        self.queue.front().map(|buffer| buffer.length)
    }

    /// Puts bytes that fit into the next buffer; its number, if it was as the kernel had left it.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> Result<u16, String> {
        let buffer = self.queue.pop_front().ok_or("no buffer is left")?;
        let used = std::mem::replace(&mut self.used[usize::from(buffer.id)], true);
        if used && !holds(buffer.address, &self.poison[..buffer.length]) {
            return Err(format!("buffer {} was written to while the kernel had it", buffer.id));
        }
        write(buffer.address, bytes);
        self.has[usize::from(buffer.id)] = false;
        Ok(buffer.id)
    }
}
