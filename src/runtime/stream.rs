//! A connection as its task sees it.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use super::accepted::Accepted;
use super::core::Core;
use super::ring::{Payload, SocketId};
use crate::bytes::Bytes;

/// A connected socket. Dropping it cancels what is under way and closes it.
pub(crate) struct Stream {
    core: Core,
    id: SocketId,
}

impl Stream {
    /// Takes a connection for this core, and begins to receive.
    pub(crate) fn open(core: &Core, accepted: Accepted) -> Self {
        Self { core: core.clone(), id: core.ring().add_socket(accepted.into_fd()) }
    }

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

    /// Whether something has arrived that the ring has not delivered yet (`FIONREAD`; of the end of a stream this says
    /// nothing). Exact: what the kernel delivers, it delivers within a turn of the ring.
    pub(crate) fn has_unread(&self) -> bool {
        self.core.ring().unread(self.id) > 0
    }

    /// How much the peer has acknowledged so far: a number that changes when it takes something.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.core.ring().acknowledged(self.id)
    }

    /// How many bytes the kernel holds for the peer.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.core.ring().unacknowledged(self.id)
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
