//! A write, and the sync that must not begin before all of it is written.

use io_uring::{opcode, squeue, types};
use std::io;

use super::FileId;
use super::work::{Finished, Step};
use crate::bytes::Bytes;

/// What of a file must be on the disk when a sync has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncKind {
    /// What was written, and what is needed to read it: `fdatasync(2)`.
    Data,
    /// And all else that is known about the file, such as its times: `fsync(2)`.
    All,
}

/// A write of all of these bytes; a sync alone, if there are none.
pub(crate) struct Write {
    pub(super) file: FileId,
    bytes: Bytes,
    written: usize,
    offset: u64,
    pub(super) sync: Option<SyncKind>,
}

impl Write {
    pub(crate) fn new(file: FileId, offset: u64, bytes: Bytes, sync: Option<SyncKind>) -> Self {
        Self { file, bytes, written: 0, offset, sync }
    }

    /// The write of what is left, if anything is, and the sync behind it.
    pub(super) fn entries(&self, fd: types::Fd) -> (Option<squeue::Entry>, Option<squeue::Entry>) {
        let rest = &self.bytes[self.written..];
        let write = (!rest.is_empty() || self.sync.is_none()).then(|| {
            let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            opcode::Write::new(fd, rest.as_ptr(), length).offset(self.offset + self.written as u64).build()
        });
        let sync = self.sync.map(|sync| {
            let flags = match sync {
                SyncKind::Data => types::FsyncFlags::DATASYNC,
                SyncKind::All => types::FsyncFlags::empty(),
            };
            opcode::Fsync::new(fd).flags(flags).build()
        });
        (write, sync)
    }

    /// A sync that failed does not come here: it ends the job whatever became of the write.
    pub(super) fn step(&mut self, write: Option<i32>, sync: Option<i32>, linked: bool) -> Step {
        const INTERRUPTED: i32 = -libc::EINTR;
        let length = self.bytes.len();
        match write {
            None | Some(INTERRUPTED) => {}
            Some(error @ ..0) => return Step::Done(Err(io::Error::from_raw_os_error(-error))),
            Some(0) if self.written < length => return Step::Done(Err(io::ErrorKind::WriteZero.into())),
            Some(count) => self.written += count.unsigned_abs() as usize,
        }
        assert!(self.written <= length, "the kernel wrote more than it was given");
        if self.written < length {
            return Step::Again;
        }
        match (self.sync, sync) {
            (None, _) => Step::Done(Ok(Finished::Nothing)),
            (_, Some(0)) if linked || write.is_none() => Step::Done(Ok(Finished::Nothing)),
            // Cancelled, with no write before it that could be why.
            (_, Some(error @ ..0)) if write.is_none() => {
                Step::Done(Err(io::Error::from_raw_os_error(-error)))
            }
            // It has not run, or perhaps before the last byte was written.
            _ => Step::Again,
        }
    }
}
