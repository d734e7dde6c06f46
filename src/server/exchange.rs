//! The part of an exchange that cannot be answered at once: a handler that waits, a body that arrives.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::connection::{Connection, Cut, Wait};
use super::rate::BodyRate;
use super::worker::Worker;
use crate::error::Error;
use crate::h1::decode::Piece;
use crate::h1::refusal::Refusal;
use crate::http::request_id::Kept;
use crate::http::respond::plain_status;
use crate::http::response::Response;
use crate::runtime::Timer;
use http::StatusCode;

pub(super) type Answering = Pin<Box<dyn Future<Output = Response>>>;

const BODY_TOO_SLOW: Refusal =
    Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request's body came too slowly");

impl Connection {
    /// Waits for a handler's answer, and brings it the request's body as far as it asks for it. Where the answer
    /// comes too late the handler is dropped.
    pub(super) async fn await_answer(
        &mut self,
        mut answering: Answering,
        id: &Kept,
    ) -> Result<Response, Cut> {
        let called = self.worker().core.now();
        // Nothing of this body was waited for yet: what is noted is of one before.
        self.body_rate = BodyRate::default();
        // Made only for a handler that waits for something else than the peer.
        let mut patience: Option<Timer> = None;
        poll_fn(|cx| {
            loop {
                // A panic answers 500, like an error; what the handler held is dropped with it.
                match catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(cx))) {
                    Ok(Poll::Ready(response)) => return Poll::Ready(Ok(response)),
                    Ok(Poll::Pending) => {}
                    Err(_) => return Poll::Ready(Ok(super::connection::panicked(id.id()))),
                }
                if self.stream.poll_broken(cx).is_ready() {
                    return Poll::Ready(Err(Cut));
                }
                if !self.bring_body(cx) {
                    break;
                }
            }
            if !self.body_rate.waits() && self.is_too_slow(called, &mut patience, cx) {
                log::error!(
                    "request {}: its handler is dropped: it has not answered within {:?}",
                    id.id(),
                    self.worker().deadlines.handler
                );
                return Poll::Ready(Ok(plain_status(StatusCode::SERVICE_UNAVAILABLE)));
            }
            match self.poll_flush(cx) {
                Poll::Ready(Err(cut)) => Poll::Ready(Err(cut)),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Whether a handler has used up its time, without that in which the peer was waited for; if not, the future
    /// polled with `cx` is woken when it may have.
    fn is_too_slow(&self, called: Instant, patience: &mut Option<Timer>, cx: &Context<'_>) -> bool {
        let Worker { core, deadlines, .. } = self.worker();
        let left = || {
            let spent = core.now().saturating_duration_since(called);
            deadlines.handler.saturating_sub(spent.saturating_sub(self.body_rate.waited(core.now())))
        };
        let timer = patience.get_or_insert_with(|| {
            let timer = Timer::new(core);
            timer.set(left());
            timer
        });
        while timer.poll_passed(cx) {
            // The peer may have been waited for since it was set.
            match left() {
                Duration::ZERO => return true,
                left => timer.set(left),
            }
        }
        false
    }

    /// Brings the next piece of the body to whoever waits for it. Whether there is news for the reader.
    pub(super) fn bring_body(&mut self, cx: &mut Context<'_>) -> bool {
        match &self.incoming {
            Some(reader) if !reader.has_reader() => {
                // It may have asked for a piece before it went.
                self.body_can_wait();
                return false;
            }
            Some(reader) if reader.poll_wanted(cx).is_ready() => {}
            _ => return false,
        }
        let news = loop {
            break match self.http.next_piece(&self.admission.0.limits) {
                Ok(Piece::Content(piece)) => Ok(Some(piece)),
                Ok(Piece::End) => Ok(None),
                Err(refusal) => Err(Error::from(refusal)),
                Ok(Piece::NeedMore) => match self.poll_more_body(cx) {
                    Poll::Pending => return false,
                    Poll::Ready(Ok(())) => continue,
                    Poll::Ready(Err(error)) => Err(error),
                },
            };
        };
        self.body_can_wait();
        match (news, &self.incoming) {
            (Ok(Some(piece)), Some(reader)) => reader.send(piece),
            (end, _) => {
                self.body_failed |= end.is_err();
                if let Some(reader) = self.incoming.take() {
                    reader.set_trailers(self.http.take_trailers());
                    reader.end(end.map(drop));
                }
            }
        }
        true
    }

    /// The peer is not waited for meanwhile: neither its deadline nor its rate counts.
    pub(super) fn body_can_wait(&mut self) {
        self.end_wait(Wait::Body);
        self.body_rate.stop(self.admission.0.core.now());
    }

    fn poll_more_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.http.invite_body(&mut self.out);
        match self.stream.poll_receive(cx) {
            Poll::Ready(Ok(bytes)) if bytes.is_empty() => {
                Poll::Ready(Err(Refusal::bad("the connection ended before the body did").into()))
            }
            Poll::Ready(Ok(bytes)) => {
                self.body_rate.arrived(self.worker().core.now(), bytes.len());
                self.http.receive(bytes);
                self.end_wait(Wait::Body);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Error::from(error))),
            Poll::Pending => {
                let Worker { core, deadlines, .. } = self.worker();
                let (now, between, least) = (core.now(), deadlines.body, deadlines.min_body_rate);
                self.body_rate.wait(now);
                self.begin_wait(Wait::Body, between.min(self.body_rate.left(now, least)));
                if self.timer.poll_passed(cx) {
                    Poll::Ready(Err(BODY_TOO_SLOW.into()))
                } else {
                    Poll::Pending
                }
            }
        }
    }

    /// Reads what is left of a body that its handler did not want, to reach the next request. False if it does not
    /// come: then there is none, and what was answered before is still to be sent.
    pub(super) async fn skip_body(&mut self) -> Result<bool, Cut> {
        if self.http.body_is_read() {
            return Ok(true);
        }
        // One deadline for all of it, however it trickles.
        self.timer.set(self.worker().deadlines.body);
        self.waits_for = Wait::Skip;
        while !self.http.body_is_read() {
            match self.http.next_piece(&self.admission.0.limits) {
                Ok(Piece::Content(_) | Piece::End) => {}
                Err(_) => return Err(Cut),
                Ok(Piece::NeedMore) => {
                    let came = poll_fn(|cx| match self.poll_flush(cx) {
                        Poll::Ready(Err(cut)) => Poll::Ready(Err(cut)),
                        _ => self.poll_more_body(cx).map(|came| Ok(came.is_ok())),
                    });
                    if !came.await? {
                        self.end_wait(Wait::Skip);
                        return Ok(false);
                    }
                }
            }
        }
        self.end_wait(Wait::Skip);
        Ok(true)
    }
}
