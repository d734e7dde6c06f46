//! An open file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::super::ring::{Finished, SyncKind, Work, Write};
use super::error::{cannot, cannot_do};
use super::metadata::Metadata;
use super::operation::Handle;
use crate::bytes::Bytes;

/// An open file of one core, read and written at offsets; several operations may be under way at once, and the kernel
/// does them in any order. Dropping it closes it, when the last of them has ended. To share it, put it into an `Rc`.
pub struct File {
    handle: Handle,
    path: PathBuf,
}

impl File {
    pub(super) fn new(handle: Handle, path: PathBuf) -> Self {
        Self { handle, path }
    }

    /// The path it was opened by, behind that of its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads `length` bytes from `offset` on; fewer only where the file ends, and none behind its end.
    ///
    /// The memory is taken at once: the length is bounded by the caller. From a FIFO or a device it reads until there
    /// are as many, or the other end is closed.
    pub async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        Ok(Bytes::from(self.read_into(offset, length, Vec::new()).await?))
    }

    /// Like [`read_at`](Self::read_at), but appends to a buffer, which is handed back: so a loop takes memory once. In
    /// case of an error, or if this future is dropped, the buffer is gone.
    pub async fn read_into(&self, offset: u64, length: usize, mut buffer: Vec<u8>) -> io::Result<Vec<u8>> {
        let work = within_a_file(offset, length as u64).and_then(|()| {
            buffer.try_reserve_exact(length)?;
            let until = buffer.len() + length;
            Ok(Work::Read { file: self.handle.id, buffer, until, offset })
        });
        match self.run(work).await {
            Ok(Finished::Read(buffer)) => Ok(buffer),
            Ok(other) => unreachable!("a read came to {other:?}"),
            Err(error) => {
                Err(cannot_do(format!("read {length} bytes at {offset} of {}", self.path.display()), error))
            }
        }
    }

    /// Writes all of these bytes, from `offset` on. They are on the disk after the next sync that succeeds; until then
    /// a crash of the machine may lose them.
    ///
    /// # Errors
    /// Some of the bytes may have been written; a full disk is of kind `StorageFull`.
    pub async fn write_at(&self, offset: u64, bytes: impl Into<Bytes>) -> io::Result<()> {
        self.write(offset, bytes.into(), None).await
    }

    /// Writes all of these bytes and syncs then, as [`sync_data`](Self::sync_data) does: `Ok` means that they are on
    /// the disk. The kernel gets both at once and begins the sync behind the write (`IOSQE_IO_LINK`), which spares a
    /// turn of the core; should the write come out short, the rest is written, and synced, before this returns.
    ///
    /// # Errors
    /// As of [`write_at`](Self::write_at) and [`sync_data`](Self::sync_data). If an earlier sync has failed, nothing is
    /// written.
    pub async fn write_and_sync(&self, offset: u64, bytes: impl Into<Bytes>) -> io::Result<()> {
        self.write(offset, bytes.into(), Some(SyncKind::Data)).await
    }

    /// Puts on the disk what was written before, and what is needed to read it (`fdatasync(2)`).
    ///
    /// Syncs of one file run one after the other. **A sync that failed is not tried again**, since the kernel has marked
    /// what it could not write as written, and a second sync would say `Ok` though the bytes are lost. So after a failure
    /// this file refuses every further sync with the same error; whether those writes are lost is only known by reading
    /// the disk anew, after a restart. Another [`File`] of the same path knows nothing of this.
    pub async fn sync_data(&self) -> io::Result<()> {
        self.sync(SyncKind::Data).await
    }

    /// Like [`sync_data`](Self::sync_data), with all that is known about the file, such as its times (`fsync(2)`).
    pub async fn sync_all(&self) -> io::Result<()> {
        self.sync(SyncKind::All).await
    }

    /// The error of the sync that failed, if one has: no further sync will be tried.
    pub fn sync_error(&self) -> Option<io::Error> {
        self.handle.core.ring().sync_error(self.handle.id)
    }

    /// Reserves space on the disk, and lengthens the file to `offset + length` if it is shorter; what was never written
    /// reads as zeros. Later writes there cannot fail for want of space, and their syncs need not write a new length.
    ///
    /// # Errors
    /// The kind is `Unsupported` where the file system cannot, and `InvalidInput` for a length of 0.
    pub async fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.fallocate("allocate", 0, offset, length).await
    }

    /// Gives space back to the disk: what was there reads as zeros, and the file stays as long as it is.
    pub async fn punch_hole(&self, offset: u64, length: u64) -> io::Result<()> {
        self.fallocate("free", libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, offset, length).await
    }

    /// What is known about the file now.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        metadata(&self.handle).await.map_err(|error| cannot("examine", &self.path, error))
    }

    async fn write(&self, offset: u64, bytes: Bytes, sync: Option<SyncKind>) -> io::Result<()> {
        let length = bytes.len();
        let failed_before = sync.is_some() && self.sync_error().is_some();
        let work = within_a_file(offset, length as u64)
            .map(|()| Work::Write(Write::new(self.handle.id, offset, bytes, sync)));
        self.run(work).await.map(drop).map_err(|error| {
            let synced = match sync {
                None => "",
                Some(_) if failed_before => " and sync it, as an earlier sync has failed,",
                Some(_) => " and sync it",
            };
            cannot_do(format!("write {length} bytes at {offset} of {}{synced}", self.path.display()), error)
        })
    }

    async fn sync(&self, kind: SyncKind) -> io::Result<()> {
        sync(&self.handle, &self.path, kind).await
    }

    async fn fallocate(&self, verb: &str, mode: i32, offset: u64, length: u64) -> io::Result<()> {
        let work = within_a_file(offset, length).map(|()| Work::Allocate {
            file: self.handle.id,
            offset,
            len: length,
            mode,
        });
        self.run(work).await.map(drop).map_err(|error| {
            cannot_do(format!("{verb} {length} bytes at {offset} of {}", self.path.display()), error)
        })
    }

    async fn run(&self, work: io::Result<Work>) -> io::Result<Finished> {
        self.handle.run(work?).await
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("File").field(&self.path).finish()
    }
}

/// Syncs a file or directory, unless a sync of it has failed before.
pub(super) async fn sync(handle: &Handle, path: &Path, kind: SyncKind) -> io::Result<()> {
    let again = handle.core.ring().sync_error(handle.id).is_some();
    let nothing = Write::new(handle.id, 0, Bytes::new(), Some(kind));
    handle
        .run(Work::Write(nothing))
        .await
        .map(drop)
        .map_err(|error| cannot(if again { "sync after a sync that failed" } else { "sync" }, path, error))
}

pub(super) async fn metadata(handle: &Handle) -> io::Result<Metadata> {
    match handle.run(Work::stat(handle.id)).await? {
        Finished::Stat(statx) => Ok(Metadata::new(statx)),
        other => unreachable!("a stat came to {other:?}"),
    }
}

/// Offsets are signed in the kernel, and -1 would mean "where the file stands" (`io_uring_prep_read(3)`).
fn within_a_file(offset: u64, length: u64) -> io::Result<()> {
    match offset.checked_add(length) {
        Some(end) if i64::try_from(end).is_ok() => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "no file reaches that far")),
    }
}
