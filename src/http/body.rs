//! A body: none, whole, arriving, or made as it goes.

use crate::budget::{Budget, Share};
use crate::bytes::Bytes;
use crate::error::{Error, Result};
use crate::http::headers::{Headers, ResponseHeaders, checked_field, may_be_trailer};
use crate::http::limits::BODY_TOO_LONG;
use crate::http::upgrade::Upgrade;
use futures_core::Stream;
use http::StatusCode;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The body of a request or a response.
///
/// A request's body arrives while it is read: [`next`](Body::next) asks for one piece at a time, and nothing is
/// taken from the peer before it is asked for.
#[derive(Default)]
pub struct Body(Content);

#[derive(Default)]
enum Content {
    #[default]
    Empty,
    Whole(Bytes),
    Arriving(Rc<Channel>),
    Made(Box<Made>),
    /// The switch of a response that switches protocols: all that follows its head is the other protocol.
    Upgrade(Box<Upgrade>),
}

/// A body made as it goes, and the trailers that follow it.
struct Made {
    stream: Pin<Box<dyn Stream<Item = Result<Bytes>>>>,
    trailers: Option<MakeTrailers>,
}

type MakeTrailers = Box<dyn FnOnce() -> Trailers>;

impl Body {
    /// No body.
    pub const fn empty() -> Self {
        Self(Content::Empty)
    }

    /// A body made as it goes, sent chunked in HTTP/1.1. The next piece is asked for when the one before has
    /// been handed to the kernel. An error ends the connection, so that the client sees the body was cut.
    pub fn stream(stream: impl Stream<Item = Result<Bytes>> + 'static) -> Self {
        Self(Content::Made(Box::new(Made { stream: Box::pin(stream), trailers: None })))
    }

    /// A body made as it goes, followed by trailer fields, which `trailers` makes once the stream has ended.
    ///
    /// They reach an HTTP/1.1 client that has said that it reads them (`TE: trailers`); to others the body is sent
    /// without them (RFC 9110 section 6.5.1).
    pub fn stream_with_trailers(
        stream: impl Stream<Item = Result<Bytes>> + 'static,
        trailers: impl FnOnce() -> Trailers + 'static,
    ) -> Self {
        let trailers: Option<MakeTrailers> = Some(Box::new(trailers));
        Self(Content::Made(Box::new(Made { stream: Box::pin(stream), trailers })))
    }

    /// The trailer fields of a request's body (RFC 9112 section 7.1.2): once, after its end, if any came.
    pub fn take_trailers(&mut self) -> Option<Headers> {
        match &self.0 {
            Content::Arriving(channel) => channel.trailers.borrow_mut().take(),
            _ => None,
        }
    }

    pub(crate) fn upgrade(upgrade: Upgrade) -> Self {
        Self(Content::Upgrade(Box::new(upgrade)))
    }

    /// Takes what a switch of protocols goes on with, if this is one.
    pub(crate) fn take_upgrade(&mut self) -> Option<Box<Upgrade>> {
        match std::mem::take(&mut self.0) {
            Content::Upgrade(upgrade) => Some(upgrade),
            other => {
                self.0 = other;
                None
            }
        }
    }

    /// The trailer fields that are to follow a response's body.
    pub(crate) fn make_trailers(&mut self) -> Trailers {
        match &mut self.0 {
            Content::Made(made) => made.trailers.take().map(|make| make()).unwrap_or_default(),
            _ => Trailers::default(),
        }
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// All of it, in memory.
    ///
    /// # Errors
    /// 413 if there are more than `limit` bytes; 503 if the body of a request finds no room in the memory that
    /// requests may take together ([`Server::memory`](crate::Server::memory)). Room for a body of a known length is
    /// taken at once, so that a body that was begun finds room to its end.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes> {
        let too_long = || Error::with_status(StatusCode::PAYLOAD_TOO_LARGE, BODY_TOO_LONG);
        if let Some(whole) = self.take_whole() {
            return if whole.len() <= limit { Ok(whole) } else { Err(too_long()) };
        }
        if self.length().is_some_and(|length| length > limit as u64) {
            return Err(too_long());
        }
        let share = match &self.0 {
            Content::Arriving(channel) => Some(channel.budget.share()),
            _ => None,
        };
        let mut all = Collected { bytes: Vec::new(), share };
        // At most `limit`, which is a `usize`.
        all.grow_to(self.length().unwrap_or(0) as usize)?;
        while let Some(piece) = self.next().await {
            let piece = piece?;
            if piece.len() > limit - all.bytes.len() {
                return Err(too_long());
            }
            all.push(&piece, limit)?;
        }
        Ok(match all.share {
            Some(share) => Bytes::counted(all.bytes, share),
            None => all.bytes.into(),
        })
    }

    /// How many bytes are still to be read, if that is known.
    pub fn length(&self) -> Option<u64> {
        match &self.0 {
            Content::Empty | Content::Upgrade(_) => Some(0),
            Content::Whole(bytes) => Some(bytes.len() as u64),
            Content::Arriving(channel) => channel.left.get(),
            Content::Made(_) => None,
        }
    }

    /// Polls for the next piece; `None` at the end.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        match &mut self.0 {
            Content::Empty | Content::Upgrade(_) => Poll::Ready(None),
            Content::Whole(_) => Poll::Ready(self.take_whole().filter(|bytes| !bytes.is_empty()).map(Ok)),
            Content::Arriving(channel) => channel.poll_next(cx),
            Content::Made(made) => made.stream.as_mut().poll_next(cx),
        }
    }

    /// Takes the body if all of it is here.
    pub(crate) fn take_whole(&mut self) -> Option<Bytes> {
        match std::mem::take(&mut self.0) {
            Content::Empty => Some(Bytes::new()),
            Content::Whole(bytes) => Some(bytes),
            other => {
                self.0 = other;
                None
            }
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.0, Content::Empty)
    }

    /// Whether all of it is here.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.0, Content::Empty | Content::Whole(_))
    }

    /// A body that arrives through the returned sender; `length` if the head announced it.
    /// Collected, it counts for this budget.
    pub(crate) fn arriving(length: Option<u64>, budget: &Budget) -> (Sender, Self) {
        let channel = Rc::new(Channel {
            budget: budget.clone(),
            left: Cell::new(length),
            pieces: RefCell::default(),
            end: RefCell::default(),
            reader: RefCell::default(),
            feeder: RefCell::default(),
            trailers: RefCell::default(),
            wanted: Cell::new(false),
        });
        (Sender(Rc::clone(&channel)), Self(Content::Arriving(channel)))
    }
}

/// A body that is being collected, and its part of the budget if a request brought it.
struct Collected {
    bytes: Vec<u8>,
    share: Option<Share>,
}

impl Collected {
    /// Makes room for so many bytes in all.
    fn grow_to(&mut self, capacity: usize) -> Result<()> {
        if let Some(share) = &mut self.share {
            share.try_grow_to(capacity).map_err(|_| Error::no_room())?;
        }
        let more = capacity.saturating_sub(self.bytes.len());
        // The system may have less than the budget allows.
        self.bytes.try_reserve_exact(more).map_err(|_| Error::no_room())
    }

    /// Adds a piece. Where no length was announced, the room doubles, up to the limit.
    fn push(&mut self, piece: &[u8], limit: usize) -> Result<()> {
        let needed = self.bytes.len() + piece.len();
        if needed > self.bytes.capacity() {
            let doubled = self.bytes.capacity().saturating_mul(2).min(limit);
            self.grow_to(needed.max(doubled))?;
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

/// The trailer fields of a response (RFC 9110 section 6.5).
///
/// ```
/// use kiang::Trailers;
/// let trailers = Trailers::new().with("X-Checksum", "900150983cd24fb0")?;
/// # Ok::<(), kiang::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Trailers(pub(crate) ResponseHeaders);

impl Trailers {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field.
    ///
    /// # Errors
    /// If it cannot be a header field, or is one that must stand in the head: those that frame a message, describe
    /// its content, authenticate or control (RFC 9110 section 6.5.1).
    pub fn with(mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<Self> {
        let (name, value) = checked_field(name.into(), value.into())?;
        if !may_be_trailer(&name) {
            return Err(Error::new(format!("{name:?} cannot be a trailer field")));
        }
        self.0.push((name, value));
        Ok(self)
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        let bytes = bytes.into();
        Self(if bytes.is_empty() { Content::Empty } else { Content::Whole(bytes) })
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Content::Empty => "empty",
            Content::Whole(_) => "whole",
            Content::Arriving(_) => "arriving",
            Content::Made(_) => "made",
            Content::Upgrade(_) => "upgrade",
        };
        write!(f, "Body({kind}, length {:?})", self.length())
    }
}

/// The way of an arriving body from the connection to its reader, on one core.
struct Channel {
    /// The bytes still to be read, if the head told how many there are.
    left: Cell<Option<u64>>,
    /// What the body counts for where it is collected.
    budget: Budget,
    pieces: RefCell<VecDeque<Bytes>>,
    end: RefCell<Option<Result<()>>>,
    reader: RefCell<Option<Waker>>,
    /// The waker of the task that brings the pieces, while no piece is wanted.
    feeder: RefCell<Option<Waker>>,
    trailers: RefCell<Option<Headers>>,
    wanted: Cell<bool>,
}

impl Channel {
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if let Some(piece) = self.pieces.borrow_mut().pop_front() {
            self.left.set(self.left.get().map(|left| left.saturating_sub(piece.len() as u64)));
            return Poll::Ready(Some(Ok(piece)));
        }
        if let Some(end) = &mut *self.end.borrow_mut() {
            // An error is told once; after it the body has ended.
            return Poll::Ready(std::mem::replace(end, Ok(())).err().map(Err));
        }
        if !self.wanted.replace(true) {
            // The reader may be another task than the one that brings the pieces.
            let feeder = self.feeder.borrow_mut().take();
            if let Some(feeder) = feeder.filter(|feeder| !feeder.will_wake(cx.waker())) {
                feeder.wake();
            }
        }
        let mut reader = self.reader.borrow_mut();
        if !reader.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn wake(&self) {
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.wake();
        }
    }
}

/// The connection's end of an arriving body.
pub(crate) struct Sender(Rc<Channel>);

impl Sender {
    /// Ready when a reader waits for a piece. The connection reads from the socket only then, and that is the whole of
    /// the back-pressure: unwanted bytes stay in the kernel, and close the peer's window.
    pub(crate) fn poll_wanted(&self, cx: &Context<'_>) -> Poll<()> {
        if self.0.wanted.get() {
            return Poll::Ready(());
        }
        let mut feeder = self.0.feeder.borrow_mut();
        if !feeder.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *feeder = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whether a reader is left that can ask for a piece.
    pub(crate) fn has_reader(&self) -> bool {
        Rc::strong_count(&self.0) > 1
    }

    pub(crate) fn send(&self, piece: Bytes) {
        self.0.wanted.set(false);
        self.0.pieces.borrow_mut().push_back(piece);
        self.0.wake();
    }

    /// The trailers that came behind the body; to be told before its end.
    pub(crate) fn set_trailers(&self, trailers: Option<Headers>) {
        *self.0.trailers.borrow_mut() = trailers;
    }

    pub(crate) fn end(&self, result: Result<()>) {
        self.0.wanted.set(false);
        self.0.end.borrow_mut().get_or_insert(result);
        self.0.wake();
    }
}

impl Drop for Sender {
    /// A connection that ends takes its unfinished body with it: the reader must not wait for ever.
    fn drop(&mut self) {
        self.end(Err(Error::with_status(
            StatusCode::BAD_REQUEST,
            "the connection ended before the body did",
        )));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Waker;

    /// The last one first.
    struct Pieces(Vec<Bytes>);

    impl Stream for Pieces {
        type Item = Result<Bytes>;

        fn poll_next(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
            Poll::Ready(self.0.pop().map(Ok))
        }
    }

    fn poll(body: &mut Body) -> Poll<Option<Result<Bytes>>> {
        body.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_collected_body_counts_if_a_request_brought_it() {
        let budget = Budget::unlimited();
        let collect = |body: Body| match pin!(body.bytes(10)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(bytes) => bytes.expect("short enough"),
            Poll::Pending => panic!("it is there"),
        };
        let (sender, body) = Body::arriving(Some(3), &budget);
        sender.send(Bytes::from("abc"));
        sender.end(Ok(()));
        let arrived = collect(body);
        assert_eq!((&arrived[..], budget.used()), (&b"abc"[..], 3));
        drop(arrived);
        let mut made = collect(Body::stream(Pieces(vec![Bytes::from("de"), Bytes::from("abc")])));
        assert_eq!((&made[..], budget.used()), (&b"abcde"[..], 0));
        made.count(&budget);
        assert!(budget.used() >= 5, "it is an answer's to count");
    }

    #[test]
    fn an_arriving_body_is_wanted_only_while_somebody_waits() {
        let (sender, mut body) = Body::arriving(None, &Budget::unlimited());
        let wanted = || sender.poll_wanted(&Context::from_waker(Waker::noop())).is_ready();
        assert!(!wanted());
        assert!(poll(&mut body).is_pending());
        assert!(wanted());
        sender.send(Bytes::from("abc"));
        assert!(!wanted());
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(piece))) if &piece[..] == b"abc"));
        sender.end(Ok(()));
        assert!(matches!(poll(&mut body), Poll::Ready(None)));
    }

    #[test]
    fn a_body_whose_connection_ends_is_an_error_and_then_over() {
        let (sender, mut body) = Body::arriving(Some(10), &Budget::unlimited());
        sender.send(Bytes::from("abc"));
        drop(sender);
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Err(_)))));
        assert!(matches!(poll(&mut body), Poll::Ready(None)));
    }

    #[test]
    fn a_whole_body_is_read_once() {
        let mut body = Body::from("abc");
        assert_eq!(body.length(), Some(3));
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
        assert!(matches!(poll(&mut body), Poll::Ready(None)));
    }
}
