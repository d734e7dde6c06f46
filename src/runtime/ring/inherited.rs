//! Descriptors that the process was started with.

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

/// A descriptor of our own for what the process was started with under this number.
///
/// The number itself stays open until the process ends, since other code may know it too; programs that the process
/// starts do not get it.
///
/// # Errors
/// If nothing is open there.
pub(in crate::runtime) fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    /// After the three standard ones: std owns those.
    const FIRST: RawFd = 3;
    if number < FIRST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the number is not -1. The number is borrowed for two calls that do nothing but name it to the kernel, and
    // the program that started this one said in the environment that the number is open and ours (`sd_listen_fds(3)`).
    // Nothing is closed here; if nothing is open under the number, the kernel says so.
    let inherited = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl_setfd(inherited, FdFlags::CLOEXEC)?;
    Ok(fcntl_dupfd_cloexec(inherited, FIRST)?)
}
