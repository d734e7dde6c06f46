//! A connection that no core has begun to read from.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A connection that was accepted and that no core has begun to read from, so that any may take it: it costs a
/// descriptor and nothing else. Dropping it closes it.
pub(crate) struct Accepted(OwnedFd);

impl Accepted {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The peer's address, asked of the kernel (`getpeername(2)`). A peer with an IPv4 address is told as such, also by a
    /// socket that takes both families. Over a Unix socket a peer has none.
    pub(crate) fn peer(&self) -> io::Result<SocketAddr> {
        let address = rustix::net::getpeername(&self.0)?.ok_or(io::ErrorKind::NotConnected)?;
        let address = SocketAddr::try_from(address)?;
        let canonical = address.ip().to_canonical();
        Ok(if canonical.is_ipv4() { SocketAddr::new(canonical, address.port()) } else { address })
    }

    /// The descriptor, for the core that begins to read from it.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Ends it with a reset: the peer knows at once, and nothing of it stays behind, not even in the kernel
    /// (`SO_LINGER` in `socket(7)`; an orderly end would rest in TIME-WAIT, RFC 9293 section 3.6.1).
    pub(crate) fn reset(self) {
        // If it fails the connection is closed in the orderly way.
        let _ = rustix::net::sockopt::set_socket_linger(&self.0, Some(Duration::ZERO));
    }
}
