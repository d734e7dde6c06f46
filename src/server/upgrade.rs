//! A connection after HTTP: what an application that speaks another protocol reads and writes.

use std::task::{Context, Poll};

use super::connection::{Connection, Cut};
use super::sending::LONGEST_SEND;
use crate::bytes::Bytes;
use crate::error::{Error, Result};
use crate::http::upgrade::Io;
use crate::runtime::{Payload, Transport};

impl<T: Transport> Io for Connection<T> {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes>> {
        // What the peer sent behind its request is of the new protocol.
        let early = self.http.take_input();
        if !early.is_empty() {
            return Poll::Ready(Ok(early));
        }
        // Every task is woken when the drain begins.
        if self.worker.is_draining() {
            return Poll::Ready(Ok(Bytes::new()));
        }
        self.stream.poll_receive(cx).map_err(Error::from)
    }

    fn poll_write(&mut self, bytes: &mut Bytes, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_sent(cx).map(|sent| {
            sent?;
            let piece = bytes.split_to(bytes.len().min(LONGEST_SEND));
            self.stream.start_send(Payload::Bytes(piece));
            Ok(())
        })
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Connection::poll_sent(self, cx).map_err(Error::from)
    }
}

impl From<Cut> for Error {
    fn from(Cut: Cut) -> Self {
        Self::new("the connection is broken, or its peer takes nothing")
    }
}
