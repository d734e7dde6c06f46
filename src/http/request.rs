//! A request: its head where it arrived, its body as it arrives.

use crate::bytes::Bytes;
use crate::http::body::Body;
use crate::http::headers::Headers;
use crate::http::request_id::{self, Kept, RequestId};
use http::{Method, Version};
use smallvec::SmallVec;
use std::cell::OnceCell;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;

/// A request as it was received.
#[derive(Debug)]
pub struct Request {
    head: Head,
    body: Body,
    origin: Origin,
    params: Params,
    /// The request's name in logs, if that does not stand in the head.
    id: OnceCell<Kept>,
}

/// The head of a request (RFC 9110 section 6.2), its text still in the buffer it arrived in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) target: Range<u16>,
    pub(crate) path: Range<u16>,
    /// Where the query begins; 0, where the method is, if there is none. It ends with the target.
    pub(crate) query: u16,
    /// The host that is asked for: the target's authority, or else Host; empty if there is none.
    pub(crate) authority: Range<u16>,
    pub(crate) headers: Headers,
    /// The engine has accepted this head: the same bytes are the same request again. Cleared by whatever changes the
    /// head, and before the head is filled.
    pub(crate) is_accepted: bool,
}

impl Head {
    /// How long this head is, if it was accepted and `input` begins with the same bytes. A head ends with its first
    /// empty line, so no longer head can begin with this one.
    #[inline]
    pub(crate) fn repeats_in(&self, input: &[u8]) -> Option<usize> {
        let known: &[u8] = self.headers.head();
        (self.is_accepted && input.starts_with(known)).then_some(known.len())
    }
}

/// The facts of the connection on which a request came in.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) peer: Option<SocketAddr>,
    /// The most bytes of a body that may be collected in memory.
    pub(crate) buffered_body_bytes: usize,
}

/// The parts of the path that a route's `{name}` segments matched, percent-encoded as they arrived.
pub(crate) type Params = SmallVec<[(Rc<str>, Range<u16>); 4]>;

impl Request {
    /// A request of which nothing has arrived.
    pub(crate) fn new(origin: Origin) -> Self {
        Self {
            head: Head::default(),
            body: Body::empty(),
            origin,
            params: Params::new(),
            id: OnceCell::new(),
        }
    }

    /// The method (RFC 9110 section 9).
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The request target as it was received (RFC 9112 section 3.2).
    pub fn target(&self) -> &str {
        self.text(&self.head.target)
    }

    /// The path of the target, percent-encoded as it was received.
    pub fn path(&self) -> &str {
        self.text(&self.head.path)
    }

    /// What follows the `?` of the target, percent-encoded as it was received.
    pub fn query(&self) -> Option<&str> {
        let Head { target, query, .. } = &self.head;
        (*query != 0).then(|| self.text(&(*query..target.end)))
    }

    /// The host that is asked for, with its port if it has one: what the target names, or else Host (RFC 9110
    /// section 7.2). HTTP/1.0 may leave it out.
    pub fn host(&self) -> Option<&str> {
        let authority = &self.head.authority;
        (!authority.is_empty()).then(|| self.text(authority))
    }

    /// The version of HTTP it came in.
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// The header fields.
    pub fn headers(&self) -> &Headers {
        &self.head.headers
    }

    /// The body.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// The body, for good.
    pub fn into_body(self) -> Body {
        self.body
    }

    /// The address of the peer; `None` if it was gone before the kernel could tell.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.origin.peer
    }

    /// The request's name in logs: found or made when this is first called, and the same ever after.
    pub fn id(&self) -> RequestId {
        match self.id_of_peer() {
            Some(id) => id,
            None => self.id.get_or_init(Kept::next).id(),
        }
    }

    /// The same, to be kept when the request is gone.
    pub(crate) fn kept_id(&self) -> Kept {
        match self.id_of_peer() {
            Some(id) => Kept::Peer(Box::new(id)),
            None => self.id.get_or_init(Kept::next).clone(),
        }
    }

    fn id_of_peer(&self) -> Option<RequestId> {
        self.headers().get(request_id::FIELD).and_then(RequestId::of_peer)
    }

    /// What the route's `{name}` segments matched, percent-encoded as it was received.
    pub fn params(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.params.iter().map(|(name, range)| (&**name, self.text(range)))
    }

    pub(crate) fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    /// Takes the request out of its place, and leaves an empty one of the same [`id`](Self::id).
    #[must_use]
    pub fn take(&mut self) -> Self {
        let mut empty = Self::new(self.origin.clone());
        empty.id = self.kept_id().into();
        std::mem::replace(self, empty)
    }

    /// Says where the next requests come in.
    pub(crate) fn origin_is(&mut self, origin: Origin) {
        self.origin = origin;
    }

    /// Lets go of all that the last request held, but for its head: the next request may be the same again.
    pub(crate) fn release(&mut self) {
        self.set_body(None);
        self.params.clear();
        self.id.take();
    }

    /// The head of another request, to be filled where it is.
    pub(crate) fn head_mut(&mut self) -> &mut Head {
        self.id.take();
        &mut self.head
    }

    pub(crate) fn buffered_body_bytes(&self) -> usize {
        self.origin.buffered_body_bytes
    }

    /// Where the path lies in the head.
    pub(crate) fn path_range(&self) -> Range<u16> {
        self.head.path.clone()
    }

    pub(crate) fn path_bytes(&self) -> &[u8] {
        let Range { start, end } = self.head.path;
        &self.head.headers.head()[start as usize..end as usize]
    }

    /// The body that has arrived with the head. Mostly there is none, and was none before.
    pub(crate) fn set_body(&mut self, body: Option<Body>) {
        if let Some(body) = body {
            self.body = body;
        } else if !self.body.is_empty() {
            self.body = Body::empty();
        }
    }

    fn text(&self, range: &Range<u16>) -> &str {
        let head: &Bytes = self.head.headers.head();
        // The parser admits only ASCII into a target.
        str::from_utf8(&head[range.start as usize..range.end as usize]).unwrap_or_default()
    }
}
