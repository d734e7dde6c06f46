//! The server's side of one connection: what arrived goes in, requests come out; responses go in, bytes come
//! out. Requests are answered one after the other, in the order in which they came (RFC 9112 section 9.3.2).

use crate::bytes::Bytes;
use crate::error::{Error, Result};
use crate::h1::decode::{Decoder, Piece};
use crate::h1::encode::{self, BodyEncoder, Persistence, Preamble, ResponseFraming};
use crate::h1::framing::{self, KnownHost, RequestFraming};
use crate::h1::parse;
use crate::h1::plan::{BodySize, Facts, RequestFacts, plan};
use crate::h1::refusal::Refusal;
use crate::http::body::Body;
use crate::http::headers::{Headers, Known, ResponseHeaders, list_members};
use crate::http::limits::Limits;
use crate::http::request::Head;
use crate::http::respond::{RETRY_AFTER, plain_status};
use crate::http::response::{ContentType, Response};
use crate::http::upgrade::Upgrade;
use http::StatusCode;

/// A body up to this long is copied behind its head, so that both leave in one send; a longer one is sent from
/// where it lies.
pub(crate) const COPIED_BODY: usize = 16 << 10;

/// The most bytes of an unwanted body that are read to keep the connection; to close costs less than to read more.
const SKIPPED_BODY: u64 = 64 << 10;

/// How many empty lines before a request are ignored.
const MOST_EMPTY_LINES: u8 = 100;

/// The interim response that lets a client send its body (RFC 9110 section 15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// One connection's protocol state.
pub(crate) struct Connection {
    /// Bytes that have arrived and were not read yet.
    input: Bytes,
    /// The first part of a head that came without the rest, copied so that an unfinished request keeps no buffer of the
    /// ring.
    unfinished: Vec<u8>,
    known_host: KnownHost,
    /// Empty lines that have come since the last request.
    empty_lines: u8,
    current: Current,
    /// The status of the last answer, and the bytes of its body that were written behind its head.
    written: (StatusCode, usize),
    keep_alive: bool,
}

/// The facts of the request that is being answered. The next request replaces them as a whole.
#[derive(Default)]
struct Current {
    /// The facts of the head; `None` if no head could be read.
    head: Option<RequestFacts>,
    body: Option<Decoder>,
    /// The client waits for a `100 (Continue)` that was not sent.
    expects_continue: bool,
    accepts_trailers: bool,
    /// How many bytes of a chunked body were skipped.
    skipped: usize,
    /// The protocols that the client offers to switch to, as a list.
    offered: Option<Box<[u8]>>,
}

/// The server's side of an exchange, as far as it decides how a response is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerSide {
    /// Another request may follow; false while the server drains.
    pub(crate) keep_alive: bool,
    /// A reader of the request's body is left.
    pub(crate) reads_on: bool,
}

/// The body of a request that has just begun.
#[derive(Debug)]
pub(crate) enum Incoming {
    Nothing,
    /// The whole body is here.
    Whole(Bytes),
    /// The body is still to come; its length, if the head announced one.
    Arriving(Option<u64>),
}

/// The part of a response that is left to send when its head was written.
#[derive(Debug)]
pub(crate) enum Rest {
    Nothing,
    /// These bytes, as they are.
    Bytes(Bytes),
    /// A body made as it goes, to be framed so.
    Stream(Body, BodyEncoder),
    /// The connection leaves HTTP.
    Upgrade(Box<Upgrade>),
}

impl Connection {
    pub(crate) fn new() -> Self {
        Self {
            input: Bytes::new(),
            unfinished: Vec::new(),
            known_host: KnownHost::default(),
            empty_lines: 0,
            current: Current::default(),
            written: (StatusCode::OK, 0),
            keep_alive: true,
        }
    }

    /// Takes what has arrived.
    pub(crate) fn receive(&mut self, bytes: Bytes) {
        if self.unfinished.is_empty() && self.input.is_empty() {
            self.input = bytes;
            return;
        }
        self.unfinished.extend_from_slice(&std::mem::take(&mut self.input));
        // A head ends in a line feed. Bytes without one complete no head, so they are gathered, and only checked.
        let parse = bytes.contains(&b'\n') || self.current.body.is_some();
        self.unfinished.extend_from_slice(&bytes);
        if parse {
            self.input = std::mem::take(&mut self.unfinished).into();
        }
    }

    /// The next request, if its head is all there, is put into `head`. The request before must have been answered,
    /// and its body read.
    ///
    /// `head` may hold the head of any request that was read within the same limits, also on another connection: a
    /// request with the same bytes is then not read again.
    pub(crate) fn next_request(
        &mut self,
        limits: &Limits,
        head: &mut Head,
    ) -> Result<Option<Incoming>, Refusal> {
        debug_assert!(self.body_is_read(), "the body of the request before stands between");
        self.current = Current::default();
        // Empty lines before a request are ignored (RFC 9112 section 2.2), and begin none.
        while self.input.starts_with(b"\r\n") {
            self.input.advance(2);
            self.empty_lines += 1;
            if self.empty_lines > MOST_EMPTY_LINES {
                return Err(Refusal::bad("there are more empty lines than this server ignores"));
            }
        }
        if self.input.is_empty() {
            if self.unfinished.is_empty() {
                return Ok(None);
            }
            return parse::check(&self.unfinished, limits).map(|()| None);
        }
        // Pipelined requests, and those of one client, are often the same byte for byte.
        let (length, terms) = if let Some(length) = head.repeats_in(&self.input) {
            self.current.head = Some(RequestFacts::of(head));
            (length, framing::terms(head)?)
        } else {
            head.is_accepted = false;
            let Some(length) = parse::head(&self.input, limits, head)? else {
                self.unfinished = std::mem::take(&mut self.input).to_vec();
                return Ok(None);
            };
            self.current.head = Some(RequestFacts::of(head));
            (length, framing::accept(head, &mut self.known_host)?)
        };
        self.keep_alive &= terms.keep_alive;
        self.input.advance(length);
        self.empty_lines = 0;
        self.current.accepts_trailers = terms.accepts_trailers;
        self.current.offered = terms.offers_upgrade.then(|| framing::offered(&head.headers));
        if terms.framing == RequestFraming::Length(0) {
            return Ok(Some(Incoming::Nothing));
        }
        let mut decoder = Decoder::new(terms.framing, limits)?;
        if let RequestFraming::Length(length) = terms.framing
            && length <= self.input.len() as u64
            && let Piece::Content(bytes) = decoder.decode(&mut self.input, limits)?
        {
            return Ok(Some(Incoming::Whole(bytes)));
        }
        // A client that has begun to send no longer waits (RFC 9110 section 10.1.1).
        self.current.expects_continue = terms.expects_continue && self.input.is_empty();
        let length = decoder.left();
        self.current.body = Some(decoder);
        Ok(Some(Incoming::Arriving(length)))
    }

    /// The next piece of the current request's body.
    pub(crate) fn next_piece(&mut self, limits: &Limits) -> Result<Piece, Refusal> {
        match &mut self.current.body {
            Some(decoder) => decoder.decode(&mut self.input, limits),
            None => Ok(Piece::End),
        }
    }

    /// The trailers that came at the end of the current request's body, if any did.
    pub(crate) fn take_trailers(&mut self) -> Option<Headers> {
        self.current.body.as_mut().and_then(Decoder::take_trailers)
    }

    /// Writes the interim response that the client waits for, if it waits for one.
    pub(crate) fn invite_body(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.current.expects_continue) {
            out.extend_from_slice(CONTINUE);
        }
    }

    /// Writes the head of a response, and its body if that is short.
    ///
    /// # Errors
    /// If the response cannot be sent as its handler made it. Nothing is written then.
    pub(crate) fn respond(
        &mut self,
        response: &mut Response,
        server: ServerSide,
        preamble: &Preamble,
        out: &mut Vec<u8>,
    ) -> Result<Rest> {
        let status = response.status();
        if status.is_informational() {
            return self.switch(response, server, preamble, out);
        }
        let (declared, closes) = if response.sets_ours() {
            (declared_length(response.headers())?, closes(response.headers()))
        } else {
            (None, false)
        };
        let whole = response.body_mut().take_whole();
        let body = match &whole {
            Some(bytes) => BodySize::Whole(bytes.len() as u64),
            None => BodySize::Made(response.body_mut().length()),
        };
        let may_persist =
            self.keep_alive && server.keep_alive && (server.reads_on || self.can_skip_body()) && !closes;
        // No answer is made to a head that could not be read, but a refusal.
        let request = self.current.head.unwrap_or(RequestFacts { http_11: true, is_head: false });
        let plan = plan(&Facts { status, body, declared, request, may_persist })?;
        self.keep_alive = plan.persistence != Persistence::Close;
        // Behind the head of the final response an invitation comes too late.
        if server.reads_on {
            self.invite_body(out);
        }
        encode::head(preamble, response, plan.framing, plan.persistence, out);
        self.written = (status, 0);
        Ok(match whole {
            _ if !plan.sends_body => Rest::Nothing,
            Some(bytes) if bytes.len() <= COPIED_BODY => {
                out.extend_from_slice(&bytes);
                self.written.1 = bytes.len();
                Rest::Nothing
            }
            Some(bytes) => Rest::Bytes(bytes),
            None => {
                let body = std::mem::take(response.body_mut());
                Rest::Stream(body, BodyEncoder::new(plan.framing, self.current.accepts_trailers))
            }
        })
    }

    /// Answers with a switch of protocols, if the client has offered one.
    fn switch(
        &mut self,
        response: &mut Response,
        server: ServerSide,
        preamble: &Preamble,
        out: &mut Vec<u8>,
    ) -> Result<Rest> {
        let Some(upgrade) = response.body_mut().take_upgrade() else {
            let status = response.status();
            return Err(Error::new(format!("a handler answered with {status}, which is no final answer")));
        };
        // Only to what was offered (RFC 9110 section 7.8).
        let is_offered = self.current.offered.as_ref().is_some_and(|offered| {
            list_members(std::iter::once(&**offered)).any(|name| name.eq_ignore_ascii_case(&upgrade.protocol))
        });
        if is_offered && self.body_is_read() {
            encode::head(preamble, response, ResponseFraming::Bodiless, Persistence::Upgrade, out);
            self.written = (response.status(), 0);
            return Ok(Rest::Upgrade(upgrade));
        }
        // RFC 9110 section 15.5.22
        let mut refusal = plain_status(StatusCode::UPGRADE_REQUIRED).header("Upgrade", upgrade.protocol);
        self.respond(&mut refusal, server, preamble, out)
    }

    /// The bytes that have arrived behind the last request.
    pub(crate) fn take_input(&mut self) -> Bytes {
        if self.unfinished.is_empty() {
            return std::mem::take(&mut self.input);
        }
        std::mem::take(&mut self.unfinished).into()
    }

    /// Writes the answer to a request that is refused: its reason as text, and the end of the connection, since
    /// where the next request would begin is no longer known.
    pub(crate) fn refuse(&mut self, refusal: Refusal, preamble: &Preamble, out: &mut Vec<u8>) {
        self.keep_alive = false;
        // The answer to a HEAD has no body, also if the rest of its head was not understood.
        let is_head = match self.current.head {
            Some(head) => head.is_head,
            None => [&self.input[..], &self.unfinished].iter().any(|head| head.starts_with(b"HEAD ")),
        };
        // As a handler's error is written: a client need not know which of the two answers.
        let text = format!("{}\n", refusal.reason);
        let mut response = Response::of_type(ContentType::Text, Body::empty()).with_status(refusal.status);
        if refusal.status == StatusCode::SERVICE_UNAVAILABLE {
            response = response.header(RETRY_AFTER.0, RETRY_AFTER.1);
        }
        let framing = ResponseFraming::Length(text.len() as u64);
        encode::head(preamble, &response, framing, Persistence::Close, out);
        self.written = (refusal.status, 0);
        if !is_head {
            out.extend_from_slice(text.as_bytes());
            self.written.1 = text.len();
        }
        // Nothing of it is read any more, while the client may be listened to for long.
        (self.input, self.unfinished) = (Bytes::new(), Vec::new());
    }

    /// The status of the answer that was begun last, and how many bytes of its body were written behind its head.
    pub(crate) fn written(&self) -> (StatusCode, usize) {
        self.written
    }

    /// Whether the head that [`next_request`](Self::next_request) was given last is that of the current request,
    /// also if it was then refused.
    pub(crate) fn has_head(&self) -> bool {
        self.current.head.is_some()
    }

    /// Whether another request may follow on this connection.
    pub(crate) fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether the body of the current request has been read to its end.
    pub(crate) fn body_is_read(&self) -> bool {
        self.current.body.as_ref().is_none_or(Decoder::is_done)
    }

    /// How many bytes of memory the first part of an unfinished head takes.
    pub(crate) fn gathered(&self) -> usize {
        self.unfinished.capacity()
    }

    /// Whether part of a head has arrived and the rest has not.
    pub(crate) fn is_mid_head(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// Skips as much of a chunked body without a reader as has arrived, up to the bound for any body. Whether more
    /// would be skipped if it had arrived.
    ///
    /// To be called before the response is written: only a body whose end is known lets the connection go on.
    pub(crate) fn skip_arrived(&mut self, limits: &Limits) -> bool {
        let Current { body: Some(decoder), expects_continue: false, skipped, .. } = &mut self.current else {
            return false;
        };
        if decoder.left().is_some() {
            return false;
        }
        while *skipped as u64 <= SKIPPED_BODY {
            let before = self.input.len();
            // A malformed body has no end to skip to.
            let Ok(piece) = decoder.decode(&mut self.input, limits) else { return false };
            *skipped += before - self.input.len();
            match piece {
                Piece::Content(_) => {}
                Piece::NeedMore => return true,
                Piece::End => return false,
            }
        }
        false
    }

    /// Whether what is left of the request's body is worth reading only to reach the next request.
    pub(crate) fn can_skip_body(&self) -> bool {
        match &self.current.body {
            None => true,
            Some(body) => {
                body.is_done()
                    || !self.current.expects_continue && body.left().is_some_and(|left| left <= SKIPPED_BODY)
            }
        }
    }
}

/// The length that a handler announced itself.
fn declared_length(headers: &ResponseHeaders) -> Result<Option<u64>> {
    let mut lengths = headers.iter().filter(|(name, _)| Known::of(name) == Known::ContentLength);
    let Some((_, value)) = lengths.next() else { return Ok(None) };
    if lengths.next().is_some() {
        return Err(Error::new("a handler set Content-Length twice"));
    }
    match framing::decimal(value) {
        Some(length) => Ok(Some(length)),
        None => Err(Error::new(format!("a handler set the Content-Length {value:?}, which is no number"))),
    }
}

/// Whether the handler asked for the connection to be closed.
fn closes(headers: &ResponseHeaders) -> bool {
    headers.iter().any(|(name, value)| {
        Known::of(name) == Known::Connection
            && list_members(std::iter::once(&value[..])).any(|option| option.eq_ignore_ascii_case(b"close"))
    })
}

/// The answer when a response cannot be sent as its handler made it.
pub(crate) fn unsendable() -> Response {
    plain_status(StatusCode::INTERNAL_SERVER_ERROR)
}
