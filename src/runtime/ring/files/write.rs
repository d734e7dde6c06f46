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
            // The sync has not run, or perhaps before the last byte was written.
            _ => Step::Again,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: i32 = 10;
    const PART: i32 = 4;
    const FULL: i32 = -libc::ENOSPC;
    const INTERRUPTED: i32 = -libc::EINTR;
    const CANCELLED: i32 = -libc::ECANCELED;

    /// What follows from these completions of a write of ten bytes: "again" with what is left, "ok", or the error.
    fn after(sync: bool, completions: &[(Option<i32>, Option<i32>, bool)]) -> String {
        let sync = sync.then_some(SyncKind::Data);
        let mut write = Write::new(FileId(0), 100, Bytes::from("0123456789"), sync);
        let mut last = String::new();
        for &(result, sync, linked) in completions {
            assert!(!last.starts_with("ok"), "it had ended");
            last = match write.step(result, sync, linked) {
                Step::Again => {
                    let (write, sync) = write.entries(types::Fd(0));
                    format!("again{}{}", write.map_or("", |_| " write"), sync.map_or("", |_| " sync"))
                }
                Step::Done(Ok(_)) => "ok".into(),
                Step::Done(Err(error)) => format!("{:?}", error.kind()),
                Step::Opened(_) => unreachable!("nothing is opened"),
            };
        }
        last
    }

    #[test]
    fn a_write_goes_on_until_all_is_written() {
        let after = |results: &[i32]| {
            let completions: Vec<_> = results.iter().map(|result| (Some(*result), None, false)).collect();
            super::tests::after(false, &completions)
        };
        assert_eq!(after(&[ALL]), "ok");
        assert_eq!(after(&[PART]), "again write");
        assert_eq!(after(&[PART, ALL - PART]), "ok");
        assert_eq!(after(&[PART, INTERRUPTED, ALL - PART]), "ok");
        assert_eq!(after(&[PART, FULL]), "StorageFull");
        assert_eq!(after(&[PART, 0]), "WriteZero");
    }

    #[test]
    fn a_sync_counts_only_behind_the_last_byte() {
        // In one chain.
        assert_eq!(after(true, &[(Some(ALL), Some(0), true)]), "ok");
        // A write that comes out short breaks the chain; and if it did not, the sync would not count.
        assert_eq!(after(true, &[(Some(PART), Some(CANCELLED), true)]), "again write sync");
        assert_eq!(after(true, &[(Some(PART), Some(0), true)]), "again write sync");
        let short = (Some(PART), Some(CANCELLED), true);
        assert_eq!(after(true, &[short, (Some(ALL - PART), Some(0), true)]), "ok");
        assert_eq!(after(true, &[short, (Some(FULL), Some(CANCELLED), true)]), "StorageFull");
        assert_eq!(after(true, &[short, (Some(0), Some(CANCELLED), true)]), "WriteZero");
        // Without a chain, or with one that may have been cut, the two ran in any order.
        assert_eq!(after(true, &[(Some(ALL), Some(0), false)]), "again sync");
        assert_eq!(after(true, &[(Some(ALL), None, false)]), "again sync");
        assert_eq!(after(true, &[(Some(ALL), None, false), (None, Some(0), false)]), "ok");
        // Cancelled though the write was whole: it is tried alone, and once.
        assert_eq!(after(true, &[(Some(ALL), Some(CANCELLED), true)]), "again sync");
        assert_ne!(after(true, &[(Some(ALL), None, false), (None, Some(CANCELLED), false)]), "ok");
    }
}
