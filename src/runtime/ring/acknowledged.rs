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
