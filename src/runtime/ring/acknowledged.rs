//! How far the peer has taken what was sent.

use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd};

/// A number that grows when the peer's kernel acknowledges bytes (`tcpi_bytes_acked` in `tcp(7)`), and stands still
/// while it does not; `None` for a socket that is no TCP connection.
pub(in super::super) fn acknowledged(fd: BorrowedFd<'_>) -> Option<u64> {
    // SAFETY: the struct consists of integers, for which zeros are valid.
    let mut info: libc::tcp_info = unsafe { zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the descriptor is open, `info` is writable for `length` bytes, and the kernel writes no more than that.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    (result == 0).then_some(info.tcpi_bytes_acked)
}

/// How many bytes the kernel holds for the peer, which has not acknowledged them (`SIOCOUTQ` in `tcp(7)`).
pub(in super::super) fn unacknowledged(fd: BorrowedFd<'_>) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open, and the kernel writes one `int`.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}
