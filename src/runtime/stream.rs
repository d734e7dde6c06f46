//! A connection as its task sees it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::Duration;

use super::core::Core;
use super::ring::{Payload, SocketId};
use crate::bytes::Bytes;

/// A connection that was accepted and that no core has begun to read from, so that any may take it: it costs a
/// descriptor and nothing else. Dropping it closes it.
pub(crate) struct Accepted(OwnedFd);

impl Accepted {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The peer's address, asked of the kernel (`getpeername(2)`). One of IPv4 is told as such, also by a socket that
    /// takes both. Over a Unix socket a peer has none.
    pub(crate) fn peer(&self) -> io::Result<SocketAddr> {
        let address = rustix::net::getpeername(&self.0)?.ok_or(io::ErrorKind::NotConnected)?;
        let address = SocketAddr::try_from(address)?;
        let canonical = address.ip().to_canonical();
        Ok(if canonical.is_ipv4() { SocketAddr::new(canonical, address.port()) } else { address })
    }

    /// Takes it for this core, and begins to receive.
    pub(crate) fn open(self, core: &Core) -> Stream {
        Stream { core: core.clone(), id: core.ring().add_socket(self.0) }
    }

    /// Ends it with a reset: the peer knows at once, and nothing of it stays behind, not even in the kernel
    /// (`SO_LINGER` in `socket(7)`; an orderly end would rest in TIME-WAIT, RFC 9293 section 3.6.1).
    pub(crate) fn reset(self) {
        // If it fails the connection is closed in the orderly way.
        let _ = rustix::net::sockopt::set_socket_linger(&self.0, Some(Duration::ZERO));
    }
}

/// A connected socket. Dropping it cancels what is under way and closes it.
pub(crate) struct Stream {
    core: Core,
    id: SocketId,
}

impl Stream {
    /// What has arrived, in order; empty at the end of the stream.
    pub(crate) fn poll_receive(&self, cx: &Context<'_>) -> Poll<io::Result<Bytes>> {
        self.core.ring().poll_receive(self.id, self.core.tasks(), cx)
    }

    /// What has arrived, if anything has; empty at the end of the stream.
    pub(crate) fn try_receive(&self) -> Option<io::Result<Bytes>> {
        self.core.ring().try_receive(self.id)
    }

    /// Ready when the connection is broken, so that an answer would reach nobody.
    pub(crate) fn poll_broken(&self, cx: &Context<'_>) -> Poll<()> {
        self.core.ring().poll_broken(self.id, self.core.tasks(), cx)
    }

    /// Lets the connection end with a reset instead of a farewell, so that the peer cannot take what it got for the
    /// whole (`SO_LINGER` in `socket(7)`).
    pub(crate) fn reset_at_end(&self) {
        if let Some(fd) = self.core.ring().socket_fd(self.id) {
            // If it fails the connection is gone already, and the peer has seen that.
            let _ = rustix::net::sockopt::set_socket_linger(fd, Some(Duration::ZERO));
        }
    }

    /// Begins to send all of this; only when [`poll_sent`](Self::poll_sent) is ready.
    pub(crate) fn start_send(&self, payload: Payload) {
        self.core.ring().start_send(self.id, payload);
    }

    /// Ready when nothing is being sent, with the error if the last send failed.
    pub(crate) fn poll_sent(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.core.ring().poll_sent(self.id, self.core.tasks(), cx)
    }

    /// Says that nothing more will be sent.
    pub(crate) fn shut_down(&self) {
        self.core.ring().shut_down(self.id);
    }

    /// An empty buffer of the core's.
    pub(crate) fn take_buffer(&self) -> Vec<u8> {
        self.core.ring().take_spare()
    }

    /// Gives a buffer back that was not sent.
    pub(crate) fn put_buffer(&self, buffer: Vec<u8>) {
        self.core.ring().put_spare(buffer);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.core.ring().abandon(self.id, self.core.tasks());
    }
}
