//! The application that is served: every kind of handler there is. What it answers tells to whom.

use std::cell::Cell;
use std::future::{Future, pending};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::http::body::Body;
use crate::http::request::Request;
use crate::http::respond::IntoResponse;
use crate::http::response::Response;
use crate::runtime::{Core, mix};
use crate::server::{Answer, Service};
use crate::{Bytes, Error, StatusCode};

/// The longest body that is collected.
pub(super) const COLLECTED: usize = 20 << 10;

/// The bytes of one exchange from `start` on, which no other has: of a connection, and a number on it.
pub(super) fn bytes(connection: u64, number: u64, start: usize, length: usize) -> Vec<u8> {
    let key = mix(connection << 32 | number);
    let mut bytes = Vec::with_capacity(length + 8);
    let first = start / 8;
    for word in first..=(start + length) / 8 {
        bytes.extend_from_slice(&mix(key ^ word as u64).to_ne_bytes());
    }
    bytes.drain(..start - first * 8);
    bytes.truncate(length);
    bytes
}

/// The service of one core. The target says what is wanted: `/kind/connection/number/a/b`.
pub(super) struct Application {
    core: Core,
    calls: Rc<Cell<u64>>,
}

impl Application {
    /// `calls` counts the requests that reach it.
    pub(super) fn new(core: &Core, calls: Rc<Cell<u64>>) -> Self {
        Self { core: core.clone(), calls }
    }
}

impl Service for Application {
    fn call(&self, request: &mut Request) -> Answer {
        self.calls.set(self.calls.get() + 1);
        let mut parts = request.path().split('/').skip(1);
        let kind = parts.next().unwrap_or_default().to_owned();
        let [connection, number, a, b] =
            std::array::from_fn(|_| parts.next().and_then(|part| part.parse().ok()).unwrap_or(0));
        let core = self.core.clone();
        let answer = move || ok(bytes(connection, number, 0, a as usize));
        let wait = Duration::from_millis(b);
        match kind.as_str() {
            "plain" => Answer::Ready(answer()),
            "wait" => Answer::Later(Box::pin(async move {
                core.sleep(wait).await;
                answer()
            })),
            "ask" => Answer::Later(Box::pin(async move {
                match core.ask_all(Core::id).await[..] {
                    [0] => answer(),
                    _ => StatusCode::IM_A_TEAPOT.into_response(),
                }
            })),
            "collect" => {
                let request = request.take();
                Answer::Later(Box::pin(async move {
                    if b > 0 {
                        core.sleep(wait).await;
                    }
                    match request.into_body().bytes(COLLECTED).await {
                        Ok(body) => Response::new(StatusCode::OK).body(body),
                        Err(error) => error.into_response(),
                    }
                }))
            }
            "sendback" => {
                let body = request.take().into_body();
                Answer::Ready(Response::new(StatusCode::OK).body(Body::stream(SendBack(body))))
            }
            "stream" => {
                let pieces = Pieces { core, connection, number, at: 0, end: a, piece: b, pause: None };
                Answer::Ready(Response::new(StatusCode::OK).body(Body::stream(pieces)))
            }
            // The hook is passed by: it would tell of every panic.
            "panic" => resume_unwind(Box::new("on purpose")),
            "panics" => Answer::Later(Box::pin(async move {
                core.sleep(wait).await;
                resume_unwind(Box::new("on purpose"))
            })),
            "hang" => Answer::Later(Box::pin(pending())),
            _ => Answer::Ready(StatusCode::NOT_FOUND.into_response()),
        }
    }
}

fn ok(body: Vec<u8>) -> Response {
    Response::new(StatusCode::OK).body(body)
}

/// A body in pieces, with a pause before every third.
struct Pieces {
    core: Core,
    connection: u64,
    number: u64,
    at: u64,
    end: u64,
    piece: u64,
    pause: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl futures_core::Stream for Pieces {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let length = self.piece.max(1).min(self.end - self.at);
        if length == 0 {
            return Poll::Ready(None);
        }
        let piece = bytes(self.connection, self.number, self.at as usize, length as usize);
        self.at += length;
        if (self.at / self.piece.max(1)).is_multiple_of(3) {
            let core = self.core.clone();
            self.pause = Some(Box::pin(async move { core.sleep(Duration::from_millis(1)).await }));
        }
        Poll::Ready(Some(Ok(piece.into())))
    }
}

/// A request's body as the response's.
struct SendBack(Body);

impl futures_core::Stream for SendBack {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(cx)
    }
}
