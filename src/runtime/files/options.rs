//! How a file is opened.

use std::io;
use std::path::Path;

use super::super::core::Core;
use super::super::ring::Work;
use super::error::cannot;
use super::file::File;
use super::operation::Handle;
use super::path;

/// How a file is opened; nothing of it is on at first. As [`std::fs::OpenOptions`], but for `append`: writes say where.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are the flags of open(2), by the names of std")]
pub struct OpenOptions {
    read: bool,
    write: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    mode: u32,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    /// Neither for reading nor for writing yet.
    pub const fn new() -> Self {
        Self { read: false, write: false, truncate: false, create: false, create_new: false, mode: 0o666 }
    }

    /// For reading.
    pub const fn read(mut self, read: bool) -> Self {
        self.read = read;
        self
    }

    /// For writing.
    pub const fn write(mut self, write: bool) -> Self {
        self.write = write;
        self
    }

    /// Emptied, if it was there; needs `write`.
    pub const fn truncate(mut self, truncate: bool) -> Self {
        self.truncate = truncate;
        self
    }

    /// Made, if it was not there; needs `write`.
    pub const fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Made, and an error of kind `AlreadyExists` if it was there; needs `write`.
    pub const fn create_new(mut self, create_new: bool) -> Self {
        self.create_new = create_new;
        self
    }

    /// The permissions of a file that is made, without those in the process's `umask(2)`. By default 0o666.
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Opens a file by any path, beneath no directory. A path that a client has a say in belongs beneath a
    /// [`Dir`](super::Dir).
    ///
    /// See [`Dir::open_file`](super::Dir::open_file) for FIFOs.
    pub async fn open(&self, core: &Core, path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        let work = || Ok(Work::open(None, path::any(path)?, self.flags()?, self.creation_mode()));
        let opened = match work() {
            Ok(work) => Handle::open(core, work).await,
            Err(error) => Err(error),
        };
        let handle = opened.map_err(|error| cannot("open", path, error))?;
        Ok(File::new(handle, path.to_owned()))
    }

    pub(super) fn flags(&self) -> io::Result<i32> {
        let access = match (self.read, self.write) {
            (true, false) => libc::O_RDONLY,
            (false, true) => libc::O_WRONLY,
            (true, true) => libc::O_RDWR,
            (false, false) => return Err(refusal("it is opened neither for reading nor for writing")),
        };
        if !self.write && (self.truncate || self.create || self.create_new) {
            return Err(refusal("it is to be created or truncated, but not opened for writing"));
        }
        let creation = match (self.create_new, self.create) {
            (true, _) => libc::O_CREAT | libc::O_EXCL,
            (false, true) => libc::O_CREAT,
            (false, false) => 0,
        };
        Ok(access | creation | if self.truncate { libc::O_TRUNC } else { 0 })
    }

    /// `openat2(2)` takes a mode only with `O_CREAT`.
    pub(super) fn creation_mode(&self) -> u32 {
        if self.create || self.create_new { self.mode } else { 0 }
    }
}

fn refusal(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
