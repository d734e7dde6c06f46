//! Request heads: from bytes to method, target, version and fields (RFC 9112 sections 2 to 5).

use crate::bytes::Bytes;
use crate::h1::refusal::Refusal;
use crate::http::headers::{Field, Known};
use crate::http::limits::Limits;
use crate::http::request::Head;
use http::{Method, StatusCode, Version};
use std::mem::MaybeUninit;
use std::ops::Range;

const HEAD_TOO_LONG: Refusal = Refusal::new(
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "the request head is longer than this server reads",
);
const TOO_MANY_FIELDS: Refusal = Refusal::new(
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "the request has more header fields than this server reads",
);
const NAME_TOO_LONG: Refusal = Refusal::new(
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "a header field's name is longer than 255 bytes",
);
const TARGET_TOO_LONG: Refusal =
    Refusal::new(StatusCode::URI_TOO_LONG, "the request target is longer than this server reads");

/// Parses the head that `input` begins with into `head`; `None` if it is not all there yet.
///
/// `head` keeps a view of `input` and copies nothing; the number says how many bytes it took.
pub(crate) fn head(input: &Bytes, limits: &Limits, head: &mut Head) -> Result<Option<usize>, Refusal> {
    // Left uninitialized: clearing 4 KiB would cost more than parsing a small head.
    let mut fields = [const { MaybeUninit::uninit() }; Limits::MOST_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let room = &mut fields[..limits.headers.min(Limits::MOST_HEADERS)];
    let bytes: &[u8] = input;
    let length = match request.parse_with_uninit_headers(bytes, room) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return refuse_if_too_long(bytes, limits).map(|()| None),
        Err(error) => return Err(refusal(error, bytes)),
    };
    if length > limits.head_bytes {
        return refuse_if_too_long(bytes, limits).and(Err(HEAD_TOO_LONG));
    }
    // All three are there once the parser says the head is complete.
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Refusal::bad("the request line is incomplete"));
    };
    if target.len() > limits.target_bytes {
        return Err(TARGET_TOO_LONG);
    }
    let base = bytes.as_ptr() as usize;
    // `length` is at most `head_bytes`, and that at most 65,535.
    let at = |part: &[u8]| (part.as_ptr() as usize - base) as u16;
    head.method = parse_method(method)?;
    head.version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let start = at(target.as_bytes());
    head.target = start..start + target.len() as u16;
    let path = path(target)?;
    head.path = start + path.start..start + path.end;
    head.headers.begin(input.prefix(length));
    for field in request.headers.iter() {
        let name = field.name.as_bytes();
        head.headers.push(Field {
            known: Known::of(name),
            name_len: u8::try_from(name.len()).map_err(|_| NAME_TOO_LONG)?,
            name_at: at(name),
            value_at: at(field.value),
            value_len: field.value.len() as u16,
        });
    }
    Ok(Some(length))
}

/// Where the path lies in a target. In absolute form (RFC 9112 section 3.2.2) it begins at the first slash after
/// the authority.
fn path(target: &str) -> Result<Range<u16>, Refusal> {
    let end = target.bytes().position(|byte| byte == b'?').unwrap_or(target.len());
    if !target.is_ascii() {
        return Err(Refusal::bad("the request target holds bytes that must be percent-encoded"));
    }
    let start = match target.as_bytes().first() {
        Some(b'/') => 0,
        _ => target[..end].find("://").map_or(0, |scheme| {
            let authority = scheme + 3;
            target[authority..end].find('/').map_or(end, |slash| authority + slash)
        }),
    };
    Ok(start as u16..end as u16)
}

/// Whether a head that is still incomplete has already outgrown its limits, and which.
fn refuse_if_too_long(bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let line = bytes.iter().take(limits.head_bytes).position(|byte| *byte == b'\n');
    // The longest method and version there are, with two spaces: what else a request line may hold.
    let slack = 32;
    if line.unwrap_or(bytes.len()) > limits.target_bytes + slack {
        return Err(TARGET_TOO_LONG);
    }
    if bytes.len() > limits.head_bytes { Err(HEAD_TOO_LONG) } else { Ok(()) }
}

#[inline]
fn parse_method(method: &str) -> Result<Method, Refusal> {
    match method {
        "GET" => Ok(Method::GET),
        "POST" => Ok(Method::POST),
        _ => Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::bad("the method is not a token")),
    }
}

fn refusal(error: httparse::Error, bytes: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => TOO_MANY_FIELDS,
        httparse::Error::Version if names_another_version(bytes) => {
            Refusal::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.1 and HTTP/1.0")
        }
        httparse::Error::Version => Refusal::bad("the request line does not end in a version of HTTP"),
        httparse::Error::HeaderName => Refusal::bad("a header field's name is malformed"),
        httparse::Error::HeaderValue => {
            Refusal::bad("a header field's value holds a byte that may not be there")
        }
        httparse::Error::NewLine => Refusal::bad("a line of the head does not end in CR LF"),
        httparse::Error::Token => Refusal::bad("the request line is malformed"),
        httparse::Error::Status => Refusal::bad("the request head is malformed"),
    }
}

/// Whether the request line ends in `HTTP/` digit `.` digit, as every version does (RFC 9112 section 2.3).
fn names_another_version(bytes: &[u8]) -> bool {
    let line = bytes.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(at) = line.windows(5).rposition(|window| window == b"HTTP/") else { return false };
    matches!(line[at + 5..].trim_ascii_end(), [major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit() && *major != b'1')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, limits: &Limits) -> Result<Option<(Head, usize)>, Refusal> {
        let mut parsed = Head::default();
        let length = head(&Bytes::from(text.to_owned()), limits, &mut parsed)?;
        Ok(length.map(|length| (parsed, length)))
    }

    fn status(text: &str) -> u16 {
        parse(text, &Limits::default()).expect_err(text).status.as_u16()
    }

    #[test]
    fn a_head_is_kept_where_it_arrived() {
        let text = "GET /a?b=c HTTP/1.1\r\nHost: x\r\nX-Odd:  y z \r\n\r\nrest";
        let (head, length) = parse(text, &Limits::default()).unwrap().unwrap();
        assert_eq!(length, text.len() - 4);
        assert_eq!((head.method, head.version), (Method::GET, Version::HTTP_11));
        assert_eq!(&text[head.target.start as usize..head.target.end as usize], "/a?b=c");
        let fields: Vec<_> = head.headers.iter().collect();
        assert_eq!(fields, [("Host", &b"x"[..]), ("X-Odd", b"y z")]);
        assert_eq!(head.headers.get_str("HOST"), Some("x"));
        assert_eq!(head.headers.get_str("x-odd"), Some("y z"));
        assert_eq!(head.headers.get("absent"), None);
    }

    #[test]
    fn the_path_is_found_in_every_form_of_target() {
        for (target, expected) in [
            ("/", "/"),
            ("/a?b=/c?d", "/a"),
            ("/a://b", "/a://b"),
            ("http://x/a?b", "/a"),
            ("http://x?b/c", ""),
            ("http://x", ""),
            ("*", "*"),
            ("x:80", "x:80"),
        ] {
            let found = path(target).unwrap();
            assert_eq!(&target[found.start as usize..found.end as usize], expected, "{target}");
        }
    }

    #[test]
    fn every_prefix_of_a_head_is_incomplete_and_not_wrong() {
        let text = "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
        for end in 0..text.len() {
            assert!(parse(&text[..end], &Limits::default()).unwrap().is_none(), "{end}");
        }
    }

    #[test]
    fn each_limit_has_its_status_and_is_met_exactly() {
        let limits = Limits { head_bytes: 128, headers: 2, target_bytes: 10, ..Limits::default() };
        let refused = |text: &str| parse(text, &limits).map(drop).map_err(|refusal| refusal.status.as_u16());
        assert_eq!(refused("GET /123456789 HTTP/1.1\r\nA: 1\r\nB: 2\r\n\r\n"), Ok(()));
        assert_eq!(refused("GET /1234567890 HTTP/1.1\r\n\r\n"), Err(414));
        assert_eq!(refused("GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"), Err(431));
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(128))), Err(431));
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(128))), Err(431), "incomplete");
        assert_eq!(refused(&format!("GET /{}", "a".repeat(64))), Err(414), "incomplete");
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\n{}: a\r\n\r\n", "a".repeat(100))), Ok(()));
    }

    #[test]
    fn what_does_not_parse_is_refused_with_its_reason() {
        for text in [
            "GET\r\n\r\n",
            "GET / HTTP/1.1\r\nA B: c\r\n\r\n",
            "GET / HTTP/1.1\r\nA : c\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\0\r\n\r\n",
            "GET / XTTP/1.1\r\n\r\n",
            "G@T / HTTP/1.1\r\n\r\n",
            "GET /\u{e9} HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(status(text), 400, "{text:?}");
        }
        assert_eq!(status("GET / HTTP/2.0\r\n\r\n"), 505);
        assert_eq!(status("GET / HTTP/3.0\r\nHost: x\r\n\r\n"), 505);
    }
}
