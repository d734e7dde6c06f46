//! Request targets: their forms, and the authority that they or Host name (RFC 9112 section 3.2, RFC 3986).

use crate::h1::refusal::Refusal;
use http::Method;
use std::net::Ipv6Addr;
use std::ops::Range;

/// Where the parts of a target lie in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) path: Range<usize>,
    /// Where the query begins, if there is one. It ends with the target.
    pub(crate) query: Option<usize>,
    /// The authority of a target in absolute form, which wins over Host (RFC 9112 section 3.2.2).
    pub(crate) authority: Option<Range<usize>>,
}

const BAD_TARGET: Refusal = Refusal::bad("the request target holds a byte that must be percent-encoded");
const BAD_PERCENT: Refusal =
    Refusal::bad("a % in the request target's path is not followed by two hexadecimal digits");
const BAD_FORM: Refusal = Refusal::bad("the request target is neither a path nor an http or https URI");
const BAD_AUTHORITY: Refusal =
    Refusal::bad("the request target's authority is not a host with an optional port");
const BAD_ASTERISK: Refusal = Refusal::bad("the request target * is for OPTIONS alone");
const BAD_TUNNEL: Refusal = Refusal::bad("the request target of CONNECT is not a host and a port");

/// The parts of a target in which a byte may stand.
const PATH: u8 = 1;
const QUERY: u8 = 2;
const HOST: u8 = 4;

/// RFC 3986, and what browsers send without encoding it (the WHATWG's URL standard, "percent-encode sets"): links
/// with such bytes are in the wild, and none of them delimits anything here.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        let c = byte as u8;
        classes[byte] = match c {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => PATH | QUERY | HOST,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => {
                PATH | QUERY | HOST
            }
            b':' | b'@' | b'/' | b'|' | b'[' | b']' | b'^' => PATH | QUERY,
            // A browser sends `?discount=50%` as it is. In a path a lone % is refused, since a path is decoded.
            b'?' | b'%' | b'{' | b'}' | b'\\' | b'`' => QUERY,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

/// Takes a target apart.
pub(crate) fn parts(method: &Method, target: &[u8]) -> Result<Parts, Refusal> {
    if *method == Method::CONNECT {
        let port = target.iter().rposition(|byte| *byte == b':').map(|colon| &target[colon + 1..]);
        let is_form =
            is_authority(target) && port.is_some_and(|port| !port.is_empty() && !port.ends_with(b"]"));
        let whole = 0..target.len();
        return if is_form {
            Ok(Parts { path: whole.clone(), query: None, authority: Some(whole) })
        } else {
            Err(BAD_TUNNEL)
        };
    }
    match target {
        [b'/', ..] => origin(target, 0),
        b"*" if *method == Method::OPTIONS => Ok(Parts { path: 0..1, query: None, authority: None }),
        b"*" => Err(BAD_ASTERISK),
        _ => absolute(target),
    }
}

/// A target in origin form of which nothing in the path is percent-encoded.
pub(crate) struct PlainOrigin {
    /// How long the target is.
    pub(crate) length: usize,
    /// How long the path is. A query follows if the target is longer.
    pub(crate) path: usize,
}

/// The target that `bytes` begin with, which ends before a space; `None` if it is not a plain one.
#[inline]
pub(crate) fn plain_origin(bytes: &[u8]) -> Option<PlainOrigin> {
    if bytes.first() != Some(&b'/') {
        return None;
    }
    let path = run(bytes, PATH);
    let length = match bytes.get(path)? {
        b'?' => path + 1 + run(&bytes[path + 1..], QUERY),
        _ => path,
    };
    (bytes.get(length) == Some(&b' ')).then_some(PlainOrigin { length, path })
}

/// Origin form from `start` on: a path, and perhaps a query.
fn origin(target: &[u8], start: usize) -> Result<Parts, Refusal> {
    let mut at = start;
    loop {
        at += run(&target[at..], PATH);
        match &target[at..] {
            [] => return Ok(Parts { path: start..at, query: None, authority: None }),
            [b'?', query @ ..] => {
                check_query(query)?;
                return Ok(Parts { path: start..at, query: Some(at + 1), authority: None });
            }
            [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => at += 3,
            [b'%', ..] => return Err(BAD_PERCENT),
            _ => return Err(BAD_TARGET),
        }
    }
}

fn absolute(target: &[u8]) -> Result<Parts, Refusal> {
    let scheme = target.iter().position(|byte| *byte == b':').ok_or(BAD_FORM)?;
    let is_http = [&b"http"[..], b"https"].iter().any(|name| target[..scheme].eq_ignore_ascii_case(name));
    if !is_http || !target[scheme..].starts_with(b"://") {
        return Err(BAD_FORM);
    }
    let start = scheme + 3;
    let end = target[start..].iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let end = end.map_or(target.len(), |length| start + length);
    if !is_authority(&target[start..end]) {
        return Err(BAD_AUTHORITY);
    }
    let authority = Some(start..end);
    if target[end..].starts_with(b"/") {
        return Ok(Parts { authority, ..origin(target, end)? });
    }
    // No path means `/` (RFC 9110 section 4.2.3); there is one in `://`.
    let path = scheme + 1..scheme + 2;
    match &target[end..] {
        [] => Ok(Parts { path, query: None, authority }),
        [b'?', query @ ..] => check_query(query).map(|()| Parts { path, query: Some(end + 1), authority }),
        _ => Err(BAD_TARGET),
    }
}

fn check_query(query: &[u8]) -> Result<(), Refusal> {
    if all(query, QUERY) { Ok(()) } else { Err(BAD_TARGET) }
}

/// Whether this is `uri-host [ ":" port ]` (RFC 9110 section 7.2), with a host that is not empty.
pub(crate) fn is_authority(authority: &[u8]) -> bool {
    let colon = authority.iter().rposition(|byte| matches!(byte, b':' | b']'));
    let (host, port) = match colon {
        Some(colon) if authority[colon] == b':' => (&authority[..colon], &authority[colon + 1..]),
        _ => (authority, &authority[authority.len()..]),
    };
    // Nearly every host is of one class, and to look for that first costs the least.
    let is_host = all(host, HOST) || is_ip_literal(host) || is_encoded(host);
    !host.is_empty() && is_host && is_port(port)
}

/// Whether this is an IPv6 address in brackets (RFC 3986 section 3.2.2).
fn is_ip_literal(host: &[u8]) -> bool {
    let inside = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]"));
    let address = inside.and_then(|inside| str::from_utf8(inside).ok()).map(str::parse::<Ipv6Addr>);
    matches!(address, Some(Ok(_)))
}

/// Whether this is a `reg-name`, percent-encoded where it must be (RFC 3986 section 3.2.2).
fn is_encoded(host: &[u8]) -> bool {
    let mut rest = host;
    loop {
        rest = &rest[run(rest, HOST)..];
        match rest {
            [] => return true,
            [b'%', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = after;
            }
            _ => return false,
        }
    }
}

/// A port may be empty. A number that is no port leads nowhere.
fn is_port(digits: &[u8]) -> bool {
    let mut port = 0;
    digits.iter().all(|digit| {
        port = port * 10 + u32::from(digit.wrapping_sub(b'0'));
        digit.is_ascii_digit() && u16::try_from(port).is_ok()
    })
}

/// Whether all bytes are of this class. Without an early end the loop looks at several bytes at a time.
#[inline]
fn all(bytes: &[u8], class: u8) -> bool {
    bytes.iter().fold(class, |all, byte| all & CLASSES[*byte as usize]) != 0
}

/// How many bytes at the beginning are all of this class.
#[inline]
fn run(bytes: &[u8], class: u8) -> usize {
    bytes.iter().position(|byte| CLASSES[*byte as usize] & class == 0).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(method: &Method, target: &str) -> u16 {
        parts(method, target.as_bytes()).expect_err(target).status.as_u16()
    }

    #[test]
    fn the_parts_of_every_form_are_found() {
        for (target, path, query, authority) in [
            ("/", "/", None, None),
            ("/a%2Fb;c=d/@:?b=/c?d", "/a%2Fb;c=d/@:", Some("b=/c?d"), None),
            ("//a://b", "//a://b", None, None),
            ("/?", "/", Some(""), None),
            ("/a|b[c]?{x}|50%&`\\^", "/a|b[c]", Some("{x}|50%&`\\^"), None),
            ("http://x/a?b", "/a", Some("b"), Some("x")),
            ("HTTPS://[::1]:80?b/c", "/", Some("b/c"), Some("[::1]:80")),
            ("http://x%41.y:", "/", None, Some("x%41.y:")),
        ] {
            let text = |range: Range<usize>| &target[range];
            let found = parts(&Method::GET, target.as_bytes()).expect(target);
            assert_eq!(text(found.path), path, "{target}");
            assert_eq!(found.query.map(|at| &target[at..]), query, "{target}");
            assert_eq!(found.authority.map(text), authority, "{target}");
        }
        assert!(parts(&Method::OPTIONS, b"*").is_ok());
    }

    #[test]
    fn what_has_no_form_is_refused() {
        for target in [
            "",
            "a",
            "a/b",
            "*",
            "*/",
            "x:80",
            "ftp://x/",
            "http:/x",
            "http:x",
            "http://",
            "http:///a",
            "http://:80/",
            "http://u@x/",
            "http://x:a/",
            "http://x:65536/",
            "http://[::1/",
            "http://[v1.a]/",
            "http://x y/",
            "/#a",
            "http://x#a",
            "/\u{e9}",
            "/a b",
            "/\"",
            "/<",
            "/a%2",
            "/a%zz",
            "/{a}",
            "/a\\b",
            "/?a b",
            "/?\"",
            "/?a#b",
            "/\x7f",
        ] {
            assert_eq!(refused(&Method::GET, target), 400, "{target:?}");
        }
        assert!(parts(&Method::CONNECT, b"x:80").is_ok());
        for target in ["/", "x", "x:", "http://x/", "[::1]"] {
            assert_eq!(refused(&Method::CONNECT, target), 400, "{target:?}");
        }
    }
}
