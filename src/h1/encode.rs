//! Responses: from status, fields and body to bytes (RFC 9112 sections 4 to 7).

use crate::error::{Error, Result};
use crate::http::headers::{Known, ResponseHeaders};
use crate::http::response::{ContentType, Response};
use http::StatusCode;

/// The bytes that every response of a core begins with for the length of a second: made once, copied often.
#[derive(Debug)]
pub(crate) struct Preamble {
    /// `HTTP/1.1 200 OK`, then the common fields.
    ok: Vec<u8>,
    fields_at: usize,
    /// The same for each content type that handlers' results imply, up to the digits of Content-Length: all that most
    /// heads begin with, in one copy.
    to_length: [Vec<u8>; ContentType::COUNT],
}

const STATUS_OK: &str = "HTTP/1.1 200 OK\r\n";
const CONTENT_LENGTH: &str = "Content-Length: ";

impl Preamble {
    /// With this date, as `IMF-fixdate` (RFC 9110 section 5.6.7).
    pub(crate) fn new(date: &str) -> Self {
        let ok = format!("{STATUS_OK}Server: kiang\r\nDate: {date}\r\n").into_bytes();
        let to_length = ContentType::ALL
            .map(|kind| [&ok[..], kind.line().as_bytes(), CONTENT_LENGTH.as_bytes()].concat());
        Self { ok, fields_at: STATUS_OK.len(), to_length }
    }

    fn write(&self, status: StatusCode, out: &mut Vec<u8>) {
        if status == StatusCode::OK {
            out.extend_from_slice(&self.ok);
            return;
        }
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.ok[self.fields_at..]);
    }
}

/// How a response's body is framed (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseFraming {
    /// The status allows no body (1xx, 204, 304): no framing field.
    Bodiless,
    Length(u64),
    Chunked,
    /// For HTTP/1.0, which has no chunks.
    UntilClose,
}

/// How a response says whether another request may follow on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// The default of the version: no field.
    Implied,
    Close,
    /// HTTP/1.0 that asked for it.
    KeepAlive,
    /// Another protocol follows (RFC 9110 section 7.8).
    Upgrade,
}

/// Writes a whole response head.
#[inline]
pub(crate) fn head(
    preamble: &Preamble,
    response: &Response,
    framing: ResponseFraming,
    persistence: Persistence,
    out: &mut Vec<u8>,
) {
    if let ResponseFraming::Length(length) = framing
        && response.status() == StatusCode::OK
        && response.headers().is_empty()
    {
        out.extend_from_slice(&preamble.to_length[response.content_type() as usize]);
        return last_lines(length, persistence, out);
    }
    preamble.write(response.status(), out);
    out.extend_from_slice(response.content_type().line().as_bytes());
    for (name, value) in response.headers() {
        if response.sets_ours() && Known::of(name).is_engines() {
            continue;
        }
        field(name, value, out);
    }
    match framing {
        ResponseFraming::Length(length) => {
            out.extend_from_slice(CONTENT_LENGTH.as_bytes());
            last_lines(length, persistence, out);
        }
        ResponseFraming::Chunked => {
            out.extend_from_slice(b"Transfer-Encoding: chunked");
            out.extend_from_slice(persistence.end_of_head());
        }
        // The last line's end is there already.
        ResponseFraming::Bodiless | ResponseFraming::UntilClose => {
            out.extend_from_slice(&persistence.end_of_head()[2..]);
        }
    }
}

fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// From the digits of Content-Length to the end of the head.
#[inline]
fn last_lines(length: u64, persistence: Persistence, out: &mut Vec<u8>) {
    // At most 20 digits. Written from their end, so that the digits and the end are one copy.
    let mut lines = *b"00000000000000000000\r\n\r\n";
    let mut at = 19;
    let mut left = length;
    while left >= 10 {
        lines[at] = b'0' + (left % 10) as u8;
        left /= 10;
        at -= 1;
    }
    lines[at] = b'0' + left as u8;
    if persistence == Persistence::Implied {
        out.extend_from_slice(&lines[at..]);
    } else {
        out.extend_from_slice(&lines[at..20]);
        out.extend_from_slice(persistence.end_of_head());
    }
}

impl Persistence {
    /// From the end of the last field's line to the end of the head.
    fn end_of_head(self) -> &'static [u8] {
        match self {
            Self::Implied => b"\r\n\r\n",
            Self::Close => b"\r\nConnection: close\r\n\r\n",
            Self::KeepAlive => b"\r\nConnection: keep-alive\r\n\r\n",
            Self::Upgrade => b"\r\nConnection: upgrade\r\n\r\n",
        }
    }
}

/// Frames the pieces of a streamed body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyEncoder {
    framing: ResponseFraming,
    /// The client has said that it reads trailers; else they are left out (RFC 9110 section 6.5.1).
    accepts_trailers: bool,
}

impl BodyEncoder {
    pub(crate) fn new(framing: ResponseFraming, accepts_trailers: bool) -> Self {
        Self { framing, accepts_trailers }
    }

    /// Writes what comes before a piece of this length, which is not zero: an empty chunk would end the body. More
    /// than the announced length is an error: it would be read as the next response.
    pub(crate) fn before_piece(&mut self, length: usize, out: &mut Vec<u8>) -> Result<()> {
        match &mut self.framing {
            ResponseFraming::Bodiless | ResponseFraming::UntilClose => {}
            ResponseFraming::Length(left) => {
                *left = left.checked_sub(length as u64).ok_or_else(|| {
                    Error::new("a response's body is longer than the Content-Length its handler set")
                })?;
            }
            ResponseFraming::Chunked => {
                let mut digits = [0; 16];
                out.extend_from_slice(hexadecimal(length, &mut digits));
                out.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }

    /// Writes what comes after a piece.
    pub(crate) fn after_piece(&self, out: &mut Vec<u8>) {
        if self.framing == ResponseFraming::Chunked {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Whether trailers can be sent, and are wanted.
    pub(crate) fn takes_trailers(&self) -> bool {
        self.accepts_trailers && self.framing == ResponseFraming::Chunked
    }

    /// Frames the end. Less than the announced length is an error: the client would wait for the rest.
    pub(crate) fn end(&self, trailers: &ResponseHeaders, out: &mut Vec<u8>) -> Result<()> {
        match self.framing {
            ResponseFraming::Length(1..) => {
                Err(Error::new("a response's body is shorter than the Content-Length its handler set"))
            }
            ResponseFraming::Chunked => {
                out.extend_from_slice(b"0\r\n");
                for (name, value) in trailers {
                    field(name, value, out);
                }
                out.extend_from_slice(b"\r\n");
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn hexadecimal(mut number: usize, digits: &mut [u8; 16]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[number % 16];
        number /= 16;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::Bytes;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn written(status: StatusCode, framing: ResponseFraming, persistence: Persistence) -> String {
        let response = Response::new(status).header("X-A", "b").header("content-length", "99");
        let mut out = Vec::new();
        head(&Preamble::new(DATE), &response, framing, persistence, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_head_has_one_framing_field_and_it_is_the_engines() {
        assert_eq!(
            written(StatusCode::OK, ResponseFraming::Length(13), Persistence::Implied),
            format!(
                "HTTP/1.1 200 OK\r\nServer: kiang\r\nDate: {DATE}\r\nX-A: b\r\nContent-Length: 13\r\n\r\n"
            )
        );
        assert_eq!(
            written(StatusCode::NO_CONTENT, ResponseFraming::Bodiless, Persistence::Close),
            format!(
                "HTTP/1.1 204 No Content\r\nServer: kiang\r\nDate: {DATE}\r\nX-A: b\r\nConnection: close\r\n\r\n"
            )
        );
    }

    #[test]
    fn chunks_carry_their_size_in_hexadecimal() {
        let mut encoder = BodyEncoder::new(ResponseFraming::Chunked, true);
        let trailers: ResponseHeaders = [(Bytes::from("X-Sum"), Bytes::from("1"))].into_iter().collect();
        let mut out = Vec::new();
        encoder.before_piece(0x1f, &mut out).unwrap();
        out.extend_from_slice(b"...");
        encoder.after_piece(&mut out);
        encoder.end(&trailers, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "1f\r\n...\r\n0\r\nX-Sum: 1\r\n\r\n");
    }

    #[test]
    fn a_body_that_does_not_match_its_length_is_never_sent_as_if_it_did() {
        let none = ResponseHeaders::new();
        let mut out = Vec::new();
        let mut encoder = BodyEncoder::new(ResponseFraming::Length(3), true);
        encoder.before_piece(2, &mut out).unwrap();
        assert!(encoder.end(&none, &mut out).is_err());
        assert!(encoder.before_piece(2, &mut out).is_err());
        encoder.before_piece(1, &mut out).unwrap();
        assert!(encoder.end(&none, &mut out).is_ok());
        assert!(out.is_empty());
    }
}
