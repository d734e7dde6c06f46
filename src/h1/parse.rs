//! Request heads: from bytes to method, target, version and fields (RFC 9112 sections 2 to 5).

use crate::bytes::Bytes;
use crate::h1::refusal::Refusal;
use crate::h1::target;
use crate::http::headers::{Field, Headers, Known, is_token};
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
const BARE_LF: Refusal = Refusal::bad("a line of the head does not end in CR LF");
const TARGET_TOO_LONG: Refusal =
    Refusal::new(StatusCode::URI_TOO_LONG, "the request target is longer than this server reads");

const METHOD_TOO_LONG: Refusal = Refusal::new(
    StatusCode::NOT_IMPLEMENTED,
    "no method of more than 32 bytes is implemented by this server",
);

/// The longest method, in bytes. The longest that is registered, UPDATEREDIRECTREF, has 17.
const LONGEST_METHOD: usize = 32;

/// Parses the head that `input` begins with into `head`; `None` if it is not all there yet.
///
/// `head` keeps a view of `input` and copies nothing; the number says how many bytes it took.
pub(crate) fn head(input: &Bytes, limits: &Limits, head: &mut Head) -> Result<Option<usize>, Refusal> {
    match plain_head(input, limits, head)? {
        Some(length) => Ok(Some(length)),
        None => any_head(input, limits, head),
    }
}

/// Parses a head of the kind that most heads are, in fewer steps than [`any_head`], which would say the same of it:
/// a frequent method, a target in origin form with nothing percent-encoded in its path, HTTP/1.1, a moderate number of
/// fields. `None` if the head is another, incomplete, too long, or has a fault in it.
#[inline]
fn plain_head(input: &Bytes, limits: &Limits, head: &mut Head) -> Result<Option<usize>, Refusal> {
    const VERSION: &[u8] = b" HTTP/1.1\r\n";
    let bytes: &[u8] = input;
    let Some((method, start)) = frequent_method(bytes) else { return Ok(None) };
    let Some(parts) = target::plain_origin(&bytes[start..]) else { return Ok(None) };
    let target = start..start + parts.length;
    if parts.length > limits.target_bytes || !bytes[target.end..].starts_with(VERSION) {
        return Ok(None);
    }
    let fields_at = target.end + VERSION.len();
    let mut room = [httparse::EMPTY_HEADER; PLAIN_FIELDS];
    let room = &mut room[..limits.headers.min(PLAIN_FIELDS)];
    let Ok(httparse::Status::Complete((length, found))) = httparse::parse_headers(&bytes[fields_at..], room)
    else {
        return Ok(None);
    };
    let length = fields_at + length;
    if length > limits.head_bytes {
        return Ok(None);
    }
    head.method = method;
    head.version = Version::HTTP_11;
    // All offsets are within `length`, which is at most `head_bytes`, and that at most 65,535.
    head.target = target.start as u16..target.end as u16;
    head.path = target.start as u16..(start + parts.path) as u16;
    head.query = if parts.path < parts.length { (start + parts.path + 1) as u16 } else { 0 };
    head.authority = 0..0;
    head.headers.begin(input.prefix(length));
    push_fields(bytes, length, found, &mut head.headers)?;
    Ok(Some(length))
}

/// How many fields a plain head has at most: more than browsers send.
const PLAIN_FIELDS: usize = 24;

/// The method that a head begins with and where the target begins, if the method is a frequent one.
#[inline]
fn frequent_method(bytes: &[u8]) -> Option<(Method, usize)> {
    match bytes {
        [b'G', b'E', b'T', b' ', ..] => Some((Method::GET, 4)),
        [b'P', b'O', b'S', b'T', b' ', ..] => Some((Method::POST, 5)),
        [b'H', b'E', b'A', b'D', b' ', ..] => Some((Method::HEAD, 5)),
        [b'P', b'U', b'T', b' ', ..] => Some((Method::PUT, 4)),
        [b'D', b'E', b'L', b'E', b'T', b'E', b' ', ..] => Some((Method::DELETE, 7)),
        [b'P', b'A', b'T', b'C', b'H', b' ', ..] => Some((Method::PATCH, 6)),
        _ => None,
    }
}

fn any_head(input: &Bytes, limits: &Limits, head: &mut Head) -> Result<Option<usize>, Refusal> {
    // The fields stay uninitialized: to clear 4 KiB would cost more than to parse a small head.
    let mut fields = [const { MaybeUninit::uninit() }; Limits::MOST_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let room = &mut fields[..limits.headers.min(Limits::MOST_HEADERS)];
    let bytes: &[u8] = input;
    let length = match request.parse_with_uninit_headers(bytes, room) {
        Ok(httparse::Status::Complete(length)) => length,
        incomplete_or_bad => {
            let Some(known) = check_start(incomplete_or_bad, bytes, limits)? else { return Ok(None) };
            return any_head(&known.into(), limits, head);
        }
    };
    if length > limits.head_bytes {
        return check_line(bytes, limits).and(Err(HEAD_TOO_LONG));
    }
    // A complete head has all three parts.
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Refusal::bad("the request line is incomplete"));
    };
    if method.len() > LONGEST_METHOD {
        return Err(METHOD_TOO_LONG);
    }
    if target.len() > limits.target_bytes {
        return Err(TARGET_TOO_LONG);
    }
    // The connection has taken empty lines off. One that is left does not end in CR LF.
    if method.as_ptr() != bytes.as_ptr() {
        return Err(BARE_LF);
    }
    head.method =
        Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::bad("the method is not a token"))?;
    head.version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let parts = target::parts(&head.method, target.as_bytes())?;
    // All offsets are within `length`, which is at most `head_bytes`, and that at most 65,535.
    let start = (target.as_ptr() as usize - bytes.as_ptr() as usize) as u16;
    let at = |range: Range<usize>| start + range.start as u16..start + range.end as u16;
    head.target = start..start + target.len() as u16;
    head.path = at(parts.path);
    head.query = parts.query.map_or(0, |query| start + query as u16);
    head.authority = parts.authority.map_or(0..0, at);
    head.headers.begin(input.prefix(length));
    push_fields(bytes, length, request.headers, &mut head.headers)?;
    Ok(Some(length))
}

/// Refuses a head that is not all there and wrong already, however little of it has come. A head that is right so far,
/// or complete, passes.
pub(crate) fn check(bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let mut fields = [const { MaybeUninit::uninit() }; Limits::MOST_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let room = &mut fields[..limits.headers.min(Limits::MOST_HEADERS)];
    match request.parse_with_uninit_headers(bytes, room) {
        Ok(httparse::Status::Complete(_)) => Ok(()),
        incomplete_or_bad => match check_start(incomplete_or_bad, bytes, limits)? {
            Some(known) => check(&known, limits),
            None => Ok(()),
        },
    }
}

/// Judges a head that the parser did not take: `None` if the head is right so far, and more must come. If the version
/// is a later one, the same bytes with version 1.1.
#[cold]
fn check_start(
    parsed: httparse::Result<usize>,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Option<Vec<u8>>, Refusal> {
    // A part that is too long is refused first, whatever follows it: so the pieces in which a head comes do not matter.
    check_line(bytes, limits)?;
    match parsed {
        Err(httparse::Error::Version) if may_become_version(bytes) => Ok(None),
        Err(error) => {
            let Some(at) = later_minor(bytes) else { return Err(refusal(error, bytes)) };
            // HTTP/1.2 and the like are read as 1.1, the highest minor version there is (RFC 9110 section 2.5).
            let mut known = bytes.to_vec();
            known[at] = b'1';
            Ok(Some(known))
        }
        Ok(_) if has_bare_lf(bytes) => Err(BARE_LF),
        Ok(_) if bytes.len() > limits.head_bytes => Err(HEAD_TOO_LONG),
        Ok(_) => Ok(None),
    }
}

/// Parses a section of fields and the empty line at its end, which is all of `input`: trailers (RFC 9112 section
/// 7.1.2).
pub(crate) fn fields(input: &Bytes, limits: &Limits) -> Result<Headers, Refusal> {
    let mut room = [httparse::EMPTY_HEADER; Limits::MOST_HEADERS];
    let bytes: &[u8] = input;
    match httparse::parse_headers(bytes, &mut room[..limits.headers.min(Limits::MOST_HEADERS)]) {
        Ok(httparse::Status::Complete((length, found))) if length == bytes.len() => {
            let mut headers = Headers::default();
            headers.begin(input.clone());
            push_fields(bytes, length, found, &mut headers)?;
            Ok(headers)
        }
        Ok(_) => Err(BARE_LF),
        Err(error) => Err(refusal(error, b"")),
    }
}

/// Notes where the fields lie in `bytes`, whose first `length` are a head or a section of fields.
#[inline]
fn push_fields(
    bytes: &[u8],
    length: usize,
    found: &[httparse::Header<'_>],
    headers: &mut Headers,
) -> Result<(), Refusal> {
    let base = bytes.as_ptr() as usize;
    let at = |part: &[u8]| part.as_ptr() as usize - base;
    // Two readers can see two heads if one of them takes a bare LF for the end of a line, so a bare LF is refused (RFC
    // 9112 section 2.2 allows that). httparse takes it: so each line's end is looked at, from where the next begins.
    let mut all_cr_lf = ends_in_cr(bytes, length) && ends_in_cr(bytes, length - 2);
    for field in found {
        let name = field.name.as_bytes();
        all_cr_lf &= ends_in_cr(bytes, at(name));
        headers.push(Field {
            known: Known::of(name),
            name_len: u8::try_from(name.len()).map_err(|_| NAME_TOO_LONG)?,
            name_at: at(name) as u16,
            value_at: at(field.value) as u16,
            value_len: field.value.len() as u16,
        });
    }
    if all_cr_lf { Ok(()) } else { Err(BARE_LF) }
}

/// Whether the line that ends before `next` has a CR before its LF. The first line has none before it.
#[inline]
fn ends_in_cr(bytes: &[u8], next: usize) -> bool {
    next == 0 || next >= 2 && bytes[next - 2] == b'\r'
}

/// Whether the request line, as far as it has come, is within its limits.
fn check_line(bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let ends = |byte: &u8| matches!(byte, b' ' | b'\r' | b'\n');
    let start = &bytes[..bytes.len().min(LONGEST_METHOD + 1)];
    let method = start.iter().position(|byte| !is_token(&[*byte]));
    let Some(method) = method else {
        return if bytes.len() > LONGEST_METHOD { Err(METHOD_TOO_LONG) } else { Ok(()) };
    };
    let Some(target) = bytes[method..].strip_prefix(b" ") else { return Ok(()) };
    match target.get(..=limits.target_bytes) {
        Some(start) if !start.iter().any(ends) => Err(TARGET_TOO_LONG),
        _ => Ok(()),
    }
}

/// Whether a line ends in LF without CR. Looked for where the rest of the head is missing; in a whole head each line is
/// looked at when its field is noted.
///
/// Without an early end the loop looks at several bytes at a time: a head that trickles in is looked at with each piece.
fn has_bare_lf(bytes: &[u8]) -> bool {
    let begins_so = bytes.first() == Some(&b'\n');
    let pairs = bytes.iter().zip(bytes.get(1..).unwrap_or_default());
    begins_so || pairs.filter(|(before, byte)| **byte == b'\n' && **before != b'\r').count() > 0
}

/// Whether the request line has no end yet, and what came of its third part is the beginning of a version. Which one it
/// is will be known at the end of the line.
fn may_become_version(bytes: &[u8]) -> bool {
    const FORM: &[u8] = b"HTTP/0.0\r";
    let mut parts = bytes.split(|byte| *byte == b' ').skip(2);
    let (version, more) = (parts.next().unwrap_or_default(), parts.next());
    more.is_none()
        && version.len() <= FORM.len()
        && version.iter().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            _ => byte == form,
        })
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
        httparse::Error::NewLine => BARE_LF,
        httparse::Error::Token => Refusal::bad("the request line is malformed"),
        httparse::Error::Status => Refusal::bad("the request head is malformed"),
    }
}

/// Whether the third part of the request line is `HTTP/` digit `.` digit, as every version is (RFC 9112 section 2.3).
fn names_another_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(line) = line.strip_suffix(b"\r") else { return false };
    let mut parts = line.split(|byte| *byte == b' ').skip(2);
    let (version, more) = (parts.next().unwrap_or_default(), parts.next());
    more.is_none()
        && matches!(version.strip_prefix(b"HTTP/"), Some([major, b'.', minor])
            if major.is_ascii_digit() && minor.is_ascii_digit() && *major != b'1')
}

/// Where the minor version stands if the request line ends in `HTTP/1.2` to `HTTP/1.9`.
fn later_minor(bytes: &[u8]) -> Option<usize> {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (minor, before) = line.split_last()?;
    (before.ends_with(b" HTTP/1.") && matches!(minor, b'2'..=b'9')).then_some(before.len())
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

    /// As [`any_head`] has it.
    fn both_ways(text: &[u8], limits: &Limits) {
        let input = Bytes::from(text.to_vec());
        let (mut plain, mut any) = (Head::default(), Head::default());
        let expected = any_head(&input, limits, &mut any);
        let found = match plain_head(&input, limits, &mut plain) {
            Ok(None) => return,
            found => found,
        };
        assert_eq!(found, expected, "{}", text.escape_ascii());
        if found.is_ok() {
            assert_eq!(format!("{plain:?}"), format!("{any:?}"), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_plain_head_is_read_as_any_head_would_be() {
        let heads = [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "POST /a/b?c=d&e=%66%?/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
            "HEAD /a;b,c? HTTP/1.1\r\n\r\n",
            "PUT /[a|b]^ HTTP/1.1\r\nHost:x\r\nA:\r\n\r\n",
            "DELETE /a HTTP/1.1\r\nHost: x\r\nB: \t c d \t\r\n\r\n",
            "PATCH /~a HTTP/1.1\r\nHost: x\r\n\r\n",
        ];
        let limits = Limits { head_bytes: 64, headers: 2, target_bytes: 12, ..Limits::default() };
        for head in heads {
            let input = Bytes::from(head);
            assert!(
                plain_head(&input, &Limits::default(), &mut Head::default()).unwrap().is_some(),
                "{head}"
            );
            for limits in [&limits, &Limits::default()] {
                both_ways(head.as_bytes(), limits);
                // Bytes that mean something somewhere, in every place.
                for at in 0..head.len() {
                    for byte in *b"\0\t\n\r !#%/01:?HX{\x7f\x80" {
                        let mut other = head.as_bytes().to_vec();
                        other[at] = byte;
                        both_ways(&other, limits);
                        other.insert(at, byte);
                        both_ways(&other, limits);
                    }
                }
            }
        }
    }

    #[test]
    fn a_line_that_ends_in_a_bare_lf_is_refused_wherever_it_is() {
        let text = "GET / HTTP/1.1\r\nHost: x\r\nA:\r\nB: \r\n\r\n";
        assert!(parse(text, &Limits::default()).unwrap().is_some());
        for (at, _) in text.match_indices("\r\n") {
            let bare = [&text[..at], &text[at + 1..]].concat();
            assert_eq!(status(&bare), 400, "{bare:?}");
        }
    }

    #[test]
    fn a_later_minor_version_is_read_as_1_1() {
        let text = "GET /a HTTP/1.7\r\nHost: x\r\n\r\n";
        let (head, length) = parse(text, &Limits::default()).unwrap().unwrap();
        assert_eq!((head.version, length), (Version::HTTP_11, text.len()));
        assert_eq!(head.headers.get_str("host"), Some("x"));
        assert!(parse(&text[..20], &Limits::default()).unwrap().is_none());
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
