//! Bodies: from the bytes of a connection to pieces of content (RFC 9112 sections 6 and 7).

use crate::bytes::Bytes;
use crate::h1::framing::RequestFraming;
use crate::h1::parse;
use crate::h1::refusal::Refusal;
use crate::http::headers::{Headers, is_token, may_be_trailer};
use crate::http::limits::{BODY_TOO_LONG, Limits};
use http::StatusCode;

const BAD_SIZE: Refusal = Refusal::bad("a chunk's size is not a hexadecimal number");
const BAD_LINE: Refusal = Refusal::bad("a line between chunks does not end in CR LF");
const TRAILERS_TOO_LONG: Refusal = Refusal::new(
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "the trailers are longer than this server reads",
);
const TOO_LONG: Refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, BODY_TOO_LONG);

/// Decodes one body.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    /// The bytes of content that may still come.
    allowed: u64,
    /// The bytes of chunk extensions that may still come. They mean nothing here (section 7.1.1), and must not be a way
    /// to send for ever.
    extensions_allowed: usize,
    /// The lines of the trailer section, as far as they have come.
    lines: Vec<u8>,
    trailers: Option<Box<Headers>>,
}

/// A piece of a body, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Content(Bytes),
    /// More must arrive first.
    NeedMore,
    /// The body is over.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So much content, and then the end.
    Length(u64),
    Size {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
        part: Extension,
    },
    SizeLf {
        size: u64,
    },
    Chunk(u64),
    ChunkCr,
    ChunkLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
    End,
}

/// Where in `";" chunk-ext-name [ "=" chunk-ext-val ]` (section 7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    NameStart,
    Name,
    ValueStart,
    Token,
    Quoted,
    QuotedPair,
    AfterQuoted,
}

impl Decoder {
    /// A decoder for a body framed so; refuses at once what announces more than the limit.
    pub(crate) fn new(framing: RequestFraming, limits: &Limits) -> Result<Self, Refusal> {
        let state = match framing {
            RequestFraming::Length(length) if length > limits.body_bytes => return Err(TOO_LONG),
            RequestFraming::Length(0) => State::End,
            RequestFraming::Length(length) => State::Length(length),
            RequestFraming::Chunked => State::Size { size: 0, digits: 0 },
        };
        let (allowed, extensions_allowed) = (limits.body_bytes, limits.chunk_extension_bytes);
        Ok(Self { state, allowed, extensions_allowed, lines: Vec::new(), trailers: None })
    }

    /// The trailers that came at the end of the body (section 7.1.2), if any did.
    pub(crate) fn take_trailers(&mut self) -> Option<Headers> {
        self.trailers.take().map(|trailers| *trailers)
    }

    /// Whether the body is over.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::End
    }

    /// How much of the body is still to come, where its head announced a length.
    pub(crate) fn left(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::End => Some(0),
            _ => None,
        }
    }

    /// Takes the next piece of content off `input`.
    pub(crate) fn decode(&mut self, input: &mut Bytes, limits: &Limits) -> Result<Piece, Refusal> {
        loop {
            match &mut self.state {
                State::End => return Ok(Piece::End),
                _ if input.is_empty() => return Ok(Piece::NeedMore),
                State::Length(left) => {
                    let piece = take(input, left);
                    if *left == 0 {
                        self.state = State::End;
                    }
                    return Ok(Piece::Content(piece));
                }
                State::Chunk(left) => {
                    let piece = take(input, left);
                    if *left == 0 {
                        self.state = State::ChunkCr;
                    }
                    return Ok(Piece::Content(piece));
                }
                _ => self.line(input, limits)?,
            }
        }
    }

    /// Reads on through the lines between chunks, as far as `input` goes or content begins.
    fn line(&mut self, input: &mut Bytes, limits: &Limits) -> Result<(), Refusal> {
        let mut read = 0;
        for byte in input.iter() {
            if matches!(self.state, State::Chunk(_) | State::End) {
                break;
            }
            self.state = self.step(*byte, limits)?;
            read += 1;
        }
        input.advance(read);
        Ok(())
    }

    /// One byte of a chunk-size line, a line end or the trailers.
    fn step(&mut self, byte: u8, limits: &Limits) -> Result<State, Refusal> {
        Ok(match (self.state, byte) {
            (State::Size { size, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                // Sixteen digits fill 64 bits; more are refused, even as leading zeros.
                if digits == 16 {
                    return Err(BAD_SIZE);
                }
                let digit = (byte as char).to_digit(16).ok_or(BAD_SIZE)?;
                State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (State::Size { digits: 0, .. }, _) => return Err(BAD_SIZE),
            (State::Size { size, .. }, b'\r') => State::SizeLf { size },
            (State::Size { size, .. }, b';') => self.extension(size, Extension::NameStart)?,
            (State::Size { .. }, _) => return Err(BAD_SIZE),
            (State::Extension { size, part }, b'\r') if part.may_end() => State::SizeLf { size },
            (State::Extension { size, part }, _) => self.extension(size, part.next(byte)?)?,
            (State::SizeLf { size: 0 }, b'\n') => State::TrailerStart,
            (State::SizeLf { size }, b'\n') => {
                self.allowed = self.allowed.checked_sub(size).ok_or(TOO_LONG)?;
                State::Chunk(size)
            }
            (State::ChunkCr, b'\r') => State::ChunkLf,
            (State::ChunkLf, b'\n') => State::Size { size: 0, digits: 0 },
            (State::TrailerStart, b'\r') => State::LastLf,
            (State::TrailerStart | State::Trailer, b'\n') => return Err(BAD_LINE),
            (State::Trailer, b'\r') => self.trailer(byte, limits, State::TrailerLf)?,
            (State::TrailerStart | State::Trailer, _) => self.trailer(byte, limits, State::Trailer)?,
            (State::TrailerLf, b'\n') => self.trailer(byte, limits, State::TrailerStart)?,
            (State::LastLf, b'\n') => {
                self.read_trailers(limits)?;
                State::End
            }
            _ => return Err(BAD_LINE),
        })
    }

    /// Goes on with a chunk extension, which has used one more byte.
    fn extension(&mut self, size: u64, part: Extension) -> Result<State, Refusal> {
        let too_long = Refusal::bad("the chunk extensions of the body are longer than this server reads");
        self.extensions_allowed = self.extensions_allowed.checked_sub(1).ok_or(too_long)?;
        Ok(State::Extension { size, part })
    }

    /// Keeps a byte of the trailer section.
    fn trailer(&mut self, byte: u8, limits: &Limits, next: State) -> Result<State, Refusal> {
        if self.lines.len() >= limits.trailer_bytes {
            return Err(TRAILERS_TOO_LONG);
        }
        self.lines.push(byte);
        Ok(next)
    }

    fn read_trailers(&mut self, limits: &Limits) -> Result<(), Refusal> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let mut lines = std::mem::take(&mut self.lines);
        lines.extend_from_slice(b"\r\n");
        let trailers = parse::fields(&lines.into(), limits)?;
        // The head has decided; a trailer must not decide again (RFC 9110 section 6.5.1).
        if trailers.iter().any(|(name, _)| !may_be_trailer(name.as_bytes())) {
            return Err(Refusal::bad("a trailer field is one that may only stand in the head"));
        }
        self.trailers = Some(Box::new(trailers));
        Ok(())
    }
}

impl Extension {
    /// Whether the chunk-size line may end here.
    fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Token | Self::AfterQuoted)
    }

    fn next(self, byte: u8) -> Result<Self, Refusal> {
        let is_token = is_token(&[byte]);
        Ok(match (self, byte) {
            (Self::NameStart | Self::Name, _) if is_token => Self::Name,
            (Self::Name, b'=') => Self::ValueStart,
            (Self::ValueStart, b'"') => Self::Quoted,
            (Self::ValueStart | Self::Token, _) if is_token => Self::Token,
            (Self::Name | Self::Token | Self::AfterQuoted, b';') => Self::NameStart,
            (Self::Quoted, b'"') => Self::AfterQuoted,
            (Self::Quoted, b'\\') => Self::QuotedPair,
            // RFC 9110 section 5.6.4: HTAB, SP, visible characters and obs-text.
            (Self::Quoted | Self::QuotedPair, b'\t' | b' '..=b'~' | 0x80..) => Self::Quoted,
            _ => return Err(Refusal::bad("a chunk extension is malformed")),
        })
    }
}

/// Up to `left` bytes off `input`, counted down.
fn take(input: &mut Bytes, left: &mut u64) -> Bytes {
    let n = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    *left -= n as u64;
    input.split_to(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `pieces` as they arrive; the content, and what of the last piece was left for the next request.
    fn decode(
        framing: RequestFraming,
        limit: u64,
        pieces: &[&[u8]],
    ) -> Result<(Vec<u8>, Vec<u8>, bool), u16> {
        let limits = Limits { body_bytes: limit, ..Limits::default() };
        let mut decoder = Decoder::new(framing, &limits).map_err(|refusal| refusal.status.as_u16())?;
        let mut content = Vec::new();
        for (at, piece) in pieces.iter().enumerate() {
            let mut input = Bytes::from(piece.to_vec());
            loop {
                match decoder.decode(&mut input, &limits).map_err(|refusal| refusal.status.as_u16())? {
                    Piece::Content(bytes) => content.extend_from_slice(&bytes),
                    Piece::NeedMore => break,
                    Piece::End => {
                        let rest = [&input[..], &pieces[at + 1..].concat()].concat();
                        return Ok((content, rest, true));
                    }
                }
            }
        }
        Ok((content, Vec::new(), decoder.is_done()))
    }

    #[test]
    fn a_body_decodes_the_same_wherever_it_is_split() {
        let chunked =
            b"4;x=\"y\"\r\nWiki\r\n6\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nA: b\r\n\r\nGET /";
        let plain = b"Wikipedia in \r\n\r\nchunks.GET /";
        let content = b"Wikipedia in \r\n\r\nchunks.".to_vec();
        for (framing, bytes) in [(RequestFraming::Chunked, &chunked[..]), (RequestFraming::Length(24), plain)]
        {
            for at in 0..=bytes.len() {
                let (first, second) = bytes.split_at(at);
                let all = (content.clone(), b"GET /".to_vec(), true);
                assert_eq!(decode(framing, 100, &[first, second]), Ok(all), "split at {at}");
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(decode(framing, 100, &single).unwrap().0, content);
        }
    }

    #[test]
    fn trailers_are_kept_and_extensions_are_not() {
        let limits = Limits::default();
        let mut decoder = Decoder::new(RequestFraming::Chunked, &limits).unwrap();
        let mut input = Bytes::from("1;a;b=c;d=\"\\\"e\"\r\nx\r\n0\r\nX-Sum:  1 \r\nX-b: 2\r\n\r\n");
        assert_eq!(decoder.decode(&mut input, &limits), Ok(Piece::Content(Bytes::from("x"))));
        assert_eq!(decoder.decode(&mut input, &limits), Ok(Piece::End));
        let trailers = decoder.take_trailers().unwrap();
        assert_eq!(trailers.iter().collect::<Vec<_>>(), [("X-Sum", &b"1"[..]), ("X-b", b"2")]);
    }

    #[test]
    fn a_truncated_body_is_not_done() {
        assert!(!decode(RequestFraming::Chunked, 100, &[b"3\r\nabc\r\n0\r\n"]).unwrap().2);
        assert!(!decode(RequestFraming::Length(4), 100, &[b"abc"]).unwrap().2);
    }

    #[test]
    fn a_body_is_as_long_as_allowed_and_not_longer() {
        assert!(decode(RequestFraming::Length(3), 3, &[b"abc"]).unwrap().2);
        assert_eq!(decode(RequestFraming::Length(4), 3, &[b""]), Err(413));
        assert!(decode(RequestFraming::Chunked, 3, &[b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"]).unwrap().2);
        assert_eq!(decode(RequestFraming::Chunked, 3, &[b"1\r\na\r\n3\r\n"]), Err(413));
        assert_eq!(decode(RequestFraming::Chunked, 3, &[b"ffffffffffffffff\r\n"]), Err(413));
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for bytes in [
            &b"\r\n"[..],
            b"-1\r\n",
            b"+1\r\n",
            b" 1\r\n",
            b"1 \r\n",
            b"0x1\r\n",
            b"g\r\n",
            b"1\n",
            b"1\r\r",
            b"00000000000000001\r\n",
            b"1\r\nab",
            b"1\r\na\n",
            b"1;a\nb",
            b"1;\r\n",
            b"1; a\r\n",
            b"1;a=\r\n",
            b"1;a b\r\n",
            b"1;a=\"b\r\n",
            b"1;a=\"b\"c\r\n",
            b"1;a=\"\0\"\r\n",
            b"0\r\nA b: c\r\n\r\n",
            b"0\r\nA: b\r\n c\r\n\r\n",
            b"0\r\nContent-Length: 1\r\n\r\n",
            b"0\r\nauthorization: a\r\n\r\n",
            b"0\r\nA: b\n",
        ] {
            assert_eq!(
                decode(RequestFraming::Chunked, 100, &[bytes]),
                Err(400),
                "{:?}",
                bytes.escape_ascii().to_string()
            );
        }
        let extension = [b"1;".to_vec(), vec![b'a'; 5000]].concat();
        assert_eq!(decode(RequestFraming::Chunked, 100, &[&extension]), Err(400));
        let trailers = [b"0\r\nA: ".to_vec(), vec![b'a'; 9000]].concat();
        assert_eq!(decode(RequestFraming::Chunked, 100, &[&trailers]), Err(431));
    }
}
