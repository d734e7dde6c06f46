//! The task of one connection: what arrives is answered, in order, until one side has had enough.
//!
//! All requests that arrived together are answered together, in one send. What a plain handler answers costs no
//! allocation and no turn of the executor; nothing of a request is kept while the connection is idle.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::access_log::{Entry, Outcome};
use super::admission::Admission;
use super::exchange::Answering;
use super::linger::linger;
use super::rate::BodyRate;
use super::service::Answer;
use super::worker::Worker;
use crate::bytes::Bytes;
use crate::error::Error;
use crate::h1::connection::{COPIED_BODY, Connection as Http, Incoming, Rest, ServerSide, unsendable};
use crate::h1::encode::BodyEncoder;
use crate::h1::refusal::Refusal;
use crate::http::body::{Body, Sender, Trailers};
use crate::http::request::{Origin, Request};
use crate::http::request_id::{Kept, RequestId};
use crate::http::respond::plain_status;
use crate::http::response::Response;
use crate::http::upgrade::Upgrade;
use crate::runtime::{Payload, Stream, Timer};
use http::StatusCode;

/// Once this much is to be sent it is sent, and pipelined requests behind it wait.
const BATCH: usize = 64 << 10;
/// The longest piece of a body given to the kernel at once, so that the write deadline sees progress.
pub(super) const LONGEST_SEND: usize = 256 << 10;
/// While the server drains, an idle connection gets this long to send one more request, which is then answered
/// with `Connection: close`: it may be on its way already.
const DRAIN_IDLE: Duration = Duration::from_millis(250);
/// The same for a connection that has just been accepted.
const DRAIN_FRESH: Duration = Duration::from_secs(1);
/// How long and how much to listen to a peer after the last answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;

const HEAD_TOO_SLOW: Refusal =
    Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request's head came too slowly");

/// One connection.
#[expect(clippy::struct_excessive_bools, reason = "facts of the current exchange, independent of each other")]
pub(super) struct Connection {
    pub(super) admission: Admission,
    pub(super) stream: Stream,
    pub(super) http: Http,
    /// Answers that were written and not sent.
    pub(super) out: Vec<u8>,
    pub(super) timer: Timer,
    /// What the timer stands for.
    pub(super) waits_for: Wait,
    /// The body of the current request will never be whole.
    pub(super) body_failed: bool,
    /// The way of the current request's body to whoever reads it, until all of it has gone there.
    pub(super) incoming: Option<Sender>,
    /// How that body comes.
    pub(super) body_rate: BodyRate,
    /// How many more requests are answered.
    requests_left: u64,
    answered: bool,
    /// A handler runs: a panic is its own.
    calls_handler: bool,
    /// The current request's entry in the access log, if it is to have one.
    pub(super) entry: Option<Box<Entry>>,
    /// The peer may still be sending when the last answer leaves.
    lingers: bool,
    pub(super) peer: Option<SocketAddr>,
}

/// The connection cannot go on.
pub(super) struct Cut;

/// What the timer of a connection stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Nothing,
    FirstHead,
    Head,
    Idle,
    Drain,
    Body,
    /// For all that is left of a body that nobody wants.
    Skip,
    Write,
}

/// What stopped a batch.
enum Next {
    /// Everything that has arrived is answered.
    Input,
    Flush,
    /// A handler's, to the request of this id.
    Answer(Answering, Kept),
    /// The rest of a response, and of the body of the request it answers.
    Rest(Rest),
    Close,
    Cut,
}

/// What ended the wait for input.
enum Input {
    Arrived,
    Ended,
    TooLate,
}

impl Connection {
    pub(super) fn new(admission: Admission, stream: Stream, peer: Option<SocketAddr>) -> Self {
        let timer = Timer::new(&admission.0.core);
        timer.set(admission.0.deadlines.head);
        let requests_left = admission.0.limits.requests.unwrap_or(u64::MAX);
        Self {
            admission,
            stream,
            http: Http::new(),
            out: Vec::new(),
            timer,
            waits_for: Wait::FirstHead,
            body_failed: false,
            incoming: None,
            body_rate: BodyRate::default(),
            requests_left,
            answered: false,
            calls_handler: false,
            entry: None,
            lingers: false,
            peer,
        }
    }

    /// Serves until the connection ends, or leaves HTTP: then for what is to go on with it. By reference: a future
    /// that takes it by value keeps room for it twice.
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
                        Input::Arrived => {}
                        Input::Ended => return Ok(None),
                        Input::TooLate => {
                            self.refuse_late();
                            return Ok(None);
                        }
                    }
                }
                Next::Flush => self.flush().await?,
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
            // Whoever still reads the body comes too late.
            self.incoming = None;
            if !self.http.keep_alive() {
                return Ok(None);
            }
            self.skip_arrived();
            if self.body_failed || !self.http.can_skip_body() {
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
        let worker = Rc::clone(&self.admission.0);
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
            if self.out.len() >= BATCH {
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
            if let Some(log) = &worker.access_log {
                self.entry = log.begin(request);
            }
            self.requests_left = self.requests_left.saturating_sub(1);
            request.set_body(match incoming {
                Incoming::Nothing => None,
                Incoming::Whole(bytes) => Some(Body::from(bytes)),
                Incoming::Arriving(length) => {
                    let (sender, body) = Body::arriving(length);
                    self.incoming = Some(sender);
                    self.body_rate = BodyRate::default();
                    Some(body)
                }
            });
            self.calls_handler = true;
            let answer = worker.service.call(request);
            self.calls_handler = false;
            // What the handler has left of the body, nobody reads any more.
            if self.incoming.is_some() {
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
        let reads_on = self.incoming.as_ref().is_some_and(Sender::has_reader);
        if !reads_on {
            // No reader is left: drop the sender and any pending wish.
            self.incoming = None;
            self.skip_arrived();
        }
        let worker = self.worker();
        let keep_alive = !worker.is_draining() && !self.body_failed && self.requests_left > 0;
        let preamble = worker.preamble();
        self.answered = true;
        self.waits_for = Wait::Nothing;
        self.take_buffer();
        let client_goes_on = self.http.keep_alive();
        let server = ServerSide { keep_alive, reads_on };
        let rest = match self.http.respond(response, server, &preamble, &mut self.out) {
            Ok(rest) => rest,
            Err(error) => {
                log::error!("request {}: its response cannot be sent: {error}", id());
                // Its own body is whole and its head plain, so this one can.
                self.http
                    .respond(&mut unsendable(), server, &preamble, &mut self.out)
                    .unwrap_or(Rest::Nothing)
            }
        };
        self.log_answer(&rest);
        self.lingers |= client_goes_on && !self.http.keep_alive() || !self.http.body_is_read();
        rest
    }

    /// Skips what has arrived of a chunked body that nobody reads any more.
    fn skip_arrived(&mut self) {
        while self.http.skip_arrived(&self.admission.0.limits) {
            match self.stream.try_receive() {
                Some(Ok(bytes)) if !bytes.is_empty() => self.http.receive(bytes),
                _ => break,
            }
        }
    }

    /// Writes the answer to a request that is refused, of which the head may not be known.
    fn refuse(&mut self, refusal: Refusal, request: Option<&Request>) {
        let preamble = self.worker().preamble();
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

    /// Sends what is left of a response.
    async fn send_rest(&mut self, rest: Rest) -> Result<(), Cut> {
        match rest {
            // Whoever speaks the new protocol sends.
            Rest::Nothing | Rest::Upgrade(_) => {}
            Rest::Bytes(bytes) => self.send_bytes(bytes).await?,
            Rest::Stream(body, encoder) => {
                let sent = self.send_stream(body, encoder).await;
                if sent.is_err() {
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
            self.flush().await?;
            self.sent().await?;
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
                    // Whoever reads the request's body besides is served all the same.
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

    /// Begins to send what was written, when the send before has ended.
    async fn flush(&mut self) -> Result<(), Cut> {
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
                self.stream.start_send(Payload::Buffer(std::mem::take(&mut self.out)));
                Poll::Ready(Ok(()))
            }
            waits_or_failed => waits_or_failed,
        }
    }

    /// Waits until the kernel has taken everything.
    async fn sent(&mut self) -> Result<(), Cut> {
        self.body_can_wait();
        poll_fn(|cx| self.poll_sent(cx)).await
    }

    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        match self.stream.poll_sent(cx) {
            Poll::Ready(result) => {
                self.end_wait(Wait::Write);
                Poll::Ready(result.map_err(|_| Cut))
            }
            Poll::Pending => {
                self.begin_wait(Wait::Write, self.worker().deadlines.write);
                if self.timer.poll_passed(cx) { Poll::Ready(Err(Cut)) } else { Poll::Pending }
            }
        }
    }

    /// Sets the deadline of a wait for the peer, unless one runs already: a handler that is polled again and
    /// again must not lengthen it.
    pub(super) fn begin_wait(&mut self, wait: Wait, deadline: Duration) {
        if !matches!(self.waits_for, Wait::Body | Wait::Skip | Wait::Write) {
            self.timer.set(deadline);
            self.waits_for = wait;
        }
    }

    /// The peer has done what was waited for.
    pub(super) fn end_wait(&mut self, wait: Wait) {
        if self.waits_for == wait {
            self.waits_for = Wait::Nothing;
        }
    }

    /// Waits for more to arrive.
    async fn input(&mut self) -> Result<Input, Cut> {
        self.set_input_deadline();
        poll_fn(|cx| {
            match self.stream.poll_receive(cx) {
                Poll::Ready(Ok(bytes)) if bytes.is_empty() => return Poll::Ready(Ok(Input::Ended)),
                Poll::Ready(Ok(bytes)) => {
                    self.http.receive(bytes);
                    return Poll::Ready(Ok(Input::Arrived));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Cut)),
                Poll::Pending => {}
            }
            if self.worker().is_draining() && matches!(self.waits_for, Wait::Idle | Wait::FirstHead) {
                self.timer.set(if self.answered { DRAIN_IDLE } else { DRAIN_FRESH });
                self.waits_for = Wait::Drain;
            }
            if self.timer.poll_passed(cx) { Poll::Ready(Ok(Input::TooLate)) } else { Poll::Pending }
        })
        .await
    }

    fn set_input_deadline(&mut self) {
        let deadlines = &self.admission.0.deadlines;
        let (wait, deadline) = match (self.http.is_mid_head(), self.answered) {
            (true, _) => (Wait::Head, deadlines.head),
            (false, true) => (Wait::Idle, deadlines.idle),
            (false, false) => (Wait::FirstHead, deadlines.head),
        };
        match (self.waits_for, wait) {
            // Neither is lengthened by an empty line, which begins no request.
            (Wait::Idle | Wait::Drain, Wait::Idle) | (Wait::Drain, Wait::FirstHead) => return,
            // A head's time runs from its first byte, and is not lengthened by the next.
            (Wait::Head | Wait::FirstHead, Wait::Head | Wait::FirstHead) => {}
            _ => self.timer.set(deadline),
        }
        self.waits_for = wait;
    }

    /// Sends what is left and says goodbye; if the peer may still be sending, listens for a moment.
    async fn finish(&mut self) {
        if self.flush().await.is_err() || self.sent().await.is_err() || !self.lingers {
            return;
        }
        self.timer.set(LINGER);
        linger(&self.stream, &self.timer, LINGER_BYTES).await;
    }

    pub(super) fn worker(&self) -> &Worker {
        &self.admission.0
    }

    fn take_buffer(&mut self) {
        if self.out.capacity() == 0 {
            self.out = self.stream.take_buffer();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.end_entry(&Outcome::Cut);
        self.stream.put_buffer(std::mem::take(&mut self.out));
    }
}

/// The answer in place of a handler that panicked; the panic hook has told why.
pub(super) fn panicked(id: RequestId) -> Response {
    log::error!("request {id}: its handler panicked; it is answered 500");
    plain_status(StatusCode::INTERNAL_SERVER_ERROR)
}
