//! The part of an exchange that cannot be answered at once: a handler that waits, a body that arrives.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};
use std::time::Instant;

use super::connection::{Connection, Cut, panicked};
use super::service::Answering;
use super::waits::Wait;
use crate::error::Error;
use crate::h1::decode::Piece;
use crate::h1::refusal::Refusal;
use crate::http::request_id::Kept;
use crate::http::respond::plain_status;
use crate::http::response::Response;
use crate::runtime::Transport;
use http::StatusCode;

const BODY_TOO_SLOW: Refusal =
    Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request's body came too slowly");

impl<T: Transport> Connection<T> {
    /// Waits for a handler's answer, and brings it the request's body as far as it asks for it. Where the answer
    /// comes too late the handler is dropped.
    pub(super) async fn await_answer(
        &mut self,
        mut answering: Answering,
        id: &Kept,
    ) -> Result<Response, Cut> {
        let called = self.now();
        let answer = poll_fn(|cx| {
            loop {
                // A panic answers 500, like an error; what the handler held is dropped with it.
                match catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(cx))) {
                    Ok(Poll::Ready(response)) => return Poll::Ready(Ok(response)),
                    Ok(Poll::Pending) => {}
                    Err(_) => return Poll::Ready(Ok(panicked(id.id()))),
                }
                if self.stream.poll_broken(cx).is_ready() {
                    return Poll::Ready(Err(Cut));
                }
                if !self.bring_body(cx) {
                    break;
                }
            }
            if self.is_too_slow(called, cx) {
                log::error!(
                    "request {}: its handler is dropped: it has not answered within {:?}",
                    id.id(),
                    self.worker.deadlines.handler
                );
                return Poll::Ready(Ok(plain_status(StatusCode::SERVICE_UNAVAILABLE)));
            }
            match self.poll_flush(cx) {
                Poll::Ready(Err(cut)) => Poll::Ready(Err(cut)),
                _ => Poll::Pending,
            }
        })
        .await;
        self.patience.end(Wait::Handler);
        answer
    }

    /// Whether a handler has used up its time, without that in which the peer was waited for; if not, the future
    /// polled with `cx` is woken when it may have.
    fn is_too_slow(&mut self, called: Instant, cx: &Context<'_>) -> bool {
        if self.current.body_rate.waits() {
            self.patience.end(Wait::Handler);
            return false;
        }
        let now = self.now();
        let spent = now.saturating_duration_since(called).saturating_sub(self.current.body_rate.waited(now));
        let left = self.worker.deadlines.handler.saturating_sub(spent);
        self.patience.begin(Wait::Handler, now, left);
        self.patience.poll_passed(Wait::Handler, now, cx)
    }

    /// Brings the next piece of the body to the reader that waits for it. Whether there is news for the reader.
    pub(super) fn bring_body(&mut self, cx: &mut Context<'_>) -> bool {
        match &self.current.incoming {
            Some(reader) if !reader.has_reader() => {
                // The reader may have asked for a piece before it went.
                self.body_can_wait();
                return false;
            }
            Some(reader) if reader.poll_wanted(cx).is_ready() => {}
            _ => return false,
        }
        let news = loop {
            break match self.http.next_piece(&self.worker.limits) {
                Ok(Piece::Content(piece)) => Ok(Some(piece)),
                Ok(Piece::End) => Ok(None),
                Err(refusal) => Err(Error::from(refusal)),
                Ok(Piece::NeedMore) => match self.poll_more_body(Wait::Body, cx) {
                    Poll::Pending => return false,
                    Poll::Ready(Ok(())) => continue,
                    Poll::Ready(Err(error)) => Err(error),
                },
            };
        };
        self.body_can_wait();
        match (news, &self.current.incoming) {
            (Ok(Some(piece)), Some(reader)) => reader.send(piece),
            (end, _) => {
                self.current.body_failed |= end.is_err();
                if let Some(reader) = self.current.incoming.take() {
                    reader.set_trailers(self.http.take_trailers());
                    reader.end(end.map(drop));
                }
            }
        }
        true
    }

    /// The peer is not waited for meanwhile: neither its deadline nor its rate counts.
    pub(super) fn body_can_wait(&mut self) {
        self.patience.end(Wait::Body);
        self.current.body_rate.stop(self.worker.core.now());
    }

    /// Receives more of a body. `wait` says for what: [`Wait::Body`] is for the next piece, which is to come at the
    /// least rate; [`Wait::Skip`] for all that is left, however it trickles.
    fn poll_more_body(&mut self, wait: Wait, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.http.invite_body(&mut self.out);
        match self.stream.poll_receive(cx) {
            Poll::Ready(Ok(bytes)) if bytes.is_empty() => {
                Poll::Ready(Err(Refusal::bad("the connection ended before the body did").into()))
            }
            Poll::Ready(Ok(bytes)) => {
                let now = self.now();
                if self.patience.has_passed(wait, now) {
                    self.current.body_rate.forgive(now);
                }
                self.current.body_rate.arrived(now, bytes.len());
                self.http.receive(bytes);
                self.patience.end(Wait::Body);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Error::from(error))),
            Poll::Pending => {
                let (now, deadlines) = (self.now(), &self.worker.deadlines);
                self.current.body_rate.wait(now);
                let time = match wait {
                    Wait::Skip => deadlines.body,
                    _ => deadlines.body.min(self.current.body_rate.left(now, deadlines.min_body_rate)),
                };
                self.patience.begin(wait, now, time);
                let has_passed = self.patience.has_passed(wait, now);
                if !self.patience.poll_input_passed(wait, now, || self.stream.has_unread(), cx) {
                    if has_passed {
                        self.current.body_rate.forgive(now);
                    }
                    return Poll::Pending;
                }
                // A peer that takes nothing is cut for that: it would not read that its body came too slowly.
                if self.patience.has_passed(Wait::Write, now) && self.poll_takes(cx).is_ready() {
                    return Poll::Pending;
                }
                Poll::Ready(Err(BODY_TOO_SLOW.into()))
            }
        }
    }

    /// Reads what is left of a body that its handler did not want, to reach the next request. False if it does not
    /// come: then there is none, and what was answered before is still to be sent.
    pub(super) async fn skip_body(&mut self) -> Result<bool, Cut> {
        if self.http.body_is_read() {
            return Ok(true);
        }
        while !self.http.body_is_read() {
            match self.http.next_piece(&self.worker.limits) {
                Ok(Piece::Content(_) | Piece::End) => {}
                Err(_) => return Err(Cut),
                Ok(Piece::NeedMore) => {
                    let came = poll_fn(|cx| match self.poll_flush(cx) {
                        Poll::Ready(Err(cut)) => Poll::Ready(Err(cut)),
                        _ => self.poll_more_body(Wait::Skip, cx).map(|came| Ok(came.is_ok())),
                    });
                    if !came.await? {
                        self.patience.end(Wait::Skip);
                        return Ok(false);
                    }
                }
            }
        }
        self.patience.end(Wait::Skip);
        Ok(true)
    }
}
