//! A second reader of requests for the tests to hold the engine's against: slow, and straight from the grammar of
//! RFC 9112 and RFC 9110. It shares no code with the engine, knows no limits, and reads line by line what lies in
//! one slice.
//!
//! Where the RFCs leave a choice it is the engine's: whatever two readers could understand in two ways is refused.

use std::net::Ipv6Addr;

/// The judgement of the bytes that a request should begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted(Message),
    /// One status for each fault that was found: a reader that looks at things in another order may give any of
    /// them, and no other.
    Refused(Vec<u16>),
    /// Nothing is wrong so far, and something is missing.
    Incomplete,
}

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    /// The minor number of the version; a later one than 1.1 is read as 1.1 (RFC 9110 section 2.5).
    pub(crate) minor: u8,
    pub(crate) fields: Vec<Field>,
    pub(crate) content: Vec<u8>,
    pub(crate) trailers: Vec<Field>,
    /// The bytes that the request took, with the empty lines before the request.
    pub(crate) length: usize,
    /// Whether another request may follow (RFC 9112 section 9.3).
    pub(crate) keep_alive: bool,
}

/// A field's name and value.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// Fields that decide what was decided before the content came (RFC 9110 section 6.5.1): they frame, route,
/// authenticate, modify the request, control the response, or say how to read the content.
const NEVER_TRAILERS: [&str; 37] = [
    "age",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "retry-after",
    "server",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "warning",
    "www-authenticate",
];

/// Reads the request that `input` begins with.
pub(crate) fn request(input: &[u8]) -> Verdict {
    let mut reader = Reader { input, at: 0, faults: Vec::new() };
    match reader.message() {
        _ if !reader.faults.is_empty() => Verdict::Refused(reader.faults),
        Some(message) => Verdict::Accepted(message),
        None => Verdict::Incomplete,
    }
}

/// Reads requests until one says that it is the last, or one is not accepted; that verdict, if there is one.
pub(crate) fn stream(mut input: &[u8]) -> (Vec<Message>, Option<Verdict>) {
    let mut messages: Vec<Message> = Vec::new();
    while messages.last().is_none_or(|last| last.keep_alive) {
        match request(input) {
            Verdict::Accepted(message) => {
                input = &input[message.length..];
                messages.push(message);
            }
            other => return (messages, Some(other)),
        }
    }
    (messages, None)
}

/// Where the content ends (RFC 9112 section 6.3).
enum ContentEnd {
    Length(u64),
    Chunked,
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    /// The status of each fault; 400 for most.
    faults: Vec<u16>,
}

impl<'a> Reader<'a> {
    /// `HTTP-message = start-line CRLF *( field-line CRLF ) CRLF [ message-body ]` (RFC 9112 section 2.1). `None` if
    /// something is missing, or something is wrong, which is then among the faults.
    fn message(&mut self) -> Option<Message> {
        let mut line = self.line()?;
        // RFC 9112 section 2.2
        while line.is_empty() {
            line = self.line()?;
        }
        let (method, target, minor) = self.request_line(line);
        if !target_is_valid(method, target) {
            self.faults.push(400);
        }
        // This server is no proxy, and a TRACE shows the request's credentials to a page that had it sent (RFC 9110
        // sections 9.3.6 and 9.3.8).
        if method == b"CONNECT" || method == b"TRACE" {
            self.faults.push(501);
        }
        let fields = self.fields()?;
        self.check_host(minor, &fields);
        let framing = self.framing(minor, &fields);
        self.check_expect(minor, &fields);
        if !self.faults.is_empty() {
            return None;
        }
        let (content, trailers) = match framing {
            ContentEnd::Length(length) => (self.take(length)?, Vec::new()),
            ContentEnd::Chunked => self.chunked()?,
        };
        let keep_alive = keep_alive(minor, &fields);
        let (method, target, length) = (method.to_vec(), target.to_vec(), self.at);
        Some(Message { method, target, minor, fields, content, trailers, length, keep_alive })
    }

    /// The next line without its CRLF. CR and LF stand nowhere else.
    fn line(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        let mut end = start;
        loop {
            match self.input[end..] {
                [] | [b'\r'] => return None,
                [b'\r', b'\n', ..] => {
                    self.at = end + 2;
                    return Some(&self.input[start..end]);
                }
                [b'\r' | b'\n', ..] => return self.fault(400),
                _ => end += 1,
            }
        }
    }

    /// `request-line = method SP request-target SP HTTP-version` (RFC 9112 section 3).
    fn request_line(&mut self, line: &'a [u8]) -> (&'a [u8], &'a [u8], u8) {
        let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        // If more is wrong with the line than its version, the version may still be what a reader trips over.
        let minor = parts.last().map_or(Err(400), |last| version(last));
        self.faults.extend(minor.err());
        if let [method, target, _] = parts[..] {
            if !is_token(method) {
                self.faults.push(400);
            }
            // RFC 9110 section 9.1: a server that does not implement a method answers 501, and none is that long.
            if method.len() > 32 {
                self.faults.push(501);
            }
            return (method, target, minor.unwrap_or(1));
        }
        self.faults.push(400);
        (b"", b"", 1)
    }

    /// `*( field-line CRLF ) CRLF`, `field-line = field-name ":" OWS field-value OWS` (RFC 9112 section 5).
    fn fields(&mut self) -> Option<Vec<Field>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(fields);
            }
            match line.iter().position(|byte| *byte == b':') {
                // Neither a space before the colon nor a folded line (section 5.2) begins with a token and a colon.
                Some(colon) if is_token(&line[..colon]) => {
                    let value = without_ows(&line[colon + 1..]);
                    // RFC 9110 section 5.5
                    if !value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..)) {
                        self.faults.push(400);
                    }
                    fields.push((line[..colon].to_vec(), value.to_vec()));
                }
                _ => self.faults.push(400),
            }
        }
    }

    /// `Host = uri-host [ ":" port ]` (RFC 9110 section 7.2): once at most, never empty, and in HTTP/1.1 never missing
    /// (RFC 9112 section 3.2).
    fn check_host(&mut self, minor: u8, fields: &[Field]) {
        match values(fields, "host")[..] {
            [] if minor == 0 => {}
            [host] if is_authority(host) => {}
            _ => self.faults.push(400),
        }
    }

    fn framing(&mut self, minor: u8, fields: &[Field]) -> ContentEnd {
        let codings = values(fields, "transfer-encoding");
        match (&codings[..], &values(fields, "content-length")[..]) {
            ([], []) => return ContentEnd::Length(0),
            ([], [length]) => {
                if let Some(length) = decimal(length) {
                    return ContentEnd::Length(length);
                }
                self.faults.push(400);
            }
            ([coding], []) if minor == 1 && is_chunked(coding) => return ContentEnd::Chunked,
            ([coding], []) if minor == 1 => {
                // A list of codings that ends in chunked could be read by somebody; anything else by nobody.
                let members: Vec<&[u8]> = coding.split(|byte| *byte == b',').map(without_ows).collect();
                let chunked: Vec<bool> = members.iter().map(|member| is_chunked(member)).collect();
                let tokens = members.iter().all(|member| is_token(member));
                let once = chunked.iter().filter(|is| **is).count() == 1;
                let list = tokens && once && chunked.last() == Some(&true);
                self.faults.push(if list { 501 } else { 400 });
            }
            _ => self.faults.push(400),
        }
        ContentEnd::Length(0)
    }

    /// RFC 9110 section 10.1.1: nothing is defined but `100-continue`.
    fn check_expect(&mut self, minor: u8, fields: &[Field]) {
        // HTTP/1.0 knows no expectations.
        if minor == 1
            && values(fields, "expect").iter().any(|value| !value.eq_ignore_ascii_case(b"100-continue"))
        {
            self.faults.push(417);
        }
    }

    /// `chunked-body = *chunk last-chunk trailer-section CRLF` (RFC 9112 section 7.1).
    fn chunked(&mut self) -> Option<(Vec<u8>, Vec<Field>)> {
        let mut content = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            if !(1..=16).contains(&digits) || !is_chunk_ext(&line[digits..]) {
                return self.fault(400);
            }
            let digits = str::from_utf8(&line[..digits]).ok()?;
            let size = u64::from_str_radix(digits, 16).ok()?;
            if size == 0 {
                break;
            }
            if size.checked_add(content.len() as u64).is_none() {
                return self.fault(413);
            }
            content.append(&mut self.take(size)?);
            match self.input[self.at..] {
                [b'\r', b'\n', ..] => self.at += 2,
                [] | [b'\r'] => return None,
                _ => return self.fault(400),
            }
        }
        let trailers = self.fields()?;
        let never =
            |name: &[u8]| NEVER_TRAILERS.iter().any(|never| name.eq_ignore_ascii_case(never.as_bytes()));
        if trailers.iter().any(|(name, _)| never(name)) {
            return self.fault(400);
        }
        Some((content, trailers))
    }

    fn take(&mut self, length: u64) -> Option<Vec<u8>> {
        let end = self.at.checked_add(usize::try_from(length).ok()?)?;
        let taken = self.input.get(self.at..end)?.to_vec();
        self.at = end;
        Some(taken)
    }

    fn fault<T>(&mut self, status: u16) -> Option<T> {
        self.faults.push(status);
        None
    }
}

/// `HTTP-version = "HTTP/" DIGIT "." DIGIT` (RFC 9112 section 2.3): its minor number, or why not.
fn version(text: &[u8]) -> Result<u8, u16> {
    match *text {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'] => Ok(0),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Ok(1),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(505),
        _ => Err(400),
    }
}

/// The four forms of a target (RFC 9112 section 3.2).
fn target_is_valid(method: &[u8], target: &[u8]) -> bool {
    if method == b"CONNECT" {
        // The port may not be left out (RFC 9110 section 9.3.6).
        let port = target.iter().rposition(|byte| *byte == b':').map(|colon| &target[colon + 1..]);
        return is_authority(target) && port.and_then(decimal).is_some();
    }
    if target == b"*" {
        return method == b"OPTIONS";
    }
    if target.starts_with(b"/") {
        return is_path_and_query(target);
    }
    let scheme = ["http://", "https://"].into_iter().find(|scheme| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
    });
    let Some(scheme) = scheme else { return false };
    let rest = &target[scheme.len()..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    is_authority(&rest[..end]) && is_path_and_query(&rest[end..])
}

/// `path-abempty [ "?" query ]` of RFC 3986, without a fragment. What browsers do not encode, though the RFC asks for
/// it (the WHATWG's URL standard), is let through: none of it delimits anything.
fn is_path_and_query(text: &[u8]) -> bool {
    let question = text.iter().position(|byte| *byte == b'?').unwrap_or(text.len());
    let (path, query) = text.split_at(question);
    let in_path = |byte| is_unreserved(byte) || is_sub_delim(byte) || b":@/[]^|".contains(&byte);
    is_encoded(path, in_path) && query.iter().all(|byte| in_path(*byte) || b"?%\\`{}".contains(byte))
}

/// `uri-host [ ":" port ]` (RFC 9110 section 4.2): a host that is not empty, and no userinfo.
fn is_authority(text: &[u8]) -> bool {
    let host_end = match text.first() {
        Some(b'[') => text.iter().position(|byte| *byte == b']').map_or(0, |bracket| bracket + 1),
        _ => text.iter().position(|byte| *byte == b':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(host_end);
    is_host(host)
        && match port {
            [] | [b':'] => true,
            [b':', digits @ ..] => decimal(digits).is_some_and(|port| port <= 0xffff),
            _ => false,
        }
}

/// `host = IP-literal / IPv4address / reg-name` (RFC 3986 section 3.2.2); an IPv4 address is a reg-name too. No version
/// of IP later than 6 (`IPvFuture`) is known.
fn is_host(host: &[u8]) -> bool {
    if let [b'[', address @ .., b']'] = host {
        return str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    !host.is_empty() && is_encoded(host, |byte| is_unreserved(byte) || is_sub_delim(byte))
}

/// Bytes that may stand for themselves, and `pct-encoded = "%" HEXDIG HEXDIG` (RFC 3986 section 2.1).
fn is_encoded(text: &[u8], itself: impl Fn(u8) -> bool) -> bool {
    let mut at = 0;
    while at < text.len() {
        at += match text[at..] {
            [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => 3,
            [byte, ..] if itself(byte) => 1,
            _ => return false,
        };
    }
    true
}

/// RFC 3986 section 2.3
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// RFC 3986 section 2.2
fn is_sub_delim(byte: u8) -> bool {
    b"!$&'()*+,;=".contains(&byte)
}

/// `chunk-ext = *( ";" chunk-ext-name [ "=" chunk-ext-val ] )` (RFC 9112 section 7.1.1), without the whitespace that
/// only a bad sender puts in.
fn is_chunk_ext(mut text: &[u8]) -> bool {
    let token = |text: &[u8]| text.iter().take_while(|byte| is_token(&[**byte])).count();
    while !text.is_empty() {
        let [b';', rest @ ..] = text else { return false };
        let name = token(rest);
        if name == 0 {
            return false;
        }
        text = &rest[name..];
        if let [b'=', value @ ..] = text {
            let length = if value.first() == Some(&b'"') { quoted_string(value) } else { token(value) };
            if length == 0 {
                return false;
            }
            text = &value[length..];
        }
    }
    true
}

/// How long the `quoted-string` is that `text` begins with (RFC 9110 section 5.6.4); 0 if it is none.
fn quoted_string(text: &[u8]) -> usize {
    let mut at = 1;
    loop {
        at += match text[at..] {
            [b'"', ..] => return at + 1,
            [b'\\', b'\t' | b' '..=b'~' | 0x80.., ..] => 2,
            [b'\\', ..] => return 0,
            [b'\t' | b' '..=b'~' | 0x80.., ..] => 1,
            _ => return 0,
        };
    }
}

/// `token = 1*tchar` (RFC 9110 section 5.6.2)
fn is_token(text: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_tchar)
}

/// The name of a transfer coding is case-insensitive (RFC 9112 section 7).
fn is_chunked(coding: &[u8]) -> bool {
    coding.eq_ignore_ascii_case(b"chunked")
}

/// `1*DIGIT`, if it is a number that a 64-bit integer holds.
fn decimal(digits: &[u8]) -> Option<u64> {
    let digits = digits.iter().all(u8::is_ascii_digit).then_some(digits)?;
    str::from_utf8(digits).ok()?.parse().ok()
}

fn without_ows(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The values of all fields of this name, in order.
fn values<'a>(fields: &'a [Field], name: &str) -> Vec<&'a [u8]> {
    let named = fields.iter().filter(|field| field.0.eq_ignore_ascii_case(name.as_bytes()));
    named.map(|field| &field.1[..]).collect()
}

/// RFC 9112 section 9.3
fn keep_alive(minor: u8, fields: &[Field]) -> bool {
    let values = values(fields, "connection");
    let options: Vec<&[u8]> =
        values.iter().flat_map(|value| value.split(|byte| *byte == b',')).map(without_ows).collect();
    let has = |wanted: &str| options.iter().any(|option| option.eq_ignore_ascii_case(wanted.as_bytes()));
    !has("close") && (minor == 1 || has("keep-alive"))
}
