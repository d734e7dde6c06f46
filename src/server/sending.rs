//! What a connection sends: answers from its buffer, long bodies from where they lie, streams as they are made.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use super::access_log::Outcome;
use super::connection::{Connection, Cut};
use super::current::Leaving;
use super::taking::Taking;
use super::waits::Wait;
use crate::bytes::Bytes;
use crate::error::Error;
use crate::h1::connection::{COPIED_BODY, Rest};
use crate::h1::encode::BodyEncoder;
use crate::http::body::{Body, Trailers};
use crate::runtime::{Payload, Transport};

/// The longest piece of a body given to the kernel at once, so that the write deadline sees progress.
pub(super) const LONGEST_SEND: usize = 256 << 10;

/// How many bytes may be left in the kernel when a connection is closed.
const MOST_LEFT: usize = 64 << 10;

impl<T: Transport> Connection<T> {
    /// Sends what is left of a response.
    pub(super) async fn send_rest(&mut self, rest: Rest) -> Result<(), Cut> {
        match rest {
            // The application sends, in the new protocol.
            Rest::Nothing | Rest::Upgrade(_) => {}
            Rest::Bytes(bytes) => {
                self.send_bytes(bytes).await?;
                self.leaving = Some(Leaving(self.current.entry.take()));
            }
            Rest::Stream(body, encoder) => {
                self.current.streams = true;
                let sent = self.send_stream(body, encoder).await;
                // An answer with another behind it has an end of its own.
                self.current.streams = !self.http.keep_alive();
                if sent.is_err() {
                    // The answers before are whole and may wait in the same buffer. A peer that is gone, or takes
                    // nothing, ends this at once.
                    let _ = self.flush_and_wait().await;
                    self.stream.reset_at_end();
                }
                sent?;
            }
        }
        self.end_entry(&Outcome::Answered);
        Ok(())
    }

    /// Sends bytes: few behind what was written, many from where they lie.
    async fn send_bytes(&mut self, mut bytes: Bytes) -> Result<(), Cut> {
        if bytes.len() <= COPIED_BODY {
            self.out.extend_from_slice(&bytes);
            self.log_sent(bytes.len());
            return Ok(());
        }
        // A piece of a stream is made already, and a whole body is counted.
        bytes.count(self.worker.core.budget());
        self.flush().await?;
        while !bytes.is_empty() {
            self.sent().await?;
            let piece = bytes.split_to(bytes.len().min(LONGEST_SEND));
            self.log_sent(piece.len());
            self.stream.start_send(Payload::Bytes(piece));
        }
        // What is pipelined behind is answered while the last piece leaves.
        Ok(())
    }

    /// Sends a body as it is made: the next piece is asked for when the one before has been taken.
    async fn send_stream(&mut self, mut body: Body, mut encoder: BodyEncoder) -> Result<(), Cut> {
        let failed = |error: Error| {
            log::error!("a response is cut: {error}");
            Cut
        };
        while let Some(piece) = poll_fn(|cx| self.poll_piece(&mut body, cx)).await? {
            let piece = piece.map_err(failed)?;
            if piece.is_empty() {
                continue;
            }
            self.take_buffer();
            encoder.before_piece(piece.len(), &mut self.out).map_err(failed)?;
            self.send_bytes(piece).await?;
            self.take_buffer();
            encoder.after_piece(&mut self.out);
            self.flush_and_wait().await?;
        }
        let trailers = if encoder.takes_trailers() {
            catch_unwind(AssertUnwindSafe(|| body.make_trailers())).map_err(|_| Cut)?
        } else {
            Trailers::default()
        };
        self.take_buffer();
        encoder.end(&trailers.0, &mut self.out).map_err(failed)
    }

    /// The next piece of a response's body, which may be made from the body of its request.
    fn poll_piece(
        &mut self,
        body: &mut Body,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Result<Bytes, Error>>, Cut>> {
        loop {
            match catch_unwind(AssertUnwindSafe(|| body.poll_next(cx))) {
                Ok(Poll::Ready(piece)) => {
                    // Another reader of the request's body is served all the same.
                    self.bring_body(cx);
                    return Poll::Ready(Ok(piece));
                }
                Ok(Poll::Pending) => {}
                Err(_) => return Poll::Ready(Err(Cut)),
            }
            if self.stream.poll_broken(cx).is_ready() {
                return Poll::Ready(Err(Cut));
            }
            if !self.bring_body(cx) {
                // What is written leaves while the next piece is made.
                return match self.poll_flush(cx) {
                    Poll::Ready(Err(cut)) => Poll::Ready(Err(cut)),
                    _ => Poll::Pending,
                };
            }
        }
    }

    /// Sends what was written, and waits until the kernel has taken it.
    pub(super) async fn flush_and_wait(&mut self) -> Result<(), Cut> {
        self.flush().await?;
        self.sent().await
    }

    /// Begins to send what was written, when the send before has ended.
    pub(super) async fn flush(&mut self) -> Result<(), Cut> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.body_can_wait();
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match self.poll_sent(cx) {
            Poll::Ready(Ok(())) => {
                self.hold_nothing();
                self.stream.start_send(Payload::Buffer(std::mem::take(&mut self.out)));
                Poll::Ready(Ok(()))
            }
            waits_or_failed => {
                self.hold_out();
                waits_or_failed
            }
        }
    }

    /// Waits until the kernel has taken everything.
    pub(super) async fn sent(&mut self) -> Result<(), Cut> {
        self.body_can_wait();
        poll_fn(|cx| self.poll_sent(cx)).await
    }

    /// Ready when nothing is being sent. A peer that takes nothing for too long is cut, with a reset: what it is owed
    /// must not stay in the kernel.
    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        let result = match self.stream.poll_sent(cx) {
            Poll::Ready(result) => result,
            Poll::Pending => return self.poll_takes(cx),
        };
        self.patience.end(Wait::Write);
        if self.leaving.is_some() {
            self.end_leaving(if result.is_ok() { &Outcome::Answered } else { &Outcome::Cut });
        }
        Poll::Ready(result.map_err(|_| Cut))
    }

    /// Sends what is left, and waits until the kernel holds little of it: once the connection is closed, what the kernel
    /// holds is counted by no limit, and stays for as long as a peer that takes nothing answers its probes.
    pub(super) async fn taken(&mut self) -> Result<(), Cut> {
        self.flush().await?;
        self.sent().await?;
        if self.stream.unacknowledged() > MOST_LEFT {
            // The peer waits for the end, and gets it behind the rest.
            self.stream.shut_down();
            poll_fn(|cx| {
                if self.stream.unacknowledged() > MOST_LEFT {
                    self.poll_takes(cx)
                } else {
                    Poll::Ready(Ok(()))
                }
            })
            .await?;
            self.patience.end(Wait::Write);
        }
        Ok(())
    }

    /// Ready, with an error, when the peer has taken nothing for longer than it may.
    pub(super) fn poll_takes(&mut self, cx: &Context<'_>) -> Poll<Result<(), Cut>> {
        let (now, most) = (self.now(), self.worker.deadlines.write);
        if self.patience.begin(Wait::Write, now, Taking::first_look(most)) {
            self.taking.reset();
        }
        while self.patience.poll_passed(Wait::Write, now, cx) {
            let Some(after) = self.taking.look(self.stream.acknowledged(), now, most) else {
                self.stream.reset_at_end();
                return Poll::Ready(Err(Cut));
            };
            self.patience.restart(Wait::Write, now, after);
        }
        Poll::Pending
    }
}
