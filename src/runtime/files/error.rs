//! Errors that say what was tried with which path.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

#[derive(Debug)]
struct Failure {
    /// What could not be done: "open /a/b".
    what: String,
    cause: io::Error,
}

/// The same kind of error, with what was tried.
pub(super) fn cannot(verb: &str, path: &Path, cause: io::Error) -> io::Error {
    cannot_do(format!("{verb} {}", path.display()), cause)
}

pub(super) fn cannot_do(what: String, cause: io::Error) -> io::Error {
    io::Error::new(cause.kind(), Failure { what, cause })
}

/// What the kernel says of a path that `RESOLVE_BENEATH` refuses is "Invalid cross-device link" (`openat2(2)`).
pub(super) fn explain_escape(cause: io::Error) -> io::Error {
    if cause.raw_os_error() == Some(libc::EXDEV) {
        return io::Error::new(io::ErrorKind::PermissionDenied, "the path leads out of the directory");
    }
    cause
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.what, self.cause)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}
