//! Bodies: from the bytes of a connection to pieces of content (RFC 9112 sections 6 and 7).

use crate::bytes::Bytes;
use crate::h1::framing::Framing;
use crate::h1::refusal::Refusal;
use http::StatusCode;

/// A chunk-size line with its extensions, and all trailer fields: how long they may be, in bytes. An extension
/// means nothing to us (section 7.1.1), and neither may be a way to send for ever.
const MOST_CHUNK_LINE: u16 = 256;
const MOST_TRAILERS: u16 = 8192;

const TOO_LONG: Refusal =
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than this server reads");

/// Decodes one body.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    /// How many more bytes of content may come.
    allowed: u64,
}

/// What there is to be had of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Content(Bytes),
    /// Nothing, until more has arrived.
    NeedMore,
    /// Nothing any more.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// That much content, then the end.
    Length(u64),
    Size {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
        length: u16,
    },
    SizeLf {
        size: u64,
    },
    Chunk(u64),
    ChunkCr,
    ChunkLf,
    /// At the start of a trailer line, having read that many bytes of trailers.
    TrailerStart(u16),
    Trailer(u16),
    TrailerLf(u16),
    LastLf,
    End,
}

impl Decoder {
    /// A decoder for a body framed so, of at most `limit` bytes; refuses at once what announces more.
    pub(crate) fn new(framing: Framing, limit: u64) -> Result<Self, Refusal> {
        let state = match framing {
            Framing::Length(length) if length > limit => return Err(TOO_LONG),
            Framing::Length(0) => State::End,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size { size: 0, digits: 0 },
        };
        Ok(Self { state, allowed: limit })
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
    pub(crate) fn decode(&mut self, input: &mut Bytes) -> Result<Piece, Refusal> {
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
                _ => self.line(input)?,
            }
        }
    }

    /// Reads on through the lines between chunks, as far as `input` goes or content begins.
    fn line(&mut self, input: &mut Bytes) -> Result<(), Refusal> {
        let mut read = 0;
        for byte in input.iter() {
            if matches!(self.state, State::Chunk(_) | State::End) {
                break;
            }
            self.state = self.step(*byte)?;
            read += 1;
        }
        input.advance(read);
        Ok(())
    }

    /// One byte of a chunk-size line, a line end or the trailers.
    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        const BAD_SIZE: Refusal = Refusal::bad("a chunk's size is not a hexadecimal number");
        const BAD_LINE: Refusal = Refusal::bad("a line between chunks does not end in CR LF");
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
            (State::Size { size, .. } | State::Extension { size, .. }, b'\r') => State::SizeLf { size },
            (State::Size { size, .. }, b';') => State::Extension { size, length: 0 },
            (State::Size { .. }, _) => return Err(BAD_SIZE),
            (State::Extension { .. } | State::TrailerStart(_) | State::Trailer(_), b'\n' | 0) => {
                return Err(BAD_LINE);
            }
            (State::Extension { size, length }, _) if length < MOST_CHUNK_LINE => {
                State::Extension { size, length: length + 1 }
            }
            (State::Extension { .. }, _) => return Err(Refusal::bad("a chunk extension is too long")),
            (State::SizeLf { size: 0 }, b'\n') => State::TrailerStart(0),
            (State::SizeLf { size }, b'\n') => {
                self.allowed = self.allowed.checked_sub(size).ok_or(TOO_LONG)?;
                State::Chunk(size)
            }
            (State::ChunkCr, b'\r') => State::ChunkLf,
            (State::ChunkLf, b'\n') => State::Size { size: 0, digits: 0 },
            (State::TrailerStart(_), b'\r') => State::LastLf,
            (State::Trailer(length), b'\r') => State::TrailerLf(length),
            (State::TrailerStart(length) | State::Trailer(length), _) if length < MOST_TRAILERS => {
                State::Trailer(length + 1)
            }
            (State::TrailerStart(_) | State::Trailer(_), _) => {
                return Err(Refusal::new(
                    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                    "the trailers are longer than this server reads",
                ));
            }
            (State::TrailerLf(length), b'\n') => State::TrailerStart(length),
            (State::LastLf, b'\n') => State::End,
            _ => return Err(BAD_LINE),
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
    fn decode(framing: Framing, limit: u64, pieces: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>, bool), u16> {
        let mut decoder = Decoder::new(framing, limit).map_err(|refusal| refusal.status.as_u16())?;
        let mut content = Vec::new();
        for (at, piece) in pieces.iter().enumerate() {
            let mut input = Bytes::from(piece.to_vec());
            loop {
                match decoder.decode(&mut input).map_err(|refusal| refusal.status.as_u16())? {
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
        for (framing, bytes) in [(Framing::Chunked, &chunked[..]), (Framing::Length(24), plain)] {
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
    fn a_truncated_body_is_not_done() {
        assert!(!decode(Framing::Chunked, 100, &[b"3\r\nabc\r\n0\r\n"]).unwrap().2);
        assert!(!decode(Framing::Length(4), 100, &[b"abc"]).unwrap().2);
    }

    #[test]
    fn a_body_is_as_long_as_allowed_and_not_longer() {
        assert!(decode(Framing::Length(3), 3, &[b"abc"]).unwrap().2);
        assert_eq!(decode(Framing::Length(4), 3, &[b""]), Err(413));
        assert!(decode(Framing::Chunked, 3, &[b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"]).unwrap().2);
        assert_eq!(decode(Framing::Chunked, 3, &[b"1\r\na\r\n3\r\n"]), Err(413));
        assert_eq!(decode(Framing::Chunked, 3, &[b"ffffffffffffffff\r\n"]), Err(413));
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
            b"0\r\nA: b\n",
        ] {
            assert_eq!(
                decode(Framing::Chunked, 100, &[bytes]),
                Err(400),
                "{:?}",
                bytes.escape_ascii().to_string()
            );
        }
        let extension = [b"1;".to_vec(), vec![b'a'; 300]].concat();
        assert_eq!(decode(Framing::Chunked, 100, &[&extension]), Err(400));
        let trailers = [b"0\r\nA: ".to_vec(), vec![b'a'; 9000]].concat();
        assert_eq!(decode(Framing::Chunked, 100, &[&trailers]), Err(431));
    }
}
