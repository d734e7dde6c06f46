//! A connection played from bytes cut into pieces, for the property tests and the fuzz targets: what it made of
//! them, and what it answered.

use crate::bytes::Bytes;
use crate::error::Result;
use crate::h1::connection::{Connection, Incoming, Rest, ServerSide};
use crate::h1::decode::{Decoder, Piece};
use crate::h1::encode::{BodyEncoder, Preamble, ResponseFraming};
use crate::h1::framing::RequestFraming;
use crate::h1::refusal::Refusal;
use crate::http::body::Body;
use crate::http::headers::{Headers, ResponseHeaders};
use crate::http::limits::Limits;
use crate::http::request::Head;
use crate::http::response::Response;
use futures_core::Stream;
use http::{StatusCode, Version};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A request as the engine saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) minor: u8,
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) content: Vec<u8>,
    pub(crate) trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether another request may follow.
    pub(crate) keep_alive: bool,
}

/// How a connection stands when all bytes have gone in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The connection waits for more, in the middle of a request or before the next one.
    Waits,
    /// The connection has answered the last request that may come.
    Closed,
    /// The connection has refused the request, with this status.
    Refused(u16),
}

/// All that became of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transcript {
    pub(crate) requests: Vec<Seen>,
    pub(crate) end: End,
    /// The final responses. Interim ones, and which of several faults a refusal names, depend on the pieces in which
    /// the bytes arrive.
    pub(crate) written: Vec<u8>,
    /// How many bytes had gone in when each request was whole. Where every piece is one byte, this is where it ends.
    pub(crate) whole_at: Vec<usize>,
}

/// Feeds a new connection these pieces, reads what comes out, and answers each request with its own content.
pub(crate) fn replay<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: &Limits) -> Transcript {
    replay_behind(&mut Head::default(), pieces, limits)
}

/// The same, where `head` is the place in which the heads of other connections lay before.
pub(crate) fn replay_behind<'a>(
    head: &mut Head,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limits: &Limits,
) -> Transcript {
    let mut replay = Replay {
        head,
        connection: Connection::new(),
        limits,
        current: None,
        preamble: Preamble::new("Sun, 06 Nov 1994 08:49:37 GMT"),
        arrived: 0,
        transcript: Transcript {
            requests: Vec::new(),
            end: End::Waits,
            written: Vec::new(),
            whole_at: Vec::new(),
        },
    };
    for piece in pieces {
        replay.arrived += piece.len();
        replay.connection.receive(Bytes::from(piece.to_vec()));
        if let Err(refusal) = replay.advance() {
            let mut answer = Vec::new();
            replay.connection.refuse(refusal, &replay.preamble, &mut answer);
            assert!(answer.starts_with(b"HTTP/1.1 "));
            replay.transcript.end = End::Refused(refusal.status.as_u16());
        }
        if replay.transcript.end != End::Waits {
            assert!(!replay.connection.keep_alive(), "nothing may follow on a connection that has ended");
            break;
        }
    }
    replay.transcript
}

struct Replay<'a> {
    head: &'a mut Head,
    connection: Connection,
    limits: &'a Limits,
    /// The request whose content is arriving.
    current: Option<Seen>,
    preamble: Preamble,
    arrived: usize,
    transcript: Transcript,
}

impl Replay<'_> {
    /// Takes all that there is to be had of what has arrived.
    fn advance(&mut self) -> Result<(), Refusal> {
        loop {
            let Some(mut seen) = self.current.take() else {
                if !self.begin()? {
                    return Ok(());
                }
                continue;
            };
            match self.connection.next_piece(self.limits)? {
                Piece::Content(bytes) => {
                    seen.content.extend_from_slice(&bytes);
                    self.current = Some(seen);
                }
                Piece::NeedMore => {
                    self.connection.invite_body(&mut Vec::new());
                    self.current = Some(seen);
                    return Ok(());
                }
                Piece::End => {
                    seen.trailers = self.connection.take_trailers().as_ref().map(copied).unwrap_or_default();
                    self.answer(seen);
                    if self.transcript.end == End::Closed {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Takes the next head; false if it is not all there.
    fn begin(&mut self) -> Result<bool, Refusal> {
        let Some(incoming) = self.connection.next_request(self.limits, self.head)? else { return Ok(false) };
        let mut seen = seen(self.head);
        if let Incoming::Whole(bytes) = incoming {
            seen.content = bytes.to_vec();
        }
        self.current = Some(seen);
        Ok(true)
    }

    fn answer(&mut self, mut seen: Seen) {
        assert!(self.connection.body_is_read(), "the content ended before its framing did");
        // HTTP/1.0 has no chunks: the end of a streamed body would be the end of the connection.
        let body = if seen.minor == 0 || seen.content.len().is_multiple_of(2) {
            Body::from(seen.content.clone())
        } else {
            Body::stream(Pieces(Bytes::from(seen.content.clone())))
        };
        let mut response = Response::new(StatusCode::OK).body(body);
        let out = &mut self.transcript.written;
        let server = ServerSide { keep_alive: true, reads_on: false };
        match self.connection.respond(&mut response, server, &self.preamble, out) {
            Ok(Rest::Nothing) => {}
            Ok(Rest::Bytes(bytes)) => out.extend_from_slice(&bytes),
            Ok(Rest::Stream(body, encoder)) => write(body, encoder, out),
            Ok(Rest::Upgrade(_)) => unreachable!("no response here upgrades"),
            Err(error) => panic!("its own content cannot answer a request: {error}"),
        }
        seen.keep_alive = self.connection.keep_alive();
        if !seen.keep_alive {
            self.transcript.end = End::Closed;
        }
        self.transcript.requests.push(seen);
        self.transcript.whole_at.push(self.arrived);
    }
}

/// The head's parts, copied out of it.
fn seen(head: &Head) -> Seen {
    let target = head.target.start as usize..head.target.end as usize;
    Seen {
        method: head.method.as_str().as_bytes().to_vec(),
        target: head.headers.head()[target].to_vec(),
        minor: u8::from(head.version != Version::HTTP_10),
        fields: copied(&head.headers),
        content: Vec::new(),
        trailers: Vec::new(),
        keep_alive: false,
    }
}

fn copied(fields: &Headers) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect()
}

fn write(mut body: Body, mut encoder: BodyEncoder, out: &mut Vec<u8>) {
    while let Poll::Ready(Some(piece)) = body.poll_next(&mut Context::from_waker(Waker::noop())) {
        encode(&mut encoder, &piece.expect("the stream makes no errors"), out);
    }
    encoder.end(&ResponseHeaders::new(), out).expect("a chunked body has no length to miss");
}

fn encode(encoder: &mut BodyEncoder, piece: &[u8], out: &mut Vec<u8>) {
    encoder.before_piece(piece.len(), out).expect("a chunked body has no length to exceed");
    out.extend_from_slice(piece);
    encoder.after_piece(out);
}

/// A stream of what is left, seven bytes at a time.
struct Pieces(Bytes);

impl Stream for Pieces {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let length = self.0.len().min(7);
        Poll::Ready((length > 0).then(|| Ok(self.0.split_to(length))))
    }
}

/// These pieces, chunked as a response's body is.
pub(crate) fn chunked<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = BodyEncoder::new(ResponseFraming::Chunked, false);
    for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
        encode(&mut encoder, piece, &mut out);
    }
    encoder.end(&ResponseHeaders::new(), &mut out).expect("a chunked body has no length to miss");
    out
}

/// A chunked body, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) content: Vec<u8>,
    /// How many bytes it took, once it has ended, or why it is refused; neither if more must come.
    pub(crate) end: Option<Result<usize, u16>>,
}

/// Decodes a chunked body that arrives in these pieces.
pub(crate) fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: &Limits) -> Decoded {
    let mut decoded = Decoded { content: Vec::new(), end: None };
    let mut decoder = Decoder::new(RequestFraming::Chunked, limits).expect("it announces no length");
    let mut arrived = 0;
    for piece in pieces {
        arrived += piece.len();
        let mut input = Bytes::from(piece.to_vec());
        decoded.end = loop {
            match decoder.decode(&mut input, limits) {
                Ok(Piece::Content(bytes)) => decoded.content.extend_from_slice(&bytes),
                Ok(Piece::NeedMore) => break None,
                Ok(Piece::End) => break Some(Ok(arrived - input.len())),
                Err(refusal) => break Some(Err(refusal.status.as_u16())),
            }
        };
        if decoded.end.is_some() {
            break;
        }
    }
    decoded
}
