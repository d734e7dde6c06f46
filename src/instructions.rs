//! The way of a request through the engine without a socket: `bench/instructions` counts what it takes. Not public
//! API, and compiled only for that program and the unit tests.

use crate::bytes::{Bytes, Lease, Lender};
use crate::h1::connection::{Connection, Incoming, Rest, ServerSide};
use crate::h1::encode::Preamble;
use crate::http::body::Body;
use crate::http::limits::Limits;
use crate::http::request::{Origin, Request};
use crate::server::{Answer, Service};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// What a server says that does not drain, of a request whose body nobody reads any more.
const SERVER: ServerSide = ServerSide { keep_alive: true, reads_on: false };

/// Where the requests come from.
const ORIGIN: Origin = Origin { peer: None, buffered_body_bytes: 2 << 20 };

/// One connection of a core that has one, with what its worker would hold.
pub struct Offline {
    http: Connection,
    service: Box<dyn Service>,
    limits: Limits,
    preamble: Rc<Preamble>,
    out: Vec<u8>,
    /// The place for requests, of one core.
    request: Option<Box<Request>>,
}

/// The requests as they lie in a buffer of the ring, to be received as often as wanted.
pub struct Batch {
    memory: Rc<Memory>,
}

struct Memory(Vec<u8>);

impl Lender for Memory {
    fn memory(&self) -> &[u8] {
        &self.0
    }

    fn returned(&self) {}
}

impl Batch {
    /// Requests, one behind the other.
    pub fn new(requests: Vec<u8>) -> Self {
        Self { memory: Rc::new(Memory(requests)) }
    }

    fn lent(&self) -> Bytes {
        Bytes::lent(Lease::new(self.memory.clone()), self.memory.0.len())
    }
}

impl Offline {
    /// A connection that was just accepted.
    pub fn new(service: impl Service) -> Self {
        Self {
            http: Connection::new(),
            service: Box::new(service),
            limits: Limits::default(),
            preamble: Rc::new(Preamble::new("Sun, 06 Nov 1994 08:49:37 GMT")),
            out: Vec::new(),
            request: None,
        }
    }

    /// Answers all requests of a batch, and returns what would be sent. The steps are those of `answer_arrived` in
    /// `server/connection.rs`.
    ///
    /// # Panics
    /// If a request is refused, ends the connection, or is not answered at once and in full.
    pub fn answer(&mut self, batch: &Batch) -> &[u8] {
        self.out.clear();
        self.http.receive(batch.lent());
        let mut request = self.request.take().unwrap_or_else(|| Box::new(Request::new(ORIGIN)));
        request.origin_is(ORIGIN);
        let answered = catch_unwind(AssertUnwindSafe(|| self.answer_batch(&mut request)));
        assert!(answered.is_ok(), "a handler panicked");
        request.release();
        self.request = Some(request);
        &self.out
    }

    fn answer_batch(&mut self, request: &mut Request) {
        loop {
            let incoming = match self.http.next_request(&self.limits, request.head_mut()) {
                Ok(Some(incoming)) => incoming,
                Ok(None) => break,
                Err(refusal) => panic!("a request is refused: {refusal:?}"),
            };
            request.set_body(match incoming {
                Incoming::Nothing => None,
                Incoming::Whole(bytes) => Some(Body::from(bytes)),
                Incoming::Arriving(_) => panic!("a body is not all there"),
            });
            let Answer::Ready(mut response) = self.service.call(request) else {
                panic!("a handler waits");
            };
            let preamble = Rc::clone(&self.preamble);
            match self.http.respond(&mut response, SERVER, &preamble, &mut self.out) {
                Ok(Rest::Nothing) => {}
                rest => panic!("an answer is not written in full: {rest:?}"),
            }
            assert!(self.http.keep_alive(), "a request ends the connection");
        }
    }
}
