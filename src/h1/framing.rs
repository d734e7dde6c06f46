//! Where a request's body ends, and what its head says of the connection (RFC 9112 sections 6 and 9).

use crate::h1::refusal::Refusal;
use crate::h1::target;
use crate::http::headers::{Headers, Known, is_token, list_members};
use crate::http::request::Head;
use http::{Method, StatusCode, Version};

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestFraming {
    /// So many bytes; zero where the head says nothing (RFC 9112 section 6.3).
    Length(u64),
    Chunked,
}

/// The wishes of a request's head for the connection.
#[expect(clippy::struct_excessive_bools, reason = "what a request may ask for, independent of each other")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) framing: RequestFraming,
    pub(crate) keep_alive: bool,
    /// The client waits for `100 (Continue)` before it sends the body (RFC 9110 section 10.1.1).
    pub(crate) expects_continue: bool,
    /// The client has said that it reads trailers (RFC 9110 section 10.1.4).
    pub(crate) accepts_trailers: bool,
    /// The client offers to switch to another protocol (RFC 9110 section 7.8).
    pub(crate) offers_upgrade: bool,
}

/// The fields by which a request asks something of the connection.
const ASKING: [Known; 6] = [
    Known::Connection,
    Known::ContentLength,
    Known::Expect,
    Known::Te,
    Known::TransferEncoding,
    Known::Upgrade,
];

impl Terms {
    /// The terms of HTTP/1.1 where no field says otherwise.
    const IMPLIED: Self = Self {
        framing: RequestFraming::Length(0),
        keep_alive: true,
        expects_continue: false,
        accepts_trailers: false,
        offers_upgrade: false,
    };
}

/// The Host that was last found well-formed on a connection: a client names the same one again and again, and to
/// compare the two costs less than to look at each byte. A longer one is looked at each time.
#[derive(Debug, Default)]
pub(crate) struct KnownHost {
    length: u8,
    bytes: [u8; 32],
}

impl KnownHost {
    fn is(&self, host: &[u8]) -> bool {
        !host.is_empty() && self.bytes[..self.length as usize] == *host
    }

    fn note(&mut self, host: &[u8]) {
        if let Some(place) = self.bytes.get_mut(..host.len()) {
            place.copy_from_slice(host);
            self.length = host.len() as u8;
        }
    }
}

/// Checks a head, and reads the terms of its request; refuses it where two readers could see two requests.
pub(crate) fn accept(head: &mut Head, known_host: &mut KnownHost) -> Result<Terms, Refusal> {
    find_host(head, head.version == Version::HTTP_11, known_host)?;
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(NO_METHOD);
    }
    let terms = terms(head)?;
    head.is_accepted = true;
    Ok(terms)
}

/// The terms of a request whose head is well-formed otherwise.
#[inline]
pub(crate) fn terms(head: &Head) -> Result<Terms, Refusal> {
    let http_11 = head.version == Version::HTTP_11;
    let headers = &head.headers;
    // Most requests say nothing of all this.
    if http_11 && !headers.has_any(&ASKING) {
        return Ok(Terms::IMPLIED);
    }
    let framing = framing(headers, http_11)?;
    Ok(Terms {
        framing,
        keep_alive: keep_alive(headers, http_11),
        expects_continue: http_11 && expects_continue(headers)? && framing != RequestFraming::Length(0),
        accepts_trailers: http_11 && accepts_trailers(headers),
        offers_upgrade: http_11 && offers_upgrade(headers),
    })
}

const NOT_CHUNKED: Refusal =
    Refusal::bad("Transfer-Encoding is not a list of codings that ends in chunked, once");

/// Neither CONNECT nor TRACE reaches an application: a tunnel is for proxies, and a TRACE shows the credentials of a
/// request to a page that made the browser send the request (RFC 9110 sections 9.3.6 and 9.3.8).
const NO_METHOD: Refusal =
    Refusal::new(StatusCode::NOT_IMPLEMENTED, "CONNECT and TRACE are not implemented by this server");

/// RFC 9112 section 6.3, with every doubt refused: a request that two readers frame differently is how one
/// smuggles another (section 11.2).
fn framing(headers: &Headers, http_11: bool) -> Result<RequestFraming, Refusal> {
    // Most requests have neither, and that costs no look at the fields.
    if !headers.has_any(&[Known::TransferEncoding, Known::ContentLength]) {
        return Ok(RequestFraming::Length(0));
    }
    let Some(coding) = headers.known(Known::TransferEncoding).next() else { return length(headers) };
    if !http_11 {
        return Err(Refusal::bad("Transfer-Encoding has no meaning in HTTP/1.0"));
    }
    if headers.has_any(&[Known::ContentLength]) {
        return Err(Refusal::bad("the request has both Content-Length and Transfer-Encoding"));
    }
    if headers.repeats(Known::TransferEncoding) {
        return Err(Refusal::bad("the request has more than one Transfer-Encoding"));
    }
    if coding.eq_ignore_ascii_case(b"chunked") {
        return Ok(RequestFraming::Chunked);
    }
    // A value that is no plain list of codings is refused, and not guessed at (RFC 9112 section 7).
    let codings: Vec<_> = coding.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).collect();
    let chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let (last, before) = codings.split_last().ok_or(NOT_CHUNKED)?;
    if !chunked(last) || before.iter().any(chunked) || !codings.iter().all(|coding| is_token(coding)) {
        return Err(NOT_CHUNKED);
    }
    Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "no transfer coding but chunked is implemented"))
}

fn length(headers: &Headers) -> Result<RequestFraming, Refusal> {
    let Some(value) = headers.known(Known::ContentLength).next() else {
        return Ok(RequestFraming::Length(0));
    };
    if headers.repeats(Known::ContentLength) {
        return Err(Refusal::bad("the request has more than one Content-Length"));
    }
    decimal(value).map(RequestFraming::Length).ok_or(Refusal::bad("Content-Length is not a number of bytes"))
}

/// Digits and nothing else (RFC 9110 section 8.6), as long as they fit.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Exactly one Host in HTTP/1.1, and never a malformed one (RFC 9112 section 3.2). The target's authority wins over
/// it (section 3.2.2).
fn find_host(head: &mut Head, http_11: bool, known: &mut KnownHost) -> Result<(), Refusal> {
    let headers = &head.headers;
    let Some(place) = headers.place(Known::Host) else {
        return if http_11 { Err(Refusal::bad("the request has no Host")) } else { Ok(()) };
    };
    if headers.repeats(Known::Host) {
        return Err(Refusal::bad("the request has more than one Host"));
    }
    let host = &headers.head()[place.start as usize..place.end as usize];
    if !known.is(host) {
        if !target::is_authority(host) {
            return Err(Refusal::bad("Host is not a host with an optional port"));
        }
        known.note(host);
    }
    if head.authority.is_empty() {
        head.authority = place;
    }
    Ok(())
}

/// RFC 9112 section 9.3: `close` ends it; 1.1 persists by default, 1.0 if it says `keep-alive`.
fn keep_alive(headers: &Headers, http_11: bool) -> bool {
    let mut keep_alive = http_11;
    if !headers.has_any(&[Known::Connection]) {
        return keep_alive;
    }
    // The one value that browsers send needs no look through a list.
    if !headers.repeats(Known::Connection)
        && headers
            .known(Known::Connection)
            .next()
            .is_some_and(|value| value.eq_ignore_ascii_case(b"keep-alive"))
    {
        return true;
    }
    for option in list_members(headers.known(Known::Connection)) {
        if option.eq_ignore_ascii_case(b"close") {
            return false;
        }
        keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
    }
    keep_alive
}

fn expects_continue(headers: &Headers) -> Result<bool, Refusal> {
    if !headers.has_any(&[Known::Expect]) {
        return Ok(false);
    }
    // RFC 9110 section 10.1.1
    if headers.known(Known::Expect).all(|expected| expected.eq_ignore_ascii_case(b"100-continue")) {
        return Ok(true);
    }
    Err(Refusal::new(StatusCode::EXPECTATION_FAILED, "only 100-continue can be expected"))
}

fn offers_upgrade(headers: &Headers) -> bool {
    headers.has_any(&[Known::Upgrade])
        && list_members(headers.known(Known::Connection))
            .any(|option| option.eq_ignore_ascii_case(b"upgrade"))
}

/// The values of Upgrade as one list.
pub(crate) fn offered(headers: &Headers) -> Box<[u8]> {
    headers.known(Known::Upgrade).collect::<Vec<_>>().join(&b',').into()
}

fn accepts_trailers(headers: &Headers) -> bool {
    headers.has_any(&[Known::Te])
        && list_members(headers.known(Known::Te)).any(|member| member.eq_ignore_ascii_case(b"trailers"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::Bytes;
    use crate::h1::parse;
    use crate::http::limits::Limits;

    fn of(version: &str, fields: &str) -> Result<Terms, u16> {
        let text = format!("POST / HTTP/{version}\r\n{fields}\r\n");
        let mut head = Head::default();
        parse::head(&Bytes::from(text), &Limits::default(), &mut head).unwrap().unwrap();
        accept(&mut head, &mut KnownHost::default()).map_err(|refusal| refusal.status.as_u16())
    }

    fn framed(fields: &str) -> Result<RequestFraming, u16> {
        of("1.1", &format!("Host: x\r\n{fields}")).map(|terms| terms.framing)
    }

    #[test]
    fn a_body_is_framed_one_way_or_refused() {
        assert_eq!(framed(""), Ok(RequestFraming::Length(0)));
        assert_eq!(framed("Content-Length: 18446744073709551615\r\n"), Ok(RequestFraming::Length(u64::MAX)));
        assert_eq!(framed("Transfer-Encoding: Chunked\r\n"), Ok(RequestFraming::Chunked));
        for doubtful in [
            "Content-Length: 18446744073709551616\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length:\r\n",
            "Content-Length: 1 1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked;q=1\r\n",
            "Transfer-Encoding: \"chunked\"\r\n",
            "Transfer-Encoding: , chunked\r\n",
            "Transfer-Encoding: chunked,\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: a b, chunked\r\n",
            "Transfer-Encoding:\r\n",
        ] {
            assert_eq!(framed(doubtful), Err(400), "{doubtful:?}");
        }
        assert_eq!(framed("Transfer-Encoding: gzip, chunked\r\n"), Err(501));
        assert_eq!(of("1.0", "Transfer-Encoding: chunked\r\n"), Err(400));
    }

    #[test]
    fn a_connection_persists_as_its_version_and_options_say() {
        let persists = |version: &str, fields: &str| of(version, fields).map(|terms| terms.keep_alive);
        assert_eq!(persists("1.1", "Host: x\r\n"), Ok(true));
        assert_eq!(persists("1.1", "Host: x\r\nConnection: Close\r\n"), Ok(false));
        assert_eq!(persists("1.1", "Host: x\r\nConnection: x, close\r\n"), Ok(false));
        assert_eq!(persists("1.0", ""), Ok(false));
        assert_eq!(persists("1.0", "Connection: Keep-Alive\r\n"), Ok(true));
        assert_eq!(persists("1.0", "Connection: keep-alive, close\r\n"), Ok(false));
    }

    #[test]
    fn http_1_1_has_exactly_one_host() {
        assert_eq!(of("1.1", ""), Err(400));
        assert_eq!(of("1.1", "Host: a\r\nHost: a\r\n"), Err(400));
        for malformed in ["", "a b", "u@a", "a/b", "a:b", "a:99999", "[::1", "http://a", "a, b", ":80"] {
            assert_eq!(of("1.1", &format!("Host: {malformed}\r\n")), Err(400), "{malformed:?}");
            assert_eq!(of("1.0", &format!("Host: {malformed}\r\n")), Err(400), "{malformed:?}");
        }
        assert!(of("1.0", "").is_ok());
    }

    #[test]
    fn a_host_is_known_only_while_it_is_the_same() {
        let mut known = KnownHost::default();
        assert!(!known.is(b""));
        known.note(b"a.test:80");
        assert!(known.is(b"a.test:80"));
        for other in [&b"a.test:8"[..], b"a.test:800", b"b.test:80", b""] {
            assert!(!known.is(other));
        }
        known.note(&[b'a'; 33]);
        assert!(known.is(b"a.test:80") && !known.is(&[b'a'; 33]), "too long to be kept");
        known.note(b"b");
        assert!(known.is(b"b"));
    }

    #[test]
    fn the_targets_authority_wins_over_host() {
        let host = |target: &str| {
            let mut head = Head::default();
            let text = format!("GET {target} HTTP/1.1\r\nHost: a:1\r\n\r\n");
            parse::head(&Bytes::from(text.clone()), &Limits::default(), &mut head).unwrap().unwrap();
            accept(&mut head, &mut KnownHost::default()).unwrap();
            text[head.authority.start as usize..head.authority.end as usize].to_owned()
        };
        assert_eq!(host("/"), "a:1");
        assert_eq!(host("http://b/"), "b");
    }

    #[test]
    fn only_100_continue_can_be_expected_and_only_with_a_body() {
        let expects = |fields: &str| of("1.1", fields).map(|terms| terms.expects_continue);
        assert_eq!(expects("Host: x\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n"), Ok(true));
        assert_eq!(expects("Host: x\r\nExpect: 100-continue\r\n"), Ok(false));
        assert_eq!(expects("Host: x\r\nExpect: a\r\nContent-Length: 1\r\n"), Err(417));
        assert_eq!(expects("Host: x\r\nExpect: a\r\n"), Err(417));
        assert_eq!(of("1.0", "Expect: a\r\n").map(|terms| terms.expects_continue), Ok(false));
    }
}
