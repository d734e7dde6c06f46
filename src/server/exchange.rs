//! The part of an exchange that cannot be answered at once: a handler that waits, a body that arrives.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::connection::{Connection, Cut, Wait};
use crate::error::Error;
use crate::h1::decode::Piece;
use crate::h1::refusal::Refusal;
use crate::http::request_id::Kept;
use crate::http::response::Response;
use http::StatusCode;

pub(super) type Answering = Pin<Box<dyn Future<Output = Response>>>;

const BODY_TOO_SLOW: Refusal =
    Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request's body came too slowly");

impl Connection {
    /// Waits for a handler's answer, and brings it the request's body as far as it asks for it.
    pub(super) async fn await_answer(
        &mut self,
        mut answering: Answering,
        id: &Kept,
    ) -> Result<Response, Cut> {
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
            match self.poll_flush(cx) {
                Poll::Ready(Err(cut)) => Poll::Ready(Err(cut)),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Brings the next piece of the body to whoever waits for it. Whether there is news for the reader.
    pub(super) fn bring_body(&mut self, cx: &mut Context<'_>) -> bool {
        if self.incoming.as_ref().is_none_or(|reader| reader.poll_wanted(cx).is_pending()) {
            return false;
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
        self.end_wait(Wait::Body);
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

    fn poll_more_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.http.invite_body(&mut self.out);
        match self.stream.poll_receive(cx) {
            Poll::Ready(Ok(bytes)) if bytes.is_empty() => {
                Poll::Ready(Err(Refusal::bad("the connection ended before the body did").into()))
            }
            Poll::Ready(Ok(bytes)) => {
                self.http.receive(bytes);
                self.end_wait(Wait::Body);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Error::from(error))),
            Poll::Pending => {
                self.begin_wait(Wait::Body, self.worker().deadlines.body);
                if self.timer.poll_passed(cx) {
                    Poll::Ready(Err(BODY_TOO_SLOW.into()))
                } else {
                    Poll::Pending
                }
            }
        }
    }

    /// Reads what is left of a body that its handler did not want, to reach the next request.
    pub(super) async fn skip_body(&mut self) -> Result<(), Cut> {
        if self.http.body_is_read() {
            return Ok(());
        }
        // One deadline for all of it, however it trickles.
        self.timer.set(self.worker().deadlines.body);
        self.waits_for = Wait::Skip;
        while !self.http.body_is_read() {
            match self.http.next_piece(&self.admission.0.limits) {
                Ok(Piece::Content(_) | Piece::End) => {}
                Err(_) => return Err(Cut),
                Ok(Piece::NeedMore) => {
                    poll_fn(|cx| match self.poll_flush(cx) {
                        Poll::Ready(Err(cut)) => Poll::Ready(Err(cut)),
                        _ => self.poll_more_body(cx).map_err(|_| Cut),
                    })
                    .await?;
                }
            }
        }
        self.end_wait(Wait::Skip);
        Ok(())
    }
}
