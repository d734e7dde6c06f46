//! The process at the other end of a Unix socket.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd};

/// The user and the process at the other end of a connected Unix socket (`SO_PEERCRED` in `unix(7)`). The number of a
/// process that has ended may be another's by now; a process of another PID namespace, as in a container, has none.
///
/// rustix has the same call, but its number of a process cannot be 0, and 0 is what the kernel says for another
/// namespace.
///
/// # Errors
/// If it is no connected Unix socket.
pub(in crate::runtime) fn peer(socket: impl AsFd) -> io::Result<(u32, Option<u32>)> {
    let mut found = MaybeUninit::<libc::ucred>::uninit();
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is borrowed and so open; the kernel writes at most `length` bytes to `found`, which has
    // that many, and how many they were to `length`.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            found.as_mut_ptr().cast(),
            &raw mut length,
        )
    } != 0;
    if failed {
        return Err(io::Error::last_os_error());
    }
    if length as usize != size_of::<libc::ucred>() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // SAFETY: the kernel has written all of it, and three numbers may have any value.
    let found = unsafe { found.assume_init() };
    Ok((found.uid, u32::try_from(found.pid).ok().filter(|pid| *pid > 0)))
}
