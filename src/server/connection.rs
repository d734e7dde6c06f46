//! The task of one connection: what arrives is answered, in order, until one side has had enough.
//!
//! All requests that arrived together are answered together, in one send. What a plain handler answers costs no
//! allocation and no turn of the executor; nothing of a request is kept while the connection is idle.
//!
//! Its parts stand in files of their own: [`input`](super::input) waits for requests, [`exchange`](super::exchange) for
//! handlers and bodies, [`sending`](super::sending) sends.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use super::access_log::Outcome;
use super::admission::Admission;
use super::current::{Current, Leaving};
use super::memory::NO_ROOM_FOR_HEAD;
use super::patience::Patience;
use super::service::{Answer, Answering};
use super::share::Share;
use super::taking::Taking;
use super::waits::Wait;
use super::worker::Worker;
use crate::budget::Share as Held;
use crate::h1::connection::{Connection as Http, Incoming, Rest, ServerSide, unsendable};
use crate::h1::refusal::Refusal;
use crate::http::body::{Body, Sender};
use crate::http::request::{Origin, Request};
use crate::http::request_id::{Kept, RequestId};
use crate::http::respond::plain_status;
use crate::http::response::Response;
use crate::http::upgrade::Upgrade;
use crate::runtime::Transport;
use http::StatusCode;

const HEAD_TOO_SLOW: Refusal =
    Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request's head came too slowly");

/// One connection, over any transport.
pub(super) struct Connection<T: Transport> {
    /// Given back first when the connection ends.
    _admission: Admission,
    pub(super) worker: Rc<Worker>,
    pub(super) stream: T,
    pub(super) http: Http,
    /// Answers that were written and not sent.
    pub(super) out: Vec<u8>,
    /// What counts of the head that is gathered, or of answers that cannot be sent yet.
    pub(super) held: Held,
    pub(super) patience: Patience,
    pub(super) share: Share,
    pub(super) taking: Taking,
    /// The last piece of a long body is on its way.
    pub(super) leaving: Option<Leaving>,
    pub(super) current: Current,
    /// How many more requests are answered.
    requests_left: u64,
    pub(super) answered: bool,
    /// A handler runs: a panic is its own.
    calls_handler: bool,
    /// The peer may still be sending when the last answer leaves.
    pub(super) lingers: bool,
    pub(super) peer: Option<SocketAddr>,
}

/// The connection cannot go on.
pub(super) struct Cut;

/// What stopped a batch.
enum Next {
    /// Everything that has arrived is answered.
    Input,
    /// The share of this connection is used up.
    Flush,
    /// A handler's, to the request of this id.
    Answer(Answering, Kept),
    /// The rest of a response, and of the body of the request it answers.
    Rest(Rest),
    Close,
    Cut,
}

/// What ended the wait for input.
pub(super) enum Input {
    Arrived,
    Ended,
    TooLate,
    /// There is no memory for what has arrived.
    NoRoom,
}

impl<T: Transport> Connection<T> {
    pub(super) fn new(
        worker: &Rc<Worker>,
        admission: Admission,
        stream: T,
        peer: Option<SocketAddr>,
    ) -> Self {
        let mut patience = Patience::new(&worker.core);
        patience.begin(Wait::FirstHead, worker.core.now(), worker.deadlines.head);
        let requests_left = worker.limits.requests.unwrap_or(u64::MAX);
        Self {
            _admission: admission,
            worker: Rc::clone(worker),
            stream,
            http: Http::new(),
            out: Vec::new(),
            held: worker.core.budget().share(),
            patience,
            share: Share::default(),
            taking: Taking::default(),
            leaving: None,
            current: Current::default(),
            requests_left,
            answered: false,
            calls_handler: false,
            lingers: false,
            peer,
        }
    }

    /// Serves until the connection ends, or leaves HTTP: then for what is to go on with it. By reference: a future
    /// that takes the connection by value keeps room for it twice.
    pub(super) async fn serve(&mut self) -> Option<Box<Upgrade>> {
        match self.answer_all().await {
            Ok(None) => self.finish().await,
            Ok(Some(upgrade)) => return self.flush().await.ok().map(|()| upgrade),
            Err(Cut) => {}
        }
        None
    }

    /// Answers until the connection ends, or leaves HTTP.
    async fn answer_all(&mut self) -> Result<Option<Box<Upgrade>>, Cut> {
        loop {
            match self.answer_arrived() {
                Next::Input => {
                    self.flush().await?;
                    match self.input().await? {
                        // Where memory is short, nothing is answered before the answer before has been taken.
                        Input::Arrived if self.worker.core.budget().is_short() => self.sent().await?,
                        Input::Arrived => {}
                        Input::Ended => return Ok(None),
                        Input::TooLate => {
                            self.refuse_late();
                            return Ok(None);
                        }
                        Input::NoRoom => {
                            self.refuse(NO_ROOM_FOR_HEAD, None);
                            return Ok(None);
                        }
                    }
                }
                Next::Flush => {
                    // The others have their turn until the kernel has taken what was written.
                    self.flush_and_wait().await?;
                    self.room_in_turn().await;
                }
                Next::Answer(answering, id) => {
                    let mut response = self.await_answer(answering, &id).await?;
                    match self.respond(&mut response, &|| id.id()) {
                        Rest::Upgrade(upgrade) => return Ok(Some(upgrade)),
                        rest => self.send_rest(rest).await?,
                    }
                }
                Next::Rest(Rest::Upgrade(upgrade)) => return Ok(Some(upgrade)),
                Next::Rest(rest) => self.send_rest(rest).await?,
                Next::Close => return Ok(None),
                Next::Cut => return Err(Cut),
            }
            // A reader of the body that is left comes too late.
            self.current.incoming = None;
            if !self.http.keep_alive() {
                return Ok(None);
            }
            self.skip_arrived();
            if self.current.body_failed || !self.http.can_skip_body() {
                self.lingers = true;
                return Ok(None);
            }
            if !self.skip_body().await? {
                return Ok(None);
            }
        }
    }

    /// Answers what has arrived, as far as that goes without waiting.
    fn answer_arrived(&mut self) -> Next {
        let worker = Rc::clone(&self.worker);
        let origin = Origin { peer: self.peer, buffered_body_bytes: worker.limits.buffered_body_bytes };
        // One place for all requests of the core, and one guard around all handlers of the batch.
        let mut request = worker.request_place(origin);
        let next = self.answer_guarded(&worker, &mut request);
        worker.keep_place(request);
        next
    }

    fn answer_guarded(&mut self, worker: &Worker, request: &mut Request) -> Next {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.answer_batch(worker, request))) {
                Ok(next) => return next,
                // The panic was not a handler's: nothing is known of the connection's state.
                Err(_) if !self.calls_handler => return Next::Cut,
                Err(_) => {
                    self.calls_handler = false;
                    request.set_body(None);
                    if let Some(next) = self.answer(&mut panicked(request.id()), request) {
                        return next;
                    }
                }
            }
        }
    }

    fn answer_batch(&mut self, worker: &Worker, request: &mut Request) -> Next {
        loop {
            if self.share.is_used(self.out.len(), || worker.core.precise_now()) {
                return Next::Flush;
            }
            let incoming = match self.http.next_request(&worker.limits, request.head_mut()) {
                Ok(Some(incoming)) => incoming,
                Ok(None) => match self.stream.try_receive() {
                    Some(Ok(bytes)) if !bytes.is_empty() => {
                        self.http.receive(bytes);
                        continue;
                    }
                    _ => return Next::Input,
                },
                Err(refusal) => {
                    self.refuse(refusal, self.http.has_head().then_some(request));
                    return Next::Close;
                }
            };
            worker.count_request();
            self.patience.end_request();
            self.requests_left = self.requests_left.saturating_sub(1);
            let (body, incoming) = match incoming {
                Incoming::Nothing => (None, None),
                Incoming::Whole(bytes) => (Some(Body::from(bytes)), None),
                Incoming::Arriving(length) => {
                    let (sender, body) = Body::arriving(length, worker.core.budget());
                    (Some(body), Some(sender))
                }
            };
            request.set_body(body);
            let entry = worker.access_log.as_ref().and_then(|log| log.begin(request));
            self.current = Current { entry, incoming, ..Current::default() };
            self.calls_handler = true;
            let answer = worker.service.call(request);
            self.calls_handler = false;
            // No reader is left for what the handler has not taken of the body.
            if self.current.incoming.is_some() {
                request.set_body(None);
            }
            match answer {
                Answer::Ready(mut response) => {
                    if let Some(next) = self.answer(&mut response, request) {
                        return next;
                    }
                }
                Answer::Later(answering) => return Next::Answer(answering, request.kept_id()),
            }
        }
    }

    /// Writes a response; what is to be done before the next one, if anything is.
    fn answer(&mut self, response: &mut Response, request: &Request) -> Option<Next> {
        match self.respond(response, &|| request.id()) {
            Rest::Nothing if !self.http.keep_alive() => Some(Next::Close),
            Rest::Nothing if self.http.body_is_read() => None,
            rest => Some(Next::Rest(rest)),
        }
    }

    /// Writes the head of a response, and its body if that is short.
    fn respond(&mut self, response: &mut Response, id: &dyn Fn() -> RequestId) -> Rest {
        let reads_on = self.current.incoming.as_ref().is_some_and(Sender::has_reader);
        if !reads_on {
            // No reader is left: drop the sender and any pending wish.
            self.current.incoming = None;
            self.skip_arrived();
        }
        let worker = &self.worker;
        let keep_alive = !worker.is_draining() && !self.current.body_failed && self.requests_left > 0;
        let preamble = worker.preamble();
        self.answered = true;
        self.take_buffer();
        let client_goes_on = self.http.keep_alive();
        let server = ServerSide { keep_alive, reads_on };
        let before = self.out.len();
        let mut rest = match self.http.respond(response, server, &preamble, &mut self.out) {
            Ok(rest) => rest,
            Err(error) => {
                log::error!("request {}: its response cannot be sent: {error}", id());
                // Its own body is whole and its head plain, so this one can.
                self.http
                    .respond(&mut unsendable(), server, &preamble, &mut self.out)
                    .unwrap_or(Rest::Nothing)
            }
        };
        self.count_rest(&mut rest, before, |connection, refusal| {
            let Self { http, out, .. } = connection;
            // As plain as the one above.
            let _ = http.respond(refusal, server, &preamble, out);
        });
        self.log_answer(&rest);
        self.lingers |= client_goes_on && !self.http.keep_alive() || !self.http.body_is_read();
        rest
    }

    /// Skips what has arrived of a chunked body that nobody reads any more.
    fn skip_arrived(&mut self) {
        while self.http.skip_arrived(&self.worker.limits) {
            match self.stream.try_receive() {
                Some(Ok(bytes)) if !bytes.is_empty() => self.http.receive(bytes),
                _ => break,
            }
        }
    }

    /// Writes the answer to a request that is refused, of which the head may not be known.
    fn refuse(&mut self, refusal: Refusal, request: Option<&Request>) {
        let preamble = self.worker.preamble();
        self.lingers = true;
        self.take_buffer();
        self.http.refuse(refusal, &preamble, &mut self.out);
        self.log_refusal(refusal, request);
    }

    /// Ends a connection that took too long: with an answer if a request had begun, without one if not
    /// (RFC 9110 section 15.5.9).
    fn refuse_late(&mut self) {
        if self.http.is_mid_head() {
            self.refuse(HEAD_TOO_SLOW, None);
        }
    }

    /// Waits for a turn in which there is room for those who have used up their share. The task stays ready, and goes
    /// behind the others.
    async fn room_in_turn(&mut self) {
        let Worker { core, turn, .. } = &*self.worker;
        poll_fn(|cx| {
            if turn.has_room(core.now(), || core.precise_now()) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.share.renew(self.waiting());
    }

    /// The time of this turn.
    pub(super) fn now(&self) -> Instant {
        self.worker.core.now()
    }

    pub(super) fn take_buffer(&mut self) {
        if self.out.capacity() == 0 {
            self.out = self.stream.take_buffer();
        }
    }
}

impl<T: Transport> Drop for Connection<T> {
    fn drop(&mut self) {
        self.end_leaving(&Outcome::Cut);
        self.end_entry(&Outcome::Cut);
        if self.current.streams {
            self.stream.reset_at_end();
        }
        self.stream.put_buffer(std::mem::take(&mut self.out));
    }
}

/// The answer in place of a handler that panicked; the panic hook has told why.
pub(super) fn panicked(id: RequestId) -> Response {
    log::error!("request {id}: its handler panicked; it is answered 500");
    plain_status(StatusCode::INTERNAL_SERVER_ERROR)
}
