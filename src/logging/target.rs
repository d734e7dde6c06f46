//! Where a log goes: a file, a pipe, or one of the process's own streams.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Stdout,
    Stderr,
    /// A file that is appended to, and made if it is not there.
    File(PathBuf),
}

impl Target {
    /// Opens the target without waiting for a reader.
    pub(crate) fn open(&self) -> io::Result<File> {
        match self {
            // The descriptor is our own: the standard library guards its own by a lock, which a stuck write would keep.
            Self::Stdout => io::stdout().as_fd().try_clone_to_owned().map(File::from),
            Self::Stderr => io::stderr().as_fd().try_clone_to_owned().map(File::from),
            // A FIFO that is opened for writing alone waits for a reader. Opened for both, the FIFO waits for none, and
            // keeps what is written while the reader is away (`fifo(7)`).
            Self::File(path) if fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo()) => {
                OpenOptions::new().read(true).write(true).open(path)
            }
            Self::File(path) => OpenOptions::new().append(true).create(true).open(path),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => write!(f, "`{}`", path.display()),
        }
    }
}
