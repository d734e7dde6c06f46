//! What a dispatcher needs of the bytes below it: the same face for a plain socket and for one that encrypts.

use std::io;
use std::task::{Context, Poll};

use super::ring::Payload;
use super::stream::Stream;
use crate::bytes::Bytes;

/// A connected byte stream. A dispatcher is compiled for each kind of transport, so a plain one pays for no other.
pub(crate) trait Transport: 'static {
    /// What has arrived, in order; empty at the end of the stream.
    fn poll_receive(&mut self, cx: &Context<'_>) -> Poll<io::Result<Bytes>>;

    /// What has arrived, if anything has; empty at the end of the stream.
    fn try_receive(&mut self) -> Option<io::Result<Bytes>>;

    /// Ready when the connection is broken, so that an answer would reach nobody.
    fn poll_broken(&mut self, cx: &Context<'_>) -> Poll<()>;

    /// Begins to send all of this; only when [`poll_sent`](Self::poll_sent) is ready.
    fn start_send(&mut self, payload: Payload);

    /// Ready when nothing is being sent, with the error if the last send failed.
    fn poll_sent(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>>;

    /// Says that nothing more will be sent.
    fn shut_down(&mut self);

    /// Whether something has arrived that was not delivered yet: then the peer is not late, but this core.
    fn has_unread(&self) -> bool;

    /// How much the peer has acknowledged so far: a number that changes when it takes something.
    fn acknowledged(&self) -> u64;

    /// How many bytes the kernel holds for the peer.
    fn unacknowledged(&self) -> usize;

    /// Has the connection end with a reset instead of a farewell, so that the peer cannot take what it got for the
    /// whole.
    fn reset_at_end(&mut self);

    /// An empty buffer of the core's.
    fn take_buffer(&mut self) -> Vec<u8>;

    /// Gives a buffer back that was not sent.
    fn put_buffer(&mut self, buffer: Vec<u8>);
}

impl Transport for Stream {
    fn poll_receive(&mut self, cx: &Context<'_>) -> Poll<io::Result<Bytes>> {
        Stream::poll_receive(self, cx)
    }

    fn try_receive(&mut self) -> Option<io::Result<Bytes>> {
        Stream::try_receive(self)
    }

    fn poll_broken(&mut self, cx: &Context<'_>) -> Poll<()> {
        Stream::poll_broken(self, cx)
    }

    fn start_send(&mut self, payload: Payload) {
        Stream::start_send(self, payload);
    }

    fn poll_sent(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_sent(self, cx)
    }

    fn shut_down(&mut self) {
        Stream::shut_down(self);
    }

    fn has_unread(&self) -> bool {
        Stream::has_unread(self)
    }

    fn acknowledged(&self) -> u64 {
        Stream::acknowledged(self)
    }

    fn unacknowledged(&self) -> usize {
        Stream::unacknowledged(self)
    }

    fn reset_at_end(&mut self) {
        Stream::reset_at_end(self);
    }

    fn take_buffer(&mut self) -> Vec<u8> {
        Stream::take_buffer(self)
    }

    fn put_buffer(&mut self, buffer: Vec<u8>) {
        Stream::put_buffer(self, buffer);
    }
}
