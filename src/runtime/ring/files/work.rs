//! What a job does, as entries for the kernel, and what its completions mean.

use io_uring::{opcode, squeue, types};
use std::ffi::CString;
use std::io;

use super::{FileId, Write};

/// One job on files, with all the memory that the kernel may touch on its behalf. None of that memory moves when the
/// job does: it is on the heap.
pub(crate) enum Work {
    /// Opens a path, beneath a directory if there is one (`openat2(2)`).
    Open { beneath: Option<FileId>, path: CString, how: Box<types::OpenHow>, tries: u8 },
    /// Asks what an open file is (`statx(2)`).
    Stat { file: FileId, statx: Box<libc::statx> },
    /// Appends to the buffer until it is `until` long, or the file ends.
    Read { file: FileId, buffer: Vec<u8>, until: usize, offset: u64 },
    /// Writes all of it, and syncs then if asked to.
    Write(Write),
    /// Reserves space, or gives it back (`fallocate(2)`).
    Allocate { file: FileId, offset: u64, len: u64, mode: i32 },
    /// Renames an entry, replacing what has the new name (`renameat2(2)`).
    Rename { from: (FileId, CString), to: (FileId, CString) },
    /// Removes an entry: a file, or with `AT_REMOVEDIR` an empty directory (`unlinkat(2)`).
    Remove { from: FileId, name: CString, flags: i32 },
    /// Makes a directory (`mkdirat(2)`).
    CreateDir { within: FileId, name: CString, mode: u32 },
    /// What is left of a job that is over.
    Nothing,
}

/// What a job came to.
#[derive(Debug)]
pub(crate) enum Finished {
    Nothing,
    Opened(FileId),
    Stat(Box<libc::statx>),
    /// The buffer that was read into.
    Read(Vec<u8>),
}

/// What follows from the completions of a job's operations.
pub(super) enum Step {
    /// Something is left to do: [`Work::entries`].
    Again,
    Opened(i32),
    Done(io::Result<Finished>),
}

/// How often an open is tried again that the kernel could not settle, since something was renamed meanwhile
/// (EAGAIN of `RESOLVE_BENEATH`, `openat2(2)`).
const OPEN_TRIES: u8 = 16;

impl Work {
    pub(crate) fn open(beneath: Option<FileId>, path: CString, flags: i32, mode: u32) -> Self {
        const BENEATH: u64 = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
        let how = types::OpenHow::new()
            .flags(u64::from((flags | libc::O_CLOEXEC).cast_unsigned()))
            .mode(u64::from(mode))
            .resolve(if beneath.is_some() { BENEATH } else { 0 });
        Self::Open { beneath, path, how: Box::new(how), tries: 0 }
    }

    pub(crate) fn stat(file: FileId) -> Self {
        // SAFETY: the structure is made of integers, for which zero is a value.
        let statx = unsafe { std::mem::zeroed() };
        Self::Stat { file, statx: Box::new(statx) }
    }

    /// The files that must stay open as long as the job lasts.
    pub(super) fn files(&self) -> [Option<FileId>; 2] {
        match self {
            Self::Open { beneath, .. } => [*beneath, None],
            Self::Stat { file, .. } | Self::Read { file, .. } | Self::Allocate { file, .. } => {
                [Some(*file), None]
            }
            Self::Write(write) => [Some(write.file), None],
            Self::Rename { from, to } => [Some(from.0), Some(to.0)],
            Self::Remove { from: dir, .. } | Self::CreateDir { within: dir, .. } => [Some(*dir), None],
            Self::Nothing => [None, None],
        }
    }

    /// The file that the job syncs, if it does.
    pub(super) fn synced(&self) -> Option<FileId> {
        match self {
            Self::Write(Write { file, sync: Some(_), .. }) => Some(*file),
            _ => None,
        }
    }

    /// Whether an operation may wait for somebody else, such as the other end of a FIFO.
    pub(super) fn may_wait_for_ever(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::Read { .. } | Self::Write(_))
    }

    /// What is to be handed to the kernel next: an operation, and a sync that is to follow it; at least one of them.
    pub(super) fn entries(
        &mut self,
        fd: impl Fn(FileId) -> types::Fd,
    ) -> (Option<squeue::Entry>, Option<squeue::Entry>) {
        let entry = match self {
            Self::Open { beneath, path, how, tries } => {
                *tries += 1;
                let at = beneath.map_or(types::Fd(libc::AT_FDCWD), fd);
                opcode::OpenAt2::new(at, path.as_ptr(), &raw const **how).build()
            }
            Self::Stat { file, statx } => {
                let statx = (&raw mut **statx).cast();
                opcode::Statx::new(fd(*file), c"".as_ptr(), statx)
                    .flags(libc::AT_EMPTY_PATH)
                    .mask(libc::STATX_BASIC_STATS | libc::STATX_BTIME)
                    .build()
            }
            Self::Read { file, buffer, until, offset } => {
                let length = buffer.len();
                // The room was made before the job began: `spare_capacity_mut` reaches as far as `until` at the least.
                let room = &mut buffer.spare_capacity_mut()[..*until - length];
                let (start, room) = (room.as_mut_ptr().cast(), u32::try_from(room.len()).unwrap_or(u32::MAX));
                opcode::Read::new(fd(*file), start, room).offset(*offset).build()
            }
            Self::Write(write) => return write.entries(fd(write.file)),
            Self::Allocate { file, offset, len, mode } => {
                opcode::Fallocate::new(fd(*file), *len).offset(*offset).mode(*mode).build()
            }
            Self::Rename { from, to } => {
                opcode::RenameAt::new(fd(from.0), from.1.as_ptr(), fd(to.0), to.1.as_ptr()).build()
            }
            Self::Remove { from, name, flags } => {
                opcode::UnlinkAt::new(fd(*from), name.as_ptr()).flags(*flags).build()
            }
            Self::CreateDir { within, name, mode } => {
                opcode::MkDirAt::new(fd(*within), name.as_ptr()).mode(*mode).build()
            }
            Self::Nothing => unreachable!("a job that is over is handed to the kernel"),
        };
        (Some(entry), None)
    }

    /// What follows from the results of what was handed over last. `linked` says that the kernel began the sync only
    /// after the operation before it.
    pub(super) fn step(&mut self, result: Option<i32>, sync: Option<i32>, linked: bool) -> Step {
        let result = match self {
            Self::Write(write) => return write.step(result, sync, linked),
            _ => result.unwrap_or(-libc::ECANCELED),
        };
        let count = match u32::try_from(result) {
            Ok(count) => count as usize,
            Err(_) => return self.failed(-result),
        };
        Step::Done(Ok(match self {
            Self::Open { .. } => return Step::Opened(result),
            Self::Stat { statx, .. } => Finished::Stat(statx.clone()),
            Self::Read { buffer, until, offset, .. } => {
                let length = buffer.len() + count;
                assert!(length <= *until, "the kernel read more than it was asked to");
                // SAFETY: the kernel has written `count` bytes behind those that were there.
                unsafe { buffer.set_len(length) };
                *offset += count as u64;
                if count > 0 && length < *until {
                    return Step::Again;
                }
                Finished::Read(std::mem::take(buffer))
            }
            _ => Finished::Nothing,
        }))
    }

    fn failed(&self, error: i32) -> Step {
        match (self, error) {
            (Self::Open { tries, .. }, libc::EAGAIN | libc::EINTR) if *tries < OPEN_TRIES => Step::Again,
            (Self::Read { .. } | Self::Stat { .. }, libc::EINTR) => Step::Again,
            _ => Step::Done(Err(io::Error::from_raw_os_error(error))),
        }
    }
}
